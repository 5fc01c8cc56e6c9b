/* Statements: bound, queued, stepped. Results come in the order of the queue, so before another
 * statement is queued the rows that one still has are put aside: those are few, since walks ask for
 * them in pieces. */
#include "workers/store/postgres/engine.h"

#include <stdlib.h>

#include "lib/check.h"

enum {
    KEPT_MAX = 4096,            /* rows put aside: more than any of our statements has */
    QUEUED_ENOUGH = 200,        /* statements that only write, before one waits for them */
    ROWS_DROPPED_MAX = 1000000, /* the lengths of a metric at its commits of an hour are most */
};

static mmq_pg_prepared *of(mmq_prepared *prepared)
{
    return (mmq_pg_prepared *)(void *)prepared;
}

/* ---- life ------------------------------------------------------------------------------- */

mmq_err mmq_postgres_prepare(mmq_store *store, int query, mmq_prepared **out, mmq_why *why)
{
    mmq_pg_prepared *made = calloc(1, sizeof *made);
    *out = NULL;
    if (made == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a statement");
    }
    made->base.engine = &mmq_engine_postgres;
    made->postgres = mmq_postgres_of(store);
    made->query = (unsigned)query;
    *out = &made->base;
    return MMQ_OK;
}

static void forget_rows(mmq_pg_prepared *statement)
{
    const size_t first = statement->kept_at > 0 ? statement->kept_at - 1 : 0; /* it may be at one */
    for (size_t i = first; i < statement->kept_count; i++) {
        mmq_pg_row_free(&statement->kept[i]);
    }
    if (statement->borrows) {
        mmq_postgres_give_back(statement->postgres);
    }
    free(statement->kept);
    statement->borrows = false;
    statement->kept = NULL;
    statement->kept_count = statement->kept_at = 0;
    statement->row = NULL;
    statement->state = MMQ_PG_READY;
}

/* The rest of its rows is read and dropped. Where that fails the connection is of no use: the next
 * statement says so. */
static void end_flow(mmq_pg_prepared *statement)
{
    mmq_postgres *postgres = statement->postgres;
    mmq_why why;
    bool row = true;
    for (int spare = ROWS_DROPPED_MAX;
         row && spare > 0 && mmq_pg_step(postgres->link, &row, &why) == MMQ_OK; spare--) {
    }
    if (row) {
        mmq_pg_drop(postgres->link);
    }
    postgres->flowing = NULL;
}

void mmq_postgres_reset(mmq_prepared *prepared)
{
    mmq_pg_prepared *statement = of(prepared);
    if (statement->state == MMQ_PG_FLOWING) {
        end_flow(statement);
    }
    forget_rows(statement);
}

void mmq_postgres_finalize(mmq_prepared *prepared)
{
    mmq_postgres_reset(prepared);
    free(prepared);
}

/* ---- rows ------------------------------------------------------------------------------- */

mmq_err mmq_postgres_next_row(mmq_postgres *postgres, bool *row, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && mmq_pg_queued(postgres->link) > 1) {
        err = mmq_pg_step(postgres->link, row, why);
    }
    if (err == MMQ_OK) {
        err = mmq_pg_step(postgres->link, row, why);
    }
    if (err != MMQ_OK) {
        *row = false;
    } else if (!*row) {
        postgres->changes = mmq_pg_changes(postgres->link);
    }
    return err;
}

static mmq_err keep_row(mmq_pg_prepared *statement, mmq_why *why)
{
    if (statement->kept_count == KEPT_MAX) {
        return mmq_fail(why, MMQ_ECORRUPT, "PostgreSQL sends more rows than there can be");
    }
    if (statement->kept_count % 64 == 0) {
        mmq_pg_row **kept = reallocarray(statement->kept, statement->kept_count + 64, sizeof *kept);
        if (kept == NULL) {
            return mmq_fail(why, MMQ_ENOMEM, "no memory for rows");
        }
        statement->kept = kept;
    }
    mmq_pg_row *taken = mmq_pg_row_take(statement->postgres->link);
    if (taken == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for rows");
    }
    statement->kept[statement->kept_count++] = taken;
    return MMQ_OK;
}

