/* Rows of a CSV file: columns by name, what may be absent, and sentences about what is wrong, which
 * must be fit for a terminal whatever the file holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clients/commands/csv_rows.h"

static mmq_csv_rows rows;
static mmq_csv_row row;
static mmq_why why;
static FILE *file;

static mmq_err begin_text(const char *text)
{
    if (file != NULL) {
        fclose(file);
    }
    file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    rewind(file);
    why.text[0] = '\0';
    return mmq_csv_rows_begin(&rows, file, &why);
}

static int end(void **state)
{
    (void)state;
    if (file != NULL) {
        fclose(file);
        file = NULL;
    }
    return 0;
}

static void test_columns(void **state)
{
    (void)state;
    assert_int_equal(begin_text("raw_score,x,value,timestamp,value,anomaly_score\n"
                                "0.5,,-0.0,2014-07-01 00:30:00,7,\n"
                                "\n"
                                ",,1e3,1970-01-01 00:00:00,,1\n"),
                     MMQ_OK);
    assert_int_equal(mmq_csv_rows_next(&rows, &row, &why), MMQ_OK);
    assert_int_equal(row.timestamp, 1404174600);
    assert_true(row.value == 0 && signbit(row.value)); /* the first of the name */
    assert_true(isnan(row.anomaly_score) && row.raw_score == 0.5);
    assert_int_equal(mmq_csv_rows_next(&rows, &row, &why), MMQ_OK);
    assert_true(row.timestamp == 0 && row.value == 1000 && row.anomaly_score == 1);
    assert_true(isnan(row.raw_score));
    assert_int_equal(mmq_csv_rows_next(&rows, &row, &why), MMQ_EEND);
    assert_int_equal(begin_text("timestamp,value\n2014-07-01 00:30:00,1\n"), MMQ_OK);
    assert_int_equal(mmq_csv_rows_next(&rows, &row, &why), MMQ_OK);
    assert_true(isnan(row.anomaly_score) && isnan(row.raw_score));
}

static void test_bad_headers(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "the file is empty"},
        {"timestamp\n", "no column `value`"},
        {"value,Timestamp\n", "no column `timestamp`"},
        {"\"timestamp,value\n", "not closed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(begin_text(cases[i][0]), MMQ_EINVAL);
        assert_non_null(strstr(why.text, cases[i][1]));
    }
}

static void expect_bad_row(const char *fields, const char *wanted)
{
    char text[256];
    snprintf(text, sizeof text, "timestamp,value,anomaly_score,raw_score\n%s\n", fields);
    assert_int_equal(begin_text(text), MMQ_OK);
    assert_int_equal(mmq_csv_rows_next(&rows, &row, &why), MMQ_EINVAL);
    if (strcmp(why.text, wanted) != 0) {
        fail_msg("%s, wanted %s", why.text, wanted);
    }
}

static void test_bad_rows(void **state)
{
    (void)state;
    expect_bad_row("2014-07-01 00:30:00", "the row has no `value`");
    expect_bad_row("2014-07-01 00:30:00,1", "the row has no `anomaly_score`");
    expect_bad_row("2014-07-01 00:30:00,1,", "the row has no `raw_score`");
    expect_bad_row("yesterday,1,,", "`timestamp` is \"yesterday\", not a time like 2014-07-01 "
                                    "00:30:00");
    expect_bad_row("2014-07-01 00:30:00,,,", "`value` is \"\", not a finite number");
    expect_bad_row("2014-07-01 00:30:00,1e999,,", "`value` is \"1e999\", not a finite number");
    expect_bad_row("2014-07-01 00:30:00,1,nan,", "`anomaly_score` is \"nan\", not a finite number");
    expect_bad_row("2014-07-01 00:30:00,1,0,x", "`raw_score` is \"x\", not a finite number");
}

/* A terminal obeys control characters; half a character garbles the line. */
static void test_sentences_are_fit_for_terminals(void **state)
{
    (void)state;
    expect_bad_row("2014-07-01 00:30:00,\x1b]0;x\x07,,", "`value` is \"\", not a finite number");
    expect_bad_row("2014-07-01 00:30:00,\x7f,,", "`value` is \"\", not a finite number");
    expect_bad_row("2014-07-01 00:30:00,\xff,,", "`value` is \"\", not a finite number");
    expect_bad_row("2014-07-01 00:30:00,123456789012345678901234567890123456789\xc3\xa4,,",
                   "`value` is \"123456789012345678901234567890123456789\", not a finite number");
    expect_bad_row("2014-07-01 00:30:00,12345678901234567890123456789012345678\xc3\xa4zz,,",
                   "`value` is \"12345678901234567890123456789012345678\xc3\xa4\", not a finite "
                   "number");
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_columns),
        TEST(test_bad_headers),
        TEST(test_bad_rows),
        TEST(test_sentences_are_fit_for_terminals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
