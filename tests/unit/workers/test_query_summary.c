/* Buckets against a plain computation from the rows: random metrics with ties, late rows and rows
 * without a score, random ranges and numbers of buckets, in pages and frames of several sizes,
 * taken up from every cursor, with and without changes between the pages, from heads that say what
 * values come to and from heads that do not. */
#include "query_summary.h"

static void each_answer_is_what_the_rows_say(void **state)
{
    (void)state;
    uint64_t count = store_rounds(5);
    const uint64_t first = first_seed(&count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world *world = world_new(seed);
        fill_world(world, seed % 4 == 0 ? 6000 : 300);
        if (seed % 2 == 0) {
            run_sql(world, forget_half);
        }
        for (int i = 0; i < 25; i++) {
            check_still(world, seed, random_question(world));
        }
        world_destroy(&world);
    }
}

/* ---- changes between pages -------------------------------------------------------------- */

static void an_answer_is_as_of_its_first_page(void **state)
{
    (void)state;
    uint64_t count = store_rounds(4);
    const uint64_t first = first_seed(&count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world *world = world_new(seed);
        fill_world(world, 1500);
        for (int i = 0; i < 8; i++) {
            struct question question = random_question(world);
            struct answer answer, expected;
            question.max_bytes = 1024 + world_random(world, 20000);
            question.buckets = question.buckets > 400 ? 400 : question.buckets;
            begin_answer(&answer);
            begin_answer(&expected);
            world_mark(world);
            expect_answer(world, &question, &expected);
            read_all(world, &question, change_world, &answer);
            assert_answer(&answer, 0, &expected, false, seed, &question);
            end_answer(&expected);
            end_answer(&answer);
        }
        world_destroy(&world);
    }
}

static void delete_all(struct world *world)
{
    world_begin(world);
    for (size_t i = 0; i < world->count; i++) {
        if (world->metrics[i].alive) {
            world_delete(world, &world->metrics[i]);
        }
    }
    world_commit(world);
}

static void a_metric_that_is_deleted_ends_where_it_is(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        struct world *world = world_new(1);
        struct answer answer, expected;
        struct question question = all_rows;
        question.uid = all ? NULL : "a";
        question.max_bytes = 2000;
        begin_answer(&answer);
        begin_answer(&expected);
        world_begin(world);
        world_append(world, world_create(world, "a"), 1000, 1000);
        world_append(world, world_create(world, "b"), 1000, 1000);
        world_commit(world);
        world_mark(world);
        expect_answer(world, &question, &expected);
        read_all(world, &question, delete_all, &answer);
        assert_true(answer.count > 0 && answer.count < 100);
        assert_answer(&answer, 0,
                      &(struct answer){.count = answer.count, .buckets = expected.buckets}, true, 1,
                      &question);
        end_answer(&expected);
        end_answer(&answer);
        world_destroy(&world);
    }
}

/* ---- many rows -------------------------------------------------------------------------- */

/* A bucket of more blocks than a page gets through is in the cursor. */
static void a_bucket_may_take_many_pages(void **state)
{
    (void)state;
    const char *const forgets[] = {"UPDATE block SET value_summary = NULL", "SELECT 1"};
    for (size_t i = 0; i < 2; i++) {
        struct world *world = world_new(3);
        world_begin(world);
        world_append(world, world_create(world, "a"), 150000, 10000);
        world_commit(world);
        run_sql(world, forgets[i]);
        for (int64_t buckets = 1; buckets < 4; buckets++) {
            struct question question = all_rows;
            question.uid = buckets == 2 ? NULL : "a";
            question.buckets = buckets;
            question.time_ns = 0;
            check_still(world, 3, question);
        }
        struct answer answer;
        struct question question = all_rows;
        begin_answer(&answer);
        question.time_ns = 0;
        question.buckets = 1;
        read_all(world, &question, NULL, &answer);
        assert_int_equal(answer.count, 1);
        assert_true(i == 0 ? answer.pages >= 4 : answer.pages <= 2);
        end_answer(&answer);
        world_destroy(&world);
    }
}

/* More than a store is told to expect at once, those without rows in the range among them. */
static void hundreds_of_metrics(void **state)
{
    (void)state;
    struct world *world = world_new(4);
    world_begin(world);
    for (int i = 0; i < 300; i++) {
        char uid[24];
        snprintf(uid, sizeof uid, "m%d", i * 7919 % 300);
        struct world_metric *metric = world_create(world, uid);
        world_append(world, metric, world_random(world, 3) * world_random(world, 1500), 400);
    }
    world_commit(world);
    for (int64_t buckets = 1; buckets < 60; buckets *= 7) {
        struct question question = all_rows;
        question.buckets = buckets;
        check_still(world, 4, question);
        question.from = TIME_BASE + 100;
        question.to = TIME_BASE + 200;
        question.max_bytes = 5000;
        check_still(world, 4, question);
    }
    world_destroy(&world);
}

