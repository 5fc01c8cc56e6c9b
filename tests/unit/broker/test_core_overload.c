/* More than the workers can do: who is served, who is refused, and when. */
#include "fake_bus.h"
#include "lib/envelope.h"

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

/* 30 requests of that client wait for a worker whose pace is known. */
static fake_bus *bus_with_queue(const char *client)
{
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 1);
    for (int id = 0; id < 60; id++) {
        client_asks(bus, client, "s", id, 60000);
    }
    work_off(bus, 30);
    bus_forget(bus);
    return bus;
}

static void test_what_would_come_too_late_is_refused_at_once(void **state)
{
    (void)state;
    fake_bus *bus = bus_with_queue("c");
    client_asks(bus, "c", "s", 100, 250); /* 30 times PACE_MS is more */
    expect_error(bus, "c", 100, 503);
    client_asks(bus, "c", "s", 101, 1000);
    expect_nothing(bus);
    bus_destroy(bus);
}

/* One that has little waiting gets its turn soon, whatever others have. */
static void test_a_long_queue_of_anothers_is_no_reason(void **state)
{
    (void)state;
    fake_bus *bus = bus_with_queue("greedy");
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

/* F9: what was due while the broker, or its worker, stood still once is let in. */
static void test_one_gap_is_no_pace(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 1);
    for (int id = 0; id < 4; id++) {
        client_asks(bus, "c", "s", id, 30000);
    }
    work_off(bus, 1);
    bus_pass(bus, 1000);
    work_off(bus, 1);
    bus_forget(bus);
    for (int id = 10; id < 90; id++) {
        client_asks(bus, "c", "s", id, 30000);
    }
    expect_nothing(bus);
    bus_destroy(bus);
}

/* Bursts of one client: its caller goes in between, and a new one comes. */
static void test_a_client_that_pauses_is_still_alone(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 8);
    for (int burst = 0; burst < 4; burst++) {
        uint8_t tokens[8][MMQ_TOKEN_SIZE];
        for (int id = 0; id < 8; id++) {
            client_asks(bus, "c", "s", id, 0);
            expect_request(bus, "w", tokens[id]);
        }
        for (int id = 0; id < 8; id++) {
            worker_answers(bus, "w", MMQ_WORKER_FINAL, tokens[id]);
            expect_answer(bus, "c", MMQ_CLIENT_FINAL);
        }
        assert_int_equal(bus->core->callers.count, 0);
    }
    bus_destroy(bus);
}

/* The others have left: what was kept back for them is given out. */
static void test_all_is_there_again_when_others_have_left(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 8);
    client_asks(bus, "m", "s", 100, 0);
    expect_request(bus, "w", token);
    for (int id = 0; id < 8; id++) {
        client_asks(bus, "g", "s", id, 0);
    }
    expect_request(bus, "w", token);
    expect_request(bus, "w", token);
    expect_nothing(bus);
    bus_pass(bus, 1000);
    bus_pass(bus, 1);
    int given = 0;
    mmq_side side;
    for (mmq_message *message; (message = bus_next(bus, &side)) != NULL;) {
        given += message->count > 5; /* not a heartbeat */
    }
    assert_int_equal(given, 5);
    bus_destroy(bus);
}

/* A worker has room, kept for others: no estimate stands before it. */
static void test_room_is_no_reason_to_refuse(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 8);
    client_asks(bus, "m", "s", 100, 0);
    expect_request(bus, "w", token);
    bus_pass(bus, 2900);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token); /* it took long */
    client_asks(bus, "m", "s", 101, 0);
    for (int id = 0; id < 8; id++) {
        client_asks(bus, "g", "s", id, 0);
    }
    mmq_service_find(bus->core, "s", 1)->hold_ns = 10 * MMQ_NS_PER_S;
    bus->taken = bus->count;
    client_asks(bus, "modest", "s", 7, 1000);
    assert_int_equal(expect_request(bus, "w", token), 7);
    bus_destroy(bus);
}

/* Where the parts of a stream take all the room there is, the answer that ends it still finds some:
 * the parts go. */
static void test_dropped_stream_is_told(void **state)
{
    (void)state;
    fake_bus *bus = bus_new_sized(100, 1 << 20, 64 << 10);
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 2);
    client_asks(bus, "a", "s", 1, 0);
    assert_int_equal(expect_request(bus, "w", token), 1);
    bus_fault(bus, "a", MMQ_EAGAIN);
    worker_answers_size(bus, "w", MMQ_WORKER_PARTIAL, token, 40 << 10);
    worker_answers_size(bus, "w", MMQ_WORKER_PARTIAL, token, 40 << 10);
    bus_fault(bus, "a", MMQ_OK);
    bus_pass(bus, 10);
    expect_error(bus, "a", 1, 503);
    expect_nothing(bus);
    bus_destroy(bus);
}

/* A client that holds as much as its share lets it is given its next request when the one before it
 * is late, though its worker still has that. */
static void test_share_is_free_when_late(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 2);
    client_asks(bus, "a", "s", 1, 50);
    client_asks(bus, "b", "s", 2, 0);
    assert_int_equal(expect_request(bus, "w", token), 1);
    assert_int_equal(expect_request(bus, "w", token), 2);
    worker_ready(bus, "v", "s", 1);
    client_asks(bus, "a", "s", 3, 0);
    client_asks(bus, "b", "s", 4, 0);
    expect_nothing(bus);
    bus_pass(bus, 60);
    expect_error(bus, "a", 1, 504);
    assert_int_equal(expect_request(bus, "v", token), 3);
    expect_nothing(bus);
    bus_destroy(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropped_stream_is_told),
        cmocka_unit_test(test_share_is_free_when_late),
        cmocka_unit_test(test_what_would_come_too_late_is_refused_at_once),
        cmocka_unit_test(test_a_long_queue_of_anothers_is_no_reason),
        cmocka_unit_test(test_overload_leaves_the_goodput),
        cmocka_unit_test(test_no_client_holds_more_than_a_quarter_while_others_ask),
        cmocka_unit_test(test_a_client_alone_has_all),
        cmocka_unit_test(test_services_are_held_one_by_one),
        cmocka_unit_test(test_a_stall_is_forgotten),
        cmocka_unit_test(test_one_gap_is_no_pace),
        cmocka_unit_test(test_a_client_that_pauses_is_still_alone),
        cmocka_unit_test(test_all_is_there_again_when_others_have_left),
        cmocka_unit_test(test_room_is_no_reason_to_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
