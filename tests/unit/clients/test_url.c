/* Request targets and routes: what is decoded, what is refused, which handler takes which path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "clients/http/routes.h"
#include "clients/http/url.h"

enum { TARGET_MAX = 70000 };

static char target[TARGET_MAX];
static mmq_url url;
static mmq_why why;

static mmq_err parse(const char *text)
{
    size_t size = strlen(text);
    assert_true(size < TARGET_MAX);
    memcpy(target, text, size);
    return mmq_url_parse(target, size, &url, &why);
}

static void assert_slice(const mmq_slice *slice, const char *text)
{
    assert_int_equal(slice->size, strlen(text));
    assert_memory_equal(slice->data, text, slice->size);
}

static void assert_path(const char *text, size_t depth, const char *const *segments)
{
    assert_int_equal(parse(text), MMQ_OK);
    assert_int_equal(url.depth, depth);
    for (size_t i = 0; i < depth; i++) {
        assert_slice(&url.segments[i], segments[i]);
    }
}

#define SEGMENTS(...) ((const char *const[]){__VA_ARGS__})

static void test_paths(void **state)
{
    (void)state;
    assert_path("/", 0, NULL);
    assert_path("/?x=1", 0, NULL);
    assert_path("/_models", 1, SEGMENTS("_models"));
    assert_path("/_models/", 1, SEGMENTS("_models"));
    assert_path("/_models//", 2, SEGMENTS("_models", ""));
    assert_path("/_models/a.b-c_D/data", 3, SEGMENTS("_models", "a.b-c_D", "data"));
    assert_path("/_models/%61%2Fb/data/?q", 3, SEGMENTS("_models", "a/b", "data"));
    assert_path("/%2561", 1, SEGMENTS("%61")); /* decoded once */
    assert_path("/a+b", 1, SEGMENTS("a+b"));   /* plus means space in a query only */
    assert_path("/../%2e%2e", 2, SEGMENTS("..", ".."));
    assert_int_equal(parse("/a/b/c/d/e/f/g"), MMQ_OK);
    assert_int_equal(url.depth, MMQ_URL_SEGMENTS + 1);
}

static void test_bad_paths(void **state)
{
    (void)state;
    const char *const bad[] = {"",      "*",    "http://h/",  "a",    "/%",    "/%4",
                               "/%ZZ",  "/%0g", "/a%00b",     "/a b", "/\x01", "/a\x7f",
                               "/?a b", "/%2",  "/ok/%zz/ok", "?a=1", "/\ta"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why.text[0] = '\0';
        assert_int_equal(parse(bad[i]), MMQ_EINVAL);
        assert_true(why.text[0] != '\0');
    }
}

static const char *const keys[] = {"from", "to", "limit"};
static mmq_slice values[3];

static mmq_err query(const char *text)
{
    assert_int_equal(parse(text), MMQ_OK);
    return mmq_url_query(&url, keys, 3, values, &why);
}

static void test_values(void **state)
{
    (void)state;
    assert_int_equal(query("/x?from=2013-08-15+21%3A34%3a00&limit=5&other=%ZZ&to=a=b"), MMQ_OK);
    assert_slice(&values[0], "2013-08-15 21:34:00");
    assert_slice(&values[1], "a=b");
    assert_slice(&values[2], "5");
    assert_int_equal(query("/x?from=1&from=2&to=1&to=&limit"), MMQ_OK);
    assert_slice(&values[0], "2");
    assert_null(values[1].data); /* the last one is empty: absent */
    assert_null(values[2].data);
    assert_int_equal(query("/x?&&=5&from=%ZZ&from=3&%66%72om&f%ZZ=1"), MMQ_OK);
    assert_null(values[0].data); /* keys are decoded too; the last has no value */
    assert_int_equal(query("/x"), MMQ_OK);
    assert_null(values[0].data);
}

static void test_bad_values(void **state)
{
    (void)state;
    const char *const bad[] = {"/x?to=%ZZ", "/x?to=%00", "/x?to=1&to=%", "/x?to=%4", "/x?to=a%0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(query(bad[i]), MMQ_EINVAL);
        assert_memory_equal(why.text, "to ", 3);
    }
}

static void test_long_query(void **state)
{
    (void)state;
    static char text[65536];
    memset(text, '&', sizeof text - 1);
    memcpy(text, "/x?from=1", 9);
    assert_int_equal(query(text), MMQ_OK);
    assert_slice(&values[0], "1");
}

static mmq_err find(const char *path, const char *method, unsigned *allowed)
{
    const mmq_route *route;
    assert_int_equal(parse(path), MMQ_OK);
    return mmq_route_find(&url, method, &route, allowed);
}

static void test_routes(void **state)
{
    (void)state;
    unsigned allowed;
    char text[64];
    const char *const there[] = {"/",
                                 "/_models/data",
                                 "/_models/data/stats",
                                 "/_models/export",
                                 "/_models/u/data",
                                 "/_models/u/export",
                                 "/_models/summary",
                                 "/_models/u/summary",
                                 "/health/ready",
                                 "/health/live"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
        assert_int_equal(find(there[i], "GET", &allowed), MMQ_OK);
        assert_int_equal(find(there[i], "HEAD", &allowed), MMQ_OK);
        assert_int_equal(find(there[i], "TRACE", &allowed), MMQ_EDENIED);
        mmq_methods_print(allowed, text);
        assert_string_equal(text, "GET, HEAD, OPTIONS");
    }
    assert_int_equal(find("/_logging/feedback", "POST", &allowed), MMQ_OK);
    assert_int_equal(find("/_logging/feedback", "GET", &allowed), MMQ_EDENIED);
    assert_int_equal(allowed, MMQ_METHOD_POST | MMQ_METHOD_OPTIONS);
    assert_int_equal(find("/_models", "PUT", &allowed), MMQ_OK);
    assert_int_equal(find("/_models", "POST", &allowed), MMQ_OK);
    assert_int_equal(find("/_models/", "GET", &allowed), MMQ_OK);
    assert_int_equal(find("/_models/u/", "HEAD", &allowed), MMQ_OK);
    assert_int_equal(find("/_models/u", "DELETE", &allowed), MMQ_OK);
    assert_int_equal(find("/_models/u", "PUT", &allowed), MMQ_EDENIED);
    mmq_methods_print(allowed, text);
    assert_string_equal(text, "GET, HEAD, DELETE, OPTIONS");
    assert_int_equal(find("/_models", "get", &allowed), MMQ_EDENIED);
    mmq_methods_print(allowed, text);
    assert_string_equal(text, "GET, HEAD, POST, PUT, OPTIONS");
    const char *const gone[] = {"/x",           "/_model",           "/_modelss",
                                "/_models/a/b", "/_models/a/data/x", "/_models/a/data/x/y/z",
                                "/health",      "//_models",         "/_logging"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        assert_int_equal(find(gone[i], "GET", &allowed), MMQ_ENOTFOUND);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),      cmocka_unit_test(test_bad_paths),
        cmocka_unit_test(test_values),     cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_long_query), cmocka_unit_test(test_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
