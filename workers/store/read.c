/* Reading: transactions, heads of metrics, lengths at commits. Rows are in rows.c. */
#include "workers/store/blocks.h"

#include <stdatomic.h>
#include <string.h>

#include "lib/check.h"

static mmq_err read_snapshot(mmq_store *store, mmq_snapshot *out, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_SNAPSHOT);
    bool row;
    mmq_err err = mmq_step(store, statement, &row, why);
    if (err != MMQ_OK) {
        return err;
    }
    int64_t id = 0;
    if (!row || !mmq_column_int(statement, 0, INT64_MIN, INT64_MAX, &id) ||
        !mmq_column_int(statement, 1, 0, INT64_MAX - 1, &out->commit) ||
        !mmq_column_int(statement, 2, 0, INT64_MAX, &out->behind)) {
        err = mmq_damaged(store, "its id or commit number", why);
    }
    out->store = (uint64_t)id;
    mmq_done(statement);
    return err;
}

mmq_err mmq_transaction_begin(mmq_store *store, bool writes, mmq_snapshot *out, mmq_why *why)
{
    static atomic_uint_fast64_t serial; /* a range may go on in another handle */
    CHECK(store->phase == MMQ_PHASE_IDLE);
    store->transaction = atomic_fetch_add(&serial, 1) + 1;
    mmq_err err = store->engine->begin(store, writes, why);
    if (err == MMQ_OK) {
        err = read_snapshot(store, out, why);
    }
    if (err != MMQ_OK) {
        mmq_transaction_undo(store);
    }
    return err;
}

void mmq_transaction_undo(mmq_store *store)
{
    mmq_blocks_close(store);
    store->engine->undo(store);
    store->phase = MMQ_PHASE_IDLE;
}

mmq_err mmq_store_begin_read(mmq_store *store, mmq_snapshot *out, mmq_why *why)
{
    mmq_err err = mmq_transaction_begin(store, false, out, why);
    if (err == MMQ_OK) {
        store->phase = MMQ_PHASE_READ;
    }
    return err;
}

void mmq_store_end_read(mmq_store *store)
{
    CHECK(store->phase == MMQ_PHASE_READ);
    mmq_transaction_undo(store);
}

mmq_err mmq_store_find(mmq_store *store, const char *uid, mmq_metric_head *out, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE);
    const bool writes = store->phase == MMQ_PHASE_WRITE;
    mmq_prepared *statement = mmq_statement(store, writes ? MMQ_Q_FIND_LOCKED : MMQ_Q_FIND);
    store->contended = false;
    mmq_bind_text(statement, 1, uid);
    bool row;
    mmq_err err = mmq_step(store, statement, &row, why);
    if (err == MMQ_OK && row) {
        err = mmq_column_head(store, statement, out, why);
    }
    if (err == MMQ_OK && row && strcmp(out->uid, uid) != 0) {
        err = mmq_damaged(store, "a metric's uid", why);
    }
    mmq_done(statement);
    if (err == MMQ_OK && store->contended) {
        return mmq_fail(why, MMQ_EBUSY, "another write worker changes metric %.100s", uid);
    }
    return err == MMQ_OK && !row ? mmq_fail(why, MMQ_ENOTFOUND, "there is no metric %.100s", uid)
                                 : err;
}

mmq_err mmq_store_heads(mmq_store *store, const char *after, mmq_metric_head *out, size_t capacity,
                        size_t *count, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE && capacity <= INT32_MAX);
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_HEADS);
    mmq_bind_text(statement, 1, after);
    mmq_bind_int(statement, 2, (int64_t)capacity);
    mmq_err err = MMQ_OK;
    const char *previous = after;
    *count = 0;
    while (err == MMQ_OK && *count < capacity) {
        bool row;
        err = mmq_step(store, statement, &row, why);
        if (err != MMQ_OK || !row) {
            break;
        }
        err = mmq_column_head(store, statement, &out[*count], why);
        if (err == MMQ_OK && strcmp(out[*count].uid, previous) <= 0) {
            err = mmq_damaged(store, "the order of uids", why);
        }
        out[*count].monitored = mmq_column_number(statement, 5) != 0;
        previous = out[*count].uid;
        (*count)++;
    }
    mmq_done(statement);
    return err;
}

mmq_err mmq_store_length_at(mmq_store *store, const mmq_metric_head *metric, int64_t commit,
                            int64_t *last_rowid, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE);
    *last_rowid = commit < metric->made ? 0 : metric->last_rowid;
    if (commit < metric->made || commit >= metric->changed) {
        return MMQ_OK;
    }
    int64_t forgotten = 0, length;
    bool found;
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_FORGOTTEN);
    mmq_bind_int(statement, 1, metric->key);
    mmq_err err = mmq_read_int(store, statement, &found, &forgotten, "a count of rows", why);
    if (err != MMQ_OK) {
        return err;
    }
    if (forgotten > commit) {
        return mmq_fail(why, MMQ_EGONE, "the cursor is older than the store remembers");
    }
    statement = mmq_statement(store, MMQ_Q_LENGTH_AT);
    mmq_bind_int(statement, 1, metric->key);
    mmq_bind_int(statement, 2, commit);
    err = mmq_read_int(store, statement, &found, &length, "a count of rows", why);
    if (err == MMQ_OK && found) {
        *last_rowid = length;
        if (length > metric->last_rowid) {
            err = mmq_damaged(store, "a metric's length", why);
        }
    }
    return err;
}
