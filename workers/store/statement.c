/* Statements: each is prepared once a connection and used again and again. Preparing them all at
 * open is also the check that the file has the tables and columns that we know.
 *
 * Nothing that is read back is believed: SQLite does not notice most single-bit flips, so each
 * column is checked for its type and range, and a wrong one is MMQ_ECORRUPT. */
#include "workers/store/handle.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/uid.h"

#define HEAD "key, uid, made, changed, last_rowid"
#define RECORD                                                                                     \
    HEAD ", datasource, identity, name, description, server, location, parameters, message,"       \
         " tag_name, status, poll_interval, last_timestamp"
/* Metrics that an index finds, but their columns from the table: where the two disagree, the uid is
 * another one, or NULL. From a plain SELECT SQLite takes the uid of the index with the rest of
 * whatever record it leads to. */
#define FOUND_BY(condition)                                                                        \
    " FROM (SELECT key AS found FROM metric WHERE " condition ") LEFT JOIN metric ON key = found"
#define BLOCK_HEAD                                                                                 \
    "SELECT first_timestamp, first_rowid, last_timestamp, last_rowid, least_rowid,"                \
    " greatest_rowid, rows, unscored, greatest_score, data, data_check, head_check"
#define BLOCK BLOCK_HEAD " FROM block WHERE metric = ?1 AND "
#define BLOCKS_FROM                                                                                \
    " FROM block WHERE metric = ?1 AND (first_timestamp, first_rowid) >= (?2, ?3)"                 \
    " ORDER BY first_timestamp, first_rowid"
#define INCOMPLETE    " FROM block INDEXED BY block_incomplete WHERE value_summary IS NULL"
#define DOOMED_BLOCKS "block WHERE metric = ?1 ORDER BY first_timestamp, first_rowid LIMIT ?2"

