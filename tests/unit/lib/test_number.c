/* Numbers read back as they were and have the promised form. MMQ_NUMBERS says how many random bit
 * patterns are tried, MMQ_SEED with which seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/number.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { NUMBERS = 1000000 };
#else
enum { NUMBERS = 10000000 };
#endif

static uint64_t get_setting(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : fallback;
}

/* xorshift64*: quick, and the same everywhere */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void assert_reads_back(double value)
{
    char text[MMQ_NUMBER_MAX + 1];
    size_t size = mmq_number_print(value, text);
    text[size] = '\0';
    if (size > MMQ_NUMBER_MAX || to_bits(strtod(text, NULL)) != to_bits(value)) {
        if (value != 0) {
            fail_msg("%a printed as %s", value, text);
        }
    }
}

static void assert_prints(double value, const char *wanted)
{
    char text[MMQ_NUMBER_MAX + 1];
    text[mmq_number_print(value, text)] = '\0';
    assert_string_equal(text, wanted);
}

static void known_forms(void **state)
{
    (void)state;
    assert_prints(0.0, "0");
    assert_prints(-0.0, "-0.0");
    assert_prints(222, "222");
    assert_prints(-1, "-1");
    assert_prints(0.025, "0.025");
    assert_prints(0.1 + 0.2, "0.30000000000000004");
    assert_prints(1e-4, "0.0001");
    assert_prints(1e-5, "1e-05");
    assert_prints(1.5e-7, "1.5e-07");
    assert_prints(1e15, "1000000000000000");
    assert_prints(9999999999999998.0, "9999999999999998");
    assert_prints(1e16, "1e+16");
    assert_prints(12345678901234567.0, "1.2345678901234568e+16");
    assert_prints(1.5e300, "1.5e+300");
    assert_prints(1e23, "1e+23");
    assert_prints(9007199254740993.0, "9007199254740992");
    assert_prints(4503599627370495.5, "4503599627370495.5");
    assert_prints(5e-324, "5e-324");
    assert_prints(-2.2250738585072014e-308, "-2.2250738585072014e-308");
    assert_prints(DBL_MAX, "1.7976931348623157e+308");
    assert_prints(2e-323, "2e-323");
}

static void hard_cases_read_back(void **state)
{
    (void)state;
    for (int exponent = -1074; exponent < 1024; exponent++) {
        double power = ldexp(1, exponent);
        assert_reads_back(power);
        assert_reads_back(nextafter(power, 0));
        assert_reads_back(nextafter(power, INFINITY) < INFINITY ? nextafter(power, INFINITY) : 0);
    }
    for (int exponent = -323; exponent <= 308; exponent++) {
        double power = pow(10, exponent);
        assert_reads_back(power);
        assert_reads_back(nextafter(power, 0));
        assert_reads_back(nextafter(power, INFINITY));
    }
    for (uint64_t bits = 1; bits < 10000; bits++) {
        assert_reads_back(from_bits(bits)); /* subnormals */
    }
    for (int step = -1000; step <= 1000; step++) {
        assert_reads_back(9007199254740992.0 + step);
    }
    assert_reads_back(DBL_MAX);
    assert_reads_back(-DBL_MAX);
    assert_reads_back(DBL_MIN);
}

static void random_patterns_read_back(void **state)
{
    uint64_t fresh;
    (void)state;
    mmq_random(&fresh, sizeof fresh);
    uint64_t seed = get_setting("MMQ_SEED", fresh | 1), count = get_setting("MMQ_NUMBERS", NUMBERS);
    printf("seed: MMQ_SEED=%" PRIu64 "\n", seed);
    for (uint64_t random = seed; count > 0; count--) {
        double value = from_bits(next_random(&random));
        if (isfinite(value)) {
            assert_reads_back(value);
        }
    }
}

