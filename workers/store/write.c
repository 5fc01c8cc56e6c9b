/* Writing. Each step checks all that may be wrong with a request before its first change, so that
 * a refused step needs no undoing; what may fail after that is the environment, and then the whole
 * transaction is rolled back.
 *
 * Rowids of a metric are 1, 2, 3... without gaps but those that a prune made, which are known: a
 * rowid exists if it is at most last_rowid and in no gap. */
#include "workers/store/blocks.h"
#include "workers/store/gaps.h"
#include "workers/store/insert.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/uid.h"

static void tell_missed(const mmq_store *store)
{
    if (store->listener.missed != NULL) {
        store->listener.missed(store->listener.context);
    }
}

/* Where commits are heard of, the last one is the last that was heard, unless we begin to listen.
 */
static void note_snapshot(mmq_store *store, mmq_snapshot snapshot)
{
    if (store->engine->heed == NULL) {
        store->last = snapshot;
    } else if (store->engine->is_fresh(store)) {
        store->last = snapshot;
        tell_missed(store);
    }
}

mmq_err mmq_store_begin_write(mmq_store *store, mmq_why *why)
{
    CHECK(store->mode == MMQ_STORE_WRITE);
    mmq_snapshot snapshot;
    mmq_err err = mmq_transaction_begin(store, true, &snapshot, why);
    if (err == MMQ_OK) {
        store->phase = MMQ_PHASE_WRITE;
        note_snapshot(store, snapshot);
        store->commit = snapshot.commit + 1;
        store->dirty = store->gentle = store->contended = false;
    }
    return err;
}

static void tell_undone(const mmq_store *store)
{
    if (store->listener.undone != NULL) {
        store->listener.undone(store->listener.context);
    }
}

mmq_err mmq_store_commit(mmq_store *store, mmq_why *why)
{
    CHECK(store->phase == MMQ_PHASE_WRITE || store->phase == MMQ_PHASE_FAILED);
    mmq_err err = MMQ_OK;
    mmq_blocks_close(store); /* a statement that reads would keep the log from being copied */
    if (store->phase == MMQ_PHASE_FAILED) {
        err = mmq_fail(why, MMQ_EIO, "the transaction failed before");
    } else {
        err = store->engine->commit(store, why);
    }
    if (err == MMQ_OK && store->dirty && store->engine->heed == NULL) {
        store->last.commit = store->commit;
    }
    mmq_transaction_undo(store);
    if (err != MMQ_OK) {
        tell_undone(store);
    }
    return err;
}

void mmq_store_rollback(mmq_store *store)
{
    CHECK(store->phase == MMQ_PHASE_WRITE || store->phase == MMQ_PHASE_FAILED);
    mmq_transaction_undo(store);
    tell_undone(store);
}

bool mmq_store_contended(const mmq_store *store)
{
    return store->phase == MMQ_PHASE_WRITE && store->contended;
}

mmq_snapshot mmq_store_last(const mmq_store *store)
{
    return store->last;
}

void mmq_store_listen(mmq_store *store, const mmq_store_listener *listener)
{
    store->listener = *listener;
}

mmq_err mmq_change_tell(mmq_store *store, const char *uid, int64_t last_rowid, mmq_why *why)
{
    if (store->engine->tell != NULL) {
        return store->engine->tell(store, uid, last_rowid, why);
    }
    if (store->listener.changed != NULL) {
        store->listener.changed(store->listener.context, store->commit, uid, last_rowid);
    }
    return MMQ_OK;
}

void mmq_change_heard(const mmq_store *store, int64_t commit, const char *uid, int64_t last_rowid)
{
    if (commit > store->last.commit && store->listener.changed != NULL) {
        store->listener.changed(store->listener.context, commit, uid, last_rowid);
    }
}

void mmq_commit_heard(mmq_store *store, int64_t commit)
{
    if (commit > store->last.commit) {
        store->last.commit = commit;
    }
}

/* Without a connection the next transaction makes one, and what was missed meanwhile is told. */
bool mmq_store_heed(mmq_store *store)
{
    mmq_why why;
    CHECK(store->phase == MMQ_PHASE_IDLE);
    if (store->engine->heed == NULL) {
        return false;
    }
    if (!store->engine->heed(store) && mmq_store_begin_write(store, &why) == MMQ_OK) {
        mmq_store_rollback(store);
    }
    return true;
}

static void check_writing(const mmq_store *store)
{
    CHECK(store->phase == MMQ_PHASE_WRITE);
}

/* ---- create ----------------------------------------------------------------------------- */

static bool is_same(const mmq_metric *a, const mmq_metric *b)
{
    return strcmp(a->datasource, b->datasource) == 0 && strcmp(a->identity, b->identity) == 0;
}

