/* The CSV reader: RFC 4180 as users' files have it, and files that are broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clients/commands/csv.h"

/* Reads a whole text; prints each record as |a|b| into out and returns the last error. */
static mmq_err read_all(const char *text, size_t size, char *out, size_t out_size, mmq_csv *csv)
{
    mmq_why why = {""};
    mmq_err err;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    rewind(file);
    mmq_csv_init(csv, file);
    out[0] = '\0';
    while (!(err = mmq_csv_next(csv, &why))) {
        for (size_t i = 0; i < csv->count && out_size > 0; i++) {
            size_t used = strlen(out);
            snprintf(out + used, out_size - used, "|%.*s", (int)csv->fields[i].size,
                     csv->fields[i].data);
        }
        strncat(out, "|", out_size - strlen(out) - 1);
    }
    assert_int_equal(err == MMQ_EEND, why.text[0] == '\0');
    fclose(file);
    return err;
}

static void expect(const char *text, const char *wanted)
{
    char out[4096];
    mmq_csv *csv = malloc(sizeof *csv);
    assert_non_null(csv);
    assert_int_equal(read_all(text, strlen(text), out, sizeof out, csv), MMQ_EEND);
    assert_string_equal(out, wanted);
    free(csv);
}

static void expect_bad(const char *text, int64_t line)
{
    char out[4096];
    mmq_csv *csv = malloc(sizeof *csv);
    assert_non_null(csv);
    assert_int_equal(read_all(text, strlen(text), out, sizeof out, csv), MMQ_EINVAL);
    assert_int_equal(csv->line, line);
    free(csv);
}

static void test_records(void **state)
{
    (void)state;
    expect("", "");
    expect("a,b\n1,2\n", "|a|b||1|2|");
    expect("a,b\r\n1,2\r\n", "|a|b||1|2|");
    expect("a,b\n1,2", "|a|b||1|2|");
    expect("a,,\n", "|a|||");
    expect("\n\n", "||||");
    expect("a\rb\n", "|a\rb|");
}

static void test_quotes(void **state)
{
    (void)state;
    expect("\"a,b\",\"c\"\"d\"\n", "|a,b|c\"d|");
    expect("\"a\nb\",c\n", "|a\nb|c|");
    expect("\"\",x\n", "||x|");
    expect("\"a\"", "|a|");
    expect_bad("a,b\n\"x", 2);
    expect_bad("a\"b\n", 1);
    expect_bad("a\n\"b\"c\n", 2);
}

static void test_lines_are_counted_over_quoted_breaks(void **state)
{
    (void)state;
    expect_bad("\"a\nb\nc\",d\nx\"y\n", 4);
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    expect("\xef\xbb\xbf\"a\",b\n\xef\xbb\xbf", "|a|b||\xef\xbb\xbf|");
    expect("\xef\xbb\xbf", "");
    expect("\xef\xbb\n", "|\xef\xbb|");
}

static void test_bounds(void **state)
{
    (void)state;
    size_t size = MMQ_CSV_RECORD + 1;
    char *text = malloc(size), out[16];
    mmq_csv *csv = malloc(sizeof *csv);
    assert_true(text && csv);
    memset(text, 'x', size);
    assert_int_equal(read_all(text, size, out, 0, csv), MMQ_EINVAL);
    assert_int_equal(read_all(text, size - 1, out, sizeof out, csv), MMQ_EEND);
    memset(text, ',', size);
    assert_int_equal(read_all(text, MMQ_CSV_FIELDS, out, sizeof out, csv), MMQ_EINVAL);
    assert_int_equal(read_all(text, MMQ_CSV_FIELDS - 1, out, sizeof out, csv), MMQ_EEND);
    free(text);
    free(csv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_lines_are_counted_over_quoted_breaks),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
