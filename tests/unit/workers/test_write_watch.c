/* Those who watch what the write worker commits (metric.watch). */
#include "write_world.h"

#include "lib/clock.h"
#include "workers/watchers.h"

/* Sends a watch; since < 0: none is given. */
static void send_watch(int64_t since, const char *store, unsigned timeout_ms)
{
    mmq_args args;
    mmq_args_init(&args);
    if (since >= 0) {
        mmq_args_int(&args, "since", since);
    }
    mmq_args_cstr(&args, "store", store);
    mmq_args_int(&args, "timeout", timeout_ms);
    send_to(&watch_peer, "watch", &args);
}

/* What an answer to a watch says, as text: "commit reload uid=last_rowid ...". Its store goes to
 * store[]. */
static const char *print_told(const answer *got, char store[32])
{
    static char text[1024];
    mmq_reader reader;
    mmq_value map, key, value;
    mmq_reader_init(&reader, mmq_frame_data(&got->payload), mmq_frame_size(&got->payload));
    assert_ok(mmq_unpack(&reader, &map));
    assert_int_equal(map.count, 4);
    assert_ok(mmq_unpack(&reader, &key));
    assert_ok(mmq_unpack(&reader, &value));
    int size = snprintf(text, sizeof text, "%lld", (long long)value.integer);
    assert_ok(mmq_unpack(&reader, &key));
    assert_ok(mmq_unpack(&reader, &value));
    (void)snprintf(store, 32, "%.*s", (int)value.text.size, value.text.data);
    assert_ok(mmq_unpack(&reader, &key));
    assert_ok(mmq_unpack(&reader, &value));
    size += snprintf(text + size, sizeof text - (size_t)size, "%s", value.boolean ? " reload" : "");
    assert_ok(mmq_unpack(&reader, &key));
    assert_ok(mmq_unpack(&reader, &map));
    for (uint32_t i = 0; i < map.count; i++) {
        assert_ok(mmq_unpack(&reader, &value));
        assert_ok(mmq_unpack(&reader, &key));
        assert_ok(mmq_unpack(&reader, &value));
        size += snprintf(text + size, sizeof text - (size_t)size, " %.*s=%lld", (int)key.text.size,
                         key.text.data, value.type == MMQ_NIL ? -1LL : (long long)value.integer);
    }
    assert_true(mmq_reader_done(&reader));
    return text;
}

/* The next FINAL is that of a watch. */
static void expect_told(const char *told)
{
    answer got;
    char store[32];
    receive_answer(&got);
    assert_int_equal(got.status, 200);
    assert_string_equal(print_told(&got, store), told);
    mmq_frame_close(&got.payload);
}

/* One FINAL is the write's, and one that of the watch; either may come first. */
static void expect_both(const char *told)
{
    char store[32];
    int told_count = 0;
    for (int i = 0; i < 2; i++) {
        answer got;
        receive_answer(&got);
        assert_int_equal(got.status, 200);
        const bool is_told =
            mmq_frame_size(&got.payload) > 8 && memcmp(mmq_frame_data(&got.payload),
                                                       "\x84\xa6"
                                                       "commit",
                                                       8) == 0;
        if (is_told) {
            assert_string_equal(print_told(&got, store), told);
        }
        told_count += is_told;
        mmq_frame_close(&got.payload);
    }
    assert_int_equal(told_count, 1);
}

static void await_both_ready(void)
{
    await_ready();
    mmq_message message;
    mmq_message_init(&message);
    while (mmq_frame_size(&watch_peer) == 0) {
        mmq_envelope envelope;
        assert_ok(mmq_message_receive_wait(&message, router, MMQ_MESSAGE_MAX));
        assert_ok(mmq_envelope_parse_worker(&message, 1, &envelope, &why));
        if (is_watch(&envelope)) {
            mmq_frame_move(&watch_peer, &message.frames[0]);
        }
    }
    mmq_message_clear(&message);
}

static void send_uid(const char *op, const char *uid)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", uid);
    if (strcmp(op, "prune") == 0) {
        mmq_args_int(&args, "before", 6);
    }
    send_request(op, &args);
}

static void test_watch(void **state)
{
    (void)state;
    start_worker(false);
    await_both_ready();
    send_watch(0, NULL, 20000); /* on a link of its own: it may come behind the commit */
    send_create("u", "n");
    expect_both("1 u=0");
    send_watch(1, NULL, 20000);
    send_rows("append", "u", 0, TWO_ROWS);
    expect_both("2 u=2");
    send_watch(2, NULL, 20000);
    send_rows("score", "u", 0, "\x93\x01\x01\x01", 4);
    expect_both("3 u=2");
    send_watch(3, NULL, 20000);
    send_uid("prune", "u");
    expect_both("4 u=2");
    send_watch(4, NULL, 20000);
    send_uid("delete", "u");
    expect_both("5 u=-1");
    send_watch(1, NULL, 20000); /* what has changed meanwhile is told at once */
    expect_told("5 u=-1");
    send_watch(0, NULL, 20000);
    expect_told("5 u=-1");
    send_watch(6, NULL, 20000); /* a number that is yet to come is another store's */
    expect_told("5 reload");
    send_watch(5, "00000000000000ff", 20000);
    expect_told("5 reload");
    const int64_t start_ns = mmq_now_ns();
    send_watch(5, NULL, 400); /* nothing happens: before its time is over */
    expect_told("5");
    assert_true(mmq_now_ns() - start_ns < 400 * MMQ_NS_PER_MS);
}

