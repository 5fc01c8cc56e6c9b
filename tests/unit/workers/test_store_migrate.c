/* F58: a store of schema version 1 becomes one of version 3, whatever happens on the way: a stop, a
 * kill -9, a disk that is full. Readers see all rows or are told to wait; in the end every row is
 * what it was, bit by bit. */
#include "store_world.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "old_store.h"
#include "lib/columns.h"

enum { LONG = 140000, SHORT = 1500, DOOMED = 3000 };

typedef struct series {
    const char *uid;
    mmq_write_rows rows;
} series;

static series metrics[4]; /* a long one, a short one, an empty one, a deleted one */
static unsigned seed;
static unsigned char *image; /* of the old store */
static size_t image_size;
static mmq_columns batch;

static double draw(void)
{
    return (double)rand_r(&seed) / RAND_MAX;
}

static void fill(series *of, const char *uid, size_t count)
{
    of->uid = uid;
    int64_t *memory = reallocarray(NULL, count + 1, 5 * sizeof *memory);
    assert_non_null(memory);
    mmq_write_rows *rows = &of->rows;
    *rows = (mmq_write_rows){.count = count,
                             .timestamp = memory,
                             .rowid = memory + count,
                             .value = (double *)(void *)(memory + 2 * count)};
    rows->anomaly_score = rows->value + count;
    rows->raw_score = rows->anomaly_score + count;
    int64_t time = 1400000000;
    for (size_t i = 0; i < count; i++) {
        const int kind = rand_r(&seed) % 16;
        time += kind == 0 ? 0 : kind == 1 && i % 7 == 0 ? -100000 : 300;
        rows->timestamp[i] = time;
        rows->rowid[i] = (int64_t)i + 1;
        rows->value[i] = kind < 4 ? -0.0 : kind < 8 ? (double)(int64_t)(draw() * 1000) / 8 : draw();
        rows->anomaly_score[i] = kind < 3 ? NAN : draw();
        rows->raw_score[i] = kind % 2 == 0 ? NAN : draw();
    }
}

