/* The mix: what is taken and refused, shares that come out, one seed one load. And the schedule of
 * the open loop, which neither drifts nor jumps. */
#include "clients/load/mix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "clients/load/schedule.h"
#include "lib/clock.h"

static void test_good(void **state)
{
    (void)state;
    mmq_mix mix;
    assert_int_equal(mmq_mix_parse("small=90,day=9,dump=1", &mix, NULL), MMQ_OK);
    assert_int_equal(mix.total, 100);
    assert_int_equal(mix.weights[MMQ_LOAD_SMALL], 90);
    assert_int_equal(mix.weights[MMQ_LOAD_DAY], 9);
    assert_int_equal(mix.weights[MMQ_LOAD_DUMP], 1);
    assert_int_equal(mix.weights[MMQ_LOAD_ECHO], 0);
    assert_int_equal(mmq_mix_parse("dump=1000000", &mix, NULL), MMQ_OK);
    assert_int_equal(mmq_mix_parse("day=0,small=1", &mix, NULL), MMQ_OK);
    assert_int_equal(mix.total, 1);
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "small",
                                      "small=",
                                      "=1",
                                      "small=-1",
                                      "small=1.5",
                                      "small=1,",
                                      ",small=1",
                                      "small=1000001",
                                      "small=0",
                                      "day=x",
                                      "echo=1",
                                      "Small=1",
                                      "small=1,small=2",
                                      "small =1",
                                      "small=1 ",
                                      "none=1",
                                      "small=0,day=0",
                                      "small=1;day=1",
                                      "small=99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmq_mix mix;
        mmq_why why = {""};
        if (mmq_mix_parse(bad[i], &mix, &why) != MMQ_EINVAL) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
        assert_non_null(strstr(why.text, "--mix"));
    }
}

static void test_shares(void **state)
{
    (void)state;
    mmq_mix mix;
    mmq_splitmix random = {7}, again = {7};
    unsigned counts[MMQ_LOAD_KINDS] = {0};
    assert_int_equal(mmq_mix_parse("small=70,day=20,dump=10", &mix, NULL), MMQ_OK);
    for (int i = 0; i < 100000; i++) {
        mmq_load_kind kind = mmq_mix_pick(&mix, &random);
        assert_int_equal(kind, mmq_mix_pick(&mix, &again));
        counts[kind]++;
    }
    assert_int_equal(counts[MMQ_LOAD_ECHO], 0);
    assert_in_range(counts[MMQ_LOAD_SMALL], 69000, 71000);
    assert_in_range(counts[MMQ_LOAD_DAY], 19000, 21000);
    assert_in_range(counts[MMQ_LOAD_DUMP], 9000, 11000);
}

static void test_only(void **state)
{
    (void)state;
    mmq_mix mix = mmq_mix_only(MMQ_LOAD_DUMP);
    mmq_splitmix random = {1};
    for (int i = 0; i < 100; i++) {
        assert_int_equal(mmq_mix_pick(&mix, &random), MMQ_LOAD_DUMP);
    }
}

static void test_schedule(void **state)
{
    (void)state;
    mmq_schedule schedule = {.start_ns = 12345, .rate = 3};
    assert_int_equal(mmq_schedule_due(&schedule), 12345);
    int64_t before_ns = 12345 - MMQ_NS_PER_S / 3;
    for (; schedule.next < 300000; schedule.next++) {
        int64_t gap_ns = mmq_schedule_due(&schedule) - before_ns;
        assert_in_range(gap_ns, 333333332, 333333335);
        before_ns = mmq_schedule_due(&schedule);
    }
    assert_int_equal(mmq_schedule_due(&schedule), 12345 + 100000 * MMQ_NS_PER_S);
    schedule = (mmq_schedule){.start_ns = 1, .rate = 0.5, .next = 2};
    assert_int_equal(mmq_schedule_due(&schedule), 1 + 4 * MMQ_NS_PER_S);
    schedule = (mmq_schedule){.start_ns = 0, .rate = 1e7, .next = 10000001};
    assert_int_equal(mmq_schedule_due(&schedule), MMQ_NS_PER_S + 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad),      cmocka_unit_test(test_shares),
        cmocka_unit_test(test_only), cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
