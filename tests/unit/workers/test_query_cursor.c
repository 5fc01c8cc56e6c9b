/* States and cursors of streams: what is no news, what is refused, what a forged cursor may do. */
#include "query_stream.h"
#include "metricmq/protocol.h"

static const char *const uids[] = {"A", "Zz", "_", "-x", ".a", "a", "a.", "a0", "b", "b-b"};
enum { UIDS = sizeof uids / sizeof *uids };

static void read_state(struct world *world, const char *uid, char out[MMQ_STATE_MAX])
{
    struct stream stream = {0};
    struct ask ask = everything;
    char next[MMQ_CURSOR_MAX];
    mmq_why why;
    ask.uid = uid;
    world_ok(read_page(world, &ask, NULL, &stream, next, &why), &why);
    memcpy(out, stream.state, MMQ_STATE_MAX);
    ask.unless = stream.state;
    struct stream unchanged = {0};
    world_ok(read_page(world, &ask, NULL, &unchanged, next, &why), &why);
    assert_int_equal(unchanged.names + unchanged.shown.count, 0);
    assert_string_equal(unchanged.state, out);
    clear_stream(&stream);
    clear_stream(&unchanged);
}

static void the_state_changes_with_the_answer(void **state)
{
    (void)state;
    struct world *world = world_new(9);
    char unknown[MMQ_STATE_MAX], one[MMQ_STATE_MAX], all[MMQ_STATE_MAX], now[MMQ_STATE_MAX];
    read_state(world, "a", unknown);
    world_begin(world);
    struct world_metric *a = world_create(world, "a");
    struct world_metric *b = world_create(world, "b");
    world_append(world, a, 5, 5);
    world_commit(world);
    read_state(world, "a", one);
    read_state(world, NULL, all);
    assert_string_not_equal(unknown, one);
    world_begin(world);
    world_append(world, b, 5, 5);
    world_commit(world);
    read_state(world, "a", now);
    assert_string_equal(now, one);
    read_state(world, NULL, now);
    assert_string_not_equal(now, all);
    world_begin(world);
    world_rescore(world, a, 1);
    world_commit(world);
    read_state(world, "a", now);
    assert_string_not_equal(now, one);
    world_begin(world);
    world_delete(world, a);
    world_commit(world);
    read_state(world, "a", now);
    assert_string_equal(now, unknown);
    world_destroy(&world);
}

/* The first cursor of a stream in pages of 1 KiB. */
static mmq_cursor first_cursor(struct world *world, struct ask *ask)
{
    struct stream stream = {0};
    char next[MMQ_CURSOR_MAX];
    mmq_why why;
    mmq_cursor cursor;
    ask->max_bytes = 0;
    world_ok(read_page(world, ask, NULL, &stream, next, &why), &why);
    assert_int_equal(mmq_cursor_parse(next, strlen(next), &cursor), MMQ_OK);
    clear_stream(&stream);
    return cursor;
}

static mmq_err try_cursor(struct world *world, const struct ask *ask, const mmq_cursor *cursor)
{
    struct stream stream = {.pages = 1};
    char text[MMQ_CURSOR_MAX], next[MMQ_CURSOR_MAX];
    mmq_why why;
    mmq_cursor_print(cursor, text);
    mmq_err err = read_page(world, ask, text, &stream, next, &why);
    clear_stream(&stream);
    return err;
}

/* Of a cursor whose commit is yet to come: in PostgreSQL a server may be behind others. */
static mmq_err of_the_future(void)
{
    return store_server() == NULL ? MMQ_EGONE : MMQ_EUNAVAILABLE;
}

/* Flips bits of a good cursor: any status of a request will do, and no crash. */
static void forge_cursors(struct world *world, struct ask *ask)
{
    const mmq_cursor good = first_cursor(world, ask);
    for (unsigned i = store_rounds(3000); i > 0; i--) {
        mmq_cursor bad = good;
        int64_t *fields[] = {&bad.commit, &bad.metric,    &bad.bound,
                             &bad.shown,  &bad.timestamp, &bad.rowid};
        int64_t *field = fields[world_random(world, 6)];
        *field = world_random(world, 2) == 0
                     ? *field ^ (int64_t)(UINT64_C(1) << world_random(world, 63))
                     : (int64_t)world_random(world, 100);
        bad.positioned = world_random(world, 8) != 0;
        if (world_random(world, 3) == 0) {
            snprintf(bad.uid, sizeof bad.uid, "%s", uids[world_random(world, UIDS)]);
        }
        mmq_err err = try_cursor(world, ask, &bad);
        assert_true(err == MMQ_OK || err == MMQ_EINVAL || err == MMQ_EGONE ||
                    err == of_the_future());
    }
}

static void forged_cursors_do_no_harm(void **state)
{
    (void)state;
    struct world *world = world_new(10);
    struct ask ask = everything;
    world_begin(world);
    for (int i = 0; i < UIDS; i++) {
        world_append(world, world_create(world, uids[i]), 200, 40);
    }
    world_commit(world);
    ask.anomaly = -1;
    forge_cursors(world, &ask);
    ask.limit = 100;
    forge_cursors(world, &ask);
    ask.order = "metric";
    forge_cursors(world, &ask);
    ask.uid = "a";
    forge_cursors(world, &ask);
    world_destroy(&world);
}

