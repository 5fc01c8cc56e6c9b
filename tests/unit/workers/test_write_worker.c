/* The write worker behind a stand-in for the broker: a ROUTER that sends requests and reads FINALs.
 * Covers the four ops, their refusals, group commit, the standby, and those who watch. */
#include "store_world.h"
#include "stand_in.h"

#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "metricmq/unpack.h"
#include "workers/watchers.h"
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
    SQLITE_ONLY("a store in PostgreSQL may have several writers");
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

/* Several workers write to one store, each at its own broker. */
static void test_other_writer(void **state)
{
    (void)state;
    if (store_server() == NULL) {
        skip(); /* test_standby */
    }
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    mmq_appended appended;
    world_rows *rows = calloc(1, sizeof *rows);
    assert_non_null(rows);
    world_set(rows, 0, 5, 7, NAN);
    start_worker(false);
    assert_non_null(role);
    await_ready();
    send_create("u", "n");
    expect(200, "");
    for (int i = 0; i < 20; i++) {
        send_rows("append", "u", 0, TWO_ROWS);
        assert_ok(world_append(other, "u", 0, rows, 0, 1, &appended));
        expect(200, "");
    }
    assert_int_equal(rows_of("u"), 60);
    free(rows);
    mmq_store_close(&other);
}

static void test_bad_store(void **state)
{
    (void)state;
    if (store_server() != NULL) {
        mmq_store *store = world_open(MMQ_STORE_WRITE);
        mmq_store_close(&store);
        (void)world_sql("UPDATE store SET version = 99");
        start_worker(true);
        assert_null(role);
        assert_non_null(strstr(why.text, "schema version 99"));
        return;
    }
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
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* From here on every commit fails for want of room, in the moment in which it is made. */
static void fill_disk(void)
{
    if (store_server() == NULL) {
        limit_files(0);
        return;
    }
    (void)world_sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    " RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$;"
                    "CREATE CONSTRAINT TRIGGER refused AFTER UPDATE ON store"
                    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()");
}

static void empty_disk(void)
{
    if (store_server() == NULL) {
        limit_files(RLIM_INFINITY);
    } else {
        (void)world_sql("DROP FUNCTION refuse CASCADE");
    }
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
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(other, &why)); /* so that requests gather */
    assert_ok(mmq_store_delete(other, "u", &why));
    send_rows("append", "u", 0, TWO_ROWS);
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", "u");
    send_request("delete", &args);
    send_rows("append", "u", 0, TWO_ROWS);
    fill_disk();
    mmq_store_rollback(other);
    for (int i = 0; i < 3; i++) {
        expect(503, "");
    }
    empty_disk();
    mmq_store_close(&other);
    send_rows("append", "u", 0, TWO_ROWS);
    expect(200, "");
    assert_int_equal(rows_of("u"), 4);
}

/* ---- metric.watch ------------------------------------------------------------------------ */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ops),
        TEST(test_group),
        TEST(test_standby),
        TEST(test_other_writer),
        TEST(test_bad_store),
        TEST(test_refused_by_what_is_undone),
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
