/* Records on the wire, and rows of write requests. */
#include "store_world.h"

#include <math.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/json.h"
#include "metricmq/unpack.h"
#include "workers/record.h"
#include "workers/write_rows.h"

static mmq_err read_json(const char *json, mmq_metric *out)
{
    mmq_buffer packed;
    mmq_buffer_init(&packed, 1 << 20);
    assert_ok(mmq_json_to_msgpack(json, strlen(json), &packed, &why));
    mmq_err err = mmq_record_read(packed.data, packed.size, out, &why);
    /* every cut of it is refused, and none is read beyond */
    for (size_t size = 0; size < packed.size; size++) {
        mmq_metric cut;
        uint8_t *copy = malloc(size > 0 ? size : 1);
        memcpy(copy, packed.data, size);
        assert_int_not_equal(mmq_record_read(copy, size, &cut, NULL), MMQ_OK);
        mmq_metric_clear(&cut);
        free(copy);
    }
    mmq_buffer_clear(&packed);
    return err;
}

static void expect_packed(const mmq_metric *metric, const char *json)
{
    mmq_buffer packed, text;
    mmq_buffer_init(&packed, 1 << 20);
    mmq_buffer_init(&text, 1 << 20);
    assert_ok(mmq_record_pack(&packed, metric, &why));
    assert_ok(mmq_json_from_msgpack(packed.data, packed.size, &text, &why));
    assert_string_equal(mmq_buffer_cstr(&text), json);
    mmq_buffer_clear(&packed);
    mmq_buffer_clear(&text);
}

static void test_defaults(void **state)
{
    (void)state;
    mmq_metric metric;
    assert_ok(read_json("{\"datasource\":\"custom\",\"name\":\"a.b\"}", &metric));
    assert_int_equal(strlen(metric.head.uid), 32);
    assert_string_equal(metric.identity, "a.b");
    (void)snprintf(metric.head.uid, sizeof metric.head.uid, "u");
    expect_packed(
        &metric, "{\"uid\":\"u\",\"datasource\":\"custom\",\"name\":\"a.b\",\"description\":"
                 "\"Custom metric a.b\",\"server\":\"a.b\",\"location\":\"\",\"parameters\":"
                 "{\"datasource\":\"custom\",\"metricSpec\":{\"metric\":\"a.b\"},"
                 "\"modelParams\":{}},\"status\":1,"
                 "\"message\":null,\"last_timestamp\":null,\"poll_interval\":300,\"tag_name\":null,"
                 "\"last_rowid\":0,\"display_name\":\"a.b\"}");
    mmq_metric_clear(&metric);
}

/* What is packed can be read again, whatever was made is ignored. */
static void test_all_keys(void **state)
{
    (void)state;
    mmq_metric metric;
    assert_ok(read_json(
        "{\"uid\":\"u\",\"datasource\":\"custom\",\"name\":\"n\",\"description\":\"d\\u00e9\","
        "\"server\":\"s\",\"location\":\"l\",\"parameters\":{\"x\":[1,2.5]},\"status\":8,"
        "\"message\":\"m\",\"last_timestamp\":\"2020-01-01 00:00:00\",\"poll_interval\":60,"
        "\"tag_name\":\"t\",\"last_rowid\":7,\"display_name\":\"x\"}",
        &metric));
    metric.has_rows = true;
    metric.last_timestamp = 0;
    expect_packed(
        &metric, "{\"uid\":\"u\",\"datasource\":\"custom\",\"name\":\"n\",\"description\":"
                 "\"d\xc3\xa9\",\"server\":\"s\",\"location\":\"l\",\"parameters\":{\"x\":[1,2.5]},"
                 "\"status\":8,\"message\":\"m\",\"last_timestamp\":\"1970-01-01 00:00:00\","
                 "\"poll_interval\":60,\"tag_name\":\"t\",\"last_rowid\":0,"
                 "\"display_name\":\"t (s)\"}");
    mmq_metric_clear(&metric);
}

#define CLOUD(name_, parameters_)                                                                  \
    "{\"datasource\":\"cloudwatch\",\"name\":\"" name_ "\",\"parameters\":{" parameters_ "}}"

