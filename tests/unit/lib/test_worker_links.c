/* A worker of two brokers, both played by hand: each sees a worker of its own (faults F2, F3, F9,
 * F28). */
#include "tests/unit/lib/valve.h"
#include "tests/unit/lib/worker_world.h"

enum { CAPACITY = 8 };

typedef struct fixture {
    fake_broker a, b;
    mmq_worker *worker;
    shared shared;
    char list[200];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fake_start(&f->a);
    fake_start(&f->b);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    atomic_store(&f->shared.hold, false);
    mmq_worker_destroy(&f->worker);
    assert_int_equal(atomic_load(&f->shared.contexts), 0);
    fake_stop(&f->a);
    fake_stop(&f->b);
    free(f);
    return 0;
}

static mmq_worker_options options_of(fixture *f)
{
    snprintf(f->list, sizeof f->list, "%s,%s", f->a.endpoint, f->b.endpoint);
    mmq_worker_options options = echo_options(f->list, &f->shared);
    options.capacity = CAPACITY;
    return options;
}

static void await_ready(fake_broker *fake)
{
    assert_int_equal(await_command(fake), MMQ_WORKER_READY);
    assert_int_equal(fake->envelope.capacity, CAPACITY);
    say(fake, MMQ_WORKER_HEARTBEAT);
}

static void start(fixture *f, const mmq_worker_options *options)
{
    f->worker = mmq_worker_new(options, NULL);
    assert_non_null(f->worker);
    await_ready(&f->a);
    await_ready(&f->b);
}

/* True if the worker has said anything but heartbeats so far. */
static bool has_spoken(fake_broker *fake)
{
    while (fake_poll(fake, true)) {
        if (fake->envelope.command != MMQ_WORKER_HEARTBEAT) {
            return true;
        }
    }
    return false;
}

/* Tokens are each broker's own: the same one at both means two requests. */
static void test_answers_go_home(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.threads = 2;
    options.batch_max = 4;
    start(f, &options);
    char token[MMQ_TOKEN_MAX + 1];
    for (int i = 0; i < 50; i++) {
        request(&f->a, "same", 5000, "of a");
        request(&f->b, "same", 5000, "of b");
        assert_int_equal(await_final(&f->a, token), 200);
        assert_memory_equal(header_of(&f->a).trace.data, "of a", 4);
        assert_int_equal(await_final(&f->b, token), 200);
        assert_memory_equal(header_of(&f->b).trace.data, "of b", 4);
    }
}

/* Each broker may fill the capacity, and no more; all waits in the process. */
static void test_capacity_of_each(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    fake_broker *const fakes[] = {&f->a, &f->b};
    for (size_t i = 0; i < 2; i++) {
        for (int n = 0; n < CAPACITY + 1; n++) { /* one too many */
            const char name[] = {(char)('0' + n), '\0'};
            request(fakes[i], name, 20000, NULL);
        }
    }
    await_begun(&f->shared, 1);
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    for (size_t i = 0; i < 2; i++) {
        for (int n = 0; n < CAPACITY; n++) {
            assert_int_equal(await_final(fakes[i], token), 200);
            assert_int_equal(token[0], '0' + n);
        }
        request(fakes[i], "next", 20000, NULL); /* the one too many was dropped */
        assert_int_equal(await_final(fakes[i], token), 200);
        assert_string_equal(token, "next");
    }
}

/* A broker that keeps its capacity full delays another's request by that much at most. */
static void test_order_of_arrival(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(&f->b, "first", 20000, NULL);
    await_begun(&f->shared, 1);
    for (int n = 0; n < CAPACITY; n++) {
        request(&f->a, "busy", 20000, NULL);
    }
    request(&f->b, "patient", 20000, NULL);
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->b, token), 200);
    for (size_t i = 0; i < 3 * CAPACITY; i++) {
        assert_int_equal(await_final(&f->a, token), 200);
        request(&f->a, "busy", 20000, NULL);
    }
    assert_int_equal(await_final(&f->b, token), 200);
    assert_string_equal(token, "patient");
    assert_true(atomic_load(&f->shared.begun) <= 2 + 4 * CAPACITY);
}

