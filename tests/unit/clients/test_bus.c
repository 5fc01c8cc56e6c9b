/* Client, broker and worker together, over TCP and inproc, with many requests in flight (F3, F4,
 * F23, F28). */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "lib/clock.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "metricmq/client.h"
#include "metricmq/worker.h"

enum { WAIT_MS = 60000, MANY = 2000, ROWS = 3000, ROWS_A_PAGE = 100 };

/* ---- workers ------------------------------------------------------------------------------ */

static void answer_body(mmq_request **request)
{
    size_t size;
    const void *body = mmq_request_body(*request, &size);
    mmq_frame payload;
    assert_int_equal(mmq_frame_copy(&payload, body, size), MMQ_OK);
    mmq_final final = {.status = 200, .rows = -1};
    mmq_request_final(request, &final, &payload);
    mmq_frame_close(&payload);
}

static void echo(void *context, mmq_request **requests, size_t count)
{
    (void)context;
    for (size_t i = 0; i < count; i++) {
        answer_body(&requests[i]);
    }
}

/* Finds the text of a key in a body; false if it is not there. */
static bool find_text(mmq_request *request, const char *name, char *out, size_t out_size)
{
    size_t size;
    const void *body = mmq_request_body(request, &size);
    mmq_reader reader;
    mmq_value map, key, value;
    mmq_reader_init(&reader, body, size);
    assert_int_equal(mmq_unpack(&reader, &map), MMQ_OK);
    for (uint32_t i = 0; i < map.count; i++) {
        assert_int_equal(mmq_unpack(&reader, &key), MMQ_OK);
        assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
        if (mmq_value_is(&key, name)) {
            snprintf(out, out_size, "%.*s", (int)value.text.size, value.text.data);
            return true;
        }
    }
    return false;
}

/* Rows are the numbers from 0 to ROWS, ten in a PARTIAL; a cursor is the next number. */
static void count_up(void *context, mmq_request **requests, size_t count)
{
    (void)context;
    assert_int_equal(count, 1);
    char cursor[32] = "0";
    (void)find_text(requests[0], "cursor", cursor, sizeof cursor);
    unsigned long row = strtoul(cursor, NULL, 10);
    for (unsigned long end = row + ROWS_A_PAGE; row < end && row < ROWS;) {
        char text[128] = "";
        for (int i = 0; i < 10; i++, row++) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "%lu ", row);
        }
        snprintf(cursor, sizeof cursor, "%lu", row);
        mmq_frame payload;
        assert_int_equal(mmq_frame_copy(&payload, text, strlen(text)), MMQ_OK);
        mmq_err err = mmq_request_partial(requests[0], cursor, &payload);
        mmq_frame_close(&payload);
        if (err != MMQ_OK) {
            break;
        }
    }
    mmq_final final = {.status = 200, .rows = -1, .next = row < ROWS ? cursor : NULL};
    mmq_request_final(&requests[0], &final, NULL);
}

/* ---- the bus ------------------------------------------------------------------------------ */

typedef struct whole_bus {
    char clients[64];
    char workers[64];
    mmq_broker *broker;
    mmq_worker *worker;
    mmq_client *client;
} whole_bus;

static void start_broker(whole_bus *bus)
{
    mmq_broker_settings settings = {.bind = bus->clients,
                                    .bind_workers = bus->workers,
                                    .queue_max = 20000,
                                    .queue_bytes_max = 64 * 1024 * 1024,
                                    .stray_bytes_max = 1 << 30,
                                    .local = true,
                                    .drain_ms = 5000};
    int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    mmq_why why = {""};
    while ((bus->broker = mmq_broker_new(&settings, &why)) == NULL) {
        if (mmq_now_ns() > end_ns) { /* the names of the last one are free again soon */
            fail_msg("%s", why.text);
        }
        (void)poll(NULL, 0, 5);
    }
    snprintf(bus->clients, sizeof bus->clients, "%s", mmq_broker_endpoint(bus->broker));
    snprintf(bus->workers, sizeof bus->workers, "%s", mmq_broker_worker_endpoint(bus->broker));
}

