/* All roles in one process, as `up` has them, when memory runs out somewhere for a moment: what
 * cannot be made is refused, what runs goes on, and afterwards the store holds whole batches only
 * and the spool nothing that is broken. */
#include "tests/unit/workers/spool_world.h"

#include <fcntl.h>
#include <time.h>

#include "broker/broker.h"
#include "fail_alloc.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "metricmq/client.h"
#include "workers/workers.h"

enum { ROWS = 50, TRY_MS = 300, LAST_MS = 20000 };

#define RETRY_PAUSE_NS (10 * MMQ_NS_PER_MS)

static mmq_broker *broker;
static mmq_role *query, *writer, *feedback;
static mmq_client *client;
static char upload[128];

static bool start_house(void)
{
    const mmq_broker_settings bus = {.bind = "tcp://127.0.0.1:*",
                                     .bind_workers = "tcp://127.0.0.1:*",
                                     .queue_max = 100,
                                     .queue_bytes_max = 1 << 20,
                                     .stray_bytes_max = 1 << 30,
                                     .local = true,
                                     .drain_ms = 100};
    const mmq_worker_settings worker = {.endpoint = MMQ_INPROC_WORKERS,
                                        .store = world_url,
                                        .threads = 1,
                                        .drain_ms = 100,
                                        .data = world_folder,
                                        .upload = upload,
                                        .server_id = "server"};
    return (broker != NULL || (broker = mmq_broker_new(&bus, &why)) != NULL) &&
           (writer != NULL || (writer = mmq_write_worker_new(&worker, false, &why)) != NULL) &&
           (query != NULL || (query = mmq_query_worker_new(&worker, &why)) != NULL) &&
           (feedback != NULL || (feedback = mmq_feedback_worker_new(&worker, &why)) != NULL) &&
           (client != NULL || (client = mmq_client_new(MMQ_INPROC_CLIENTS, &why)) != NULL);
}

static void stop_house(void)
{
    mmq_client_destroy(&client);
    mmq_role_destroy(&feedback);
    mmq_role_destroy(&query);
    mmq_role_destroy(&writer);
    mmq_broker_destroy(&broker);
}

/* The arguments of a call; the caller clears them. Made without failures: they are the test's. */
typedef struct question {
    const char *service;
    mmq_args args;
} question;

static question create_metric(void)
{
    question out = {.service = MMQ_SERVICE_WRITE};
    mmq_buffer record;
    mmq_buffer_init(&record, 1024);
    mmq_pack_map(&record, 2);
    mmq_pack_cstr(&record, "datasource");
    mmq_pack_cstr(&record, "custom");
    mmq_pack_cstr(&record, "name");
    mmq_pack_cstr(&record, "n");
    mmq_args_init(&out.args);
    mmq_args_cstr(&out.args, "op", "create");
    mmq_args_packed(&out.args, "metric", record.data, record.size);
    mmq_buffer_clear(&record);
    return out;
}

static const char *uid_of_n(void)
{
    static char uid[MMQ_UID_MAX + 1];
    mmq_metric metric;
    mmq_store *store = world_open(MMQ_STORE_READ);
    mmq_snapshot snapshot;
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    mmq_err err = mmq_store_metric_after(store, "", &metric, &why);
    mmq_store_end_read(store);
    mmq_store_close(&store);
    if (err == MMQ_OK) {
        (void)snprintf(uid, sizeof uid, "%s", metric.head.uid);
        mmq_metric_clear(&metric);
    }
    return uid;
}

static question append_rows(const char *uid)
{
    question out = {.service = MMQ_SERVICE_WRITE};
    mmq_buffer rows;
    mmq_buffer_init(&rows, 1 << 16);
    for (int i = 0; i < ROWS; i++) {
        mmq_pack_array(&rows, 4);
        mmq_pack_int(&rows, 1500000000 + i);
        mmq_pack_double(&rows, i);
        mmq_pack_double(&rows, 0.5);
        mmq_pack_nil(&rows);
    }
    mmq_args_init(&out.args);
    mmq_args_cstr(&out.args, "op", "append");
    mmq_args_cstr(&out.args, "uid", uid);
    mmq_args_int(&out.args, "first_rowid", 1);
    mmq_args_text(&out.args, "rows", (const char *)rows.data, rows.size);
    mmq_buffer_clear(&rows);
    return out;
}

static question read_rows(const char *uid)
{
    question out = {.service = MMQ_SERVICE_QUERY};
    mmq_args_init(&out.args);
    mmq_args_cstr(&out.args, "op", "data");
    mmq_args_cstr(&out.args, "uid", uid);
    return out;
}

