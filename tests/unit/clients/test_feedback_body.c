/* Bodies of POST /_logging/feedback: what goes on to the worker, and F40, F73: what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clients/http/feedback_body.h"

static void expect_good(const char *text, const char *uid, unsigned count, const char *extra)
{
    mmq_feedback_body body;
    mmq_why why = {""};
    assert_int_equal(mmq_feedback_body_read(text, strlen(text), &body, &why), MMQ_OK);
    assert_true(mmq_slice_is(&body.uid, uid));
    assert_int_equal(body.extra_count, count);
    assert_int_equal(body.extra.size, strlen(extra));
    assert_true(body.extra.size == 0 || memcmp(body.extra.data, extra, body.extra.size) == 0);
    mmq_feedback_body_clear(&body);
}

static void expect_bad_size(const char *text, size_t size, const char *says)
{
    mmq_feedback_body body;
    mmq_why why = {""};
    assert_int_equal(mmq_feedback_body_read(text, size, &body, &why), MMQ_EINVAL);
    if (strstr(why.text, says) == NULL) {
        fail_msg("%s: wanted \"%s\"", why.text, says);
    }
    mmq_feedback_body_clear(&body);
}

static void expect_bad(const char *text, const char *says)
{
    expect_bad_size(text, strlen(text), says);
}

/* The dump's own keys are taken out, all others go on as they came. */
static void test_keys(void **state)
{
    (void)state;
    expect_good("{\"uid\":\"u-1\"}", "u-1", 0, "");
    expect_good(
        "{\"b\":[1,null],\"uid\":\"u\",\"metric\":{\"x\":1},\"server_id\":7,\"a\":\"\xc3\xa4\"}",
        "u", 2,
        "\xa1"
        "b\x92\x01\xc0\xa1"
        "a\xa2\xc3\xa4");
}

static void test_refusals(void **state)
{
    (void)state;
    expect_bad("", "no value");
    expect_bad("[]", "JSON object");
    expect_bad("\"uid\"", "JSON object");
    expect_bad("{}", "string uid");
    expect_bad("{\"uid\":7}", "string uid");
    expect_bad("{\"uid\":null,\"UID\":\"u\"}", "string uid");
    expect_bad("{\"uid\":\"\"}", "uid");
    expect_bad("{\"uid\":\"../x\"}", "uid");
    expect_bad("{\"uid\":\"export\"}", "uid");
    expect_bad("{\"uid\":\"u\",\"uid\":\"v\"}", "a key that");
    expect_bad("{\"uid\":\"u\\u0000\"}", "a bad escape");
    expect_bad("{\"uid\":\"u\",\"x\":\"\\ud800\"}", "a bad escape");
    expect_bad("{\"uid\":\"u\",\"x\":1e999}", "number");
    expect_bad("{\"uid\":\"u\"} x", "something follows");
    expect_bad("\xef\xbb\xbf{\"uid\":\"u\"}", "value");
    expect_bad("{\"uid\":\"u\xff\"}", "not UTF-8");
    expect_bad_size("{\"uid\":\"u\"}\0", 12, "something follows");
}

static void test_depth(void **state)
{
    (void)state;
    enum { DEEP = 1000000 };
    char *text = malloc(DEEP + 16);
    assert_non_null(text);
    memcpy(text, "{\"uid\":\"u\",\"x\":", 15);
    memset(text + 15, '[', DEEP);
    expect_bad_size(text, DEEP + 15, "deep");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
