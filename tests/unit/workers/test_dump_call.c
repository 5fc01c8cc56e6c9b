/* A request for a dump, with a target that fails as told: how often it is tried, when it is left to
 * the background, and what a request makes of a job that somebody else has. F59, F62, F69, F71. */
#include "spool_world.h"
#include "stand_in.h"
#include "target_script.h"

#include "metricmq/worker.h"
#include "workers/dump_call.h"
#include "lib/envelope.h"

static mmq_feedback feedback;
static mmq_worker *worker;
static mmq_store *writer;
static mmq_dump dump;

/* What became of the request. */
static atomic_bool entered;
static struct {
    mmq_err job, delivery;
    bool left; /* in the spool, for the background */
} result;

static void handle(void *shared, mmq_request **requests, size_t count)
{
    size_t size;
    mmq_job *job = NULL;
    assert_int_equal(count, 1);
    atomic_store(&entered, true);
    const void *body = mmq_request_body(requests[0], &size);
    mmq_dump_call call = {.feedback = shared,
                          .request = requests[0],
                          .start_ns = mmq_now_ns(),
                          .reserve_ns = mmq_request_left_ns(requests[0]) / 10};
    mmq_err err = mmq_dump_read(body, size, &call.dump, &call.why);
    if (err == MMQ_OK) {
        mmq_dump_key(&call.dump, "", "server", call.key);
        result.job = mmq_dump_call_job(&call, &job);
    }
    if (job != NULL) {
        result.delivery = mmq_dump_call_deliver(&call, &job);
    }
    result.left = job != NULL;
    if (job != NULL) {
        mmq_job_close(&job);
    }
    mmq_dump_clear(&call.dump);
    mmq_request_final(&requests[0], &(mmq_final){.status = 200, .rows = -1}, NULL);
}

static void *thread_new(void *shared, mmq_why *reason)
{
    (void)reason;
    return shared;
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    writer = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(world_create(writer, "a", "a"));
    assert_ok(mmq_store_commit(writer, &why));
    feedback = (mmq_feedback){.data_folder = open(world_folder, O_RDONLY | O_DIRECTORY),
                              .store = world_url,
                              .target = &script_target,
                              .archive_level = 1,
                              .server_id = "server"};
    feedback.spool = mmq_spool_new(feedback.data_folder, NULL, &why);
    script_reset();
    atomic_store(&entered, false);
    world_dump(&dump, "a", "hello", 1700000000);
    stand_in_begin();
    const mmq_worker_options options = {.endpoint = endpoint,
                                        .service = MMQ_SERVICE_FEEDBACK,
                                        .threads = 1,
                                        .capacity = 4,
                                        .drain_ms = 5000,
                                        .shared = &feedback,
                                        .thread_new = thread_new,
                                        .handle = handle};
    worker = mmq_worker_new(&options, &why);
    assert_non_null(worker);
    await_ready();
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_worker_destroy(&worker);
    stand_in_end();
    mmq_dump_clear(&dump);
    mmq_spool_destroy(&feedback.spool);
    mmq_fd_close(&feedback.data_folder);
    mmq_store_close(&writer);
    world_end();
    return 0;
}

/* The request whose job `dump` names. */
static void send_dump(unsigned timeout_ms)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", "a");
    mmq_args_packed(&args, "extra", dump.extra.data, dump.extra.size);
    mmq_args_int(&args, "created", dump.created);
    mmq_args_int(&args, "timeout", timeout_ms);
    send_request("dump", &args);
}

static void await_answer(void)
{
    mmq_message message;
    mmq_message_init(&message);
    assert_int_equal(receive(&message).command, MMQ_WORKER_FINAL);
    mmq_message_clear(&message);
}

/* Its state is `state`, after so many attempts. */
static void expect_left(mmq_job_state state, int64_t attempts)
{
    mmq_manifest manifest;
    assert_true(result.left);
    assert_ok(mmq_spool_peek(feedback.spool, dump.name, &manifest, &why));
    assert_int_equal(manifest.state, state);
    assert_int_equal(manifest.attempts, attempts);
    assert_int_equal(atomic_load(&script.puts), attempts);
    mmq_manifest_clear(&manifest);
}

