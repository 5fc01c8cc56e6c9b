/* The schema, and how a store comes to be.
 *
 * A store is made under a temporary name and renamed into place when it is whole and on disk: what
 * is under the store's name was whole once. The caller holds the writer's lock, so nobody else is
 * making the same one. docs/storage.md tells the tables' tale. */
#include "workers/store/sqlite/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/digest.h"
#include "workers/store/sqlite/files.h"

/* Of version 2, but for the columns that came later. */
#define BLOCK_TABLES(later)                                                                        \
    "CREATE TABLE block ("                                                                         \
    " metric INTEGER NOT NULL,"                                                                    \
    " first_timestamp INTEGER NOT NULL,"                                                           \
    " first_rowid INTEGER NOT NULL,"                                                               \
    " last_timestamp INTEGER NOT NULL,"                                                            \
    " last_rowid INTEGER NOT NULL,"                                                                \
    " least_rowid INTEGER NOT NULL,"                                                               \
    " greatest_rowid INTEGER NOT NULL,"                                                            \
    " rows INTEGER NOT NULL,"                                                                      \
    " unscored INTEGER NOT NULL,"                                                                  \
    " greatest_score ANY,"                                                                         \
    " data INTEGER NOT NULL,"                                                                      \
    " data_check INTEGER NOT NULL,"                                                                \
    " head_check INTEGER NOT NULL" later ","                                                       \
    " PRIMARY KEY (metric, first_timestamp, first_rowid)) WITHOUT ROWID, STRICT;"                  \
    "CREATE INDEX block_by_rowid ON block (metric, least_rowid);"                                  \
    "CREATE TABLE block_data (key INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"

/* Since version 4: what the values of a block come to; NULL in heads of before, until there is time
 * for them (tidy.c), which the index leads to. */
#define VALUE_SUMMARY "value_summary BLOB"
#define INCOMPLETE_INDEX                                                                           \
    "CREATE INDEX block_incomplete ON block (metric) WHERE value_summary IS NULL;"

/* What a prune leaves behind (prune.c): stores of version 2 have none of these, and get them from
 * their next writer. */
#define PRUNE_TABLES                                                                               \
    "CREATE TABLE pruned ("                                                                        \
    " metric INTEGER PRIMARY KEY,"                                                                 \
    " before_timestamp INTEGER NOT NULL,"                                                          \
    " commit_no INTEGER NOT NULL) STRICT;"                                                         \
    "CREATE INDEX pruned_by_commit ON pruned (commit_no);"                                         \
    "CREATE TABLE gap ("                                                                           \
    " metric INTEGER NOT NULL,"                                                                    \
    " first_rowid INTEGER NOT NULL,"                                                               \
    " last_rowid INTEGER NOT NULL,"                                                                \
    " PRIMARY KEY (metric, first_rowid)) WITHOUT ROWID, STRICT;"

/* Columns that are read most come first: SQLite decodes a record from its start. Values have the
 * type ANY, since REAL stores -0.0 as 0. */
static const char schema_text[] =
    "CREATE TABLE store ("
    " one INTEGER PRIMARY KEY CHECK (one = 1),"
    " id INTEGER NOT NULL,"
    " commit_no INTEGER NOT NULL,"
    " created INTEGER NOT NULL) STRICT;"
    "CREATE TABLE metric ("
    " key INTEGER PRIMARY KEY AUTOINCREMENT,"
    " uid TEXT NOT NULL UNIQUE,"
    " made INTEGER NOT NULL,"
    " changed INTEGER NOT NULL,"
    " last_rowid INTEGER NOT NULL DEFAULT 0,"
    " last_timestamp INTEGER,"
    " unscored INTEGER NOT NULL DEFAULT 0,"
    " forgotten INTEGER NOT NULL DEFAULT 0,"
    " status INTEGER NOT NULL,"
    " poll_interval INTEGER NOT NULL,"
    " datasource TEXT NOT NULL,"
    " identity TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " description TEXT NOT NULL,"
    " server TEXT NOT NULL,"
    " location TEXT NOT NULL,"
    " parameters TEXT NOT NULL,"
    " message TEXT,"
    " tag_name TEXT,"
    " UNIQUE (datasource, identity)) STRICT;"
    "CREATE INDEX metric_unscored ON metric (status, unscored) WHERE unscored > 0;" BLOCK_TABLES(
        ", " VALUE_SUMMARY) INCOMPLETE_INDEX
    "CREATE TABLE growth ("
    " metric INTEGER NOT NULL,"
    " commit_no INTEGER NOT NULL,"
    " before_rowid INTEGER NOT NULL,"
    " at INTEGER NOT NULL,"
    " PRIMARY KEY (metric, commit_no)) WITHOUT ROWID, STRICT;"
    "CREATE INDEX growth_at ON growth (at);"
    "CREATE TABLE doomed (metric INTEGER PRIMARY KEY) STRICT;" PRUNE_TABLES;

