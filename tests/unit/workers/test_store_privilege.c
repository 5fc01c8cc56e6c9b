/* What a connection to the store may do, and what a file that somebody else wrote makes it do:
 * F51's hostile half. */
#include "store_world.h"

#include <sqlite3.h>

#include "workers/store/sqlite/sqlite.h"

static int begin(void **state)
{
    (void)state;
    world_begin();
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "a", "a"));
    assert_ok(mmq_store_commit(store, &why));
    mmq_store_close(&store);
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_end();
    return 0;
}

/* As anybody who may write the file, with SQLite's own settings. */
static void run_as_other(const char *sql)
{
    sqlite3 *db;
    char *fault = NULL;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &fault) != SQLITE_OK) {
        fail_msg("%s: %s", sql, fault);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void expect_denied(mmq_store *store, const char *sql, const char *says)
{
    char *fault = NULL;
    const int code = sqlite3_exec(mmq_sqlite_of(store)->db, sql, NULL, NULL, &fault);
    if (code == SQLITE_OK || fault == NULL || strstr(fault, says) == NULL) {
        fail_msg("%s: %d, %s (wanted \"%s\")", sql, code, fault != NULL ? fault : "nothing", says);
    }
    sqlite3_free(fault);
}

static int64_t count_of(mmq_store *store, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(mmq_sqlite_of(store)->db, sql, -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const int64_t count = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return count;
}

/* Twice kept from it: by query_only, and by the file's being open for reading only. */
static void test_a_reader_cannot_write(void **state)
{
    (void)state;
    static const char *const writes[] = {"INSERT INTO doomed VALUES (1)",
                                         "UPDATE metric SET status = 0",
                                         "DELETE FROM metric",
                                         "CREATE TABLE x (y)",
                                         "DROP TABLE growth",
                                         "REINDEX",
                                         "PRAGMA user_version = 9",
                                         "CREATE INDEX i ON growth (at)"};
    mmq_store *store = world_open(MMQ_STORE_READ);
    assert_int_equal(sqlite3_db_readonly(mmq_sqlite_of(store)->db, "main"), 1);
    assert_int_equal(count_of(store, "PRAGMA query_only"), 1);
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        expect_denied(store, writes[i], "readonly");
    }
    assert_int_equal(
        sqlite3_exec(mmq_sqlite_of(store)->db, "PRAGMA query_only = OFF", NULL, NULL, NULL), 0);
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        expect_denied(store, writes[i], "readonly");
    }
    assert_int_equal(count_of(store, "SELECT count(*) FROM metric WHERE status = 1"), 1);
    mmq_store_close(&store);
}

static void deny_reaching_out(mmq_store *store)
{
    char *fault = NULL;
    expect_denied(store, "ATTACH ':memory:' AS x", "too many attached");
    expect_denied(store, "ATTACH '/etc/passwd' AS x", "too many attached");
    char sql[128];
    (void)snprintf(sql, sizeof sql, "VACUUM INTO '%s/copy'", world_folder);
    expect_denied(store, sql, "");
    (void)snprintf(sql, sizeof sql, "%s/copy", world_folder);
    assert_int_not_equal(access(sql, F_OK), 0);
    expect_denied(store, "SELECT load_extension('mod_spatialite')", "");
    assert_int_equal(
        sqlite3_load_extension(mmq_sqlite_of(store)->db, "mod_spatialite", NULL, &fault),
        SQLITE_ERROR);
    assert_non_null(strstr(fault, "not authorized"));
    sqlite3_free(fault);
}

static void test_no_connection_reaches_beyond_its_file(void **state)
{
    (void)state;
    for (int mode = MMQ_STORE_READ; mode <= (int)MMQ_STORE_WRITE; mode++) {
        mmq_store *store = world_open((mmq_store_mode)mode);
        deny_reaching_out(store);
        mmq_store_close(&store);
    }
}

