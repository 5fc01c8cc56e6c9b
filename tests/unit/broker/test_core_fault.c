/* What goes wrong with workers, clients and time, and what the core makes of it. */
#include "fake_bus.h"
#include "lib/envelope.h"

static void test_f1_a_silent_worker_loses_its_request(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t old[MMQ_TOKEN_SIZE], token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 8);
    client_asks(bus, "c", "s", 1, 0);
    expect_request(bus, "w1", old);
    bus_pass(bus, 2500);
    worker_ready(bus, "w2", "s", 8);
    expect_command(bus, "w1", MMQ_WORKER_HEARTBEAT);
    expect_command(bus, "w1", MMQ_WORKER_HEARTBEAT);
    bus_pass(bus, 500);
    assert_int_equal(expect_request(bus, "w2", token), 1);
    worker_answers(bus, "w1", MMQ_WORKER_FINAL, old); /* F2: late */
    expect_command(bus, "w1", MMQ_WORKER_DISCONNECT);
    worker_answers(bus, "w2", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    bus_destroy(bus);
}

static void test_whatever_a_worker_says_is_a_heartbeat(void **state)
{
    (void)state;
    uint8_t token[MMQ_TOKEN_SIZE];
    fake_bus *bus = bus_with_request(token);
    for (int i = 0; i < 5; i++) {
        bus_pass(bus, 2900); /* it is borne for 3 s */
        worker_answers(bus, "w", MMQ_WORKER_PARTIAL, token);
        assert_int_equal(bus->core->hands.count, 1);
    }
    bus_pass(bus, 2900);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    bus_pass(bus, 2900);
    assert_int_equal(bus->core->hands.count, 1);
    bus_pass(bus, 200);
    assert_int_equal(bus->core->hands.count, 0);
    bus_destroy(bus);
}

/* Neither after its silence nor after it left, whatever there would be to say. */
static void test_a_worker_that_is_gone_is_told_nothing(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "silent", "s", 8);
    bus_pass(bus, 2500);
    worker_ready(bus, "leaves", "s", 8);
    worker_says(bus, "leaves", MMQ_WORKER_DISCONNECT);
    bus_pass(bus, 600);
    assert_int_equal(bus->core->hands.count, 0);
    bus_forget(bus);
    client_asks(bus, "c", "s", 1, 20000);
    bus_pass(bus, 10000);
    expect_nothing(bus);
    bus_destroy(bus);
}

static void test_f1_after_a_partial_it_is_503(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 8);
    client_asks(bus, "c", "s", 1, 0);
    expect_request(bus, "w1", token);
    worker_answers(bus, "w1", MMQ_WORKER_PARTIAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_PARTIAL);
    bus_fault(bus, "w1", MMQ_EUNREACHABLE);
    bus_pass(bus, 1000);
    expect_error(bus, "c", 1, 503);
    expect_nothing(bus);
    bus_destroy(bus);
}

static void test_writes_are_not_given_twice(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", MMQ_SERVICE_WRITE, 8);
    client_asks(bus, "c", MMQ_SERVICE_WRITE, 1, 0);
    expect_request(bus, "w1", token);
    worker_ready(bus, "w2", MMQ_SERVICE_WRITE, 8);
    worker_ready(bus, "w1", "x", 8);
    expect_command(bus, "w1", MMQ_WORKER_DISCONNECT);
    expect_error(bus, "c", 1, 503);
    expect_nothing(bus);
    bus_destroy(bus);
}

static void test_f1_a_lost_connection_is_looked_into_at_once(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 8);
    client_asks(bus, "c", "s", 1, 0);
    expect_request(bus, "w1", token);
    worker_ready(bus, "w2", "s", 8);
    bus_fault(bus, "w1", MMQ_EUNREACHABLE);
    mmq_core_suspect(bus->core, bus->now_ns);
    mmq_core_tick(bus->core, bus->now_ns);
    expect_command(bus, "w2", MMQ_WORKER_HEARTBEAT);
    assert_int_equal(expect_request(bus, "w2", token), 1);
    mmq_core_suspect(bus->core, bus->now_ns); /* not again so soon */
    mmq_core_tick(bus->core, bus->now_ns);
    expect_nothing(bus);
    bus_pass(bus, 100);
    expect_command(bus, "w2", MMQ_WORKER_HEARTBEAT);
    bus_destroy(bus);
}