static mmq_worker *start_worker(const char *endpoint,
                                void (*handle)(void *, mmq_request **, size_t))
{
    mmq_worker_options options = {.endpoint = endpoint,
                                  .service = MMQ_SERVICE_QUERY,
                                  .threads = 2,
                                  .capacity = 64,
                                  .batch_max = handle == echo ? 16 : 1,
                                  .drain_ms = 5000,
                                  .handle = handle};
    mmq_why why = {""};
    mmq_worker *worker = mmq_worker_new(&options, &why);
    if (worker == NULL) {
        fail_msg("%s", why.text);
    }
    return worker;
}

static void start_bus(whole_bus *bus, bool inproc, void (*handle)(void *, mmq_request **, size_t))
{
    *bus = (whole_bus){.clients = "tcp://127.0.0.1:*", .workers = "tcp://127.0.0.1:*"};
    start_broker(bus);
    bus->worker = start_worker(inproc ? MMQ_INPROC_WORKERS : bus->workers, handle);
    bus->client = mmq_client_new(inproc ? MMQ_INPROC_CLIENTS : bus->clients, NULL);
    assert_non_null(bus->client);
}

static void stop_bus(whole_bus *bus)
{
    mmq_client_destroy(&bus->client);
    mmq_worker_destroy(&bus->worker);
    mmq_broker_destroy(&bus->broker);
}

/* ---- tests --------------------------------------------------------------------------------
 */

typedef struct tally {
    size_t ended;
    size_t good;
    int bad_status;
} tally;

static void count_answer(void *context, const mmq_answer *answer)
{
    tally *flood = context;
    assert_true(answer->final);
    flood->ended++;
    if (answer->header->status == 200) {
        assert_non_null(answer->payload);
        flood->good++;
    } else {
        flood->bad_status = (int)answer->header->status;
    }
}

static void send_many(whole_bus *bus, tally *flood)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "echo");
    mmq_call call = {.service = MMQ_SERVICE_QUERY,
                     .args = args.pairs.data,
                     .args_size = args.pairs.size,
                     .args_count = args.count,
                     .timeout_ms = WAIT_MS,
                     .retry = true,
                     .answer = count_answer,
                     .context = flood};
    for (size_t i = 0; i < MANY; i++) {
        assert_true(mmq_client_send(bus->client, &call, NULL) != 0);
    }
    mmq_args_clear(&args);
}

/* Waits as an event loop does: on the descriptors, for as long as step says. */
static void await_answers(whole_bus *bus, const tally *flood, size_t count)
{
    int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    for (;;) {
        int64_t wait_ns = mmq_client_step(bus->client);
        if (flood->ended >= count) {
            return;
        }
        assert_true(mmq_now_ns() < end_ns);
        struct pollfd input = {.fd = mmq_client_descriptor(bus->client), .events = POLLIN};
        (void)poll(&input, 1, wait_ns < 0 ? -1 : (int)(wait_ns / MMQ_NS_PER_MS + 1));
    }
}

static void flood_bus(bool inproc)
{
    whole_bus bus;
    start_bus(&bus, inproc, echo);
    tally flood = {0};
    send_many(&bus, &flood);
    await_answers(&bus, &flood, MANY);
    assert_int_equal(flood.good, MANY);
    stop_bus(&bus);
}

static void test_many_over_tcp(void **state)
{
    (void)state;
    flood_bus(false);
}

static void test_many_over_inproc(void **state)
{
    (void)state;
    flood_bus(true);
}

/* The broker ends and returns in the middle; the worker registers again. */
static void test_broker_restarts(void **state)
{
    (void)state;
    whole_bus bus;
    start_bus(&bus, false, echo);
    tally flood = {0};
    for (size_t round = 1; round <= 3; round++) {
        send_many(&bus, &flood);
        await_answers(&bus, &flood, (round - 1) * MANY + MANY / 4);
        mmq_broker_destroy(&bus.broker);
        start_broker(&bus);
        await_answers(&bus, &flood, round * MANY);
        assert_int_equal(flood.bad_status, 0);
        assert_int_equal(flood.good, round * MANY);
    }
    stop_bus(&bus);
}

