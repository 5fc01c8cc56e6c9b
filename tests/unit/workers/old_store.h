/* A store as it was made at schema version 1, when rows lay one by one in a table: written with
 * SQL, after store_world.h. */
#ifndef MMQ_TEST_OLD_STORE_H
#define MMQ_TEST_OLD_STORE_H

#include <sqlite3.h>

static const char old_schema[] =
    "PRAGMA auto_vacuum = INCREMENTAL; BEGIN;"
    "CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL,"
    " commit_no INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;"
    "CREATE TABLE metric (key INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE,"
    " made INTEGER NOT NULL, changed INTEGER NOT NULL, last_rowid INTEGER NOT NULL DEFAULT 0,"
    " last_timestamp INTEGER, unscored INTEGER NOT NULL DEFAULT 0,"
    " forgotten INTEGER NOT NULL DEFAULT 0, status INTEGER NOT NULL,"
    " poll_interval INTEGER NOT NULL, datasource TEXT NOT NULL, identity TEXT NOT NULL,"
    " name TEXT NOT NULL, description TEXT NOT NULL, server TEXT NOT NULL, location TEXT NOT NULL,"
    " parameters TEXT NOT NULL, message TEXT, tag_name TEXT, UNIQUE (datasource, identity)) STRICT;"
    "CREATE INDEX metric_unscored ON metric (status, unscored) WHERE unscored > 0;"
    "CREATE TABLE row (metric INTEGER NOT NULL, timestamp INTEGER NOT NULL, rowid INTEGER NOT NULL,"
    " value ANY NOT NULL, anomaly_score ANY, raw_score ANY,"
    " PRIMARY KEY (metric, timestamp, rowid)) WITHOUT ROWID, STRICT;"
    "CREATE UNIQUE INDEX row_by_rowid ON row (metric, rowid);"
    "CREATE TABLE growth (metric INTEGER NOT NULL, commit_no INTEGER NOT NULL,"
    " before_rowid INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (metric, commit_no))"
    " WITHOUT ROWID, STRICT;"
    "CREATE INDEX growth_at ON growth (at);"
    "CREATE TABLE doomed (metric INTEGER PRIMARY KEY) STRICT;"
    "INSERT INTO store VALUES (1, 4711, 9, 1400000000);"
    "PRAGMA application_id = 0x6d6d7131; PRAGMA user_version = 1; COMMIT;"
    "PRAGMA journal_mode = WAL;";

static inline void old_run(const char *sql)
{
    sqlite3 *db;
    char *text = NULL;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK) {
        fail_msg("%s: %s", sql, text);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Rows from rowid 1 on. uid NULL: a deleted metric, whose rows are still there. */
static inline void old_metric(int64_t key, const char *uid, const mmq_write_rows *rows)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "INSERT INTO row VALUES (?, ?, ?, ?, ?, ?)", -1, &statement, NULL),
        SQLITE_OK);
    for (size_t i = 0; i < rows->count; i++) {
        sqlite3_bind_int64(statement, 1, key);
        sqlite3_bind_int64(statement, 2, rows->timestamp[i]);
        sqlite3_bind_int64(statement, 3, (int64_t)i + 1);
        sqlite3_bind_double(statement, 4, rows->value[i]);
        sqlite3_bind_double(statement, 5, rows->anomaly_score[i]);
        sqlite3_bind_double(statement, 6, rows->raw_score[i]);
        assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
        sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    char sql[1200];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO metric SELECT %lld, '%s', 1, 9, %zu,"
                   " (SELECT max(timestamp) FROM row WHERE metric = %lld),"
                   " (SELECT count(*) FROM row WHERE metric = %lld AND anomaly_score IS NULL),"
                   " 0, 1, 300, 'custom', '%s', '%s', '', '%s', '', '{}', NULL, NULL",
                   (long long)key, uid, rows->count, (long long)key, (long long)key, uid, uid, uid);
    if (uid == NULL) {
        (void)snprintf(sql, sizeof sql, "INSERT INTO doomed VALUES (%lld)", (long long)key);
    }
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#endif
