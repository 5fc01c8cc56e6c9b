/* The msgpack reader: every head, every cut, claims beyond the data, depth. */
#include "metricmq/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static mmq_err read_one(const void *data, size_t size, mmq_value *out)
{
    mmq_reader reader;
    mmq_reader_init(&reader, data, size);
    mmq_err err = mmq_unpack(&reader, out);
    assert_int_equal(mmq_reader_done(&reader), err == MMQ_OK || size == 0);
    return err;
}

#define READ(bytes, out) read_one(bytes, sizeof(bytes) - 1, out)

static void test_scalars(void **state)
{
    (void)state;
    mmq_value value;
    assert_int_equal(READ("", &value), MMQ_EEND);
    assert_int_equal(READ("\xc0", &value), MMQ_OK);
    assert_int_equal(value.type, MMQ_NIL);
    assert_int_equal(READ("\xc3", &value), MMQ_OK);
    assert_true(value.type == MMQ_BOOL && value.boolean);
    assert_int_equal(READ("\xc2", &value), MMQ_OK);
    assert_true(value.type == MMQ_BOOL && !value.boolean);
    assert_int_equal(READ("\xc1", &value), MMQ_EPROTO);
    assert_int_equal(READ("\xca\x3f\x80\x00\x00", &value), MMQ_OK);
    assert_true(value.type == MMQ_FLOAT && value.number >= 1 && value.number <= 1);
    assert_int_equal(READ("\xcb\xbf\xf0\x00\x00\x00\x00\x00\x00", &value), MMQ_OK);
    assert_true(value.type == MMQ_FLOAT && value.number <= -1 && value.number >= -1);
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int64_t integer;
    } cases[] = {
        {"\x00", 1, 0},
        {"\x7f", 1, 127},
        {"\xff", 1, -1},
        {"\xe0", 1, -32},
        {"\xcc\xff", 2, 255},
        {"\xcd\xff\xff", 3, 65535},
        {"\xce\xff\xff\xff\xff", 5, UINT32_MAX},
        {"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MAX},
        {"\xd0\x80", 2, INT8_MIN},
        {"\xd0\x7f", 2, 127},
        {"\xd1\x80\x00", 3, INT16_MIN},
        {"\xd2\x80\x00\x00\x00", 5, INT32_MIN},
        {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, INT64_MIN},
        {"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", 9, -1},
    };
    mmq_value value;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(read_one(cases[i].bytes, cases[i].size, &value), MMQ_OK);
        assert_int_equal(value.type, MMQ_INT);
        assert_true(value.integer == cases[i].integer);
    }
    assert_int_equal(READ("\xcf\x80\x00\x00\x00\x00\x00\x00\x00", &value), MMQ_OK);
    assert_true(value.type == MMQ_UINT && value.unsigned_integer == UINT64_C(1) << 63);
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        mmq_type type;
        size_t text_size;
    } cases[] = {
        {"\xa0", 1, MMQ_STR, 0},
        {"\xa2hi", 3, MMQ_STR, 2},
        {"\xd9\x02hi", 4, MMQ_STR, 2},
        {"\xda\x00\x02hi", 5, MMQ_STR, 2},
        {"\xdb\x00\x00\x00\x02hi", 7, MMQ_STR, 2},
        {"\xc4\x02hi", 4, MMQ_BIN, 2},
        {"\xc5\x00\x02hi", 5, MMQ_BIN, 2},
        {"\xc6\x00\x00\x00\x02hi", 7, MMQ_BIN, 2},
        {"\xd4\x05h", 3, MMQ_EXT, 1},
        {"\xd5\x05hi", 4, MMQ_EXT, 2},
        {"\xc7\x00\x05", 3, MMQ_EXT, 0},
        {"\xc7\x02\x05hi", 5, MMQ_EXT, 2},
        {"\xc8\x00\x02\x05hi", 6, MMQ_EXT, 2},
        {"\xc9\x00\x00\x00\x02\x05hi", 8, MMQ_EXT, 2},
    };
    mmq_value value;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(read_one(cases[i].bytes, cases[i].size, &value), MMQ_OK);
        assert_int_equal(value.type, cases[i].type);
        assert_int_equal(value.text.size, cases[i].text_size);
        assert_memory_equal(value.text.data, "hi", cases[i].text_size);
        for (size_t cut = 1; cut < cases[i].size; cut++) {
            assert_int_equal(read_one(cases[i].bytes, cut, &value), MMQ_EPROTO);
        }
    }
}

static void test_claims_beyond_the_data(void **state)
{
    (void)state;
    mmq_value value;
    assert_int_equal(READ("\xdd\xff\xff\xff\xff", &value), MMQ_EPROTO);
    assert_int_equal(READ("\xdf\xff\xff\xff\xff", &value), MMQ_EPROTO);
    assert_int_equal(READ("\xdb\xff\xff\xff\xffx", &value), MMQ_EPROTO);
    assert_int_equal(READ("\xc6\xff\xff\xff\xffx", &value), MMQ_EPROTO);
    assert_int_equal(READ("\xc9\xff\xff\xff\xffx", &value), MMQ_EPROTO);
    assert_int_equal(READ("\x92\xc0", &value), MMQ_EPROTO);
    assert_int_equal(READ("\x81\xc0", &value), MMQ_EPROTO);
    mmq_reader reader;
    mmq_reader_init(&reader, "\x92\xc0\xc0", 3);
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    assert_true(value.type == MMQ_ARRAY && value.count == 2);
    assert_int_equal(READ("\x80", &value), MMQ_OK);
    assert_true(value.type == MMQ_MAP && value.count == 0);
}

