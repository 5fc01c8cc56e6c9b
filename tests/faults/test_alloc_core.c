/* The broker's core when memory runs out: no request gets two FINALs, at most one for each failure
 * gets none, and all is freed. */
#include "tests/unit/broker/fake_bus.h"

#include "fail_alloc.h"

enum { IDS_MAX = 64 };

static fake_bus *bus;
static unsigned finals[IDS_MAX]; /* by id */
static int asked;                /* ids 0..asked-1 */

void __real_mmq_core_receive(mmq_core *core, mmq_side side, mmq_message *message, int64_t now_ns);
int64_t __real_mmq_core_tick(mmq_core *core, int64_t now_ns);
void __wrap_mmq_core_receive(mmq_core *core, mmq_side side, mmq_message *message, int64_t now_ns);
int64_t __wrap_mmq_core_tick(mmq_core *core, int64_t now_ns);

/* Allocations fail in the core only, not in what the test does around it. */
void __wrap_mmq_core_receive(mmq_core *core, mmq_side side, mmq_message *message, int64_t now_ns)
{
    fail_alloc_spare(false);
    __real_mmq_core_receive(core, side, message, now_ns);
    fail_alloc_spare(true);
}

int64_t __wrap_mmq_core_tick(mmq_core *core, int64_t now_ns)
{
    fail_alloc_spare(false);
    int64_t due_ns = __real_mmq_core_tick(core, now_ns);
    fail_alloc_spare(true);
    return due_ns;
}

static int id_of(const mmq_header *header)
{
    mmq_reader reader;
    mmq_value value;
    mmq_reader_init(&reader, header->id, header->id_size);
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    return value.type == MMQ_INT ? (int)value.integer : -1;
}

static void count_final(const mmq_message *message)
{
    mmq_header header;
    const mmq_frame *frame = &message->frames[4];
    if (*(const uint8_t *)mmq_frame_data(&message->frames[2]) != (uint8_t)MMQ_CLIENT_FINAL ||
        mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &header) != MMQ_OK) {
        return;
    }
    int id = id_of(&header);
    assert_in_range(id, 0, asked - 1);
    assert_int_equal(finals[id]++, 0);
}

/* A worker's answer to a REQUEST: its header as the library makes it. */
static void answer_request(const mmq_message *request, mmq_worker_command command)
{
    mmq_routing routing;
    mmq_routing_scan(mmq_frame_data(&request->frames[5]), mmq_frame_size(&request->frames[5]),
                     &routing);
    mmq_header header = {.id = routing.id, .id_size = routing.id_size, .status = 200, .rows = 1};
    mmq_message message;
    mmq_message_init(&message);
    append_text(&message, mmq_frame_data(&request->frames[0]), mmq_frame_size(&request->frames[0]));
    assert_int_equal(mmq_envelope_begin_worker(&message, command,
                                               mmq_frame_data(&request->frames[3]),
                                               mmq_frame_size(&request->frames[3])),
                     MMQ_OK);
    mmq_frame frame;
    mmq_frame_init(&frame);
    assert_int_equal(command == MMQ_WORKER_FINAL ? mmq_header_final(&frame, &header)
                                                 : mmq_header_partial(&frame, &header),
                     MMQ_OK);
    assert_int_equal(mmq_message_append(&message, &frame), MMQ_OK);
    mmq_core_receive(bus->core, MMQ_SIDE_WORKERS, &message, bus->now_ns);
}

static bool is_request(const mmq_message *message)
{
    return *(const uint8_t *)mmq_frame_data(&message->frames[2]) == (uint8_t)MMQ_WORKER_REQUEST;
}

/* Looks at all that was sent; workers answer with a PARTIAL and a FINAL. */
static void let_workers_answer(bool answer)
{
    mmq_side side;
    mmq_message *message;
    while ((message = bus_next(bus, &side)) != NULL) {
        if (side == MMQ_SIDE_CLIENTS) {
            count_final(message);
        } else if (answer && is_request(message)) {
            answer_request(message, MMQ_WORKER_PARTIAL);
            answer_request(message, MMQ_WORKER_FINAL);
        }
    }
}

static void ask(const char *client, const char *service)
{
    client_asks(bus, client, service, asked++, 4000);
}

/* The usual way of requests, and what happens when workers are lost and clients do not read. */
static void ask_and_answer(void)
{
    worker_ready(bus, "w1", "s", 2);
    for (int i = 0; i < 6; i++) {
        ask(i % 2 != 0 ? "c1" : "c2", "s");
    }
    let_workers_answer(true);
    bus_fault(bus, "c1", MMQ_EAGAIN);
    ask("c1", "s");
    let_workers_answer(true);
    bus_pass(bus, 100);
    bus_fault(bus, "c1", MMQ_OK);
    bus_pass(bus, 100);
    let_workers_answer(true);
}

static void lose_workers(void)
{
    ask("c1", "nobody");
    ask("c1", "s");
    let_workers_answer(false);
    worker_ready(bus, "w2", "s", 0);
    bus_fault(bus, "w1", MMQ_EUNREACHABLE);
    mmq_core_suspect(bus->core, bus->now_ns);
    bus_pass(bus, 1500);
    worker_says(bus, "w3", MMQ_WORKER_HEARTBEAT);
    client_sends(bus, "c3", "mmi.stats", "", 0);
    client_sends(bus, "c3", "mmi.service", "s", 1);
    let_workers_answer(true);
    mmq_core_lose(bus->core, MMQ_SIDE_WORKERS, bus->now_ns);
    bus_pass(bus, 5000);
    let_workers_answer(true);
}

static void scenario(size_t nth, bool on)
{
    fail_alloc_spare(true);
    memset(finals, 0, sizeof finals);
    asked = 0;
    bus = bus_new();
    fail_alloc_arm(nth, on);
    ask_and_answer();
    lose_workers();
    mmq_core_end(bus->core, bus->now_ns);
    let_workers_answer(false);
    size_t failures = fail_alloc_disarm(), unanswered = 0;
    for (int id = 0; id < asked; id++) {
        unanswered += finals[id] == 0;
    }
    assert_true(unanswered <= failures);
    bus_destroy(bus);
    fail_alloc_spare(false);
}

static void test_core(void **state)
{
    (void)state;
    scenario(0, false);
    assert_true(fail_alloc_each("core", 1, scenario) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_core)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
