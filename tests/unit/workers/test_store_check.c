/* F51: each kind of damage is named by mmq_store_check, and a store that is whole has none. Planted
 * with SQL, which leaves the file as SQLite wants it, and by flipped bits, which do not. */
#include "store_world.h"

#include <sqlite3.h>

#include "workers/store/blocks.h"

enum { ROWS = 3000, FLIPS = 60 };

static world_rows rows;
static unsigned char *image; /* of a whole store */
static size_t image_size;

/* What a check said: its lines, one behind the other. */
static char said[64 * 1024];
static mmq_store_sums sums;

static bool go_on(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context;
    assert_non_null(doing);
    assert_true(done >= 0 && total >= 0);
    return true;
}

static void note(void *context, const char *what)
{
    (void)context;
    assert_null(strchr(what, '\n'));
    const size_t used = strlen(said);
    (void)snprintf(said + used, sizeof said - used, "%s\n", what);
}

static mmq_err check(void)
{
    mmq_store *store;
    said[0] = '\0';
    mmq_err err = mmq_store_open(world_url, MMQ_STORE_READ, &store, &why);
    const mmq_store_watch watch = {.at = go_on, .fault = note};
    if (err == MMQ_OK) {
        err = mmq_store_check(store, &watch, &sums, &why);
    }
    mmq_store_close(&store);
    return err;
}

/* The tables as they were; what a deferred check would need is not among them. */
static void put_tables(void)
{
    static const char *const tables[] = {"store",  "metric", "block",  "block_data",
                                         "growth", "doomed", "pruned", "gap"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char sql[200];
        (void)snprintf(sql, sizeof sql,
                       "DELETE FROM %s; INSERT INTO %s OVERRIDING SYSTEM VALUE"
                       " SELECT * FROM whole.%s",
                       tables[i], tables[i], tables[i]);
        (void)world_sql(sql);
    }
}

static void keep_tables(void)
{
    (void)world_sql("DROP SCHEMA IF EXISTS whole CASCADE; CREATE SCHEMA whole;"
                    "CREATE TABLE whole.store AS TABLE store;"
                    "CREATE TABLE whole.metric AS TABLE metric;"
                    "CREATE TABLE whole.block AS TABLE block;"
                    "CREATE TABLE whole.block_data AS TABLE block_data;"
                    "CREATE TABLE whole.growth AS TABLE growth;"
                    "CREATE TABLE whole.doomed AS TABLE doomed;"
                    "CREATE TABLE whole.pruned AS TABLE pruned;"
                    "CREATE TABLE whole.gap AS TABLE gap");
}

static void keep_image(void)
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

static void put_image(void)
{
    static const char *const endings[] = {"-wal", "-shm", ""};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s%s", world_path, endings[i]);
        (void)remove(path);
    }
    FILE *file = fopen(world_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(image, 1, image_size, file), image_size);
    assert_int_equal(fclose(file), 0);
}

/* Metric a: rows in order but for a step back; b: 100 rows; c: deleted, rows still there. */
static int begin(void **state)
{
    (void)state;
    world_begin();
    for (size_t i = 0; i < ROWS; i++) {
        const int64_t time = i == 2000 ? 1500 : 1000 + (int64_t)i;
        world_set(&rows, i, time, (double)i / 3, i % 2 == 0 ? (double)i / ROWS : NAN);
    }
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_appended out;
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "a", "a"));
    assert_ok(world_create(store, "b", "b"));
    assert_ok(world_create(store, "c", "c"));
    assert_ok(world_create(store, "empty", "empty"));
    assert_ok(mmq_store_commit(store, &why));
    assert_ok(world_append(store, "a", 0, &rows, 0, ROWS, &out));
    assert_ok(world_append(store, "b", 0, &rows, 0, 60, &out));
    assert_ok(world_append(store, "b", 0, &rows, 60, 40, &out));
    assert_ok(world_append(store, "c", 0, &rows, 0, 2000, &out));
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(mmq_store_delete(store, "c", &why));
    assert_ok(mmq_store_commit(store, &why));
    mmq_store_close(&store);
    if (store_server() == NULL) {
        keep_image();
    } else {
        keep_tables();
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(image);
    image = NULL;
    world_end();
    return 0;
}