static question dump_metric(const char *uid)
{
    question out = {.service = MMQ_SERVICE_FEEDBACK};
    mmq_args_init(&out.args);
    mmq_args_cstr(&out.args, "op", "dump");
    mmq_args_cstr(&out.args, "uid", uid);
    mmq_args_packed(&out.args, "extra", "\x80", 1);
    mmq_args_int(&out.args, "created", 1700000000);
    return out;
}

/* Status of the call; 0 if it could not be made. *size: of the payload. */
static int call(question *ask, unsigned timeout_ms, size_t *size)
{
    mmq_result result;
    const mmq_call made = {.service = ask->service,
                           .args = ask->args.pairs.data,
                           .args_size = ask->args.pairs.size,
                           .args_count = ask->args.count,
                           .timeout_ms = timeout_ms,
                           .retry = true};
    mmq_err err = mmq_client_call(client, &made, &result, &why);
    if (err != MMQ_OK) {
        return 0;
    }
    int status = result.status;
    *size = mmq_frame_size(&result.payload);
    mmq_result_clear(&result);
    return status;
}

/* One call in which an allocation may fail; if one did, memory is back after it. */
static void try_call(question ask)
{
    size_t size;
    fail_alloc_spare(false);
    int status = call(&ask, TRY_MS, &size);
    fail_alloc_spare(true);
    if (fail_alloc_failed() > 0) {
        (void)fail_alloc_disarm();
    }
    assert_true(status == 0 || (status >= 200 && status < 600));
    mmq_args_clear(&ask.args);
}

/* The same without failures: it must do. Roles that gave up refuse until they are made again. */
static size_t must_call(question ask)
{
    size_t size = 0;
    int status = 0;
    int64_t end_ns = mmq_now_ns() + LAST_MS * MMQ_NS_PER_MS;
    while ((status = call(&ask, LAST_MS, &size)) != 200 && mmq_now_ns() < end_ns) {
        (void)nanosleep(&(struct timespec){.tv_nsec = RETRY_PAUSE_NS}, NULL);
    }
    if (status != 200) {
        fail_msg("%s: %d: %s", ask.service, status, why.text);
    }
    mmq_args_clear(&ask.args);
    return size;
}

static void check_house(size_t whole)
{
    const char *uid;
    (void)must_call(create_metric());
    uid = uid_of_n();
    (void)must_call(append_rows(uid));
    assert_int_equal(must_call(read_rows(uid)), whole);
    (void)must_call(dump_metric(uid));
}

/* What failed half way left whole batches only. */
static void check_store(void)
{
    mmq_metric_head head;
    mmq_snapshot snapshot;
    mmq_store *store = world_open(MMQ_STORE_READ);
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    if (mmq_store_find(store, uid_of_n(), &head, &why) == MMQ_OK) {
        assert_true(head.last_rowid == 0 || head.last_rowid == ROWS);
    }
    mmq_store_end_read(store);
    mmq_store_close(&store);
}

static size_t whole_size;

static void work(void)
{
    try_call(create_metric());
    const char *uid = uid_of_n();
    try_call(append_rows(uid));
    try_call(read_rows(uid));
    try_call(dump_metric(uid));
}

static void begin(void)
{
    fail_alloc_spare(true);
    world_begin();
    (void)snprintf(upload, sizeof upload, "file:%s/uploads", world_folder);
}

static void end(void)
{
    (void)fail_alloc_disarm();
    check_house(whole_size);
    check_store();
    stop_house();
    assert_int_equal(world_entries(world_at("spool")), 1); /* quarantine, empty */
    assert_int_equal(world_entries(world_at("spool/quarantine")), 0);
    world_end();
    fail_alloc_spare(false);
}

static void start_scenario(size_t nth, bool on)
{
    begin();
    fail_alloc_arm(nth, on);
    fail_alloc_spare(false);
    bool whole = start_house();
    fail_alloc_spare(true);
    assert_true(fail_alloc_disarm() > 0 || whole);
    assert_true(start_house());
    end();
}

static void work_scenario(size_t nth, bool on)
{
    begin();
    assert_true(start_house());
    fail_alloc_arm(nth, on);
    work();
    end();
}

static int measure(void **state)
{
    (void)state;
    mmq_log_setup(MMQ_ERROR, false);
    begin();
    assert_true(start_house());
    (void)must_call(create_metric());
    (void)must_call(append_rows(uid_of_n()));
    whole_size = must_call(read_rows(uid_of_n()));
    end();
    return 0;
}

static void test_start(void **state)
{
    (void)state;
    assert_true(fail_alloc_each("start", fail_alloc_stride(), start_scenario) > 10);
}

static void test_work(void **state)
{
    (void)state;
    assert_true(fail_alloc_each("work", fail_alloc_stride(), work_scenario) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_work),
    };
    return cmocka_run_group_tests(tests, measure, NULL);
}
