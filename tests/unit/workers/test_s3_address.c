/* Urls of s3:// targets, endpoints, and what both make of a key. F63: http only to this machine. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "workers/targets/s3_address.h"

static mmq_why why;
static mmq_s3_address address;

static int forget_environment(void **state)
{
    static const char *const names[] = {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION",
                                        "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsetenv(names[i]);
    }
    return 0;
}

static mmq_err make(const char *rest, const char *endpoint)
{
    const mmq_s3_settings settings = {.endpoint = endpoint};
    return mmq_s3_address_make(rest, &settings, &address, &why);
}

static void expect_url(const char *key, const char *wanted)
{
    mmq_buffer out;
    mmq_buffer_init(&out, 4096);
    mmq_s3_address_origin(&out, &address);
    mmq_s3_address_path(&out, &address, key);
    assert_string_equal(mmq_buffer_cstr(&out), wanted);
    mmq_buffer_clear(&out);
}

static void buckets_are_checked(void **state)
{
    (void)state;
    static const char *const good[] = {
        "abc", "my-bucket.1", "1-2",
        ("a12345678901234567890123456789012345678901234567890123456789"
         "012")};
    static const char *const bad[] = {
        "",        "ab",
        "Abc",     "a_b",
        "-abc",    "abc-",
        ".abc",    "abc.",
        "a..b",    "a.-b",
        "a-.b",    "192.168.0.1",
        "a b",     "a\xC3\xBC",
        "abc?x=1", "a123456789012345678901234567890123456789012345678901234567890123",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(make(good[i], "https://host"), MMQ_OK);
        assert_string_equal(address.bucket, good[i]);
        assert_string_equal(address.prefix, "");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(make(bad[i], "https://host"), MMQ_EINVAL);
    }
}

static void prefixes_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"abc//",    "abc//x",   "abc/x//y", "abc/.x",
                                      "abc/x/..", "abc/x y/", "abc/x%20", "abc/\xC3\xBC"};
    char rest[512] = "abc/";
    assert_int_equal(make("abc/", "https://host"), MMQ_OK);
    assert_string_equal(address.prefix, "");
    assert_int_equal(make("abc/x", "https://host"), MMQ_OK);
    assert_string_equal(address.prefix, "x/");
    assert_int_equal(make("abc/x/y-1_2.z/", "https://host"), MMQ_OK);
    assert_string_equal(address.prefix, "x/y-1_2.z/");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(make(bad[i], "https://host"), MMQ_EINVAL);
    }
    memset(rest + 4, 'p', MMQ_S3_PREFIX_MAX - 1);
    assert_int_equal(make(rest, "https://host"), MMQ_OK);
    assert_int_equal(strlen(address.prefix), MMQ_S3_PREFIX_MAX);
    rest[4 + MMQ_S3_PREFIX_MAX - 1] = 'p';
    assert_int_equal(make(rest, "https://host"), MMQ_EINVAL);
}

static void endpoints_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "host",
        "ftp://host",
        "https://",
        "https:///",
        "https://:80",
        "https://host:",
        "https://host:0",
        "https://host:65536",
        "https://host:123456",
        "https://host:80x",
        "https://user@host",
        "https://user:pw@host",
        "https://host/path",
        "https://host?q",
        "https://host#f",
        "https://ho st",
        "https://host\r\nX: y",
        "https://-host",
        "https://.host",
        "https://a..b",
        "https://127.1",
        "https://0x7f.0.0.1",
        "https://1.2.3.4.5",
        "https://256.1.1.1",
        "https://[::1",
        "https://[]",
        "https://[g::1]",
        "https://[::1]x",
        "https://::1",
        "https://[fe80::1%25lo]",
    };
    mmq_s3_endpoint endpoint;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(mmq_s3_endpoint_parse(bad[i], &endpoint, &why), MMQ_EINVAL);
    }
    assert_int_equal(mmq_s3_endpoint_parse("https://S3.Example.COM:443/", &endpoint, &why), MMQ_OK);
    assert_string_equal(endpoint.host, "s3.example.com");
    assert_int_equal(endpoint.port, 0);
    assert_true(endpoint.is_tls && !endpoint.is_address && !endpoint.is_loopback);
    assert_int_equal(mmq_s3_endpoint_parse("http://[0:0:0:0:0:0:0:1]:9000", &endpoint, &why),
                     MMQ_OK);
    assert_string_equal(endpoint.host, "[::1]");
    assert_int_equal(endpoint.port, 9000);
    assert_true(!endpoint.is_tls && endpoint.is_address && endpoint.is_loopback);
}

static void http_is_for_this_machine(void **state)
{
    (void)state;
    static const char *const here[] = {"http://localhost:9000", "http://s3.localhost",
                                       "http://127.0.0.1",      "http://127.8.9.10:80",
                                       "http://[::1]:1",        "http://LOCALHOST"};
    static const char *const there[] = {
        "http://example.com",           "http://128.0.0.1",        "http://[::2]",
        "http://localhost.example.com", "http://notlocalhost.com", "http://10.0.0.1:9000",
        "http://[::ffff:127.0.0.1]"};
    const mmq_s3_settings insecure = {.endpoint = "http://example.com", .insecure = true};
    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        assert_int_equal(make("abc", here[i]), MMQ_OK);
    }
    for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
        assert_int_equal(make("abc", there[i]), MMQ_EINVAL);
        assert_non_null(strstr(why.text, "https://"));
    }
    assert_int_equal(mmq_s3_address_make("abc", &insecure, &address, &why), MMQ_OK);
}

static void urls_are_made_in_both_styles(void **state)
{
    (void)state;
    assert_int_equal(make("abc/p", "https://example.com:9000"), MMQ_OK);
    expect_url("p/k", "https://abc.example.com:9000/p/k");
    expect_url(NULL, "https://abc.example.com:9000/");
    assert_string_equal(address.host, "abc.example.com:9000");
    assert_int_equal(make("abc", "http://127.0.0.1:80"), MMQ_OK);
    expect_url("k", "http://127.0.0.1/abc/k");
    expect_url(NULL, "http://127.0.0.1/abc");
    assert_int_equal(make("abc", "https://[::1]:9"), MMQ_OK);
    expect_url("k", "https://[::1]:9/abc/k");
    /* No certificate for *.example.com is good for a.b.example.com. */
    assert_int_equal(make("a.b", "https://example.com"), MMQ_OK);
    expect_url("k", "https://example.com/a.b/k");
    assert_int_equal(make("a.b", "http://localhost"), MMQ_OK);
    expect_url("k", "http://a.b.localhost/k");
    const mmq_s3_settings by_path = {.endpoint = "https://example.com", .path_style = true};
    assert_int_equal(mmq_s3_address_make("abc", &by_path, &address, &why), MMQ_OK);
    expect_url("k", "https://example.com/abc/k");
}