static void test_a_side_is_lost(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 8);
    client_asks(bus, "c1", "s", 1, 0);
    expect_request(bus, "w1", token);
    client_asks(bus, "c2", "nobody", 2, 0);
    mmq_core_lose(bus->core, MMQ_SIDE_LOCAL_WORKERS, bus->now_ns);
    assert_int_equal(bus->core->hands.count, 1);
    mmq_core_lose(bus->core, MMQ_SIDE_WORKERS, bus->now_ns);
    assert_int_equal(bus->core->hands.count, 0);
    worker_ready(bus, "w2", "s", 8);
    assert_int_equal(expect_request(bus, "w2", token), 1);
    mmq_core_lose(bus->core, MMQ_SIDE_CLIENTS, bus->now_ns);
    assert_int_equal(bus->core->callers.count, 0);
    worker_answers(bus, "w2", MMQ_WORKER_FINAL, token);
    expect_nothing(bus);
    assert_true(mmq_core_idle(bus->core));
    bus_destroy(bus);
}

/* What lies in libzmq for a client that does not read is no stranger's memory. */
static void test_f6_what_a_slow_client_was_sent_is_accounted_for(void **state)
{
    (void)state;
    uint8_t token[MMQ_TOKEN_SIZE];
    fake_bus *bus = bus_with_request(token);
    size_t before = mmq_core_bytes(bus->core);
    worker_answers_size(bus, "w", MMQ_WORKER_PARTIAL, token, 100000);
    assert_true(mmq_core_bytes(bus->core) <= before);
    bus_fault(bus, "c", MMQ_EAGAIN);
    worker_answers_size(bus, "w", MMQ_WORKER_PARTIAL, token, 1000);
    assert_true(mmq_core_bytes(bus->core) >= before + 100000);
    bus_fault(bus, "c", MMQ_OK);
    mmq_core_retry(bus->core, bus->now_ns); /* it has read */
    assert_true(mmq_core_bytes(bus->core) <= before);
    bus_destroy(bus);
}

static void test_f20_one_id_on_two_sides_is_two_peers(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    mmq_message message;
    worker_ready(bus, "w", "s", 8);
    client_asks(bus, "c", "s", 1, 0);
    expect_request(bus, "w", token);
    mmq_message_init(&message);
    append_text(&message, "w", 1);
    assert_int_equal(mmq_envelope_begin_worker(&message, MMQ_WORKER_FINAL, token, sizeof token),
                     MMQ_OK);
    mmq_core_receive(bus->core, MMQ_SIDE_LOCAL_WORKERS, &message, bus->now_ns);
    mmq_side side;
    assert_non_null(bus_next(bus, &side)); /* DISCONNECT, to who sent it */
    assert_int_equal(side, MMQ_SIDE_LOCAL_WORKERS);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    bus_destroy(bus);
}

static void test_f30_three_workers_at_most(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    client_asks(bus, "c", "s", 1, 0);
    const char *const names[] = {"w1", "w2", "w3"};
    for (size_t i = 0; i < 3; i++) {
        worker_ready(bus, names[i], "s", 8);
        expect_request(bus, names[i], token);
        bus_fault(bus, names[i], MMQ_EUNREACHABLE);
        bus_pass(bus, 1000);
    }
    expect_error(bus, "c", 1, 500);
    bus_destroy(bus);
}

static void test_returned_requests_keep_their_order(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 2);
    for (int id = 1; id <= 3; id++) {
        client_asks(bus, "c", "s", id, 0);
    }
    expect_request(bus, "w1", token);
    expect_request(bus, "w1", token);
    bus_fault(bus, "w1", MMQ_EUNREACHABLE);
    bus_pass(bus, 1000);
    worker_ready(bus, "w2", "s", 8);
    for (int id = 1; id <= 3; id++) {
        assert_int_equal(expect_request(bus, "w2", token), id);
    }
    bus_destroy(bus);
}

