/* Every form, in small and big rooms, with payloads cut at every boundary between values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "clients/render/render.h"
#include "lib/append_row.h"
#include "lib/bucket.h"
#include "lib/json.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "lib/columns.h"

#define NAMES "\"names\": [\"timestamp\",\"value\",\"anomaly_score\",\"rowid\"]}"

static mmq_buffer payload;
static mmq_buffer text;

static int set_up(void **state)
{
    (void)state;
    mmq_buffer_init(&payload, 16 << 20);
    mmq_buffer_init(&text, 64 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mmq_buffer_clear(&payload);
    mmq_buffer_clear(&text);
    return 0;
}

static void add_row(const char *uid, int64_t timestamp, double value, double score, int64_t rowid)
{
    mmq_pack_array(&payload, 5);
    mmq_pack_cstr(&payload, uid);
    mmq_pack_int(&payload, timestamp);
    mmq_pack_double(&payload, value);
    if (isnan(score)) {
        mmq_pack_nil(&payload);
    } else {
        mmq_pack_double(&payload, score);
    }
    mmq_pack_int(&payload, rowid);
}

static bool read_text(mmq_render *render, size_t room)
{
    bool failed = false;
    size_t size;
    char *out = malloc(room);
    assert_non_null(out);
    while ((size = mmq_render_read(render, out, room, &failed)) > 0) {
        assert_true(size <= room && !failed);
        mmq_buffer_add(&text, out, size);
    }
    free(out);
    return !failed;
}

/* Renders the payload, fed in pieces of `values` values; the text or NULL. */
static const char *render(mmq_form form, bool monitored, size_t values, size_t room)
{
    mmq_render *renderer = mmq_render_new(form);
    assert_non_null(renderer);
    if (monitored) {
        mmq_render_monitored_only(renderer);
    }
    mmq_buffer_reset(&text);
    mmq_reader reader;
    mmq_reader_init(&reader, payload.data, payload.size);
    bool ok = true;
    while (ok && !mmq_reader_done(&reader)) {
        const uint8_t *start = reader.at;
        for (size_t i = 0; i < values && !mmq_reader_done(&reader); i++) {
            if (mmq_unpack_skip(&reader) != MMQ_OK) {
                reader.at = reader.end;
            }
        }
        mmq_render_feed(renderer, start, (size_t)(reader.at - start));
        ok = read_text(renderer, room);
    }
    if (ok) {
        mmq_render_finish(renderer);
        ok = read_text(renderer, room);
    }
    mmq_render_destroy(&renderer);
    return ok ? mmq_buffer_cstr(&text) : NULL;
}

static void assert_text(mmq_form form, const char *expected)
{
    for (size_t values = 1; values <= 4; values++) {
        const char *got = render(form, false, values, 1024);
        assert_non_null(got);
        assert_string_equal(got, expected);
    }
    assert_string_equal(render(form, false, 1000, 65536), expected);
}

static void add_sample(void)
{
    mmq_buffer_add(&payload, mmq_rows_names, mmq_rows_names_size);
    add_row("a-1", 1376602440, 222.0, 0.025, 125);
    add_row("a-1", 1376602441, -0.0, NAN, 126);
    add_row("b_2.x", -1, 1e16, 1.0, 1);
    add_row("b_2.x", 253402300799, 0.1, 0.0, 9223372036854775807);
    add_row("c", -62135596800, 5e-324, NAN, 1);
}

static void test_json_metric(void **state)
{
    (void)state;
    add_sample();
    assert_text(MMQ_FORM_JSON_METRIC, "{\"data\": [[\"2013-08-15 21:34:00\", 222, 0.025, 125], "
                                      "[\"2013-08-15 21:34:01\", -0.0, null, 126], "
                                      "[\"1969-12-31 23:59:59\", 1e+16, 1, 1], "
                                      "[\"9999-12-31 23:59:59\", 0.1, 0, 9223372036854775807], "
                                      "[\"0001-01-01 00:00:00\", 5e-324, null, 1]], " NAMES);
}

