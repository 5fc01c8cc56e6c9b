/* Routing, queues and turns of the broker's core. */
#include "fake_bus.h"
#include "lib/envelope.h"

static void test_request_and_answer(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 8);
    client_asks(bus, "c", "s", 7, 0);
    assert_int_equal(expect_request(bus, "w", token), 7);
    worker_answers(bus, "w", MMQ_WORKER_PARTIAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_PARTIAL);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    assert_true(mmq_core_idle(bus->core));
    assert_int_equal(bus->core->bytes, 0);
    assert_int_equal(bus->core->callers.count, 0);
    bus_destroy(bus);
}

static void test_a_plain_worker_gets_one_at_a_time(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w", "s", 0);
    client_asks(bus, "c", "s", 1, 0);
    client_asks(bus, "c", "s", 2, 0);
    assert_int_equal(expect_request(bus, "w", token), 1);
    expect_nothing(bus);
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    assert_int_equal(expect_request(bus, "w", token), 2);
    bus_destroy(bus);
}

static void test_least_loaded_then_least_recently_used(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t a[MMQ_TOKEN_SIZE], b[MMQ_TOKEN_SIZE], c[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "s", 4);
    worker_ready(bus, "w2", "s", 4);
    client_asks(bus, "c", "s", 1, 0);
    client_asks(bus, "c", "s", 2, 0);
    client_asks(bus, "c", "s", 3, 0);
    mmq_side side;
    const char *first = mmq_frame_data(&bus_next(bus, &side)->frames[0]);
    bus->taken--;
    const char *one = first[1] == '1' ? "w1" : "w2";
    const char *other = first[1] == '1' ? "w2" : "w1";
    expect_request(bus, one, a);
    expect_request(bus, other, b);
    expect_request(bus, one, c);
    worker_answers(bus, one, MMQ_WORKER_FINAL, a);
    worker_answers(bus, one, MMQ_WORKER_FINAL, c);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    worker_answers(bus, other, MMQ_WORKER_FINAL, b);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    client_asks(bus, "c", "s", 4, 0);
    expect_request(bus, other, b); /* both hold none; it was used before `one` */
    bus_destroy(bus);
}

/* Write workers commit in groups, so that one of them is filled before the next. */
static void test_writers_are_filled_one_by_one(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", "metric.write", 2);
    worker_ready(bus, "w2", "metric.write", 2);
    for (int id = 1; id <= 3; id++) {
        client_asks(bus, "c", "metric.write", id, 0);
    }
    mmq_side side;
    const char *first = mmq_frame_data(&bus_next(bus, &side)->frames[0]);
    bus->taken--;
    const char *one = first[1] == '1' ? "w1" : "w2";
    const char *other = first[1] == '1' ? "w2" : "w1";
    expect_request(bus, one, token);
    expect_request(bus, one, token);
    worker_answers(bus, one, MMQ_WORKER_FINAL, token);
    expect_request(bus, other, token);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    client_asks(bus, "c", "metric.write", 4, 0);
    expect_request(bus, other, token); /* both hold one; it was used last */
    bus_destroy(bus);
}

static void test_clients_are_served_in_turn(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    for (int id = 0; id < 3; id++) {
        client_asks(bus, "greedy", "s", id, 0);
    }
    client_asks(bus, "b", "s", 10, 0);
    client_asks(bus, "c", "s", 20, 0);
    expect_nothing(bus);
    worker_ready(bus, "w", "s", 100);
    const int order[] = {0, 10, 20, 1, 2};
    uint8_t token[MMQ_TOKEN_SIZE];
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(expect_request(bus, "w", token), order[i]);
    }
    bus_destroy(bus);
}

static void test_f26_a_full_queue_refuses_who_has_most(void **state)
{
    (void)state;
    fake_bus *bus = bus_new_sized(5, 1 << 20, 64 << 20);
    for (int id = 0; id < 4; id++) {
        client_asks(bus, "greedy", "s", id, 0);
    }
    client_asks(bus, "b", "s", 10, 0);
    expect_nothing(bus);
    client_asks(bus, "c", "s", 20, 0);
    expect_error(bus, "greedy", 3, 503); /* its newest */
    client_asks(bus, "greedy", "s", 4, 0);
    expect_error(bus, "greedy", 4, 503);
    expect_nothing(bus);
    bus_destroy(bus);
}

static void test_f26_a_queue_full_of_bytes(void **state)
{
    (void)state;
    fake_bus *bus = bus_new_sized(100, 100000, 64 << 20);
    client_asks_big(bus, "big", "s", 1, 0, 40000);
    client_asks_big(bus, "big", "s", 2, 0, 40000);
    client_asks_big(bus, "small", "s", 3, 0, 30000);
    expect_error(bus, "big", 2, 503);
    client_asks_big(bus, "huge", "s", 4, 0, 200000);
    expect_error(bus, "huge", 4, 503);
    expect_nothing(bus);
    bus_destroy(bus);
}

static void test_bodies_over_4_mib_are_413(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    client_asks_big(bus, "c", "s", 9, 0, 4 << 20);
    expect_error(bus, "c", 9, 413);
    assert_int_equal(bus->core->services.count, 0);
    bus_destroy(bus);
}

static void test_services_are_bounded_and_freed(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    char name[16];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "s%d", i);
        client_asks(bus, "c", name, i, 1000);
    }
    expect_nothing(bus);
    client_asks(bus, "c", "s-more", 99, 1000);
    expect_error(bus, "c", 99, 503);
    bus_pass(bus, 1001);
    assert_int_equal(bus->core->services.count, 0);
    assert_int_equal(bus->count - bus->taken, 10);
    bus_destroy(bus);
}

