/* Arguments by table: kinds, defaults, and a sentence for each thing that can be wrong. */
#include "lib/fields.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "metricmq/pack.h"

typedef struct arguments {
    mmq_slice uid;
    bool has_uid;
    mmq_slice rows;
    int64_t limit;
    double anomaly;
    bool progress;
    int64_t from;
    bool has_from;
    mmq_slice extra;
} arguments;

static const mmq_field_spec specs[] = {
    {"uid", MMQ_KIND_TEXT, true, offsetof(arguments, uid), offsetof(arguments, has_uid)},
    {"rows", MMQ_KIND_BYTES, false, offsetof(arguments, rows), MMQ_NO_GIVEN},
    {"limit", MMQ_KIND_INT, false, offsetof(arguments, limit), MMQ_NO_GIVEN},
    {"anomaly", MMQ_KIND_NUMBER, false, offsetof(arguments, anomaly), MMQ_NO_GIVEN},
    {"progress", MMQ_KIND_BOOL, false, offsetof(arguments, progress), MMQ_NO_GIVEN},
    {"from", MMQ_KIND_TIME, false, offsetof(arguments, from), offsetof(arguments, has_from)},
    {"extra", MMQ_KIND_MAP, false, offsetof(arguments, extra), MMQ_NO_GIVEN},
};

static mmq_err read_body(const void *body, size_t size, arguments *out, mmq_why *why)
{
    *out = (arguments){.limit = -7, .anomaly = -7};
    return mmq_fields_read(body, size, specs, sizeof specs / sizeof *specs, out, why);
}

/* A body with op, uid and one more argument, whose value is packed already. */
static mmq_err read_with(const char *name, const void *value, size_t size, arguments *out,
                         mmq_why *why)
{
    mmq_buffer body;
    mmq_buffer_init(&body, 1 << 20);
    mmq_pack_map(&body, 3);
    mmq_pack_cstr(&body, "op");
    mmq_pack_cstr(&body, "data");
    mmq_pack_cstr(&body, "uid");
    mmq_pack_cstr(&body, "m");
    mmq_pack_cstr(&body, name);
    mmq_buffer_add(&body, value, size);
    static uint8_t kept[1000]; /* what out borrows */
    assert_true(body.size <= sizeof kept);
    memcpy(kept, body.data, body.size);
    size_t kept_size = body.size;
    mmq_buffer_clear(&body);
    mmq_err err = read_body(kept, kept_size, out, why);
    assert_true(err == MMQ_OK || err == MMQ_EINVAL);
    if (err != MMQ_OK) {
        assert_int_equal(read_body(kept, kept_size, out, NULL), err);
    }
    return err;
}

#define READ(name, value) read_with(name, value, sizeof(value) - 1, &out, &why)
#define BAD(name, value, part)                                                                     \
    do {                                                                                           \
        assert_int_equal(READ(name, value), MMQ_EINVAL);                                           \
        assert_non_null(strstr(why.text, part));                                                   \
    } while (0)

static arguments out;
static mmq_why why;

static void test_kinds(void **state)
{
    (void)state;
    assert_int_equal(READ("rows", "\xc4\x02\0\xff"), MMQ_OK);
    assert_true(out.has_uid && out.uid.size == 1 && *out.uid.data == 'm');
    assert_memory_equal(out.rows.data, "\0\xff", 2);
    assert_true(out.limit == -7 && !out.has_from && !out.progress && out.extra.data == NULL);
    assert_int_equal(READ("rows", "\xa1x"), MMQ_OK);
    assert_int_equal(READ("limit", "\xcd\x01\x00"), MMQ_OK);
    assert_int_equal(out.limit, 256);
    assert_int_equal(READ("limit", "\xcb\xc0\x08\0\0\0\0\0\0"), MMQ_OK);
    assert_int_equal(out.limit, -3);
    assert_int_equal(READ("limit", "\xcb\xc3\xe0\0\0\0\0\0\0"), MMQ_OK);
    assert_true(out.limit == INT64_MIN);
    assert_int_equal(READ("anomaly", "\x02"), MMQ_OK);
    assert_true(out.anomaly >= 2 && out.anomaly <= 2);
    assert_int_equal(READ("anomaly", "\xcf\x80\0\0\0\0\0\0\0"), MMQ_OK);
    assert_true(out.anomaly >= 0x1p63 && out.anomaly <= 0x1p63);
    assert_int_equal(READ("progress", "\xc3"), MMQ_OK);
    assert_true(out.progress);
    assert_int_equal(READ("from", "\x05"), MMQ_OK);
    assert_true(out.has_from && out.from == 5);
    assert_int_equal(READ("from", "\xb3"
                                  "1970-01-01 00:01:00"),
                     MMQ_OK);
    assert_int_equal(out.from, 60);
    assert_int_equal(READ("extra", "\x81\xa1k\x92\x01\x02"), MMQ_OK);
    assert_int_equal(out.extra.size, 6);
    assert_memory_equal(out.extra.data, "\x81\xa1k\x92\x01\x02", 6);
}

static void test_common_and_nil(void **state)
{
    (void)state;
    assert_int_equal(READ("id", "\x93\x01\x02\x03"), MMQ_OK);
    assert_int_equal(READ("timeout", "\x05"), MMQ_OK);
    assert_int_equal(READ("trace", "\xa1t"), MMQ_OK);
    assert_int_equal(READ("limit", "\xc0"), MMQ_OK);
    assert_int_equal(out.limit, -7);
    assert_int_equal(READ("from", "\xc0"), MMQ_OK);
    assert_false(out.has_from);
    static const char nil_uid[] = "\x82\xa2op\xa1x\xa3uid\xc0";
    assert_int_equal(read_body(nil_uid, sizeof nil_uid - 1, &out, &why), MMQ_EINVAL);
    assert_string_equal(why.text, "argument \"uid\" is missing");
    BAD("timeout", "\xa1x", "\"timeout\" must be an integer");
    BAD("trace", "\x01", "\"trace\" must be text");
}