static void test_whole(void **state)
{
    (void)state;
    assert_ok(check());
    assert_string_equal(said, "");
    assert_int_equal(sums.faults, 0);
    assert_int_equal(sums.metrics, 3);
    assert_int_equal(sums.rows, ROWS + 100);
    assert_true(sums.blocks >= 4 && sums.bytes > 0);
    assert_true(image == NULL || (size_t)sums.bytes <= image_size);
}

/* ---- by SQL ----------------------------------------------------------------------------- */

#define FIRST " WHERE metric = 1 AND first_timestamp = 1000"

/* The check of a's first block's head, in case it is to be right. Scores are parts of ROWS. */
static void fix_head(void)
{
    const mmq_block_head head = {
        .first = {world_sql("SELECT first_timestamp FROM block" FIRST),
                  world_sql("SELECT first_rowid FROM block" FIRST)},
        .last = {world_sql("SELECT last_timestamp FROM block" FIRST),
                 world_sql("SELECT last_rowid FROM block" FIRST)},
        .least_rowid = world_sql("SELECT least_rowid FROM block" FIRST),
        .greatest_rowid = world_sql("SELECT greatest_rowid FROM block" FIRST),
        .rows = world_sql("SELECT rows FROM block" FIRST),
        .unscored = world_sql("SELECT unscored FROM block" FIRST),
        .greatest_score = (double)world_sql("SELECT CAST(round(greatest_score * 3000) AS bigint)"
                                            " FROM block" FIRST) /
                          ROWS,
        .data_check = (uint64_t)world_sql("SELECT data_check FROM block" FIRST),
    };
    char sql[200];
    (void)snprintf(sql, sizeof sql, "UPDATE block SET head_check = %lld" FIRST,
                   (long long)mmq_block_head_check(1, &head));
    (void)world_sql(sql);
}