static mmq_err insert_metric(mmq_store *store, mmq_metric *metric, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_CREATE);
    mmq_bind_text(statement, 1, metric->head.uid);
    mmq_bind_int(statement, 2, store->commit);
    const char *texts[] = {metric->datasource,  metric->identity, metric->name,
                           metric->description, metric->server,   metric->location,
                           metric->parameters,  metric->message,  metric->tag_name};
    int column = 3;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mmq_bind_text(statement, column++, texts[i]);
    }
    mmq_bind_int(statement, column++, metric->status);
    mmq_bind_int(statement, column, metric->poll_interval);
    mmq_err err = mmq_read_key(store, statement, &metric->head.key, why);
    if (err != MMQ_OK) {
        return err;
    }
    metric->head.made = metric->head.changed = store->commit;
    metric->head.last_rowid = 0;
    metric->has_rows = false;
    store->dirty = true;
    return mmq_change_tell(store, metric->head.uid, 0, why);
}

static mmq_err find_same(mmq_store *store, const mmq_metric *metric, bool *found, mmq_metric *out,
                         mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_METRIC);
    mmq_bind_text(statement, 1, metric->head.uid);
    mmq_err err = mmq_metric_step(store, statement, found, out, why);
    if (err != MMQ_OK || *found) {
        return err;
    }
    statement = mmq_statement(store, MMQ_Q_METRIC_BY_IDENTITY);
    mmq_bind_text(statement, 1, metric->datasource);
    mmq_bind_text(statement, 2, metric->identity);
    return mmq_metric_step(store, statement, found, out, why);
}

mmq_err mmq_store_create(mmq_store *store, mmq_metric *metric, mmq_why *why)
{
    check_writing(store);
    if (!mmq_uid_valid(metric->head.uid, strlen(metric->head.uid))) {
        return mmq_fail(why, MMQ_EINVAL, "%.100s cannot be a uid", metric->head.uid);
    }
    mmq_metric existing;
    bool found;
    mmq_err err = store->engine->alone(store, why); /* nobody makes it meanwhile */
    if (err == MMQ_OK) {
        err = find_same(store, metric, &found, &existing, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    if (!found) {
        return insert_metric(store, metric, why);
    }
    if (strcmp(existing.head.uid, metric->head.uid) != 0) {
        err = mmq_fail(why, MMQ_ECONFLICT, "the metric exists under another uid, %s",
                       existing.head.uid);
    } else if (!is_same(metric, &existing)) {
        err = mmq_fail(why, MMQ_ECONFLICT, "%s is the uid of another metric, %.100s",
                       existing.head.uid, existing.name);
    } else {
        mmq_metric_clear(metric);
        *metric = existing;
        return MMQ_OK;
    }
    mmq_metric_clear(&existing);
    return err;
}

/* ---- rows ------------------------------------------------------------------------------- */

mmq_err mmq_state_read(mmq_store *store, int64_t metric, mmq_metric_state *out, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_STATE);
    mmq_bind_int(statement, 1, metric);
    bool row;
    mmq_err err = mmq_step(store, statement, &row, why);
    if (err != MMQ_OK) {
        return err;
    }
    out->has_rows = row && !mmq_column_is_null(statement, 0);
    if (!row ||
        (out->has_rows &&
         !mmq_column_int(statement, 0, MMQ_TIME_MIN, MMQ_TIME_MAX, &out->last_timestamp)) ||
        !mmq_column_int(statement, 1, 0, MMQ_ROWID_MAX, &out->unscored)) {
        err = mmq_damaged(store, "a metric's record", why);
    }
    mmq_done(statement);
    return err;
}

mmq_err mmq_state_write(mmq_store *store, int64_t metric, int64_t last_rowid,
                        const mmq_metric_state *state, mmq_why *why)
{
    if (state->unscored < 0 || state->unscored > last_rowid) {
        return mmq_damaged(store, "a count of rows", why);
    }
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_SET_STATE);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_int(statement, 2, store->commit);
    mmq_bind_int(statement, 3, last_rowid);
    if (state->has_rows) {
        mmq_bind_int(statement, 4, state->last_timestamp);
    } else {
        mmq_bind_text(statement, 4, NULL);
    }
    mmq_bind_int(statement, 5, state->unscored);
    store->dirty = true;
    return mmq_run(store, statement, why);
}

static mmq_err check_scores(const mmq_write_rows *rows, size_t i, mmq_why *why)
{
    return isinf(rows->anomaly_score[i]) || isinf(rows->raw_score[i])
               ? mmq_fail(why, MMQ_EINVAL, "row %zu: a score must be finite", i + 1)
               : MMQ_OK;
}

