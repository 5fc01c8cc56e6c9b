/* Rows that are wrong in each way are found, and right ones are not. */
#include "clients/load/rows_check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "clients/load/catalog.h"
#include "metricmq/pack.h"
#include "lib/columns.h"

enum { ROWS = 1000, BYTES = 1 << 20 };

/* A stream being made. */
static mmq_buffer stream;

static void add_names(void)
{
    mmq_buffer_add(&stream, mmq_rows_names, mmq_rows_names_size);
}

static void add_row(const char *uid, int64_t timestamp, int64_t rowid)
{
    mmq_pack_array(&stream, 5);
    mmq_pack_cstr(&stream, uid);
    mmq_pack_int(&stream, timestamp);
    mmq_pack_double(&stream, 1.5);
    mmq_pack_nil(&stream);
    mmq_pack_int(&stream, rowid);
}

static int set_up(void **state)
{
    (void)state;
    mmq_buffer_init(&stream, BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mmq_buffer_clear(&stream);
    return 0;
}

/* What the check says of the stream, which comes in one payload or in two, cut after `cut` bytes.
 */
static mmq_fault check_cut(const mmq_rows_wanted *wanted, size_t cut)
{
    assert_false(stream.failed);
    mmq_rows_check check;
    mmq_rows_check_init(&check, wanted);
    mmq_rows_check_payload(&check, stream.data, cut);
    mmq_rows_check_payload(&check, stream.data + cut, stream.size - cut);
    return mmq_rows_check_end(&check);
}

static mmq_fault check(const mmq_rows_wanted *wanted)
{
    return check_cut(wanted, stream.size);
}

static const mmq_rows_wanted all_ascending = {.uid = "u",
                                              .ascending = true,
                                              .from = 0,
                                              .to = INT64_MAX,
                                              .least_rows = ROWS,
                                              .most_rows = UINT64_MAX,
                                              .all = true};

static void add_rows(int64_t first, int64_t last)
{
    for (int64_t i = first; i <= last; i++) {
        add_row("u", 1000 + i / 3, i); /* three rows of one time */
    }
}

static void test_right(void **state)
{
    (void)state;
    add_names();
    add_rows(1, ROWS / 2);
    size_t cut = stream.size;
    add_rows(ROWS / 2 + 1, ROWS);
    assert_int_equal(check(&all_ascending), MMQ_FAULT_NONE);
    assert_int_equal(check_cut(&all_ascending, cut), MMQ_FAULT_NONE);
}

static void test_right_descending(void **state)
{
    (void)state;
    mmq_rows_wanted wanted = all_ascending;
    wanted.ascending = false;
    add_names();
    for (int64_t i = ROWS; i >= 1; i--) {
        add_row("u", 1000 + i / 3, i);
    }
    assert_int_equal(check(&wanted), MMQ_FAULT_NONE);
    assert_int_equal(check(&all_ascending), MMQ_FAULT_WRONG_ORDER);
}

/* Time may run against rowids: a dump is still whole. */
static void test_right_backfilled(void **state)
{
    (void)state;
    mmq_rows_wanted wanted = all_ascending;
    wanted.least_rows = 3;
    add_names();
    add_row("u", 10, 3);
    add_row("u", 20, 1);
    add_row("u", 30, 2);
    assert_int_equal(check(&wanted), MMQ_FAULT_NONE);
}

static void test_empty(void **state)
{
    (void)state;
    mmq_rows_wanted wanted = all_ascending;
    assert_int_equal(check(&wanted), MMQ_FAULT_WRONG_NAMES);
    add_names();
    assert_int_equal(check(&wanted), MMQ_FAULT_MISSING_ROWS);
    wanted.least_rows = 0;
    assert_int_equal(check(&wanted), MMQ_FAULT_NONE);
}

static void test_names(void **state)
{
    (void)state;
    add_rows(1, ROWS);
    assert_int_equal(check(&all_ascending), MMQ_FAULT_WRONG_NAMES);
    add_names();
    assert_int_equal(check(&all_ascending), MMQ_FAULT_WRONG_NAMES);
    mmq_buffer_reset(&stream);
    add_names();
    add_names();
    add_rows(1, ROWS);
    assert_int_equal(check(&all_ascending), MMQ_FAULT_WRONG_NAMES);
}

static void test_foreign(void **state)
{
    (void)state;
    mmq_rows_wanted wanted = all_ascending;
    wanted.least_rows = 1;
    add_names();
    add_row("v", 1000, 1);
    assert_int_equal(check(&wanted), MMQ_FAULT_FOREIGN_ROWS);
    mmq_buffer_reset(&stream);
    add_names();
    add_row("uu", 1000, 1);
    assert_int_equal(check(&wanted), MMQ_FAULT_FOREIGN_ROWS);
    mmq_buffer_reset(&stream);
    add_names();
    add_row("u", 1000, 1);
    wanted.from = 1001;
    assert_int_equal(check(&wanted), MMQ_FAULT_FOREIGN_ROWS);
    wanted.from = 0;
    wanted.to = 999;
    assert_int_equal(check(&wanted), MMQ_FAULT_FOREIGN_ROWS);
    wanted.to = 1000;
    assert_int_equal(check(&wanted), MMQ_FAULT_NONE);
}

static void test_missing(void **state)
{
    (void)state;
    add_names();
    add_rows(1, 500);
    add_rows(502, ROWS);
    assert_int_equal(check(&all_ascending), MMQ_FAULT_MISSING_ROWS);
    add_rows(ROWS + 1, ROWS + 1); /* as many as there are, but not those */
    assert_int_equal(check(&all_ascending), MMQ_FAULT_MISSING_ROWS);
}

static void test_repeated(void **state)
{
    (void)state;
    add_names();
    add_rows(1, 500);
    add_rows(500, ROWS);
    assert_int_equal(check(&all_ascending), MMQ_FAULT_REPEATED_ROWS);
    mmq_buffer_reset(&stream);
    add_names();
    add_rows(1, ROWS);
    add_row("u", 1000000, 7); /* the same row under another time */
    assert_int_equal(check(&all_ascending), MMQ_FAULT_REPEATED_ROWS);
}

static void test_order(void **state)
{
    (void)state;
    add_names();
    add_rows(1, 499);
    add_row("u", 1000 + 501 / 3, 501);
    add_row("u", 1000 + 500 / 3, 500);
    add_rows(502, ROWS);
    assert_int_equal(check(&all_ascending), MMQ_FAULT_WRONG_ORDER);
}

static void test_extra(void **state)
{
    (void)state;
    mmq_rows_wanted wanted = {.uid = "u", .to = INT64_MAX, .least_rows = 1, .most_rows = 1};
    add_names();
    add_row("u", 1000, 2);
    assert_int_equal(check(&wanted), MMQ_FAULT_NONE);
    add_row("u", 999, 1);
    assert_int_equal(check(&wanted), MMQ_FAULT_EXTRA_ROWS);
}

static void test_malformed(void **state)
{
    (void)state;
    add_names();
    add_rows(1, ROWS);
    mmq_rows_check broken;
    mmq_rows_check_init(&broken, &all_ascending);
    mmq_rows_check_payload(&broken, stream.data, stream.size - 1);
    assert_int_equal(mmq_rows_check_end(&broken), MMQ_FAULT_MALFORMED);
    mmq_buffer_reset(&stream);
    mmq_buffer_add(&stream, "\xc1", 1);
    assert_int_equal(check(&all_ascending), MMQ_FAULT_MALFORMED);
}

/* ---- the catalog -------------------------------------------------------------------------- */

static void add_record(mmq_catalog *catalog, const char *uid, const char *last, int64_t rows)
{
    mmq_args record;
    mmq_buffer packed;
    mmq_args_init(&record);
    mmq_buffer_init(&packed, BYTES);
    mmq_args_cstr(&record, "uid", uid);
    mmq_args_int(&record, "last_rowid", rows);
    mmq_args_cstr(&record, "last_timestamp", last);
    mmq_args_int(&record, "poll_interval", 300);
    mmq_pack_map(&packed, record.count);
    mmq_buffer_add(&packed, record.pairs.data, record.pairs.size);
    assert_int_equal(mmq_catalog_add(catalog, packed.data, packed.size, NULL), MMQ_OK);
    mmq_args_clear(&record);
    mmq_buffer_clear(&packed);
}

static void test_catalog(void **state)
{
    (void)state;
    mmq_catalog catalog = {0};
    add_record(&catalog, "a", "2026-01-03 12:00:00", 2 * 288 + 1);
    add_record(&catalog, "b", NULL, 0);
    add_record(&catalog, "c", "1969-12-31 23:00:00", 1);
    const mmq_catalog_metric *a = &catalog.metrics[0], *b = &catalog.metrics[1];
    assert_string_equal(a->uid, "a");
    assert_int_equal(a->rows, 577);
    assert_int_equal(a->days, 3);
    assert_int_equal(a->first_day_s, 1767225600); /* 2026-01-01 00:00:00 */
    assert_int_equal(b->days, 1);
    assert_int_equal(catalog.metrics[2].first_day_s, -MMQ_DAY_S);
    assert_int_equal(mmq_catalog_day_rows(a, 2), 0);
    mmq_catalog_note_day(&catalog.metrics[0], 2, 145);
    mmq_catalog_note_day(&catalog.metrics[0], 2, 144);
    assert_int_equal(mmq_catalog_day_rows(a, 2), 145);
    assert_int_equal(mmq_catalog_day_rows(a, 1), 0);
    mmq_catalog_clear(&catalog);
}

static void test_bad_record(void **state)
{
    (void)state;
    mmq_catalog catalog = {0};
    mmq_why why;
    assert_int_equal(mmq_catalog_add(&catalog, "\x80", 1, &why), MMQ_EPROTO);
    assert_int_equal(mmq_catalog_add(&catalog, "\xc0", 1, &why), MMQ_EPROTO);
    assert_int_equal(catalog.count, 0);
    mmq_catalog_clear(&catalog);
}

int main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_right),      TEST(test_right_descending),
        TEST(test_names),      TEST(test_right_backfilled),
        TEST(test_empty),      TEST(test_foreign),
        TEST(test_missing),    TEST(test_repeated),
        TEST(test_order),      TEST(test_extra),
        TEST(test_malformed),  TEST(test_catalog),
        TEST(test_bad_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
