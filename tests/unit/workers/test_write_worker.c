/* The write worker behind a stand-in for the broker: a ROUTER that sends requests and reads FINALs.
 * Covers the four ops, their refusals, group commit and the standby. */
#include "store_world.h"
#include "stand_in.h"

#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "lib/buffer.h"
#include "metricmq/unpack.h"
#include "workers/workers.h"
#include "lib/envelope.h"

static mmq_role *role;

/* What a FINAL said. */
typedef struct answer {
    int64_t status;
    char error[256];
    mmq_frame payload;
} answer;

static void start_worker(bool wait)
{
    mmq_worker_settings settings = {.endpoint = endpoint, .store = world_url, .drain_ms = 5000};
    role = mmq_write_worker_new(&settings, wait, &why);
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    stand_in_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_role_destroy(&role);
    stand_in_end();
    world_end();
    return 0;
}

static void receive_answer(answer *out)
{
    mmq_message message;
    mmq_header header;
    mmq_message_init(&message);
    const mmq_envelope envelope = receive(&message);
    assert_int_equal(envelope.command, MMQ_WORKER_FINAL);
    mmq_frame *frame = &message.frames[envelope.body];
    assert_ok(mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &header));
    out->status = header.status;
    (void)snprintf(out->error, sizeof out->error, "%.*s", (int)header.error.size,
                   header.error.size > 0 ? header.error.data : "");
    mmq_frame_init(&out->payload);
    if (envelope.body + 1 < message.count) {
        mmq_frame_move(&out->payload, &message.frames[envelope.body + 1]);
    }
    mmq_message_clear(&message);
}

static void expect(int64_t status, const char *says)
{
    answer got;
    receive_answer(&got);
    if (got.status != status || strstr(got.error, says) == NULL) {
        fail_msg("%d, wanted %d: %s (wanted \"%s\")", (int)got.status, (int)status, got.error,
                 says);
    }
    mmq_frame_close(&got.payload);
}

static void send_create(const char *uid, const char *name)
{
    mmq_args args, record;
    mmq_buffer map;
    mmq_args_init(&args);
    mmq_args_init(&record);
    mmq_args_cstr(&record, "uid", uid);
    mmq_args_cstr(&record, "datasource", "custom");
    mmq_args_cstr(&record, "name", name);
    mmq_buffer_init(&map, MMQ_BODY_MAX);
    mmq_pack_map(&map, record.count);
    mmq_buffer_add(&map, record.pairs.data, record.pairs.size);
    mmq_args_packed(&args, "metric", map.data, map.size);
    send_request("create", &args);
    mmq_args_clear(&record);
    mmq_buffer_clear(&map);
}

static void send_rows(const char *op, const char *uid, int64_t first_rowid, const char *bytes,
                      size_t size)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", uid);
    mmq_args_text(&args, "rows", bytes, size);
    if (first_rowid != 0) {
        mmq_args_int(&args, "first_rowid", first_rowid);
    }
    send_request(op, &args);
}

#define TWO_ROWS "\x94\x05\x07\xc0\xc0\x94\x06\x08\x01\xc0", 10

static int64_t rows_of(const char *uid)
{
    mmq_snapshot snapshot;
    mmq_metric_head head;
    mmq_store *store = world_open(MMQ_STORE_READ);
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    mmq_err err = mmq_store_find(store, uid, &head, &why);
    mmq_store_end_read(store);
    mmq_store_close(&store);
    return err == MMQ_OK ? head.last_rowid : -1;
}

