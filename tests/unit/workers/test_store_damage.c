/* F51: files that are no store, or a damaged one. Each must be refused with a reason or read as far
 * as it goes; nothing may crash, hang or give values that no writer wrote. */
#include "store_world.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/calendar.h"
#include "lib/columns.h"

enum { ROWS = 4000, FLIPS = 400 };

static world_rows rows;
static mmq_columns batch;
static unsigned char *image; /* of a good store */
static size_t image_size;

static void load_image(void)
{
    FILE *file = fopen(world_path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    image_size = (size_t)ftell(file);
    rewind(file);
    image = malloc(image_size);
    assert_int_equal(fread(image, 1, image_size, file), image_size);
    (void)fclose(file);
}

static void remove_file(const char *ending)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s%s", world_path, ending);
    (void)remove(path);
}

static void put_file(const void *data, size_t size)
{
    remove_file("-wal");
    remove_file("-shm");
    remove_file("");
    FILE *file = fopen(world_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    for (size_t i = 0; i < ROWS; i++) {
        world_set(&rows, i, 1000 + (int64_t)i, (double)i / 3, i % 2 == 0 ? 0.5 : NAN);
    }
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_appended out;
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "a", "a"));
    assert_ok(world_create(store, "b", "b"));
    assert_ok(mmq_store_commit(store, &why));
    assert_ok(world_append(store, "b", 0, &rows, 0, ROWS, &out));
    assert_ok(world_append(store, "a", 0, &rows, 0, ROWS, &out));
    mmq_store_close(&store);
    load_image();
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(image);
    world_end();
    return 0;
}

static void expect(mmq_store_mode mode, mmq_err wanted, const char *says)
{
    mmq_store *store;
    mmq_err err = mmq_store_open(world_url, mode, &store, &why);
    if (err != wanted || strstr(why.text, says) == NULL) {
        fail_msg("%s, wanted %s: %s (wanted \"%s\")", mmq_err_name(err), mmq_err_name(wanted),
                 why.text, says);
    }
    assert_null(store);
}

static void expect_both(mmq_err wanted, const char *says)
{
    expect(MMQ_STORE_READ, wanted, says);
    expect(MMQ_STORE_WRITE, wanted, says);
}

static void test_no_store(void **state)
{
    (void)state;
    put_file("", 0);
    expect_both(MMQ_ECORRUPT, "empty file");
    put_file("hello", 5);
    expect_both(MMQ_ECORRUPT, "no SQLite database");
    memset(image, 0, 100);
    put_file(image, image_size);
    expect_both(MMQ_ECORRUPT, "header is damaged");
    remove_file("");
    remove_file("-wal");
    expect(MMQ_STORE_READ, MMQ_ENOTFOUND, "there is no store");
    assert_int_equal(mkdir(world_path, 0777), 0);
    expect_both(MMQ_ECORRUPT, "a folder");
    mmq_store *store;
    assert_int_equal(mmq_store_open("mysql:x", MMQ_STORE_READ, &store, &why), MMQ_EINVAL);
    assert_int_equal(mmq_store_open("sqlite:", MMQ_STORE_READ, &store, &why), MMQ_EINVAL);
}

static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_other_schema(void **state)
{
    (void)state;
    run_sql("PRAGMA user_version = 5");
    expect_both(MMQ_ECORRUPT, "schema version 5");
    run_sql("PRAGMA user_version = 4; PRAGMA application_id = 7");
    expect_both(MMQ_ECORRUPT, "another program");
    run_sql("PRAGMA application_id = 1835888945; DELETE FROM store");
    expect_both(MMQ_ECORRUPT, "damaged");
    run_sql("DROP TABLE growth");
    expect_both(MMQ_ECORRUPT, "growth");
    remove_file("");
    remove_file("-wal");
    remove_file("-shm");
    run_sql("CREATE TABLE t (x); DROP TABLE t");
    expect_both(MMQ_ECORRUPT, "empty database");
}

/* F51: a file that is a store by its marks and was made by somebody else: what would run when it is
 * read or written is refused before it is. */
