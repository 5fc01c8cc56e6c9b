/* What a writer hears of commits: its own, and, where there may be several writers, theirs. */
#include "store_world.h"

#include "lib/uid.h"

enum { HEARD_MAX = 4000, MANY = 1500, MUCH = 40, MUCH_PAIRS = 100, UID = 60 };

static struct heard {
    int64_t commit;
    char uid[MMQ_UID_MAX + 1];
    int64_t last_rowid;
} heard[HEARD_MAX];
static size_t heard_count, missed, undone;
static mmq_store *writer;

static void hear(void *context, int64_t commit, const char *uid, int64_t last_rowid)
{
    (void)context;
    assert_true(heard_count < HEARD_MAX);
    struct heard *at = &heard[heard_count++];
    *at = (struct heard){.commit = commit, .last_rowid = last_rowid};
    (void)snprintf(at->uid, sizeof at->uid, "%s", uid);
}

static void count(void *context)
{
    ++*(size_t *)context;
}

static void miss(void *context)
{
    (void)context;
    count(&missed);
}

static void undo(void *context)
{
    (void)context;
    count(&undone);
}

static int begin(void **state)
{
    (void)state;
    const mmq_store_listener listener = {.changed = hear, .undone = undo, .missed = miss};
    world_begin();
    writer = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(mmq_store_commit(writer, &why));
    mmq_store_listen(writer, &listener);
    heard_count = missed = undone = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_store_close(&writer);
    world_end();
    return 0;
}

static void create(mmq_store *store, const char *uid)
{
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, uid, uid));
    assert_ok(mmq_store_commit(store, &why));
}

static void append(mmq_store *store, const char *uid, double value)
{
    static world_rows rows;
    mmq_appended appended;
    world_set(&rows, 0, 1000, value, NAN);
    assert_ok(world_append(store, uid, 0, &rows, 0, 1, &appended));
}

/* Waits until the commit was heard, 10 s at most. */
static void heed(int64_t commit)
{
    for (int i = 0; i < 1000 && mmq_store_last(writer).commit < commit && missed == 0; i++) {
        if (!mmq_store_heed(writer)) {
            break;
        }
        (void)usleep(10000);
    }
}

static void test_own_commits(void **state)
{
    (void)state;
    create(writer, "a");
    append(writer, "a", 1);
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(mmq_store_delete(writer, "a", &why));
    assert_ok(mmq_store_commit(writer, &why));
    heed(3);
    assert_int_equal(mmq_store_last(writer).commit, 3);
    const struct heard wanted[] = {{1, "a", 0}, {2, "a", 1}, {3, "a", -1}};
    assert_int_equal(heard_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(heard[i].commit, wanted[i].commit);
        assert_string_equal(heard[i].uid, wanted[i].uid);
        assert_int_equal(heard[i].last_rowid, wanted[i].last_rowid);
    }
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(world_create(writer, "b", "b"));
    mmq_store_rollback(writer);
    assert_int_equal(undone, 1);
    assert_int_equal(missed, 0);
}

#define ONE_WRITER                                                                                 \
    if (store_server() == NULL) {                                                                  \
        skip(); /* SQLite has one writer */                                                        \
    }

static void test_commits_of_others(void **state)
{
    (void)state;
    ONE_WRITER
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    create(other, "a");
    append(writer, "a", 1);
    append(other, "a", 2);
    heed(3);
    assert_int_equal(heard_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(heard[i].commit, i + 1);
        assert_int_equal(heard[i].last_rowid, i);
    }
    mmq_store_close(&other);
    assert_int_equal(missed, 0);
}

/* A commit that takes several texts is known when the last of them is; none is heard in part. */
static void test_many_changes(void **state)
{
    (void)state;
    ONE_WRITER
    char uid[64];
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(other, &why));
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(uid, sizeof uid, "a-metric-with-a-name-%04d", i);
        assert_ok(world_create(other, uid, uid));
    }
    assert_ok(mmq_store_commit(other, &why));
    heed(1);
    assert_int_equal(heard_count, MANY);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(uid, sizeof uid, "a-metric-with-a-name-%04d", i);
        assert_string_equal(heard[i].uid, uid);
        assert_int_equal(heard[i].commit, 1);
    }
    mmq_store_close(&other);
}

/* What others have told while we did something else is much, and all of it is heard. */
static void test_much_at_once(void **state)
{
    (void)state;
    ONE_WRITER
    char script[256];
    (void)snprintf(script, sizeof script,
                   "SELECT count(pg_notify('metricmq', i || '.' || repeat(' %0*d 1', %d)))"
                   " FROM generate_series(1, %d) i",
                   UID, 7, MUCH_PAIRS, MUCH);
    assert_int_equal(store_server_run(script), MUCH);
    heed(MUCH);
    assert_int_equal(missed, 0);
    assert_int_equal(mmq_store_last(writer).commit, MUCH);
    assert_int_equal(heard_count, MUCH * MUCH_PAIRS);
}

/* Anybody who may connect can tell us anything. */
static void test_what_makes_no_sense(void **state)
{
    (void)state;
    ONE_WRITER
    static const char *const texts[] = {
        "",        "x",       "1",      "1.a", "1. a",     "1. a ",         "1. a 1x",
        "1. a -2", "-1. a 1", "0. a 1", "1!",  "1. a 1 b", "1. \xc3\xa9 1", "1,",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char script[128];
        (void)snprintf(script, sizeof script, "SELECT pg_notify('metricmq', '%s')", texts[i]);
        (void)store_server_run(script);
        missed = 0;
        heed(INT64_MAX);
        if (missed != 1) {
            fail_msg("\"%s\" was taken for news", texts[i]);
        }
    }
}

/* Nor do they hide what is told by writers. */
static void test_a_commit_that_is_none(void **state)
{
    (void)state;
    ONE_WRITER
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    static const char *const texts[] = {"1+ b 1", "7+ b 1", "9223372036854775807. b 1"};
    for (int i = 0; i < 3; i++) {
        char script[128], uid[2] = {(char)('u' + i)};
        (void)snprintf(script, sizeof script, "SELECT pg_notify('metricmq', '%s')", texts[i]);
        (void)store_server_run(script);
        missed = 0;
        heed(i);
        create(other, uid);
        missed = 0;
        heed(i + 1);
        assert_int_equal(mmq_store_last(writer).commit, i + 1);
    }
    missed = heard_count = 0;
    append(other, "u", 1);
    heed(4);
    assert_int_equal(missed, 0);
    assert_int_equal(heard_count, 1);
    mmq_store_close(&other);
}

static void test_a_new_connection(void **state)
{
    (void)state;
    ONE_WRITER
    mmq_store *other = world_open(MMQ_STORE_WRITE);
    create(other, "a");
    heed(1);
    (void)store_server_run("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                           " WHERE application_name = 'metricmq'");
    append(other, "a", 1); /* makes a connection, too */
    heed(2);
    assert_int_equal(mmq_store_last(writer).commit, 2);
    assert_true(missed == 1 || heard_count == 2);
    mmq_store_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_own_commits, begin, end),
        cmocka_unit_test_setup_teardown(test_commits_of_others, begin, end),
        cmocka_unit_test_setup_teardown(test_many_changes, begin, end),
        cmocka_unit_test_setup_teardown(test_much_at_once, begin, end),
        cmocka_unit_test_setup_teardown(test_what_makes_no_sense, begin, end),
        cmocka_unit_test_setup_teardown(test_a_commit_that_is_none, begin, end),
        cmocka_unit_test_setup_teardown(test_a_new_connection, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