/* What a table was in versions that are brought to this one. */
static const char earlier_text[] = BLOCK_TABLES("");

static mmq_err run_script(sqlite3 *db, const char *script, mmq_why *why)
{
    int code = sqlite3_exec(db, script, NULL, NULL, NULL);
    return code == SQLITE_OK ? MMQ_OK : mmq_sqlite_error(db, code, "the store", why);
}

/* What a file may make SQLite do, even one that somebody else has written: no code but our own SQL,
 * and that within bounds which our own SQL does not come near. VACUUM would need one ATTACH. */
static const struct switches {
    int which;
    bool on;
} switches[] = {
    {SQLITE_DBCONFIG_DEFENSIVE, true},
    {SQLITE_DBCONFIG_TRUSTED_SCHEMA, false},
    {SQLITE_DBCONFIG_ENABLE_TRIGGER, false},
    {SQLITE_DBCONFIG_ENABLE_VIEW, false},
    {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, false},
    {SQLITE_DBCONFIG_DQS_DDL, false},
    {SQLITE_DBCONFIG_DQS_DML, false},
};
static const struct limits {
    int which, most;
} limits[] = {
    {SQLITE_LIMIT_LENGTH, 16 * 1024 * 1024}, /* of a text, a blob, a row */
    {SQLITE_LIMIT_SQL_LENGTH, 16 * 1024},    /* of a table's text in the file, too */
    {SQLITE_LIMIT_COLUMN, 64},
    {SQLITE_LIMIT_EXPR_DEPTH, 64},
    {SQLITE_LIMIT_COMPOUND_SELECT, 8},
    {SQLITE_LIMIT_FUNCTION_ARG, 8},
    {SQLITE_LIMIT_ATTACHED, 0},
    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 64},
    {SQLITE_LIMIT_VARIABLE_NUMBER, 32},
    {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
    {SQLITE_LIMIT_WORKER_THREADS, 0},
};

/* A SQLite that does not do as it is told is not used. */
static mmq_err restrict_connection(sqlite3 *db, mmq_why *why)
{
    bool obeyed = true;
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        int now = -1;
        const int code = sqlite3_db_config(db, switches[i].which, (int)switches[i].on, &now);
        obeyed = obeyed && code == SQLITE_OK && now == (int)switches[i].on;
    }
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        (void)sqlite3_limit(db, limits[i].which, limits[i].most);
        obeyed = obeyed && sqlite3_limit(db, limits[i].which, -1) <= limits[i].most;
    }
    return obeyed ? MMQ_OK
                  : mmq_fail(why, MMQ_EUNAVAILABLE,
                             "this SQLite (%s) cannot be restricted: install Debian's libsqlite3-0",
                             sqlite3_libversion());
}