static int begin_all(void **state)
{
    (void)state;
    const char *given = getenv("METRICMQ_SEED");
    seed = given != NULL ? (unsigned)atoi(given) : (unsigned)time(NULL);
    print_message("METRICMQ_SEED=%u\n", seed);
    fill(&metrics[0], "long", LONG);
    fill(&metrics[1], "short", SHORT);
    fill(&metrics[2], "empty", 0);
    fill(&metrics[3], NULL, DOOMED);
    world_begin();
    old_run(old_schema);
    for (size_t i = 0; i < 4; i++) {
        old_metric((int64_t)i + 1, metrics[i].uid, &metrics[i].rows);
    }
    old_run("INSERT INTO growth VALUES (1, 5, 100, 4000000000), (1, 9, 200, 4000000000)");
    FILE *file = fopen(world_path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    image_size = (size_t)ftell(file);
    rewind(file);
    image = malloc(image_size);
    assert_int_equal(fread(image, 1, image_size, file), image_size);
    (void)fclose(file);
    world_end();
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        free(metrics[i].rows.timestamp);
    }
    free(image);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    FILE *file = fopen(world_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(image, 1, image_size, file), image_size);
    assert_int_equal(fclose(file), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_end();
    return 0;
}

/* ---- what must be there ----------------------------------------------------------------- */

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void expect_rows(mmq_store *store, const series *of, const mmq_metric_head *head)
{
    const mmq_write_rows *rows = &of->rows;
    assert_int_equal(head->last_rowid, rows->count);
    for (size_t done = 0; done < rows->count; done += batch.count) {
        assert_ok(mmq_store_read_rowids(store, head->key, (int64_t)done + 1, INT64_MAX, &batch,
                                        MMQ_BATCH_ROWS, &why));
        assert_true(batch.count > 0);
        for (size_t i = 0; i < batch.count; i++) {
            const size_t row = done + i;
            if (batch.rowid[i] != rows->rowid[row] || batch.timestamp[i] != rows->timestamp[row] ||
                !same_bits(batch.value[i], rows->value[row]) ||
                !same_bits(batch.anomaly_score[i], rows->anomaly_score[row]) ||
                !same_bits(batch.raw_score[i], rows->raw_score[row])) {
                fail_msg("%s: row %zu is another one", of->uid, row + 1);
            }
        }
    }
}

static void expect_order(mmq_store *store, const series *of, const mmq_metric_head *head)
{
    mmq_range range = {.metric = head->key, .from = INT64_MIN, .to = INT64_MAX, .ascending = true};
    size_t count = 0;
    int64_t timestamp = INT64_MIN, rowid = 0;
    while (!range.ended) {
        assert_ok(mmq_store_read_time(store, &range, &batch, MMQ_BATCH_ROWS, &why));
        for (size_t i = 0; i < batch.count; i++) {
            assert_true(batch.timestamp[i] > timestamp ||
                        (batch.timestamp[i] == timestamp && batch.rowid[i] > rowid));
            timestamp = batch.timestamp[i];
            rowid = batch.rowid[i];
        }
        count += batch.count;
    }
    assert_int_equal(count, of->rows.count);
}

static bool go_on(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context, (void)doing;
    assert_true(done >= 0 && done <= total);
    return true;
}

static void refuse_fault(void *context, const char *what)
{
    (void)context;
    fail_msg("check: %s", what);
}

/* All of it, as a reader sees it who comes now. */
static void expect_whole(void)
{
    mmq_store *store = world_open(MMQ_STORE_READ);
    mmq_snapshot snapshot;
    mmq_metric_head head;
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_int_equal(snapshot.store, 4711);
    assert_int_equal(snapshot.commit, 9);
    for (size_t i = 0; i < 3; i++) {
        assert_ok(mmq_store_find(store, metrics[i].uid, &head, &why));
        expect_rows(store, &metrics[i], &head);
        expect_order(store, &metrics[i], &head);
    }
    int64_t length;
    assert_ok(mmq_store_find(store, "long", &head, &why));
    assert_ok(mmq_store_length_at(store, &head, 6, &length, &why));
    assert_int_equal(length, 200);
    mmq_store_end_read(store);
    const mmq_store_watch watch = {.at = go_on, .fault = refuse_fault};
    mmq_store_sums sums;
    assert_ok(mmq_store_check(store, &watch, &sums, &why));
    assert_int_equal(sums.rows, LONG + SHORT);
    assert_int_equal(sums.blocks, LONG / 1024 + 1 + SHORT / 1024 + 1);
    mmq_store_close(&store);
}

static void expect_refused(const char *says)
{
    mmq_store *store;
    assert_int_equal(mmq_store_open(world_url, MMQ_STORE_READ, &store, &why), MMQ_EBUSY);
    assert_non_null(strstr(why.text, says));
}

/* ---- tests ------------------------------------------------------------------------------ */

static void test_at_once(void **state)
{
    (void)state;
    expect_refused("is of an earlier form: start the write worker");
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    expect_whole();
    /* Goes on as any store does, and gives the room back. */
    bool more = true;
    while (more) {
        assert_ok(mmq_store_tidy(store, &more, &why));
    }
    world_rows *rows = calloc(1, sizeof *rows);
    world_set(rows, 0, 5, 1, NAN);
    mmq_appended out;
    assert_ok(world_append(store, "empty", 0, rows, 0, 1, &out));
    free(rows);
    mmq_store_close(&store);
    struct stat about;
    assert_int_equal(stat(world_path, &about), 0);
    assert_true((size_t)about.st_size < image_size / 2);
}

static bool count_down(void *context, const char *doing, int64_t done, int64_t total)
{
    int *left = context;
    (void)go_on(NULL, doing, done, total);
    return (*left)-- > 0;
}

/* Broken off after each transaction. */
static void test_stopped(void **state)
{
    (void)state;
    mmq_err err = MMQ_ECLOSED;
    int opened = 0;
    for (; err == MMQ_ECLOSED; opened++) {
        int left = opened == 0 ? 0 : 1;
        const mmq_store_watch watch = {.context = &left, .at = count_down};
        mmq_store *store;
        err = mmq_store_open_writer(world_url, &watch, &store, &why);
        mmq_store_close(&store);
        if (err == MMQ_ECLOSED) {
            expect_refused("is being brought to a new form by the write worker");
        }
    }
    assert_int_equal(err, MMQ_OK);
    assert_int_equal(opened, 4); /* three transactions */
    expect_whole();
}

/* True if it had finished before it was killed. */
static bool migrate_and_kill(int64_t after_us)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mmq_store *store;
        _exit(mmq_store_open(world_url, MMQ_STORE_WRITE, &store, &why) == MMQ_OK ? 0 : 1);
    }
    const struct timespec wait = {.tv_sec = after_us / 1000000,
                                  .tv_nsec = after_us % 1000000 * 1000};
    (void)nanosleep(&wait, NULL);
    (void)kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFEXITED(status);
}

