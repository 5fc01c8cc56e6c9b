/* The worker runtime against a broker played by hand (faults F2, F3, F9, F12, F28). */
#include <pthread.h>
#include <stdatomic.h>

#include "lib/unpack.h"
#include "metricmq/worker.h"
#include "tests/unit/lib/fake_broker.h"

/* What handlers and contexts share with the test. */
typedef struct shared {
    atomic_size_t contexts;
    atomic_size_t idles;
    atomic_size_t largest_batch;
    atomic_size_t begun;
    atomic_bool hold; /* handlers wait while it is set */
    atomic_bool fail;
    atomic_bool block; /* thread_new waits while it is set */
} shared;

typedef struct fixture {
    fake_broker broker;
    mmq_worker *worker;
    shared shared;
} fixture;

static void *make_context(void *context, mmq_why *why)
{
    shared *s = context;
    while (atomic_load(&s->block)) {
        (void)poll(NULL, 0, 1);
    }
    if (atomic_load(&s->fail)) {
        (void)mmq_fail(why, MMQ_EIO, "no context today");
        return NULL;
    }
    atomic_fetch_add(&s->contexts, 1);
    return s;
}

static void free_context(void **context)
{
    shared *s = *context;
    atomic_fetch_sub(&s->contexts, 1);
    *context = NULL;
}

static bool count_idle(void *context)
{
    shared *s = context;
    return atomic_fetch_add(&s->idles, 1) < 3;
}

/* Two parts "p", then the body back. */
static void echo_one(shared *s, mmq_request **request)
{
    atomic_fetch_add(&s->begun, 1);
    while (atomic_load(&s->hold)) {
        (void)poll(NULL, 0, 1);
    }
    size_t size;
    const void *body = mmq_request_body(*request, &size);
    mmq_frame payload;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mmq_frame_copy(&payload, "p", 1), MMQ_OK);
        mmq_err err = mmq_request_partial(*request, "cursor", &payload);
        assert_true(err == MMQ_OK || err == MMQ_EUNREACHABLE);
        mmq_frame_close(&payload);
    }
    assert_int_equal(mmq_frame_copy(&payload, body, size), MMQ_OK);
    mmq_final final = {.status = 200, .rows = 7, .next = "next", .state = "state"};
    mmq_request_final(request, &final, &payload);
    mmq_frame_close(&payload);
}

static void echo(void *context, mmq_request **requests, size_t count)
{
    shared *s = context;
    if (count > atomic_load(&s->largest_batch)) {
        atomic_store(&s->largest_batch, count);
    }
    for (size_t i = 0; i < count; i++) {
        echo_one(s, &requests[i]);
        assert_null(requests[i]);
    }
}

static mmq_worker_options options_of(fixture *f)
{
    return (mmq_worker_options){.endpoint = f->broker.endpoint,
                                .service = "echo",
                                .threads = 1,
                                .capacity = 8,
                                .batch_max = 1,
                                .drain_ms = 5000,
                                .shared = &f->shared,
                                .thread_new = make_context,
                                .thread_destroy = free_context,
                                .handle = echo};
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

/* Waits for the next message of the worker that is no heartbeat. */
static int await_command(fixture *f)
{
    int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    for (;;) {
        if (!fake_poll(&f->broker, true)) {
            assert_true(mmq_now_ns() < end_ns);
            (void)poll(NULL, 0, 1);
        } else if (f->broker.envelope.command != MMQ_WORKER_HEARTBEAT) {
            return f->broker.envelope.command;
        }
    }
}

static void say(fixture *f, mmq_worker_command command)
{
    mmq_message out;
    begin_to_peer(&f->broker, &out);
    assert_int_equal(mmq_envelope_begin_worker(&out, command, NULL, 0), 0);
    fake_send(&f->broker, &out);
}

static void start(fixture *f, const mmq_worker_options *options)
{
    mmq_why why = {""};
    f->worker = mmq_worker_new(options, &why);
    if (f->worker == NULL) {
        fail_msg("%s", why.text);
    }
    assert_int_equal(await_command(f), MMQ_WORKER_READY);
    say(f, MMQ_WORKER_HEARTBEAT);
}

/* A request whose id is the token's first byte. */
static void request(fixture *f, const char *token, unsigned timeout_ms, const char *trace)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "echo");
    mmq_args_int(&args, "id", token[0]);
    mmq_args_int(&args, "timeout", timeout_ms);
    mmq_args_cstr(&args, "trace", trace);
    mmq_buffer body;
    mmq_buffer_init(&body, 4096);
    mmq_pack_map(&body, args.count);
    mmq_buffer_add(&body, args.pairs.data, args.pairs.size);
    mmq_message out;
    begin_to_peer(&f->broker, &out);
    assert_int_equal(mmq_envelope_begin_worker(&out, MMQ_WORKER_REQUEST, token, strlen(token)), 0);
    assert_int_equal(mmq_message_append_copy(&out, body.data, body.size), 0);
    fake_send(&f->broker, &out);
    mmq_buffer_clear(&body);
    mmq_args_clear(&args);
}

