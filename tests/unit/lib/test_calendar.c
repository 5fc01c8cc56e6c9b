/* Every day there is, and texts that are none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/calendar.h"

static void known_times(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } times[] = {
        {0, "1970-01-01 00:00:00"},
        {-1, "1969-12-31 23:59:59"},
        {1376602494, "2013-08-15 21:34:54"},
        {951782400, "2000-02-29 00:00:00"},
        {4107542399, "2100-02-28 23:59:59"},
        {INT64_C(2147483648), "2038-01-19 03:14:08"},
        {MMQ_TIME_MIN, "0001-01-01 00:00:00"},
        {MMQ_TIME_MAX, "9999-12-31 23:59:59"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char text[MMQ_TIME_TEXT];
        int64_t back = 0;
        mmq_time_print(times[i].seconds, text);
        assert_memory_equal(text, times[i].text, MMQ_TIME_TEXT);
        assert_true(mmq_time_parse(text, sizeof text, &back));
        assert_true(back == times[i].seconds);
    }
}

/* Counts the days itself, so that print and parse cannot agree on something wrong. */
static void every_day_comes_back(void **state)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day_start = MMQ_TIME_MIN;
    mmq_day last = {0};
    (void)state;
    for (int year = 1; year <= 9999; year++) {
        int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            int length = lengths[month - 1] + (month == 2 && leap);
            for (int day = 1; day <= length; day++, day_start += 86400) {
                char wanted[64], text[MMQ_TIME_TEXT];
                int64_t second = day_start + (day_start / 86400 * 7919 % 86400 + 86400) % 86400;
                int64_t back = 0, of_day = second - day_start;
                snprintf(wanted, sizeof wanted, "%04d-%02d-%02d %02d:%02d:%02d", year, month, day,
                         (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60));
                mmq_time_print(second, text);
                if (memcmp(text, wanted, sizeof text) != 0) {
                    fail_msg("printed %.19s for %s", text, wanted);
                }
                mmq_day_print(&last, second, text);
                assert_memory_equal(text, wanted, sizeof text);
                if (!mmq_time_parse(text, sizeof text, &back) || back != second) {
                    fail_msg("%s did not come back", wanted);
                }
            }
        }
    }
    assert_true(day_start - 1 == MMQ_TIME_MAX);
}

static void assert_same_day_or_not(mmq_day *last, int64_t seconds)
{
    char wanted[MMQ_TIME_TEXT], text[MMQ_TIME_TEXT];
    mmq_time_print(seconds, wanted);
    mmq_day_print(last, seconds, text);
    assert_memory_equal(text, wanted, sizeof text);
}

/* Steps of every size in both directions, from either side of 1970 and at the ends of time. */
static void days_are_followed(void **state)
{
    static const int64_t starts[] = {0, -1, 1376602494, MMQ_TIME_MIN, MMQ_TIME_MAX - 200000};
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        mmq_day last = {0};
        for (int64_t second = 0; second <= 200000; second++) {
            assert_same_day_or_not(&last, starts[i] + second);
        }
        for (int64_t step = 1; step <= 200000; step += step / 3 + 1) {
            assert_same_day_or_not(&last, starts[i] + step);
            assert_same_day_or_not(&last, starts[i]);
        }
    }
}

static void malformed_texts_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "2013",
        "2013-08-15",
        "2013-08-15T21:34:00",
        "2013-08-15 21:34",
        "2013-08-15 21:34:0",
        "2013-08-15 21:34:000",
        " 2013-08-15 21:34:00",
        "2013-8-15 21:34:00",
        "2013-08-15 21:34:00 ",
        "2013-08-15 21:34:00Z",
        "2013-08-15 24:00:00",
        "2013-08-15 21:60:00",
        "2013-08-15 21:34:60",
        "2013-00-15 21:34:00",
        "2013-13-15 21:34:00",
        "2013-08-00 21:34:00",
        "2013-08-32 21:34:00",
        "2013-04-31 21:34:00",
        "2013-02-29 21:34:00",
        "2100-02-29 00:00:00",
        "0000-01-01 00:00:00",
        "-001-01-01 00:00:00",
        "2013/08/15 21:34:00",
        "2013-08-15 21.34.00",
        "2013-08-15 +1:34:00",
        "2o13-08-15 21:34:00",
        "2013-08-15  1:34:00",
    };
    int64_t value = 7;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (mmq_time_parse(texts[i], strlen(texts[i]), &value)) {
            fail_msg("taken: %s", texts[i]);
        }
    }
    assert_false(mmq_time_parse("2013-08-15 21:34:0\0", 19, &value));
    assert_int_equal(value, 7);
}

