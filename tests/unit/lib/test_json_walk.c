/* Walking sound JSON text, with and without spaces, and the rows that append takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/append_row.h"
#include "lib/buffer.h"
#include "lib/json.h"
#include "lib/json_walk.h"
#include "metricmq/pack.h"

static void assert_slice(mmq_slice slice, const char *text)
{
    assert_int_equal(slice.size, strlen(text));
    assert_memory_equal(slice.data, text, slice.size);
}

static void start(mmq_json_walk *walk, const char *text)
{
    mmq_why why = {""};
    assert_int_equal(mmq_json_check(text, strlen(text), &why), MMQ_OK);
    mmq_json_walk_init(walk, text, strlen(text));
}

static void scalars_have_their_text(void **state)
{
    static const struct {
        const char *text, *value;
        mmq_json_type type;
    } cases[] = {
        {" null ", "null", MMQ_JSON_NULL},
        {"true", "true", MMQ_JSON_BOOL},
        {"\nfalse", "false", MMQ_JSON_BOOL},
        {"-1.5e3\t", "-1.5e3", MMQ_JSON_NUMBER},
        {" \"a\\\"]\\\\\" ", "\"a\\\"]\\\\\"", MMQ_JSON_STRING},
        {"\"\"", "\"\"", MMQ_JSON_STRING},
        {"[ ]", "[ ]", MMQ_JSON_ARRAY},
        {"{\"}\":[\"{\",{}]}", "{\"}\":[\"{\",{}]}", MMQ_JSON_OBJECT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_json_walk walk;
        start(&walk, cases[i].text);
        assert_int_equal(mmq_json_walk_type(&walk), cases[i].type);
        assert_slice(mmq_json_walk_value(&walk), cases[i].value);
        assert_false(mmq_json_walk_more(&walk));
    }
}

static void elements_come_one_by_one(void **state)
{
    static const char *const texts[] = {
        "{\"a\":[1,[],{\"x\":2},\"s\"],\"b\\u0041\":null}",
        " { \"a\" : [ 1 , [ ] , {\"x\":2} ,\r\n\"s\" ] , \"b\\u0041\" : null } ",
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        mmq_json_walk walk;
        start(&walk, texts[i]);
        mmq_json_walk_enter(&walk);
        assert_true(mmq_json_walk_more(&walk));
        assert_slice(mmq_json_walk_key(&walk), "a");
        assert_int_equal(mmq_json_walk_type(&walk), MMQ_JSON_ARRAY);
        mmq_json_walk_enter(&walk);
        assert_true(mmq_json_walk_more(&walk));
        assert_slice(mmq_json_walk_value(&walk), "1");
        assert_true(mmq_json_walk_more(&walk));
        mmq_json_walk_enter(&walk);
        assert_false(mmq_json_walk_more(&walk));
        assert_true(mmq_json_walk_more(&walk));
        assert_slice(mmq_json_walk_value(&walk), "{\"x\":2}");
        assert_true(mmq_json_walk_more(&walk));
        assert_slice(mmq_json_walk_value(&walk), "\"s\"");
        assert_false(mmq_json_walk_more(&walk));
        assert_true(mmq_json_walk_more(&walk));
        assert_slice(mmq_json_walk_key(&walk), "b\\u0041");
        assert_slice(mmq_json_walk_value(&walk), "null");
        assert_false(mmq_json_walk_more(&walk));
    }
}

/* Every timestamp's form, beside msgpack-c. */
static void append_rows_come_back(void **state)
{
    static const int64_t times[] = {
        0,          1,           127,         128,       255,       256,       65535, 65536,
        4294967295, 4294967296,  -1,          -32,       -33,       -128,      -129,  -32768,
        -32769,     -2147483648, -2147483649, INT64_MAX, INT64_MIN, 1376602440};
    static const double numbers[] = {0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, NAN};
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        for (size_t j = 0; j < 36 * 5; j++) {
            const mmq_append_row row = {times[i], numbers[j % 5], numbers[j / 5 % 6],
                                        numbers[j / 30]};
            uint8_t put[MMQ_APPEND_ROW_MAX];
            const size_t size = (size_t)(mmq_append_row_put(put, &row) - put);
            mmq_buffer packed;
            mmq_buffer_init(&packed, 100);
            mmq_pack_array(&packed, 4);
            mmq_pack_int(&packed, times[i]);
            assert_memory_equal(put, packed.data, packed.size);
            mmq_buffer_clear(&packed);
            mmq_append_row back;
            size_t offset = 0;
            assert_int_equal(mmq_append_row_take(put, size, &offset, &back), MMQ_OK);
            assert_int_equal(offset, size);
            assert_memory_equal(&back, &row, sizeof row);
            for (size_t cut = 0; cut < size; cut++) {
                offset = 0;
                assert_int_equal(mmq_append_row_take(put, cut, &offset, &back), MMQ_EPROTO);
            }
        }
    }
}

static void other_values_are_no_rows(void **state)
{
    static const char *const bad[] = {"[1,2,3]",      "[1,2,3,4,5]",   "[1.5,2,null,null]",
                                      "[1,null,1,1]", "[1,\"2\",1,1]", "[1,2,\"\",null]",
                                      "{\"a\":1}",    "[\"1\",2,3,4]"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmq_buffer packed;
        mmq_append_row row;
        size_t offset = 0;
        mmq_buffer_init(&packed, 100);
        assert_int_equal(mmq_json_to_msgpack(bad[i], strlen(bad[i]), &packed, NULL), MMQ_OK);
        assert_int_equal(mmq_append_row_take(packed.data, packed.size, &offset, &row), MMQ_EPROTO);
        assert_int_equal(offset, 0);
        mmq_buffer_clear(&packed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_have_their_text),
        cmocka_unit_test(elements_come_one_by_one),
        cmocka_unit_test(append_rows_come_back),
        cmocka_unit_test(other_values_are_no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