static void test_json_metrics(void **state)
{
    (void)state;
    add_sample();
    assert_text(
        MMQ_FORM_JSON_METRICS,
        "{\"metrics\": [{\"uid\": \"a-1\", \"data\": [[\"2013-08-15 21:34:00\", 222, "
        "0.025, 125], [\"2013-08-15 21:34:01\", -0.0, null, 126]]}, "
        "{\"uid\": \"b_2.x\", \"data\": [[\"1969-12-31 23:59:59\", 1e+16, 1, 1], "
        "[\"9999-12-31 23:59:59\", 0.1, 0, 9223372036854775807]]}, "
        "{\"uid\": \"c\", \"data\": [[\"0001-01-01 00:00:00\", 5e-324, null, 1]]}], " NAMES);
}

static void test_csv(void **state)
{
    (void)state;
    add_sample();
    assert_text(MMQ_FORM_CSV, "uid,timestamp,value,anomaly_score,rowid\r\n"
                              "a-1,2013-08-15 21:34:00,222,0.025,125\r\n"
                              "a-1,2013-08-15 21:34:01,-0.0,,126\r\n"
                              "b_2.x,1969-12-31 23:59:59,1e+16,1,1\r\n"
                              "b_2.x,9999-12-31 23:59:59,0.1,0,9223372036854775807\r\n"
                              "c,0001-01-01 00:00:00,5e-324,,1\r\n");
}

static void test_ndjson(void **state)
{
    (void)state;
    add_sample();
    assert_text(MMQ_FORM_NDJSON,
                "{\"uid\": \"a-1\", \"timestamp\": \"2013-08-15 21:34:00\", \"value\": 222, "
                "\"anomaly_score\": 0.025, \"rowid\": 125}\n"
                "{\"uid\": \"a-1\", \"timestamp\": \"2013-08-15 21:34:01\", \"value\": -0.0, "
                "\"anomaly_score\": null, \"rowid\": 126}\n"
                "{\"uid\": \"b_2.x\", \"timestamp\": \"1969-12-31 23:59:59\", \"value\": 1e+16, "
                "\"anomaly_score\": 1, \"rowid\": 1}\n"
                "{\"uid\": \"b_2.x\", \"timestamp\": \"9999-12-31 23:59:59\", \"value\": 0.1, "
                "\"anomaly_score\": 0, \"rowid\": 9223372036854775807}\n"
                "{\"uid\": \"c\", \"timestamp\": \"0001-01-01 00:00:00\", \"value\": 5e-324, "
                "\"anomaly_score\": null, \"rowid\": 1}\n");
}

static void add_bucket(const char *uid, int64_t start, const mmq_bucket *bucket)
{
    uint8_t packed[MMQ_BUCKET_MAX];
    mmq_buffer_add(&payload, packed, (size_t)(mmq_bucket_put(packed, uid, start, bucket) - packed));
}

static void add_buckets(void)
{
    const mmq_bucket a = {3, 1, -1.5, 222, 0, 222, 100.5, 0.025};
    const mmq_bucket b = {1, 1, 1e308, 1e308, 1e308, 1e308, 1e308, NAN};
    mmq_buffer_add(&payload, mmq_bucket_names, mmq_bucket_names_size);
    add_bucket("a.1", 1376602440, &a);
    add_bucket("a.1", 1376602500, &b);
    add_bucket("b", 1376602440, &a);
}

#define BUCKET_NAMES                                                                               \
    "\"names\": [\"timestamp\",\"rows\",\"least\",\"greatest\",\"first\",\"last\",\"mean\","       \
    "\"anomaly_score\",\"unscored\"]}"
#define BUCKET_A "[\"2013-08-15 21:34:00\", 3, -1.5, 222, 0, 222, 100.5, 0.025, 1]"
#define BUCKET_B "[\"2013-08-15 21:35:00\", 1, 1e+308, 1e+308, 1e+308, 1e+308, 1e+308, null, 1]"