mmq_err mmq_postgres_settle(mmq_postgres *postgres, mmq_why *why)
{
    mmq_pg_prepared *statement = postgres->flowing;
    if (statement == NULL) {
        return MMQ_OK;
    }
    bool row = true;
    mmq_err err = MMQ_OK;
    if (statement->row != NULL) { /* whoever looks at it may go on to */
        statement->kept_at = 1;
        err = keep_row(statement, why);
        statement->row = err == MMQ_OK ? statement->kept[0] : NULL;
    }
    while (err == MMQ_OK && row) {
        err = mmq_postgres_next_row(postgres, &row, why);
        if (err == MMQ_OK && row) {
            err = keep_row(statement, why);
        }
    }
    postgres->flowing = NULL;
    statement->state = MMQ_PG_KEPT;
    if (err != MMQ_OK) {
        mmq_pg_drop(postgres->link);
    }
    return err;
}

/* Those put aside belong to the statement, the one that it is at is before kept_at. */
static void next_kept(mmq_pg_prepared *statement, bool *row)
{
    if (statement->kept_at > 0) {
        mmq_pg_row_free(&statement->kept[statement->kept_at - 1]);
    }
    *row = statement->kept_at < statement->kept_count;
    statement->row = *row ? statement->kept[statement->kept_at++] : NULL;
}

static mmq_err flow(mmq_pg_prepared *statement, bool *row, mmq_why *why)
{
    mmq_postgres *postgres = statement->postgres;
    mmq_err err = mmq_postgres_next_row(postgres, row, why);
    statement->row = *row ? mmq_pg_row_at(postgres->link) : NULL;
    if (!*row) {
        postgres->flowing = NULL;
        statement->state = MMQ_PG_READY;
    }
    return err;
}

static mmq_err begin_flow(mmq_pg_prepared *statement, unsigned query, bool *row, mmq_why *why)
{
    mmq_postgres *postgres = statement->postgres;
    mmq_err err = mmq_postgres_settle(postgres, why);
    if (err == MMQ_OK) {
        err = mmq_pg_queue(postgres->link, query, &statement->values, why);
    }
    if (err == MMQ_OK) {
        statement->state = MMQ_PG_FLOWING;
        postgres->flowing = statement;
        err = flow(statement, row, why);
    }
    return err;
}

/* ---- statements that are not as others -------------------------------------------------- */

/* Those that nobody waits for. */
static bool only_writes(unsigned query)
{
    return query == MMQ_Q_SET_STATE || query == MMQ_Q_ADD_BLOCK || query == MMQ_Q_SET_BLOCK ||
           query == MMQ_Q_DROP_BLOCK || query == MMQ_Q_SET_BLOCK_DATA ||
           query == MMQ_Q_DROP_BLOCK_DATA || query == MMQ_Q_ADD_BLOCK_DATA ||
           query == MMQ_Q_FORGET || query == MMQ_Q_DELETE_GROWTH;
}

static mmq_err queue(mmq_pg_prepared *statement, mmq_why *why)
{
    mmq_postgres *postgres = statement->postgres;
    mmq_err err = mmq_postgres_settle(postgres, why);
    if (err == MMQ_OK && mmq_pg_queued(postgres->link) >= QUEUED_ENOUGH) {
        err = mmq_pg_finish(postgres->link, why);
    }
    return err == MMQ_OK ? mmq_pg_queue(postgres->link, statement->query, &statement->values, why)
                         : err;
}

