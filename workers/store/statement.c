/* Statements: each is prepared once a connection and used again and again. Preparing them all at
 * open is also the check that the store has the tables and columns that we know.
 *
 * Nothing that is read back is believed: SQLite does not notice most single-bit flips, and a server
 * is a peer. So each column is checked for its type and range, and a wrong one is MMQ_ECORRUPT. */
#include "workers/store/handle.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/uid.h"

void mmq_finalize(mmq_prepared **statement)
{
    if (*statement != NULL) {
        (*statement)->engine->finalize(*statement);
        *statement = NULL;
    }
}

mmq_err mmq_statement_prepare(mmq_store *store, mmq_query query, mmq_why *why)
{
    return store->statements[query] != NULL
               ? MMQ_OK
               : store->engine->prepare(store, (int)query, &store->statements[query], why);
}

mmq_err mmq_statements_prepare(mmq_store *store, mmq_why *why)
{
    int count = store->mode == MMQ_STORE_READ ? MMQ_Q_READERS : MMQ_Q_WRITERS;
    mmq_err err = MMQ_OK;
    for (int i = 0; i < count && err == MMQ_OK; i++) {
        err = mmq_statement_prepare(store, (mmq_query)i, why);
    }
    return err;
}

void mmq_statements_finalize(mmq_store *store)
{
    for (int i = 0; i < MMQ_Q_COUNT; i++) {
        mmq_finalize(&store->statements[i]);
    }
}

mmq_prepared *mmq_statement(mmq_store *store, mmq_query query)
{
    mmq_prepared *statement = store->statements[query];
    CHECK(statement != NULL);
    mmq_done(statement);
    return statement;
}

/* A statement that failed may have been half done: the whole write transaction is lost. */
static void note_failure(mmq_store *store)
{
    if (store->phase == MMQ_PHASE_WRITE) {
        store->phase = MMQ_PHASE_FAILED;
    }
}

mmq_err mmq_step(mmq_store *store, mmq_prepared *statement, bool *row, mmq_why *why)
{
    *row = false;
    mmq_err err = store->engine->step(store, statement, row, why);
    if (err != MMQ_OK) {
        note_failure(store);
    }
    if (!*row) {
        mmq_done(statement);
    }
    return err;
}

mmq_err mmq_run(mmq_store *store, mmq_prepared *statement, mmq_why *why)
{
    bool row = true;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && row) {
        err = mmq_step(store, statement, &row, why);
    }
    return err;
}

int64_t mmq_changes(mmq_store *store)
{
    return store->engine->changes(store);
}

void mmq_done(mmq_prepared *statement)
{
    statement->engine->reset(statement);
}

mmq_err mmq_read_int(mmq_store *store, mmq_prepared *statement, bool *found, int64_t *out,
                     const char *what, mmq_why *why)
{
    mmq_err err = mmq_step(store, statement, found, why);
    if (err == MMQ_OK && *found && !mmq_column_int(statement, 0, 0, INT64_MAX, out)) {
        err = mmq_damaged(store, what, why);
    }
    mmq_done(statement);
    return err;
}

mmq_err mmq_read_key(mmq_store *store, mmq_prepared *statement, int64_t *key, mmq_why *why)
{
    bool found;
    mmq_err err = mmq_read_int(store, statement, &found, key, "a new key", why);
    return err == MMQ_OK && (!found || *key == 0) ? mmq_damaged(store, "a new key", why) : err;
}

mmq_err mmq_damaged(mmq_store *store, const char *what, mmq_why *why)
{
    note_failure(store);
    return mmq_fail(why, MMQ_ECORRUPT, "the store is damaged: %s; restore a backup", what);
}

/* ---- parameters and columns ------------------------------------------------------------- */

void mmq_bind_int(mmq_prepared *statement, int index, int64_t value)
{
    statement->engine->bind_int(statement, index, value);
}

void mmq_bind_text(mmq_prepared *statement, int index, const char *text)
{
    statement->engine->bind_text(statement, index, text);
}

void mmq_bind_score(mmq_prepared *statement, int index, double score)
{
    statement->engine->bind_score(statement, index, score);
}

void mmq_bind_blob(mmq_prepared *statement, int index, const void *data, size_t size)
{
    statement->engine->bind_blob(statement, index, data, size);
}

bool mmq_column_int(mmq_prepared *statement, int index, int64_t least, int64_t most, int64_t *out)
{
    return statement->engine->column_int(statement, index, out) && *out >= least && *out <= most;
}

int64_t mmq_column_number(mmq_prepared *statement, int index)
{
    int64_t number = 0;
    return statement->engine->column_int(statement, index, &number) ? number : 0;
}

bool mmq_column_value(mmq_prepared *statement, int index, double *out)
{
    return statement->engine->column_double(statement, index, out) && isfinite(*out);
}

bool mmq_column_score(mmq_prepared *statement, int index, double *out)
{
    if (mmq_column_is_null(statement, index)) {
        *out = NAN;
        return true;
    }
    return mmq_column_value(statement, index, out);
}

bool mmq_column_is_null(mmq_prepared *statement, int index)
{
    return statement->engine->is_null(statement, index);
}

const char *mmq_column_text(mmq_prepared *statement, int index, size_t *size)
{
    return statement->engine->column_text(statement, index, size);
}

const void *mmq_column_blob(mmq_prepared *statement, int index, size_t *size)
{
    return statement->engine->column_blob(statement, index, size);
}

mmq_err mmq_column_head(mmq_store *store, mmq_prepared *statement, mmq_metric_head *out,
                        mmq_why *why)
{
    size_t size;
    const char *uid = mmq_column_text(statement, 1, &size);
    if (!mmq_column_int(statement, 0, 1, INT64_MAX, &out->key) || uid == NULL ||
        !mmq_uid_valid(uid, size) || !mmq_column_int(statement, 2, 1, INT64_MAX, &out->made) ||
        !mmq_column_int(statement, 3, out->made, INT64_MAX, &out->changed) ||
        !mmq_column_int(statement, 4, 0, MMQ_ROWID_MAX, &out->last_rowid)) {
        return mmq_damaged(store, "a metric's record", why);
    }
    memcpy(out->uid, uid, size);
    out->uid[size] = '\0';
    return MMQ_OK;
}