static void test_cloudwatch(void **state)
{
    (void)state;
    mmq_metric metric;
    assert_ok(read_json(CLOUD("AWS/EC2/CPUUtilization",
                              "\"InstanceId\":\"i-1\",\"A\":\"b\",\"region\":\"us-west-2\""),
                        &metric));
    assert_string_equal(metric.identity, "[\"us-west-2\",\"AWS/EC2\",\"CPUUtilization\",\"A\","
                                         "\"b\",\"InstanceId\",\"i-1\"]");
    assert_int_equal(strlen(metric.head.uid), 32);
    (void)snprintf(metric.head.uid, sizeof metric.head.uid, "u");
    expect_packed(
        &metric, "{\"uid\":\"u\",\"datasource\":\"cloudwatch\",\"name\":\"AWS/EC2/CPUUtilization\","
                 "\"description\":\"CPUUtilization on EC2 instance i-1 in us-west-2 region\","
                 "\"server\":\"us-west-2/AWS/EC2/i-1\",\"location\":\"us-west-2\",\"parameters\":"
                 "{\"InstanceId\":\"i-1\",\"A\":\"b\",\"region\":\"us-west-2\"},\"status\":1,"
                 "\"message\":null,\"last_timestamp\":null,\"poll_interval\":300,\"tag_name\":null,"
                 "\"last_rowid\":0,\"display_name\":\"us-west-2/AWS/EC2/i-1\"}");
    mmq_metric_clear(&metric);
    assert_ok(read_json(CLOUD("AWS/ELB/Latency", "\"region\":\"r\",\"LB\":\"l\\\"1\""), &metric));
    assert_string_equal(metric.description, "Latency on AWS/ELB l\"1 in r region");
    assert_string_equal(metric.identity, "[\"r\",\"AWS/ELB\",\"Latency\",\"LB\",\"l\\\"1\"]");
    mmq_metric_clear(&metric);
}

static void expect_uid(const char *json, const char *uid, bool equal)
{
    mmq_metric metric;
    assert_ok(read_json(json, &metric));
    assert_int_equal(strcmp(metric.head.uid, uid) == 0, equal);
    mmq_metric_clear(&metric);
}

/* The order of dimensions does not matter, all else does; what is only shown does not. */
static void test_cloudwatch_identity(void **state)
{
    (void)state;
    mmq_metric metric;
    assert_ok(
        read_json(CLOUD("n/m", "\"region\":\"r\",\"a\":\"1\",\"ab\":\"2\",\"b\":\"3\""), &metric));
    const char *uid = metric.head.uid;
    expect_uid(CLOUD("n/m", "\"b\":\"3\",\"ab\":\"2\",\"region\":\"r\",\"a\":\"1\""), uid, true);
    expect_uid(CLOUD("n/m\",\"location\":\"l\",\"server\":\"s\",\"description\":\"d\",\"status\":0,"
                     "\"message\":\"m",
                     "\"region\":\"r\",\"a\":\"1\",\"ab\":\"2\",\"b\":\"3\""),
               uid, true);
    expect_uid(CLOUD("n/m", "\"region\":\"r\",\"a\":\"1\",\"ab\":\"2\",\"b\":\"4\""), uid, false);
    expect_uid(CLOUD("n/m", "\"region\":\"r\",\"a\":\"1\",\"ab\":\"2\""), uid, false);
    expect_uid(CLOUD("n/m", "\"region\":\"s\",\"a\":\"1\",\"ab\":\"2\",\"b\":\"3\""), uid, false);
    expect_uid(CLOUD("n/n", "\"region\":\"r\",\"a\":\"1\",\"ab\":\"2\",\"b\":\"3\""), uid, false);
    mmq_metric_clear(&metric);
}

