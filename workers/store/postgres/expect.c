/* Blocks that many metrics' ranges begin with, in one round trip. A merge reads its metrics by
 * turns, a few rows of each, and says which of them have their turn next. */
#include "workers/store/postgres/engine.h"

#include <string.h>

enum {
    COLUMN_NUMBER = MMQ_PG_AHEAD_DATA + 1, /* which of the places the row is of, from 1 */
    LIST_MAX = MMQ_STORE_EXPECT_MAX * 24,  /* bytes */
};

void mmq_postgres_forget_expected(mmq_postgres *postgres)
{
    mmq_pg_expected *expected = &postgres->expected;
    for (size_t i = 0; i < expected->count; i++) {
        for (size_t row = 0; row < MMQ_PG_EXPECTED_ROWS; row++) {
            mmq_pg_row_free(&expected->rows[i][row]);
        }
    }
    expected->count = 0;
}

/* Where the answer is; expected->count: nowhere. Mostly it is the next that was not taken. */
static size_t find(const mmq_store *store, bool up, const mmq_sought *place)
{
    const mmq_pg_expected *expected = &mmq_postgres_of(store)->expected;
    const bool valid = expected->transaction == store->transaction && expected->up == up;
    for (size_t i = 0; i < expected->count && valid; i++) {
        const mmq_sought *at = &expected->places[i];
        if (expected->there[i] && at->metric == place->metric &&
            at->timestamp == place->timestamp && at->rowid == place->rowid) {
            return i;
        }
    }
    return expected->count;
}

bool mmq_postgres_expects(mmq_store *store, bool up, const mmq_sought *one)
{
    return store->phase != MMQ_PHASE_READ ||
           find(store, up, one) < mmq_postgres_of(store)->expected.count;
}

bool mmq_postgres_take_expected(mmq_store *store, bool up, const mmq_sought *place,
                                mmq_pg_row *rows[MMQ_PG_EXPECTED_ROWS])
{
    mmq_pg_expected *expected = &mmq_postgres_of(store)->expected;
    const size_t i = find(store, up, place);
    if (i == expected->count) {
        return false;
    }
    expected->there[i] = false;
    memcpy(rows, expected->rows[i], sizeof expected->rows[i]);
    memset(expected->rows[i], 0, sizeof expected->rows[i]);
    return true;
}

/* ---- asking ----------------------------------------------------------------------------- */

static mmq_err queue_lists(mmq_postgres *postgres, const mmq_buffer *metrics,
                           const mmq_buffer *timestamps, const mmq_buffer *rowids, mmq_why *why)
{
    const unsigned query = postgres->expected.up ? MMQ_P_EXPECT_FROM : MMQ_P_EXPECT_AT;
    mmq_pg_values values = {0};
    if (metrics->failed || timestamps->failed || rowids->failed) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a list of metrics");
    }
    mmq_pg_bind_bytes(&values, 1, metrics->data, metrics->size);
    mmq_pg_bind_bytes(&values, 2, timestamps->data, timestamps->size);
    mmq_pg_bind_bytes(&values, 3, rowids->data, rowids->size);
    mmq_err err = mmq_postgres_settle(postgres, why);
    return err == MMQ_OK ? mmq_pg_queue(postgres->link, query, &values, why) : err;
}

static mmq_err queue(mmq_postgres *postgres, mmq_why *why)
{
    const mmq_pg_expected *expected = &postgres->expected;
    mmq_buffer metrics, timestamps, rowids;
    mmq_buffer_init(&metrics, LIST_MAX);
    mmq_buffer_init(&timestamps, LIST_MAX);
    mmq_buffer_init(&rowids, LIST_MAX);
    for (size_t i = 0; i < expected->count; i++) {
        mmq_postgres_add_number(&metrics, expected->places[i].metric);
        mmq_postgres_add_number(&timestamps, expected->places[i].timestamp);
        mmq_postgres_add_number(&rowids, expected->places[i].rowid);
    }
    mmq_err err = queue_lists(postgres, &metrics, &timestamps, &rowids, why);
    mmq_buffer_clear(&metrics);
    mmq_buffer_clear(&timestamps);
    mmq_buffer_clear(&rowids);
    return err;
}

static mmq_err take_row(mmq_postgres *postgres, mmq_why *why)
{
    mmq_pg_expected *expected = &postgres->expected;
    int64_t number;
    if (!mmq_pg_column_int(mmq_pg_row_at(postgres->link), COLUMN_NUMBER, 1,
                           (int64_t)expected->count, &number) ||
        expected->rows[number - 1][MMQ_PG_EXPECTED_ROWS - 1] != NULL) {
        return mmq_fail(why, MMQ_ECORRUPT, "PostgreSQL sends a block that was not asked for");
    }
    mmq_pg_row **rows = expected->rows[number - 1];
    mmq_pg_row *row = rows[rows[0] != NULL ? 1 : 0] = mmq_pg_row_take(postgres->link);
    return row != NULL ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "no memory for rows");
}

mmq_err mmq_postgres_expect(mmq_store *store, bool up, const mmq_sought *next, size_t count,
                            mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    mmq_pg_expected *expected = &postgres->expected;
    mmq_postgres_forget_expected(postgres);
    if (store->phase != MMQ_PHASE_READ) {
        return MMQ_OK;
    }
    expected->transaction = store->transaction;
    expected->up = up;
    expected->count = count;
    for (size_t i = 0; i < count; i++) {
        expected->places[i] = next[i];
        expected->there[i] = true;
    }
    mmq_err err = queue(postgres, why);
    for (bool row = true; err == MMQ_OK && row;) {
        err = mmq_postgres_next_row(postgres, &row, why);
        if (err == MMQ_OK && row) {
            err = take_row(postgres, why);
        }
    }
    if (err != MMQ_OK) {
        mmq_pg_drop(postgres->link);
        mmq_postgres_forget_expected(postgres);
    }
    return err;
}
