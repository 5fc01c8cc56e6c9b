/* Which Host and Origin are ours, for every kind of address that the adapter may be bound to. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "clients/http/hosts.h"

static mmq_hosts hosts;
static mmq_why why;

/* address NULL: a unix socket. */
static struct sockaddr_storage bound_to(const char *address)
{
    struct sockaddr_storage bound = {.ss_family = AF_UNIX};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&bound;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&bound;
    if (address && strchr(address, ':')) {
        bound.ss_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, address, &v6->sin6_addr), 1);
    } else if (address) {
        bound.ss_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, address, &v4->sin_addr), 1);
    }
    return bound;
}

static void bind_to(const char *listen, const char *address, const char *const *names, size_t count)
{
    struct sockaddr_storage bound = bound_to(address);
    assert_int_equal(mmq_hosts_init(&hosts, listen, &bound, names, count, &why), MMQ_OK);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void know(bool known, const char *const *list)
{
    for (; *list; list++) {
        if (mmq_hosts_know(&hosts, *list) != known) {
            fail_msg("%s: %s", *list, known ? "is not known" : "is known");
        }
    }
}

static const char *const rubbish[] = {"",
                                      " ",
                                      ".",
                                      "[",
                                      "]",
                                      "[]",
                                      "[::1",
                                      "::1",
                                      "[::1]x",
                                      "[::1]:x",
                                      "[127.0.0.1]",
                                      "[localhost]",

                                      "localhost:x",
                                      "localhost:123456",
                                      "localhost:80:80",
                                      "localhost/",
                                      "localhost/x",
                                      "a@localhost",
                                      "localhost@evil.example",
                                      "localhost,evil.example",
                                      "localhost evil.example",
                                      "localhost\tx",
                                      "local\x01host",
                                      "localhost#",
                                      "localhost?",
                                      "xn--localhost",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil.example",
                                      "127.1",
                                      "0x7f000001",
                                      "2130706433",
                                      "0177.0.0.1",
                                      "127.0.0.01x",
                                      "127.0.0.1%",
                                      "[fe80::1%25eth0]",
                                      "[::1%lo]",
                                      "*",
                                      "evil.example",
                                      "evil.example:8080",
                                      "EVIL.example.",
                                      NULL};

static void know_no_rubbish(void)
{
    know(false, rubbish);
}

static void test_loopback(void **state)
{
    (void)state;
    bind_to("127.0.0.1:8080", "127.0.0.1", NULL, 0);
    know(true,
         LIST("127.0.0.1", "127.0.0.1:8080", "127.0.0.1:9", "localhost", "LocalHost:8080",
              "localhost:", "localhost.", "localhost.:80", "127.0.0.2", "[::1]:8080", "[::1]"));
    know(false, LIST("10.0.0.1", "192.0.2.1:8080", "0.0.0.0", "[::]", "[2001:db8::1]",
                     "[::ffff:127.0.0.1]", "localhost..", "localhost.localdomain"));
    know_no_rubbish();
    bind_to("[::1]:8080", "::1", NULL, 0);
    know(true, LIST("[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]", "127.0.0.1", "localhost"));
    know(false, LIST("[::2]", "::1"));
    know_no_rubbish();
}

/* Only names can be rebound: where every address is bound, every address is ours. */
static void test_any_address(void **state)
{
    (void)state;
    bind_to("0.0.0.0:8080", "0.0.0.0", NULL, 0);
    know(true, LIST("10.0.0.1", "10.0.0.1:8080", "[2001:db8::1]:8080", "localhost", "0.0.0.0"));
    know_no_rubbish();
    bind_to("[::]:8080", "::", NULL, 0);
    know(true, LIST("10.0.0.1", "[2001:DB8::1]", "localhost:8080"));
    know_no_rubbish();
}

static void test_one_address(void **state)
{
    (void)state;
    bind_to("192.0.2.1:80", "192.0.2.1", NULL, 0);
    know(true, LIST("192.0.2.1", "192.0.2.1:80"));
    know(false, LIST("192.0.2.2", "localhost", "127.0.0.1", "[::1]"));
    know_no_rubbish();
    bind_to("metrics.example:80", "192.0.2.1", NULL, 0); /* the name in --http */
    know(true, LIST("metrics.example", "METRICS.example.:80", "192.0.2.1"));
    know_no_rubbish();
    bind_to("[2001:db8::1]:80", "2001:db8::1", NULL, 0);
    know(true, LIST("[2001:db8::1]", "[2001:0DB8:0::1]:80"));
    know(false, LIST("[2001:db8::2]", "192.0.2.1"));
}

static void test_configured(void **state)
{
    (void)state;
    const char *const names[] = {"Metrics.example", "inner.", "198.51.100.7", "2001:db8::7"};
    bind_to("127.0.0.1:8080", "127.0.0.1", names, 4);
    know(true, LIST("metrics.example", "metrics.example:443", "METRICS.EXAMPLE.", "inner",
                    "198.51.100.7:80", "[2001:db8:0::7]", "localhost", "127.0.0.1"));
    know(false,
         LIST("198.51.100.8", "example", "x.metrics.example", "metrics.example.evil.example"));
    know_no_rubbish();
    const char *const star[] = {"*"};
    bind_to("127.0.0.1:8080", "127.0.0.1", star, 1);
    know(true, LIST("evil.example", "10.0.0.1", "@"));
}

/* No browser comes over a unix socket; a proxy may, and then names may be configured. */
static void test_unix(void **state)
{
    (void)state;
    bind_to("unix:/run/x", NULL, NULL, 0);
    know(true, rubbish);
    const char *const names[] = {"metrics.example"};
    bind_to("unix:/run/x", NULL, names, 1);
    know(true, LIST("metrics.example"));
    know(false, LIST("localhost", "127.0.0.1", "unix"));
    know_no_rubbish();
}

static void test_names_that_are_none(void **state)
{
    (void)state;
    struct sockaddr_storage bound = bound_to("127.0.0.1");
    for (const char *const *at =
             LIST("", "a b", "a:80", "http://a", "a/b", "[::1]", "a,b", "é", "**");
         *at; at++) {
        assert_int_equal(mmq_hosts_init(&hosts, "127.0.0.1:80", &bound, at, 1, &why), MMQ_EINVAL);
        assert_non_null(strstr(why.text, "--http-host"));
    }
}

static void test_origins(void **state)
{
    (void)state;
    assert_true(mmq_origin_is_own("http://localhost:8080", "localhost:8080"));
    assert_true(mmq_origin_is_own("https://Metrics.example", "metrics.example"));
    assert_true(mmq_origin_is_own("http://[::1]:8080", "[::1]:8080"));
    static const char *const others[] = {"",
                                         "null",
                                         "http://",
                                         "://localhost:8080",
                                         "localhost:8080",
                                         "http://localhost",
                                         "http://localhost:9090",
                                         "ftp://localhost:8080",
                                         "httpx://localhost:8080",
                                         "http://localhost:8080/",
                                         "http://localhost:8080.evil.example",
                                         "http://evil.example",
                                         "HTTP://localhost:8080",
                                         "http://a@localhost:8080",
                                         "http:// localhost:8080",
                                         "x http://localhost:8080",
                                         "file://",
                                         "chrome-extension://localhost:8080"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(mmq_origin_is_own(others[i], "localhost:8080"));
    }
    assert_false(mmq_origin_is_own("http://", ""));
}

static void test_who_can_reach_it(void **state)
{
    (void)state;
    for (const char *const *at = LIST("127.0.0.1", "127.255.0.9", "::1"); *at; at++) {
        struct sockaddr_storage bound = bound_to(*at);
        assert_true(mmq_address_is_local(&bound));
    }
    for (const char *const *at =
             LIST("0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "::2", "fe80::1", "::ffff:127.0.0.1");
         *at; at++) {
        struct sockaddr_storage bound = bound_to(*at);
        assert_false(mmq_address_is_local(&bound));
    }
    struct sockaddr_storage bound = bound_to(NULL);
    assert_true(mmq_address_is_local(&bound));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback),    cmocka_unit_test(test_any_address),
        cmocka_unit_test(test_one_address), cmocka_unit_test(test_configured),
        cmocka_unit_test(test_unix),        cmocka_unit_test(test_names_that_are_none),
        cmocka_unit_test(test_origins),     cmocka_unit_test(test_who_can_reach_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