static void test_f25_no_worker_until_the_deadline(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    client_asks(bus, "c", "s", 1, 500);
    bus_pass(bus, 499);
    expect_nothing(bus);
    bus_pass(bus, 1);
    expect_error(bus, "c", 1, 503);
    bus_destroy(bus);
}

static void test_deadlines(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 1);
    bus->taken = bus->count;
    client_asks(bus, "c", "s", 1, 900);
    client_asks(bus, "c", "s", 2, 300);
    expect_request(bus, "w", token);
    bus_pass(bus, 300);
    expect_error(bus, "c", 2, 504); /* queued */
    bus_pass(bus, 600);
    expect_error(bus, "c", 1, 504); /* at the worker */
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_nothing(bus);
    assert_int_equal(dropped(bus, MMQ_DROP_LATE), 1);
    client_asks(bus, "c", "s", 3, 0); /* F22 */
    assert_int_equal(expect_request(bus, "w", token), 3);
    bus_destroy(bus);
}

static void test_a_stock_worker_may_be_silent_while_it_works(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 0);
    client_asks(bus, "c", "s", 1, 25000);
    expect_request(bus, "w", token);
    bus_pass(bus, 24000);
    assert_int_equal(bus->core->hands.count, 1);
    bus_pass(bus, 1000); /* 504; it is not given another before it speaks */
    client_asks(bus, "c", "s", 2, 25000);
    bus->taken = bus->count;
    bus_pass(bus, 5000);
    assert_int_equal(bus->core->hands.count, 1);
    bus->taken = bus->count;
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    assert_int_equal(expect_request(bus, "w", token), 2);
    bus_destroy(bus);
}

static void test_a_stock_worker_that_hangs_is_given_up(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 0);
    client_asks(bus, "c", "s", 1, 5000);
    bus_pass(bus, 14900);
    assert_int_equal(bus->core->hands.count, 1);
    bus_pass(bus, 200);
    assert_int_equal(bus->core->hands.count, 0);
    assert_int_equal(bus->core->services.count, 0);
    bus_destroy(bus);
}

static void test_f9_our_own_stall_is_forgiven(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 8);
    bus_pass(bus, 100);
    bus->now_ns += 30 * MMQ_NS_PER_S;
    mmq_core_tick(bus->core, bus->now_ns);
    assert_int_equal(bus->core->hands.count, 1);
    bus_pass(bus, 3100);
    assert_int_equal(bus->core->hands.count, 0);
    bus_destroy(bus);
}

static void test_f12_f13_f14_faults_of_workers(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE] = {1};
    worker_says(bus, "w", MMQ_WORKER_HEARTBEAT);
    expect_command(bus, "w", MMQ_WORKER_DISCONNECT);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_command(bus, "w", MMQ_WORKER_DISCONNECT);
    worker_ready(bus, "w", "mmi.x", 8);
    expect_command(bus, "w", MMQ_WORKER_DISCONNECT);
    worker_says(bus, "w", MMQ_WORKER_DISCONNECT);
    expect_nothing(bus);
    worker_ready(bus, "w", "foo.mmi.x", 8);
    expect_nothing(bus);
    worker_ready(bus, "w", "foo.mmi.x", 8);
    expect_command(bus, "w", MMQ_WORKER_DISCONNECT);
    assert_int_equal(bus->core->hands.count, 0);
    bus_destroy(bus);
}

static void test_f14_a_token_of_another_worker(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 8);
    client_asks(bus, "c", "s", 1, 0);
    expect_request(bus, "w1", token);
    worker_ready(bus, "w2", "s", 8);
    worker_answers(bus, "w2", MMQ_WORKER_FINAL, token);
    expect_command(bus, "w2", MMQ_WORKER_DISCONNECT);
    assert_int_equal(dropped(bus, MMQ_DROP_FOREIGN), 1);
    worker_answers(bus, "w1", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    worker_answers(bus, "w1", MMQ_WORKER_FINAL, token); /* again: late, not foreign */
    expect_nothing(bus);
    assert_int_equal(dropped(bus, MMQ_DROP_LATE), 1);
    bus_destroy(bus);
}