static mmq_header header_of(const fixture *f)
{
    mmq_header header;
    const mmq_frame *frame = &f->broker.last.frames[f->broker.envelope.body];
    assert_int_equal(mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &header),
                     MMQ_OK);
    return header;
}

/* Waits for the next FINAL; the token goes to token, PARTIALs are passed over. */
static int await_final(fixture *f, char token[MMQ_TOKEN_MAX + 1])
{
    while (await_command(f) != MMQ_WORKER_FINAL) {
        assert_int_equal(f->broker.envelope.command, MMQ_WORKER_PARTIAL);
    }
    memcpy(token, f->broker.envelope.token, f->broker.envelope.token_size);
    token[f->broker.envelope.token_size] = '\0';
    return (int)header_of(f).status;
}

static void await_begun(fixture *f, size_t count)
{
    int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    while (atomic_load(&f->shared.begun) < count) {
        assert_true(mmq_now_ns() < end_ns);
        (void)poll(NULL, 0, 1);
    }
}

static void test_answers(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    assert_int_equal(f->broker.envelope.capacity, 8);
    assert_false(f->broker.envelope.plain);
    request(f, "token", 5000, "trace-7");
    for (int64_t i = 0; i < 2; i++) {
        assert_int_equal(await_command(f), MMQ_WORKER_PARTIAL);
        mmq_header header = header_of(f);
        assert_int_equal(header.seq, i);
        assert_int_equal(*(const char *)header.id, 't');
        assert_memory_equal(header.cursor.data, "cursor", 6);
        assert_memory_equal(header.trace.data, "trace-7", 7);
        assert_int_equal(f->broker.last.count, 7);
    }
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(f, token), 200);
    assert_string_equal(token, "token");
    mmq_header header = header_of(f);
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
    request(f, "a", 20000, NULL);
    await_begun(f, 1);
    for (int beats = 0; beats < 4;) {
        if (fake_poll(&f->broker, true)) {
            assert_int_equal(f->broker.envelope.command, MMQ_WORKER_HEARTBEAT);
            say(f, MMQ_WORKER_HEARTBEAT);
            beats++;
        }
        (void)poll(NULL, 0, 1);
    }
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(f, token), 200);
}

static void test_batches_and_expiry(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    options.batch_max = 4;
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(f, "a", 20000, NULL);
    await_begun(f, 1);
    request(f, "b", 1, NULL);
    request(f, "c", 20000, NULL);
    request(f, "d", 20000, NULL);
    say(f, MMQ_WORKER_HEARTBEAT);
    int64_t sent_ns = mmq_now_ns();
    while (mmq_now_ns() - sent_ns < 100 * MMQ_NS_PER_MS) { /* b's deadline passes */
        (void)poll(NULL, 0, 5);
    }
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    int statuses[256] = {0};
    for (int i = 0; i < 4; i++) {
        int status = await_final(f, token);
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
    request(f, "a", 20000, NULL);
    request(f, "b", 20000, NULL);
    request(f, "c", 20000, NULL);
    say(f, MMQ_WORKER_HEARTBEAT);
    await_begun(f, 1);
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(f, token), 200);
    assert_string_equal(token, "a");
    assert_int_equal(await_final(f, token), 200);
    assert_string_equal(token, "b");
    request(f, "d", 20000, NULL);
    assert_int_equal(await_final(f, token), 200);
    assert_true(token[0] == 'd');
}

/* After DISCONNECT the worker comes back as new, and old answers are not sent (F2). */
static void test_disconnect(void **state)
{
    fixture *f = *state;
    mmq_worker_options options = options_of(f);
    start(f, &options);
    atomic_store(&f->shared.hold, true);
    request(f, "old", 20000, NULL);
    await_begun(f, 1);
    say(f, MMQ_WORKER_DISCONNECT);
    assert_int_equal(await_command(f), MMQ_WORKER_READY);
    say(f, MMQ_WORKER_HEARTBEAT);
    request(f, "new", 20000, NULL);
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(f, token), 200);
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
        assert_int_equal(await_command(f), MMQ_WORKER_READY);
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
    assert_int_equal(await_command(f), MMQ_WORKER_READY);
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
    assert_int_equal(await_final(f, token), 400);
    assert_string_equal(token, "two");
    fake_raw(&f->broker, garbage);
    assert_int_equal(await_final(f, token), 200);
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
    request(f, "begun", 20000, NULL);
    await_begun(f, 1);
    request(f, "waits", 20000, NULL);
    pthread_t thread;
    mmq_worker *worker = f->worker;
    f->worker = NULL;
    assert_int_equal(pthread_create(&thread, NULL, destroy_worker, worker), 0);
    while (!mmq_worker_stopping(worker)) {
        (void)poll(NULL, 0, 1);
    }
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(f, token), 200);
    assert_string_equal(token, "begun");
    if (refused) {
        assert_int_equal(await_final(f, token), 503);
        assert_string_equal(token, "waits");
    }
    assert_int_equal(await_command(f), MMQ_WORKER_DISCONNECT);
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
    assert_int_equal(await_command(f), MMQ_WORKER_READY);
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