static void test_buckets(void **state)
{
    (void)state;
    assert_text(MMQ_FORM_JSON_SUMMARY, "{\"data\": [], " BUCKET_NAMES);
    assert_text(MMQ_FORM_JSON_SUMMARIES, "{\"metrics\": [], " BUCKET_NAMES);
    add_buckets();
    assert_text(MMQ_FORM_JSON_SUMMARY,
                "{\"data\": [" BUCKET_A ", " BUCKET_B ", " BUCKET_A "], " BUCKET_NAMES);
    assert_text(MMQ_FORM_JSON_SUMMARIES,
                "{\"metrics\": [{\"uid\": \"a.1\", \"data\": [" BUCKET_A ", " BUCKET_B
                "]}, {\"uid\": \"b\", \"data\": [" BUCKET_A "]}], " BUCKET_NAMES);
    assert_text(MMQ_FORM_CSV_SUMMARY,
                "uid,timestamp,rows,least,greatest,first,last,mean,anomaly_score,unscored\r\n"
                "a.1,2013-08-15 21:34:00,3,-1.5,222,0,222,100.5,0.025,1\r\n"
                "a.1,2013-08-15 21:35:00,1,1e+308,1e+308,1e+308,1e+308,1e+308,,1\r\n"
                "b,2013-08-15 21:34:00,3,-1.5,222,0,222,100.5,0.025,1\r\n");
}

/* The longest bucket there is fits the room that a row has. */
static void test_longest_bucket(void **state)
{
    (void)state;
    const double longest = -2.2250738585072014e-308;
    const int64_t most = INT64_C(1) << 53;
    const mmq_bucket bucket = {most,    most - 1, longest, longest,
                               longest, longest,  longest, longest};
    char uid[MMQ_UID_MAX + 1] = "";
    memset(uid, 'u', MMQ_UID_MAX);
    for (int i = 0; i < 20; i++) {
        add_bucket(uid, 1376602440 + i, &bucket);
    }
    for (int form = MMQ_FORM_JSON_SUMMARY; form <= MMQ_FORM_NDJSON_SUMMARY; form++) {
        const char *got = render((mmq_form)form, false, 20, 1024);
        assert_non_null(got);
        assert_non_null(strstr(got, "9007199254740992"));
        assert_non_null(strstr(got, "-2.2250738585072014e-308"));
    }
    const char *line = render(MMQ_FORM_NDJSON_SUMMARY, false, 20, 1024);
    assert_true(strchr(line, '\n') - line < 512);
}

/* What no rows can be is no bucket. */
static void test_buckets_that_cannot_be(void **state)
{
    (void)state;
    const mmq_bucket wrong[] = {
        {0, 0, 1, 1, 1, 1, 1, 0.5},   {1, 2, 1, 1, 1, 1, 1, NAN},
        {2, 0, 2, 1, 1, 1, 1, 0.5},   {2, 0, 1, 2, 3, 1, 1, 0.5},
        {2, 0, 1, 2, 1, 1, 0, 0.5},   {2, 0, 1, 2, 1, 1, 1, NAN},
        {2, 2, 1, 2, 1, 1, 1, 0.5},   {2, -1, 1, 2, 1, 1, 1, 0.5},
        {-1, -1, 1, 2, 1, 1, 1, NAN}, {2, 0, -INFINITY, 2, 1, 1, 1, 0.5},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mmq_buffer_reset(&payload);
        add_bucket("a", 1376602440, &wrong[i]);
        assert_null(render(MMQ_FORM_JSON_SUMMARY, false, 1, 1024));
    }
    mmq_buffer_reset(&payload);
    add_row("a", 1376602440, 1, 0.5, 1);
    assert_null(render(MMQ_FORM_CSV_SUMMARY, false, 1, 1024));
}

static void test_table(void **state)
{
    (void)state;
    add_row("a-1", 1376602440, 222.0, 0.025, 125);
    add_row("a-1", 1376602441, 5.0, NAN, 126);
    const char *got = render(MMQ_FORM_TABLE, false, 1, 1024);
    const char *line = strchr(got, '\n');
    assert_non_null(line);
    size_t width = (size_t)(line - got);
    for (int i = 0; i < 2; i++) {
        const char *next = strchr(line + 1, '\n');
        assert_non_null(next);
        assert_int_equal(next - line - 1, width);
        line = next;
    }
}

