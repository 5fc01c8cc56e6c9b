/* What a prune does to a metric and what it leaves alone; what is told from damage; stores that
 * have no tables for it yet. Random prunes beside all else are in test_store_model.c. */
#include "store_world.h"

#include "lib/clock.h"
#include "workers/prune.h"

enum { ROWS = 3000, START = 100000, STEP = 10, DAY = 86400 };

static world_rows rows;
static mmq_columns batch;
static mmq_store *writer, *reader;
static int faults;

static int begin(void **state)
{
    (void)state;
    mmq_appended out;
    world_begin();
    writer = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(world_create(writer, "a", "a"));
    assert_ok(mmq_store_commit(writer, &why));
    for (size_t i = 0; i < ROWS; i++) {
        world_set(&rows, i, START + STEP * (int64_t)i, (double)i / 3, i % 2 == 0 ? 0.5 : NAN);
    }
    assert_ok(world_append(writer, "a", 0, &rows, 0, ROWS, &out));
    reader = world_open(MMQ_STORE_READ);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_store_close(&reader);
    mmq_store_close(&writer);
    world_end();
    return 0;
}

static mmq_metric_head head_of(mmq_store *store, const char *uid)
{
    mmq_snapshot snapshot;
    mmq_metric_head head;
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(mmq_store_find(store, uid, &head, &why));
    mmq_store_end_read(store);
    return head;
}

/* In one transaction; returns how many rows went. */
static int64_t prune(const char *uid, int64_t before)
{
    mmq_pruned out = {0};
    bool done = false;
    assert_ok(mmq_store_begin_write(writer, &why));
    mmq_metric_head head;
    assert_ok(mmq_store_find(writer, uid, &head, &why));
    while (!done) {
        int work = MMQ_PRUNE_WORK;
        assert_ok(mmq_store_prune(writer, &head, before, &work, &done, &out, &why));
    }
    assert_ok(mmq_store_commit(writer, &why));
    return out.rows;
}

static int64_t time_of(int64_t rowid)
{
    return START + STEP * (rowid - 1);
}

static bool at(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context, (void)doing, (void)done, (void)total;
    return true;
}

static char said[4096];

static void fault(void *context, const char *what)
{
    (void)context;
    const size_t used = strlen(said);
    (void)snprintf(said + used, sizeof said - used, "%s\n", what);
    faults++;
}

static int64_t check(void)
{
    mmq_store_sums sums;
    const mmq_store_watch watch = {.at = at, .fault = fault};
    said[0] = '\0';
    assert_ok(mmq_store_check(reader, &watch, &sums, &why));
    return sums.faults == 0 ? sums.rows : -1;
}

static size_t read_from(int64_t first, size_t capacity)
{
    mmq_snapshot snapshot;
    const int64_t key = head_of(reader, "a").key;
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    assert_ok(mmq_store_read_rowids(reader, key, first, first + 9999, &batch, capacity, &why));
    mmq_store_end_read(reader);
    return batch.count;
}

static mmq_metric record(void)
{
    mmq_snapshot snapshot;
    mmq_metric metric;
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    assert_ok(mmq_store_metric(reader, "a", &metric, &why));
    mmq_store_end_read(reader);
    return metric;
}

static int64_t unscored(void)
{
    mmq_snapshot snapshot;
    int64_t out;
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    assert_ok(mmq_store_unscored(reader, &out, &why));
    mmq_store_end_read(reader);
    return out;
}

static mmq_err send_again(int64_t first, int64_t shift)
{
    mmq_appended out;
    rows.timestamp[first - 1] += shift;
    mmq_err err = world_append(writer, "a", first, &rows, (size_t)first - 1, 10, &out);
    rows.timestamp[first - 1] -= shift;
    return err;
}

static mmq_err set_score(int64_t rowid)
{
    rows.rowid[0] = rowid;
    mmq_write_rows view = world_view(&rows, 0, 1);
    assert_ok(mmq_store_begin_write(writer, &why));
    mmq_err err = mmq_store_score(writer, "a", &view, &why);
    mmq_why ignored;
    assert_int_equal(mmq_store_commit(writer, &ignored), MMQ_OK);
    return err;
}

static void test_rows_go_and_rowids_stay(void **state)
{
    (void)state;
    const mmq_metric_head before = head_of(reader, "a");
    assert_int_equal(prune("a", time_of(1500)), 1499);
    assert_int_equal(check(), ROWS - 1499);
    const mmq_metric_head after = head_of(reader, "a");
    assert_int_equal(after.last_rowid, ROWS);
    assert_true(after.changed > before.changed);
    assert_int_equal(unscored(), (ROWS - 1499) / 2 + 1);
    mmq_metric metric = record();
    assert_true(metric.has_rows && metric.last_timestamp == time_of(ROWS));
    mmq_metric_clear(&metric);
    assert_int_equal(read_from(1, 1), 1);
    assert_int_equal(batch.rowid[0], 1500);
    assert_int_equal(read_from(ROWS, 10), 1);
    assert_int_equal(prune("a", time_of(1500)), 0); /* and changes nothing */
    assert_int_equal(head_of(reader, "a").changed, after.changed);
}

