/* Rows: exact bytes out, the same rows back, and nothing but rows accepted. */
#include "metricmq/rows.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static mmq_columns columns;
static uint8_t out[MMQ_BATCH_ROWS * MMQ_ROW_MAX];

static void set_row(size_t i, int64_t timestamp, double value, double score, int64_t rowid)
{
    columns.timestamp[i] = timestamp;
    columns.value[i] = value;
    columns.anomaly_score[i] = score;
    columns.rowid[i] = rowid;
}

static void test_bytes(void **state)
{
    (void)state;
    columns.count = 2;
    set_row(0, 1376602440, 222, 0.5, 125);
    set_row(1, -1, -0.0, NAN, 300);
    mmq_row_prefix prefix;
    mmq_row_prefix_init(&prefix, "abc");
    size_t next;
    size_t size = mmq_rows_encode(&prefix, &columns, 0, out, sizeof out, &next);
    static const char expected[] = "\x95\xa3"
                                   "abc\xce\x52\x0d\x49\x48\xcb\x40\x6b\xc0\0\0\0\0\0"
                                   "\xcb\x3f\xe0\0\0\0\0\0\0\x7d"
                                   "\x95\xa3"
                                   "abc\xff\xcb\x80\0\0\0\0\0\0\0\xc0\xcd\x01\x2c";
    assert_int_equal(next, 2);
    assert_int_equal(size, sizeof expected - 1);
    assert_memory_equal(out, expected, size);
}

static void test_prefix(void **state)
{
    (void)state;
    mmq_row_prefix prefix;
    char uid[MMQ_UID_MAX + 1] = "";
    for (size_t size = 1; size <= MMQ_UID_MAX; size++) {
        memset(uid, 'u', size);
        mmq_row_prefix_init(&prefix, uid);
        assert_int_equal(prefix.size, size + (size < 32 ? 2 : 4));
        assert_int_equal(prefix.data[0], 0x95);
        if (size == 32) {
            assert_memory_equal(prefix.data + 1, "\xda\x00\x20", 3);
        }
    }
}

static int64_t random_integer(void)
{
    uint64_t bits = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
    return (int64_t)(bits << 1) >> (random() % 64);
}

static double random_double(void)
{
    double value;
    do {
        int64_t bits = random_integer();
        memcpy(&value, &bits, sizeof value);
    } while (!isfinite(value));
    return value;
}

static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void assert_decoded(const char *uid, size_t size)
{
    mmq_row row;
    size_t offset = 0;
    for (size_t i = 0; i < columns.count; i++) {
        assert_int_equal(mmq_rows_decode(out, size, &offset, &row), MMQ_OK);
        assert_int_equal(row.uid_size, strlen(uid));
        assert_memory_equal(row.uid, uid, row.uid_size);
        assert_true(row.timestamp == columns.timestamp[i] && row.rowid == columns.rowid[i]);
        assert_true(same(row.value, columns.value[i]));
        assert_true(same(row.anomaly_score, columns.anomaly_score[i]));
    }
    assert_int_equal(mmq_rows_decode(out, size, &offset, &row), MMQ_EEND);
}

static void test_round_trip(void **state)
{
    (void)state;
    unsigned seed = 4711;
    print_message("seed %u\n", seed);
    srandom(seed);
    static const char *const uids[] = {"x", "names", "0123456789abcdef0123456789abcdef"};
    for (int round = 0; round < 60; round++) {
        columns.count = MMQ_BATCH_ROWS;
        for (size_t i = 0; i < columns.count; i++) {
            set_row(i, random_integer(), random_double(), random() % 3 == 0 ? NAN : random_double(),
                    random_integer());
        }
        mmq_row_prefix prefix;
        mmq_row_prefix_init(&prefix, uids[round % 3]);
        size_t size = 0;
        for (size_t next = 0; next < columns.count;) { /* in small pieces */
            size_t room = MMQ_ROW_MAX + (size_t)random() % 1000;
            uint8_t *piece = malloc(room); /* exact, so that ASan sees a byte too far */
            assert_non_null(piece);
            size_t wrote = mmq_rows_encode(&prefix, &columns, next, piece, room, &next);
            assert_true(wrote > 0 && wrote <= room);
            memcpy(out + size, piece, wrote);
            size += wrote;
            free(piece);
        }
        assert_decoded(uids[round % 3], size);
    }
}

static void test_no_room(void **state)
{
    (void)state;
    columns.count = 1;
    set_row(0, 0, 0, 0, 1);
    mmq_row_prefix prefix;
    mmq_row_prefix_init(&prefix, "abc");
    size_t next = 77;
    assert_int_equal(mmq_rows_encode(&prefix, &columns, 0, out, 0, &next), 0);
    assert_int_equal(next, 0);
    assert_int_equal(mmq_rows_encode(&prefix, &columns, 1, out, 1000, &next), 0);
    assert_int_equal(next, 1);
}

static mmq_err decode(const void *data, size_t size, mmq_row *row)
{
    size_t offset = 0;
    mmq_err err = mmq_rows_decode(data, size, &offset, row);
    assert_int_equal(offset, err == MMQ_OK || err == MMQ_EAGAIN ? size : 0);
    return err;
}

#define DECODE(bytes, row) decode(bytes, sizeof(bytes) - 1, row)

static void test_names(void **state)
{
    (void)state;
    mmq_row row;
    assert_int_equal(decode(mmq_rows_names, mmq_rows_names_size, &row), MMQ_EAGAIN);
    for (size_t size = 1; size < mmq_rows_names_size; size++) {
        assert_int_equal(decode(mmq_rows_names, size, &row), MMQ_EPROTO);
    }
    assert_int_equal(DECODE("\x96\xa5names\xa3uid\x01\x02\x03\x04", &row), MMQ_EPROTO);
}

static void test_other_writers(void **state)
{
    (void)state;
    mmq_row row;
    assert_int_equal(DECODE("\xdc\x00\x05\xd9\x01x\xd3\0\0\0\0\0\0\0\x05\x07\x02\xcc\x09", &row),
                     MMQ_OK);
    assert_true(row.timestamp == 5 && row.rowid == 9);
    assert_true(same(row.value, 7) && same(row.anomaly_score, 2));
    assert_int_equal(DECODE("\x95\xa1x\x05\xca\x3f\x80\0\0\xc0\x01", &row), MMQ_OK);
    assert_true(same(row.value, 1) && isnan(row.anomaly_score));
}

static void test_refused(void **state)
{
    (void)state;
    mmq_row row;
    assert_int_equal(DECODE("\xc0", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x90", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\xa1x\x05\x07\xc0", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x94\xa1x\x05\x07\xc0", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\xa0\x05\x07\xc0\x01", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\x01\x05\x07\xc0\x01", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\xa1x\xc0\x07\xc0\x01", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\xa1x\x05\xc0\xc0\x01", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\xa1x\x05\x07\xa1x\x01", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\xa1x\x05\x07\xca\x7f\x80\0\0\x01", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\xa1x\x05\xca\x7f\xc0\0\0\xc0\x01", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\x95\xa1x\xcf\xff\0\0\0\0\0\0\0\x07\xc0\x01", &row), MMQ_EPROTO);
    assert_int_equal(DECODE("\xdd\xff\xff\xff\xff", &row), MMQ_EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),      cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_other_writers),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
