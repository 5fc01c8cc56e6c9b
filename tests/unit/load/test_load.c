/* Clients, broker and workers of the load generator in one process; and its reports. */
#include "clients/load/load.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "broker/broker.h"
#include "clients/load/plot.h"
#include "clients/load/report.h"
#include "clients/load/workers.h"
#include "lib/clock.h"
#include "lib/json.h"

enum { WAIT_MS = 30000, REPORT_MAX = 1 << 20 };

/* What a test runs against. */
struct world {
    mmq_broker *broker;
    mmq_load_workers *workers;
    mmq_load_options options;
    mmq_load_result *result;
};

static void start_workers(struct world *world, size_t count, unsigned capacity, int64_t service_ns)
{
    mmq_why why = {""};
    const mmq_load_worker_options options = {.endpoint = mmq_broker_worker_endpoint(world->broker),
                                             .service = "load.echo",
                                             .count = count,
                                             .capacity = capacity,
                                             .service_ns = service_ns};
    world->workers = mmq_load_workers_new(&options, &why);
    assert_string_equal(why.text, "");
    int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    while (mmq_load_workers_ready(world->workers) < count) {
        assert_true(mmq_now_ns() < end_ns);
        (void)poll(NULL, 0, 1);
    }
}

static int set_up(void **state)
{
    static struct world world;
    mmq_why why = {""};
    const mmq_broker_settings settings = {.bind = "tcp://127.0.0.1:*",
                                          .bind_workers = "tcp://127.0.0.1:*",
                                          .queue_max = 1000,
                                          .queue_bytes_max = 1 << 24,
                                          .stray_bytes_max = 1 << 30,
                                          .drain_ms = 0};
    world = (struct world){.broker = mmq_broker_new(&settings, &why)};
    assert_non_null(world.broker);
    world.options = (mmq_load_options){.endpoint = mmq_broker_endpoint(world.broker),
                                       .service = "load.echo",
                                       .clients = 4,
                                       .warmup_ns = 0,
                                       .duration_ns = 300 * MMQ_NS_PER_MS,
                                       .timeout_ms = 20000,
                                       .seed = 1,
                                       .mix = mmq_mix_only(MMQ_LOAD_ECHO),
                                       .size = 100,
                                       .stop = -1};
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    mmq_load_result_destroy(&world->result);
    mmq_load_workers_destroy(&world->workers);
    mmq_broker_destroy(&world->broker);
    return 0;
}

static const mmq_tally *run(struct world *world)
{
    mmq_why why = {""};
    mmq_load_result_destroy(&world->result);
    assert_int_equal(mmq_load_run(&world->options, &world->result, &why), MMQ_OK);
    assert_int_equal(world->result->never_answered, 0);
    return &world->result->kinds[MMQ_LOAD_ECHO];
}

static void test_closed_loop(void **state)
{
    struct world *world = *state;
    start_workers(world, 3, 10, 0);
    world->options.concurrency = 20;
    const mmq_tally *tally = run(world);
    assert_true(tally->good > 0);
    assert_int_equal(mmq_tally_errors(tally), 0);
    assert_int_equal(tally->bytes, tally->good * 100);
    assert_int_equal(tally->latency.count, tally->good);
    assert_int_equal(world->result->stray, 0);
    assert_true(mmq_load_workers_served(world->workers) >= tally->good);
}

/* As many as the schedule has, neither more nor fewer, also if the broker is slower than that. */
static void test_open_loop(void **state)
{
    struct world *world = *state;
    start_workers(world, 2, 1, 5 * MMQ_NS_PER_MS);
    world->options.rate = 500; /* 400 a second are answered */
    const mmq_tally *tally = run(world);
    assert_int_equal(tally->requests, 150);
    assert_int_equal(tally->good, 150);
    assert_int_equal(world->result->lag.count, 150);
    assert_true(tally->latency.most >= 5 * MMQ_NS_PER_MS);
}

/* Requests of a worker come one after the other, each in its time. */
static void test_service_time(void **state)
{
    struct world *world = *state;
    start_workers(world, 1, 10, 20 * MMQ_NS_PER_MS);
    world->options.concurrency = 10;
    const mmq_tally *tally = run(world);
    assert_true(tally->latency.least >= 20 * MMQ_NS_PER_MS);
    assert_in_range(tally->good, 10, 26);
}

static void test_sizes(void **state)
{
    struct world *world = *state;
    static const size_t sizes[] = {0, 1, 7, 8, 1 << 20};
    start_workers(world, 1, 10, 0);
    world->options.concurrency = 4;
    world->options.duration_ns = 50 * MMQ_NS_PER_MS;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        world->options.size = sizes[i];
        const mmq_tally *tally = run(world);
        assert_true(tally->good > 0);
        assert_int_equal(mmq_tally_errors(tally), 0);
        assert_int_equal(tally->bytes, tally->good * sizes[i]);
    }
    mmq_why why;
    world->options.size = MMQ_BODY_MAX;
    mmq_load_result_destroy(&world->result);
    assert_int_equal(mmq_load_run(&world->options, &world->result, &why), MMQ_ETOOBIG);
}

