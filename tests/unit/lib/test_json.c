/* JSON in and out: what is taken, what is refused, and that both directions agree. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "metricmq/pack.h"

enum { LIMIT = 64 * 1024 * 1024 };

static mmq_err check(const char *text)
{
    mmq_why why;
    return mmq_json_check(text, strlen(text), &why);
}

static void sound_texts_are_taken(void **state)
{
    static const char *const texts[] = {
        "null",
        " true ",
        "\t[\r\n]",
        "{}",
        "0",
        "-0",
        "1e5",
        "1E+5",
        "0.5e-7",
        "\"\"",
        "\"\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\xc3\xa9\xf0\x9f\x98\x80\x7f\"",
        "{\"a\":1,\"b\":[1,2,{\"a\":null}],\"\":0}",
        "[1,[2,[3]]]",
        "1.7976931348623157e308",
        "{\"a\":{\"a\":{\"a\":1}}}",
        "1e-999",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (check(texts[i]) != MMQ_OK) {
            fail_msg("refused: %s", texts[i]);
        }
    }
}

static void unsound_texts_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "nul",
        "True",
        "01",
        "-",
        "+1",
        ".5",
        "5.",
        "1e",
        "1e+",
        "0x10",
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[",
        "]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "\"",
        "\"\n\"",
        "\"\x1f\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"a\\u0000b\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800x\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\xef\xbb\xbf{}",
        "\xff\xfe{\x00}",
        "1 2",
        "{}x",
        "'a'",
        "// a\n1",
        "[1}",
        "{\"a\":1]",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"\\u00e9\":1,\"\xc3\xa9\":2}",
        "{\"\\ud83d\\ude00\":1,\"b\":2,\"\xf0\x9f\x98\x80\":2}",
        "{\"\":1,\"\":2}",
        "{\"\\u20ac\":1,\"\xe2\x82\xac\":2}",
        "[{\"x\":{\"b\":1,\"c\":1,\"b\":1}}]",
        "1111111111111111111111111111111111111111111111111111111111111111",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (check(texts[i]) != MMQ_EINVAL) {
            fail_msg("taken: %s", texts[i]);
        }
    }
}

static void nul_bytes_are_refused(void **state)
{
    (void)state;
    assert_int_equal(mmq_json_check("1\0", 2, NULL), MMQ_EINVAL);
    assert_int_equal(mmq_json_check("\"a\0b\"", 5, NULL), MMQ_EINVAL);
    assert_int_equal(mmq_json_check("\0", 1, NULL), MMQ_EINVAL);
}

static void reasons_name_the_byte(void **state)
{
    mmq_why why;
    (void)state;
    assert_int_equal(mmq_json_check("[1,x]", 5, &why), MMQ_EINVAL);
    assert_non_null(strstr(why.text, "byte 3"));
    assert_int_equal(mmq_json_check("{\"a\":1,\"a\":2}", 13, &why), MMQ_EINVAL);
    assert_non_null(strstr(why.text, "byte 7"));
}

static void depth_is_bounded(void **state)
{
    enum { DEEP = 1000000 };
    char *text = malloc(DEEP);
    (void)state;
    assert_non_null(text);
    memset(text, '[', DEEP);
    assert_int_equal(mmq_json_check(text, DEEP, NULL), MMQ_EINVAL);
    memset(text + MMQ_JSON_DEPTH, ']', MMQ_JSON_DEPTH);
    assert_int_equal(mmq_json_check(text, (size_t)2 * MMQ_JSON_DEPTH, NULL), MMQ_OK);
    memset(text, '[', MMQ_JSON_DEPTH + 1);
    memset(text + MMQ_JSON_DEPTH + 1, ']', MMQ_JSON_DEPTH + 1);
    assert_int_equal(mmq_json_check(text, (size_t)2 * (MMQ_JSON_DEPTH + 1), NULL), MMQ_EINVAL);
    free(text);
}

/* F40: a million keys must not take long, and a repeated one among them is found. */
static void many_keys_are_fast(void **state)
{
    mmq_buffer text, packed;
    (void)state;
    mmq_buffer_init(&text, LIMIT);
    mmq_buffer_init(&packed, LIMIT);
    mmq_buffer_text(&text, "{");
    for (unsigned i = 0; i < 1000000; i++) {
        mmq_buffer_format(&text, "%s\"%x\":0", i ? "," : "", i * 2654435761u);
    }
    mmq_buffer_text(&text, "}");
    assert_false(text.failed);
    int64_t start = mmq_now_ns();
    assert_int_equal(mmq_json_to_msgpack((const char *)text.data, text.size, &packed, NULL),
                     MMQ_OK);
    assert_true(mmq_now_ns() - start < 20 * MMQ_NS_PER_S);
    text.size--;
    mmq_buffer_text(&text, ",\"\\u0030\":0}");
    assert_int_equal(mmq_json_check((const char *)text.data, text.size, NULL), MMQ_EINVAL);
    text.size -= strlen("\\u0030\":0}");
    mmq_buffer_text(&text, "x\":0");
    for (unsigned i = 1000001; i < 1 << 20; i++) {
        mmq_buffer_format(&text, ",\"%x\":0", i * 2654435761u);
    }
    mmq_buffer_text(&text, "}");
    assert_int_equal(mmq_json_check((const char *)text.data, text.size, NULL), MMQ_OK);
    text.size--;
    mmq_buffer_text(&text, ",\"y\":0}"); /* one too many */
    assert_int_equal(mmq_json_check((const char *)text.data, text.size, NULL), MMQ_EINVAL);
    mmq_buffer_clear(&text);
    mmq_buffer_clear(&packed);
}