/* ---- states, metrics without a status ---------------------------------------------------- */

static void the_state_says_whether_it_changed(void **state)
{
    (void)state;
    struct world *world = world_new(9);
    char next[MMQ_CURSOR_MAX], seen[MMQ_STATE_MAX];
    mmq_why why;
    world_begin(world);
    world_append(world, world_create(world, "a"), 300, 20);
    world_create(world, "b");
    world_commit(world);
    for (int all = 0; all < 2; all++) {
        struct question question = all_rows;
        struct answer answer;
        begin_answer(&answer);
        question.uid = all ? NULL : "a";
        world_ok(read_one(world->reader, &question, NULL, &answer, next, &why), &why);
        assert_false(answer.unchanged);
        memcpy(seen, answer.state, sizeof seen);
        answer.count = answer.pages = 0;
        question.unless = seen;
        world_ok(read_one(world->reader, &question, NULL, &answer, next, &why), &why);
        assert_true(answer.unchanged && answer.count == 0);
        answer.pages = 0;
        world_begin(world);
        world_append(world, world_alive(world, "b"), 1, 20);
        world_commit(world);
        world_ok(read_one(world->reader, &question, NULL, &answer, next, &why), &why);
        assert_int_equal(answer.unchanged, !all);
        end_answer(&answer);
    }
    world_destroy(&world);
}

static void unmonitored_metrics_are_not_among_all(void **state)
{
    (void)state;
    struct world *world = world_new(10);
    struct answer answer, expected;
    begin_answer(&answer);
    begin_answer(&expected);
    world_begin(world);
    world_append(world, world_create(world, "a"), 300, 200);
    world_append(world, world_create(world, "b"), 300, 100000);
    world_commit(world);
    run_sql(world, "UPDATE metric SET status = 0 WHERE uid = 'b'");
    world_mark(world);
    world->metrics[1].bound = -1;
    expect_answer(world, &all_rows, &expected);
    read_all(world, &all_rows, NULL, &answer);
    assert_answer(&answer, 0, &expected, true, 10, &all_rows);
    struct question question = all_rows;
    question.uid = "b";
    check_still(world, 10, question);
    end_answer(&expected);
    end_answer(&answer);
    world_destroy(&world);
}

/* ---- arguments -------------------------------------------------------------------------- */

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    struct world *world = world_new(11);
    struct answer answer;
    char next[MMQ_CURSOR_MAX], cursor[MMQ_CURSOR_MAX];
    mmq_why why;
    begin_answer(&answer);
    world_begin(world);
    world_append(world, world_create(world, "a"), 3000, 2000);
    world_commit(world);
    static const int64_t buckets[][2] = {{0, 0}, {-1, 0}, {10001, 0}, {401, 1}, {INT64_MAX, 0}};
    for (size_t i = 0; i < sizeof buckets / sizeof *buckets; i++) {
        struct question question = all_rows;
        question.uid = buckets[i][1] ? NULL : "a";
        question.buckets = buckets[i][0];
        assert_int_equal(read_one(world->reader, &question, NULL, &answer, next, &why), MMQ_EINVAL);
        assert_non_null(strstr(why.text, "buckets"));
    }
    struct question question = all_rows;
    question.uid = "a";
    question.max_bytes = 2000;
    world_ok(read_one(world->reader, &question, NULL, &answer, cursor, &why), &why);
    assert_true(cursor[0] != '\0');
    question.buckets++;
    assert_int_equal(read_one(world->reader, &question, cursor, &answer, next, &why), MMQ_EINVAL);
    assert_non_null(strstr(why.text, "other arguments"));
    /* Of another kind of stream, with the binding of this one. */
    mmq_cursor made;
    question.buckets--;
    assert_int_equal(mmq_cursor_parse(cursor, strlen(cursor), &made), MMQ_OK);
    made.has_buckets = false;
    mmq_cursor_print(&made, cursor);
    assert_int_equal(read_one(world->reader, &question, cursor, &answer, next, &why), MMQ_EINVAL);
    end_answer(&answer);
    world_destroy(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_answer_is_what_the_rows_say),
        cmocka_unit_test(an_answer_is_as_of_its_first_page),
        cmocka_unit_test(a_metric_that_is_deleted_ends_where_it_is),
        cmocka_unit_test(a_bucket_may_take_many_pages),
        cmocka_unit_test(the_state_says_whether_it_changed),
        cmocka_unit_test(hundreds_of_metrics),
        cmocka_unit_test(unmonitored_metrics_are_not_among_all),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