/* Nobody serves: each request ends in an error of the broker, or in the library's. */
static void test_nobody(void **state)
{
    struct world *world = *state;
    world->options.rate = 100;
    world->options.timeout_ms = 100;
    const mmq_tally *tally = run(world);
    assert_int_equal(tally->requests, 30);
    assert_int_equal(tally->good, 0);
    assert_int_equal(tally->statuses[503 - MMQ_STATUS_LEAST] + tally->faults[MMQ_FAULT_TIMEOUT],
                     30);
}

/* Nobody is there: what the client library has no room for is an error at once, and the schedule is
 * kept. */
static void test_not_sent(void **state)
{
    struct world *world = *state;
    world->options.endpoint = "tcp://127.0.0.1:1";
    world->options.clients = 1;
    world->options.size = 1 << 21; /* 31 of those are the most that it keeps */
    world->options.rate = 1000;
    world->options.duration_ns = 100 * MMQ_NS_PER_MS;
    world->options.timeout_ms = 500;
    const mmq_tally *tally = run(world);
    assert_int_equal(tally->requests, 100);
    assert_true(tally->faults[MMQ_FAULT_NOT_SENT] > 0);
    assert_int_equal(tally->faults[MMQ_FAULT_NOT_SENT] + tally->faults[MMQ_FAULT_TIMEOUT], 100);
}

static void test_warmup(void **state)
{
    struct world *world = *state;
    start_workers(world, 1, 10, 0);
    world->options.rate = 1000;
    world->options.warmup_ns = 100 * MMQ_NS_PER_MS;
    world->options.duration_ns = 200 * MMQ_NS_PER_MS;
    assert_int_equal(run(world)->requests, 200);
    assert_int_equal(mmq_load_workers_served(world->workers), 300);
}

static void test_stop(void **state)
{
    struct world *world = *state;
    start_workers(world, 1, 10, 0);
    world->options.rate = 1000;
    world->options.duration_ns = 600 * MMQ_NS_PER_S;
    world->options.stop = eventfd(1, EFD_NONBLOCK);
    const mmq_tally *tally = run(world);
    assert_true(world->result->stopped);
    assert_true(tally->requests < 1000);
    assert_true(world->result->elapsed_ns < MMQ_NS_PER_S);
    close(world->options.stop);
}

/* ---- reports ------------------------------------------------------------------------------ */

static mmq_load_report report_of(const struct world *world)
{
    return (mmq_load_report){.options = &world->options,
                             .result = world->result,
                             .workers = 1,
                             .capacity = 1,
                             .served = 5};
}

static void assert_json(const mmq_load_report *report)
{
    mmq_buffer json;
    mmq_why why = {""};
    mmq_buffer_init(&json, REPORT_MAX);
    mmq_load_report_json(report, &json);
    assert_false(json.failed);
    assert_int_equal(json.data[json.size - 1], '\n');
    if (mmq_json_check((const char *)json.data, json.size - 1, &why) != MMQ_OK) {
        fail_msg("%s: %.*s", why.text, (int)json.size, (const char *)json.data);
    }
    mmq_buffer_clear(&json);
}

static void assert_prints(void (*print)(const mmq_load_report *, mmq_buffer *),
                          const mmq_load_report *report, const char *wanted)
{
    mmq_buffer text;
    mmq_buffer_init(&text, REPORT_MAX);
    print(report, &text);
    const char *all = mmq_buffer_cstr(&text);
    assert_non_null(all);
    if (!strstr(all, wanted)) {
        fail_msg("no \"%s\" in: %s", wanted, all);
    }
    assert_null(strstr(all, "nan"));
    assert_null(strstr(all, "inf\""));
    mmq_buffer_clear(&text);
}

static void test_reports(void **state)
{
    struct world *world = *state;
    start_workers(world, 1, 10, 0);
    world->options.rate = 200;
    (void)run(world);
    mmq_load_report report = report_of(world);
    assert_true(mmq_load_report_good(&report));
    assert_json(&report);
    assert_prints(mmq_load_report_text, &report, "errors: none");
    assert_prints(mmq_load_plot, &report, "</svg>");
    world->result->kinds[MMQ_LOAD_ECHO].requests++;
    world->result->kinds[MMQ_LOAD_ECHO].faults[MMQ_FAULT_WRONG_BODY]++;
    assert_false(mmq_load_report_good(&report));
    assert_prints(mmq_load_report_text, &report, "errors: wrong_body=1");
    assert_prints(mmq_load_report_json, &report, "\"errors\": {\"wrong_body\": 1}");
    assert_prints(mmq_load_plot, &report, "errors (1)");
    assert_json(&report);
}

/* Nothing came at all. */
static void test_empty_report(void **state)
{
    struct world *world = *state;
    world->result = calloc(1, sizeof *world->result);
    world->options.service = "odd \"service\"\\\n";
    mmq_load_report report = report_of(world);
    assert_false(mmq_load_report_good(&report));
    assert_json(&report);
    assert_prints(mmq_load_report_text, &report, "errors: none");
    assert_prints(mmq_load_plot, &report, "</svg>");
}

int main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_closed_loop), TEST(test_open_loop),    TEST(test_service_time), TEST(test_sizes),
        TEST(test_nobody),      TEST(test_not_sent),     TEST(test_warmup),       TEST(test_stop),
        TEST(test_reports),     TEST(test_empty_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