static void test_hostile_schema(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *table;
    } cases[] = {
        {"DROP TABLE doomed; CREATE VIEW doomed AS SELECT 1 AS metric", "doomed"},
        {"DROP TABLE doomed; CREATE VIRTUAL TABLE Doomed USING fts5(metric)", "doomed"},
        {"CREATE TRIGGER t AFTER INSERT ON metric BEGIN DELETE FROM block_data; END", "metric"},
        {"CREATE INDEX i ON metric (length(hex(zeroblob(80000))))", "metric"},
        {"ALTER TABLE metric ADD COLUMN x TEXT AS (hex(zeroblob(80000)))", "metric"},
        {"ALTER TABLE block_data ADD COLUMN x ANY", "block_data"},
        {"DROP INDEX growth_at; CREATE INDEX growth_at ON growth (at DESC)", "growth"},
        {"CREATE TABLE \"Row\" (metric)", "row"},
    };
    char says[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_file(image, image_size);
        run_sql(cases[i].sql);
        (void)snprintf(says, sizeof says, "its table %s, or what hangs on it", cases[i].table);
        expect_both(MMQ_ECORRUPT, says);
    }
    put_file(image, image_size);
    run_sql("CREATE TABLE notes (x); CREATE VIEW names AS SELECT uid FROM metric; ANALYZE");
    mmq_store *store = world_open(MMQ_STORE_WRITE); /* others' own are left alone */
    mmq_store_close(&store);
}

/* Swaps the places of the first two cells of a table's only page. */
static void swap_cells(const char *table)
{
    sqlite3 *db;
    sqlite3_stmt *at;
    unsigned char places[4];
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT rootpage FROM sqlite_schema WHERE name = ?", -1, &at, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_bind_text(at, 1, table, -1, SQLITE_STATIC), SQLITE_OK);
    assert_int_equal(sqlite3_step(at), SQLITE_ROW);
    const long cells = (sqlite3_column_int(at, 0) - 1) * 4096L + 8;
    assert_int_equal(sqlite3_finalize(at), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    FILE *file = fopen(world_path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, cells, SEEK_SET), 0);
    assert_int_equal(fread(places, 1, 4, file), 4);
    assert_int_equal(fseek(file, cells, SEEK_SET), 0);
    assert_int_equal(fwrite(places + 2, 1, 2, file) + fwrite(places, 1, 2, file), 4);
    assert_int_equal(fclose(file), 0);
}

/* Housekeeping that finds work and cannot do it says so, and does not try for ever. */
static void test_endless_housekeeping(void **state)
{
    (void)state;
    bool more = true;
    mmq_err err = MMQ_OK;
    put_file(image, image_size);
    run_sql("INSERT INTO doomed VALUES (1001), (1007), (1009)");
    swap_cells("doomed");
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    for (int i = 0; i < 100 && more && err == MMQ_OK; i++) {
        err = mmq_store_tidy(store, &more, &why);
    }
    assert_int_equal(err, MMQ_ECORRUPT);
    assert_false(more);
    mmq_store_close(&store);
}

/* A store is made whole or not at all, and never beside another one's log. */
static void test_making(void **state)
{
    (void)state;
    put_file(image, image_size);
    char making[128];
    (void)snprintf(making, sizeof making, "%s.making", world_path);
    assert_int_equal(rename(world_path, making), 0); /* a maker died before the end */
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_store_close(&store);
    assert_int_not_equal(access(making, F_OK), 0);
    remove_file("");
    remove_file("-wal");
    char wal[128];
    (void)snprintf(wal, sizeof wal, "%s-wal", world_path);
    FILE *file = fopen(wal, "wb");
    assert_non_null(file);
    assert_int_equal(fputs("a log", file) >= 0, 1);
    (void)fclose(file);
    expect(MMQ_STORE_WRITE, MMQ_ECORRUPT, "put the store back");
}

/* Reads and writes all that can be; every error must be one of those that damage brings. */
static bool use_store(mmq_store_mode mode)
{
    mmq_store *store;
    mmq_metric record = {0};
    mmq_snapshot snapshot;
    mmq_metric_head heads[4];
    size_t count = 0;
    int64_t unscored;
    mmq_err err = mmq_store_open(world_url, mode, &store, &why);
    if (err != MMQ_OK) {
        assert_true(err == MMQ_ECORRUPT || err == MMQ_EIO);
        assert_int_not_equal(why.text[0], '\0');
        return false;
    }
    err = mmq_store_begin_read(store, &snapshot, &why);
    if (err != MMQ_OK) {
        assert_int_equal(err, MMQ_ECORRUPT);
        mmq_store_close(&store);
        return true;
    }
    (void)!mmq_store_unscored(store, &unscored, &why);
    if (mmq_store_heads(store, "", heads, 4, &count, &why) == MMQ_OK && count > 0) {
        if (mmq_store_metric(store, heads[0].uid, &record, &why) == MMQ_OK) {
            mmq_metric_clear(&record);
        }
        mmq_range range = {
            .metric = heads[0].key, .from = MMQ_TIME_MIN, .to = MMQ_TIME_MAX, .ascending = true};
        size_t read = 0;
        do {
            err = mmq_store_read_time(store, &range, &batch, 1000, &why);
            read += err == MMQ_OK ? batch.count : 0;
            for (size_t i = 0; err == MMQ_OK && i < batch.count; i++) {
                assert_true(isfinite(batch.value[i]) && batch.rowid[i] > 0);
            }
            assert_true(read <= 1000000);
        } while (err == MMQ_OK && !range.ended);
        assert_true(err == MMQ_OK || err == MMQ_ECORRUPT);
        mmq_err other = mmq_store_read_rowids(store, heads[0].key, 1, ROWS, &batch, 1000, &why);
        assert_true(other == MMQ_OK || other == MMQ_ECORRUPT);
    }
    mmq_store_end_read(store);
    mmq_store_close(&store);
    return true;
}

