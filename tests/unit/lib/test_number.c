/* Numbers read back as they were and have the promised form. MMQ_NUMBERS says how many random bit
 * patterns are tried, MMQ_SEED with which seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
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
    if (size > MMQ_NUMBER_TEXT || to_bits(strtod(text, NULL)) != to_bits(value)) {
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
    assert_prints(12345678, "12345678");
    assert_prints(123456789, "123456789");
    assert_prints(-1234567890123456, "-1234567890123456");
    assert_prints(99999999, "99999999");
    assert_prints(100000000, "100000000");
    assert_prints(0.025, "0.025");
    assert_prints(0.1 + 0.2, "0.30000000000000004");
    assert_prints(1e-4, "0.0001");
    assert_prints(0.0301003401, "0.0301003401");
    assert_prints(-0.00012345678901234567, "-0.00012345678901234567");
    assert_prints(999999999999999.9, "999999999999999.9");
    assert_prints(0.999999999999999, "0.999999999999999");
    assert_prints(1234567890123456.8, "1234567890123456.8");
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

/* The digits of a printed number, without zeros at either end. */
static void take_digits(const char *text, char *digits)
{
    char *end = digits;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text >= (end == digits ? '1' : '0') && *text <= '9') {
            *end++ = *text;
        }
    }
    while (end > digits && end[-1] == '0') {
        end--;
    }
    *end = '\0';
}

/* A decimal of up to 15 digits comes back as it was written; any reads back. */
static void short_decimals_come_back(void **state)
{
    uint64_t fresh;
    (void)state;
    mmq_random(&fresh, sizeof fresh);
    uint64_t random = get_setting("MMQ_SEED", fresh | 1);
    printf("seed: MMQ_SEED=%" PRIu64 "\n", random);
    for (int i = 0; i < NUMBERS / 4; i++) {
        char text[64], wanted[64], got[64];
        uint64_t limit = 1;
        const int most = 1 + (int)(next_random(&random) % 17);
        for (int digit = 0; digit < most; digit++) {
            limit *= 10;
        }
        const uint64_t number = next_random(&random) % limit;
        const int exponent = (int)(next_random(&random) % (i % 8 == 0 ? 320 : 32));
        snprintf(text, sizeof text, "%" PRIu64 "e-%d", number, exponent);
        const double value = strtod(text, NULL);
        assert_reads_back(value);
        if (most <= 15 && value > DBL_MIN) {
            take_digits(text, wanted);
            text[mmq_number_print(value, text)] = '\0';
            take_digits(text, got);
            assert_string_equal(got, wanted);
        }
    }
}