static void loose_forms(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } times[] = {
        {"2013-08-15 21:34:54", 1376602494},
        {"2013-08-15T21:34:54", 1376602494},
        {"2013-08-15T21:34:54Z", 1376602494},
        {"2013-08-15", 1376524800},
        {"0", 0},
        {"-12", -12},
        {"1376602494", 1376602494},
        {"253402300799", MMQ_TIME_MAX},
        {"-62135596800", MMQ_TIME_MIN},
    };
    static const char *const bad[] = {"",
                                      "2013-08-15 21:34:54Z",
                                      "2013-08-15T21:34:54z",
                                      "2013-08-15T21:34:54+00:00",
                                      "2013-08-15T24:00:00",
                                      "2013-02-30",
                                      "2013-08",
                                      "1.5",
                                      "1e3",
                                      "253402300800",
                                      "-62135596801",
                                      "99999999999999999999",
                                      "now",
                                      "+5",
                                      "5 "};
    int64_t value = 0;
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        assert_true(mmq_time_parse_loose(times[i].text, strlen(times[i].text), &value));
        assert_true(value == times[i].seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (mmq_time_parse_loose(bad[i], strlen(bad[i]), &value)) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

/* Whatever the day before was, a row's time is read as any text's. */
static void assert_row(const char *text, size_t size, mmq_time_day *day)
{
    int64_t wanted = 7, value = 7;
    bool good = mmq_time_parse_loose(text, size, &wanted);
    if (mmq_time_parse_row(text, size, day, &value) != good || value != wanted) {
        fail_msg("%.*s was read as %lld, wanted %lld", (int)size, text, (long long)value,
                 (long long)wanted);
    }
}

static void rows_reuse_the_day(void **state)
{
    static const char *const texts[] = {"2013-08-15 21:34:54",
                                        "2013-08-15 00:00:00",
                                        "2013-08-15 23:59:59",
                                        "2013-08-15T23:59:59",
                                        "2013-08-15 24:00:00",
                                        "2013-08-15 23:60:00",
                                        "2013-08-15 23:59:60",
                                        "2013-08-15",
                                        "2013-08-16 00:00:00",
                                        "2013-02-30 00:00:00",
                                        "2013-02-30 00:00:00",
                                        "1969-12-31 23:59:59",
                                        "1969-12-31 00:00:01",
                                        "0001-01-01 00:00:00",
                                        "0001-01-01 23:59:59",
                                        "9999-12-31 00:00:00",
                                        "9999-12-31 23:59:59",
                                        "1376602494",
                                        "",
                                        "9999-12-31 23:59:5",
                                        "9999-12-31 23:59:599",
                                        "9999-12-31 23-59:59",
                                        "9999-12-31 23:59;59",
                                        "0000-00-00 00:00:00"};
    mmq_time_day day = {"", 0};
    (void)state;
    assert_row("\0\0\0\0\0\0\0\0\0\0 12:00:00", MMQ_TIME_TEXT, &day);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_row(texts[i], strlen(texts[i]), &day);
    }
}

/* Every byte there is in every place. */
static void rows_refuse_what_is_no_digit(void **state)
{
    mmq_time_day day = {"", 0};
    (void)state;
    for (size_t place = 0; place < MMQ_TIME_TEXT; place++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[] = "2013-08-15 11:34:54";
            assert_row(text, MMQ_TIME_TEXT, &day);
            text[place] = (char)byte;
            assert_row(text, MMQ_TIME_TEXT, &day);
        }
    }
}

static void every_second_of_a_day_is_read(void **state)
{
    mmq_time_day day = {"", 0};
    (void)state;
    for (int64_t second = 86400 * 3; second < 86400 * 5; second++) {
        char text[MMQ_TIME_TEXT];
        int64_t value = 7;
        mmq_time_print(second, text);
        assert_true(mmq_time_parse_row(text, sizeof text, &day, &value));
        assert_true(value == second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times),
        cmocka_unit_test(every_day_comes_back),
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(rows_reuse_the_day),
        cmocka_unit_test(rows_refuse_what_is_no_digit),
        cmocka_unit_test(every_second_of_a_day_is_read),
        cmocka_unit_test(days_are_followed),
        cmocka_unit_test(loose_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