static void fail_as(mmq_setback_kind kind)
{
    atomic_store(&script.failing, (int)kind + 1);
}

static void passing_failures_are_tried_again(void **state)
{
    (void)state;
    fail_as(MMQ_SETBACK_PASSING);
    send_dump(30000);
    await_answer();
    expect_left(MMQ_JOB_WAITING, 3);
    atomic_store(&script.good_from, 5); /* asked for again: at once, whatever the backoff */
    send_dump(30000);
    await_answer();
    assert_false(result.left);
    assert_int_equal(result.delivery, MMQ_OK);
    assert_int_equal(script_delivered(), 1);
}

static void others_are_not_tried_again(void **state)
{
    (void)state;
    fail_as(MMQ_SETBACK_SETTINGS);
    send_dump(30000);
    await_answer();
    expect_left(MMQ_JOB_SETTINGS, 1);
    fail_as(MMQ_SETBACK_REFUSED);
    send_dump(30000);
    await_answer();
    expect_left(MMQ_JOB_HELD, 2);
}

/* The answer does not wait for what cannot come in time. */
static void long_waits_are_for_the_background(void **state)
{
    (void)state;
    const int64_t start_ns = mmq_now_ns();
    fail_as(MMQ_SETBACK_PASSING);
    atomic_store(&script.retry_after_ns, 60 * MMQ_NS_PER_S);
    send_dump(30000);
    await_answer();
    expect_left(MMQ_JOB_WAITING, 1);
    assert_true(mmq_now_ns() - start_ns < 20 * MMQ_NS_PER_S);
}

/* Broken off since the request's time is up: no failure of the delivery's. */
static void slow_deliveries_are_broken_off(void **state)
{
    (void)state;
    mmq_manifest manifest;
    atomic_store(&script.stuck, true);
    send_dump(500);
    await_answer();
    assert_true(result.left);
    assert_ok(mmq_spool_peek(feedback.spool, dump.name, &manifest, &why));
    assert_int_equal(manifest.attempts, 0);
    assert_int_equal(atomic_load(&script.puts), 1);
    mmq_manifest_clear(&manifest);
}

/* Its owner delivers it while the request waits: nothing is built again. */
static void owner_is_waited_for(void **state)
{
    (void)state;
    mmq_job *job = world_commit(feedback.spool, &dump, "bytes");
    send_dump(30000);
    while (!atomic_load(&entered)) {
        (void)poll(NULL, 0, 1);
    }
    mmq_job_note_delivered(job);
    assert_ok(mmq_job_remove(&job, &why));
    await_answer();
    assert_true(result.job == MMQ_EEND || result.job == MMQ_OK); /* or it came too late to see */
    assert_false(result.left);
    job = world_commit(feedback.spool, &dump, "bytes");
    send_dump(300);
    await_answer();
    assert_int_equal(result.job, MMQ_EBUSY);
    assert_ok(mmq_job_remove(&job, &why));
}

/* A spool without room is no owner who sees to the job: nothing was accepted, and 202 would lie. */
static void full_spool_accepts_nothing(void **state)
{
    (void)state;
    mmq_spool_destroy(&feedback.spool);
    feedback.spool =
        mmq_spool_new(feedback.data_folder, &(mmq_spool_limits){.jobs = 1, .bytes = 1}, &why);
    assert_non_null(feedback.spool);
    send_dump(300);
    await_answer();
    assert_int_equal(result.job, MMQ_EUNAVAILABLE);
    assert_false(result.left);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(passing_failures_are_tried_again),
        TEST(others_are_not_tried_again),
        TEST(long_waits_are_for_the_background),
        TEST(slow_deliveries_are_broken_off),
        TEST(owner_is_waited_for),
        TEST(full_spool_accepts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