mmq_err mmq_connection_set(sqlite3 *db, const char *pragmas, mmq_why *why)
{
    mmq_err err = restrict_connection(db, why);
    if (err == MMQ_OK) {
        (void)sqlite3_busy_timeout(db, MMQ_BUSY_MS);
        err = run_script(db, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;", why);
    }
    return err == MMQ_OK ? run_script(db, pragmas, why) : err;
}

/* Runs all that makes an empty file a store, in one transaction but for what SQLite wants outside
 * of it. */
static mmq_err fill_store(const mmq_store *store, sqlite3 *db, mmq_why *why)
{
    uint64_t id = store->fill_of;
    if (!store->fills) {
        mmq_random(&id, sizeof id);
    }
    char script[512];
    (void)snprintf(script, sizeof script,
                   "INSERT INTO store (one, id, commit_no, created) VALUES (1, %lld, 0, %lld);"
                   "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT;",
                   (long long)(int64_t)id, (long long)mmq_wall_s(),
                   store->fills ? MMQ_APPLICATION_COPY : MMQ_APPLICATION_ID, MMQ_SCHEMA_VERSION);
    mmq_err err = mmq_connection_set(db, "PRAGMA auto_vacuum = INCREMENTAL; BEGIN;", why);
    if (err == MMQ_OK) {
        err = run_script(db, schema_text, why);
    }
    if (err == MMQ_OK) {
        err = run_script(db, script, why);
    }
    return err == MMQ_OK ? run_script(db, "PRAGMA journal_mode = WAL;", why) : err;
}

static mmq_err make_file(const mmq_store *store, const char *path, mmq_why *why)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(path, &db, flags, NULL);
    mmq_err err = code == SQLITE_OK ? fill_store(store, db, why)
                                    : mmq_sqlite_error(db, code, "a new store", why);
    if (sqlite3_close(db) != SQLITE_OK && err == MMQ_OK) {
        err = mmq_fail(why, MMQ_EIO, "a new store cannot be closed");
    }
    return err;
}

/* Puts the finished file in its place, durably. */
static mmq_err place_file(const char *from, const char *path, mmq_why *why)
{
    const int number = mmq_file_place(from, path, true);
    return number == 0 ? MMQ_OK
                       : mmq_fail(why, number == ENOSPC ? MMQ_ENOSPC : MMQ_EIO,
                                  "cannot make the store %s: %s", path, strerror(number));
}

/* A log without its store would be taken for the new store's; and where a restore was broken off
 * between two renames, a new store would hide that there is one to finish. */
static mmq_err check_no_orphan(const char *path, mmq_why *why)
{
    static const char *const endings[] = {"-wal", "-journal"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const mmq_file_name name = mmq_file_named(path, endings[i]);
        if (mmq_file_has_bytes(name.text)) {
            return mmq_fail(why, MMQ_ECORRUPT,
                            "%s is missing but %s is there: put the store back, or move that"
                            " file away to begin a new one",
                            path, name.text);
        }
    }
    const mmq_file_name restoring = mmq_file_named(path, MMQ_RESTORING);
    return access(restoring.text, F_OK) != 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECORRUPT,
                          "%s is missing but %s is there: `metricmq restore` was broken off, run"
                          " it again",
                          path, restoring.text);
}

mmq_err mmq_schema_make(const mmq_store *store, const char *path, mmq_why *why)
{
    mmq_err err = check_no_orphan(path, why);
    if (err != MMQ_OK) {
        return err;
    }
    const mmq_file_name making = mmq_file_named(path, ".making");
    mmq_file_remove_all(making.text);
    err = make_file(store, making.text, why);
    if (err == MMQ_OK) {
        err = place_file(making.text, path, why);
    }
    mmq_file_remove_all(making.text);
    return err;
}

static mmq_err read_pragma(sqlite3 *db, const char *pragma, int64_t *out, mmq_why *why)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, pragma, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
    }
    *out = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    mmq_err err =
        code == SQLITE_ROW ? MMQ_OK : mmq_sqlite_error(db, code, "the store's header", why);
    (void)sqlite3_finalize(statement);
    return err;
}

/* Between two forms of the store: old_row is what is left of version 1's rows (migrate.c). The
 * version is read before the table is looked for, so that nobody takes a half for the whole. */
static mmq_err find_form(sqlite3 *db, int64_t version, mmq_form *out, mmq_why *why)
{
    int64_t left;
    mmq_err err = read_pragma(
        db, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'old_row')",
        &left, why);
    *out = version == MMQ_SCHEMA_VERSION_ROWS ? MMQ_FORM_OLD
           : err == MMQ_OK && left > 0        ? MMQ_FORM_BETWEEN
           : version == MMQ_SCHEMA_VERSION    ? MMQ_FORM_CURRENT
                                              : MMQ_FORM_EARLIER;
    return err;
}

