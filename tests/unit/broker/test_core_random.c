/* The core under random commands, answers, times and faults. METRICMQ_SEED repeats a run. */
#include "fake_bus.h"
#include "lib/envelope.h"

static const char *const peers[] = {"p0", "p1", "p2", "p3", "p4", "p5"};

/* One of the last requests that the core sent is answered, in time or late. */
static void answer_some_request(fake_bus *bus)
{
    for (size_t i = bus->count; i-- > 0 && bus->count - i < 10;) {
        const mmq_message *sent = &bus->sent[i];
        if (bus->sides[i] == MMQ_SIDE_WORKERS && sent->count > 5) {
            char name[3] = "";
            uint8_t token[MMQ_TOKEN_SIZE];
            memcpy(name, mmq_frame_data(&sent->frames[0]), 2);
            memcpy(token, mmq_frame_data(&sent->frames[3]), MMQ_TOKEN_SIZE);
            worker_answers_size(bus, name, rand() % 2 ? MMQ_WORKER_FINAL : MMQ_WORKER_PARTIAL,
                                token, (size_t)(rand() % 100000));
            return;
        }
    }
}

static void do_something(fake_bus *bus, int id)
{
    static const mmq_err errs[] = {MMQ_OK, MMQ_OK, MMQ_EAGAIN, MMQ_EUNREACHABLE};
    static const char *const services[] = {"a", "b", MMQ_SERVICE_WRITE};
    const char *peer = peers[rand() % 6];
    const char *service = services[rand() % 3];
    switch (rand() % 10) {
    case 0:
        worker_ready(bus, peer, service, (unsigned)(rand() % 4));
        break;
    case 1:
        bus_fault(bus, peer, errs[rand() % 4]);
        break;
    case 2:
        bus_pass(bus, rand() % 1500);
        break;
    case 3:
        worker_says(bus, peer, rand() % 8 == 0 ? MMQ_WORKER_DISCONNECT : MMQ_WORKER_HEARTBEAT);
        break;
    case 4:
    case 5:
    case 6:
        client_asks_big(bus, peer, service, id, 1 + rand() % 5000, (size_t)(rand() % 9000));
        break;
    default:
        answer_some_request(bus);
    }
}

/* Random commands, answers, times and faults: the CHECKs of the invariants hold and nothing is left
 * when all is over. */
static void test_random_traffic(void **state)
{
    (void)state;
    const char *given = getenv("METRICMQ_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)(mmq_now_ns() & 0xffffff);
    print_message("seed: METRICMQ_SEED=%u\n", seed);
    srand(seed);
    fake_bus *bus = bus_new_sized(20, 1 << 16, 1 << 20);
    for (int i = 0; i < 20000; i++) {
        do_something(bus, i);
        if (bus->count > SENT_MAX / 2) {
            bus_forget(bus);
        }
    }
    for (size_t i = 0; i < 6; i++) {
        bus_fault(bus, peers[i], MMQ_OK);
    }
    bus_pass(bus, 40000);
    assert_true(mmq_core_idle(bus->core));
    assert_int_equal(bus->core->bytes, 0);
    assert_int_equal(bus->core->services.count, 0);
    assert_int_equal(bus->core->callers.count, 0);
    bus_destroy(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