static const struct planted {
    const char *sql;
    bool fix; /* give the head its right check again */
    const char *says;
} planted[] = {
    {"UPDATE block SET unscored = unscored + 1" FIRST, false,
     "metric a: block from timestamp 1000: its head is damaged"},
    {"UPDATE block SET head_check = head_check + 1" FIRST, false,
     "metric a: block from timestamp 1000: its head is damaged"},
    {"UPDATE block SET rows = 2000" FIRST, true,
     "metric a: block from timestamp 1000: its head is damaged"},
    {"UPDATE block SET unscored = unscored + 1" FIRST, true,
     "metric a: block from timestamp 1000: its head says that"},
    {"UPDATE block SET greatest_score = 0.99" FIRST, true,
     "metric a: block from timestamp 1000: its head has another greatest score than its rows"},
    {"UPDATE block SET greatest_rowid = greatest_rowid + 1" FIRST, true,
     "metric a: block from timestamp 1000: its head has another least or greatest rowid"},
    {"UPDATE block SET greatest_rowid = 5000" FIRST, true,
     "metric a: block from timestamp 1000: it has rowid 5000, and the metric's last is 3000"},
    {"UPDATE block SET rows = rows - 1" FIRST, true,
     "metric a: block from timestamp 1000: its data cannot be decoded"},
    {"UPDATE block SET last_timestamp = 3500" FIRST, true, "it is not behind the block before it"},
    {"UPDATE block_data SET data = substr(data, 1, length(data) - 1)"
     " WHERE key = (SELECT data FROM block" FIRST ")",
     false, "metric a: block from timestamp 1000: its data does not agree with its check"},
    {"DELETE FROM block_data WHERE key = (SELECT data FROM block" FIRST ")", false,
     "metric a: block from timestamp 1000: its data is missing"},
    {"DELETE FROM block" FIRST, false, "metric a: row 1 is missing, and others"},
    {"DELETE FROM block" FIRST, false, "metric a: its record says 3000 rows, and its blocks have"},
    {"DELETE FROM block" FIRST, false, "belongs to no block"},
    {"UPDATE block SET data = (SELECT min(data) FROM block WHERE metric = 2)" FIRST, false,
     "belongs to several blocks"},
    {"UPDATE metric SET unscored = 7 WHERE uid = 'a'", false,
     "metric a: its record says 7 rows without a score, and its blocks have 1500"},
    {"UPDATE metric SET last_timestamp = 7777 WHERE uid = 'a'", false,
     "metric a: its record says that its greatest timestamp is 7777, and its blocks' is 3999"},
    {"UPDATE metric SET last_rowid = 3001 WHERE uid = 'a'", false, "metric a: row 3001 is missing"},
    {"UPDATE metric SET last_rowid = 4503599627370496 WHERE uid = 'a'", false,
     "metric a: its record says 4503599627370496 rows, and its blocks have 3000"},
    {"UPDATE metric SET last_rowid = 10 WHERE uid = 'empty'", false, "metric empty: "},
    {"UPDATE metric SET changed = 1000 WHERE uid = 'a'", false, "metric a: its record is damaged"},
    {"UPDATE metric SET uid = 'a b' WHERE uid = 'a'", false, "metric key 1: "},
    {"UPDATE metric SET poll_interval = -1 WHERE uid = 'a'", false, "metric a: "},
    {"DELETE FROM metric WHERE uid = 'a'", false,
     "metric key 1 has blocks and is neither there nor deleted"},
    {"DELETE FROM doomed", false, "metric key 3 has blocks and is neither there nor deleted"},
    {"INSERT INTO doomed VALUES (2)", false, "metric key 2 is both there and deleted"},
    {"UPDATE growth SET before_rowid = 100 WHERE metric = 2 AND before_rowid = 60", false,
     "metric b: its length before commit 4 is wrong"},
    {"UPDATE growth SET before_rowid = 60 WHERE metric = 2", false,
     "metric b: its length before commit 4 is wrong"},
};

static void test_planted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        if (store_server() == NULL) {
            put_image();
        } else {
            put_tables();
        }
        (void)world_sql(planted[i].sql);
        if (planted[i].fix) {
            fix_head();
        }
        assert_ok(check());
        if (strstr(said, planted[i].says) == NULL || sums.faults == 0) {
            fail_msg("%s: \"%s\" is not in:\n%s", planted[i].sql, planted[i].says, said);
        }
    }
}

/* A rowid in the place of another: all sums agree. */
static void test_twice(void **state)
{
    (void)state;
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_write_rows twice = world_view(&rows, 0, 100);
    rows.rowid[40] = 40; /* and 41 is nowhere */
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(mmq_blocks_put(store, 4, NULL, &twice, 0, 100, &why));
    assert_ok(mmq_store_commit(store, &why));
    mmq_store_close(&store);
    rows.rowid[40] = 41;
    (void)world_sql(
        "UPDATE metric SET last_rowid = 100, last_timestamp = 1099, unscored = 50 WHERE key = 4");
    assert_ok(check());
    assert_string_equal(said, "metric empty: block from timestamp 1000: rowid 40 is there twice\n"
                              "metric empty: row 41 is missing\n");
}

/* Has the head of b's block say these values, with the check that they need. */
static void say_values(const mmq_block_values *values)
{
    uint8_t packed[MMQ_BLOCK_VALUES];
    mmq_stored_block block;
    mmq_snapshot snapshot;
    bool found;
    char sql[200], *at = sql;
    at +=
        sprintf(sql, "UPDATE block SET value_summary = %s", store_server() == NULL ? "x'" : "'\\x");
    mmq_store *store = world_open(MMQ_STORE_READ);
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(mmq_blocks_after(store, 2, (mmq_row_key){0, 0}, &found, &block, &why));
    assert_true(found);
    mmq_store_end_read(store);
    mmq_store_close(&store);
    mmq_block_values_write(values, 2, &block.head, packed);
    for (size_t i = 0; i < sizeof packed; i++) {
        at += sprintf(at, "%02x", packed[i]);
    }
    (void)sprintf(at, "' WHERE metric = 2 AND first_timestamp = %lld",
                  (long long)block.head.first.timestamp);
    (void)world_sql(sql);
}

