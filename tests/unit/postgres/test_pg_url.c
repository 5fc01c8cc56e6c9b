/* URLs of PostgreSQL: which are taken, which refused, and what is said of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workers/store/postgres/url.h"

static mmq_why why;

static mmq_pg_url *parse(const char *text)
{
    mmq_pg_url *url;
    if (mmq_pg_url_parse(text, &url, &why) != MMQ_OK) {
        fail_msg("%s: %s", text, why.text);
    }
    return url;
}

/* What libpq is told; NULL: nothing. The last of a name holds. */
static const char *told(mmq_pg_url *url, size_t host, const char *name)
{
    const char *const *keywords, *const *values, *found = NULL;
    mmq_pg_url_parameters(url, host, "any", &keywords, &values);
    for (size_t i = 0; keywords[i] != NULL; i++) {
        if (strcmp(keywords[i], name) == 0 && values[i] != NULL) {
            found = values[i];
        }
    }
    return found;
}

static void takes_a_socket(void **state)
{
    (void)state;
    mmq_pg_url *url = parse("postgresql://reader@/metrics?host=%2Ftmp%2Fa");
    assert_string_equal(told(url, 0, "host"), "/tmp/a");
    assert_string_equal(told(url, 0, "dbname"), "metrics");
    assert_string_equal(told(url, 0, "user"), "reader");
    assert_string_equal(told(url, 0, "client_encoding"), "UTF8");
    assert_string_equal(mmq_pg_url_wanted(url), "any");
    assert_string_equal(mmq_pg_url_shown(url), "postgresql:///tmp/a/metrics");
    assert_int_equal(mmq_pg_url_hosts(url), 1);
    mmq_pg_url_free(&url);
    assert_null(url);
    url = parse("postgres:///metrics");
    assert_null(told(url, 0, "host"));
    mmq_pg_url_free(&url);
}

static void splits_hosts(void **state)
{
    (void)state;
    mmq_pg_url *url = parse("postgresql://u@a.example:1,b.example:2,[::1]:3/db"
                            "?sslmode=verify-full&target_session_attrs=prefer-standby");
    assert_int_equal(mmq_pg_url_hosts(url), 3);
    assert_string_equal(told(url, 0, "host"), "a.example");
    assert_string_equal(told(url, 1, "host"), "b.example");
    assert_string_equal(told(url, 2, "host"), "::1");
    assert_string_equal(told(url, 1, "port"), "2");
    assert_string_equal(told(url, 1, "target_session_attrs"), "any");
    assert_string_equal(mmq_pg_url_wanted(url), "prefer-standby");
    mmq_pg_url_free(&url);
    url = parse("postgresql:///db?host=/a,/b&port=7");
    assert_string_equal(told(url, 0, "port"), "7");
    assert_string_equal(told(url, 1, "port"), "7");
    assert_string_equal(told(url, 1, "host"), "/b");
    mmq_pg_url_free(&url);
}

