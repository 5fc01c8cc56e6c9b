/* When strangers' memory and missing descriptors are noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/pressure.h"

enum { MIB = 1024 * 1024 };

static void test_accounted_memory_is_no_concern(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 20 * MIB};
    assert_int_equal(mmq_pressure_judge(&pressure, 80 * MIB, 0), MMQ_RELIEF_NONE);
    assert_int_equal(mmq_pressure_judge(&pressure, 300 * MIB, 220 * MIB), MMQ_RELIEF_NONE);
}

static void test_f16_clients_go_first(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 20 * MIB};
    assert_int_equal(mmq_pressure_judge(&pressure, 85 * MIB, 0), MMQ_RELIEF_CLIENTS);
    assert_int_equal(mmq_pressure_judge(&pressure, 30 * MIB, 0), MMQ_RELIEF_NONE);
    assert_int_equal(mmq_pressure_judge(&pressure, 85 * MIB, 0), MMQ_RELIEF_CLIENTS);
    assert_int_equal(mmq_pressure_judge(&pressure, 90 * MIB, 0), MMQ_RELIEF_WORKERS);
    assert_int_equal(mmq_pressure_judge(&pressure, 30 * MIB, 0), MMQ_RELIEF_NONE);
}

static void test_memory_that_stays_is_somebody_elses(void **state)
{
    (void)state;
    mmq_pressure pressure = {.stray_max = 64 * MIB, .base = 20 * MIB};
    assert_int_equal(mmq_pressure_judge(&pressure, 100 * MIB, 0), MMQ_RELIEF_CLIENTS);
    assert_int_equal(mmq_pressure_judge(&pressure, 100 * MIB, 0), MMQ_RELIEF_WORKERS);
    assert_int_equal(mmq_pressure_judge(&pressure, 100 * MIB, 0), MMQ_RELIEF_NONE);
    assert_int_equal(mmq_pressure_judge(&pressure, 160 * MIB, 0), MMQ_RELIEF_NONE);
    assert_int_equal(mmq_pressure_judge(&pressure, 165 * MIB, 0), MMQ_RELIEF_CLIENTS);
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
        cmocka_unit_test(test_memory_that_stays_is_somebody_elses),
        cmocka_unit_test(test_f19_descriptors_run_out_and_come_back),
        cmocka_unit_test(test_the_process_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