static void test_values(void **state)
{
    (void)state;
    mmq_store *store = world_open(MMQ_STORE_READ);
    mmq_snapshot snapshot;
    mmq_stored_block block;
    bool found;
    double value[MMQ_BLOCK_ROWS];
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(mmq_blocks_after(store, 2, (mmq_row_key){0, 0}, &found, &block, &why));
    assert_ok(mmq_blocks_open(store, &block, &why));
    assert_true(mmq_doubles_decode(&store->block->value, 0, store->block->count, value));
    const mmq_block_values right = mmq_block_values_of(value, store->block->count);
    mmq_store_end_read(store);
    mmq_store_close(&store);
    say_values(&right);
    assert_ok(check());
    assert_string_equal(said, "");
    const double off[] = {-1, 1, 0.001, 0.001, 1e-9}; /* least <= first, last, mean <= greatest */
    for (size_t i = 0; i < 5; i++) {
        double numbers[5];
        memcpy(numbers, &right, sizeof numbers);
        numbers[i] += i == 3 ? -off[i] : off[i];
        mmq_block_values wrong;
        memcpy(&wrong, numbers, sizeof wrong);
        say_values(&wrong);
        assert_ok(check());
        assert_non_null(strstr(said, "metric b: block from timestamp 1000: its head says another"
                                     " thing of its values than they are\n"));
    }
    mmq_block_values wrong = right;
    wrong.mean = NAN;
    say_values(&wrong);
    assert_ok(check());
    assert_non_null(strstr(said, "what its head says of its values is damaged\n"));
}

/* ---- by flipped bits -------------------------------------------------------------------- */

/* Wherever a block's data is hit, it is told; elsewhere nothing crashes, and what is found is told
 * line by line or is a refusal. */