static void test_f8_a_flood_of_partials(void **state)
{
    (void)state;
    uint8_t token[MMQ_TOKEN_SIZE];
    fake_bus *bus = bus_with_request(token);
    for (int i = 0; i < 17; i++) {
        worker_answers_size(bus, "w", MMQ_WORKER_PARTIAL, token, 1 << 20);
        expect_answer(bus, "c", MMQ_CLIENT_PARTIAL);
    }
    worker_answers_size(bus, "w", MMQ_WORKER_PARTIAL, token, 1 << 20);
    expect_error(bus, "c", 1, 503);
    expect_command(bus, "w", MMQ_WORKER_DISCONNECT);
    expect_nothing(bus);
    bus_destroy(bus);
}

static void test_f5_a_client_that_is_gone(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 0);
    client_asks(bus, "c", "s", 1, 0);
    client_asks(bus, "c", "s", 2, 0);
    client_asks(bus, "d", "s", 3, 0);
    expect_request(bus, "w", token);
    bus_fault(bus, "c", MMQ_EUNREACHABLE);
    worker_answers(bus, "w", MMQ_WORKER_PARTIAL, token);
    worker_answers(bus, "w", MMQ_WORKER_PARTIAL, token);
    expect_nothing(bus); /* the worker still has it, request 2 is forgotten */
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    assert_int_equal(expect_request(bus, "w", token), 3);
    assert_int_equal(bus->core->callers.count, 1);
    bus_destroy(bus);
}

static void test_f6_a_client_that_does_not_read(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE], next[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 1);
    client_asks(bus, "c", "s", 1, 0);
    client_asks(bus, "c", "s", 2, 0);
    client_asks(bus, "d", "s", 3, 0);
    expect_request(bus, "w", token);
    bus_fault(bus, "c", MMQ_EAGAIN);
    worker_answers(bus, "w", MMQ_WORKER_PARTIAL, token);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    assert_int_equal(expect_request(bus, "w", next), 3); /* not 2: its client does not read */
    worker_answers(bus, "w", MMQ_WORKER_FINAL, next);
    expect_answer(bus, "d", MMQ_CLIENT_FINAL);
    expect_nothing(bus);
    bus_fault(bus, "c", MMQ_OK);
    bus_pass(bus, 5);
    expect_answer(bus, "c", MMQ_CLIENT_PARTIAL);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    assert_int_equal(expect_request(bus, "w", next), 2);
    bus_destroy(bus);
}

static void test_f6_past_8_mib_only_the_503_stays(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t one[MMQ_TOKEN_SIZE], two[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 8);
    client_asks(bus, "c", "s", 1, 0);
    client_asks(bus, "c", "s", 2, 0);
    expect_request(bus, "w", one);
    expect_request(bus, "w", two);
    bus_fault(bus, "c", MMQ_EAGAIN);
    worker_answers(bus, "w", MMQ_WORKER_PARTIAL, two);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, two);
    for (int i = 0; i < 9; i++) {
        worker_answers_size(bus, "w", MMQ_WORKER_PARTIAL, one, 1 << 20);
    }
    assert_true(bus->core->bytes < 8192);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, one);
    bus_fault(bus, "c", MMQ_OK);
    bus_pass(bus, 5);
    expect_error(bus, "c", 2, 503);
    expect_error(bus, "c", 1, 503);
    expect_nothing(bus);
    assert_int_equal(bus->core->bytes, 0);
    bus_destroy(bus);
}