static void test_all_bytes_are_bounded(void **state)
{
    (void)state;
    fake_bus *bus = bus_new_sized(100, 1 << 20, 100000);
    client_asks_big(bus, "c", "s", 1, 0, 60000);
    client_asks_big(bus, "d", "s", 2, 0, 60000);
    expect_error(bus, "d", 2, 503);
    bus_destroy(bus);
}

static void test_mmi(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    mmq_side side;
    worker_ready(bus, "w", "s", 8);
    const char *const calls[][3] = {{"mmi.service", "s", "200"},
                                    {"mmi.service", "none", "404"},
                                    {"mmi.other", "", "501"},
                                    {"mmi.stats", "", "200"}};
    for (size_t i = 0; i < 4; i++) {
        client_sends(bus, "c", calls[i][0], calls[i][1], strlen(calls[i][1]));
        mmq_message *answer = bus_next(bus, &side);
        assert_non_null(answer);
        assert_true(frame_equals(&answer->frames[4], calls[i][2], 3));
        assert_int_equal(answer->count, i == 3 ? 6 : 5);
        if (i == 3) {
            mmq_reader reader;
            mmq_reader_init(&reader, mmq_frame_data(&answer->frames[5]),
                            mmq_frame_size(&answer->frames[5]));
            assert_int_equal(mmq_unpack_skip(&reader), MMQ_OK);
            assert_true(mmq_reader_done(&reader));
        }
    }
    bus_destroy(bus);
}

static uint64_t counted(const mmq_timing *timing)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < MMQ_TIMING_BUCKETS; i++) {
        sum += timing->counts[i];
    }
    return sum;
}

static void test_times_of_requests(void **state)
{
    (void)state;
    uint8_t token[MMQ_TOKEN_SIZE];
    fake_bus *bus = bus_new();
    client_asks(bus, "c", "s", 1, 0);
    client_asks(bus, "c", "s", 2, 5);
    bus_pass(bus, 20); /* 2 is too late */
    expect_error(bus, "c", 2, 503);
    worker_ready(bus, "w", "s", 8);
    const mmq_service *service = mmq_service_find(bus->core, "s", 1);
    assert_int_equal(expect_request(bus, "w", token), 1);
    assert_int_equal(counted(&service->waited), 2);
    assert_int_equal(service->waited.sum_us, 25000);
    assert_int_equal(service->waited.counts[6], 1); /* 2 to 5 ms */
    assert_int_equal(service->waited.counts[8], 1); /* 10 to 20 ms */
    bus->now_ns += 300 * 1000;
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    assert_int_equal(counted(&service->took), 1);
    assert_int_equal(service->took.sum_us, 20300);
    assert_int_equal(service->took.counts[9], 1);
    bus_destroy(bus);
}

static void test_a_wait_counts_once(void **state)
{
    (void)state;
    uint8_t token[MMQ_TOKEN_SIZE];
    fake_bus *bus = bus_with_request(token);
    const mmq_service *service = mmq_service_find(bus->core, "s", 1);
    assert_int_equal(service->waited.counts[0], 1);
    worker_says(bus, "w", MMQ_WORKER_DISCONNECT);
    worker_ready(bus, "v", "s", 8);
    assert_int_equal(expect_request(bus, "v", token), 1);
    worker_says(bus, "v", MMQ_WORKER_DISCONNECT);
    client_asks(bus, "d", "s", 2, 100000); /* so that the service stays */
    bus_pass(bus, 40000);
    expect_error(bus, "c", 1, 503);
    assert_int_equal(counted(&service->waited), 1);
    assert_int_equal(counted(&service->took), 0);
    bus_destroy(bus);
}

static void test_draining(void **state)
{
    (void)state;
    uint8_t token[MMQ_TOKEN_SIZE];
    fake_bus *bus = bus_with_request(token);
    client_asks(bus, "c", "nobody", 2, 0);
    mmq_core_drain(bus->core, bus->now_ns);
    expect_error(bus, "c", 2, 503);
    client_asks(bus, "c", "s", 3, 0);
    expect_error(bus, "c", 3, 503);
    assert_false(mmq_core_idle(bus->core));
    worker_answers(bus, "w", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "c", MMQ_CLIENT_FINAL);
    assert_true(mmq_core_idle(bus->core));
    mmq_core_end(bus->core, bus->now_ns);
    expect_command(bus, "w", MMQ_WORKER_DISCONNECT);
    bus_destroy(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_and_answer),
        cmocka_unit_test(test_a_plain_worker_gets_one_at_a_time),
        cmocka_unit_test(test_least_loaded_then_least_recently_used),
        cmocka_unit_test(test_writers_are_filled_one_by_one),
        cmocka_unit_test(test_clients_are_served_in_turn),
        cmocka_unit_test(test_f26_a_full_queue_refuses_who_has_most),
        cmocka_unit_test(test_f26_a_queue_full_of_bytes),
        cmocka_unit_test(test_bodies_over_4_mib_are_413),
        cmocka_unit_test(test_services_are_bounded_and_freed),
        cmocka_unit_test(test_all_bytes_are_bounded),
        cmocka_unit_test(test_mmi),
        cmocka_unit_test(test_times_of_requests),
        cmocka_unit_test(test_a_wait_counts_once),
        cmocka_unit_test(test_draining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