static void test_msgpack(void **state)
{
    (void)state;
    add_sample();
    for (size_t values = 1; values < 4; values++) {
        assert_non_null(render(MMQ_FORM_MSGPACK, false, values, 1024));
        assert_int_equal(text.size, payload.size);
        assert_memory_equal(text.data, payload.data, payload.size);
    }
}

static void test_empty(void **state)
{
    (void)state;
    assert_string_equal(render(MMQ_FORM_JSON_METRIC, false, 1, 1024), "{\"data\": [], " NAMES);
    assert_string_equal(render(MMQ_FORM_JSON_METRICS, false, 1, 1024), "{\"metrics\": [], " NAMES);
    assert_string_equal(render(MMQ_FORM_JSON_RECORDS, false, 1, 1024), "[]");
    mmq_buffer_add(&payload, mmq_rows_names, mmq_rows_names_size);
    assert_string_equal(render(MMQ_FORM_JSON_METRIC, false, 1, 1024), "{\"data\": [], " NAMES);
    assert_string_equal(render(MMQ_FORM_MSGPACK, false, 1, 1024), (const char *)text.data);
    assert_int_equal(text.size, mmq_rows_names_size);
}

static void add_record(const char *uid, int64_t status, const char *name)
{
    mmq_pack_map(&payload, 5);
    mmq_pack_cstr(&payload, "uid");
    mmq_pack_cstr(&payload, uid);
    mmq_pack_cstr(&payload, "name");
    mmq_pack_cstr(&payload, name);
    mmq_pack_cstr(&payload, "status");
    mmq_pack_int(&payload, status);
    mmq_pack_cstr(&payload, "parameters");
    mmq_pack_map(&payload, 1);
    mmq_pack_cstr(&payload, "x");
    mmq_pack_double(&payload, 0.1);
    mmq_pack_cstr(&payload, "message");
    mmq_pack_nil(&payload);
}

#define RECORD(uid, status, name)                                                                  \
    "{\"uid\":\"" uid "\",\"name\":\"" name "\",\"status\":" status                                \
    ",\"parameters\":{\"x\":0.1},\"message\":null}"

static void test_records(void **state)
{
    (void)state;
    add_record("a", 1, "one");
    add_record("b", 0, "two");
    add_record("c", 4, "a\"b");
    assert_text(MMQ_FORM_JSON_RECORDS, "[" RECORD("a", "1", "one") ", " RECORD(
                                           "b", "0", "two") ", " RECORD("c", "4", "a\\\"b") "]");
    for (size_t values = 1; values < 4; values++) {
        assert_string_equal(render(MMQ_FORM_JSON_RECORDS, true, values, 1024),
                            "[" RECORD("a", "1", "one") ", " RECORD("c", "4", "a\\\"b") "]");
    }
}

static void test_big_record(void **state)
{
    (void)state;
    static char name[100001];
    memset(name, 'n', sizeof name - 1);
    add_record("a", 1, name);
    add_record("b", 1, name);
    assert_non_null(render(MMQ_FORM_JSON_RECORDS, false, 1, 1024));
    mmq_why why;
    assert_int_equal(mmq_json_check((const char *)text.data, text.size, &why), MMQ_OK);
    assert_true(text.size > 200000);
}

static void test_record_lines(void **state)
{
    (void)state;
    add_record("a", 1, "x,\"y\"\r\nz");
    const char *got = render(MMQ_FORM_CSV_RECORDS, false, 1, 1024);
    assert_non_null(strstr(got, "\r\na,,\"x,\"\"y\"\"\r\nz\",,,,\"{\"\"x\"\":0.1}\",1,,,,,,\r\n"));
    mmq_buffer_reset(&payload);
    add_record("a", 1, "\x1b[31mr\xc3\xa9\xc2\x9b");
    got = render(MMQ_FORM_TABLE_RECORDS, false, 1, 1024);
    assert_null(strchr(got, '\x1b'));
    assert_null(strstr(got, "\xc2\x9b"));
    assert_non_null(strstr(got, "r\xc3\xa9??"));
}

