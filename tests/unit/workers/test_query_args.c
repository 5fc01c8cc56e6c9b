/* Arguments of metric.query: what is taken, what is refused and how, and the fuzzer's finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "metricmq/pack.h"
#include "tests/fuzz/fuzz_query_args.c"

static mmq_buffer body;
static mmq_args args;
static mmq_page_query query;
static mmq_why why;

static int begin(void **state)
{
    (void)state;
    mmq_buffer_init(&body, 64 * 1024);
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "data");
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_buffer_clear(&body);
    mmq_args_clear(&args);
    return 0;
}

static mmq_err parse(void)
{
    memset(&why, 0, sizeof why);
    mmq_buffer_reset(&body);
    mmq_pack_map(&body, args.count);
    mmq_buffer_add(&body, args.pairs.data, args.pairs.size);
    mmq_err err = mmq_query_read_data(body.data, body.size, &query, &why);
    mmq_args_clear(&args);
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "data");
    return err;
}

/* Refused, with a sentence that names the argument. */
static void assert_refused(const char *name)
{
    assert_int_equal(parse(), MMQ_EINVAL);
    assert_non_null(strstr(why.text, name));
}

static void defaults_are_all_rows_with_a_score_newest_first(void **state)
{
    (void)state;
    assert_int_equal(parse(), MMQ_OK);
    assert_string_equal(query.selection.uid, "");
    assert_true(query.selection.from == INT64_MIN && query.selection.to == INT64_MAX);
    assert_false(query.selection.ascending || query.selection.by_metric || query.has_cursor);
    assert_true(query.selection.anomaly == 0 && query.selection.limit == 0);
    assert_false(query.selection.has_rowid);
    assert_int_equal(query.max_bytes, MMQ_PAGE_DEFAULT);
}

static void times_are_seconds_or_text(void **state)
{
    (void)state;
    mmq_args_cstr(&args, "from", "2013-08-15 21:34:00");
    mmq_args_int(&args, "to", 1376602500);
    assert_int_equal(parse(), MMQ_OK);
    assert_int_equal(query.selection.from, 1376602440);
    assert_int_equal(query.selection.to, 1376602500);
    assert_true(query.selection.ascending);
    mmq_args_cstr(&args, "from", "yesterday");
    assert_refused("from");
}

static void wrong_arguments_are_named(void **state)
{
    (void)state;
    static const char *const bad_uids[] = {"", "..", "data", "../a", "a b", "a\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad_uids / sizeof *bad_uids; i++) {
        mmq_args_cstr(&args, "uid", bad_uids[i]);
        assert_refused("uid");
    }
    mmq_args_int(&args, "uid", 5);
    assert_refused("uid");
    mmq_args_int(&args, "limit", -1);
    assert_refused("limit");
    mmq_args_double(&args, "limit", 1.5);
    assert_refused("limit");
    mmq_args_double(&args, "anomaly", NAN);
    assert_refused("anomaly");
    mmq_args_cstr(&args, "order", "value");
    assert_refused("order");
    mmq_args_cstr(&args, "cursor", "x");
    assert_refused("cursor");
    mmq_args_cstr(&args, "colour", "red");
    assert_refused("colour");
}

static void sizes_of_pages_are_clamped(void **state)
{
    (void)state;
    mmq_args_int(&args, "max_bytes", -5);
    assert_int_equal(parse(), MMQ_OK);
    assert_int_equal(query.max_bytes, MMQ_PAGE_LEAST);
    mmq_args_int(&args, "max_bytes", INT64_MAX);
    assert_int_equal(parse(), MMQ_OK);
    assert_int_equal(query.max_bytes, MMQ_PAGE_MOST);
}

static uint64_t binding_with(const char *name, double value)
{
    mmq_args_double(&args, name, value);
    assert_int_equal(parse(), MMQ_OK);
    return query.binding;
}

static void cursors_are_bound_to_what_selects_and_orders(void **state)
{
    (void)state;
    assert_int_equal(parse(), MMQ_OK);
    const uint64_t plain = query.binding;
    static const char *const bound[] = {"from", "to", "anomaly", "limit", "rowid"};
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) {
        assert_true(binding_with(bound[i], 3) != plain);
        assert_true(binding_with(bound[i], 3) != binding_with(bound[i], 4));
    }
    assert_true(binding_with("rowid", 0) != plain);
    assert_true(binding_with("limit", 0) == plain);
    assert_true(binding_with("anomaly", -0.0) == plain);
    assert_true(binding_with("max_bytes", 2000) == plain);
    mmq_args_cstr(&args, "trace", "t");
    mmq_args_int(&args, "timeout", 5);
    mmq_args_cstr(&args, "order", "time");
    assert_int_equal(parse(), MMQ_OK);
    assert_true(query.binding == plain);
    mmq_args_cstr(&args, "order", "metric");
    assert_int_equal(parse(), MMQ_OK);
    assert_true(query.binding != plain);
    mmq_args_cstr(&args, "uid", "a");
    assert_int_equal(parse(), MMQ_OK);
    assert_true(query.binding != plain);
}

static void replay(const char *path)
{
    static uint8_t data[256 * 1024];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(data, 1, sizeof data, file);
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
}

static void the_fuzzers_corpus_is_harmless(void **state)
{
    (void)state;
    char pattern[4096];
    snprintf(pattern, sizeof pattern, "%s/fuzz/corpus/query_args/*", MMQ_TESTS);
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        replay(found.gl_pathv[i]);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_are_all_rows_with_a_score_newest_first, begin,
                                        end),
        cmocka_unit_test_setup_teardown(times_are_seconds_or_text, begin, end),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_named, begin, end),
        cmocka_unit_test_setup_teardown(sizes_of_pages_are_clamped, begin, end),
        cmocka_unit_test_setup_teardown(cursors_are_bound_to_what_selects_and_orders, begin, end),
        cmocka_unit_test_setup_teardown(the_fuzzers_corpus_is_harmless, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
