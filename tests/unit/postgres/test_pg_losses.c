/* The connection to PostgreSQL when it is lost: between statements, in them, with the server. */
#include "pg_link_world.h"

static void hung_up_between(void **state)
{
    (void)state;
    mmq_pg_link *one = open_link(), *two = open_link();
    for (uint64_t serial = 1; serial < 4; serial++) {
        assert_int_equal(mmq_pg_connection(one), serial);
        int64_t pid = ask_int(one, MY_PID);
        assert_ok(run_int(two, END, pid));
        int64_t end_ns = mmq_now_ns() + 20 * MMQ_NS_PER_S;
        do { /* until its last words are there */
            assert_ok(mmq_pg_connect(one, &why));
        } while (mmq_pg_connection(one) == serial && mmq_now_ns() < end_ns);
        assert_int_equal(ask_int(one, COUNT), 10);
    }
    mmq_pg_close(&one);
    mmq_pg_close(&two);
}

static void hung_up_within(void **state)
{
    (void)state;
    mmq_pg_link *one = open_link(), *two = open_link();
    int64_t pid = ask_int(one, MY_PID);
    mmq_pg_values values = {0};
    mmq_pg_bind_double(&values, 1, 0.9);
    assert_ok(mmq_pg_queue(one, SLEEP, &values, &why));
    assert_ok(mmq_pg_queue(one, COUNT, NULL, &why));
    assert_ok(mmq_pg_send(one, &why));
    assert_ok(run_int(two, END, pid));
    assert_int_equal(mmq_pg_finish(one, &why), MMQ_EUNAVAILABLE);
    assert_non_null(strstr(why.text, "57P01"));
    assert_false(mmq_pg_connected(one));
    assert_int_equal(mmq_pg_queued(one), 0);
    assert_ok(mmq_pg_connect(one, &why));
    assert_int_equal(ask_int(one, COUNT), 10);
    mmq_pg_close(&one);
    mmq_pg_close(&two);
}

/* With all that it has started: while one of them lives, the server does not start again. */
static void kill_server(void)
{
    pid_t pid = pg_world_pid(), child;
    assert_true(pid > 1);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    char *path;
    assert_true(asprintf(&path, "/proc/%d/task/%d/children", (int)pid, (int)pid) > 0);
    FILE *children = fopen(path, "r");
    assert_non_null(children);
    while (fscanf(children, "%d", &child) == 1) {
        (void)kill(child, SIGKILL); /* it may just have ended */
    }
    (void)fclose(children);
    free(path);
    assert_int_equal(kill(pid, SIGKILL), 0);
}

static void server_killed_in_the_middle(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        mmq_pg_link *link = open_link();
        int64_t before = ask_int(link, COUNT);
        mmq_pg_values values = {0}, sleep = {0};
        mmq_pg_bind_int(&values, 1, 3000);
        mmq_pg_bind_bytes(&values, 2, "x", 1);
        mmq_pg_bind_double(&sleep, 1, 0.9);
        assert_ok(mmq_pg_queue(link, BEGIN, NULL, &why));
        assert_ok(mmq_pg_queue(link, ADD, &values, &why));
        if (round == 0) {
            assert_ok(mmq_pg_finish(link, &why));
        } else {
            assert_ok(mmq_pg_queue(link, SLEEP, &sleep, &why));
            assert_ok(mmq_pg_send(link, &why));
        }
        kill_server();
        assert_int_equal(round == 0 ? mmq_pg_run(link, COMMIT, NULL, &why)
                                    : mmq_pg_finish(link, &why),
                         MMQ_EUNAVAILABLE);
        assert_false(mmq_pg_connected(link));
        /* comes back by itself; until then every try fails at once, or within its bound */
        int64_t end_ns = mmq_now_ns() + 120 * MMQ_NS_PER_S;
        mmq_err err;
        while ((err = mmq_pg_connect(link, &why)) == MMQ_EUNAVAILABLE && mmq_now_ns() < end_ns) {
            int64_t wait_ns = mmq_pg_retry_ns(link) - mmq_now_ns();
            if (wait_ns > 0) {
                (void)nanosleep(&(struct timespec){.tv_nsec = wait_ns % MMQ_NS_PER_S}, NULL);
            }
        }
        assert_ok(err);
        assert_int_equal(ask_int(link, COUNT), before);
        mmq_pg_close(&link);
    }
}

static void backs_off(void **state)
{
    (void)state;
    mmq_pg_options options = options_of("postgresql:///db?host=/nowhere");
    mmq_pg_link *link;
    assert_ok(mmq_pg_open(&options, &link, &why));
    assert_int_equal(mmq_pg_retry_ns(link), 0);
    assert_int_equal(mmq_pg_connect(link, &why), MMQ_EUNAVAILABLE);
    int64_t wait_ns = mmq_pg_retry_ns(link) - mmq_now_ns();
    assert_in_range(wait_ns, 0, 50 * MMQ_NS_PER_MS);
    assert_int_equal(mmq_pg_connect(link, &why), MMQ_EUNAVAILABLE);
    for (int i = 0; i < 10; i++) {
        mmq_clock_shift(10 * MMQ_NS_PER_S * (i + 1));
        assert_int_equal(mmq_pg_connect(link, &why), MMQ_EUNAVAILABLE);
    }
    wait_ns = mmq_pg_retry_ns(link) - mmq_now_ns();
    assert_in_range(wait_ns, 900 * MMQ_NS_PER_MS, 2000 * MMQ_NS_PER_MS);
    assert_int_equal(mmq_pg_connect(link, &why), MMQ_EUNAVAILABLE);
    assert_non_null(strstr(why.text, "next try"));
    mmq_clock_shift(0);
    mmq_pg_close(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hung_up_between),
        cmocka_unit_test(hung_up_within),
        cmocka_unit_test(server_killed_in_the_middle),
        cmocka_unit_test(backs_off),
    };
    return cmocka_run_group_tests(tests, make_tables, drop_tables);
}
