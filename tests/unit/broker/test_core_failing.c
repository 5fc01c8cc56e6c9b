/* Workers that fail while they live: others are asked first, and they now and then. */
#include "fake_bus.h"
#include "lib/envelope.h"

/* Which of w1 and w2 the next request went to; commands to both, and answers, are passed over. */
static char asked(fake_bus *bus, uint8_t token[MMQ_TOKEN_SIZE])
{
    const uint8_t wanted = MMQ_WORKER_REQUEST;
    mmq_side side = MMQ_SIDE_CLIENTS;
    for (;;) {
        mmq_message *message = bus_next(bus, &side);
        assert_non_null(message);
        if (side == MMQ_SIDE_WORKERS && frame_equals(&message->frames[2], &wanted, 1)) {
            memcpy(token, mmq_frame_data(&message->frames[3]), MMQ_TOKEN_SIZE);
            return ((const char *)mmq_frame_data(&message->frames[0]))[1];
        }
    }
}

static char ask(fake_bus *bus, const char *service, int id, uint8_t token[MMQ_TOKEN_SIZE])
{
    client_asks(bus, "c", service, id, id == 1 ? 2000 : 200000);
    return asked(bus, token);
}

/* Lets time pass in which both are heard. */
static void both_live(fake_bus *bus, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        bus_pass(bus, 1000);
        worker_says(bus, "w1", MMQ_WORKER_HEARTBEAT);
        worker_says(bus, "w2", MMQ_WORKER_HEARTBEAT);
    }
}

/* It answers 503 at once, because its store is away, while the other one works: it is asked again
 * after 1, 2, 4 and 8 s, for one request each time, until it is well. */
static void test_a_worker_that_says_503_is_passed_over(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE], kept[MMQ_TOKEN_SIZE];
    int id = 1;
    worker_ready(bus, "w1", "s", 100);
    worker_ready(bus, "w2", "s", 100);
    char ill = ask(bus, "s", id++, token);
    const char *name = ill == '1' ? "w1" : "w2";
    worker_says_status(bus, name, token, 503);
    for (int i = 0; i < 3; i++) { /* the other one holds more and more */
        assert_true(ask(bus, "s", id++, kept) != ill);
    }
    for (int seconds = 1; seconds <= 8; seconds *= 2) {
        both_live(bus, seconds + 1);
        assert_int_equal(ask(bus, "s", id++, token), ill);
        assert_true(ask(bus, "s", id++, kept) != ill);
        worker_says_status(bus, name, token, 503);
        assert_true(ask(bus, "s", id++, kept) != ill);
    }
    both_live(bus, 9);
    assert_int_equal(ask(bus, "s", id++, token), ill);
    worker_says_status(bus, name, token, 200);
    assert_int_equal(ask(bus, "s", id++, token), ill); /* the other one holds more */
    bus_destroy(bus);
}

/* Writers are filled one by one: one that stands still would take all that there is, and nothing
 * would be written although others can. */
static void test_a_writer_that_answers_nothing_is_passed_over(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE], late[MMQ_TOKEN_SIZE];
    int id = 1;
    worker_ready(bus, "w1", "metric.write", 100);
    worker_ready(bus, "w2", "metric.write", 100);
    char ill = ask(bus, "metric.write", id++, late);
    both_live(bus, 2); /* its time is over */
    for (int i = 0; i < 3; i++) {
        assert_true(ask(bus, "metric.write", id++, token) != ill);
        worker_says_status(bus, ill == '1' ? "w2" : "w1", token, 200);
    }
    worker_says_status(bus, ill == '1' ? "w1" : "w2", late, 200); /* it goes on */
    char next = ask(bus, "metric.write", id++, token);
    assert_int_equal(ask(bus, "metric.write", id++, token), next);
    bus_destroy(bus);
}

/* Where all fail, all are asked as if none did. */
static void test_workers_that_all_fail_are_all_asked(void **state)
{
    (void)state;
    fake_bus *bus = bus_new();
    uint8_t token[MMQ_TOKEN_SIZE];
    int times[2] = {0, 0};
    worker_ready(bus, "w1", "s", 8);
    worker_ready(bus, "w2", "s", 8);
    for (int id = 1; id <= 10; id++) {
        char who = ask(bus, "s", id, token);
        times[who - '1']++;
        worker_says_status(bus, who == '1' ? "w1" : "w2", token, 503);
    }
    assert_int_equal(times[0], 5);
    assert_int_equal(times[1], 5);
    bus_destroy(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_worker_that_says_503_is_passed_over),
        cmocka_unit_test(test_a_writer_that_answers_nothing_is_passed_over),
        cmocka_unit_test(test_workers_that_all_fail_are_all_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