/* Rounding to one digit less must not read back: else it was not the shortest. */
static void printed_digits_are_the_fewest(void **state)
{
    uint64_t random = 88172645463325252;
    (void)state;
    for (int i = 0; i < 100000; i++) {
        double value = fabs(from_bits(next_random(&random)));
        char text[MMQ_NUMBER_MAX + 1], shorter[40];
        if (!isfinite(value) || value == 0) {
            continue;
        }
        text[mmq_number_print(value, text)] = '\0';
        int digits = 0;
        for (const char *at = text; *at && *at != 'e'; at++) {
            digits += *at >= '0' && *at <= '9';
        }
        if (digits < 2 || !strchr(text, 'e')) {
            continue;
        }
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
        if (strtod(shorter, NULL) == value) {
            fail_msg("%s is longer than %s", text, shorter);
        }
    }
}

static void integers_print_and_read(void **state)
{
    static const int64_t values[] = {0,   1,    -1,   9,    10,        99,        100,
                                     101, 1000, -999, -100, INT64_MAX, INT64_MIN, 1234567890123};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[MMQ_INTEGER_MAX], wanted[32];
        int64_t back = 0;
        size_t size = mmq_integer_print(values[i], text);
        assert_int_equal(size, snprintf(wanted, sizeof wanted, "%" PRId64, values[i]));
        assert_memory_equal(text, wanted, size);
        assert_true(mmq_integer_parse(text, size, &back));
        assert_true(back == values[i]);
    }
}

static void bad_integers_are_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "-",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1.0",
                                        "1e3",
                                        "0x1",
                                        "--1",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "99999999999999999999999"};
    int64_t value = 7;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (mmq_integer_parse(texts[i], strlen(texts[i]), &value)) {
            fail_msg("taken: %s", texts[i]);
        }
    }
    assert_false(mmq_integer_parse("1\0", 2, &value));
    assert_int_equal(value, 7);
}

static void number_grammar(void **state)
{
    static const char *const good[] = {
        "0",   "-0",   "+1",    ".5",  "5.",     "-.5e3",
        "1e5", "1E-5", "1e+05", "0.5", "1e-999", "123456789012345678901234567890"};
    static const char *const bad[] = {
        "",      "-",      ".",  "e5", "1e",  "1e+", "01",  "-01",  "0x1p3",    "inf", "nan",
        "1e999", "-1e999", " 1", "1 ", "1,5", "+-1", "1.e", "1..2", "infinity", "1_0", "00"};
    double value = 0;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!mmq_number_parse(good[i], strlen(good[i]), &value)) {
            fail_msg("refused: %s", good[i]);
        }
        assert_true(to_bits(value) == to_bits(strtod(good[i], NULL)));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (mmq_number_parse(bad[i], strlen(bad[i]), &value)) {
            fail_msg("taken: %s", bad[i]);
        }
    }
    assert_false(mmq_number_parse("1\0", 2, &value));
}

/* F40: a number of 100,000 digits. */
static void long_numbers_are_exact(void **state)
{
    enum { LENGTH = 100000 };
    char *text = malloc(LENGTH);
    double value = 0;
    (void)state;
    assert_non_null(text);
    memset(text, '0', LENGTH);
    memcpy(text, "0.", 2);
    text[LENGTH - 1] = '1';
    assert_true(mmq_number_parse(text, LENGTH, &value));
    assert_true(value == 0);
    memcpy(text, "1.5", 3);
    assert_true(mmq_number_parse(text, LENGTH, &value));
    assert_true(value == 1.5);
    memset(text, '9', LENGTH);
    assert_false(mmq_number_parse(text, LENGTH, &value));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_forms),
        cmocka_unit_test(hard_cases_read_back),
        cmocka_unit_test(random_patterns_read_back),
        cmocka_unit_test(printed_digits_are_the_fewest),
        cmocka_unit_test(integers_print_and_read),
        cmocka_unit_test(bad_integers_are_refused),
        cmocka_unit_test(number_grammar),
        cmocka_unit_test(long_numbers_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