static void test_all_rows_go(void **state)
{
    (void)state;
    mmq_appended out;
    assert_int_equal(prune("a", time_of(ROWS) + 1), ROWS);
    assert_int_equal(check(), 0);
    assert_int_equal(read_from(1, 100), 0);
    mmq_metric metric = record();
    assert_true(metric.has_rows && metric.last_timestamp == time_of(ROWS));
    mmq_metric_clear(&metric);
    assert_ok(world_append(writer, "a", 0, &rows, 5, 2, &out)); /* late rows are rows like others */
    assert_int_equal(out.first_rowid, ROWS + 1);
    assert_int_equal(read_from(1, 100), 2);
    assert_int_equal(batch.timestamp[0], time_of(6));
    assert_int_equal(check(), 2);
    assert_int_equal(prune("a", time_of(7)), 1); /* out of the order of rowids */
    assert_int_equal(read_from(1, 100), 1);
    assert_int_equal(batch.rowid[0], ROWS + 2);
    assert_int_equal(check(), 1);
}

/* What was pruned may be sent again: it is taken for the same if it is old enough. */
static void test_rows_that_are_sent_again(void **state)
{
    (void)state;
    assert_int_equal(prune("a", time_of(101)), 100);
    assert_ok(send_again(1, 0));
    assert_ok(send_again(96, 0)); /* some are gone and some are there */
    assert_ok(send_again(50, 3)); /* which nobody can tell */
    assert_int_equal(send_again(50, 100000), MMQ_ECONFLICT);
    assert_non_null(strstr(why.text, "rowid 50"));
    assert_int_equal(send_again(200, 1), MMQ_ECONFLICT);
    assert_int_equal(check(), ROWS - 100);
}

static void test_scores_of_rows_that_are_gone(void **state)
{
    (void)state;
    assert_int_equal(prune("a", time_of(101)), 100);
    assert_int_equal(set_score(100), MMQ_ENOTFOUND);
    assert_non_null(strstr(why.text, "pruned"));
    assert_ok(set_score(101));
    assert_int_equal(check(), ROWS - 100);
}

/* A row that is missing is known from one that was pruned, by readers and by the check. */
static void test_damage_is_told_from_a_prune(void **state)
{
    (void)state;
    mmq_snapshot snapshot;
    assert_int_equal(prune("a", time_of(101)), 100);
    const int64_t key = head_of(reader, "a").key;
    (void)world_sql("UPDATE gap SET last_rowid = 99");
    assert_int_equal(check(), -1);
    assert_non_null(strstr(said, "row 100 is missing"));
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    assert_int_equal(mmq_store_read_rowids(reader, key, 1, 200, &batch, 1000, &why), MMQ_ECORRUPT);
    mmq_store_end_read(reader);
    (void)world_sql("UPDATE gap SET last_rowid = 102");
    assert_int_equal(check(), -1);
    assert_non_null(strstr(said, "rowid 101 is there twice, or was pruned"));
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    assert_int_equal(mmq_store_read_rowids(reader, key, 90, 200, &batch, 1000, &why), MMQ_OK);
    mmq_store_end_read(reader);
    assert_int_equal(batch.rowid[0], 103);
    (void)world_sql("UPDATE gap SET metric = 9; UPDATE pruned SET metric = 8");
    assert_int_equal(check(), -1);
    assert_non_null(strstr(said, "9 has pruned rows and is neither there nor deleted"));
    assert_non_null(strstr(said, "8 was pruned and is not there"));
}

/* A reader that opened a store of before there were prunes sees the first of them. */
static void test_a_store_without_the_tables(void **state)
{
    (void)state;
    if (store_server() != NULL) {
        skip(); /* there never was such a store in PostgreSQL */
    }
    mmq_store_close(&reader);
    mmq_store_close(&writer);
    (void)world_sql("DROP TABLE pruned; DROP TABLE gap; DROP INDEX block_incomplete;"
                    "ALTER TABLE block DROP COLUMN value_summary;"
                    "PRAGMA user_version = 2");
    reader = world_open(MMQ_STORE_READ);
    assert_int_equal(check(), ROWS);
    assert_int_equal(read_from(1, 10), 10);
    writer = world_open(MMQ_STORE_WRITE);
    assert_int_equal(prune("a", time_of(501)), 500);
    assert_int_equal(read_from(1, 10), 10);
    assert_int_equal(batch.rowid[0], 501);
    assert_int_equal(check(), ROWS - 500);
}

static void test_a_deleted_metric_leaves_no_gaps(void **state)
{
    (void)state;
    bool more = true;
    assert_int_equal(prune("a", time_of(501)), 500);
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(mmq_store_delete(writer, "a", &why));
    assert_ok(mmq_store_commit(writer, &why));
    assert_int_equal(check(), 0);
    while (more) {
        assert_ok(mmq_store_tidy(writer, &more, &why));
    }
    assert_int_equal(world_sql("SELECT (SELECT count(*) FROM gap) + (SELECT count(*) FROM pruned)"),
                     0);
}

/* ---- pieces ----------------------------------------------------------------------------- */