/* Up to three decimals, which have a way of their own below 10^8, and what is next to them. */
static void thousandths_print(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252;
    for (int i = 0; i < NUMBERS / 8; i++) {
        const uint64_t limit = i % 2 == 0 ? 100000 : UINT64_C(200000000000);
        const uint64_t number = next_random(&random) % limit + 1;
        const double value = (double)number / 1000;
        char wanted[64];
        int size = snprintf(wanted, sizeof wanted, "-%" PRIu64 ".%03u", number / 1000,
                            (unsigned)(number % 1000));
        while (wanted[size - 1] == '0') {
            size--;
        }
        wanted[wanted[size - 1] == '.' ? size - 1 : size] = '\0';
        assert_prints(-value, wanted);
        assert_prints(value, wanted + 1);
        assert_reads_back(nextafter(value, 0));
        assert_reads_back(nextafter(value, INFINITY));
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
    int64_t values[500] = {0,   1,    -1,   9,    10,        99,        100,
                           101, 1000, -999, -100, INT64_MAX, INT64_MIN, 1234567890123};
    size_t count = 14;
    (void)state;
    for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10) {
        for (int64_t near = -1; near <= 1; near++) {
            values[count++] = power * 10 + near;
            values[count++] = power * -7 + near;
        }
    }
    for (size_t i = 0; i < count; i++) {
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

/* As strtod reads it, to the bit; finite only. */
static void assert_parses(const char *text)
{
    double value = 7, wanted = strtod(text, NULL);
    bool taken = mmq_number_parse(text, strlen(text), &value);
    if (taken != (bool)isfinite(wanted) || (taken && to_bits(value) != to_bits(wanted))) {
        fail_msg("%s was read as %a (%d), wanted %a", text, value, taken, wanted);
    }
}

static void assert_parses_printed(double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    assert_parses(text);
    text[mmq_number_print(value, text)] = '\0';
    assert_parses(text);
}

static char *put_random_digits(char *at, uint64_t *random, int count)
{
    while (count-- > 0) {
        *at++ = (char)('0' + next_random(random) / 7 % 10);
    }
    return at;
}

/* 1 to 40 digits, a point anywhere, an exponent in half of them. */
static void make_digits(char *out, uint64_t *random)
{
    int digits = 1 + (int)(next_random(random) % 40);
    int whole = (int)(next_random(random) % ((unsigned)digits + 1));
    char *at = out;
    if (next_random(random) % 2) {
        *at++ = '-';
    }
    if (whole > 0) {
        *at++ = (char)('1' + next_random(random) % 9);
        at = put_random_digits(at, random, whole - 1);
    }
    *at++ = '.';
    at = put_random_digits(at, random, digits - whole);
    const int range = next_random(random) % 4 ? 30 : 400;
    if (next_random(random) % 2) {
        at += snprintf(at, 8, "e%d", (int)(next_random(random) % (2U * (unsigned)range)) - range);
    }
    *at = '\0';
}

static void random_texts_parse_as_strtod(void **state)
{
    uint64_t fresh;
    (void)state;
    mmq_random(&fresh, sizeof fresh);
    uint64_t seed = get_setting("MMQ_SEED", fresh | 1), count = get_setting("MMQ_NUMBERS", NUMBERS);
    printf("seed: MMQ_SEED=%" PRIu64 "\n", seed);
    for (uint64_t random = seed; count > 0; count--) {
        char text[64];
        double value = from_bits(next_random(&random));
        if (isfinite(value)) {
            assert_parses_printed(value);
        }
        make_digits(text, &random);
        assert_parses(text);
    }
}

/* The middle between value and its upper neighbour, in full; a little below; a little above. */
static void assert_middle_parses(double value)
{
    char text[1200];
    uint64_t whole;
    int exponent;
    whole = (uint64_t)ldexp(frexp(value, &exponent), 53) * 2 + 1;
    exponent -= 54;
    /* long double has 64 bits, so the middle is one; printf writes its digits in full */
    int size = snprintf(text, sizeof text, "%.1100Lg", ldexpl((long double)whole, exponent));
    assert_true(size > 0 && (size_t)size < sizeof text - 2);
    assert_parses(text);
    if (strchr(text, '.') && !strchr(text, 'e')) {
        strcpy(text + size, "1");
        assert_parses(text);
        text[size - 1]--; /* its last digit is a 5 */
        strcpy(text + size, "9");
        assert_parses(text);
    }
}

static void halfway_texts_parse_as_strtod(void **state)
{
    uint64_t random = 88172645463325252;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        double value = from_bits(next_random(&random) >> 12 | UINT64_C(1023) << 52);
        assert_middle_parses(value);
        assert_middle_parses(ldexp(value, i % 120 - 60));
        assert_middle_parses(ldexp(value, i % 1800 - 900));
    }
    /* the middle of two doubles as a whole number, of up to 19 and of more digits */
    for (int i = 0; i < 1000; i++) {
        char text[64];
        uint64_t odd = (next_random(&random) >> 11 | UINT64_C(1) << 53) | 1;
        for (int zeros = 0; zeros < 25; zeros++) {
            for (int step = -1; step <= 1; step++) {
                snprintf(text, sizeof text, "%" PRIu64 "e%d", odd + (uint64_t)step, zeros - 3);
                assert_parses(text);
            }
        }
    }
}

static void hard_texts_parse_as_strtod(void **state)
{
    static const char *const texts[] = {"1e308",
                                        "1e309",
                                        "1.7976931348623157e308",
                                        "1.7976931348623158e308",
                                        "1.7976931348623159e308",
                                        "17976931348623158079372897140530e277",
                                        "2.2250738585072011e-308",
                                        "2.2250738585072014e-308",
                                        "4.9e-324",
                                        "2.4703282292062327e-324",
                                        "2.4703282292062328e-324",
                                        "1e-323",
                                        "1e23",
                                        "8.5e22",
                                        "9007199254740993",
                                        "9007199254740993.0000000000000000000000001",
                                        "9007199254740992.9999999999999999999999999",
                                        "9007199254740991e22",
                                        "9007199254740993e-22",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "9999999999999999999",
                                        "99999999999999999999",
                                        "0.00000000000000000000000000000000000001",
                                        "0.0000000000000000000000000000000000000e99999",
                                        "0e999999999999",
                                        "1e-999999999999",
                                        "-0",
                                        "-0.0e5",
                                        "-.0",
                                        "1e999999999999",
                                        "123456789012345678901234567890e-292",
                                        "12345678901234567890123e270",
                                        "1e0000000000000000000000000000000005",
                                        "7.2057594037927933e16",
                                        "6.0221407600000000000000000000000000000e23",
                                        "0.500000000000000166533453693773481063544750213623046875",
                                        "3.518437208883201171875e13",
                                        "62.5364939768271845828",
                                        "8.10109172351e-10",
                                        "1.50000000000000011102230246251565",
                                        "1.50000000000000011102230246251565404236316680908203125"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_parses(texts[i]);
    }
    for (int exponent = -1074; exponent < 1024; exponent++) {
        double power = ldexp(1, exponent);
        assert_parses_printed(power);
        assert_parses_printed(nextafter(power, 0));
    }
    for (int exponent = -345; exponent <= 310; exponent++) {
        char text[32];
        for (int digit = 1; digit < 10; digit++) {
            snprintf(text, sizeof text, "%de%d", digit, exponent);
            assert_parses(text);
        }
    }
    for (uint64_t bits = 0; bits < 10000; bits++) {
        assert_parses_printed(from_bits(bits));
        assert_parses_printed(from_bits(to_bits(DBL_MAX) - bits));
        assert_parses_printed(from_bits(to_bits(DBL_MIN) - 5000 + bits));
    }
}

/* What stands behind the text is never looked at. */
static void parsing_stops_at_the_end(void **state)
{
    static const char digits[] = "1234567890123456789012345678.90123456789e12";
    (void)state;
    for (size_t size = 1; size < sizeof digits; size++) {
        char *text = strndup(digits, size);
        double value = 7;
        assert_non_null(text);
        if (mmq_number_parse(digits, size, &value)) {
            assert_true(to_bits(value) == to_bits(strtod(text, NULL)));
        } else {
            assert_true(text[size - 1] == 'e');
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_forms),
        cmocka_unit_test(hard_cases_read_back),
        cmocka_unit_test(random_patterns_read_back),
        cmocka_unit_test(short_decimals_come_back),
        cmocka_unit_test(thousandths_print),
        cmocka_unit_test(printed_digits_are_the_fewest),
        cmocka_unit_test(integers_print_and_read),
        cmocka_unit_test(bad_integers_are_refused),
        cmocka_unit_test(number_grammar),
        cmocka_unit_test(long_numbers_are_exact),
        cmocka_unit_test(random_texts_parse_as_strtod),
        cmocka_unit_test(halfway_texts_parse_as_strtod),
        cmocka_unit_test(hard_texts_parse_as_strtod),
        cmocka_unit_test(parsing_stops_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
