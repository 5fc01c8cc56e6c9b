/* The feedback worker behind a stand-in for the broker: answers, refusals, 202. F67, F69, F76. */
#include "spool_world.h"
#include "stand_in.h"

#include "lib/clock.h"
#include "metricmq/unpack.h"
#include "workers/workers.h"
#include "lib/envelope.h"

static char upload[128];
static mmq_role *role;
static mmq_store *writer;

/* What a FINAL said. */
struct answer {
    int64_t status;
    size_t partials; /* before it */
    char error[256];
    char key[MMQ_OBJECT_KEY_MAX + 1];
    char state[32], reason[256]; /* of a 202 */
    char last_error[256];        /* of op spool */
    int64_t jobs, waiting, held;
};

static void start_worker(const char *store)
{
    const mmq_worker_settings settings = {.endpoint = endpoint,
                                          .store = store,
                                          .threads = 2,
                                          .drain_ms = 5000,
                                          .data = world_folder,
                                          .upload = upload,
                                          .server_id = "server"};
    role = mmq_feedback_worker_new(&settings, &why);
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    (void)snprintf(upload, sizeof upload, "file:%s/uploads", world_folder);
    writer = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(world_create(writer, "a", "a"));
    assert_ok(mmq_store_commit(writer, &why));
    stand_in_begin();
    start_worker(world_url);
    assert_non_null(role);
    await_ready();
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_role_destroy(&role);
    stand_in_end();
    mmq_store_close(&writer);
    world_end();
    return 0;
}

/* {note: text} for extra. */
static mmq_args dump_args(const char *uid, const char *text, unsigned timeout_ms)
{
    mmq_args args;
    mmq_buffer extra;
    mmq_buffer_init(&extra, 1024);
    mmq_pack_map(&extra, 1);
    mmq_pack_cstr(&extra, "note");
    mmq_pack_cstr(&extra, text);
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", uid);
    mmq_args_packed(&args, "extra", extra.data, extra.size);
    mmq_args_int(&args, "created", 1700000000);
    mmq_args_int(&args, "timeout", timeout_ms);
    mmq_buffer_clear(&extra);
    return args;
}

/* The text under `name` of a packed map; "" if there is none. */
static void find_text(const mmq_frame *map, const char *name, char *out, size_t size)
{
    mmq_reader reader;
    mmq_value head, key, value;
    out[0] = '\0';
    mmq_reader_init(&reader, mmq_frame_data(map), mmq_frame_size(map));
    assert_int_equal(mmq_unpack(&reader, &head), MMQ_OK);
    for (uint32_t i = 0; i < head.count; i++) {
        assert_int_equal(mmq_unpack(&reader, &key), MMQ_OK);
        assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
        if (mmq_value_is(&key, name) && value.type == MMQ_STR) {
            (void)snprintf(out, size, "%.*s", (int)value.text.size, value.text.data);
        }
    }
}

/* The integer under `name` of a packed map; -1 if there is none. */
static int64_t find_number(const mmq_frame *map, const char *name)
{
    mmq_reader reader, whole;
    mmq_value value;
    mmq_reader_init(&reader, mmq_frame_data(map), mmq_frame_size(map));
    return mmq_map_find(reader, name, &value, &whole) && value.type == MMQ_INT ? value.integer : -1;
}

static struct answer receive_answer(void)
{
    struct answer out = {.status = 0};
    mmq_message message;
    mmq_header header;
    mmq_message_init(&message);
    mmq_envelope envelope = receive(&message);
    while (envelope.command == MMQ_WORKER_PARTIAL) {
        out.partials++;
        envelope = receive(&message);
    }
    assert_int_equal(envelope.command, MMQ_WORKER_FINAL);
    const mmq_frame *frame = &message.frames[envelope.body];
    assert_ok(mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &header));
    out.status = header.status;
    (void)snprintf(out.error, sizeof out.error, "%.*s", (int)header.error.size,
                   header.error.size > 0 ? header.error.data : "");
    if (envelope.body + 1 < message.count) {
        const mmq_frame *payload = &message.frames[envelope.body + 1];
        find_text(payload, "key", out.key, sizeof out.key);
        find_text(payload, "state", out.state, sizeof out.state);
        find_text(payload, "error", out.reason, sizeof out.reason);
        find_text(payload, "last_error", out.last_error, sizeof out.last_error);
        out.jobs = find_number(payload, "jobs");
        out.waiting = find_number(payload, "waiting");
        out.held = find_number(payload, "held");
    }
    mmq_message_clear(&message);
    return out;
}

static struct answer dump(const char *uid, const char *text)
{
    mmq_args args = dump_args(uid, text, 30000);
    send_request("dump", &args);
    return receive_answer();
}