static void add_export_row(int64_t timestamp, double value, double score, double raw)
{
    const mmq_append_row row = {timestamp, value, score, raw};
    uint8_t packed[MMQ_APPEND_ROW_MAX];
    mmq_buffer_add(&payload, packed, (size_t)(mmq_append_row_put(packed, &row) - packed));
}

#define EXPORTED(uid, status, name)                                                                \
    "{\"uid\":\"" uid "\",\"name\":\"" name "\",\"status\":" status                                \
    ",\"parameters\":{\"x\":0.1},\"message\":null,\"data\":["

static void test_export(void **state)
{
    (void)state;
    assert_text(MMQ_FORM_JSON_EXPORT, "[]");
    add_record("a", 1, "one");
    assert_text(MMQ_FORM_JSON_EXPORT, "[" EXPORTED("a", "1", "one") "]}]");
    add_record("b", 0, "two");
    add_export_row(1376602440, 222, 0.025, NAN);
    add_export_row(1376602440, 222, 0.025, NAN);
    add_export_row(-1, -0.0, NAN, 5e-324);
    add_export_row(253402300799, 1e16, 1, 1);
    add_record("c", 4, "a\"b");
    add_export_row(-62135596800, 0, NAN, NAN);
    assert_text(MMQ_FORM_JSON_EXPORT,
                "[" EXPORTED("a", "1", "one") "]},\n" EXPORTED(
                    "b", "0", "two") "[222,\"2013-08-15 21:34:00\",0.025,null],"
                                     "[222,\"2013-08-15 21:34:00\",0.025,null],"
                                     "[-0.0,\"1969-12-31 23:59:59\",null,5e-324],"
                                     "[1e+16,\"9999-12-31 23:59:59\",1,1]]},\n" EXPORTED(
                                         "c", "4", "a\\\"b") "[0,\"0001-01-01 00:00:00\",null,null]"
                                                             "]}]");
}

static void test_long_export(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        if (i % 5000 == 0) {
            add_record("a", 1, "one");
        }
        add_export_row(1376602440 + i, i / 3.0, i % 2 ? NAN : i / 7.0, i % 100);
    }
    char *expected = strdup(render(MMQ_FORM_JSON_EXPORT, false, 100000, 1 << 20));
    mmq_why why;
    assert_int_equal(mmq_json_check(expected, strlen(expected), &why), MMQ_OK);
    for (size_t room = 1024; room < 3000; room += 97) {
        assert_string_equal(render(MMQ_FORM_JSON_EXPORT, false, 300, room), expected);
    }
    free(expected);
}

static void assert_refused(mmq_form form)
{
    assert_null(render(form, false, 1, 1024));
    assert_null(render(form, false, 9, 65536));
    mmq_buffer_reset(&payload);
}