/* A metric's own slash: the server, as it is made, says where the namespace ends. */
static void test_cloudwatch_slashes(void **state)
{
    (void)state;
    static const struct {
        const char *server, *identity;
    } cases[] = {
        {"r/n/v/w", "[\"r\",\"n\",\"o/m\",\"d\",\"v/w\"]"},
        {"r/n/o/v/w", "[\"r\",\"n/o\",\"m\",\"d\",\"v/w\"]"},
        {"r/n/o/m/v/w", "[\"r\",\"n/o\",\"m\",\"d\",\"v/w\"]"}, /* none of these is made */
        {"r//v/w", "[\"r\",\"n/o\",\"m\",\"d\",\"v/w\"]"},
        {"r/v/w", "[\"r\",\"n/o\",\"m\",\"d\",\"v/w\"]"},
        {"r/x/v/w", "[\"r\",\"n/o\",\"m\",\"d\",\"v/w\"]"},
        {"s/n/v/w", "[\"r\",\"n/o\",\"m\",\"d\",\"v/w\"]"},
        {"r/n/w", "[\"r\",\"n/o\",\"m\",\"d\",\"v/w\"]"},
        {"", "[\"r\",\"n/o\",\"m\",\"d\",\"v/w\"]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[512];
        mmq_metric metric;
        (void)snprintf(json, sizeof json,
                       "{\"datasource\":\"cloudwatch\",\"name\":\"n/o/m\",\"server\":\"%s\","
                       "\"parameters\":{\"d\":\"v/w\",\"region\":\"r\"}}",
                       cases[i].server);
        assert_ok(read_json(json, &metric));
        assert_string_equal(metric.identity, cases[i].identity);
        mmq_metric_clear(&metric);
    }
}

static void test_cloudwatch_dimensions(void **state)
{
    (void)state;
    for (int count = 29; count <= 31; count++) {
        char json[4096] =
            "{\"datasource\":\"cloudwatch\",\"name\":\"n/m\",\"parameters\":{\"region\":"
            "\"r\"";
        for (int i = 0; i < count; i++) {
            const size_t size = strlen(json);
            (void)snprintf(json + size, sizeof json - size, ",\"d%d\":\"v\"", i);
        }
        (void)strcat(json, "}}");
        mmq_metric metric;
        assert_int_equal(read_json(json, &metric), count <= 30 ? MMQ_OK : MMQ_EINVAL);
        mmq_metric_clear(&metric);
    }
}

static void test_refused_records(void **state)
{
    (void)state;
    static const char *const refused[][2] = {
        {"{\"name\":\"n\"}", "datasource"},
        {"{\"datasource\":\"custom\"}", "name"},
        {"{\"datasource\":\"other\",\"name\":\"n\"}", "datasource"},
        {"{\"datasource\":\"cloudwatch\",\"name\":\"n/m\"}", "parameters"},
        {"{\"datasource\":\"cloudwatch\",\"parameters\":{\"region\":\"r\",\"d\":\"v\"}}", "name"},
        {CLOUD("n", "\"region\":\"r\",\"d\":\"v\""), "name"},
        {CLOUD("/n", "\"region\":\"r\",\"d\":\"v\""), "name"},
        {CLOUD("n/", "\"region\":\"r\",\"d\":\"v\""), "name"},
        {CLOUD("n/m", "\"d\":\"v\""), "region"},
        {CLOUD("n/m", "\"region\":\"r\""), "dimension"},
        {CLOUD("n/m", "\"region\":\"\",\"d\":\"v\""), "parameters"},
        {CLOUD("n/m", "\"region\":\"r\",\"d\":5"), "parameters"},
        {CLOUD("n/m", "\"region\":\"r\",\"d\":\"\""), "parameters"},
        {CLOUD("n/m", "\"region\":\"r\",\"\":\"v\""), "parameters"},
        {"{\"datasource\":\"custom\",\"name\":\"\"}", "name"},
        {"{\"datasource\":\"custom\",\"name\":7}", "name"},
        {"{\"datasource\":\"custom\",\"name\":\"n\",\"uid\":\"a/b\"}", "uid"},
        {"{\"datasource\":\"custom\",\"name\":\"n\",\"uid\":\"export\"}", "uid"},
        {"{\"datasource\":\"custom\",\"name\":\"n\",\"status\":3}", "status"},
        {"{\"datasource\":\"custom\",\"name\":\"n\",\"status\":1.5}", "status"},
        {"{\"datasource\":\"custom\",\"name\":\"n\",\"poll_interval\":0}", "poll_interval"},
        {"{\"datasource\":\"custom\",\"name\":\"n\",\"parameters\":[]}", "parameters"},
        {"{\"datasource\":\"custom\",\"name\":\"n\",\"color\":1}", "unknown"},
        {"[]", "map"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        mmq_metric metric;
        assert_int_equal(read_json(refused[i][0], &metric), MMQ_EINVAL);
        assert_non_null(strstr(why.text, refused[i][1]));
        mmq_metric_clear(&metric);
    }
}

static void test_damaged_parameters(void **state)
{
    (void)state;
    mmq_metric metric;
    mmq_buffer packed;
    world_metric(&metric, "u", "n");
    metric.parameters[1] = 'x';
    mmq_buffer_init(&packed, 1 << 20);
    assert_int_equal(mmq_record_pack(&packed, &metric, &why), MMQ_ECORRUPT);
    mmq_buffer_clear(&packed);
    mmq_metric_clear(&metric);
}

static mmq_err read_rows(mmq_rows_form form, const char *data, size_t size, mmq_write_rows *rows)
{
    why.text[0] = '\0';
    uint8_t *copy = malloc(size > 0 ? size : 1); /* so that a read beyond is seen */
    memcpy(copy, data, size);
    mmq_err err = mmq_write_rows_read(form, copy, size, rows, &why);
    free(copy);
    return err;
}

static void test_rows(void **state)
{
    (void)state;
    static const char good[] = "\x94\x05\x07\xc0\xc0"
                               "\x94\xcb\xc0\x08\0\0\0\0\0\0\xca\x3f\x80\0\0\x01\xc0";
    mmq_write_rows rows;
    assert_ok(read_rows(MMQ_ROWS_APPEND, good, sizeof good - 1, &rows));
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.timestamp[0], 5);
    assert_int_equal(rows.timestamp[1], -3);
    assert_true(rows.value[0] == 7 && rows.value[1] == 1 && rows.anomaly_score[1] == 1);
    assert_true(isnan(rows.anomaly_score[0]) && isnan(rows.raw_score[1]));
    mmq_write_rows_clear(&rows);
    for (size_t size = 0; size < sizeof good - 1; size++) {
        mmq_err err = read_rows(MMQ_ROWS_APPEND, good, size, &rows);
        assert_int_equal(err, size == 0 || size == 5 ? MMQ_OK : MMQ_EINVAL);
        mmq_write_rows_clear(&rows);
    }
}

static void test_refused_rows(void **state)
{
    (void)state;
#define ROW_OF(form, bytes)                                                                        \
    {                                                                                              \
        form, bytes, sizeof bytes - 1                                                              \
    }
    static const struct {
        mmq_rows_form form;
        const char *data;
        size_t size;
    } refused[] = {
        ROW_OF(MMQ_ROWS_APPEND, "\x05"),
        ROW_OF(MMQ_ROWS_APPEND, "\x93\x05\x07\xc0"),
        ROW_OF(MMQ_ROWS_APPEND, "\x94\x05\xc0\xc0\xc0"),
        ROW_OF(MMQ_ROWS_APPEND, "\x94\xa1x\x05\xc0\xc0"),
        ROW_OF(MMQ_ROWS_APPEND, "\x94\xcb\x3f\xe0\0\0\0\0\0\0\x05\xc0\xc0"),
        ROW_OF(MMQ_ROWS_APPEND, "\x94\x05\xcb\x7f\xf0\0\0\0\0\0\0\xc0\xc0"),
        ROW_OF(MMQ_ROWS_APPEND, "\x94\x05\x05\xcb\x7f\xf8\0\0\0\0\0\0\xc0"),
        ROW_OF(MMQ_ROWS_APPEND, "\xdd\xff\xff\xff\xff"),
        ROW_OF(MMQ_ROWS_SCORE, "\x93\x05\xc0\x05"),
        ROW_OF(MMQ_ROWS_SCORE, "\x93\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x05\x05"),
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        mmq_write_rows rows;
        assert_int_equal(read_rows(refused[i].form, refused[i].data, refused[i].size, &rows),
                         MMQ_EINVAL);
        assert_non_null(strstr(why.text, "row 1"));
        mmq_write_rows_clear(&rows);
    }
}

/* A number as the general decoder has it; NaN: nil. False if no column takes it. */
static bool unpack_number(mmq_reader *reader, bool integer, bool optional, double *out)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK) {
        return false;
    }
    *out = value.type == MMQ_INT    ? (double)value.integer
           : value.type == MMQ_UINT ? (double)value.unsigned_integer
           : value.type == MMQ_NIL  ? (double)NAN
                                    : value.number;
    if (value.type == MMQ_FLOAT) {
        return isfinite(value.number) && (!integer || value.number == trunc(value.number)) &&
               (!integer || fabs(value.number) <= 0x1p53);
    }
    return value.type == MMQ_INT || (value.type == MMQ_UINT && !integer) ||
           (value.type == MMQ_NIL && optional);
}