static void test_wrong_types(void **state)
{
    (void)state;
    BAD("rows", "\x01", "\"rows\" must be bytes");
    BAD("limit",
        "\xa1"
        "5",
        "\"limit\" must be an integer");
    BAD("limit", "\xcb\x3f\xe0\0\0\0\0\0\0", "\"limit\""); /* 0.5 */
    BAD("limit", "\xcb\x43\xe0\0\0\0\0\0\0", "\"limit\""); /* 2^63 */
    BAD("limit", "\xcb\x7f\xf8\0\0\0\0\0\0", "\"limit\""); /* NaN */
    BAD("limit", "\xcf\x80\0\0\0\0\0\0\0", "\"limit\"");   /* 2^63 */
    BAD("limit", "\xc3", "\"limit\"");
    BAD("anomaly", "\xcb\x7f\xf0\0\0\0\0\0\0", "\"anomaly\" must be a finite number");
    BAD("anomaly", "\xcb\x7f\xf8\0\0\0\0\0\0", "\"anomaly\"");
    BAD("progress", "\x01", "\"progress\" must be true or false");
    BAD("from", "\xa7garbage", "\"from\" must be a time");
    BAD("from", "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", "\"from\"");
    BAD("from", "\xd3\x80\0\0\0\0\0\0\0", "\"from\"");
    BAD("from", "\x90", "\"from\"");
    BAD("extra", "\x90", "\"extra\" must be a map");
    BAD("extra", "\x81\xa1k", "\"extra\" is not well-formed");
}

static void test_texts_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "\x82\xa2op\xa1x\xa3uid\xa1\xff",
        "\x82\xa2op\xa1x\xa3uid\xc4\x01m",
        "\x82\xa2op\xa1x\xa3uid\x01",
        "\x82\xa2op\x01\xa3uid\xa1m",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        assert_int_equal(read_body(bodies[i], strlen(bodies[i]), &out, &why), MMQ_EINVAL);
        assert_non_null(strstr(why.text, "must be text"));
    }
    static const char nul[] = "\x82\xa2op\xa1x\xa3uid\xa2m\0";
    assert_int_equal(read_body(nul, sizeof nul - 1, &out, &why), MMQ_EINVAL);
}

static void test_names_refused(void **state)
{
    (void)state;
    BAD("frm", "\x01", "unknown argument \"frm\"");
    BAD("a\nb\x7f\xff", "\x01", "unknown argument \"a?b??\"");
    BAD("0123456789012345678901234567890123456789tail", "\x01", "456789\"");
    BAD("uid", "\xa1m", "\"uid\" is there twice");
    BAD("op", "\xa1m", "\"op\" is there twice");
    static const char twice[] = "\x84\xa2op\xa1x\xa3uid\xa1m\xa2id\x01\xa2id\x02";
    assert_int_equal(read_body(twice, sizeof twice - 1, &out, &why), MMQ_EINVAL);
    assert_string_equal(why.text, "argument \"id\" is there twice");
    static const char nil_twice[] = "\x84\xa2op\xa1x\xa3uid\xa1m\xa5limit\xc0\xa5limit\x02";
    assert_int_equal(read_body(nil_twice, sizeof nil_twice - 1, &out, &why), MMQ_EINVAL);
}

static void test_bodies_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"", 0},
        {"\xc0", 1},
        {"\x90", 1},
        {"\x80", 1},
        {"\xdf\xff\xff\xff\xff", 5},
        {"\x81\xa3uid\xa1m", 7},                 /* no op */
        {"\x81\xa2op\xa1x", 6},                  /* no uid */
        {"\x82\xa2op\xa1x\xa3uid\xa1m\x01", 13}, /* bytes after it */
        {"\x82\xa2op\xa1x\x01\x02", 8},          /* a name that is no string */
        {"\x83\xa2op\xa1x\xa3uid\xa1m", 12},     /* a pair too few */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        why.text[0] = '\0';
        assert_int_equal(read_body(cases[i].bytes, cases[i].size, &out, &why), MMQ_EINVAL);
        assert_true(strlen(why.text) > 10);
    }
}

static void test_op(void **state)
{
    (void)state;
    mmq_slice op;
    static const char good[] = "\x83\xa1z\x92\x01\x90\xa2op\xa4"
                               "data\xa1y\x01";
    assert_int_equal(mmq_fields_op(good, sizeof good - 1, &op, &why), MMQ_OK);
    assert_int_equal(op.size, 4);
    assert_memory_equal(op.data, "data", 4);
    static const char *const bad[] = {"",
                                      "\xc1",
                                      "\x81\xa1x\x01",
                                      "\x81\xa2op\x01",
                                      "\x81\xa2op",
                                      "\x81\xa2op\xa1\xff",
                                      "\x82\x01\xa2op\xa1x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(mmq_fields_op(bad[i], strlen(bad[i]), &op, &why), MMQ_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_common_and_nil),
        cmocka_unit_test(test_wrong_types),
        cmocka_unit_test(test_texts_refused),
        cmocka_unit_test(test_names_refused),
        cmocka_unit_test(test_bodies_refused),
        cmocka_unit_test(test_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
