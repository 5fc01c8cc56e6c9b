/* The worker runtime against a broker played by hand (faults F2, F3, F9, F12, F28). */
#include "tests/unit/lib/worker_world.h"

typedef struct fixture {
    fake_broker broker;
    mmq_worker *worker;
    shared shared;
} fixture;

static bool count_idle(void *context)
{
    shared *s = context;
    return atomic_fetch_add(&s->idles, 1) < 3;
}

static mmq_worker_options options_of(fixture *f)
{
    return echo_options(f->broker.endpoint, &f->shared);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fake_start(&f->broker);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    mmq_worker_destroy(&f->worker);
    assert_int_equal(atomic_load(&f->shared.contexts), 0);
    fake_stop(&f->broker);
    free(f);
    return 0;
}

static void start(fixture *f, const mmq_worker_options *options)
{
    mmq_why why = {""};
    f->worker = mmq_worker_new(options, &why);
    if (f->worker == NULL) {
        fail_msg("%s", why.text);
    }
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_READY);
    say(&f->broker, MMQ_WORKER_HEARTBEAT);
}

static void test_answers(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    assert_int_equal(f->broker.envelope.capacity, 8);
    assert_false(f->broker.envelope.plain);
    request(&f->broker, "token", 5000, "trace-7");
    for (int64_t i = 0; i < 2; i++) {
        assert_int_equal(await_command(&f->broker), MMQ_WORKER_PARTIAL);
        mmq_header header = header_of(&f->broker);
        assert_int_equal(header.seq, i);
        assert_int_equal(*(const char *)header.id, 't');
        assert_memory_equal(header.cursor.data, "cursor", 6);
        assert_memory_equal(header.trace.data, "trace-7", 7);
        assert_int_equal(f->broker.last.count, 7);
    }
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_string_equal(token, "token");
    mmq_header header = header_of(&f->broker);
    assert_int_equal(header.seq, 2);
    assert_int_equal(header.rows, 7);
    assert_memory_equal(header.next.data, "next", 4);
    assert_memory_equal(header.trace.data, "trace-7", 7);
}

static void test_plain_ready(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.capacity = 1;
    start(f, &options);
    assert_true(f->broker.envelope.plain);
}

/* Heartbeats go on, and more requests are taken, while a handler works. */
static void test_heartbeats_during_work(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(&f->broker, "a", 20000, NULL);
    await_begun(&f->shared, 1);
    for (int beats = 0; beats < 4;) {
        if (fake_poll(&f->broker, true)) {
            assert_int_equal(f->broker.envelope.command, MMQ_WORKER_HEARTBEAT);
            say(&f->broker, MMQ_WORKER_HEARTBEAT);
            beats++;
        }
        (void)poll(NULL, 0, 1);
    }
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->broker, token), 200);
}

static void test_batches_and_expiry(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.batch_max = 4;
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(&f->broker, "a", 20000, NULL);
    await_begun(&f->shared, 1);
    request(&f->broker, "b", 1, NULL);
    request(&f->broker, "c", 20000, NULL);
    request(&f->broker, "d", 20000, NULL);
    say(&f->broker, MMQ_WORKER_HEARTBEAT);
    int64_t sent_ns = mmq_now_ns();
    while (mmq_now_ns() - sent_ns < 100 * MMQ_NS_PER_MS) { /* b's deadline passes */
        (void)poll(NULL, 0, 5);
    }
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    int statuses[256] = {0};
    for (int i = 0; i < 4; i++) {
        int status = await_final(&f->broker, token);
        statuses[(uint8_t)token[0]] = status;
    }
    assert_int_equal(statuses['a'], 200);
    assert_int_equal(statuses['b'], 504);
    assert_int_equal(statuses['c'], 200);
    assert_int_equal(statuses['d'], 200);
    assert_in_range(atomic_load(&f->shared.largest_batch), 2, 3);
    assert_int_equal(atomic_load(&f->shared.begun), 3);
}

/* More than the capacity: dropped. */
static void test_too_many(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.capacity = 2;
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(&f->broker, "a", 20000, NULL);
    request(&f->broker, "b", 20000, NULL);
    request(&f->broker, "c", 20000, NULL);
    say(&f->broker, MMQ_WORKER_HEARTBEAT);
    await_begun(&f->shared, 1);
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_string_equal(token, "a");
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_string_equal(token, "b");
    request(&f->broker, "d", 20000, NULL);
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_true(token[0] == 'd');
}

/* After DISCONNECT the worker comes back as new, and old answers are not sent (F2). */
static void test_disconnect(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(&f->broker, "old", 20000, NULL);
    await_begun(&f->shared, 1);
    say(&f->broker, MMQ_WORKER_DISCONNECT);
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_READY);
    say(&f->broker, MMQ_WORKER_HEARTBEAT);
    request(&f->broker, "new", 20000, NULL);
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_string_equal(token, "new");
}

