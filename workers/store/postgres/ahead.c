/* Reading ahead. A scan asks for the head of the next block, upwards or downwards, then for its
 * data, block by block: two round trips each. So blocks are read with their data, and as many as
 * the scan seems to want: twice as many each time that it went on where the last ones ended.
 *
 * What was read is a run of neighbours, so that it answers whatever can be answered within it. It
 * is of one transaction; how many the scan wanted is remembered beyond it, for the next page. */
#include "workers/store/postgres/engine.h"

enum { COLUMN_KEY = 9 }; /* of the row of a block: its head, then its data */

static mmq_pg_place place_of(const mmq_pg_values *values)
{
    return (mmq_pg_place){mmq_pg_bound_int(values, 2), mmq_pg_bound_int(values, 3)};
}

static bool is_before(mmq_pg_place a, mmq_pg_place b)
{
    return a.timestamp < b.timestamp || (a.timestamp == b.timestamp && a.rowid < b.rowid);
}

/* ---- what there is ---------------------------------------------------------------------- */

/* The row whose data somebody has at hand is theirs to give back. */
static void forget_rows(mmq_pg_ahead *ahead)
{
    for (size_t i = 0; i < ahead->count; i++) {
        if (ahead->rows[i] == ahead->lent) {
            ahead->lent_alone = true;
        } else {
            mmq_pg_row_free(&ahead->rows[i]);
        }
    }
    ahead->count = 0;
}

void mmq_postgres_forget_ahead(mmq_postgres *postgres)
{
    forget_rows(&postgres->ahead);
    postgres->ahead.transaction = 0;
    mmq_postgres_forget_expected(postgres);
}

void mmq_postgres_give_back(mmq_postgres *postgres)
{
    mmq_pg_ahead *ahead = &postgres->ahead;
    if (ahead->lent_alone) {
        mmq_pg_row_free(&ahead->lent);
    }
    ahead->lent = NULL;
    ahead->lent_alone = false;
}

static bool is_up(mmq_query seek)
{
    return seek != MMQ_Q_BLOCK_AT;
}

/* Of blocks [0, count), which ascend, how many begin at the place or before. */
static size_t count_up_to(const mmq_pg_ahead *ahead, mmq_pg_place place)
{
    size_t count = ahead->count;
    while (count > 0 && is_before(place, ahead->first[count - 1])) {
        count--;
    }
    return count;
}

/* The block that begins at the place or before is the last of those, or there is none. */
static bool knows_at(const mmq_pg_ahead *ahead, mmq_pg_place place, size_t before)
{
    const bool up = is_up(ahead->seek);
    if (before == 0) { /* there may be others before the first */
        return !up && ahead->ends && !is_before(ahead->asked, place);
    }
    return before < ahead->count || !is_before(ahead->first[before - 1], place) ||
           (up ? ahead->ends : !is_before(ahead->asked, place));
}

/* The first block that begins behind the place comes after those, or there is none. */
static bool knows_after(const mmq_pg_ahead *ahead, mmq_pg_place place, size_t before)
{
    const bool up = is_up(ahead->seek);
    if (before == 0 && (!up || is_before(place, ahead->asked))) {
        return false; /* there may be others before the first */
    }
    return before < ahead->count || (up && ahead->ends);
}

/* False: that is not known. *at is ahead->count if there is no such block. */
static bool find(const mmq_pg_ahead *ahead, mmq_query seek, mmq_pg_place place, size_t *at)
{
    const size_t before = count_up_to(ahead, place);
    if (seek == MMQ_Q_BLOCK_AT || (seek == MMQ_Q_BLOCK_FROM && before > 0)) {
        *at = before > 0 ? before - 1 : ahead->count;
        return knows_at(ahead, place, before);
    }
    *at = before;
    return knows_after(ahead, place, before) &&
           (seek == MMQ_Q_BLOCK_AFTER || ahead->seek == MMQ_Q_BLOCK_FROM);
}

/* ---- reading ---------------------------------------------------------------------------- */

/* The rows of a run downwards come from its end. */
static mmq_err add_row(mmq_pg_ahead *ahead, mmq_pg_row *row, mmq_why *why)
{
    const size_t i = ahead->count;
    ahead->rows[i] = row;
    ahead->count = i + 1;
    mmq_pg_place *first = &ahead->first[i];
    if (!mmq_pg_column_int(row, 0, INT64_MIN, INT64_MAX, &first->timestamp) ||
        !mmq_pg_column_int(row, 1, INT64_MIN, INT64_MAX, &first->rowid) ||
        (i > 0 && is_before(ahead->first[i - 1], ahead->first[i]) != is_up(ahead->seek))) {
        return mmq_fail(why, MMQ_ECORRUPT, "the store is damaged: the order of blocks");
    }
    return MMQ_OK;
}

