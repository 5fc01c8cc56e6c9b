/* Percentiles are within 1% of the exact ones, whatever is counted; nothing is lost in a merge.
 * MMQ_SEED repeats a run. */
#include "clients/load/histogram.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lib/digest.h"
#include "lib/splitmix.h"

enum { VALUES = 20000 };

static int64_t values[VALUES];

static mmq_splitmix seeded(void)
{
    uint32_t seed;
    mmq_random(&seed, sizeof seed);
    const char *given = getenv("MMQ_SEED");
    mmq_splitmix random = {given ? strtoull(given, NULL, 10) : seed};
    printf("seed: MMQ_SEED=%" PRIu64 "\n", random.state);
    return random;
}

static int compare(const void *a_p, const void *b_p)
{
    const int64_t *a = a_p, *b = b_p;
    return (*a > *b) - (*a < *b);
}

/* The nearest rank, of sorted values. */
static int64_t exact(double percent)
{
    double rank = ceil(percent / 100 * VALUES);
    return values[rank < 1 ? 0 : (size_t)rank - 1];
}

static void check_percentiles(const mmq_histogram *histogram)
{
    static const double percents[] = {0, 1, 10, 50, 90, 99, 99.9, 99.99, 100};
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        int64_t expected = exact(percents[i]);
        int64_t got = mmq_histogram_percentile(histogram, percents[i]);
        double error = fabs((double)got - (double)expected) / (double)(expected > 0 ? expected : 1);
        if (error > 0.01) {
            fail_msg("p%g: %" PRId64 " for %" PRId64, percents[i], got, expected);
        }
    }
}

/* Values spread evenly over the logarithms from 1 us to 10^exponent ns. */
static void check_range(mmq_splitmix *random, double exponent)
{
    mmq_histogram histogram;
    mmq_histogram_init(&histogram);
    for (size_t i = 0; i < VALUES; i++) {
        double at = 3 + mmq_splitmix_share(random) * (exponent - 3);
        values[i] = (int64_t)pow(10, at);
        mmq_histogram_add(&histogram, values[i]);
    }
    qsort(values, VALUES, sizeof *values, compare);
    check_percentiles(&histogram);
    assert_int_equal(histogram.count, VALUES);
    assert_int_equal(histogram.least, values[0]);
    assert_int_equal(histogram.most, values[VALUES - 1]);
    assert_int_equal(mmq_histogram_percentile(&histogram, 100), values[VALUES - 1]);
}

static void test_relative_error(void **state)
{
    (void)state;
    mmq_splitmix random = seeded();
    check_range(&random, 5);    /* to 100 us */
    check_range(&random, 7);    /* to 10 ms */
    check_range(&random, 11.5); /* to 316 s */
}

/* Each value alone, around the borders of all buckets. */
static void test_borders(void **state)
{
    (void)state;
    for (int bit = 0; bit < 40; bit++) {
        for (int64_t off = -1; off <= 1; off++) {
            int64_t value = (INT64_C(1) << bit) + off;
            mmq_histogram histogram;
            mmq_histogram_init(&histogram);
            mmq_histogram_add(&histogram, value);
            mmq_histogram_add(&histogram, value * 2 + 2);
            int64_t got = mmq_histogram_percentile(&histogram, 50);
            assert_true(llabs(got - value) * 100 <= value);
        }
    }
}

static void test_extremes(void **state)
{
    (void)state;
    mmq_histogram histogram;
    mmq_histogram_init(&histogram);
    assert_int_equal(mmq_histogram_percentile(&histogram, 99), 0);
    assert_true(mmq_histogram_mean(&histogram) == 0);
    mmq_histogram_add(&histogram, -5);
    assert_int_equal(mmq_histogram_percentile(&histogram, 50), 0);
    mmq_histogram_add(&histogram, INT64_MAX);
    assert_int_equal(mmq_histogram_percentile(&histogram, 100), INT64_MAX);
    assert_int_equal(histogram.least, 0);
}

static void test_merge(void **state)
{
    (void)state;
    mmq_splitmix random = seeded();
    mmq_histogram parts[2], whole;
    mmq_histogram_init(&parts[0]);
    mmq_histogram_init(&parts[1]);
    mmq_histogram_init(&whole);
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = (int64_t)mmq_splitmix_below(&random, 1000000000);
        mmq_histogram_add(&parts[i % 2], values[i]);
    }
    qsort(values, VALUES, sizeof *values, compare);
    mmq_histogram_merge(&whole, &parts[0]);
    mmq_histogram_merge(&whole, &parts[1]);
    check_percentiles(&whole);
    assert_int_equal(whole.count, VALUES);
    assert_int_equal(whole.least, values[0]);
    assert_int_equal(whole.most, values[VALUES - 1]);
    mmq_histogram empty;
    mmq_histogram_init(&empty);
    mmq_histogram_merge(&whole, &empty);
    assert_int_equal(whole.least, values[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relative_error),
        cmocka_unit_test(test_borders),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
