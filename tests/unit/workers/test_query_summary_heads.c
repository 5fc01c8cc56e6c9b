/* What heads say of their rows' values: that it is brought on, checked and right at the edges. */
#include "query_summary.h"

/* ---- what heads say --------------------------------------------------------------------- */

static void heads_are_completed_in_idle_moments(void **state)
{
    (void)state;
    static const char left[] = "SELECT count(*) FROM block WHERE value_summary IS NULL";
    struct world *world = world_new(4);
    fill_world(world, 30000);
    const int64_t commit = run_sql(world, "SELECT commit_no FROM store");
    run_sql(world, "UPDATE block SET value_summary = NULL");
    assert_true(run_sql(world, left) > 0);
    check_still(world, 4, all_rows);
    bool more = true;
    int pieces = 0;
    while (more) {
        mmq_why why;
        world_ok(mmq_store_tidy(world->writer, &more, &why), &why);
        pieces++;
        assert_true(pieces < 1000);
    }
    assert_int_equal(run_sql(world, left), 0);
    assert_int_equal(run_sql(world, "SELECT commit_no FROM store"), commit);
    check_still(world, 4, all_rows);
    world_destroy(&world);
}

/* A reader that was there before the store had the column. */
static void a_store_of_version_3_is_read_and_brought_on(void **state)
{
    (void)state;
    SQLITE_ONLY("there are no stores of earlier versions in PostgreSQL");
    struct world *world = world_new(5);
    mmq_why why;
    bool more;
    fill_world(world, 3000);
    mmq_store_close(&world->reader);
    mmq_store_close(&world->writer);
    run_sql(world, "DROP INDEX block_incomplete; ALTER TABLE block DROP COLUMN value_summary;"
                   "PRAGMA user_version = 3");
    world_ok(mmq_store_open(world->url, MMQ_STORE_READ, &world->reader, &why), &why);
    check_still(world, 5, all_rows);
    world_ok(mmq_store_open(world->url, MMQ_STORE_WRITE, &world->writer, &why), &why);
    check_still(world, 5, all_rows);
    world_ok(mmq_store_tidy(world->writer, &more, &why), &why);
    assert_int_equal(run_sql(world, "SELECT count(*) FROM block WHERE value_summary IS NULL"), 0);
    check_still(world, 5, all_rows);
    change_world(world);
    check_still(world, 5, all_rows);
    assert_int_equal(run_sql(world, "PRAGMA user_version"), 4);
    world_destroy(&world);
}

static int faults;

static bool go_on(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context, (void)doing, (void)done, (void)total;
    return true;
}

static void count_fault(void *context, const char *what)
{
    (void)context;
    assert_non_null(strstr(what, "values"));
    faults++;
}

static int count_faults(struct world *world)
{
    const mmq_store_watch watch = {.at = go_on, .fault = count_fault};
    mmq_store_sums sums;
    mmq_why why;
    faults = 0;
    world_ok(mmq_store_check(world->reader, &watch, &sums, &why), &why);
    return faults;
}

/* Bytes that no writer of ours wrote are refused, and told by the check. */
static void damaged_summaries_are_refused(void **state)
{
    (void)state;
    static const char other[] = "(SELECT value_summary FROM block AS other"
                                " WHERE other.data <> block.data LIMIT 1)";
    static const char *const breaks[2][5] = {
        {"x''", "zeroblob(48)", "zeroblob(4800)", "CAST(value_summary || x'00' AS BLOB)", other},
        {"''", "CAST(repeat('\\000', 48) AS bytea)", "CAST(repeat('\\000', 4800) AS bytea)",
         "value_summary || CAST('\\000' AS bytea)", other}};
    for (size_t i = 0; i < 5; i++) {
        char sql[256];
        snprintf(sql, sizeof sql, "UPDATE block SET value_summary = %s",
                 breaks[store_server() != NULL][i]);
        struct world *world = world_new(6);
        struct answer answer;
        char next[MMQ_CURSOR_MAX];
        mmq_why why;
        world_begin(world);
        world_append(world, world_create(world, "a"), 3000, 10000);
        world_append(world, world_create(world, "b"), 100, 10000);
        world_commit(world);
        assert_int_equal(count_faults(world), 0);
        run_sql(world, sql);
        begin_answer(&answer);
        assert_int_equal(read_one(world->reader, &all_rows, NULL, &answer, next, &why),
                         MMQ_ECORRUPT);
        end_answer(&answer);
        /* the last break leaves one block its own */
        const int64_t blocks = run_sql(world, "SELECT count(*) FROM block");
        assert_in_range(count_faults(world), blocks - 1, blocks);
        world_destroy(&world);
    }
}

/* ---- values at the edges ---------------------------------------------------------------- */

static void append_values(struct world *world, const char *uid, const double *values, size_t count,
                          size_t times)
{
    struct world_metric *metric = world_create(world, uid);
    const size_t total = count * times;
    int64_t *timestamp = calloc(total, sizeof *timestamp);
    double *value = calloc(total, sizeof *value), *none = calloc(total, sizeof *none);
    mmq_write_rows rows = {total, timestamp, timestamp, value, none, none};
    mmq_appended appended;
    mmq_why why;
    metric->rows = calloc(total, sizeof *metric->rows);
    for (size_t i = 0; i < total; i++) {
        timestamp[i] = TIME_BASE + (int64_t)i;
        value[i] = values[i % count];
        none[i] = NAN;
        metric->rows[metric->count++] = (struct world_row){timestamp[i], value[i], NAN, false};
    }
    world_ok(mmq_store_append(world->writer, uid, 0, &rows, &appended, &why), &why);
    free(timestamp);
    free(value);
    free(none);
}

static void sums_do_not_overflow(void **state)
{
    (void)state;
    static const double huge[] = {1.7976931348623157e308, 1.7976931348623157e308, 1e308};
    static const double mixed[] = {1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0};
    struct world *world = world_new(7);
    world_begin(world);
    append_values(world, "a", huge, 3, 2000);
    append_values(world, "b", mixed, 4, 2000);
    world_commit(world);
    for (int64_t buckets = 1; buckets < 300; buckets += 7) {
        struct question question = all_rows;
        question.buckets = buckets;
        check_still(world, 7, question);
    }
    world_destroy(&world);
}

static void times_at_the_ends(void **state)
{
    (void)state;
    static const double asked[][2] = {{(double)MMQ_TIME_MIN, (double)MMQ_TIME_MAX},
                                      {(double)MMQ_TIME_MIN, TIME_BASE},
                                      {TIME_BASE, (double)MMQ_TIME_MAX},
                                      {TIME_BASE + 5, TIME_BASE + 5},
                                      {TIME_BASE + 6, TIME_BASE + 5}};
    struct world *world = world_new(8);
    world_begin(world);
    world_append(world, world_create(world, "a"), 300, 20);
    world_commit(world);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        struct question question = all_rows;
        question.from = asked[i][0];
        question.to = asked[i][1];
        question.buckets = 1 + (int64_t)i * 90;
        check_still(world, 8, question);
    }
    world_destroy(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_completed_in_idle_moments),
        cmocka_unit_test(a_store_of_version_3_is_read_and_brought_on),
        cmocka_unit_test(damaged_summaries_are_refused),
        cmocka_unit_test(sums_do_not_overflow),
        cmocka_unit_test(times_at_the_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