static const char *const query_texts[MMQ_Q_COUNT] = {
    [MMQ_Q_BEGIN_READ] = "BEGIN",
    [MMQ_Q_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [MMQ_Q_COMMIT] = "COMMIT",
    [MMQ_Q_ROLLBACK] = "ROLLBACK",
    [MMQ_Q_SNAPSHOT] = "SELECT id, commit_no FROM store WHERE one = 1",
    [MMQ_Q_FIND] = "SELECT " HEAD FOUND_BY("uid = ?1"),
    [MMQ_Q_HEADS] = "SELECT " HEAD ", status" FOUND_BY("uid > ?1 ORDER BY uid LIMIT ?2"),
    [MMQ_Q_METRIC] = "SELECT " RECORD FOUND_BY("uid = ?1"),
    [MMQ_Q_METRIC_AFTER] = "SELECT " RECORD FOUND_BY("uid > ?1 ORDER BY uid LIMIT 1"),
    [MMQ_Q_METRIC_BY_IDENTITY] = "SELECT " RECORD FOUND_BY("datasource = ?1 AND identity = ?2"),
    [MMQ_Q_UNSCORED] = "SELECT coalesce(sum(unscored), 0) FROM metric WHERE status = 1"
                       " AND unscored > 0",
    [MMQ_Q_FORGOTTEN] = "SELECT forgotten FROM metric WHERE key = ?1",
    [MMQ_Q_LENGTH] = "SELECT last_rowid FROM metric WHERE key = ?1",
    [MMQ_Q_LENGTH_AT] = "SELECT before_rowid FROM growth WHERE metric = ?1 AND commit_no > ?2"
                        " ORDER BY commit_no LIMIT 1",
    [MMQ_Q_BLOCK_AT] = BLOCK "(first_timestamp, first_rowid) <= (?2, ?3)"
                             " ORDER BY first_timestamp DESC, first_rowid DESC LIMIT 1",
    [MMQ_Q_BLOCK_AFTER] = BLOCK "(first_timestamp, first_rowid) > (?2, ?3)"
                                " ORDER BY first_timestamp, first_rowid LIMIT 1",
    [MMQ_Q_BLOCK_BY_ROWID] = BLOCK "least_rowid <= ?2 ORDER BY least_rowid DESC",
    [MMQ_Q_BLOCK_DATA] = "SELECT data FROM block_data WHERE key = ?1",
    [MMQ_Q_FREE_BYTES] = "SELECT freelist_count * page_size FROM pragma_freelist_count,"
                         " pragma_page_size",
    [MMQ_Q_HAS_GAPS] = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table'"
                       " AND name = 'gap')",
    [MMQ_Q_HAS_VALUES] = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index'"
                         " AND name = 'block_incomplete')",
    [MMQ_Q_BLOCKS_EARLIER] = BLOCK_HEAD ", NULL" BLOCKS_FROM,
    [MMQ_Q_BLOCKS] = BLOCK_HEAD ", value_summary" BLOCKS_FROM,
    [MMQ_Q_GAP_AT] = "SELECT first_rowid, last_rowid FROM gap WHERE metric = ?1"
                     " AND first_rowid <= ?2 ORDER BY first_rowid DESC LIMIT 1",
    [MMQ_Q_GAPS_AFTER] = "SELECT first_rowid, last_rowid FROM gap WHERE metric = ?1"
                         " AND first_rowid > ?2 AND first_rowid <= ?3 ORDER BY first_rowid",
    [MMQ_Q_PRUNED_BEFORE] = "SELECT before_timestamp FROM pruned WHERE metric = ?1",
    [MMQ_Q_PRUNED_SINCE] =
        "SELECT EXISTS (SELECT 1 FROM pruned LEFT JOIN metric ON key = pruned.metric"
        " WHERE pruned.commit_no > ?1 AND before_timestamp > ?2"
        " AND (pruned.metric = ?3 OR (?3 = 0 AND uid >= ?4)))",
    [MMQ_Q_STATE] = "SELECT last_timestamp, unscored FROM metric WHERE key = ?1",
    [MMQ_Q_SET_STATE] = "UPDATE metric SET changed = ?2, last_rowid = ?3, last_timestamp = ?4,"
                        " unscored = ?5 WHERE key = ?1",
    [MMQ_Q_SET_COMMIT] = "UPDATE store SET commit_no = ?1 WHERE one = 1",
    [MMQ_Q_CREATE] = "INSERT INTO metric (uid, made, changed, datasource, identity, name,"
                     " description, server, location, parameters, message, tag_name, status,"
                     " poll_interval) VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
                     " ?12, ?13)",
    [MMQ_Q_GROW] = "INSERT OR IGNORE INTO growth (metric, commit_no, before_rowid, at)"
                   " VALUES (?1, ?2, ?3, ?4)",
    [MMQ_Q_ADD_BLOCK] = "INSERT INTO block (metric, first_timestamp, first_rowid, last_timestamp,"
                        " last_rowid, least_rowid, greatest_rowid, rows, unscored, greatest_score,"
                        " data, data_check, head_check, value_summary) VALUES (?1, ?2, ?3, ?4, ?5,"
                        " ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    [MMQ_Q_SET_BLOCK] = "UPDATE block SET last_timestamp = ?4, last_rowid = ?5, least_rowid = ?6,"
                        " greatest_rowid = ?7, rows = ?8, unscored = ?9, greatest_score = ?10,"
                        " data = ?11, data_check = ?12, head_check = ?13, value_summary = ?14"
                        " WHERE metric = ?1"
                        " AND first_timestamp = ?2 AND first_rowid = ?3",
    [MMQ_Q_DROP_BLOCK] = "DELETE FROM block WHERE metric = ?1 AND first_timestamp = ?2"
                         " AND first_rowid = ?3",
    [MMQ_Q_INCOMPLETE] = "SELECT metric" INCOMPLETE " LIMIT 1",
    [MMQ_Q_BLOCK_INCOMPLETE] = BLOCK_HEAD INCOMPLETE " AND metric = ?1 LIMIT 1",
    [MMQ_Q_SET_VALUES] = "UPDATE block SET value_summary = ?4 WHERE metric = ?1"
                         " AND first_timestamp = ?2 AND first_rowid = ?3"
                         " AND value_summary IS NULL",
    [MMQ_Q_ADD_BLOCK_DATA] = "INSERT INTO block_data (data) VALUES (?1)",
    [MMQ_Q_SET_BLOCK_DATA] = "UPDATE block_data SET data = ?1 WHERE key = ?2",
    [MMQ_Q_DROP_BLOCK_DATA] = "DELETE FROM block_data WHERE key = ?1",
    [MMQ_Q_DELETE] = "DELETE FROM metric WHERE key = ?1",
    [MMQ_Q_DOOM] = "INSERT INTO doomed (metric) VALUES (?1)",
    [MMQ_Q_DOOMED] = "SELECT metric FROM doomed LIMIT 1",
    [MMQ_Q_SET_PRUNED] = "INSERT INTO pruned (metric, before_timestamp, commit_no)"
                         " VALUES (?1, ?2, ?3) ON CONFLICT (metric) DO UPDATE SET"
                         " before_timestamp = max(before_timestamp, ?2), commit_no = ?3",
    [MMQ_Q_UNPRUNE] = "DELETE FROM pruned WHERE metric = ?1",
    [MMQ_Q_ADD_GAP] = "INSERT INTO gap (metric, first_rowid, last_rowid) VALUES (?1, ?2, ?3)",
    [MMQ_Q_SET_GAP] = "UPDATE gap SET last_rowid = ?3 WHERE metric = ?1 AND first_rowid = ?2",
    [MMQ_Q_DROP_GAP] = "DELETE FROM gap WHERE metric = ?1 AND first_rowid = ?2",
    [MMQ_Q_COUNT_BLOCKS] = "SELECT count(*), coalesce(sum(rows), 0) FROM block"
                           " WHERE metric = ?1 AND first_timestamp < ?2",
    [MMQ_Q_DELETE_GAPS] = "DELETE FROM gap WHERE (metric, first_rowid) IN"
                          " (SELECT metric, first_rowid FROM gap WHERE metric = ?1 LIMIT ?2)",
    [MMQ_Q_DELETE_DATA] =
        "DELETE FROM block_data WHERE key IN (SELECT data FROM " DOOMED_BLOCKS ")",
    [MMQ_Q_DELETE_BLOCKS] = "DELETE FROM block WHERE (metric, first_timestamp, first_rowid) IN"
                            " (SELECT metric, first_timestamp, first_rowid FROM " DOOMED_BLOCKS ")",
    [MMQ_Q_UNDOOM] = "DELETE FROM doomed WHERE metric = ?1",
    [MMQ_Q_OLD_GROWTH] = "SELECT metric, commit_no FROM growth WHERE at < ?1 ORDER BY at LIMIT ?2",
    [MMQ_Q_FORGET] = "UPDATE metric SET forgotten = max(forgotten, ?2) WHERE key = ?1",
    [MMQ_Q_DELETE_GROWTH] = "DELETE FROM growth WHERE metric = ?1 AND commit_no = ?2",
    [MMQ_Q_FREE_PAGES] = "PRAGMA freelist_count",
    [MMQ_Q_VACUUM] = "PRAGMA incremental_vacuum(64)",
};

const char *mmq_query_text(mmq_query query)
{
    return query_texts[query];
}

mmq_err mmq_prepare(mmq_store *store, const char *sql, sqlite3_stmt **out, mmq_why *why)
{
    mmq_steps_anew(store);
    int code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return code == SQLITE_OK ? MMQ_OK
                             : mmq_sqlite_error(store->db, code, "the store's tables", why);
}

mmq_err mmq_statement_prepare(mmq_store *store, mmq_query query, mmq_why *why)
{
    return store->statements[query] != NULL
               ? MMQ_OK
               : mmq_prepare(store, query_texts[query], &store->statements[query], why);
}

mmq_err mmq_statements_prepare(mmq_store *store, mmq_why *why)
{
    int count = store->mode == MMQ_STORE_READ ? MMQ_Q_READERS : MMQ_Q_COUNT;
    mmq_err err = MMQ_OK;
    for (int i = 0; i < count && err == MMQ_OK; i++) {
        err = mmq_statement_prepare(store, (mmq_query)i, why);
    }
    return err;
}

void mmq_statements_finalize(mmq_store *store)
{
    for (int i = 0; i < MMQ_Q_COUNT; i++) {
        (void)sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
}

sqlite3_stmt *mmq_statement(mmq_store *store, mmq_query query)
{
    sqlite3_stmt *statement = store->statements[query];
    CHECK(statement != NULL);
    (void)sqlite3_reset(statement);
    return statement;
}

/* A statement that failed may have been half done: the whole write transaction is lost. */
static void note_failure(mmq_store *store)
{
    if (store->phase == MMQ_PHASE_WRITE) {
        store->phase = MMQ_PHASE_FAILED;
    }
}

mmq_err mmq_step(mmq_store *store, sqlite3_stmt *statement, bool *row, mmq_why *why)
{
    mmq_steps_anew(store);
    int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    if (code == SQLITE_ROW) {
        return MMQ_OK;
    }
    mmq_err err = MMQ_OK;
    if (code != SQLITE_DONE) {
        note_failure(store);
        err = mmq_sqlite_error(store->db, code, "the store", why);
    }
    mmq_done(statement);
    return err;
}

mmq_err mmq_run(mmq_store *store, sqlite3_stmt *statement, mmq_why *why)
{
    bool row = true;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && row) {
        err = mmq_step(store, statement, &row, why);
    }
    return err;
}

void mmq_done(sqlite3_stmt *statement)
{
    (void)sqlite3_reset(statement);
}

mmq_err mmq_read_int(mmq_store *store, sqlite3_stmt *statement, bool *found, int64_t *out,
                     const char *what, mmq_why *why)
{
    mmq_err err = mmq_step(store, statement, found, why);
    if (err == MMQ_OK && *found && !mmq_column_int(statement, 0, 0, INT64_MAX, out)) {
        err = mmq_damaged(store, what, why);
    }
    mmq_done(statement);
    return err;
}

mmq_err mmq_sqlite_error(sqlite3 *db, int code, const char *doing, mmq_why *why)
{
    const char *text = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return mmq_fail(why, MMQ_EBUSY, "%s is locked by another process: %s", doing, text);
    case SQLITE_FULL:
        return mmq_fail(why, MMQ_ENOSPC, "no space left for %s", doing);
    case SQLITE_NOMEM:
        return mmq_fail(why, MMQ_ENOMEM, "no memory left for %s", doing);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY: {
        int number = db != NULL ? sqlite3_system_errno(db) : 0;
        mmq_err err = number == ENOSPC || number == EDQUOT ? MMQ_ENOSPC : MMQ_EIO;
        return mmq_fail(why, err, "%s cannot be read or written: %s%s%s", doing, text,
                        number != 0 ? ": " : "", number != 0 ? strerror(number) : "");
    }
    case SQLITE_INTERRUPT:
        return mmq_fail(why, MMQ_ECORRUPT,
                        "%s: damaged: its tables take more steps than a sound file's; restore a"
                        " backup",
                        doing);
    default:
        return mmq_fail(why, MMQ_ECORRUPT, "%s: damaged: %s; restore a backup", doing, text);
    }
}