static mmq_err take_row(mmq_postgres *postgres, mmq_why *why)
{
    mmq_pg_ahead *ahead = &postgres->ahead;
    if (ahead->count == ahead->wanted + 1) { /* one may end where it was asked */
        return mmq_fail(why, MMQ_ECORRUPT, "PostgreSQL sends more rows than were asked for");
    }
    mmq_pg_row *row = mmq_pg_row_take(postgres->link);
    return row != NULL ? add_row(ahead, row, why) : mmq_fail(why, MMQ_ENOMEM, "no memory for rows");
}

static void turn_round(mmq_pg_ahead *ahead)
{
    for (size_t low = 0, high = ahead->count; low + 1 < high; low++) {
        high--;
        mmq_pg_row *row = ahead->rows[low];
        const mmq_pg_place first = ahead->first[low];
        ahead->rows[low] = ahead->rows[high];
        ahead->first[low] = ahead->first[high];
        ahead->rows[high] = row;
        ahead->first[high] = first;
    }
}

static const unsigned statement_of[] = {
    [MMQ_Q_BLOCK_AT] = MMQ_P_AHEAD_AT,
    [MMQ_Q_BLOCK_AFTER] = MMQ_P_AHEAD_AFTER,
    [MMQ_Q_BLOCK_FROM] = MMQ_P_AHEAD_FROM,
};

static mmq_err read_rows(mmq_postgres *postgres, mmq_why *why)
{
    const mmq_pg_ahead *ahead = &postgres->ahead;
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, ahead->metric);
    mmq_pg_bind_int(&values, 2, ahead->asked.timestamp);
    mmq_pg_bind_int(&values, 3, ahead->asked.rowid);
    mmq_pg_bind_int(&values, 4, (int64_t)ahead->wanted);
    mmq_err err = mmq_postgres_settle(postgres, why);
    if (err == MMQ_OK) {
        err = mmq_pg_queue(postgres->link, statement_of[ahead->seek], &values, why);
    }
    bool row = true;
    while (err == MMQ_OK && row) {
        err = mmq_postgres_next_row(postgres, &row, why);
        if (err == MMQ_OK && row) {
            err = take_row(postgres, why);
        }
    }
    return err;
}

/* How many blocks to read from the place on. */
static size_t want(const mmq_pg_ahead *ahead, int64_t metric, mmq_query seek, mmq_pg_place place)
{
    const bool up = is_up(seek);
    const bool follows = ahead->metric == metric && ahead->wanted > 0 && is_up(ahead->seek) == up &&
                         !is_before(up ? place : ahead->asked, up ? ahead->asked : place);
    if (!follows) {
        return 1;
    }
    return ahead->used < ahead->wanted            ? ahead->wanted
           : 2 * ahead->wanted < MMQ_PG_AHEAD_MAX ? 2 * ahead->wanted
                                                  : MMQ_PG_AHEAD_MAX;
}

/* A run that is to be read, or was: it begins at the place. */
static void begin_run(mmq_store *store, int64_t metric, mmq_query seek, mmq_pg_place place)
{
    mmq_pg_ahead *ahead = &mmq_postgres_of(store)->ahead;
    forget_rows(ahead);
    ahead->transaction = store->transaction;
    ahead->metric = metric;
    ahead->seek = seek;
    ahead->asked = place;
    ahead->used = 0;
}

/* A block that begins at the place or before and does not end behind it is not among those that
 * were wanted: as the statement has it. */
static bool has_one_beside(const mmq_pg_ahead *ahead)
{
    mmq_pg_place last = {0};
    if (ahead->seek != MMQ_Q_BLOCK_FROM || ahead->count == 0 ||
        is_before(ahead->asked, ahead->first[0])) {
        return false;
    }
    return !mmq_pg_column_int(ahead->rows[0], 2, INT64_MIN, INT64_MAX, &last.timestamp) ||
           !mmq_pg_column_int(ahead->rows[0], 3, INT64_MIN, INT64_MAX, &last.rowid) ||
           !is_before(ahead->asked, last);
}

