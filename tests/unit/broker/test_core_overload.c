/* More than the workers can do: who is served, who is refused, and when. */
#include "fake_bus.h"

enum { PACE_MS = 10 };

/* The worker answers what it was given, one request each PACE_MS, until the bus is silent or
 * `count` requests are done; returns how many were answered in time, that is with a FINAL of the
 * worker's. `bus` must hold nothing that was not looked at. */
static int work_off(fake_bus *bus, int count)
{
    int good = 0;
    while (count-- > 0) {
        mmq_side side;
        mmq_message *message = NULL;
        do {
            message = bus_next(bus, &side);
        } while (message != NULL && (side != MMQ_SIDE_WORKERS || message->count < 6));
        if (message == NULL) {
            break;
        }
        uint8_t token[MMQ_TOKEN_SIZE];
        memcpy(token, mmq_frame_data(&message->frames[3]), sizeof token);
        bus_pass(bus, PACE_MS);
        uint64_t late = dropped(bus, MMQ_DROP_LATE);
        worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
        good += dropped(bus, MMQ_DROP_LATE) == late;
    }
    return good;
}

static void test_what_would_come_too_late_is_refused_at_once(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 1);
    for (int id = 0; id < 60; id++) {
        client_asks(bus, "c", "s", id, 60000);
    }
    work_off(bus, 30); /* 30 wait, at 10 ms each */
    bus_forget(bus);
    client_asks(bus, "c", "s", 100, 250);
    expect_error(bus, "c", 100, 503);
    client_asks(bus, "c", "s", 101, 1000);
    expect_nothing(bus);
    bus_destroy(bus);
}

/* One that has little waiting gets its turn soon, whatever others have. */
static void test_a_long_queue_of_anothers_is_no_reason(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 1);
    for (int id = 0; id < 60; id++) {
        client_asks(bus, "greedy", "s", id, 60000);
    }
    work_off(bus, 30);
    bus_forget(bus);
    client_asks(bus, "modest", "s", 100, 250);
    expect_nothing(bus);
    bus_destroy(bus);
}

/* Five times what the worker can do, each with a timeout shorter than a full queue would take. */
static void test_overload_leaves_the_goodput(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 1);
    int good = 0;
    for (int step = 0; step < 400; step++) {
        for (int i = 0; i < 5; i++) {
            client_asks(bus, "c", "s", step * 5 + i, 300);
        }
        good += work_off(bus, 1);
        if (bus->count > SENT_MAX - 100) {
            fail_msg("the test's own room is used up");
        }
    }
    assert_true(good >= 380);
    bus_destroy(bus);
}

static void test_no_client_holds_more_than_a_quarter_while_others_ask(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 8);
    client_asks(bus, "modest", "s", 100, 0);
    assert_int_equal(expect_request(bus, "w", token), 100);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "modest", MMQ_CLIENT_FINAL);
    for (int id = 0; id < 10; id++) {
        client_asks(bus, "greedy", "s", id, 0);
    }
    for (int id = 0; id < 2; id++) {
        assert_int_equal(expect_request(bus, "w", token), id);
    }
    expect_nothing(bus);
    client_asks(bus, "modest", "s", 101, 0); /* finds room */
    uint8_t other[MMQ_TOKEN_SIZE];
    assert_int_equal(expect_request(bus, "w", other), 101);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "greedy", MMQ_CLIENT_FINAL);
    assert_int_equal(expect_request(bus, "w", token), 2);
    expect_nothing(bus);
    bus_destroy(bus);
}

static void test_a_client_alone_has_all(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 6);
    for (int id = 0; id < 10; id++) {
        client_asks(bus, "c", "s", id, 0);
    }
    for (int id = 0; id < 6; id++) {
        assert_int_equal(expect_request(bus, "w", token), id);
    }
    expect_nothing(bus);
    bus_destroy(bus);
}

/* What a client holds of one service is no reason to keep it from another. */
static void test_services_are_held_one_by_one(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "long", "dumps", 8);
    worker_ready(bus, "w", "s", 8);
    for (int id = 0; id < 8; id++) {
        client_asks(bus, "adapter", "dumps", id, 0);
        expect_request(bus, "long", token);
    }
    client_asks(bus, "other", "s", 20, 0);
    expect_request(bus, "w", token);
    client_asks(bus, "adapter", "s", 21, 0);
    assert_int_equal(expect_request(bus, "w", token), 21);
    bus_destroy(bus);
}

/* A worker that stood still for a while and works again: its queue is as good as before. */
static void test_a_stall_is_forgotten(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 1);
    for (int id = 0; id < 6; id++) {
        client_asks(bus, "c", "s", id, 60000);
    }
    for (int id = 0; id < 6; id++) { /* 2.5 s each; its heartbeats go on */
        bus_pass(bus, 1250);
        worker_says(bus, "w", MMQ_WORKER_HEARTBEAT);
        bus_pass(bus, 1240);
        work_off(bus, 1);
    }
    bus_forget(bus);
    int good = 0;
    for (int step = 0; step < 200; step++) { /* as much as it can do, a few at a time */
        for (int i = 0; step % 4 == 0 && i < 4; i++) {
            client_asks(bus, "c", "s", 100 + step * 4 + i, 1000);
        }
        good += work_off(bus, 1);
    }
    assert_true(good >= 180);
    bus_destroy(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_would_come_too_late_is_refused_at_once),
        cmocka_unit_test(test_a_long_queue_of_anothers_is_no_reason),
        cmocka_unit_test(test_overload_leaves_the_goodput),
        cmocka_unit_test(test_no_client_holds_more_than_a_quarter_while_others_ask),
        cmocka_unit_test(test_a_client_alone_has_all),
        cmocka_unit_test(test_services_are_held_one_by_one),
        cmocka_unit_test(test_a_stall_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