/* READY within 2 s of the broker's return (F3). */
static void test_broker_returns(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    for (int i = 0; i < 3; i++) {
        fake_close(&f->broker);
        fake_bind(&f->broker);
        int64_t back_ns = mmq_now_ns();
        assert_int_equal(await_command(&f->broker), MMQ_WORKER_READY);
        assert_true(mmq_now_ns() - back_ns < 2 * MMQ_NS_PER_S);
    }
}

/* A broker that says nothing for 3 s is left (F9). */
static void test_silence(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    int64_t ready_ns = mmq_now_ns();
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_READY);
    assert_in_range(mmq_now_ns() - ready_ns, 2500 * MMQ_NS_PER_MS, 5000 * MMQ_NS_PER_MS);
}

static void test_malformed(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    static const char *const hostile[][8] = {
        {"", NULL},
        {"MDPW01", "\2", "t", "", "x", NULL},
        {MMQ_WORKER_MAGIC, "\2", NULL},
        {MMQ_WORKER_MAGIC, "\2", "", "", "x", NULL},
        {MMQ_WORKER_MAGIC, "\2", "t", "not empty", "x", NULL},
        {MMQ_WORKER_MAGIC, "\11", "t", "", "x", NULL},
        {MMQ_WORKER_MAGIC, "\4", "t", "", "x", NULL},
    };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        fake_raw(&f->broker, hostile[i]);
    }
    static const char *const two_bodies[] = {MMQ_WORKER_MAGIC, "\2", "two", "", "x", "y", NULL};
    static const char *const garbage[] = {MMQ_WORKER_MAGIC, "\2", "garbage", "", "\xc1\xff", NULL};
    char token[MMQ_TOKEN_MAX + 1];
    fake_raw(&f->broker, two_bodies);
    assert_int_equal(await_final(&f->broker, token), 400);
    assert_string_equal(token, "two");
    fake_raw(&f->broker, garbage);
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_string_equal(token, "garbage");
}

static void *destroy_worker(void *worker)
{
    mmq_worker *w = worker;
    mmq_worker_destroy(&w);
    return NULL;
}

/* What was begun is finished; what was not is left to the broker, but a write is refused (F28). */
static void drain(fixture *f, const char *service, bool refused)
{
    mmq_worker_options options = options_of(f);
    options.service = service;
    start(f, &options);
    atomic_store(&f->shared.begun, 0);
    atomic_store(&f->shared.hold, true);
    request(&f->broker, "begun", 20000, NULL);
    await_begun(&f->shared, 1);
    request(&f->broker, "waits", 20000, NULL);
    pthread_t thread;
    mmq_worker *worker = f->worker;
    f->worker = NULL;
    assert_int_equal(pthread_create(&thread, NULL, destroy_worker, worker), 0);
    while (!mmq_worker_stopping(worker)) {
        (void)poll(NULL, 0, 1);
    }
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_string_equal(token, "begun");
    if (refused) {
        assert_int_equal(await_final(&f->broker, token), 503);
        assert_string_equal(token, "waits");
    }
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_DISCONNECT);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&f->shared.begun), 1);
}

static void test_drain(void **state)
{
    drain(*state, "echo", false);
    drain(*state, MMQ_SERVICE_WRITE, true);
}

static void test_no_context(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.threads = 3;
    atomic_store(&f->shared.fail, true);
    mmq_why why = {""};
    assert_null(mmq_worker_new(&options, &why));
    assert_string_equal(why.text, "no context today");
}

static void test_standby(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.threads = 2;
    atomic_store(&f->shared.block, true);
    f->worker = mmq_worker_new_standby(&options, NULL);
    assert_non_null(f->worker);
    for (int i = 0; i < 20; i++) {
        assert_false(fake_poll(&f->broker, true));
        (void)poll(NULL, 0, 5);
    }
    assert_false(mmq_worker_failed(f->worker, NULL));
    atomic_store(&f->shared.block, false);
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_READY);
    assert_int_equal(atomic_load(&f->shared.contexts), 2);
}

static void test_idle(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.idle = count_idle;
    start(f, &options);
    int64_t start_ns = mmq_now_ns();
    while (atomic_load(&f->shared.idles) < 5) {
        assert_true(mmq_now_ns() - start_ns < WAIT_MS * MMQ_NS_PER_MS);
        (void)poll(NULL, 0, 1);
    }
    assert_true(mmq_now_ns() - start_ns > 500 * MMQ_NS_PER_MS); /* the fifth is a second later */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_answers),
        TEST(test_plain_ready),
        TEST(test_heartbeats_during_work),
        TEST(test_batches_and_expiry),
        TEST(test_too_many),
        TEST(test_disconnect),
        TEST(test_broker_returns),
        TEST(test_silence),
        TEST(test_malformed),
        TEST(test_drain),
        TEST(test_no_context),
        TEST(test_standby),
        TEST(test_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
