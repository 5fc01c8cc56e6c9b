/* Several writers of one store, which only PostgreSQL has: locks, the order of commits, and commits
 * that break. */
#include "store_world.h"

#include <pthread.h>
#include <stdatomic.h>

static mmq_store *a, *b, *reader;
static world_rows rows;

static int begin(void **state)
{
    (void)state;
    world_begin();
    if (store_server() == NULL) {
        return 0;
    }
    a = world_open(MMQ_STORE_WRITE);
    b = world_open(MMQ_STORE_WRITE);
    reader = world_open(MMQ_STORE_READ);
    for (size_t i = 0; i < WORLD_ROWS; i++) {
        world_set(&rows, i, 1000 + (int64_t)i, (double)i, NAN);
    }
    assert_ok(mmq_store_begin_write(a, &why));
    assert_ok(world_create(a, "one", "one"));
    assert_ok(world_create(a, "two", "two"));
    assert_ok(mmq_store_commit(a, &why));
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_store_close(&a);
    mmq_store_close(&b);
    mmq_store_close(&reader);
    world_end();
    return 0;
}

#define SEVERAL_WRITERS                                                                            \
    if (store_server() == NULL) {                                                                  \
        skip(); /* SQLite has one */                                                               \
    }

static mmq_err append(mmq_store *store, const char *uid, size_t from, size_t count)
{
    mmq_appended appended;
    const mmq_write_rows view = world_view(&rows, from, count);
    return mmq_store_append(store, uid, 0, &view, &appended, &why);
}

/* What readers see: the last commit, and a metric's length, now and as of a commit. */
static int64_t length(const char *uid, int64_t at, int64_t *commit)
{
    mmq_snapshot snapshot;
    mmq_metric_head head;
    int64_t rowid;
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    assert_ok(mmq_store_find(reader, uid, &head, &why));
    assert_ok(mmq_store_length_at(reader, &head, at < 0 ? snapshot.commit : at, &rowid, &why));
    mmq_store_end_read(reader);
    *commit = snapshot.commit;
    return rowid;
}

/* One that has a lock waits for no other: its request is to be tried again, and the rest stays. */
static void test_a_metric_that_another_has(void **state)
{
    (void)state;
    SEVERAL_WRITERS
    int64_t commit;
    assert_ok(mmq_store_begin_write(a, &why));
    assert_ok(append(a, "one", 0, 10));
    assert_ok(mmq_store_begin_write(b, &why));
    assert_ok(append(b, "two", 0, 20));
    assert_int_equal(append(b, "one", 0, 20), MMQ_EBUSY);
    assert_true(mmq_store_contended(b));
    assert_int_equal(mmq_store_delete(b, "one", &why), MMQ_EBUSY);
    assert_int_equal(append(b, "nobody", 0, 20), MMQ_ENOTFOUND);
    assert_false(mmq_store_contended(b));
    assert_ok(append(b, "two", 20, 1));
    assert_ok(mmq_store_commit(b, &why));
    assert_int_equal(length("two", -1, &commit), 21);
    assert_int_equal(length("one", -1, &commit), 0);
    assert_ok(mmq_store_commit(a, &why));
    assert_ok(mmq_store_begin_write(b, &why));
    assert_ok(append(b, "one", 10, 1));
    assert_ok(mmq_store_commit(b, &why));
    assert_int_equal(length("one", -1, &commit), 11);
}

/* Who begins first need not commit first: numbers are those of commits. */
static void test_numbers_are_in_the_order_of_commits(void **state)
{
    (void)state;
    SEVERAL_WRITERS
    int64_t commit;
    assert_ok(mmq_store_begin_write(a, &why));
    assert_ok(append(a, "one", 0, 1100));
    assert_ok(mmq_store_begin_write(b, &why));
    assert_ok(append(b, "two", 0, 3));
    assert_ok(mmq_store_commit(b, &why));
    assert_int_equal(length("two", -1, &commit), 3);
    assert_int_equal(commit, 2);
    assert_int_equal(length("one", -1, &commit), 0);
    assert_ok(mmq_store_commit(a, &why));
    assert_int_equal(length("one", 2, &commit), 0); /* as a stream that began then has it */
    assert_int_equal(commit, 3);
    assert_int_equal(length("one", 3, &commit), 1100);
    assert_int_equal(length("two", 1, &commit), 0);
}