static void users_win_over_ours(void **state)
{
    (void)state;
    mmq_pg_url *url = parse("postgresql:///db?gssencmode=prefer&application_name=x");
    assert_string_equal(told(url, 0, "gssencmode"), "prefer");
    assert_string_equal(told(url, 0, "application_name"), "x");
    assert_string_equal(told(url, 0, "fallback_application_name"), "metricmq");
    mmq_pg_url_free(&url);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"", "not one of PostgreSQL"},
        {"sqlite:x", "not one of PostgreSQL"},
        {"host=/tmp password=s3cret dbname=db", "not one of PostgreSQL"},
        {"postgresql://u:s3cret@[::1/db", "not one of PostgreSQL"},
        {"postgresql://u:s3cret@localhost:port%zz/db", "not one of PostgreSQL"},
        {"postgresql://u:s3cret@localhost/db?s3cret", "not one of PostgreSQL"},
        {"postgresql://u:s3cret@localhost/db?pasword=1", "no parameter \"pasword\""},
        {"postgresql://u:s3cret@localhost", "names no database"},
        {"postgresql://u:s3cret@localhost/", "names no database"},
        {"postgresql:///db?password=s3cret&options=-csynchronous_commit%3Doff",
         "parameter options"},
        {"postgresql:///db?password=s3cret&client_encoding=LATIN1", "parameter client_encoding"},
        {"postgresql:///db?password=s3cret&replication=database", "parameter replication"},
        {"postgresql:///db?password=s3cret&connect_timeout=900", "parameter connect_timeout"},
        {"postgresql:///db?password=s3cret&sslpassword=s3cret", "parameter sslpassword"},
        {"postgresql:///db?password=s3cret&target_session_attrs=best", "target_session_attrs is"},
        {"postgresql://u:s3cret@db.example/db", "sslmode=verify-full"},
        {"postgresql://u:s3cret@db.example/db?sslmode=prefer", "sslmode=verify-full"},
        {"postgresql://u:s3cret@localhost,10.1.2.3/db?sslmode=allow", "sslmode=verify-full"},
        {"postgresql://u:s3cret@localhost/db?hostaddr=10.1.2.3", "sslmode=verify-full"},
        {"postgresql://u:s3cret@a,b,c/db?port=1,2&sslmode=require", "3 hosts"},
        {"postgresql://u:s3cret@a,b/db?hostaddr=127.0.0.1,127.0.0.1,127.0.0.1", "addresses"},
        {"postgresql://u:s3cret@localhost/db", "PGPASSFILE"},
        {"postgresql:///db?password=s3cret", "PGPASSFILE"},
        {"postgresql://u:s3cret@1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17/db", "more than 16"},
    };
    (void)unsetenv("PGSSLMODE");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_pg_url *url;
        why.text[0] = '\0';
        assert_int_equal(mmq_pg_url_parse(cases[i].text, &url, &why), MMQ_EINVAL);
        assert_null(url);
        if (strstr(why.text, cases[i].said) == NULL || strstr(why.text, "s3cret") != NULL) {
            fail_msg("%s: %s", cases[i].text, why.text);
        }
    }
}

static void environment_tells_of_trust(void **state)
{
    (void)state;
    assert_int_equal(setenv("PGSSLMODE", "verify-full", 1), 0);
    mmq_pg_url *url = parse("postgresql://db.example/db");
    mmq_pg_url_free(&url);
    assert_int_equal(unsetenv("PGSSLMODE"), 0);
    url = parse("postgresql://10.0.0.1/db?sslmode=disable");
    mmq_pg_url_free(&url);
    assert_int_equal(setenv("PGHOST", "db.example", 1), 0);
    assert_int_equal(mmq_pg_url_parse("postgresql:///db", &url, &why), MMQ_EINVAL);
    assert_int_equal(unsetenv("PGHOST"), 0);
}

/* No bytes make it read what is not there (the sanitizers look), or say what it should not. */
static void bytes_at_random(void **state)
{
    (void)state;
    static const char letters[] = "postgresql://u:@/[]?=&%,25af0\xc3\xa9 host";
    unsigned random = 1;
    for (int i = 0; i < 20000; i++) {
        char text[48] = "postgresql://";
        size_t at = strlen(text), end = at + (unsigned)i % 32;
        for (; at < end; at++) {
            random = random * 1103515245u + 12345u;
            text[at] = letters[(random >> 16) % (sizeof letters - 1)];
        }
        text[at] = '\0';
        mmq_pg_url *url;
        if (mmq_pg_url_parse(text, &url, &why) == MMQ_OK) {
            assert_non_null(told(url, 0, "dbname"));
            mmq_pg_url_free(&url);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_socket),
        cmocka_unit_test(splits_hosts),
        cmocka_unit_test(users_win_over_ours),
        cmocka_unit_test(refuses),
        cmocka_unit_test(environment_tells_of_trust),
        cmocka_unit_test(bytes_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