/* The loss of one ends its requests only, and it is READY there again within 2 s of the return. */
static void test_loss_of_one(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(&f->a, "begun", 20000, NULL);
    await_begun(&f->shared, 1);
    request(&f->a, "waits", 20000, NULL);
    request(&f->b, "stays", 20000, NULL);
    fake_close(&f->a);
    say(&f->b, MMQ_WORKER_HEARTBEAT);
    assert_false(has_spoken(&f->b));
    fake_bind(&f->a);
    const int64_t back_ns = mmq_now_ns();
    await_ready(&f->a);
    assert_true(mmq_now_ns() - back_ns < 2 * MMQ_NS_PER_S);
    request(&f->a, "new", 20000, NULL);
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->b, token), 200);
    assert_string_equal(token, "stays");
    assert_int_equal(await_final(&f->a, token), 200);
    assert_string_equal(token, "new"); /* the answer to "begun" was not sent */
    assert_int_equal(atomic_load(&f->shared.begun), 3);
}

static void test_disconnect_by_one(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    for (int i = 0; i < 3; i++) {
        say(&f->a, MMQ_WORKER_DISCONNECT);
        await_ready(&f->a);
        say(&f->b, MMQ_WORKER_HEARTBEAT);
    }
    request(&f->b, "b", 20000, NULL);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->b, token), 200); /* and no second READY before it */
}

/* A broker that takes connections and says nothing, or is not there, delays nobody. */
static void test_others_are_away(void **state)
{
    fixture *f = *state;
    char hangs[64];
    const int descriptor = fake_hang(hangs);
    mmq_worker_options options = options_of(f);
    snprintf(f->list, sizeof f->list, "%s,%s,%s", hangs, f->a.endpoint, f->b.endpoint);
    fake_close(&f->a);
    const int64_t start_ns = mmq_now_ns();
    f->worker = mmq_worker_new(&options, NULL);
    assert_non_null(f->worker);
    await_ready(&f->b);
    assert_true(mmq_now_ns() - start_ns < MMQ_NS_PER_S);
    fake_bind(&f->a);
    const int64_t back_ns = mmq_now_ns();
    await_ready(&f->a);
    assert_true(mmq_now_ns() - back_ns < 2 * MMQ_NS_PER_S);
    close(descriptor);
}

/* The first request to be begun answers without end, until its broker is given up. */
static void flood(void *context, mmq_request **requests, size_t count)
{
    enum { PAYLOAD = 64 * 1024 };
    static const char bytes[PAYLOAD];
    shared *s = context;
    assert_int_equal(count, 1);
    if (atomic_load(&s->begun) > 0) {
        echo_one(s, &requests[0]);
        return;
    }
    atomic_store(&s->begun, 1);
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK) {
        mmq_frame payload;
        assert_int_equal(mmq_frame_copy(&payload, bytes, PAYLOAD), MMQ_OK);
        err = mmq_request_partial(requests[0], "cursor", &payload);
        mmq_frame_close(&payload);
    }
    assert_int_equal(err, MMQ_EUNREACHABLE);
    const mmq_final final = {.status = 503, .rows = -1};
    mmq_request_final(&requests[0], &final, NULL);
}

/* Seconds until b is served, although a holds the only thread by taking nothing. */
static int64_t seconds_blocked(fixture *f, bool a_beats)
{
    valve to_a;
    valve_start(&to_a, &f->a);
    mmq_worker_options options = options_of(f);
    snprintf(f->list, sizeof f->list, "%s,%s", to_a.endpoint, f->b.endpoint);
    options.handle = flood;
    start(f, &options);
    atomic_store(&to_a.shut, true);
    request(&f->a, "flood", 60000, NULL);
    await_begun(&f->shared, 1);
    request(&f->b, "b", 60000, NULL);
    const int64_t start_ns = mmq_now_ns();
    int64_t beat_ns = start_ns;
    while (!has_spoken(&f->b)) {
        if (mmq_now_ns() >= beat_ns) {
            beat_ns += 500 * MMQ_NS_PER_MS;
            say(&f->b, MMQ_WORKER_HEARTBEAT);
            if (a_beats) {
                say(&f->a, MMQ_WORKER_HEARTBEAT);
            }
        }
        assert_true(mmq_now_ns() - start_ns < 60 * MMQ_NS_PER_S);
        (void)poll(NULL, 0, 5);
    }
    assert_int_equal(f->b.envelope.command, MMQ_WORKER_PARTIAL); /* it was connected all the time */
    const int64_t seconds = (mmq_now_ns() - start_ns) / MMQ_NS_PER_S;
    mmq_worker_destroy(&f->worker);
    valve_stop(&to_a);
    return seconds;
}