static void test_f6_past_30_s_only_the_503_stays(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 8);
    client_asks(bus, "c", "s", 1, 60000);
    expect_request(bus, "w", token);
    bus_fault(bus, "c", MMQ_EAGAIN);
    worker_answers(bus, "w", MMQ_WORKER_PARTIAL, token);
    for (int i = 0; i < 31; i++) {
        bus_pass(bus, 1000);
        worker_says(bus, "w", MMQ_WORKER_HEARTBEAT);
    }
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    bus->taken = bus->count;
    bus_fault(bus, "c", MMQ_OK);
    bus_pass(bus, 5);
    expect_error(bus, "c", 1, 503);
    expect_nothing(bus);
    bus_destroy(bus);
}

static void test_a_worker_that_is_full_is_passed_over(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 8);
    bus_fault(bus, "w1", MMQ_EAGAIN);
    client_asks(bus, "c", "s", 1, 0);
    expect_nothing(bus);
    bus_fault(bus, "w1", MMQ_OK);
    bus_pass(bus, 5);
    assert_int_equal(expect_request(bus, "w1", token), 1);
    bus_destroy(bus);
}

static void test_a_worker_that_leaves_gives_back(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 8);
    client_asks(bus, "c", "s", 1, 0);
    expect_request(bus, "w1", token);
    worker_ready(bus, "w2", "s", 8);
    worker_says(bus, "w1", MMQ_WORKER_DISCONNECT);
    assert_int_equal(expect_request(bus, "w2", token), 1);
    assert_int_equal(bus->core->hands.count, 1);
    bus_destroy(bus);
}

static void test_a_late_request_keeps_its_room(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 1);
    client_asks(bus, "c", "s", 1, 500);
    client_asks(bus, "c", "s", 2, 0);
    expect_request(bus, "w", token);
    bus_pass(bus, 600);
    expect_error(bus, "c", 1, 504);
    expect_nothing(bus);
    for (int i = 0; i < 29; i++) { /* it lives but does not answer */
        bus_pass(bus, 1000);
        worker_says(bus, "w", MMQ_WORKER_HEARTBEAT);
    }
    client_asks(bus, "c", "s", 3, 0);
    bus_pass(bus, 1000);
    bus->taken = bus->count;
    worker_says(bus, "w", MMQ_WORKER_HEARTBEAT);
    assert_int_equal(bus->core->jobs_in[MMQ_JOB_FORGOTTEN], 0);
    bus_destroy(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f1_a_silent_worker_loses_its_request),
        cmocka_unit_test(test_whatever_a_worker_says_is_a_heartbeat),
        cmocka_unit_test(test_a_worker_that_is_gone_is_told_nothing),
        cmocka_unit_test(test_f1_after_a_partial_it_is_503),
        cmocka_unit_test(test_writes_are_not_given_twice),
        cmocka_unit_test(test_f30_three_workers_at_most),
        cmocka_unit_test(test_f1_a_lost_connection_is_looked_into_at_once),
        cmocka_unit_test(test_a_side_is_lost),
        cmocka_unit_test(test_f6_what_a_slow_client_was_sent_is_accounted_for),
        cmocka_unit_test(test_f20_one_id_on_two_sides_is_two_peers),
        cmocka_unit_test(test_returned_requests_keep_their_order),
        cmocka_unit_test(test_f25_no_worker_until_the_deadline),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_a_stock_worker_may_be_silent_while_it_works),
        cmocka_unit_test(test_a_stock_worker_that_hangs_is_given_up),
        cmocka_unit_test(test_f9_our_own_stall_is_forgiven),
        cmocka_unit_test(test_f12_f13_f14_faults_of_workers),
        cmocka_unit_test(test_f14_a_token_of_another_worker),
        cmocka_unit_test(test_f8_a_flood_of_partials),
        cmocka_unit_test(test_f5_a_client_that_is_gone),
        cmocka_unit_test(test_f6_a_client_that_does_not_read),
        cmocka_unit_test(test_f6_past_8_mib_only_the_503_stays),
        cmocka_unit_test(test_f6_past_30_s_only_the_503_stays),
        cmocka_unit_test(test_a_worker_that_is_full_is_passed_over),
        cmocka_unit_test(test_a_worker_that_leaves_gives_back),
        cmocka_unit_test(test_a_late_request_keeps_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
