/* Rows: exact bytes out, the same rows back, and nothing but rows accepted. */
#include "lib/columns.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "metricmq/pack.h"
#include "metricmq/unpack.h"

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

static void fill_random(void)
{
    columns.count = MMQ_BATCH_ROWS;
    for (size_t i = 0; i < columns.count; i++) {
        set_row(i, random_integer(), random_double(), random() % 3 == 0 ? NAN : random_double(),
                random_integer());
    }
}

/* A row as msgpack-c packs it. */
static void pack_row(mmq_buffer *buffer, const char *uid, size_t i)
{
    mmq_pack_array(buffer, 5);
    mmq_pack_cstr(buffer, uid);
    mmq_pack_int(buffer, columns.timestamp[i]);
    mmq_pack_double(buffer, columns.value[i]);
    if (isnan(columns.anomaly_score[i])) {
        mmq_pack_nil(buffer);
    } else {
        mmq_pack_double(buffer, columns.anomaly_score[i]);
    }
    mmq_pack_int(buffer, columns.rowid[i]);
}

/* Timestamps and rowids around every change of width, in every order of widths. */
static void fill_widths(void)
{
    static const int64_t edges[] = {INT64_MIN,  INT32_MIN, INT16_MIN,  INT8_MIN,      -32,
                                    -1,         0,         INT8_MAX,   UINT8_MAX,     INT16_MAX,
                                    UINT16_MAX, INT32_MAX, UINT32_MAX, INT64_MAX - 1, 1376602440};
    const size_t count = sizeof edges / sizeof *edges;
    columns.count = MMQ_BATCH_ROWS;
    for (size_t i = 0; i < columns.count; i++) {
        const int64_t near = random() % 3 - 1;
        const int64_t rowid = edges[(size_t)random() % count],
                      time = edges[(size_t)random() % count];
        set_row(i, time == INT64_MIN ? time : time + near, 1.5, random() % 3 == 0 ? NAN : 0.5,
                rowid == INT64_MIN ? rowid : rowid + near);
    }
}

/* Encodes all rows in small pieces, each malloced: so that ASan sees a byte too far. */
static size_t encode_pieces(const mmq_row_prefix *const *prefixes, bool mixed)
{
    size_t size = 0;
    for (size_t next = 0; next < columns.count;) {
        const size_t room = MMQ_ROW_MAX + (size_t)random() % 1000;
        uint8_t *piece = malloc(room);
        assert_non_null(piece);
        const size_t wrote =
            mixed ? mmq_rows_encode_mixed(prefixes, &columns, next, piece, room, &next)
                  : mmq_rows_encode(prefixes[0], &columns, next, piece, room, &next);
        assert_true(wrote > 0 && wrote <= room);
        memcpy(out + size, piece, wrote);
        size += wrote;
        free(piece);
    }
    return size;
}

static void test_round_trip(void **state)
{
    (void)state;
    unsigned seed = 4711;
    print_message("seed %u\n", seed);
    srandom(seed);
    static const char *const uids[] = {"x", "names", "0123456789abcdef0123456789abcdef"};
    for (int round = 0; round < 60; round++) {
        fill_random();
        mmq_row_prefix prefix;
        mmq_row_prefix_init(&prefix, uids[round % 3]);
        const mmq_row_prefix *one = &prefix;
        const size_t size = encode_pieces(&one, false);
        assert_decoded(uids[round % 3], size);
    }
}

/* Both encoders write what msgpack-c does, for uids of every size. */
static void test_like_msgpack_c(void **state)
{
    (void)state;
    static char uids[MMQ_UID_MAX][MMQ_UID_MAX + 1];
    static mmq_row_prefix prefixes[MMQ_UID_MAX];
    const mmq_row_prefix *of_row[MMQ_BATCH_ROWS];
    mmq_buffer wanted;
    mmq_buffer_init(&wanted, sizeof out);
    for (size_t i = 0; i < MMQ_UID_MAX; i++) {
        memset(uids[i], 'a' + (int)(i % 26), i + 1);
        mmq_row_prefix_init(&prefixes[i], uids[i]);
    }
    for (size_t round = 0; round < 2 * MMQ_UID_MAX; round++) {
        const bool mixed = round % 2 == 0;
        round % 3 == 0 ? fill_random() : fill_widths();
        mmq_buffer_reset(&wanted);
        for (size_t i = 0; i < columns.count; i++) {
            const size_t uid = mixed ? (size_t)random() % MMQ_UID_MAX : round / 2;
            of_row[i] = &prefixes[uid];
            pack_row(&wanted, uids[uid], i);
        }
        assert_int_equal(encode_pieces(of_row, mixed), wanted.size);
        assert_memory_equal(out, wanted.data, wanted.size);
    }
    mmq_buffer_clear(&wanted);
}

