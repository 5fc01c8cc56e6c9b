/* The Prometheus text format: escapes, seconds without rounding, histograms that add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "clients/http/exposition.h"
#include "lib/clock.h"
#include "lib/process.h"

static mmq_buffer text;

static int set_up(void **state)
{
    (void)state;
    mmq_buffer_init(&text, 1 << 16);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mmq_buffer_clear(&text);
    return 0;
}

static void assert_text(const char *wanted)
{
    assert_string_equal(mmq_buffer_cstr(&text), wanted);
    mmq_buffer_reset(&text);
}

static void test_samples(void **state)
{
    (void)state;
    const mmq_label labels[] = {{"a", "x"}, {"b", "\"\\\n\xc3\xa9"}};
    mmq_expose_family(&text, "m_total", "counter", "Things.");
    mmq_expose_count(&text, "m_total", NULL, 0, 0);
    mmq_expose_count(&text, "m_total", labels, 1, INT64_MAX);
    mmq_expose_count(&text, "m_total", labels, 2, INT64_MIN);
    assert_text("# HELP m_total Things.\n# TYPE m_total counter\nm_total 0\n"
                "m_total{a=\"x\"} 9223372036854775807\n"
                "m_total{a=\"x\",b=\"\\\"\\\\\\n\xc3\xa9\"} -9223372036854775808\n");
}

static void test_seconds(void **state)
{
    (void)state;
    const struct {
        int64_t ns;
        const char *text;
    } cases[] = {{0, "s 0\n"},
                 {-5, "s 0\n"},
                 {1, "s 0.000000001\n"},
                 {250000, "s 0.00025\n"},
                 {MMQ_NS_PER_S, "s 1\n"},
                 {30 * MMQ_NS_PER_S, "s 30\n"},
                 {100500 * MMQ_NS_PER_MS, "s 100.5\n"},
                 {INT64_MAX, "s 9223372036.854775807\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_expose_ns(&text, "s", NULL, 0, cases[i].ns);
        assert_text(cases[i].text);
    }
}

static void test_times(void **state)
{
    (void)state;
    const int64_t bounds_ns[] = {MMQ_NS_PER_MS, 10 * MMQ_NS_PER_MS};
    const uint64_t counts[] = {2, 0, 3};
    const mmq_times_view times = {bounds_ns, counts, 3, 1500 * MMQ_NS_PER_MS};
    mmq_expose_times(&text, "t_seconds", (mmq_label){"r", "x"}, &times);
    assert_text(
        "t_seconds_bucket{r=\"x\",le=\"0.001\"} 2\nt_seconds_bucket{r=\"x\",le=\"0.01\"} 2\n"
        "t_seconds_bucket{r=\"x\",le=\"+Inf\"} 5\nt_seconds_sum{r=\"x\"} 1.5\n"
        "t_seconds_count{r=\"x\"} 5\n");
}

static void test_process(void **state)
{
    (void)state;
    const mmq_process_usage usage = mmq_process_usage_read();
    assert_true(usage.resident_bytes > 0 && usage.resident_bytes <= usage.virtual_bytes);
    assert_true(usage.descriptors > 0 && usage.descriptors <= usage.descriptors_max);
    assert_true(usage.cpu_ns > 0);
    const int64_t started_s = mmq_process_started_ns() / MMQ_NS_PER_S;
    assert_in_range(mmq_wall_s() - started_s, 0, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_process),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
