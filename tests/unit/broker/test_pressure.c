/* When strangers' memory and missing descriptors are noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/pressure.h"
#include "lib/clock.h"

enum { MIB = 1024 * 1024 };

#define LATER (10 * MMQ_NS_PER_S) /* all that was tried has taken effect */

/* What is done about this much memory, none of it accounted for. */
static void expect_relief(mmq_pressure *pressure, int mib, int64_t at_ns, mmq_relief relief)
{
    assert_int_equal(mmq_pressure_judge(pressure, (size_t)mib * MIB, 0, at_ns), relief);
}

static void test_accounted_memory_is_no_concern(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 20 * MIB};
    expect_relief(&pressure, 80, 0, MMQ_RELIEF_NONE);
    assert_int_equal(mmq_pressure_judge(&pressure, 300 * MIB, 240 * MIB, 0), MMQ_RELIEF_NONE);
}

static void test_f16_clients_go_first(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 20 * MIB, .base_least = 20 * MIB};
    expect_relief(&pressure, 85, 0, MMQ_RELIEF_CLIENTS);
    expect_relief(&pressure, 30, LATER, MMQ_RELIEF_NONE);
    expect_relief(&pressure, 95, LATER, MMQ_RELIEF_CLIENTS);
    expect_relief(&pressure, 99, 2 * LATER, MMQ_RELIEF_WORKERS);
    expect_relief(&pressure, 30, 3 * LATER, MMQ_RELIEF_NONE);
}

static void test_f16_what_was_cut_is_freed_in_the_background(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 20 * MIB, .base_least = 20 * MIB};
    expect_relief(&pressure, 85, 0, MMQ_RELIEF_CLIENTS);
    expect_relief(&pressure, 100, MMQ_NS_PER_S, MMQ_RELIEF_NONE);
    expect_relief(&pressure, 150, MMQ_NS_PER_S, MMQ_RELIEF_WORKERS); /* it goes on growing */
    expect_relief(&pressure, 215, MMQ_NS_PER_S, MMQ_RELIEF_CLIENTS);
}

static void test_memory_that_stays_is_somebody_elses(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 20 * MIB, .base_least = 20 * MIB};
    expect_relief(&pressure, 100, 0, MMQ_RELIEF_CLIENTS);
    expect_relief(&pressure, 100, LATER, MMQ_RELIEF_WORKERS);
    expect_relief(&pressure, 100, 2 * LATER, MMQ_RELIEF_NONE);
    expect_relief(&pressure, 160, 3 * LATER, MMQ_RELIEF_NONE);
    expect_relief(&pressure, 165, 4 * LATER, MMQ_RELIEF_CLIENTS);
}

static void test_f19_what_ends_is_accounted_for_a_while(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 20 * MIB, .base_least = 20 * MIB};
    assert_int_equal(mmq_pressure_judge(&pressure, 300 * MIB, 600 * MIB, 0), MMQ_RELIEF_NONE);
    expect_relief(&pressure, 300, 0, MMQ_RELIEF_NONE);
    for (int i = 0; i < 1000; i++) {
        expect_relief(&pressure, 30, LATER, MMQ_RELIEF_NONE);
    }
    expect_relief(&pressure, 100, LATER, MMQ_RELIEF_CLIENTS);
}

static void test_memory_that_went_is_nobodys(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 500 * MIB, .base_least = 20 * MIB};
    expect_relief(&pressure, 30, 0, MMQ_RELIEF_NONE);
    expect_relief(&pressure, 100, 0, MMQ_RELIEF_CLIENTS);
}

static void test_f19_descriptors_run_out_and_come_back(void **state)
{
    (void)state;
    mmq_pressure pressure = {.descriptor_max = 1024};
    pressure.descriptors = 900;
    assert_false(mmq_pressure_scarce(&pressure, false));
    pressure.descriptors = 961;
    assert_true(mmq_pressure_scarce(&pressure, false));
    pressure.descriptors = 900; /* not yet enough to open the door again */
    assert_true(mmq_pressure_scarce(&pressure, true));
    pressure.descriptors = 890;
    assert_false(mmq_pressure_scarce(&pressure, true));
}

static void test_the_process_is_measured(void **state)
{
    (void)state;
    mmq_pressure pressure;
    mmq_pressure_init(&pressure, 64 * MIB, 0);
    assert_in_range(pressure.base, MIB / 4, UINT64_C(1) << 40);
    assert_in_range(pressure.descriptors, 3, pressure.descriptor_max - 1);
    assert_int_equal(mmq_pressure_look(&pressure, 0, INT64_MAX / 2), MMQ_RELIEF_NONE);
    mmq_pressure_clear(&pressure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accounted_memory_is_no_concern),
        cmocka_unit_test(test_f16_clients_go_first),
        cmocka_unit_test(test_f16_what_was_cut_is_freed_in_the_background),
        cmocka_unit_test(test_memory_that_stays_is_somebody_elses),
        cmocka_unit_test(test_f19_what_ends_is_accounted_for_a_while),
        cmocka_unit_test(test_memory_that_went_is_nobodys),
        cmocka_unit_test(test_f19_descriptors_run_out_and_come_back),
        cmocka_unit_test(test_the_process_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
