/* The body of POST /_models: every form, what becomes of it, and every way to be wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/models_body.h"
#include "lib/json.h"
#include "workers/record.h"
#include "workers/write_rows.h"

static mmq_models_body body;
static mmq_why why;

/* From a copy that ends where the text does, so that ASan sees a byte too far. */
static mmq_err read_text(const char *text, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    why.text[0] = '\0';
    mmq_err err = mmq_models_body_read(copy, size, &body, &why);
    free(copy);
    return err;
}

static void expect_read(const char *text, size_t count)
{
    if (read_text(text, strlen(text)) != MMQ_OK) {
        fail_msg("%s: %s", text, why.text);
    }
    assert_int_equal(body.count, count);
}

/* The record of a model as the write worker makes it, as JSON. */
static void expect_record(size_t index, const char *json)
{
    const mmq_new_model *model = &body.models[index];
    mmq_metric metric;
    mmq_buffer packed, text;
    mmq_buffer_init(&packed, 1 << 20);
    mmq_buffer_init(&text, 1 << 20);
    assert_int_equal(
        mmq_record_read(body.packed.data + model->record.at, model->record.size, &metric, &why),
        MMQ_OK);
    assert_int_equal(strlen(metric.head.uid), model->uid.size);
    assert_memory_equal(metric.head.uid, body.uids.data + model->uid.at, model->uid.size);
    if (model->uid.size == 32) { /* it was derived */
        (void)snprintf(metric.head.uid, sizeof metric.head.uid, "U");
    }
    assert_int_equal(mmq_record_pack(&packed, &metric, &why), MMQ_OK);
    assert_int_equal(mmq_json_from_msgpack(packed.data, packed.size, &text, &why), MMQ_OK);
    assert_string_equal(mmq_buffer_cstr(&text), json);
    mmq_buffer_clear(&packed);
    mmq_buffer_clear(&text);
    mmq_metric_clear(&metric);
}

#define CUSTOM(name_, server_, parameters_)                                                        \
    "{\"uid\":\"U\",\"datasource\":\"custom\",\"name\":\"" name_ "\",\"description\":"             \
    "\"Custom metric " name_ "\",\"server\":\"" server_ "\",\"location\":\"\",\"parameters\":"     \
    "{\"datasource\":\"custom\",\"metricSpec\":{\"metric\":\"" name_ "\"" parameters_ ","          \
    "\"status\":1,\"message\":null,\"last_timestamp\":null,\"poll_interval\":300,"                 \
    "\"tag_name\":null,\"last_rowid\":0,\"display_name\":\"" server_ "\"}"