static mmq_err check_application(const mmq_store *store, const char *path, int64_t application,
                                 mmq_why *why)
{
    const bool is_copy = application == MMQ_APPLICATION_COPY;
    if (!is_copy && application != MMQ_APPLICATION_ID) {
        return mmq_fail(why, MMQ_ECORRUPT, "%s is another program's database: name another --store",
                        path);
    }
    if (is_copy && !store->fills) {
        return mmq_fail(why, MMQ_EBUSY,
                        "%s is a copy that is not finished: `metricmq migrate --finish` makes it a"
                        " store",
                        path);
    }
    return !is_copy && store->fills
               ? mmq_fail(why, MMQ_ECONFLICT, "%s is a store like others", path)
               : MMQ_OK;
}

mmq_err mmq_schema_check(mmq_store *store, const char *path, mmq_why *why)
{
    mmq_sqlite *sqlite = mmq_sqlite_of(store);
    sqlite3 *db = sqlite->db;
    int64_t tables, application, version;
    mmq_err err = read_pragma(db, "SELECT EXISTS (SELECT 1 FROM sqlite_schema)", &tables, why);
    if (err == MMQ_OK) {
        err = read_pragma(db, "PRAGMA application_id", &application, why);
    }
    if (err == MMQ_OK) {
        err = read_pragma(db, "PRAGMA user_version", &version, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    if (tables == 0) {
        return mmq_fail(why, MMQ_ECORRUPT,
                        "%s is an empty database: remove it and a new store is made", path);
    }
    err = check_application(store, path, application, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (version < MMQ_SCHEMA_VERSION_ROWS || version > MMQ_SCHEMA_VERSION) {
        return mmq_fail(why, MMQ_ECORRUPT,
                        "%s has schema version %lld and this program knows %d: use the metricmq"
                        " that made it",
                        path, (long long)version, MMQ_SCHEMA_VERSION);
    }
    const char *const schemas[] = {schema_text, earlier_text, NULL};
    err = mmq_objects_check(db, path, schemas, why);
    return err == MMQ_OK ? find_form(db, version, &sqlite->form, why) : err;
}

/* A script that is one transaction. */
static mmq_err run_transaction(sqlite3 *db, const char *script, mmq_why *why)
{
    mmq_err err = run_script(db, script, why);
    if (err != MMQ_OK && sqlite3_get_autocommit(db) == 0) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return err;
}

/* The name of version 1's table is gone with the first step: who reads the store by it still, a
 * worker of an earlier release, gets an error and never a part of the rows. Its index goes at once:
 * its pages are where the blocks will lie, so that the file hardly grows. */
mmq_err mmq_schema_upgrade(sqlite3 *db, mmq_why *why)
{
    static const char script[] =
        "BEGIN IMMEDIATE; DROP INDEX row_by_rowid; ALTER TABLE row RENAME TO old_row;" BLOCK_TABLES(
            "") "PRAGMA user_version = 2; COMMIT;";
    return run_transaction(db, script, why);
}

/* A release that knows version 2 would take rows that were pruned for lost: it refuses version 3.
 * One that knows version 3 would write blocks again and leave what is said of their values as it
 * was: it refuses version 4. */
mmq_err mmq_schema_complete(sqlite3 *db, mmq_why *why)
{
    static const char to_3[] = "BEGIN IMMEDIATE;" PRUNE_TABLES "PRAGMA user_version = 3; COMMIT;";
    static const char to_4[] = "BEGIN IMMEDIATE; ALTER TABLE block ADD COLUMN " VALUE_SUMMARY
                               ";" INCOMPLETE_INDEX "PRAGMA user_version = 4; COMMIT;";
    int64_t version;
    mmq_err err = read_pragma(db, "PRAGMA user_version", &version, why);
    if (err == MMQ_OK && version < 3) {
        err = run_transaction(db, to_3, why);
    }
    return err == MMQ_OK && version < 4 ? run_transaction(db, to_4, why) : err;
}
