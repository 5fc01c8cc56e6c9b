/* The CSV reader: RFC 4180 as users' files have it, and files that are broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clients/commands/csv.h"

/* Reads a whole text; prints each record behind the first `skipped` as |a|b| into out and returns
 * the last error. */
static mmq_err read_all_but(const char *text, size_t size, int64_t skipped, char *out,
                            size_t out_size, mmq_csv *csv)
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
        if (csv->line <= skipped || out_size == 0) {
            continue;
        }
        for (size_t i = 0; i < csv->count; i++) {
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

static mmq_err read_all(const char *text, size_t size, char *out, size_t out_size, mmq_csv *csv)
{
    return read_all_but(text, size, 0, out, out_size, csv);
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

/* A record of every size about that of a piece, in every form, is cut off by it somewhere. */
static void test_records_over_the_end_of_a_piece(void **state)
{
    static const char *const records[] = {"a,b\n", "\"a\"\"b\",c\r\n", "\"\n\",\"\"\r\n",
                                          "x\r,\"\"\"\"\n"};
    static const char *const wanted[] = {"|a|b|", "|a\"b|c|", "|\n||", "|x\r|\"|"};
    enum { LINE = 32 * 1024, LINES = MMQ_CSV_PIECE / LINE };
    char *text = malloc(MMQ_CSV_PIECE + 256), out[64];
    mmq_csv *csv = malloc(sizeof *csv);
    (void)state;
    assert_true(text && csv);
    for (size_t r = 0; r < sizeof records / sizeof *records; r++) {
        for (size_t back = 0; back < 16; back++) {
            memset(text, 'y', MMQ_CSV_PIECE);
            for (size_t line = 1; line < LINES; line++) {
                text[line * LINE] = '\n';
            }
            text[MMQ_CSV_PIECE - 1 - back] = '\n';
            strcpy(text + MMQ_CSV_PIECE - back, records[r]);
            strcat(text + MMQ_CSV_PIECE - back, records[r]);
            size_t size = MMQ_CSV_PIECE - back + 2 * strlen(records[r]);
            out[0] = '\0';
            assert_int_equal(read_all_but(text, size, LINES, out, sizeof out, csv), MMQ_EEND);
            assert_int_equal(strlen(out), 2 * strlen(wanted[r]));
            assert_memory_equal(out, wanted[r], strlen(wanted[r]));
            assert_string_equal(out + strlen(wanted[r]), wanted[r]);
            assert_int_equal(csv->offset, size);
        }
    }
    free(text);
    free(csv);
}

/* Doubled quotes count once, and a record of nothing else fits into a piece. */
static void test_bounds_of_quoted_fields(void **state)
{
    (void)state;
    size_t quotes = 2 * (size_t)MMQ_CSV_RECORD;
    char *text = malloc(quotes + 4 + MMQ_CSV_PIECE), out[16];
    mmq_csv *csv = malloc(sizeof *csv);
    assert_true(text && csv);
    memset(text, '"', quotes + 4 + MMQ_CSV_PIECE);
    assert_int_equal(read_all(text, quotes + 2, out, 0, csv), MMQ_EEND);
    assert_int_equal(csv->offset, quotes + 2);
    assert_int_equal(read_all(text, quotes + 4, out, 0, csv), MMQ_EINVAL);
    assert_int_equal(read_all(text, quotes + 4 + MMQ_CSV_PIECE, out, 0, csv), MMQ_EINVAL);
    memset(text + 1, 'x', MMQ_CSV_PIECE + 1);
    assert_int_equal(read_all(text, MMQ_CSV_PIECE + 1, out, 0, csv), MMQ_EINVAL);
    assert_int_equal(read_all(text, MMQ_CSV_RECORD, out, 0, csv), MMQ_EINVAL);
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
        cmocka_unit_test(test_bounds_of_quoted_fields),
        cmocka_unit_test(test_records_over_the_end_of_a_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
