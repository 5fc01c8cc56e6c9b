/* The writers: exact bytes, as readers of the pre-2013 specification know them. */
#include "metricmq/pack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "metricmq/unpack.h"

static mmq_buffer out;

#define ASSERT_PACKED(bytes)                                                                       \
    do {                                                                                           \
        assert_false(out.failed);                                                                  \
        assert_int_equal(out.size, sizeof(bytes) - 1);                                             \
        assert_memory_equal(out.data, bytes, sizeof(bytes) - 1);                                   \
        mmq_buffer_reset(&out);                                                                    \
    } while (0)

static int setup(void **state)
{
    (void)state;
    mmq_buffer_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mmq_buffer_clear(&out);
    return 0;
}

static void test_scalars(void **state)
{
    (void)state;
    mmq_pack_nil(&out);
    mmq_pack_bool(&out, true);
    mmq_pack_bool(&out, false);
    mmq_pack_cstr(&out, NULL);
    mmq_pack_cstr(&out, "hi");
    ASSERT_PACKED("\xc0\xc3\xc2\xc0\xa2hi");
    mmq_pack_double(&out, 1);
    ASSERT_PACKED("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00");
    mmq_pack_array(&out, 2);
    mmq_pack_map(&out, 16);
    ASSERT_PACKED("\x92\xde\x00\x10");
}

static void test_shortest_integers(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        size_t size;
    } cases[] = {
        {0, 1},
        {127, 1},
        {128, 2},
        {255, 2},
        {256, 3},
        {65535, 3},
        {65536, 5},
        {UINT32_MAX, 5},
        {INT64_C(1) << 32, 9},
        {INT64_MAX, 9},
        {-1, 1},
        {-32, 1},
        {-33, 2},
        {INT8_MIN, 2},
        {INT8_MIN - 1, 3},
        {INT16_MIN, 3},
        {INT16_MIN - 1, 5},
        {INT32_MIN, 5},
        {(int64_t)INT32_MIN - 1, 9},
        {INT64_MIN, 9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_buffer_reset(&out);
        mmq_pack_int(&out, cases[i].value);
        assert_int_equal(out.size, cases[i].size);
        mmq_reader reader;
        mmq_reader_init(&reader, out.data, out.size);
        mmq_value value;
        assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
        assert_true(value.type == MMQ_INT && value.integer == cases[i].value);
    }
    mmq_buffer_reset(&out);
}

static void test_raw16_never_str8(void **state)
{
    (void)state;
    static char text[70000];
    memset(text, 'x', sizeof text);
    static const struct {
        size_t size, head;
        uint8_t first;
    } cases[] = {{31, 1, 0xbf}, {32, 3, 0xda}, {255, 3, 0xda}, {65535, 3, 0xda}, {65536, 5, 0xdb}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_buffer_reset(&out);
        mmq_pack_text(&out, text, cases[i].size);
        assert_int_equal(out.size, cases[i].head + cases[i].size);
        assert_int_equal(out.data[0], cases[i].first);
    }
    mmq_buffer_reset(&out);
}

static void test_failure_sticks(void **state)
{
    (void)state;
    mmq_buffer small;
    mmq_buffer_init(&small, 3);
    mmq_pack_cstr(&small, "too long");
    mmq_pack_nil(&small);
    assert_true(small.failed);
    mmq_buffer_clear(&small);
    mmq_pack_text(&out, "", (size_t)UINT32_MAX + 1);
    assert_true(out.failed);
    mmq_buffer_reset(&out);
}

static void test_args(void **state)
{
    (void)state;
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_int(&args, "i", 7);
    mmq_args_double(&args, "d", -2);
    mmq_args_bool(&args, "b", true);
    mmq_args_cstr(&args, "none", NULL);
    mmq_args_cstr(&args, "c", "x");
    mmq_args_text(&args, "t", "yz", 1);
    mmq_args_packed(&args, "p", "\x90", 1);
    assert_int_equal(args.count, 6);
    static const char expected[] = "\xa1i\x07\xa1"
                                   "d\xcb\xc0\x00\x00\x00\x00\x00\x00\x00\xa1"
                                   "b\xc3\xa1"
                                   "c\xa1x\xa1t\xa1y\xa1p\x90";
    assert_int_equal(args.pairs.size, sizeof expected - 1);
    assert_memory_equal(args.pairs.data, expected, sizeof expected - 1);
    mmq_args_clear(&args);
    assert_int_equal(args.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_shortest_integers),
        cmocka_unit_test(test_raw16_never_str8),
        cmocka_unit_test(test_failure_sticks),
        cmocka_unit_test(test_args),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