static void test_hostile(void **state)
{
    (void)state;
    add_export_row(1, 1, 1, 1);
    assert_refused(MMQ_FORM_JSON_EXPORT); /* of no metric */
    add_record("a", 1, "one");
    add_export_row(253402300800, 1, 1, 1);
    assert_refused(MMQ_FORM_JSON_EXPORT);
    add_record("a", 1, "one");
    add_row("a", 1, 1, 1, 1);
    assert_refused(MMQ_FORM_JSON_EXPORT);
    mmq_pack_map(&payload, 0);
    assert_refused(MMQ_FORM_JSON_EXPORT);
    add_record("a", 1, "one");
    add_export_row(1, 1, 1, 1);
    payload.size--;
    assert_refused(MMQ_FORM_JSON_EXPORT);
    add_row("a", 253402300800, 1, 1, 1);
    assert_refused(MMQ_FORM_JSON_METRIC);
    add_row("a", 1, INFINITY, 1, 1);
    assert_refused(MMQ_FORM_CSV);
    add_row("a", 1, 1, INFINITY, 1);
    assert_refused(MMQ_FORM_JSON_METRIC);
    add_row("a\"", 1, 1, 1, 1);
    assert_refused(MMQ_FORM_JSON_METRICS);
    add_row("", 1, 1, 1, 1);
    assert_refused(MMQ_FORM_CSV);
    add_row("\x1b", 1, 1, 1, 1);
    assert_refused(MMQ_FORM_TABLE);
    mmq_buffer_add(&payload, "\xdd\xff\xff\xff\xff", 5);
    assert_refused(MMQ_FORM_JSON_RECORDS);
    mmq_pack_int(&payload, 5);
    assert_refused(MMQ_FORM_JSON_RECORDS);
    mmq_pack_int(&payload, 5);
    assert_refused(MMQ_FORM_JSON_METRIC);
    add_row("a", 1, 1, 1, 1);
    payload.size -= 1;
    assert_refused(MMQ_FORM_JSON_METRIC);
    mmq_pack_map(&payload, 1);
    mmq_pack_int(&payload, 1);
    mmq_pack_int(&payload, 1);
    assert_refused(MMQ_FORM_JSON_RECORDS);
}

/* Numbers that come again, with their likes between them, over the ends of rooms and payloads. */
static void test_repeats(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } numbers[] = {{0, "0"},
                   {-0.0, "-0.0"},
                   {-2.2250738585072014e-308, "-2.2250738585072014e-308"},
                   {0.1, "0.1"},
                   {222, "222"}};
    mmq_buffer wanted;
    mmq_buffer_init(&wanted, 1 << 20);
    mmq_buffer_text(&wanted, "{\"data\": [");
    for (int i = 0; i < 1500; i++) {
        const int value = i / 7 % 5, score = i * i / 11 % 6; /* 5: nil */
        add_row("a", 86390 + i, numbers[value].number, score < 5 ? numbers[score].number : NAN, i);
        mmq_buffer_format(&wanted, "%s[\"1970-01-0%d %02d:%02d:%02d\", %s, %s, %d]",
                          i > 0 ? ", " : "", i < 10 ? 1 : 2, i < 10 ? 23 : 0,
                          i < 10 ? 59 : (i - 10) / 60, i < 10 ? 50 + i : (i - 10) % 60,
                          numbers[value].text, score < 5 ? numbers[score].text : "null", i);
    }
    mmq_buffer_text(&wanted, "], " NAMES);
    for (size_t values = 1; values < 2000; values *= 3) {
        for (size_t room = 1024; room < 20000; room += 1777) {
            assert_string_equal(render(MMQ_FORM_JSON_METRIC, false, values, room),
                                mmq_buffer_cstr(&wanted));
        }
    }
    mmq_buffer_clear(&wanted);
}

/* 2,000 rows in rooms of many sizes: the same text. */
static void test_rooms(void **state)
{
    (void)state;
    char uid[16];
    for (int i = 0; i < 2000; i++) {
        snprintf(uid, sizeof uid, "u%d", i / 7);
        add_row(uid, i * 7919LL, i / 3.0, i % 2 ? NAN : i / 7.0, i);
    }
    char *expected = strdup(render(MMQ_FORM_JSON_METRICS, false, 1000, 1 << 20));
    assert_non_null(expected);
    for (size_t room = 1024; room < 1024 + 600; room += 13) {
        assert_string_equal(render(MMQ_FORM_JSON_METRICS, false, 100, room), expected);
    }
    free(expected);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_json_metric),
        TEST(test_json_metrics),
        TEST(test_csv),
        TEST(test_ndjson),
        TEST(test_buckets),
        TEST(test_longest_bucket),
        TEST(test_buckets_that_cannot_be),
        TEST(test_table),
        TEST(test_msgpack),
        TEST(test_empty),
        TEST(test_records),
        TEST(test_big_record),
        TEST(test_record_lines),
        TEST(test_export),
        TEST(test_long_export),
        TEST(test_hostile),
        TEST(test_rooms),
        TEST(test_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
