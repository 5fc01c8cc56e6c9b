/* What clients like: Accept, Accept-Encoding, If-None-Match. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "clients/http/negotiate.h"

static mmq_media choose(const char *field, const char *more)
{
    mmq_accept accept;
    mmq_accept_init(&accept);
    mmq_accept_add(&accept, field);
    if (more != NULL) {
        mmq_accept_add(&accept, more);
    }
    return mmq_accept_choose(&accept);
}

static void test_accept(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        mmq_media media;
    } cases[] = {
        {"", MMQ_MEDIA_JSON},
        {"*/*", MMQ_MEDIA_JSON},
        {"application/json", MMQ_MEDIA_JSON},
        {"application/*", MMQ_MEDIA_JSON},
        {"application/*;q=0.5, text/csv;q=0.4", MMQ_MEDIA_JSON},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", MMQ_MEDIA_JSON},
        /* the stream, wherever it is named */
        {"application/octet-stream", MMQ_MEDIA_OCTETS},
        {"Application/Octet-Stream;q=0.5", MMQ_MEDIA_OCTETS},
        {"text/html, application/octet-stream;q=0.1", MMQ_MEDIA_OCTETS},
        {"*/*, application/octet-stream;q=0.5", MMQ_MEDIA_OCTETS},
        {"application/json, application/octet-stream", MMQ_MEDIA_OCTETS},
        {"application/json;q=0.9, application/octet-stream", MMQ_MEDIA_OCTETS},
        {"application/json, application/octet-stream;q=0.9", MMQ_MEDIA_JSON},
        {"text/csv;q=0.3,application/octet-stream;q=0.2", MMQ_MEDIA_CSV},
        {"application/octet-stream;q=0", MMQ_MEDIA_JSON},
        {"application/octet-stream;q=0, */*", MMQ_MEDIA_JSON},
        {" application/octet-stream\t;\t q=1 ", MMQ_MEDIA_OCTETS},
        /* the others by weight, a name before a range, ours first */
        {"text/csv", MMQ_MEDIA_CSV},
        {"text/csv; header=absent", MMQ_MEDIA_CSV},
        {"text/csv, */*", MMQ_MEDIA_CSV},
        {"text/*", MMQ_MEDIA_CSV},
        {"text/*;q=0.1, */*;q=0.2", MMQ_MEDIA_JSON},
        {"application/x-ndjson", MMQ_MEDIA_NDJSON},
        {"application/ndjson", MMQ_MEDIA_NDJSON},
        {"text/csv;q=0.5, application/x-ndjson;q=0.501", MMQ_MEDIA_NDJSON},
        {"text/csv, application/json", MMQ_MEDIA_JSON},
        {"application/json;q=0, */*", MMQ_MEDIA_CSV},
        {"application/json;q=0.0, text/csv;q=0.000, */*", MMQ_MEDIA_NDJSON},
        {"text/csv;q=0.5, text/csv;q=0.9, application/json;q=0.8", MMQ_MEDIA_CSV},
        /* nothing that we have */
        {"image/png", MMQ_MEDIA_JSON},
        {"*/*;q=0", MMQ_MEDIA_JSON},
        {"application/json;q=0", MMQ_MEDIA_JSON},
        /* odd ones: a weight that cannot be read is none */
        {"text/csv;q=2", MMQ_MEDIA_CSV},
        {"text/csv;q=-1", MMQ_MEDIA_CSV},
        {"text/csv;q=", MMQ_MEDIA_CSV},
        {"text/csv;q=0.5555, application/json;q=0.9", MMQ_MEDIA_CSV},
        {"text/csv;q=1.5, application/json;q=0.9", MMQ_MEDIA_CSV},
        {"text/plain; x=\"a, text/csv;q=1\", application/x-ndjson;q=0.1", MMQ_MEDIA_NDJSON},
        {"text/plain; x=\"a\\\", text/csv\", application/x-ndjson", MMQ_MEDIA_NDJSON},
        {",,, ,text/csv,,", MMQ_MEDIA_CSV},
        {";;;,;q=1,text/csv", MMQ_MEDIA_CSV},
        {"text/csv\"", MMQ_MEDIA_JSON},
        {"text", MMQ_MEDIA_JSON},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (choose(cases[i].field, NULL) != cases[i].media) {
            fail_msg("%s: %d", cases[i].field, choose(cases[i].field, NULL));
        }
    }
    assert_int_equal(choose("image/png", "text/csv"), MMQ_MEDIA_CSV);
    assert_int_equal(choose("text/csv", "application/octet-stream"), MMQ_MEDIA_OCTETS);
}

static void assert_gzip(const char *field, bool wanted)
{
    mmq_codings codings;
    mmq_codings_init(&codings);
    mmq_codings_add(&codings, field);
    if (mmq_codings_gzip(&codings) != wanted) {
        fail_msg("%s", field);
    }
}

static void test_codings(void **state)
{
    (void)state;
    const char *const yes[] = {"gzip",
                               "GZIP",
                               "x-gzip",
                               "deflate, gzip",
                               "*",
                               "gzip;q=0.1",
                               "br;q=1, *;q=0.1",
                               "gzip, identity",
                               "gzip;q=0.5, identity;q=0.5"};
    const char *const no[] = {"",
                              "identity",
                              "deflate, br",
                              "gzip;q=0",
                              "gzip;q=0, *",
                              "*;q=0",
                              "identity, gzip;q=0.5",
                              "gzipped",
                              "*;q=0.5, identity"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        assert_gzip(yes[i], true);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        assert_gzip(no[i], false);
    }
}

static void assert_tags(const char *field, const char *const *tags)
{
    mmq_slice tag;
    for (; *tags != NULL; tags++) {
        assert_true(mmq_etag_next(&field, &tag));
        assert_int_equal(tag.size, strlen(*tags));
        assert_memory_equal(tag.data, *tags, tag.size);
    }
    assert_false(mmq_etag_next(&field, &tag));
}

#define TAGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_etags(void **state)
{
    (void)state;
    assert_tags("\"a\"", TAGS("a"));
    assert_tags("W/\"a-1\"", TAGS("a-1"));
    assert_tags("  W/\"a\" , \"b\",W/\"\",\"c\" ", TAGS("a", "b", "", "c"));
    assert_tags("*", TAGS("*"));
    assert_tags("\"a\" garbage", TAGS("a"));
    const char *const bad[] = {"", " ", ",", "a", "\"a", "W/a", "w/\"a\"", "W/", "'a'"};
    mmq_slice tag;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *at = bad[i];
        assert_false(mmq_etag_next(&at, &tag));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_codings),
        cmocka_unit_test(test_etags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