static void cursors_of_others_are_refused(void **state)
{
    (void)state;
    struct world *world = world_new(11);
    struct ask ask = everything;
    world_begin(world);
    world_append(world, world_create(world, "a"), 200, 40);
    world_commit(world);
    mmq_cursor cursor = first_cursor(world, &ask);
    assert_int_equal(try_cursor(world, &ask, &cursor), MMQ_OK);
    struct ask other = ask;
    other.anomaly = -1;
    assert_int_equal(try_cursor(world, &other, &cursor), MMQ_EINVAL);
    other = ask;
    other.max_bytes = 5000;
    assert_int_equal(try_cursor(world, &other, &cursor), MMQ_OK);
    cursor.store++;
    assert_int_equal(try_cursor(world, &ask, &cursor), MMQ_EGONE);
    cursor.store--;
    cursor.commit++;
    assert_int_equal(try_cursor(world, &ask, &cursor), of_the_future());
    world_destroy(&world);
}

/* One page of 1 KiB, then the metric is deleted and made again with as many rows, then the rest. */
static size_t rows_after_rebirth(struct world *world, struct ask *ask)
{
    struct stream stream = {0};
    char next[MMQ_CURSOR_MAX];
    mmq_why why;
    world_begin(world);
    struct world_metric *old = world_create(world, "a");
    world_append(world, old, 200, 40);
    world_commit(world);
    world_ok(read_page(world, ask, NULL, &stream, next, &why), &why);
    clear_stream(&stream);
    world_begin(world);
    world_delete(world, old);
    world_append(world, world_create(world, "a"), 200, 40);
    world_commit(world);
    struct ask rest = *ask;
    rest.cursor = next;
    read_stream(world, &rest, NULL, &stream);
    size_t rows = stream.shown.count;
    clear_stream(&stream);
    world_begin(world);
    world_delete(world, world_alive(world, "a"));
    world_commit(world);
    return rows;
}

static void a_metric_made_again_is_another_one(void **state)
{
    (void)state;
    struct world *world = world_new(12);
    struct ask ask = everything;
    ask.anomaly = -1;
    ask.max_bytes = 1024;
    assert_int_equal(rows_after_rebirth(world, &ask), 0);
    ask.from = 0;
    assert_int_equal(rows_after_rebirth(world, &ask), 0);
    ask.order = "metric";
    assert_int_equal(rows_after_rebirth(world, &ask), 0);
    ask.uid = "a";
    assert_int_equal(rows_after_rebirth(world, &ask), 0);
    world_destroy(&world);
}

/* The lengths of metrics are remembered for an hour; a cursor that needs older ones is gone. */
static void a_cursor_may_be_too_old(void **state)
{
    (void)state;
    struct world *world = world_new(13);
    struct ask all = everything, one = everything;
    one.uid = "a";
    world_begin(world);
    world_append(world, world_create(world, "a"), 200, 40);
    world_commit(world);
    const mmq_cursor old_all = first_cursor(world, &all);
    const mmq_cursor old_one = first_cursor(world, &one);
    mmq_why why;
    for (int i = 0; i < 3; i++) {
        world_begin(world);
        world_append(world, world_alive(world, "a"), 5, 40);
        world_commit(world);
        mmq_clock_shift((i + 1) * 5 * 3600 * MMQ_NS_PER_S);
        bool more = true;
        while (more) {
            world_ok(mmq_store_tidy(world->writer, &more, &why), &why);
        }
    }
    mmq_clock_shift(0);
    assert_int_equal(try_cursor(world, &all, &old_all), MMQ_EGONE);
    assert_int_equal(try_cursor(world, &one, &old_one), MMQ_OK);
    world_destroy(&world);
}

/* Streams of ten kinds, a page of each: the cache keeps the last eight, for ten seconds. */
static void merges_are_kept_within_bounds(void **state)
{
    (void)state;
    struct world *world = world_new(14);
    struct ask ask = everything;
    mmq_cursor cursors[10];
    ask.cache = mmq_scan_cache_new();
    assert_non_null(ask.cache);
    world_begin(world);
    for (int i = 0; i < 5; i++) {
        world_append(world, world_create(world, uids[i]), 100, 40);
    }
    world_commit(world);
    for (int i = 0; i < 10; i++) {
        ask.limit = 50 + i;
        cursors[i] = first_cursor(world, &ask);
    }
    for (int i = 0; i < 9; i++) {
        mmq_scan *scan = mmq_scan_cache_take(ask.cache, &cursors[i]);
        assert_true((scan != NULL) == (i >= 2));
        mmq_scan_close(&scan);
        assert_null(mmq_scan_cache_take(ask.cache, &cursors[i]));
    }
    mmq_clock_shift(11 * MMQ_NS_PER_S);
    mmq_scan_cache_expire(ask.cache);
    assert_null(mmq_scan_cache_take(ask.cache, &cursors[9]));
    mmq_clock_shift(0);
    mmq_scan_cache_destroy(&ask.cache);
    world_destroy(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_state_changes_with_the_answer),
        cmocka_unit_test(forged_cursors_do_no_harm),
        cmocka_unit_test(cursors_of_others_are_refused),
        cmocka_unit_test(a_metric_made_again_is_another_one),
        cmocka_unit_test(a_cursor_may_be_too_old),
        cmocka_unit_test(merges_are_kept_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
