/* The body of POST /_models when memory runs out: it is told as that, nothing is read wrong, and
 * all is freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "clients/http/models_body.h"
#include "fail_alloc.h"

static const char text[] =
    "[{\"datasource\":\"custom\",\"metric\":\"a\",\"unit\":\"u\",\"min\":0,\"max\":1.5,"
    "\"userInfo\":"
    "{\"x\":[1]},\"data\":[[1,\"2014-01-01 00:00:00\"],[2,\"2014-01-01 00:00:00\",0.5,null]]},"
    "{\"datasource\":\"cloudwatch\",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\","
    "\"dimensions\":{\"d\":\"v\",\"a\":\"b\"},\"data\":[[1,\"2014-01-01 00:00:00\"]]},"
    "{\"uid\":\"u\",\"datasource\":\"custom\",\"name\":\"n\",\"server\":\"s\",\"location\":\"l\","
    "\"description\":\"d\",\"parameters\":{},\"tag_name\":\"t\",\"message\":\"m\"}]";

static void scenario(size_t nth, bool on)
{
    mmq_models_body body;
    mmq_why why = {""};
    fail_alloc_arm(nth, on);
    mmq_err err = mmq_models_body_read(text, strlen(text), &body, &why);
    const size_t failures = fail_alloc_disarm();
    assert_int_equal(err, failures > 0 ? MMQ_ENOMEM : MMQ_OK);
    if (err == MMQ_OK) {
        assert_int_equal(body.count, 3);
        assert_int_equal(body.batch_count, 2);
    }
    mmq_models_body_clear(&body);
}

static void test_body(void **state)
{
    (void)state;
    scenario(0, false);
    assert_true(fail_alloc_each("body", 1, scenario) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_body)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