static void test_killed(void **state)
{
    (void)state;
    int killed = 0;
    while (!migrate_and_kill((int64_t)(draw() * 40000) * (1 + killed / 8))) {
        killed++;
    }
    print_message("killed %d times\n", killed);
    expect_whole();
}

/* No file may grow beyond the limit, which is raised until the work is done. */
static void test_no_room(void **state)
{
    (void)state;
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    mmq_err err = MMQ_EIO;
    int failed = -1;
    for (limit = before, limit.rlim_cur = 0; err == MMQ_EIO || err == MMQ_ENOSPC; failed++) {
        limit.rlim_cur += 250000;
        mmq_store *store;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        err = mmq_store_open(world_url, MMQ_STORE_WRITE, &store, &why);
        mmq_store_close(&store);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    }
    assert_int_equal(err, MMQ_OK);
    assert_true(failed > 1);
    expect_whole();
}

/* What no writer of ours wrote is not moved, and named. */
static void test_damaged_row(void **state)
{
    (void)state;
    old_run("INSERT INTO row VALUES (2, 1500000000, 5000, 'x', NULL, NULL)");
    for (int i = 0; i < 2; i++) {
        mmq_store *store;
        assert_int_equal(mmq_store_open(world_url, MMQ_STORE_WRITE, &store, &why), MMQ_ECORRUPT);
        assert_non_null(strstr(why.text, "of metric 2"));
    }
    old_run("DELETE FROM old_row WHERE metric = 2 AND rowid = 5000");
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_store_close(&store);
    expect_whole();
}

/* The cells' places of the leaf that is table row's only page. */
static long find_cells(void)
{
    sqlite3 *db;
    sqlite3_stmt *at;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT rootpage FROM sqlite_schema WHERE name = 'row'",
                                        -1, &at, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(at), SQLITE_ROW);
    const long root = sqlite3_column_int(at, 0);
    assert_int_equal(sqlite3_finalize(at), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return (root - 1) * 4096 + 8;
}

/* F51: a deleted metric's rows that a walk meets and a search does not find: removing them would go
 * on for ever. */
static void test_rows_out_of_order(void **state)
{
    (void)state;
    assert_int_equal(remove(world_path), 0);
    old_run(old_schema);
    old_run("INSERT INTO row VALUES (1, 1, 1, 1.0, NULL, NULL), (7, 1, 1, 1.0, NULL, NULL),"
            " (9, 1, 1, 1.0, NULL, NULL); INSERT INTO doomed VALUES (7)");
    unsigned char places[4];
    const long at = find_cells();
    FILE *file = fopen(world_path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fread(places, 1, 4, file), 4);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fwrite(places + 2, 1, 2, file) + fwrite(places, 1, 2, file), 4);
    assert_int_equal(fclose(file), 0);
    mmq_store *store;
    assert_int_equal(mmq_store_open(world_url, MMQ_STORE_WRITE, &store, &why), MMQ_ECORRUPT);
    assert_non_null(strstr(why.text, "the order of table old_row"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_at_once), TEST(test_stopped),     TEST(test_killed),
        TEST(test_no_room), TEST(test_damaged_row), TEST(test_rows_out_of_order),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