static void environment_is_read(void **state)
{
    (void)state;
    assert_int_equal(mmq_s3_address_make("abc", NULL, &address, &why), MMQ_OK);
    expect_url("k", "https://abc.s3.us-east-1.amazonaws.com/k");
    setenv("AWS_DEFAULT_REGION", "eu-west-1", 1);
    setenv("AWS_REGION", "", 1); /* as good as not set */
    assert_int_equal(make("abc", NULL), MMQ_OK);
    expect_url("k", "https://abc.s3.eu-west-1.amazonaws.com/k");
    setenv("AWS_REGION", "eu-west-2", 1);
    assert_int_equal(make("abc", NULL), MMQ_OK);
    assert_string_equal(address.region, "eu-west-2");
    setenv("AWS_ENDPOINT_URL", "https://one.example.com", 1);
    assert_int_equal(make("abc", NULL), MMQ_OK);
    expect_url("k", "https://abc.one.example.com/k");
    setenv("AWS_ENDPOINT_URL_S3", "https://two.example.com", 1);
    assert_int_equal(make("abc", NULL), MMQ_OK);
    expect_url("k", "https://abc.two.example.com/k");
    assert_int_equal(make("abc", "https://three.example.com"), MMQ_OK);
    expect_url("k", "https://abc.three.example.com/k");
    setenv("AWS_REGION", "eu west", 1);
    assert_int_equal(make("abc", NULL), MMQ_EINVAL);
}

#define TEST(name_) cmocka_unit_test_setup(name_, forget_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(buckets_are_checked),   TEST(prefixes_are_checked),
        TEST(endpoints_are_checked), TEST(http_is_for_this_machine),
        TEST(environment_is_read),   TEST(urls_are_made_in_both_styles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