static void assert_round_trip(const char *text, const char *wanted)
{
    mmq_buffer packed, back;
    mmq_why why;
    mmq_buffer_init(&packed, LIMIT);
    mmq_buffer_init(&back, LIMIT);
    assert_int_equal(mmq_json_to_msgpack(text, strlen(text), &packed, &why), MMQ_OK);
    assert_int_equal(mmq_json_from_msgpack(packed.data, packed.size, &back, &why), MMQ_OK);
    assert_string_equal(mmq_buffer_cstr(&back), wanted);
    mmq_buffer_clear(&packed);
    mmq_buffer_clear(&back);
}

static void values_come_back(void **state)
{
    (void)state;
    assert_round_trip(" { \"a\" : [ 1 , 2.5 , -3 , true , false , null ] , \"b\" : { } } ",
                      "{\"a\":[1,2.5,-3,true,false,null],\"b\":{}}");
    assert_round_trip("[1.0,1e3,1e300,-0,-0.0,0.1,9007199254740991,9007199254740993,1e16]",
                      "[1,1000,1e+300,-0.0,-0.0,0.1,9007199254740991,9007199254740992,1e+16]");
    assert_round_trip("\"\\u0001\\n\\\"\\\\/\\u00e9\\ud83d\\ude00\"",
                      "\"\\u0001\\n\\\"\\\\/\xc3\xa9\xf0\x9f\x98\x80\"");
    assert_round_trip("{\"\":\"\"}", "{\"\":\"\"}");
}

static void whole_numbers_become_integers(void **state)
{
    mmq_buffer packed;
    (void)state;
    mmq_buffer_init(&packed, LIMIT);
    assert_int_equal(mmq_json_to_msgpack("[5.0,0.5]", 9, &packed, NULL), MMQ_OK);
    assert_int_equal(packed.size, 1 + 1 + 9);
    assert_int_equal(packed.data[1], 5);
    mmq_buffer_clear(&packed);
}

static void assert_not_printed(const void *data, size_t size)
{
    mmq_buffer out;
    mmq_why why;
    mmq_buffer_init(&out, LIMIT);
    mmq_buffer_text(&out, "kept");
    assert_int_equal(mmq_json_from_msgpack(data, size, &out, &why), MMQ_EINVAL);
    assert_string_equal(mmq_buffer_cstr(&out), "kept");
    mmq_buffer_clear(&out);
}

static void msgpack_without_a_form_is_refused(void **state)
{
    uint8_t deep[MMQ_JSON_DEPTH + 2];
    (void)state;
    memset(deep, 0x91, sizeof deep);
    deep[sizeof deep - 1] = 0xc0;
    assert_not_printed(deep, sizeof deep);
    assert_not_printed("", 0);
    assert_not_printed("\xc4\x01x", 3);                        /* bin */
    assert_not_printed("\xd4\x01x", 3);                        /* ext */
    assert_not_printed("\xcb\x7f\xf0\0\0\0\0\0\0", 9);         /* infinity */
    assert_not_printed("\xcb\x7f\xf8\0\0\0\0\0\0", 9);         /* NaN */
    assert_not_printed("\xa1\xff", 2);                         /* bad UTF-8 */
    assert_not_printed("\x81\x01\x01", 3);                     /* key 1 */
    assert_not_printed("\x81\xa1\xff\x01", 4);                 /* bad UTF-8 in a key */
    assert_not_printed("\x92\x01", 2);                         /* cut off */
    assert_not_printed("\x01\x01", 2);                         /* a second value */
    assert_not_printed("\xdf\xff\xff\xff\xff\xa1\x61\x01", 8); /* a count that lies */
}

static void great_integers_are_exact(void **state)
{
    mmq_buffer out;
    (void)state;
    mmq_buffer_init(&out, LIMIT);
    assert_int_equal(mmq_json_from_msgpack("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, &out, NULL),
                     MMQ_OK);
    assert_string_equal(mmq_buffer_cstr(&out), "18446744073709551615");
    mmq_buffer_clear(&out);
}

static void a_full_buffer_is_told(void **state)
{
    mmq_buffer out;
    (void)state;
    mmq_buffer_init(&out, 4);
    assert_int_equal(mmq_json_to_msgpack("\"too long\"", 10, &out, NULL), MMQ_ENOMEM);
    mmq_buffer_clear(&out);
    assert_int_equal(mmq_json_from_msgpack("\xa5hello", 6, &out, NULL), MMQ_ENOMEM);
    mmq_buffer_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_texts_are_taken),
        cmocka_unit_test(unsound_texts_are_refused),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(reasons_name_the_byte),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(many_keys_are_fast),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(whole_numbers_become_integers),
        cmocka_unit_test(msgpack_without_a_form_is_refused),
        cmocka_unit_test(great_integers_are_exact),
        cmocka_unit_test(a_full_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