static void test_flipped(void **state)
{
    (void)state;
    SQLITE_ONLY("it is about the bytes of the file");
    const char *given = getenv("METRICMQ_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)getpid();
    print_message("METRICMQ_SEED=%u\n", seed);
    int told = 0;
    for (int i = 0; i < FLIPS; i++) {
        const size_t at = 100 + (size_t)rand_r(&seed) % (image_size - 100);
        const unsigned char kept = image[at];
        image[at] ^= (unsigned char)(1U << (unsigned)rand_r(&seed) % 8);
        put_image();
        const mmq_err err = check();
        told += err != MMQ_OK || sums.faults > 0 ? 1 : 0;
        assert_true(err == MMQ_OK || err == MMQ_ECORRUPT);
        image[at] = kept;
    }
    assert_true(told > 0); /* much of a small file is empty */
}

static size_t find_bytes(const void *bytes, size_t size)
{
    const unsigned char *at = memmem(image, image_size, bytes, size);
    assert_non_null(at);
    return (size_t)(at - image);
}

static void test_flipped_data(void **state)
{
    (void)state;
    SQLITE_ONLY("it is about the bytes of the file");
    unsigned char head[40];
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT data FROM block_data WHERE key ="
                                        " (SELECT data FROM block" FIRST ")",
                                        -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    memcpy(head, sqlite3_column_blob(statement, 0), sizeof head);
    (void)sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    const size_t at = find_bytes(head, sizeof head);
    for (size_t i = 0; i < sizeof head; i++) {
        image[at + i] ^= 4;
        put_image();
        assert_ok(check());
        assert_string_equal(
            said, "metric a: block from timestamp 1000: its data does not agree with its check\n");
        image[at + i] ^= 4;
    }
}

/* The number of the first page of table metric. */
static size_t find_root(void)
{
    sqlite3 *db;
    sqlite3_stmt *at;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT rootpage FROM sqlite_schema WHERE name = 'metric'",
                                        -1, &at, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(at), SQLITE_ROW);
    const size_t root = (size_t)sqlite3_column_int64(at, 0);
    assert_int_equal(sqlite3_finalize(at), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return root;
}

/* Keys that do not ascend: the walk over the metrics must not begin again and again. */
static void test_keys_out_of_order(void **state)
{
    (void)state;
    SQLITE_ONLY("it is about the bytes of the file");
    const size_t page_size = (size_t)(image[16] << 8 | image[17]);
    unsigned char *page = image + (find_root() - 1) * page_size;
    assert_int_equal(page[0], 0x0d); /* a leaf, whose cells' places are behind 8 bytes */
    unsigned char place[2];
    memcpy(place, page + 10, 2);
    memcpy(page + 10, page + 12, 2);
    memcpy(page + 12, place, 2);
    put_image();
    assert_ok(check());
    assert_non_null(strstr(said, "the order of the metrics"));
}

/* A page of the file that is no page: SQLite says which, and the rest is checked all the same. */
static void test_zeroed_page(void **state)
{
    (void)state;
    SQLITE_ONLY("it is about the bytes of the file");
    int told = 0;
    for (size_t page = 1; page < image_size / 4096; page++) {
        unsigned char kept[4096];
        memcpy(kept, image + page * 4096, sizeof kept);
        memset(image + page * 4096, 0, sizeof kept);
        put_image();
        memcpy(image + page * 4096, kept, sizeof kept);
        const mmq_err err = check();
        assert_true(err == MMQ_OK || err == MMQ_ECORRUPT);
        told += strstr(said, "file: ") != NULL || err == MMQ_ECORRUPT ? 1 : 0;
    }
    assert_true(told > (int)(image_size / 4096) / 2);
}

/* ---- beside a writer, broken off -------------------------------------------------------- */

static bool refuse(void *context, const char *doing, int64_t done, int64_t total)
{
    int *left = context;
    (void)doing, (void)done, (void)total;
    return (*left)-- > 0;
}

static void test_broken_off(void **state)
{
    (void)state;
    for (int calls = 0; calls < 3; calls++) {
        int left = calls;
        const mmq_store_watch watch = {.context = &left, .at = refuse, .fault = note};
        mmq_store *store = world_open(MMQ_STORE_READ);
        assert_int_equal(mmq_store_check(store, &watch, &sums, &why), MMQ_ECLOSED);
        const mmq_store_watch whole = {.at = go_on, .fault = note};
        assert_ok(mmq_store_check(store, &whole, &sums, &why));
        assert_int_equal(sums.faults, 0);
        mmq_store_close(&store);
    }
}

static bool write_more(void *context, const char *doing, int64_t done, int64_t total)
{
    mmq_appended out;
    assert_ok(world_append(context, "b", 0, &rows, 0, 30, &out));
    return go_on(NULL, doing, done, total);
}

/* What is written meanwhile is in a metric whole or not at all. */
static void test_beside_a_writer(void **state)
{
    (void)state;
    mmq_store *writer = world_open(MMQ_STORE_WRITE), *reader = world_open(MMQ_STORE_READ);
    const mmq_store_watch watch = {.context = writer, .at = write_more, .fault = note};
    said[0] = '\0';
    assert_ok(mmq_store_check(reader, &watch, &sums, &why));
    assert_string_equal(said, "");
    assert_int_equal(sums.faults, 0);
    assert_true(sums.rows > ROWS + 100);
    mmq_store_close(&reader);
    mmq_store_close(&writer);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole),           TEST(test_planted),           TEST(test_twice),
        TEST(test_values),          TEST(test_flipped),           TEST(test_flipped_data),
        TEST(test_zeroed_page),     TEST(test_keys_out_of_order), TEST(test_broken_off),
        TEST(test_beside_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