/* A row is taken exactly when its longest form would fit. */
static void test_room(void **state)
{
    (void)state;
    columns.count = 3;
    for (size_t i = 0; i < columns.count; i++) {
        set_row(i, 1376602440, 1.5, i == 1 ? NAN : 0.5, (int64_t)i + 255);
    }
    mmq_row_prefix prefix;
    mmq_row_prefix_init(&prefix, "abc");
    const mmq_row_prefix *of_row[] = {&prefix, &prefix, &prefix};
    const size_t longest = prefix.size + MMQ_ROW_TAIL_MAX, first = 5 + 5 + 9 + 9 + 2;
    const size_t second = first + 5 + 5 + 9 + 1 + 3;
    for (size_t room = 0; room < 3 * longest; room++) {
        const size_t used = room < longest ? 0 : room - longest; /* before the last row taken */
        const size_t rows = room < longest ? 0 : used < first ? 1 : used < second ? 2 : 3;
        size_t next = 0;
        mmq_rows_encode(&prefix, &columns, 0, out, room, &next);
        assert_int_equal(next, rows);
        mmq_rows_encode_mixed(of_row, &columns, 0, out, room, &next);
        assert_int_equal(next, rows);
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

static bool unpack_number(mmq_reader *reader, bool nil, double *number)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK) {
        return false;
    }
    *number = value.type == MMQ_FLOAT  ? value.number
              : value.type == MMQ_INT  ? (double)value.integer
              : value.type == MMQ_UINT ? (double)value.unsigned_integer
                                       : NAN;
    return isfinite(*number) || (nil && value.type == MMQ_NIL);
}

static bool unpack_integer(mmq_reader *reader, int64_t *number)
{
    mmq_value value;
    const bool is = mmq_unpack(reader, &value) == MMQ_OK && value.type == MMQ_INT;
    *number = is ? value.integer : 0;
    return is;
}

/* A row value by value; bytes read, 0 if it is none. */
static size_t unpack_row(const uint8_t *data, size_t size, mmq_row *row)
{
    mmq_reader reader;
    mmq_reader_init(&reader, data, size);
    mmq_value array, uid;
    if (mmq_unpack(&reader, &array) != MMQ_OK || array.type != MMQ_ARRAY || array.count != 5 ||
        mmq_unpack(&reader, &uid) != MMQ_OK || uid.type != MMQ_STR || uid.text.size < 1 ||
        uid.text.size > MMQ_UID_MAX) {
        return 0;
    }
    row->uid = uid.text.data;
    row->uid_size = uid.text.size;
    return unpack_integer(&reader, &row->timestamp) && unpack_number(&reader, false, &row->value) &&
                   unpack_number(&reader, true, &row->anomaly_score) &&
                   unpack_integer(&reader, &row->rowid)
               ? size - mmq_reader_left(&reader)
               : 0;
}

/* Rows with a byte or two changed are read as value by value, or refused as well. */
static void test_damage(void **state)
{
    (void)state;
    static const char *const uids[] = {"x", "0123456789abcdef0123456789abcdef", "0123456789"};
    mmq_row row, wanted;
    for (int round = 0; round < 300000; round++) {
        columns.count = 4; /* what follows the first */
        for (size_t i = 0; i < columns.count; i++) {
            set_row(i, random() % 4 > 0 ? 1376602440 : random_integer(), random_double(),
                    random() % 3 == 0 ? NAN : random_double(), random_integer());
        }
        mmq_row_prefix prefix;
        mmq_row_prefix_init(&prefix, uids[round % 3]);
        size_t next, offset = 0;
        const size_t size = mmq_rows_encode(&prefix, &columns, 0, out, sizeof out, &next);
        for (long left = random() % 3; left > 0; left--) {
            const uint8_t byte = (uint8_t)random();
            out[(size_t)random() % 64] = random() % 2 > 0 ? byte : (uint8_t)(0xc0 | byte);
        }
        const size_t read = unpack_row(out, size, &wanted);
        const mmq_err err = mmq_rows_decode(out, size, &offset, &row);
        assert_int_equal(err, read > 0 ? MMQ_OK : MMQ_EPROTO);
        assert_int_equal(offset, read);
        if (read > 0) {
            assert_true(row.uid == wanted.uid && row.uid_size == wanted.uid_size);
            assert_true(row.timestamp == wanted.timestamp && row.rowid == wanted.rowid);
            assert_true(same(row.value, wanted.value));
            assert_true(same(row.anomaly_score, wanted.anomaly_score));
        }
    }
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
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_like_msgpack_c),
        cmocka_unit_test(test_room),       cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