static void end_run(mmq_pg_ahead *ahead)
{
    ahead->ends = ahead->count < ahead->wanted + (has_one_beside(ahead) ? 1 : 0);
}

static mmq_err read_run(mmq_store *store, int64_t metric, mmq_query seek, mmq_pg_place place,
                        mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    mmq_pg_ahead *ahead = &postgres->ahead;
    ahead->wanted = want(ahead, metric, seek, place);
    begin_run(store, metric, seek, place);
    mmq_err err = read_rows(postgres, why);
    if (err != MMQ_OK) {
        mmq_pg_drop(postgres->link);
        mmq_postgres_forget_ahead(postgres);
        return err;
    }
    end_run(ahead);
    if (!is_up(seek)) {
        turn_round(ahead);
    }
    return MMQ_OK;
}

/* What was expected is a run of one. *taken false: it was not. */
static mmq_err take_expected(mmq_store *store, int64_t metric, bool up, mmq_pg_place place,
                             bool *taken, mmq_why *why)
{
    mmq_pg_ahead *ahead = &mmq_postgres_of(store)->ahead;
    const mmq_sought sought = {metric, place.timestamp, place.rowid};
    mmq_pg_row *rows[MMQ_PG_EXPECTED_ROWS];
    *taken = mmq_postgres_take_expected(store, up, &sought, rows);
    if (!*taken) {
        return MMQ_OK;
    }
    begin_run(store, metric, up ? MMQ_Q_BLOCK_FROM : MMQ_Q_BLOCK_AT, place);
    ahead->wanted = 1;
    mmq_err err = MMQ_OK;
    for (size_t i = 0; i < MMQ_PG_EXPECTED_ROWS && rows[i] != NULL; i++) {
        mmq_err added = add_row(ahead, rows[i], why); /* it owns the row in any case */
        err = err == MMQ_OK ? added : err;
    }
    end_run(ahead);
    if (err != MMQ_OK) {
        mmq_postgres_forget_ahead(mmq_postgres_of(store));
    }
    return err;
}

/* Sees to it that the run has the block; *at: where, or ahead->count if there is no such block. */
static mmq_err look_for(mmq_store *store, int64_t metric, mmq_query seek, mmq_pg_place place,
                        size_t *at, mmq_why *why)
{
    mmq_pg_ahead *ahead = &mmq_postgres_of(store)->ahead;
    bool known = ahead->transaction == store->transaction && ahead->metric == metric &&
                 find(ahead, seek, place, at);
    mmq_err err = MMQ_OK;
    if (!known) {
        err = take_expected(store, metric, is_up(seek), place, &known, why);
        known = known && err == MMQ_OK && find(ahead, seek, place, at);
    }
    if (!known && err == MMQ_OK) {
        err = read_run(store, metric, seek, place, why);
        *at = is_up(seek) || ahead->count == 0 ? 0 : ahead->count - 1;
    }
    return err;
}

mmq_err mmq_postgres_block(mmq_store *store, mmq_query seek, const mmq_pg_values *values,
                           const mmq_pg_row **row, mmq_why *why)
{
    mmq_pg_ahead *ahead = &mmq_postgres_of(store)->ahead;
    size_t at = 0;
    mmq_err err = look_for(store, mmq_pg_bound_int(values, 1), seek, place_of(values), &at, why);
    *row = NULL;
    if (err == MMQ_OK && at < ahead->count) {
        const size_t used = is_up(ahead->seek) ? at + 1 : ahead->count - at;
        ahead->used = used > ahead->used ? used : ahead->used;
        ahead->given = ahead->first[at];
        *row = ahead->rows[at];
    }
    return err;
}

const mmq_pg_row *mmq_postgres_block_data(mmq_store *store, const mmq_pg_values *values)
{
    mmq_pg_ahead *ahead = &mmq_postgres_of(store)->ahead;
    const size_t at = count_up_to(ahead, ahead->given);
    int64_t key;
    if (ahead->transaction != store->transaction || at == 0 ||
        ahead->metric != mmq_pg_bound_int(values, 1) ||
        !mmq_pg_column_int(ahead->rows[at - 1], COLUMN_KEY, INT64_MIN, INT64_MAX, &key) ||
        key != mmq_pg_bound_int(values, 2) ||
        mmq_pg_column_null(ahead->rows[at - 1], MMQ_PG_AHEAD_DATA)) {
        return NULL;
    }
    mmq_postgres_give_back(mmq_postgres_of(store));
    ahead->lent = ahead->rows[at - 1];
    return ahead->lent;
}