/* Who has heard of a commit from another writer asks us for the next, be it that we have not. */
static void test_watch_beside_another(void **state)
{
    (void)state;
    if (store_server() == NULL) {
        skip(); /* SQLite has one writer */
    }
    static world_rows rows;
    mmq_appended appended;
    start_worker(false);
    await_both_ready();
    send_create("u", "n");
    expect(200, "");
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    world_set(&rows, 0, 5, 7, NAN);
    for (int64_t commit = 2; commit < 12; commit += 2) {
        char told[32];
        (void)snprintf(told, sizeof told, "%d u=%d", (int)commit + 1, (int)commit);
        assert_ok(world_append(other, "u", 0, &rows, 0, 1, &appended));
        send_watch(commit, NULL, 20000);
        assert_ok(world_append(other, "u", 0, &rows, 0, 1, &appended));
        expect_told(told);
    }
    mmq_store_close(&other);
}

/* Anybody who may connect to the database can tell the worker of commits that are none. */
static void test_watch_and_strangers(void **state)
{
    (void)state;
    if (store_server() == NULL) {
        skip(); /* nobody tells a store of SQLite anything */
    }
    start_worker(false);
    await_both_ready();
    send_create("u", "n");
    expect(200, "");
    (void)store_server_run("SELECT pg_notify('metricmq', '99+ stranger 1')");
    send_rows("append", "u", 0, TWO_ROWS);
    expect(200, "");
    send_rows("append", "u", 0, TWO_ROWS);
    expect(200, "");
    send_watch(3, NULL, 20000);
    send_rows("append", "u", 0, TWO_ROWS);
    expect_both("4 u=6");
}

/* What changes nothing is no commit; who waits for one is not told. */
static void test_watch_no_news(void **state)
{
    (void)state;
    start_worker(false);
    await_both_ready();
    send_create("u", "n");
    expect(200, "");
    send_rows("append", "u", 0, TWO_ROWS);
    expect(200, "");
    send_watch(2, NULL, 20000);
    send_rows("append", "u", 1, TWO_ROWS);
    expect(200, "");
    send_rows("append", "none", 0, TWO_ROWS);
    expect(404, "");
    send_rows("append", "u", 0, TWO_ROWS);
    expect_both("3 u=4");
}

static void test_watch_refused(void **state)
{
    (void)state;
    start_worker(false);
    await_both_ready();
    mmq_args args;
    mmq_args_init(&args);
    send_to(&watch_peer, "look", &args);
    expect(400, "must be watch");
    mmq_args_init(&args);
    mmq_args_int(&args, "since", -3);
    send_to(&watch_peer, "watch", &args);
    expect(400, "since");
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", "u");
    send_to(&watch_peer, "watch", &args);
    expect(400, "uid");
    mmq_args_init(&args);
    send_request("watch", &args);
    expect(400, "op");
}

static void expect_many(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        expect(200, "");
    }
}

/* As many wait as may: the oldest make room for more. The worker ends without waiting for them. */
static void test_watch_many(void **state)
{
    (void)state;
    start_worker(false);
    await_both_ready();
    for (size_t i = 0; i < MMQ_WATCHERS_CAPACITY; i++) {
        send_watch(-1, NULL, 20000);
    }
    expect_many(MMQ_WATCHERS_CAPACITY - MMQ_WATCHERS_KEPT);
    send_create("u", "n");
    expect_many(MMQ_WATCHERS_KEPT + 1);
    for (size_t i = 0; i < MMQ_WATCHERS_CAPACITY; i++) {
        send_watch(1, NULL, 20000);
    }
    expect_many(MMQ_WATCHERS_CAPACITY - MMQ_WATCHERS_KEPT);
    send_rows("append", "none", 0, TWO_ROWS); /* a request behind them: they are waiting now */
    expect(404, "");
    const int64_t start_ns = mmq_now_ns();
    mmq_role_destroy(&role);
    assert_true(mmq_now_ns() - start_ns < 2 * MMQ_NS_PER_S);
}

/* A commit that fails is none: whoever watches is told to reload at the next, if he may have been
 * told of it. */
static void test_watch_undone(void **state)
{
    (void)state;
    start_worker(false);
    await_both_ready();
    send_create("u", "n");
    expect(200, "");
    send_watch(1, NULL, 20000);
    fill_disk();
    send_rows("append", "u", 0, TWO_ROWS);
    expect(503, "");
    empty_disk();
    send_rows("append", "u", 0, TWO_ROWS);
    expect_both(store_server() == NULL ? "2 reload" : "2 u=2");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_watch),
        TEST(test_watch_no_news),
        TEST(test_watch_refused),
        TEST(test_watch_many),
        TEST(test_watch_undone),
        TEST(test_watch_beside_another),
        TEST(test_watch_and_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