/* One worker leaves in the middle, and another takes over. */
static void test_worker_leaves(void **state)
{
    (void)state;
    whole_bus bus;
    start_bus(&bus, false, echo);
    tally flood = {0};
    send_many(&bus, &flood);
    await_answers(&bus, &flood, MANY / 4);
    mmq_worker *other = start_worker(bus.workers, echo);
    mmq_worker_destroy(&bus.worker);
    await_answers(&bus, &flood, MANY);
    assert_int_equal(flood.good, MANY);
    mmq_worker_destroy(&other);
    stop_bus(&bus);
}

static void read_numbers(whole_bus *bus, bool disturb)
{
    mmq_stream_options options = {.call = {.service = MMQ_SERVICE_QUERY, .timeout_ms = WAIT_MS}};
    mmq_why why = {""};
    mmq_stream *stream = mmq_stream_new(bus->client, &options, &why);
    assert_non_null(stream);
    unsigned long row = 0;
    mmq_frame payload;
    mmq_frame_init(&payload);
    mmq_err err;
    while ((err = mmq_stream_next(stream, &payload, &why)) == MMQ_OK) {
        char text[128];
        assert_true(mmq_frame_size(&payload) < sizeof text);
        memcpy(text, mmq_frame_data(&payload), mmq_frame_size(&payload));
        text[mmq_frame_size(&payload)] = '\0';
        char *rest = text;
        while (*rest != '\0') {
            assert_int_equal(strtoul(rest, &rest, 10), row++);
            rest++;
        }
        if (disturb && row % 500 == 250) {
            mmq_broker_destroy(&bus->broker);
            start_broker(bus);
        }
    }
    if (err != MMQ_EEND) {
        fail_msg("row %lu: %s", row, why.text);
    }
    assert_int_equal(row, ROWS);
    mmq_frame_close(&payload);
    mmq_stream_destroy(&stream);
}

static void test_stream(void **state)
{
    (void)state;
    whole_bus bus;
    for (int inproc = 0; inproc < 2; inproc++) {
        start_bus(&bus, inproc, count_up);
        read_numbers(&bus, false);
        stop_bus(&bus);
    }
}

static void test_stream_over_restarts(void **state)
{
    (void)state;
    whole_bus bus;
    start_bus(&bus, false, count_up);
    read_numbers(&bus, true);
    stop_bus(&bus);
}

static void test_blocking_calls(void **state)
{
    (void)state;
    whole_bus bus;
    start_bus(&bus, false, echo);
    mmq_call call = {.service = MMQ_SERVICE_QUERY, .timeout_ms = WAIT_MS, .retry = true};
    mmq_result result;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(mmq_client_call(bus.client, &call, &result, NULL), MMQ_OK);
        assert_int_equal(result.status, 200);
        mmq_result_clear(&result);
    }
    static const struct {
        const char *service;
        int status;
    } asked[] = {{MMQ_SERVICE_QUERY, 200}, {"nobody", 404}};
    for (size_t i = 0; i < 2; i++) {
        mmq_call mmi = {.service = "mmi.service",
                        .args = asked[i].service,
                        .args_size = strlen(asked[i].service),
                        .timeout_ms = WAIT_MS};
        assert_int_equal(mmq_client_call(bus.client, &mmi, &result, NULL), MMQ_OK);
        assert_int_equal(result.status, asked[i].status);
        mmq_result_clear(&result);
    }
    call.service = "nobody";
    call.timeout_ms = 100;
    assert_int_equal(mmq_client_call(bus.client, &call, &result, NULL), MMQ_OK);
    assert_int_equal(result.status, 503); /* the broker's word, not the library's 504 */
    mmq_result_clear(&result);
    stop_bus(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_over_tcp),   cmocka_unit_test(test_many_over_inproc),
        cmocka_unit_test(test_broker_restarts), cmocka_unit_test(test_worker_leaves),
        cmocka_unit_test(test_stream),          cmocka_unit_test(test_stream_over_restarts),
        cmocka_unit_test(test_blocking_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