mmq_err mmq_damaged(mmq_store *store, const char *what, mmq_why *why)
{
    note_failure(store);
    return mmq_fail(why, MMQ_ECORRUPT, "the store is damaged: %s; restore a backup", what);
}

/* Binding fails for a wrong index (our bug) or for want of memory, which the copy-free binds below
 * do not need. */
static void check_bound(int code)
{
    CHECK(code == SQLITE_OK);
}

void mmq_bind_int(sqlite3_stmt *statement, int index, int64_t value)
{
    check_bound(sqlite3_bind_int64(statement, index, value));
}

void mmq_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    check_bound(text == NULL ? sqlite3_bind_null(statement, index)
                             : sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC));
}

void mmq_bind_score(sqlite3_stmt *statement, int index, double score)
{
    check_bound(sqlite3_bind_double(statement, index, score)); /* NaN becomes NULL */
}

void mmq_bind_blob(sqlite3_stmt *statement, int index, const void *data, size_t size)
{
    check_bound(sqlite3_bind_blob(statement, index, data, (int)size, SQLITE_STATIC));
}

bool mmq_column_int(sqlite3_stmt *statement, int index, int64_t least, int64_t most, int64_t *out)
{
    if (sqlite3_column_type(statement, index) != SQLITE_INTEGER) {
        return false;
    }
    *out = sqlite3_column_int64(statement, index);
    return *out >= least && *out <= most;
}

bool mmq_column_value(sqlite3_stmt *statement, int index, double *out)
{
    if (sqlite3_column_type(statement, index) != SQLITE_FLOAT) {
        return false;
    }
    *out = sqlite3_column_double(statement, index);
    return isfinite(*out);
}

bool mmq_column_score(sqlite3_stmt *statement, int index, double *out)
{
    if (sqlite3_column_type(statement, index) == SQLITE_NULL) {
        *out = NAN;
        return true;
    }
    return mmq_column_value(statement, index, out);
}

mmq_err mmq_column_head(mmq_store *store, sqlite3_stmt *statement, mmq_metric_head *out,
                        mmq_why *why)
{
    const char *uid = (const char *)sqlite3_column_text(statement, 1);
    size_t size = (size_t)sqlite3_column_bytes(statement, 1);
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