static mmq_err check_rows(const mmq_write_rows *rows, mmq_why *why)
{
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->timestamp[i] < MMQ_TIME_MIN || rows->timestamp[i] > MMQ_TIME_MAX) {
            return mmq_fail(why, MMQ_EINVAL, "row %zu: the timestamp is not in the years 1 to 9999",
                            i + 1);
        }
        if (!isfinite(rows->value[i])) {
            return mmq_fail(why, MMQ_EINVAL, "row %zu: the value must be finite", i + 1);
        }
        mmq_err err = check_scores(rows, i, why);
        if (err != MMQ_OK) {
            return err;
        }
    }
    return MMQ_OK;
}

/* Rows [from, to) of those sent were pruned: they had times before a prune's, and what is sent must
 * have, too. Their values nobody knows any more. */
static mmq_err compare_pruned(mmq_store *store, int64_t metric, int64_t first,
                              const mmq_write_rows *rows, size_t from, size_t to, mmq_why *why)
{
    int64_t before;
    mmq_err err = from < to ? mmq_pruned_before(store, metric, &before, why) : MMQ_OK;
    for (size_t i = from; i < to && err == MMQ_OK; i++) {
        if (rows->timestamp[i] >= before) {
            err = mmq_fail(why, MMQ_ECONFLICT, "the store had another row under rowid %" PRId64,
                           first + (int64_t)i);
        }
    }
    return err;
}

static mmq_err compare_row(const mmq_columns *there, size_t i, const mmq_write_rows *rows,
                           size_t row, mmq_why *why)
{
    return there->timestamp[i] == rows->timestamp[row] && there->value[i] == rows->value[row]
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECONFLICT, "the store has another row under rowid %" PRId64,
                          there->rowid[i]);
}

/* Compares the first `count` rows sent with those that are there from rowid `first` on. */
static mmq_err compare_rows(mmq_store *store, int64_t metric, int64_t first,
                            const mmq_write_rows *rows, size_t count, mmq_why *why)
{
    mmq_columns *there = store->existing;
    mmq_err err = MMQ_OK;
    for (size_t done = 0; done < count && err == MMQ_OK;) {
        err = mmq_store_read_rowids(store, metric, first + (int64_t)done,
                                    first + (int64_t)count - 1, there, MMQ_BATCH_ROWS, why);
        for (size_t i = 0; err == MMQ_OK && i < there->count; i++) {
            const size_t row = (size_t)(there->rowid[i] - first);
            err = compare_pruned(store, metric, first, rows, done, row, why);
            if (err == MMQ_OK) {
                err = compare_row(there, i, rows, row, why);
            }
            done = row + 1;
        }
        if (err == MMQ_OK && there->count == 0) {
            err = compare_pruned(store, metric, first, rows, done, count, why);
            done = count;
        }
    }
    return err;
}

/* Notes how long the metric was before this commit. */
static mmq_err note_growth(mmq_store *store, const mmq_metric_head *metric, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_GROW);
    mmq_bind_int(statement, 1, metric->key);
    mmq_bind_int(statement, 2, store->commit);
    mmq_bind_int(statement, 3, metric->last_rowid);
    mmq_bind_int(statement, 4, mmq_wall_s());
    return mmq_run(store, statement, why);
}

/* Rows [from, count) are new. */
static mmq_err add_rows(mmq_store *store, const mmq_metric_head *metric, const mmq_write_rows *rows,
                        size_t from, mmq_why *why)
{
    mmq_metric_state state = {0};
    mmq_err err = mmq_state_read(store, metric->key, &state, why);
    if (err == MMQ_OK) {
        err = note_growth(store, metric, why);
    }
    if (err == MMQ_OK) {
        err = mmq_insert_rows(store, metric->key, rows, from, metric->last_rowid + 1, why);
    }
    for (size_t i = from; i < rows->count; i++) {
        if (!state.has_rows || rows->timestamp[i] > state.last_timestamp) {
            state.has_rows = true;
            state.last_timestamp = rows->timestamp[i];
        }
        state.unscored += isnan(rows->anomaly_score[i]) ? 1 : 0;
    }
    const int64_t last = metric->last_rowid + (int64_t)(rows->count - from);
    if (err == MMQ_OK) {
        err = mmq_state_write(store, metric->key, last, &state, why);
    }
    return err == MMQ_OK ? mmq_change_tell(store, metric->uid, last, why) : err;
}