/* Rows of `count` metrics, a day of each from `first` on, every ten minutes. */
static void fill_metrics(int count, int64_t first)
{
    mmq_appended out;
    for (size_t i = 0; i < 144; i++) {
        world_set(&rows, i, first + 600 * (int64_t)i, (double)i, 0.5);
    }
    for (int m = 0; m < count; m++) {
        char uid[16];
        (void)snprintf(uid, sizeof uid, "m%03d", m);
        assert_ok(mmq_store_begin_write(writer, &why));
        assert_ok(world_create(writer, uid, uid));
        assert_ok(mmq_store_commit(writer, &why));
        assert_ok(world_append(writer, uid, 0, &rows, 0, 144, &out));
    }
}

static void test_pieces_over_all_metrics(void **state)
{
    (void)state;
    mmq_prune of = {.before = DAY / 2, .count_only = true};
    mmq_pruned counted = {0}, pruned = {0};
    int pieces = 0;
    fill_metrics(100, 0);
    int64_t metrics = 0;
    for (int round = 0; round < 2; round++) {
        of = (mmq_prune){.before = DAY / 2, .count_only = round == 0};
        for (metrics = 0, pieces = 0; !of.done; pieces++) {
            assert_ok(mmq_store_begin_write(writer, &why));
            assert_ok(mmq_prune_piece(writer, &of, round == 0 ? &counted : &pruned, &why));
            assert_ok(mmq_store_commit(writer, &why));
            metrics += of.metrics;
        }
        assert_int_equal(metrics, 101);
    }
    assert_true(pieces > 2);
    assert_int_equal(counted.rows, 100 * 72);
    assert_int_equal(pruned.rows, counted.rows);
    assert_int_equal(check(), ROWS + 100 * 72);
    of = (mmq_prune){.before = 1, .uid = "none"};
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_int_equal(mmq_prune_piece(writer, &of, &pruned, &why), MMQ_ENOTFOUND);
    mmq_store_rollback(writer);
}

static int64_t retain(mmq_retention *retention)
{
    bool more = true;
    retention->pruned = (mmq_pruned){0};
    while (more) {
        assert_ok(mmq_retention_step(retention, writer, &more, &why));
    }
    return retention->pruned.rows;
}

/* --retain 3: today, and the three days before it, stay. */
static void test_retention(void **state)
{
    (void)state;
    const int64_t today = mmq_wall_s() - mmq_wall_s() % DAY;
    fill_metrics(1, today - 4 * DAY + DAY / 2); /* half a day of it is too old */
    mmq_retention none = mmq_retention_begin(0), retention = mmq_retention_begin(3);
    assert_int_equal(retain(&none), 0);
    assert_int_equal(retain(&retention), ROWS + 72);
    assert_int_equal(check(), 72);
    assert_int_equal(retain(&retention), 0); /* not yet time to look again */
    mmq_clock_shift(2 * DAY * MMQ_NS_PER_S);
    assert_int_equal(retain(&retention), 72);
    assert_int_equal(check(), 0);
}

/* One writer at a time does it. */
static void test_retention_beside_another(void **state)
{
    (void)state;
    if (store_server() == NULL) {
        skip(); /* SQLite has one writer */
    }
    mmq_retention retention = mmq_retention_begin(3);
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    bool ours = false;
    assert_ok(mmq_store_begin_write(other, &why));
    assert_ok(mmq_store_tidies(other, &ours, &why));
    assert_true(ours);
    assert_int_equal(retain(&retention), 0);
    mmq_store_rollback(other);
    mmq_store_close(&other);
    int64_t pruned = 0; /* the server notices a moment later that it has gone */
    for (int i = 0; i < 10000 && pruned == 0; i++) {
        (void)usleep(1000);
        pruned = retain(&retention);
    }
    assert_int_equal(pruned, ROWS);
}

/* F27: a wall clock that jumps by years is not believed at once. */
static void test_retention_and_a_clock_that_jumps(void **state)
{
    (void)state;
    const int64_t today = mmq_wall_s() - mmq_wall_s() % DAY;
    fill_metrics(1, today);
    mmq_retention retention = mmq_retention_begin(30);
    assert_int_equal(retain(&retention), ROWS);
    retention.wall_s -= 4000 * (int64_t)DAY; /* as if the last look had been long ago */
    retention.next_ns = 0;
    assert_int_equal(retain(&retention), 0);
    assert_false(retention.under_way);
    retention.next_ns = 0; /* it has stayed so */
    assert_int_equal(retain(&retention), 0);
    assert_true(retention.prune.done);
    assert_int_equal(check(), 144);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_rows_go_and_rowids_stay),
        TEST(test_all_rows_go),
        TEST(test_rows_that_are_sent_again),
        TEST(test_scores_of_rows_that_are_gone),
        TEST(test_damage_is_told_from_a_prune),
        TEST(test_a_store_without_the_tables),
        TEST(test_a_deleted_metric_leaves_no_gaps),
        TEST(test_pieces_over_all_metrics),
        TEST(test_retention),
        TEST(test_retention_beside_another),
        TEST(test_retention_and_a_clock_that_jumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