static void test_ops(void **state)
{
    (void)state;
    start_worker(false);
    assert_non_null(role);
    await_ready();
    send_create("u", "n");
    answer got;
    receive_answer(&got);
    assert_int_equal(got.status, 200);
    mmq_reader reader;
    mmq_value map;
    mmq_reader_init(&reader, mmq_frame_data(&got.payload), mmq_frame_size(&got.payload));
    assert_ok(mmq_unpack(&reader, &map));
    assert_int_equal(map.count, 14);
    mmq_frame_close(&got.payload);
    send_create("other", "n");
    expect(409, "under another uid");
    send_rows("append", "u", 0, TWO_ROWS);
    receive_answer(&got);
    assert_int_equal(got.status, 200);
    static const char appended[] = "\x83\xab"
                                   "first_rowid\x01\xaalast_rowid\x02\xa5"
                                   "added\x02";
    assert_int_equal(mmq_frame_size(&got.payload), sizeof appended - 1);
    assert_memory_equal(mmq_frame_data(&got.payload), appended, sizeof appended - 1);
    mmq_frame_close(&got.payload);
    send_rows("append", "u", 1, TWO_ROWS);
    expect(200, "");
    assert_int_equal(rows_of("u"), 2);
    send_rows("append", "u", 4, TWO_ROWS);
    expect(409, "gap");
    send_rows("append", "u", -1, TWO_ROWS);
    expect(400, "first_rowid");
    send_rows("append", "none", 0, TWO_ROWS);
    expect(404, "none");
    send_rows("append", "data", 0, TWO_ROWS);
    expect(400, "reserved");
    send_rows("score", "a/b", 0, "\x93\x01\x01\x01", 4);
    expect(400, "uid");
    send_rows("append", "u", 0, "\x94\x05\x07\xc0\xc0\x05", 6);
    expect(400, "row 2");
    send_rows("score", "u", 0, "\x93\x01\x01\x01", 4);
    expect(200, "");
    send_rows("score", "u", 0, "\x93\x03\x01\x01", 4);
    expect(404, "3");
    send_rows("nonsense", "u", 0, TWO_ROWS);
    expect(400, "op");
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", "u");
    send_request("delete", &args);
    expect(200, "");
    assert_int_equal(rows_of("u"), -1);
}

/* Many at once: the refused ones do not take the others with them. */
static void test_group(void **state)
{
    (void)state;
    start_worker(false);
    assert_non_null(role);
    await_ready();
    send_create("u", "n");
    expect(200, "");
    for (int i = 0; i < 100; i++) {
        send_rows("append", i % 5 == 0 ? "none" : "u", 0, TWO_ROWS);
    }
    int done = 0;
    for (int i = 0; i < 100; i++) {
        answer got;
        receive_answer(&got);
        done += got.status == 200 ? 1 : 0;
        mmq_frame_close(&got.payload);
    }
    assert_int_equal(done, 80);
    assert_int_equal(rows_of("u"), 160);
}

static void test_standby(void **state)
{
    (void)state;
    mmq_store_lock *lock;
    assert_ok(mmq_store_lock_try(world_url, &lock, &why));
    start_worker(false);
    assert_null(role);
    assert_non_null(strstr(why.text, "owns the store"));
    start_worker(true);
    assert_non_null(role);
    assert_int_not_equal(access(world_path, F_OK), 0);
    mmq_role_destroy(&role); /* while it waits */
    start_worker(true);
    assert_non_null(role);
    mmq_store_unlock(&lock);
    await_ready();
    assert_true(mmq_role_healthy(role, &why));
    send_create("u", "n");
    expect(200, "");
}

static void test_bad_store(void **state)
{
    (void)state;
    FILE *file = fopen(world_path, "wb");
    assert_non_null(file);
    (void)fclose(file);
    start_worker(true);
    assert_null(role);
    assert_non_null(strstr(why.text, "empty file"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* In one transaction a metric is deleted and appended to, which is refused; then the commit fails.
 * The metric is still there, so the refusal is none. */
static void test_refused_by_what_is_undone(void **state)
{
    (void)state;
    start_worker(false);
    await_ready();
    send_create("u", "n");
    expect(200, "");
    send_rows("append", "u", 0, TWO_ROWS);
    expect(200, "");
    (void)signal(SIGXFSZ, SIG_IGN);
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(other, &why)); /* so that requests gather */
    send_rows("append", "u", 0, TWO_ROWS);
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", "u");
    send_request("delete", &args);
    send_rows("append", "u", 0, TWO_ROWS);
    limit_files(0);
    mmq_store_rollback(other);
    for (int i = 0; i < 3; i++) {
        expect(503, "");
    }
    limit_files(RLIM_INFINITY);
    mmq_store_close(&other);
    send_rows("append", "u", 0, TWO_ROWS);
    expect(200, "");
    assert_int_equal(rows_of("u"), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ops),
        TEST(test_group),
        TEST(test_standby),
        TEST(test_bad_store),
        TEST(test_refused_by_what_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
