/* Reading ahead. A scan asks for the head of the next block, then for its data, block by block: two
 * round trips each. So heads are asked for together with their data, and if the scan went on from
 * the last time, twice as many as then. What was read is dropped with the transaction, or when
 * another metric or place is asked for. */
#include "workers/store/postgres/engine.h"

#include <endian.h>

enum { COLUMN_KEY = 9 }; /* of MMQ_P_AHEAD: a block's head, then its data */

static int64_t bound_int(const mmq_pg_values *values, int index)
{
    return (int64_t)be64toh(values->numbers[index - 1]);
}

void mmq_postgres_forget_ahead(mmq_postgres *postgres)
{
    mmq_pg_ahead *ahead = &postgres->ahead;
    for (size_t i = 0; i < ahead->count; i++) {
        mmq_pg_row_free(&ahead->rows[i]);
    }
    ahead->count = ahead->at = 0;
}

typedef struct place {
    int64_t timestamp, rowid;
} place;

static bool is_before(place a, place b)
{
    return a.timestamp < b.timestamp || (a.timestamp == b.timestamp && a.rowid < b.rowid);
}

static bool place_of(const mmq_pg_row *row, place *out)
{
    return mmq_pg_column_int(row, 0, INT64_MIN, INT64_MAX, &out->timestamp) &&
           mmq_pg_column_int(row, 1, INT64_MIN, INT64_MAX, &out->rowid);
}

/* Whether what is behind `from` is what comes behind the block that was asked for last. */
static bool follows(const mmq_store *store, const mmq_pg_ahead *ahead, int64_t metric, place from)
{
    return ahead->transaction == store->transaction && ahead->metric == metric && ahead->at > 0 &&
           !is_before(from, (place){ahead->timestamp, ahead->rowid});
}

static bool has_next(const mmq_pg_ahead *ahead, place from)
{
    place next;
    return ahead->at < ahead->count && place_of(ahead->rows[ahead->at], &next) &&
           is_before(from, next);
}

static mmq_err take_row(mmq_postgres *postgres, mmq_why *why)
{
    mmq_pg_ahead *ahead = &postgres->ahead;
    if (ahead->count == ahead->wanted) {
        return mmq_fail(why, MMQ_ECORRUPT, "PostgreSQL sends more rows than were asked for");
    }
    ahead->rows[ahead->count] = mmq_pg_row_take(postgres->link);
    return ahead->rows[ahead->count++] != NULL ? MMQ_OK
                                               : mmq_fail(why, MMQ_ENOMEM, "no memory for rows");
}

static mmq_err read_more(mmq_postgres *postgres, place from, mmq_why *why)
{
    const mmq_pg_ahead *ahead = &postgres->ahead;
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, ahead->metric);
    mmq_pg_bind_int(&values, 2, from.timestamp);
    mmq_pg_bind_int(&values, 3, from.rowid);
    mmq_pg_bind_int(&values, 4, (int64_t)ahead->wanted);
    bool row = true;
    mmq_err err = mmq_postgres_settle(postgres, why);
    if (err == MMQ_OK) {
        err = mmq_pg_queue(postgres->link, MMQ_P_AHEAD, &values, why);
    }
    while (err == MMQ_OK && row) {
        err = mmq_postgres_next_row(postgres, &row, why);
        if (err == MMQ_OK && row) {
            err = take_row(postgres, why);
        }
    }
    if (err != MMQ_OK) {
        mmq_pg_drop(postgres->link);
    }
    return err;
}

mmq_err mmq_postgres_block_after(mmq_store *store, const mmq_pg_values *values,
                                 const mmq_pg_row **row, mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    mmq_pg_ahead *ahead = &postgres->ahead;
    const int64_t metric = bound_int(values, 1);
    const place from = {bound_int(values, 2), bound_int(values, 3)};
    const bool on = follows(store, ahead, metric, from);
    mmq_err err = MMQ_OK;
    if (!on || !has_next(ahead, from)) {
        const bool all_asked = on && ahead->at == ahead->count;
        const size_t twice = 2 * ahead->wanted;
        mmq_postgres_forget_ahead(postgres);
        ahead->wanted = !all_asked ? 1 : twice < MMQ_PG_AHEAD_MAX ? twice : MMQ_PG_AHEAD_MAX;
        ahead->transaction = store->transaction;
        ahead->metric = metric;
        err = read_more(postgres, from, why);
    }
    *row = NULL;
    place here = {INT64_MAX, INT64_MAX}; /* of a damaged head, which ends the scan */
    if (err == MMQ_OK && ahead->at < ahead->count) {
        *row = ahead->rows[ahead->at++];
        (void)place_of(*row, &here);
        ahead->timestamp = here.timestamp;
        ahead->rowid = here.rowid;
    }
    return err;
}

mmq_pg_row *mmq_postgres_block_data(mmq_store *store, const mmq_pg_values *values)
{
    mmq_pg_ahead *ahead = &mmq_postgres_of(store)->ahead;
    int64_t key;
    if (ahead->transaction != store->transaction || ahead->metric != bound_int(values, 1) ||
        ahead->at == 0 || ahead->rows[ahead->at - 1] == NULL ||
        !mmq_pg_column_int(ahead->rows[ahead->at - 1], COLUMN_KEY, INT64_MIN, INT64_MAX, &key) ||
        key != bound_int(values, 2)) {
        return NULL;
    }
    mmq_pg_row *row = ahead->rows[ahead->at - 1];
    ahead->rows[ahead->at - 1] = NULL;
    return row;
}