static struct answer ask_spool(void)
{
    mmq_args args;
    mmq_args_init(&args);
    send_request("spool", &args);
    return receive_answer();
}

static void dump_is_delivered(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* the same again: the same object */
        const struct answer answer = dump("a", "hello");
        assert_int_equal(answer.status, 200);
        assert_true(world_exists(world_at("uploads/%s", answer.key)));
        assert_int_equal(world_entries(world_at("uploads/metric_dumps")), 1);
        assert_int_equal(world_entries(world_at("spool")), 1);
    }
}

static void progress_is_told(void **state)
{
    (void)state;
    mmq_args args = dump_args("a", "hello", 30000);
    mmq_args_bool(&args, "progress", true);
    send_request("dump", &args);
    const struct answer answer = receive_answer();
    assert_int_equal(answer.status, 200);
    assert_true(answer.partials >= 2); /* both stages */
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    assert_int_equal(dump("nobody", "x").status, 404);
    assert_int_equal(dump("..", "x").status, 400);
    mmq_args args = dump_args("a", "x", 30000);
    mmq_args_cstr(&args, "upload", "file:/tmp");
    send_request("dump", &args);
    assert_int_equal(receive_answer().status, 400);
    mmq_args_init(&args);
    send_request("no such op", &args);
    assert_int_equal(receive_answer().status, 400);
    assert_int_equal(world_entries(world_at("spool")), 1);
}

/* 202, over a restart, until the target is back. */
static void undelivered_dump_is_kept(void **state)
{
    (void)state;
    world_write(world_at("uploads"), "in the way", 10);
    const struct answer kept = dump("a", "hello");
    assert_int_equal(kept.status, 202);
    assert_string_equal(kept.state, "waiting");
    assert_non_null(strstr(kept.reason, "uploads"));
    assert_int_equal(world_entries(world_at("spool")), 2);
    const struct answer counted = ask_spool();
    assert_int_equal(counted.jobs, 1);
    assert_int_equal(counted.waiting, 1);
    assert_int_equal(counted.held, 0);
    assert_non_null(strstr(counted.last_error, "uploads"));
    const struct answer again = dump("a", "hello");
    assert_int_equal(again.status, 202);
    assert_string_equal(again.key, kept.key);
    assert_int_equal(world_entries(world_at("spool")), 2);
    mmq_role_destroy(&role);
    assert_int_equal(world_entries(world_at("spool")), 2);
    assert_int_equal(unlink(world_at("uploads")), 0);
    start_worker(world_url);
    assert_non_null(role);
    const int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    while (world_entries(world_at("spool")) > 1) {
        assert_true(mmq_now_ns() < end_ns);
        (void)zmq_poll(NULL, 0, 5);
    }
    assert_true(world_exists(world_at("uploads/%s", kept.key)));
}

/* Another process has the job for longer than the request may wait: it is accepted all the same. */
static void job_of_another_owner_is_accepted(void **state)
{
    (void)state;
    mmq_dump wanted;
    const int folder = open(world_folder, O_RDONLY | O_DIRECTORY);
    mmq_spool *spool = mmq_spool_new(folder, NULL, &why);
    assert_non_null(spool);
    world_dump(&wanted, "a", "hello", 1700000000);
    mmq_job *job = world_commit(spool, &wanted, "bytes");
    mmq_args args = dump_args("a", "hello", 300);
    send_request("dump", &args);
    assert_int_equal(receive_answer().status, 202);
    assert_ok(mmq_job_remove(&job, &why));
    mmq_dump_clear(&wanted);
    mmq_spool_destroy(&spool);
    (void)close(folder);
}

static void spool_tells_its_counts(void **state)
{
    (void)state;
    const struct answer answer = ask_spool();
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.jobs, 0);
    assert_int_equal(answer.waiting, 0);
    assert_int_equal(answer.held, 0);
    assert_string_equal(answer.last_error, "");
}

static void bad_settings_are_refused(void **state)
{
    (void)state;
    mmq_role_destroy(&role);
    start_worker("sqlite:/nowhere/at/all.db");
    assert_null(role);
    (void)snprintf(upload, sizeof upload, "ftp://example");
    start_worker(world_url);
    assert_null(role);
    const mmq_worker_settings settings = {
        .endpoint = "ipc:///nowhere", .store = world_url, .upload = upload};
    assert_int_equal(mmq_worker_settings_check(&settings, &why), MMQ_EINVAL);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dump_is_delivered),
        TEST(progress_is_told),
        TEST(bad_requests_are_refused),
        TEST(undelivered_dump_is_kept),
        TEST(job_of_another_owner_is_accepted),
        TEST(spool_tells_its_counts),
        TEST(bad_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