/* Who makes a metric is alone until it is made. */
static void test_both_make_the_same(void **state)
{
    (void)state;
    SEVERAL_WRITERS
    assert_ok(mmq_store_begin_write(a, &why));
    assert_ok(world_create(a, "three", "three"));
    assert_ok(mmq_store_begin_write(b, &why));
    assert_int_equal(append(b, "three", 0, 1), MMQ_ENOTFOUND);
    assert_ok(mmq_store_commit(a, &why));
    assert_ok(world_create(b, "three", "three"));
    assert_int_equal(world_create(b, "four", "three"), MMQ_ECONFLICT);
    assert_ok(append(b, "three", 0, 1));
    assert_ok(mmq_store_commit(b, &why));
}

/* A server that breaks off at COMMIT has not committed, and says so when it is asked again. */
static void test_a_commit_that_breaks(void **state)
{
    (void)state;
    SEVERAL_WRITERS
    int64_t commit;
    (void)world_sql("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
                    " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
                    "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON growth DEFERRABLE"
                    " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()");
    assert_ok(mmq_store_begin_write(a, &why));
    assert_ok(append(a, "one", 0, 10));
    assert_int_equal(mmq_store_commit(a, &why), MMQ_EUNAVAILABLE);
    assert_null(strstr(why.text, "cannot be told"));
    (void)world_sql("DROP TRIGGER die ON growth");
    assert_int_equal(length("one", -1, &commit), 0);
    assert_int_equal(commit, 1);
    assert_ok(mmq_store_begin_write(a, &why));
    assert_ok(append(a, "one", 0, 10));
    assert_ok(mmq_store_commit(a, &why));
    assert_int_equal(length("one", -1, &commit), 10);
}

/* Ends the connection of who waits for a standby: it has committed, and cannot say so. */
static void *end_who_waits(void *context)
{
    while (store_server_run("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") ==
           0) {
        (void)usleep(1000);
    }
    (void)store_server_run("ALTER SYSTEM RESET synchronous_standby_names");
    (void)store_server_run("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                           " WHERE wait_event = 'SyncRep'");
    (void)store_server_run("SELECT count(pg_reload_conf())");
    atomic_store((atomic_bool *)context, true);
    return NULL;
}

static void test_a_commit_that_nobody_tells_of(void **state)
{
    (void)state;
    SEVERAL_WRITERS
    int64_t commit, commits = 0;
    pthread_t thread;
    atomic_bool ended = false;
    (void)store_server_run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    (void)store_server_run("SELECT count(pg_reload_conf())");
    assert_int_equal(pthread_create(&thread, NULL, end_who_waits, &ended), 0);
    while (!atomic_load(
        &ended)) { /* the first may be faster than the new settings, and wait for nobody */
        assert_ok(mmq_store_begin_write(a, &why));
        assert_ok(append(a, "one", 0, 10));
        assert_ok(mmq_store_commit(a, &why));
        commits++;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(length("one", -1, &commit), 10 * commits);
    assert_int_equal(commit, 1 + commits);
}

/* Keys that were drawn on another server are not used: who was promoted may give them once more. */
static void test_keys_of_another_connection(void **state)
{
    (void)state;
    SEVERAL_WRITERS
    assert_ok(mmq_store_begin_write(a, &why));
    assert_ok(append(a, "one", 0, 10));
    assert_ok(mmq_store_commit(a, &why));
    (void)world_sql("SELECT setval('block_data_key', 5000)");
    (void)store_server_run("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                           " WHERE application_name = 'metricmq'");
    assert_ok(mmq_store_begin_write(a, &why));
    assert_ok(append(a, "two", 0, 10));
    assert_ok(mmq_store_commit(a, &why));
    assert_true(world_sql("SELECT min(key) FROM block_data") < 5000);
    assert_true(world_sql("SELECT max(key) FROM block_data") > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_metric_that_another_has, begin, end),
        cmocka_unit_test_setup_teardown(test_numbers_are_in_the_order_of_commits, begin, end),
        cmocka_unit_test_setup_teardown(test_both_make_the_same, begin, end),
        cmocka_unit_test_setup_teardown(test_a_commit_that_breaks, begin, end),
        cmocka_unit_test_setup_teardown(test_a_commit_that_nobody_tells_of, begin, end),
        cmocka_unit_test_setup_teardown(test_keys_of_another_connection, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