static void write_some(void)
{
    mmq_store *store;
    mmq_appended out;
    if (mmq_store_open(world_url, MMQ_STORE_WRITE, &store, &why) != MMQ_OK) {
        return;
    }
    if (mmq_store_begin_write(store, &why) == MMQ_OK) {
        mmq_write_rows view = world_view(&rows, 0, 1000);
        mmq_err err = mmq_store_append(store, "a", 0, &view, &out, &why);
        if (err == MMQ_OK) {
            err = mmq_store_score(store, "a", &view, &why);
        }
        if (err == MMQ_OK) {
            err = mmq_store_delete(store, "b", &why);
        }
        if (err == MMQ_OK || err == MMQ_ENOTFOUND) {
            err = mmq_store_commit(store, &why);
        } else {
            mmq_store_rollback(store);
        }
        bool more = err == MMQ_OK;
        for (int i = 0; i < 5 && more; i++) {
            more = mmq_store_tidy(store, &more, &why) == MMQ_OK && more;
        }
    }
    mmq_store_close(&store);
}

static mmq_err read_first(mmq_store *store, const char *uid)
{
    mmq_metric_head head;
    assert_ok(mmq_store_find(store, uid, &head, &why));
    mmq_range range = {
        .metric = head.key, .from = MMQ_TIME_MIN, .to = MMQ_TIME_MAX, .ascending = true};
    return mmq_store_read_time(store, &range, &batch, 10, &why);
}

/* A head that leads to the data of another block, which is open: its rows are not the head's. */
static void test_data_of_another_block(void **state)
{
    (void)state;
    mmq_snapshot snapshot;
    mmq_appended out;
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "c", "c"));
    assert_ok(mmq_store_commit(store, &why));
    assert_ok(world_append(store, "c", 0, &rows, 0, 10, &out));
    run_sql("UPDATE block SET data = (SELECT data FROM block WHERE metric = 3) WHERE metric = 1");
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(read_first(store, "c"));
    assert_int_equal(read_first(store, "a"), MMQ_ECORRUPT);
    assert_non_null(strstr(why.text, "the data of the block of metric 1"));
    mmq_store_end_read(store);
    mmq_store_close(&store);
}

static void test_truncated(void **state)
{
    (void)state;
    for (size_t size = 1; size < image_size; size += image_size / 37 + 1) {
        put_file(image, size);
        assert_false(use_store(MMQ_STORE_READ));
        put_file(image, size);
        assert_false(use_store(MMQ_STORE_WRITE));
    }
    put_file(image, image_size - 1);
    expect_both(MMQ_ECORRUPT, "cut off");
}

static void test_bit_flips(void **state)
{
    (void)state;
    for (int i = 0; i < FLIPS; i++) {
        /* Half of them in the pages of the schema and the metrics, where most can go wrong. */
        size_t bound = i % 2 == 0 ? 16 * 4096 : image_size;
        size_t at = (size_t)random() % bound;
        unsigned char bit = (unsigned char)(1U << (random() % 8));
        image[at] ^= bit;
        put_file(image, image_size);
        (void)use_store(MMQ_STORE_READ);
        write_some();
        image[at] ^= bit;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const char *given = getenv("SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("SEED=%u\n", seed);
    srandom(seed);
    const struct CMUnitTest tests[] = {
        TEST(test_no_store),       TEST(test_other_schema),
        TEST(test_hostile_schema), TEST(test_endless_housekeeping),
        TEST(test_making),         TEST(test_truncated),
        TEST(test_bit_flips),      TEST(test_data_of_another_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
