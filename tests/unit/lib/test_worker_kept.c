/* A worker of two services, and requests that it keeps beyond the handler's return. */
#include "tests/unit/lib/worker_world.h"

typedef struct fixture {
    fake_broker broker;
    mmq_worker *worker;
    shared shared;
    mmq_frame peers[2]; /* routing ids of the links: of the first service, of the second */
} fixture;

static mmq_request *kept;
static atomic_size_t dropped;

/* Keeps what the second service is asked; what the first is asked ends that, too. */
static void keep_or_answer(void *context, mmq_request **requests, size_t count)
{
    shared *s = context;
    const mmq_final final = {.status = 200, .rows = -1};
    for (size_t i = 0; i < count; i++) {
        if (strcmp(mmq_request_service(requests[i]), "second") == 0) {
            assert_null(kept);
            mmq_request_keep(requests[i]);
            kept = requests[i];
        } else {
            if (kept != NULL && mmq_request_awaited(kept)) {
                mmq_request_final(&kept, &final, NULL);
            } else if (kept != NULL) {
                mmq_request_drop(&kept);
                atomic_fetch_add(&dropped, 1);
            }
            mmq_request_final(&requests[i], &final, NULL);
        }
        atomic_fetch_add(&s->begun, 1);
    }
}

static void drop_kept(void **context)
{
    if (kept != NULL) {
        mmq_request_drop(&kept);
        atomic_fetch_add(&dropped, 1);
    }
    free_context(context);
}

/* Notes the READY that came. */
static void take_ready(fixture *f)
{
    assert_int_equal(f->broker.envelope.command, MMQ_WORKER_READY);
    const bool second = f->broker.envelope.service_size == strlen("second");
    assert_int_equal(f->broker.envelope.capacity, second ? 3 : 8);
    mmq_frame_close(&f->peers[second]);
    assert_int_equal(mmq_frame_share(&f->peers[second], &f->broker.last.frames[0]), MMQ_OK);
    say(&f->broker, MMQ_WORKER_HEARTBEAT);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    *state = f;
    atomic_store(&dropped, 0);
    fake_start(&f->broker);
    mmq_frame_init(&f->peers[0]);
    mmq_frame_init(&f->peers[1]);
    mmq_worker_options options = echo_options(f->broker.endpoint, &f->shared);
    options.second = "second";
    options.second_capacity = 3;
    options.handle = keep_or_answer;
    options.thread_destroy = drop_kept;
    f->worker = mmq_worker_new(&options, NULL);
    assert_non_null(f->worker);
    for (int i = 0; i < 2; i++) {
        (void)await_command(&f->broker);
        take_ready(f);
    }
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    mmq_worker_destroy(&f->worker);
    assert_null(kept);
    mmq_frame_close(&f->peers[0]);
    mmq_frame_close(&f->peers[1]);
    fake_stop(&f->broker);
    free(f);
    return 0;
}

/* What is said next goes to that link. */
static void speak_to(fixture *f, size_t link)
{
    mmq_frame_close(&f->broker.last.frames[0]);
    assert_int_equal(mmq_frame_share(&f->broker.last.frames[0], &f->peers[link]), MMQ_OK);
}

/* Sends to a link, and waits until it was worked on. */
static void ask(fixture *f, size_t link, const char *token, size_t begun)
{
    speak_to(f, link);
    request(&f->broker, token, 20000, NULL);
    await_begun(&f->shared, begun);
}

/* A request that is kept is in nobody's way, and is answered over its own link. */
static void test_kept(void **state)
{
    fixture *f = *state;
    char token[MMQ_TOKEN_MAX + 1];
    for (size_t i = 0; i < 20; i++) {
        ask(f, 1, "kept", 2 * i + 1);
        ask(f, 0, "first", 2 * i + 2);
        bool seen[2] = {false, false};
        for (int answers = 0; answers < 2; answers++) {
            assert_int_equal(await_final(&f->broker, token), 200);
            const bool second = strcmp(token, "kept") == 0;
            assert_int_equal(mmq_frame_size(&f->broker.last.frames[0]),
                             mmq_frame_size(&f->peers[second]));
            assert_memory_equal(mmq_frame_data(&f->broker.last.frames[0]),
                                mmq_frame_data(&f->peers[second]),
                                mmq_frame_size(&f->peers[second]));
            seen[second] = true;
        }
        assert_true(seen[0] && seen[1]);
    }
    assert_int_equal(atomic_load(&dropped), 0);
}

/* Its connection ends: nobody waits for the answer. The link comes back. */
static void test_not_awaited(void **state)
{
    fixture *f = *state;
    char token[MMQ_TOKEN_MAX + 1];
    ask(f, 1, "kept", 1);
    speak_to(f, 1);
    say(&f->broker, MMQ_WORKER_DISCONNECT);
    (void)await_command(&f->broker);
    take_ready(f);
    ask(f, 0, "first", 2);
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_string_equal(token, "first");
    assert_int_equal(atomic_load(&dropped), 1);
    ask(f, 1, "kept", 3);
    ask(f, 0, "first", 4);
    assert_int_equal(await_final(&f->broker, token), 200);
    assert_int_equal(await_final(&f->broker, token), 200);
}

/* Nobody waits for what is kept when the worker ends; it says DISCONNECT over both links, so that
 * the broker gives it to another. */
static void test_end(void **state)
{
    fixture *f = *state;
    ask(f, 1, "kept", 1);
    const int64_t start_ns = mmq_now_ns();
    mmq_worker_destroy(&f->worker);
    assert_true(mmq_now_ns() - start_ns < 4 * MMQ_NS_PER_S); /* of drain_ms 5 s */
    assert_int_equal(atomic_load(&dropped), 1);
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_DISCONNECT);
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_DISCONNECT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_kept),
        TEST(test_not_awaited),
        TEST(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
