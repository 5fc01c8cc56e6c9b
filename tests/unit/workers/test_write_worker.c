/* The write worker's four ops, their refusals, group commit and the standby. */
#include "write_world.h"

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ops),          TEST(test_group),     TEST(test_standby),
        TEST(test_other_writer), TEST(test_bad_store), TEST(test_refused_by_what_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