/* Keys are drawn from their sequence many at a time. */
static mmq_err draw_keys(mmq_postgres *postgres, mmq_why *why)
{
    mmq_pg_values values = {0};
    bool row = true;
    mmq_pg_bind_int(&values, 1, MMQ_PG_DATA_KEYS);
    mmq_err err = mmq_postgres_settle(postgres, why);
    if (err == MMQ_OK) {
        err = mmq_pg_queue(postgres->link, MMQ_P_DATA_KEYS, &values, why);
    }
    while (err == MMQ_OK && row) {
        err = mmq_postgres_next_row(postgres, &row, why);
        if (err == MMQ_OK && row &&
            (postgres->data_keys_left == MMQ_PG_DATA_KEYS ||
             !mmq_pg_column_int(mmq_pg_row_at(postgres->link), 0, 1, INT64_MAX,
                                &postgres->data_keys[postgres->data_keys_left++]))) {
            mmq_pg_drop(postgres->link);
            err = mmq_fail(why, MMQ_ECORRUPT, "the store is damaged: a new key");
        }
    }
    return err == MMQ_OK && postgres->data_keys_left == 0
               ? mmq_fail(why, MMQ_ECORRUPT, "the store is damaged: a new key")
               : err;
}

/* Says its key without waiting for the row to be there. */
static mmq_err add_data(mmq_pg_prepared *statement, bool *row, mmq_why *why)
{
    mmq_postgres *postgres = statement->postgres;
    mmq_err err = postgres->data_keys_left == 0 ? draw_keys(postgres, why) : MMQ_OK;
    if (err != MMQ_OK) {
        return err;
    }
    statement->number = postgres->data_keys[--postgres->data_keys_left];
    mmq_pg_bind_int(&statement->values, 3, statement->number);
    err = queue(statement, why);
    *row = err == MMQ_OK;
    statement->row = NULL;
    statement->state = MMQ_PG_KEPT;
    return err;
}

/* The lock of a metric is waited for only while we have none, so that two writers never wait for
 * each other. */
static mmq_err find_locked(mmq_store *store, mmq_pg_prepared *statement, bool *row, mmq_why *why)
{
    mmq_postgres *postgres = statement->postgres;
    bool there;
    mmq_err err =
        begin_flow(statement, postgres->locks == 0 ? MMQ_Q_FIND_LOCKED : MMQ_P_FIND_FREE, row, why);
    if (err != MMQ_OK || *row || postgres->locks == 0) {
        postgres->locks += *row ? 1 : 0;
        return err;
    }
    err = mmq_postgres_ask(postgres, MMQ_Q_FIND, &statement->values, &there, NULL, why);
    store->contended = err == MMQ_OK && there;
    return err;
}

/* The row is not the statement's. */
static mmq_err take_ahead(mmq_pg_prepared *statement, mmq_err err, bool *row)
{
    *row = statement->row != NULL;
    statement->state = MMQ_PG_KEPT;
    return err;
}

static mmq_err begin(mmq_store *store, mmq_pg_prepared *statement, bool *row, mmq_why *why)
{
    mmq_postgres *postgres = statement->postgres;
    mmq_err err;
    *row = false;
    switch (statement->query) {
    case MMQ_Q_FIND_LOCKED:
        return find_locked(store, statement, row, why);
    case MMQ_Q_GROW: /* the commit's number is not drawn yet */
        return mmq_postgres_touch(postgres, mmq_pg_bound_int(&statement->values, 1),
                                  mmq_pg_bound_int(&statement->values, 3), why);
    case MMQ_Q_ADD_BLOCK_DATA:
        return add_data(statement, row, why);
    case MMQ_Q_BLOCK_AT:
    case MMQ_Q_BLOCK_AFTER:
    case MMQ_Q_BLOCK_FROM:
        if (store->phase == MMQ_PHASE_READ) {
            err = mmq_postgres_block(store, (mmq_query)statement->query, &statement->values,
                                     &statement->row, why);
            return take_ahead(statement, err, row);
        }
        break;
    case MMQ_Q_BLOCK_DATA:
        statement->row = mmq_postgres_block_data(store, &statement->values);
        if (statement->row != NULL) {
            statement->borrows = true;
            return take_ahead(statement, MMQ_OK, row);
        }
        break;
    default:
        break;
    }
    if (statement->query == MMQ_Q_SET_STATE) {
        err = mmq_postgres_touch(postgres, mmq_pg_bound_int(&statement->values, 1), -1, why);
        if (err != MMQ_OK) {
            return err;
        }
    }
    return only_writes(statement->query) ? queue(statement, why)
                                         : begin_flow(statement, statement->query, row, why);
}