static void test_skip(void **state)
{
    (void)state;
    static const char data[] = "\x83\xa1k\x92\x01\x02\x90\x80\xc0\x81\x01\x91\xa1x\x07";
    mmq_reader reader;
    mmq_reader_init(&reader, data, sizeof data - 1);
    assert_int_equal(mmq_unpack_skip(&reader), MMQ_OK);
    mmq_value value;
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    assert_int_equal(value.integer, 7);
    assert_int_equal(mmq_unpack_skip(&reader), MMQ_EEND);
    for (size_t cut = 1; cut < sizeof data - 2; cut++) {
        mmq_reader_init(&reader, data, cut);
        assert_int_equal(mmq_unpack_skip(&reader), MMQ_EPROTO);
        assert_ptr_equal(reader.at, data);
    }
}

static void test_skip_depth(void **state)
{
    (void)state;
    uint8_t data[100000];
    memset(data, 0x91, sizeof data);
    mmq_reader reader;
    for (size_t depth = 1; depth < 100; depth++) {
        data[depth] = 0xc0;
        mmq_reader_init(&reader, data, depth + 1);
        assert_int_equal(mmq_unpack_skip(&reader), depth <= MMQ_UNPACK_DEPTH ? MMQ_OK : MMQ_EPROTO);
        data[depth] = 0x91;
    }
    mmq_reader_init(&reader, data, sizeof data);
    assert_int_equal(mmq_unpack_skip(&reader), MMQ_EPROTO);
}

/* Bytes at random: whatever they are, the reader stays inside and gets ahead. */
static void test_random_bytes(void **state)
{
    (void)state;
    unsigned seed = 20261123;
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int round = 0; round < 20000; round++) {
        size_t size = (size_t)random() % 40;
        uint8_t *data = malloc(size + 1);
        assert_non_null(data);
        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)random();
        }
        data = realloc(data, size > 0 ? size : 1); /* exact, so that ASan sees a byte too far */
        mmq_reader reader;
        mmq_reader_init(&reader, data, size);
        const uint8_t *before = reader.at;
        while (mmq_unpack_skip(&reader) == MMQ_OK) {
            assert_true(reader.at > before && reader.at <= reader.end);
            before = reader.at;
        }
        assert_ptr_equal(reader.at, before);
        free(data);
    }
}

static void test_value_is(void **state)
{
    (void)state;
    mmq_value value;
    assert_int_equal(READ("\xa2id", &value), MMQ_OK);
    assert_true(mmq_value_is(&value, "id"));
    assert_false(mmq_value_is(&value, "i"));
    assert_false(mmq_value_is(&value, "idx"));
    assert_int_equal(READ("\xc4\x02id", &value), MMQ_OK);
    assert_false(mmq_value_is(&value, "id"));
}

static void test_whole_and_map(void **state)
{
    (void)state;
    static const char map[] = "\x83\xa1"
                              "a\x01\xa1"
                              "b\x92\x02\x03\xa1"
                              "c\xa2xy";
    mmq_reader reader, whole;
    mmq_value value;
    mmq_reader_init(&reader, map, sizeof map - 1);
    assert_true(mmq_map_find(reader, "b", &value, &whole));
    assert_int_equal(value.type, MMQ_ARRAY);
    assert_int_equal(mmq_reader_left(&whole), 3);
    assert_false(mmq_map_find(reader, "d", &value, &whole));
    assert_int_equal(mmq_unpack_whole(&reader, &value, &whole), MMQ_OK);
    assert_int_equal(value.count, 3);
    assert_int_equal(mmq_reader_left(&whole), sizeof map - 1);
    assert_true(mmq_reader_done(&reader));
    mmq_reader_init(&reader, map, sizeof map - 2); /* cut off in the value of c */
    assert_true(mmq_map_find(reader, "a", &value, &whole));
    assert_false(mmq_map_find(reader, "c", &value, &whole));
    assert_int_equal(mmq_unpack_whole(&reader, &value, &whole), MMQ_EPROTO);
    assert_int_equal(mmq_reader_left(&reader), sizeof map - 2);
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "plain",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xf0\x9f\x98\x80",
        "\xf4\x8f\xbf\xbf",
    };
    static const char *const bad[] = {
        "\x80",         "\xc3",     "\xc0\xaf",         "\xc1\xbf",         "\xe0\x80\xaf",
        "\xed\xa0\x80", "\xe2\x82", "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "a\xc3(",   "\xe2(\xa1",        "\xf0\x9f\x98",     "\xf0\x9f(\x80",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(mmq_utf8_valid(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(mmq_utf8_valid(bad[i], strlen(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),      cmocka_unit_test(test_integers),
        cmocka_unit_test(test_texts),        cmocka_unit_test(test_claims_beyond_the_data),
        cmocka_unit_test(test_skip),         cmocka_unit_test(test_skip_depth),
        cmocka_unit_test(test_random_bytes), cmocka_unit_test(test_value_is),
        cmocka_unit_test(test_utf8),         cmocka_unit_test(test_whole_and_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