/* F11: a handshake that takes long is no silence of the broker, whose own time to be silent begins
 * with READY. */
static void test_slow_handshake(void **state)
{
    fixture *f = *state;
    valve to_a;
    valve_start(&to_a, &f->a);
    atomic_store(&to_a.shut, true);
    mmq_worker_options options = options_of(f);
    options.endpoint = to_a.endpoint;
    f->worker = mmq_worker_new(&options, NULL);
    assert_non_null(f->worker);
    const int64_t start_ns = mmq_now_ns();
    while (mmq_now_ns() - start_ns < 2 * MMQ_NS_PER_S) {
        assert_false(has_spoken(&f->a));
        (void)poll(NULL, 0, 5);
    }
    atomic_store(&to_a.shut, false);
    assert_int_equal(await_command(&f->a), MMQ_WORKER_READY);
    while (mmq_now_ns() - start_ns < 4 * MMQ_NS_PER_S) {
        assert_false(has_spoken(&f->a)); /* no DISCONNECT */
        (void)poll(NULL, 0, 5);
    }
    say(&f->a, MMQ_WORKER_HEARTBEAT);
    mmq_worker_destroy(&f->worker);
    valve_stop(&to_a);
}

static void test_silent_broker_blocks_for_its_liveness(void **state)
{
    assert_in_range(seconds_blocked(*state, false), 2, 6);
}

static void test_blocked_broker_is_given_up(void **state)
{
    assert_in_range(seconds_blocked(*state, true), 29, 40);
}

static void *destroy_worker(void *worker)
{
    mmq_worker *w = worker;
    mmq_worker_destroy(&w);
    return NULL;
}

/* What was begun is finished for both, then both hear DISCONNECT (F28). */
static void test_drain(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.threads = 2;
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(&f->a, "begun", 20000, NULL);
    request(&f->b, "begun", 20000, NULL);
    await_begun(&f->shared, 2);
    request(&f->a, "waits", 20000, NULL);
    request(&f->b, "waits", 20000, NULL);
    pthread_t thread;
    mmq_worker *worker = f->worker;
    f->worker = NULL;
    assert_int_equal(pthread_create(&thread, NULL, destroy_worker, worker), 0);
    while (!mmq_worker_stopping(worker)) {
        (void)poll(NULL, 0, 1);
    }
    atomic_store(&f->shared.hold, false);
    fake_broker *const fakes[] = {&f->a, &f->b};
    for (size_t i = 0; i < 2; i++) {
        char token[MMQ_TOKEN_MAX + 1];
        assert_int_equal(await_final(fakes[i], token), 200);
        assert_string_equal(token, "begun");
        assert_int_equal(await_command(fakes[i]), MMQ_WORKER_DISCONNECT);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&f->shared.begun), 2);
}

static void test_bad_lists(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    mmq_why why = {""};
    options.endpoint = "tcp://127.0.0.1:1,,tcp://127.0.0.1:2";
    assert_null(mmq_worker_new(&options, &why));
    assert_non_null(strstr(why.text, "endpoint 2"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_answers_go_home),
        TEST(test_capacity_of_each),
        TEST(test_order_of_arrival),
        TEST(test_loss_of_one),
        TEST(test_disconnect_by_one),
        TEST(test_others_are_away),
        TEST(test_silent_broker_blocks_for_its_liveness),
        TEST(test_blocked_broker_is_given_up),
        TEST(test_drain),
        TEST(test_bad_lists),
        TEST(test_slow_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