/* Not even the writer can make the file say what SQLite would not write. */
static void test_the_schema_cannot_be_forged(void **state)
{
    (void)state;
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    assert_int_equal(
        sqlite3_exec(mmq_sqlite_of(store)->db, "PRAGMA writable_schema = ON", NULL, NULL, NULL), 0);
    expect_denied(store, "UPDATE sqlite_schema SET sql = 'x'", "may not be modified");
    expect_denied(store, "UPDATE sqlite_dbpage SET data = zeroblob(4096)", "");
    assert_int_equal(
        sqlite3_exec(mmq_sqlite_of(store)->db, "PRAGMA journal_mode = OFF", NULL, NULL, NULL), 0);
    assert_int_equal(
        count_of(store, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
    mmq_store_close(&store);
}

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        int which, most;
    } wanted[] = {{SQLITE_LIMIT_LENGTH, 16 << 20},    {SQLITE_LIMIT_SQL_LENGTH, 16 << 10},
                  {SQLITE_LIMIT_COLUMN, 64},          {SQLITE_LIMIT_EXPR_DEPTH, 64},
                  {SQLITE_LIMIT_COMPOUND_SELECT, 8},  {SQLITE_LIMIT_FUNCTION_ARG, 8},
                  {SQLITE_LIMIT_ATTACHED, 0},         {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 64},
                  {SQLITE_LIMIT_VARIABLE_NUMBER, 32}, {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
                  {SQLITE_LIMIT_WORKER_THREADS, 0}};
    char deep[512] = "SELECT 1";
    for (int i = 0; i < 100; i++) {
        strcat(deep, "+1");
    }
    for (int mode = MMQ_STORE_READ; mode <= (int)MMQ_STORE_WRITE; mode++) {
        mmq_store *store = world_open((mmq_store_mode)mode);
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
            assert_int_equal(sqlite3_limit(mmq_sqlite_of(store)->db, wanted[i].which, -1),
                             wanted[i].most);
        }
        assert_int_equal(count_of(store, "PRAGMA cell_size_check"), 1);
        assert_int_equal(count_of(store, "PRAGMA trusted_schema"), 0);
        expect_denied(store, deep, "depth");
        expect_denied(store, "SELECT randomblob(17000000)", "too big");
        mmq_store_close(&store);
    }
}

/* ---- hostile files ------------------------------------------------------------------------ */

static void expect_refused(const char *says)
{
    for (int mode = MMQ_STORE_READ; mode <= (int)MMQ_STORE_WRITE; mode++) {
        mmq_store *store;
        mmq_err err = mmq_store_open(world_url, (mmq_store_mode)mode, &store, &why);
        if (err != MMQ_ECORRUPT || strstr(why.text, says) == NULL) {
            fail_msg("%s: %s (wanted \"%s\")", mmq_err_name(err), why.text, says);
        }
        assert_null(store);
    }
}

static void test_a_view_in_a_tables_place(void **state)
{
    (void)state;
    run_as_other("ALTER TABLE doomed RENAME TO d; CREATE VIEW doomed AS SELECT 1 AS metric");
    mmq_store *store;
    assert_int_equal(mmq_store_open(world_url, MMQ_STORE_WRITE, &store, &why), MMQ_ECORRUPT);
    assert_non_null(strstr(why.text, "doomed"));
    assert_null(store);
}

/* Planted while the store is open, so that nothing else is in its way: it is there, and does not
 * run. */
static void test_a_trigger_does_not_run(void **state)
{
    (void)state;
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    run_as_other("CREATE TRIGGER t AFTER INSERT ON metric BEGIN DELETE FROM metric; END;"
                 "CREATE VIEW v AS SELECT * FROM metric");
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "b", "b"));
    assert_ok(mmq_store_commit(store, &why));
    assert_int_equal(count_of(store, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"),
                     1);
    assert_int_equal(count_of(store, "SELECT count(*) FROM metric"), 2);
    expect_denied(store, "SELECT * FROM v", "access to view");
    mmq_store_close(&store);
    run_as_other("DELETE FROM growth; INSERT INTO metric (uid, made, changed, status,"
                 " poll_interval, datasource, identity, name, description, server, location,"
                 " parameters) VALUES ('c', 1, 1, 1, 1, '', 'c', '', '', '', '', '')");
    run_as_other("CREATE TABLE seen AS SELECT count(*) AS n FROM metric");
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT n FROM seen", -1, &statement, NULL), 0);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 0); /* with anybody else it does */
    (void)sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A table's text in the file is SQL that is parsed when the file is opened. */
static void test_files_whose_tables_are_beyond_the_bounds(void **state)
{
    (void)state;
    static char sql[40000];
    size_t size = (size_t)sprintf(sql, "CREATE TABLE wide (c0");
    for (int i = 1; i < 1000; i++) {
        size += (size_t)sprintf(sql + size, ", c%d", i);
    }
    (void)sprintf(sql + size, ")");
    run_as_other(sql);
    expect_refused("too many columns");
    world_end();
    (void)begin(NULL);
    size = (size_t)sprintf(sql, "CREATE TABLE long (x DEFAULT '");
    memset(sql + size, 'x', 20000);
    (void)sprintf(sql + size + 20000, "')");
    run_as_other(sql);
    expect_refused("");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_a_reader_cannot_write),
        TEST(test_no_connection_reaches_beyond_its_file),
        TEST(test_the_schema_cannot_be_forged),
        TEST(test_bounds),
        TEST(test_a_view_in_a_tables_place),
        TEST(test_a_trigger_does_not_run),
        TEST(test_files_whose_tables_are_beyond_the_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