/* Where the rows go: *first, and how many of them are there already. */
static mmq_err place_rows(const mmq_metric_head *metric, int64_t first_rowid, size_t count,
                          int64_t *first, size_t *known, mmq_why *why)
{
    if (first_rowid < 0) {
        return mmq_fail(why, MMQ_EINVAL, "first_rowid must be at least 1");
    }
    int64_t end = metric->last_rowid + 1;
    *first = first_rowid == 0 ? end : first_rowid;
    if (*first > end) {
        return mmq_fail(why, MMQ_ECONFLICT,
                        "first_rowid %" PRId64 " leaves a gap: the last rowid is %" PRId64, *first,
                        metric->last_rowid);
    }
    *known = (uint64_t)(end - *first) < count ? (size_t)(end - *first) : count;
    return (int64_t)(count - *known) > MMQ_ROWID_MAX - metric->last_rowid
               ? mmq_fail(why, MMQ_ETOOBIG, "the metric is full")
               : MMQ_OK;
}

mmq_err mmq_store_append(mmq_store *store, const char *uid, int64_t first_rowid,
                         const mmq_write_rows *rows, mmq_appended *out, mmq_why *why)
{
    check_writing(store);
    *out = (mmq_appended){0};
    mmq_metric_head metric;
    mmq_err err = mmq_store_find(store, uid, &metric, why);
    if (err == MMQ_OK) {
        err = check_rows(rows, why);
    }
    int64_t first = 0;
    size_t known = 0;
    if (err == MMQ_OK) {
        err = place_rows(&metric, first_rowid, rows->count, &first, &known, why);
    }
    if (err == MMQ_OK) {
        err = compare_rows(store, metric.key, first, rows, known, why);
    }
    if (err != MMQ_OK || rows->count == 0) {
        return err;
    }
    out->first_rowid = first;
    out->last_rowid = first + (int64_t)rows->count - 1;
    out->added = (int64_t)(rows->count - known);
    return known < rows->count ? add_rows(store, &metric, rows, known, why) : MMQ_OK;
}

/* ---- score ------------------------------------------------------------------------------ */

/* A row is there if its rowid is none that is yet to come, and was not pruned. */
static mmq_err check_rowids(mmq_store *store, const mmq_metric_head *metric,
                            const mmq_write_rows *rows, mmq_why *why)
{
    mmq_gap gap;
    bool has_gaps, gone = false;
    mmq_err err = mmq_gap_at(store, metric->key, metric->last_rowid, &has_gaps, &gap, why);
    for (size_t i = 0; i < rows->count && err == MMQ_OK; i++) {
        const int64_t rowid = rows->rowid[i];
        if (has_gaps) {
            err = mmq_gap_at(store, metric->key, rowid, &gone, &gap, why);
            gone = gone && gap.last >= rowid;
        }
        if (err == MMQ_OK && (gone || rowid < 1 || rowid > metric->last_rowid)) {
            err = mmq_fail(why, MMQ_ENOTFOUND, "%s has no row %" PRId64 "%s", metric->uid, rowid,
                           gone ? ": it was pruned" : "");
        }
        if (err == MMQ_OK) {
            err = check_scores(rows, i, why);
        }
    }
    return err;
}

mmq_err mmq_store_score(mmq_store *store, const char *uid, const mmq_write_rows *rows, mmq_why *why)
{
    check_writing(store);
    mmq_metric_head metric;
    mmq_err err = mmq_store_find(store, uid, &metric, why);
    if (err == MMQ_OK) {
        err = check_rowids(store, &metric, rows, why);
    }
    if (err != MMQ_OK || rows->count == 0) {
        return err;
    }
    mmq_metric_state state = {0};
    int64_t scored = 0;
    err = mmq_state_read(store, metric.key, &state, why);
    if (err == MMQ_OK) {
        err = mmq_insert_scores(store, metric.key, rows, &scored, why);
    }
    state.unscored -= scored;
    if (err == MMQ_OK) {
        err = mmq_state_write(store, metric.key, metric.last_rowid, &state, why);
    }
    return err == MMQ_OK ? mmq_change_tell(store, metric.uid, metric.last_rowid, why) : err;
}

/* ---- delete ----------------------------------------------------------------------------- */

mmq_err mmq_store_delete(mmq_store *store, const char *uid, mmq_why *why)
{
    check_writing(store);
    mmq_metric_head metric;
    mmq_err err = mmq_store_find(store, uid, &metric, why);
    if (err != MMQ_OK) {
        return err;
    }
    const mmq_query queries[] = {MMQ_Q_DELETE, MMQ_Q_UNPRUNE, MMQ_Q_DOOM};
    for (size_t i = 0; i < 3 && err == MMQ_OK; i++) {
        mmq_prepared *statement = mmq_statement(store, queries[i]);
        mmq_bind_int(statement, 1, metric.key);
        err = mmq_run(store, statement, why);
    }
    store->dirty = true;
    return err == MMQ_OK ? mmq_change_tell(store, metric.uid, -1, why) : err;
}