mmq_err mmq_postgres_step(mmq_store *store, mmq_prepared *prepared, bool *row, mmq_why *why)
{
    mmq_pg_prepared *statement = of(prepared);
    switch (statement->state) {
    case MMQ_PG_FLOWING:
        return flow(statement, row, why);
    case MMQ_PG_KEPT:
        next_kept(statement, row);
        return MMQ_OK;
    case MMQ_PG_READY:
    default:
        return begin(store, statement, row, why);
    }
}

int64_t mmq_postgres_changes(mmq_store *store)
{
    return mmq_postgres_of(store)->changes;
}

int64_t mmq_postgres_total_changes(mmq_store *store)
{
    return mmq_pg_total_changes(mmq_postgres_of(store)->link);
}

mmq_err mmq_postgres_ask(mmq_postgres *postgres, unsigned query, const mmq_pg_values *values,
                         bool *found, int64_t *number, mmq_why *why)
{
    bool row = true;
    *found = false;
    mmq_err err = mmq_postgres_settle(postgres, why);
    if (err == MMQ_OK) {
        err = mmq_pg_queue(postgres->link, query, values, why);
    }
    while (err == MMQ_OK && row) {
        err = mmq_postgres_next_row(postgres, &row, why);
        *found |= err == MMQ_OK && row;
        if (err == MMQ_OK && row && number != NULL &&
            !mmq_pg_column_int(mmq_pg_row_at(postgres->link), 0, INT64_MIN, INT64_MAX, number)) {
            mmq_pg_drop(postgres->link);
            err = mmq_fail(why, MMQ_ECORRUPT, "the store is damaged: a number is none");
        }
    }
    return err;
}

/* ---- parameters and columns ------------------------------------------------------------- */

void mmq_postgres_bind_int(mmq_prepared *prepared, int index, int64_t value)
{
    mmq_pg_bind_int(&of(prepared)->values, index, value);
}

void mmq_postgres_bind_text(mmq_prepared *prepared, int index, const char *text)
{
    mmq_pg_bind_text(&of(prepared)->values, index, text);
}

void mmq_postgres_bind_score(mmq_prepared *prepared, int index, double score)
{
    mmq_pg_bind_score(&of(prepared)->values, index, score);
}

void mmq_postgres_bind_blob(mmq_prepared *prepared, int index, const void *data, size_t size)
{
    mmq_pg_bind_bytes(&of(prepared)->values, index, data, size);
}

bool mmq_postgres_is_null(mmq_prepared *prepared, int column)
{
    const mmq_pg_row *row = of(prepared)->row;
    return row != NULL && mmq_pg_column_null(row, column);
}

bool mmq_postgres_column_int(mmq_prepared *prepared, int column, int64_t *out)
{
    const mmq_pg_prepared *statement = of(prepared);
    if (statement->row == NULL) {
        *out = statement->number;
        return column == 0;
    }
    return mmq_pg_column_int(statement->row, column, INT64_MIN, INT64_MAX, out);
}

bool mmq_postgres_column_double(mmq_prepared *prepared, int column, double *out)
{
    const mmq_pg_row *row = of(prepared)->row;
    return row != NULL && mmq_pg_column_value(row, column, out);
}

const char *mmq_postgres_column_text(mmq_prepared *prepared, int column, size_t *size)
{
    const mmq_pg_row *row = of(prepared)->row;
    return row != NULL ? mmq_pg_column_text(row, column, size) : NULL;
}

const void *mmq_postgres_column_blob(mmq_prepared *prepared, int column, size_t *size)
{
    const mmq_pg_row *row = of(prepared)->row;
    if (row == NULL) {
        return NULL;
    }
    /* A block that was read ahead has its data behind its head. */
    const bool ahead = of(prepared)->query == MMQ_Q_BLOCK_DATA && mmq_pg_columns(row) > 1;
    return mmq_pg_column_bytes(row, ahead ? MMQ_PG_AHEAD_DATA : column, size);
}
