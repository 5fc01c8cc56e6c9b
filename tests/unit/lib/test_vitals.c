/* What a worker shows of itself: ready or not, alive or not, stuck or not. */
#include "tests/unit/lib/worker_world.h"

#include "lib/vitals.h"

#define AFTER_NS(ms_) (mmq_now_ns() + (ms_)*MMQ_NS_PER_MS)

typedef struct fixture {
    fake_broker broker;
    mmq_worker *worker;
    shared shared;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fake_start(&f->broker);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    mmq_worker_destroy(&f->worker);
    fake_stop(&f->broker);
    free(f);
    return 0;
}

static mmq_vitals look(const fixture *f, int64_t now_ns)
{
    mmq_vitals vitals;
    mmq_worker_vitals(f->worker, now_ns, &vitals);
    return vitals;
}

static void await_readiness(const fixture *f, mmq_readiness wanted)
{
    const int64_t end_ns = AFTER_NS(WAIT_MS);
    while (look(f, mmq_now_ns()).readiness != wanted) {
        assert_true(mmq_now_ns() < end_ns);
        (void)poll(NULL, 0, 1);
    }
}

static void test_readiness(void **state)
{
    fixture *f = *state;
    mmq_why why = {""};
    mmq_worker_options options = echo_options(f->broker.endpoint, &f->shared);
    atomic_store(&f->shared.block, true);
    f->worker = mmq_worker_new_standby(&options, &why);
    assert_non_null(f->worker);
    assert_int_equal(look(f, mmq_now_ns()).readiness, MMQ_UNREADY);
    atomic_store(&f->shared.block, false);
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_READY);
    await_readiness(f, MMQ_READY);
    assert_non_null(strstr(look(f, 0).state, "echo: serving 1 of 1 brokers"));
    say(&f->broker, MMQ_WORKER_DISCONNECT);
    await_readiness(f, MMQ_ALONE);
    assert_non_null(strstr(look(f, 0).state, "echo: waiting for a broker"));
}

/* Also one that has nothing to do. */
static void test_passes_go_on(void **state)
{
    fixture *f = *state;
    mmq_why why = {""};
    mmq_worker_options options = echo_options(f->broker.endpoint, &f->shared);
    atomic_store(&f->shared.block, true);
    f->worker = mmq_worker_new_standby(&options, &why);
    assert_non_null(f->worker);
    const int64_t end_ns = AFTER_NS(WAIT_MS);
    for (int seen = 0; seen < 2; seen++) {
        const uint64_t passes = look(f, mmq_now_ns()).passes;
        while (look(f, mmq_now_ns()).passes == passes) {
            assert_true(mmq_now_ns() < end_ns);
            (void)poll(NULL, 0, 1);
        }
    }
    atomic_store(&f->shared.block, false);
}

static void test_stuck(void **state)
{
    fixture *f = *state;
    mmq_why why = {""};
    mmq_worker_options options = echo_options(f->broker.endpoint, &f->shared);
    f->worker = mmq_worker_new(&options, &why);
    assert_non_null(f->worker);
    assert_int_equal(await_command(&f->broker), MMQ_WORKER_READY);
    say(&f->broker, MMQ_WORKER_HEARTBEAT);
    assert_false(look(f, AFTER_NS(10 * 3600 * 1000)).stuck); /* it has nothing to do */
    atomic_store(&f->shared.hold, true);
    request(&f->broker, "a", 20000, NULL);
    await_begun(&f->shared, 1);
    assert_non_null(strstr(look(f, mmq_now_ns()).counts, "1 of 1 threads busy"));
    assert_false(look(f, AFTER_NS(20000 + MMQ_VITALS_LATE_MS - WAIT_MS)).stuck);
    assert_true(look(f, AFTER_NS(20000 + MMQ_VITALS_LATE_MS + 1)).stuck);
    atomic_store(&f->shared.hold, false);
    char token[MMQ_TOKEN_MAX + 1];
    assert_int_equal(await_final(&f->broker, token), 200);
    const int64_t end_ns = AFTER_NS(WAIT_MS);
    while (strstr(look(f, mmq_now_ns()).counts, "1 requests answered, 0 of 1 threads busy") ==
           NULL) {
        assert_true(mmq_now_ns() < end_ns);
        (void)poll(NULL, 0, 1);
    }
    assert_false(look(f, AFTER_NS(10 * 3600 * 1000)).stuck);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_readiness, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passes_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stuck, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