static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* The columns of good rows against a decoder that takes one value after the other. */
static bool rows_are_good(mmq_rows_form form, const char *data, size_t size,
                          const mmq_write_rows *rows, mmq_err err)
{
    const bool append = form == MMQ_ROWS_APPEND;
    mmq_reader reader;
    mmq_value array;
    size_t count = 0;
    mmq_reader_init(&reader, data, size);
    for (; !mmq_reader_done(&reader); count++) {
        double integer, value = 0, anomaly, raw;
        if (mmq_unpack(&reader, &array) != MMQ_OK || array.type != MMQ_ARRAY ||
            array.count != (append ? 4 : 3) || !unpack_number(&reader, true, false, &integer) ||
            (append && !unpack_number(&reader, false, false, &value)) ||
            !unpack_number(&reader, false, append, &anomaly) ||
            !unpack_number(&reader, false, append, &raw)) {
            return false;
        }
        if (err == MMQ_OK) {
            assert_true(count < rows->count);
            assert_true(same_number(anomaly, rows->anomaly_score[count]));
            assert_true(same_number(raw, rows->raw_score[count]));
            assert_true(!append || same_number(value, rows->value[count]));
            assert_true((double)(append ? rows->timestamp : rows->rowid)[count] == integer);
        }
    }
    assert_true(err != MMQ_OK || count == rows->count);
    return true;
}

