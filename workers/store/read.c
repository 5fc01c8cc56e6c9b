/* Reading: transactions, heads of metrics, lengths at commits, batches of rows.
 *
 * A batch of rows is one seek in the clustered table and as many steps as it has rows; then the
 * statement is reset, so that a range that nobody reads on holds nothing. Each row must lie behind
 * the one before: a damaged tree may give keys in any order, and a reader that went back would
 * never end. */
#include "workers/store/handle.h"

#include <string.h>

#include "lib/calendar.h"
#include "lib/check.h"

static mmq_err read_snapshot(mmq_store *store, mmq_snapshot *out, mmq_why *why)
{
    sqlite3_stmt *statement = mmq_statement(store, MMQ_Q_SNAPSHOT);
    bool row;
    mmq_err err = mmq_step(store, statement, &row, why);
    if (err != MMQ_OK) {
        return err;
    }
    int64_t id = 0;
    if (!row || !mmq_column_int(statement, 0, INT64_MIN, INT64_MAX, &id) ||
        !mmq_column_int(statement, 1, 0, INT64_MAX - 1, &out->commit)) {
        err = mmq_damaged(store, "its id or commit number", why);
    }
    out->store = (uint64_t)id;
    mmq_done(statement);
    return err;
}

mmq_err mmq_transaction_begin(mmq_store *store, mmq_query query, mmq_snapshot *out, mmq_why *why)
{
    CHECK(store->phase == MMQ_PHASE_IDLE);
    mmq_err err = mmq_run(store, mmq_statement(store, query), why);
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
    /* SQLite has rolled back by itself after some errors. */
    if (sqlite3_get_autocommit(store->db) == 0) {
        sqlite3_stmt *statement = mmq_statement(store, MMQ_Q_ROLLBACK);
        (void)sqlite3_step(statement);
        mmq_done(statement);
    }
    store->phase = MMQ_PHASE_IDLE;
}

mmq_err mmq_store_begin_read(mmq_store *store, mmq_snapshot *out, mmq_why *why)
{
    mmq_err err = mmq_transaction_begin(store, MMQ_Q_BEGIN_READ, out, why);
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
    sqlite3_stmt *statement = mmq_statement(store, MMQ_Q_FIND);
    mmq_bind_text(statement, 1, uid);
    bool row;
    mmq_err err = mmq_step(store, statement, &row, why);
    if (err == MMQ_OK && row) {
        err = mmq_column_head(store, statement, out, why);
    }
    mmq_done(statement);
    return err == MMQ_OK && !row ? mmq_fail(why, MMQ_ENOTFOUND, "there is no metric %.100s", uid)
                                 : err;
}

mmq_err mmq_store_heads(mmq_store *store, const char *after, mmq_metric_head *out, size_t capacity,
                        size_t *count, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE && capacity <= INT32_MAX);
    sqlite3_stmt *statement = mmq_statement(store, MMQ_Q_HEADS);
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
    sqlite3_stmt *statement = mmq_statement(store, MMQ_Q_FORGOTTEN);
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

/* ---- rows ------------------------------------------------------------------------------- */

static bool is_before(int64_t timestamp, int64_t rowid, int64_t than_timestamp, int64_t than_rowid)
{
    return timestamp < than_timestamp || (timestamp == than_timestamp && rowid < than_rowid);
}

/* Columns 0 to 3 of every statement that reads rows. */
static bool take_row(sqlite3_stmt *statement, mmq_columns *out)
{
    size_t i = out->count;
    return mmq_column_int(statement, 0, MMQ_TIME_MIN, MMQ_TIME_MAX, &out->timestamp[i]) &&
           mmq_column_int(statement, 1, 1, MMQ_ROWID_MAX, &out->rowid[i]) &&
           mmq_column_value(statement, 2, &out->value[i]) &&
           mmq_column_score(statement, 3, &out->anomaly_score[i]);
}

/* Moves the range's position to the row; false if the row has no business there. */
static bool advance_range(mmq_range *range, int64_t timestamp, int64_t rowid)
{
    bool inside = timestamp >= range->from && timestamp <= range->to;
    bool behind = !range->positioned ||
                  (range->ascending ? is_before(range->timestamp, range->rowid, timestamp, rowid)
                                    : is_before(timestamp, rowid, range->timestamp, range->rowid));
    range->positioned = true;
    range->timestamp = timestamp;
    range->rowid = rowid;
    return inside && behind;
}

static sqlite3_stmt *seek_range(mmq_store *store, const mmq_range *range)
{
    /* A position before the range's start must not widen the range. */
    bool behind = range->positioned && (range->ascending ? range->timestamp >= range->from
                                                         : range->timestamp <= range->to);
    mmq_query query = range->ascending ? (behind ? MMQ_Q_TIME_UP_BEHIND : MMQ_Q_TIME_UP)
                                       : (behind ? MMQ_Q_TIME_DOWN_BEHIND : MMQ_Q_TIME_DOWN);
    sqlite3_stmt *statement = mmq_statement(store, query);
    mmq_bind_int(statement, 1, range->metric);
    mmq_bind_int(statement, 2, range->from);
    mmq_bind_int(statement, 3, range->to);
    if (behind) {
        mmq_bind_int(statement, 4, range->timestamp);
        mmq_bind_int(statement, 5, range->rowid);
    }
    return statement;
}

mmq_err mmq_store_read_time(mmq_store *store, mmq_range *range, mmq_columns *out, size_t capacity,
                            mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE && capacity <= MMQ_BATCH_ROWS);
    mmq_range at = *range;
    sqlite3_stmt *statement = seek_range(store, range);
    out->count = 0;
    while (out->count < capacity) {
        bool row;
        mmq_err err = mmq_step(store, statement, &row, why);
        if (err != MMQ_OK) {
            return err;
        }
        if (!row) {
            break;
        }
        if (!take_row(statement, out) ||
            !advance_range(&at, out->timestamp[out->count], out->rowid[out->count])) {
            mmq_done(statement);
            return mmq_damaged(store, "a row", why);
        }
        out->count++;
    }
    mmq_done(statement);
    *range = at;
    return MMQ_OK;
}

mmq_err mmq_store_read_rowids(mmq_store *store, int64_t metric, int64_t first, int64_t last,
                              mmq_columns *out, size_t capacity, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE && capacity <= MMQ_BATCH_ROWS);
    sqlite3_stmt *statement = mmq_statement(store, MMQ_Q_ROWIDS);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_int(statement, 2, first);
    mmq_bind_int(statement, 3, last);
    int64_t least = first;
    out->count = 0;
    while (out->count < capacity) {
        bool row;
        mmq_err err = mmq_step(store, statement, &row, why);
        if (err != MMQ_OK) {
            return err;
        }
        if (!row) {
            break;
        }
        size_t i = out->count;
        if (!take_row(statement, out) || !mmq_column_score(statement, 4, &out->raw_score[i]) ||
            out->rowid[i] < least || out->rowid[i] > last) {
            mmq_done(statement);
            return mmq_damaged(store, "a row", why);
        }
        least = out->rowid[i] + 1;
        out->count++;
    }
    mmq_done(statement);
    return MMQ_OK;
}