static void custom_older_and_newer(void **state)
{
    (void)state;
    static const struct {
        const char *body, *record;
    } cases[] = {
        {"{\"datasource\":\"custom\",\"metric\":\"m\"}", CUSTOM("m", "m", "},\"modelParams\":{}}")},
        {"{\"datasource\":\"custom\",\"metricSpec\":{\"metric\":\"m\"}}",
         CUSTOM("m", "m", "},\"modelParams\":{}}")},
        {"{\"max\":5,\"min\":-0.5,\"userInfo\":{\"a\":[1]},\"resource\":\"r\",\"unit\":\"u\","
         "\"metric\":\"m\",\"datasource\":\"custom\"}",
         CUSTOM("m", "r",
                ",\"unit\":\"u\",\"resource\":\"r\",\"userInfo\":{\"a\":[1]}},"
                "\"modelParams\":{\"min\":-0.5,\"max\":5}}")},
        {"{\"datasource\":\"custom\",\"metricSpec\":{\"userInfo\":\"x\",\"metric\":\"m\","
         "\"unit\":\"u\",\"resource\":\"r\"},\"modelParams\":{\"max\":2}}",
         CUSTOM("m", "r",
                ",\"unit\":\"u\",\"resource\":\"r\",\"userInfo\":\"x\"},"
                "\"modelParams\":{\"max\":2}}")},
        {"{\"datasource\":\"custom\",\"metric\":\"m\",\"unit\":null,\"min\":null,\"uid\":null,"
         "\"modelParams\":{},\"data\":null,\"userInfo\":null}",
         CUSTOM("m", "m", "},\"modelParams\":{}}")},
        {"{\"datasource\":\"custom\",\"name\":\"m\",\"metric\":\"m\",\"server\":\"s\","
         "\"resource\":\"r\"}",
         CUSTOM("m", "s", ",\"resource\":\"r\"},\"modelParams\":{}}")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_read(cases[i].body, 1);
        assert_false(body.array);
        expect_record(0, cases[i].record);
        assert_int_equal(body.models[0].batch_count, 0);
        mmq_models_body_clear(&body);
    }
}

#define CLOUD(metric_, description_, dimensions_)                                                  \
    "{\"uid\":\"U\",\"datasource\":\"cloudwatch\",\"name\":\"" metric_ "\",\"description\":"       \
    "\"" description_ "\",\"server\":\"us-west-2/AWS/EC2/i-1\",\"location\":\"us-west-2\","        \
    "\"parameters\":{" dimensions_ ",\"region\":\"us-west-2\"},\"status\":1,\"message\":null,"     \
    "\"last_timestamp\":null,\"poll_interval\":300,\"tag_name\":null,\"last_rowid\":0,"            \
    "\"display_name\":\"us-west-2/AWS/EC2/i-1\"}"

static void cloudwatch_older_and_newer(void **state)
{
    (void)state;
    expect_read(
        "[{\"datasource\":\"cloudwatch\",\"region\":\"us-west-2\",\"namespace\":\"AWS/EC2\","
        "\"metric\":\"CPU\",\"dimensions\":{\"InstanceId\":\"i-1\",\"A\":\"b\"},\"min\":0},"
        "{\"datasource\":\"cloudwatch\",\"metricSpec\":{\"region\":\"us-west-2\","
        "\"namespace\":\"AWS/EC2\",\"metric\":\"a/b\",\"dimensions\":{\"InstanceId\":"
        "\"i-1\"}},\"modelParams\":{\"min\":0,\"max\":1}}]",
        2);
    assert_true(body.array);
    expect_record(0, CLOUD("AWS/EC2/CPU", "CPU on EC2 instance i-1 in us-west-2 region",
                           "\"InstanceId\":\"i-1\",\"A\":\"b\""));
    expect_record(1, CLOUD("AWS/EC2/a/b", "a/b on EC2 instance i-1 in us-west-2 region",
                           "\"InstanceId\":\"i-1\""));
    mmq_models_body_clear(&body);
}

/* As an export has them; the identity of a metric with a slash of its own stays what it was. */
static void records_come_back(void **state)
{
    (void)state;
    static const char *const records[] = {
        "{\"uid\":\"u\",\"datasource\":\"custom\",\"name\":\"n\",\"description\":\"d\",\"server\":"
        "\"s\",\"location\":\"l\",\"parameters\":{\"a\":[1,{}]},\"status\":8,\"message\":\"m\","
        "\"last_timestamp\":null,\"poll_interval\":60,\"tag_name\":\"t\",\"last_rowid\":0,"
        "\"display_name\":\"t (s)\"}",
        CLOUD("AWS/EC2/a/b", "x", "\"InstanceId\":\"i-1\""),
    };
    for (size_t i = 0; i < 2; i++) {
        expect_read(records[i], 1);
        if (i == 0) {
            expect_record(0, records[0]);
        }
        mmq_models_body_clear(&body);
    }
    char uid[2][32];
    for (size_t i = 0; i < 2; i++) {
        expect_read(i == 0
                        ? "{\"datasource\":\"cloudwatch\",\"region\":\"r\",\"namespace\":\"n\","
                          "\"metric\":\"o/m\",\"dimensions\":{\"d\":\"v\"}}"
                        : "{\"datasource\":\"cloudwatch\",\"name\":\"n/o/m\",\"server\":\"r/n/v\","
                          "\"parameters\":{\"d\":\"v\",\"region\":\"r\"}}",
                    1);
        assert_int_equal(body.models[0].uid.size, 32);
        memcpy(uid[i], body.uids.data + body.models[0].uid.at, 32);
        mmq_models_body_clear(&body);
    }
    assert_memory_equal(uid[0], uid[1], 32);
}

static mmq_write_rows rows_of(size_t index)
{
    const mmq_new_model *model = &body.models[index];
    mmq_write_rows rows;
    assert_int_equal(model->batch_count, 1);
    const mmq_models_batch *batch = &body.batches[model->first_batch];
    assert_int_equal(batch->first_rowid, 1);
    assert_int_equal(mmq_write_rows_read(MMQ_ROWS_APPEND, body.packed.data + batch->rows.at,
                                         batch->rows.size, &rows, &why),
                     MMQ_OK);
    return rows;
}

static void rows_are_exact(void **state)
{
    (void)state;
    expect_read("[ {\"datasource\":\"custom\",\"metric\":\"a\",\"data\":[]},{ \"data\" : [ [ 0.1 , "
                "\"1970-01-01 00:00:01\" ] , [-0.0,\"0001-01-01 00:00:00\",null,null],[5e-324,"
                "\"9999-12-31 23:59:59\",0.30000000000000004,null],[9007199254740993,"
                "\"2014\\u002d02-03 04:05:06\",null,1e-7]],\"datasource\":\"custom\",\"metric\":"
                "\"b\"} ,{\"datasource\":\"custom\",\"metric\":\"c\",\"d\\u0061ta\":[[1,"
                "\"2014-01-01 00:00:00\"]]}]",
                3);
    assert_int_equal(body.models[0].batch_count, 0);
    mmq_write_rows rows = rows_of(1);
    assert_int_equal(rows.count, 4);
    static const int64_t times[] = {1, -62135596800, 253402300799, 1391400306};
    const double values[] = {0.1, -0.0, 5e-324, 9007199254740992.0};
    assert_memory_equal(rows.timestamp, times, sizeof times);
    assert_memory_equal(rows.value, values, sizeof values);
    assert_true(isnan(rows.anomaly_score[0]) && isnan(rows.raw_score[0]));
    assert_true(rows.anomaly_score[2] == 0.30000000000000004 && isnan(rows.raw_score[2]));
    assert_true(isnan(rows.anomaly_score[3]) && rows.raw_score[3] == 1e-7);
    mmq_write_rows_clear(&rows);
    rows = rows_of(2);
    assert_int_equal(rows.count, 1);
    mmq_write_rows_clear(&rows);
    mmq_models_body_clear(&body);
}

/* Batches are bounded, and their rowids follow one another. */
static void many_rows_come_in_batches(void **state)
{
    (void)state;
    enum { ROWS = 100000 };
    mmq_buffer text;
    mmq_buffer_init(&text, 16 << 20);
    mmq_buffer_text(&text, "{\"datasource\":\"custom\",\"metric\":\"a\",\"data\":[");
    for (int i = 0; i < ROWS; i++) {
        mmq_buffer_format(&text, "%s[%d.5,\"2014-01-%02d 00:00:00\",0.5,null]", i > 0 ? "," : "", i,
                          1 + i % 31);
    }
    mmq_buffer_text(&text, "]}");
    assert_int_equal(read_text((const char *)text.data, text.size), MMQ_OK);
    assert_true(body.batch_count > 3 && body.batch_count == body.models[0].batch_count);
    size_t next = 1;
    for (size_t i = 0; i < body.batch_count; i++) {
        const mmq_models_batch *batch = &body.batches[i];
        mmq_write_rows rows;
        assert_true(batch->rows.size <= MMQ_MODELS_BATCH);
        assert_int_equal(batch->first_rowid, next);
        assert_int_equal(mmq_write_rows_read(MMQ_ROWS_APPEND, body.packed.data + batch->rows.at,
                                             batch->rows.size, &rows, &why),
                         MMQ_OK);
        assert_true(rows.value[0] == (double)next - 0.5);
        next += rows.count;
        mmq_write_rows_clear(&rows);
    }
    assert_int_equal(next, ROWS + 1);
    assert_true(mmq_models_body_bytes(&body) < text.size);
    mmq_models_body_clear(&body);
    mmq_buffer_clear(&text);
}

static void expect_refused(const char *text, const char *names)
{
    mmq_err err = read_text(text, strlen(text));
    if (err != MMQ_EINVAL || strstr(why.text, names) == NULL) {
        fail_msg("%s: %s, but not %s", text, why.text, names);
    }
    mmq_models_body_clear(&body);
}

#define C "\"datasource\":\"custom\""
#define M C ",\"metric\":\"m\""
#define W "\"datasource\":\"cloudwatch\""

static void missing_data(void **state)
{
    (void)state;
    static const char *const missing[] = {"", " \r\n\t", "[]", " [ ] ", "{}", "null"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        expect_refused(missing[i], "");
        assert_string_equal(why.text, "Metric data is missing");
    }
}

static void wrong_fields(void **state)
{
    (void)state;
    static const char *const refused[][2] = {
        {"5", "the body"},
        {"\"x\"", "the body"},
        {"true", "the body"},
        {"[5]", "element 1: "},
        {"[{" M "},[]]", "element 2: "},
        {"[{" M "},{}]", "element 2: Metric data is missing"},
        {"[{" M "},{" C "}]", "element 2: \"metric\" is missing"},
        {"{\"metric\":\"m\"}", "\"datasource\""},
        {"{\"datasource\":\"x\",\"metric\":\"m\"}", "\"datasource\""},
        {"{\"datasource\":5,\"metric\":\"m\"}", "\"datasource\""},
        {"{" C ",\"metric\":\"\"}", "\"metric\""},
        {"{" C ",\"metric\":5}", "\"metric\""},
        {"{" C ",\"metricSpec\":5}", "metricSpec"},
        {"{" C ",\"metricSpec\":{\"metric\":\"m\",\"min\":5}}",
         "\"min\" is no field of metricSpec"},
        {"{" M ",\"modelParams\":{\"unit\":\"u\"}}", "\"unit\" is no field of modelParams"},
        {"{" M ",\"modelParams\":[]}", "modelParams"},
        {"{" M ",\"metricSpec\":{\"metric\":\"m\"}}", "\"metric\" is there twice"},
        {"{" M ",\"min\":1,\"modelParams\":{\"min\":1}}", "\"min\" is there twice"},
        {"{" M ",\"colour\":1}", "\"colour\" is no field"},
        {"{" M
         ",\"\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9"
         "\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9x\\u00e9\":1}",
         "\xc3\xa9\" is no field"},
        {"{" M ",\"min\":\"1\"}", "\"min\" must be a number"},
        {"{" M ",\"max\":[]}", "\"max\" must be a number"},
        {"{" M ",\"min\":2,\"max\":1}", "\"min\""},
        {"{" M ",\"unit\":5}", "\"unit\""},
        {"{" M ",\"resource\":{}}", "\"resource\""},
        {"{" M ",\"name\":\"n\"}", "differ"},
        {"{" M ",\"parameters\":{},\"unit\":\"u\"}", "\"parameters\" and \"unit\""},
        {"{" M ",\"region\":\"r\"}", "\"region\" is no field of a custom metric"},
        {"{" M ",\"dimensions\":{}}", "\"dimensions\""},
        {"{" M ",\"uid\":\"a/b\"}", "uid"},
        {"{" M ",\"uid\":5}", "uid"},
        {"{" M ",\"uid\":\"export\"}", "uid"},
        {"{" M ",\"status\":3}", "\"status\""},
        {"{" M ",\"status\":\"1\"}", "\"status\""},
        {"{" M ",\"poll_interval\":0}", "\"poll_interval\""},
        {"{" M ",\"parameters\":[]}", "\"parameters\""},
        {"{" M ",\"description\":5}", "\"description\""},
        {"{" W "}", "\"region\" is missing"},
        {"{" W ",\"region\":\"r\",\"metric\":\"m\",\"dimensions\":{\"d\":\"v\"}}", "\"namespace\""},
        {"{" W ",\"region\":\"r\",\"namespace\":\"n\",\"dimensions\":{\"d\":\"v\"}}", "\"metric\""},
        {"{" W ",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\"}", "\"dimensions\""},
        {"{" W ",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\",\"dimensions\":{}}",
         "\"dimensions\""},
        {"{" W ",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\",\"dimensions\":[\"d\"]}",
         "\"dimensions\""},
        {"{" W ",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\",\"dimensions\":{\"d\":1}}",
         "\"dimensions\""},
        {"{" W
         ",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\",\"dimensions\":{\"d\":\"\"}}",
         "\"dimensions\""},
        {"{" W ",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\",\"dimensions\":{\"region\":"
         "\"v\"}}",
         "\"dimensions\""},
        {"{" W
         ",\"region\":\"\",\"namespace\":\"n\",\"metric\":\"m\",\"dimensions\":{\"d\":\"v\"}}",
         "\"region\""},
        {"{" W
         ",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\",\"dimensions\":{\"d\":\"v\"},"
         "\"name\":\"n/m\"}",
         "\"name\""},
        {"{" W ",\"name\":\"n\",\"parameters\":{\"region\":\"r\",\"d\":\"v\"}}", "\"name\""},
        {"{" W ",\"name\":\"n/m\",\"unit\":\"u\",\"parameters\":{\"region\":\"r\",\"d\":\"v\"}}",
         "\"unit\" is no field of a cloudwatch metric"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        expect_refused(refused[i][0], refused[i][1]);
    }
}

#define ROWS(rows_) "{" M ",\"data\":" rows_ "}"
#define T           "\"2014-01-01 00:00:00\""

static void wrong_rows(void **state)
{
    (void)state;
    static const char *const refused[][2] = {
        {ROWS("{}"), "\"data\" must be an array"},
        {ROWS("5"), "\"data\""},
        {ROWS("[5]"), "\"data\" row 1"},
        {ROWS("[[1," T "],{}]"), "row 2"},
        {ROWS("[[]]"), "2 values, or 4"},
        {ROWS("[[1]]"), "2 values, or 4"},
        {ROWS("[[1," T ",1]]"), "2 values, or 4"},
        {ROWS("[[1," T ",1,1,1]]"), "2 values, or 4"},
        {ROWS("[[1," T "],[\"1\"," T "]]"), "row 2: the value"},
        {ROWS("[[null," T "]]"), "the value"},
        {ROWS("[[true," T "]]"), "the value"},
        {ROWS("[[[1]," T "]]"), "the value"},
        {ROWS("[[1,5]]"), "the time"},
        {ROWS("[[1,null]]"), "the time"},
        {ROWS("[[1,\"\"]]"), "the time"},
        {ROWS("[[1,\"2014-01-01\"]]"), "the time"},
        {ROWS("[[1,\"2014-01-01T00:00:00\"]]"), "the time"},
        {ROWS("[[1,\"2014-01-01 00:00:00Z\"]]"), "the time"},
        {ROWS("[[1,\"2014-02-30 00:00:00\"]]"), "the time"},
        {ROWS("[[1,\"2014-01-01 24:00:00\"]]"), "the time"},
        {ROWS("[[1,\"0000-01-01 00:00:00\"]]"), "the time"},
        {ROWS("[[1,\"1388534400\"]]"), "the time"},
        {ROWS("[[1,\"1388534400 12345678\"]]"), "the time"},
        {ROWS("[[1,\"\\u0032014-01-01 00:00:0x\"]]"), "the time"},
        {ROWS("[[1," T ",\"1\",1]]"), "a score"},
        {ROWS("[[1," T ",1,true]]"), "a score"},
        {"[{" M "},{" C ",\"metric\":\"n\",\"data\":[[1," T "],[1,1]]}]",
         "element 2: \"data\" row 2"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        expect_refused(refused[i][0], refused[i][1]);
    }
}

/* F40 */
static void hostile_json(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "x",
        "{" M "} x",
        "[{" M "}",
        "{" M "," C "}",
        "{" M ",\"data\":[],\"d\\u0061ta\":[]}",
        "{" C ",\"metric\":\"\\u0000\"}",
        "{" C ",\"metric\":\"\\ud800\"}",
        "{" M ",\"min\":1e999}",
        "{" M ",\"min\":NaN}",
        "{" M ",\"min\":01}",
        "\xef\xbb\xbf{" M "}",
        "{" C ",\"metric\":\"\xff\"}",
        ROWS("[[1e999," T "]]"),
        ROWS("[[Infinity," T "]]"),
        ROWS("[[-," T "]]"),
        ROWS("[[0x1," T "]]"),
        ROWS("[[1," T ",]]"),
        ROWS("[[1," T "],]"),
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        expect_refused(refused[i], "JSON");
    }
    assert_int_equal(read_text("{" M "}\0", sizeof "{" M "}"), MMQ_EINVAL);
    mmq_models_body_clear(&body);
}

static void same_metric_twice(void **state)
{
    (void)state;
    expect_refused("[{" M "},{" C ",\"metric\":\"n\"},{" M "}]", "elements 1 and 3 are the same");
    expect_refused("[{" M "},{" M ",\"uid\":\"x\"}]", "elements 1 and 2");
    expect_refused("[{" M ",\"uid\":\"x\"},{" C ",\"metric\":\"n\",\"uid\":\"x\"}]",
                   "elements 1 and 2");
    expect_refused("[{" W ",\"region\":\"r\",\"namespace\":\"n\",\"metric\":\"m\",\"dimensions\":"
                   "{\"a\":\"1\",\"b\":\"2\"}},{" W ",\"name\":\"n/m\",\"parameters\":{\"b\":\"2\","
                   "\"region\":\"r\",\"a\":\"1\"}}]",
                   "elements 1 and 2");
}

static void big_fields(void **state)
{
    (void)state;
    mmq_buffer text;
    mmq_buffer_init(&text, 4 << 20);
    for (int step = 0; step < 4; step++) {
        mmq_buffer_reset(&text);
        mmq_buffer_text(&text, "{" M ",\"userInfo\":[0");
        for (int i = 0; i < (step == 0 ? 10000 : step == 2 ? 200000 : 60000); i++) {
            mmq_buffer_text(&text, step == 3 ? ",1.5" : ",0");
        }
        mmq_buffer_text(&text, "]}");
        mmq_err err = read_text((const char *)text.data, text.size);
        assert_int_equal(err, step == 0 ? MMQ_OK : MMQ_EINVAL);
        mmq_models_body_clear(&body);
    }
    mmq_buffer_reset(&text);
    mmq_buffer_text(&text, "[");
    for (int i = 0; i <= MMQ_MODELS_MAX; i++) {
        mmq_buffer_format(&text, "%s{" C ",\"metric\":\"m%d\"}", i > 0 ? "," : "", i);
    }
    mmq_buffer_text(&text, "]");
    assert_int_equal(read_text((const char *)text.data, text.size), MMQ_ETOOBIG);
    mmq_models_body_clear(&body);
    mmq_buffer_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(custom_older_and_newer),
        cmocka_unit_test(cloudwatch_older_and_newer),
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(rows_are_exact),
        cmocka_unit_test(many_rows_come_in_batches),
        cmocka_unit_test(missing_data),
        cmocka_unit_test(wrong_fields),
        cmocka_unit_test(wrong_rows),
        cmocka_unit_test(hostile_json),
        cmocka_unit_test(same_metric_twice),
        cmocka_unit_test(big_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