static const struct {
    const char *data;
    size_t size;
} number_forms[] = {{"\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18", 9},
                    {"\xcb\xc0\x08\0\0\0\0\0\0", 9},
                    {"\xce\x53\xb0\x3e\x80", 5},
                    {"\xd3\x80\0\0\0\0\0\0\0", 9},
                    {"\xd3\0\0\0\x01\x02\x03\x04\x05", 9},
                    {"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9},
                    {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9},
                    {"\xcd\xff\xfe", 3},
                    {"\xcc\xc8", 2},
                    {"\xd0\x80", 2},
                    {"\xd1\x80\x01", 3},
                    {"\xd2\x80\0\0\x01", 5},
                    {"\x7f", 1},
                    {"\xe0", 1},
                    {"\xc0", 1},
                    {"\xc0", 1},
                    {"\xca\x3f\x80\0\0", 5}};

enum { FORMS = sizeof number_forms / sizeof *number_forms };

/* A few rows; `common`: in the forms that writers use. Returns their size. */
static size_t make_rows(char *out, int values, bool common, unsigned *seed)
{
    char *at = out;
    for (int row = rand_r(seed) % 8; row >= 0; row--) {
        *at++ = (char)(0x90 | values);
        for (int v = 0; v < values; v++) {
            size_t form = (size_t)rand_r(seed) % (common ? 3 : FORMS);
            form = common && v == 0 ? 2 : form;
            memcpy(at, number_forms[form].data, number_forms[form].size);
            at += number_forms[form].size;
        }
    }
    return (size_t)(at - out);
}

/* Numbers in all forms there are, and bytes gone wrong among them, are read as the general decoder
 * reads them. */
static void test_rows_of_all_forms(void **state)
{
    enum { ROUNDS = 200000 };
    unsigned seed = (unsigned)time(NULL);
    size_t good = 0;
    (void)state;
    printf("seed: %u\n", seed);
    for (int round = 0; round < ROUNDS; round++) {
        const mmq_rows_form form = rand_r(&seed) % 2 ? MMQ_ROWS_APPEND : MMQ_ROWS_SCORE;
        char data[512];
        size_t size = make_rows(data, form == MMQ_ROWS_APPEND ? 4 : 3, round % 4 != 0, &seed);
        if (round % 8 == 1) {
            data[(size_t)rand_r(&seed) % size] = (char)rand_r(&seed);
        }
        size -= round % 8 == 2 ? (size_t)rand_r(&seed) % size : 0;
        mmq_write_rows rows;
        mmq_err err = read_rows(form, data, size, &rows);
        assert_int_equal(rows_are_good(form, data, size, &rows, err), err == MMQ_OK);
        good += err == MMQ_OK;
        mmq_write_rows_clear(&rows);
    }
    assert_true(good > ROUNDS / 4 && good < ROUNDS - ROUNDS / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_cloudwatch),
        cmocka_unit_test(test_cloudwatch_identity),
        cmocka_unit_test(test_cloudwatch_slashes),
        cmocka_unit_test(test_cloudwatch_dimensions),
        cmocka_unit_test(test_refused_records),
        cmocka_unit_test(test_damaged_parameters),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_refused_rows),
        cmocka_unit_test(test_rows_of_all_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
