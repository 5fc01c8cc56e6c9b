/* The frames of tests/vectors, sent and got by the C client; interop/test_vectors.py does the same
 * in Python. make.py there says what a vector holds.
 *
 * All streams are read at once, each in a thread of its own that owns its client; the main thread
 * plays their brokers, and alone judges. */
#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/buffer.h"
#include "metricmq/query.h"
#include "metricmq/unpack.h"
#include "tests/unit/lib/fake_broker.h"

enum { FILE_MAX = 1 << 20, FRAME_MAX = 1 << 16, ROWS_MAX = 64, RUNS_MAX = 256 };

typedef struct seen_row {
    char uid[MMQ_UID_MAX + 1];
    int64_t timestamp;
    double value;
    double anomaly_score;
    int64_t rowid;
} seen_row;

/* One vector. What the thread writes is read when `done` is true. */
typedef struct run {
    const cJSON *vector;
    fake_broker broker;
    pthread_t thread;
    int requests;
    char old_id[2 * MMQ_ID_MAX + 1]; /* of the request before, in hex */
    seen_row rows[ROWS_MAX];
    size_t count;
    mmq_err err;
    mmq_why why;
    int status;
    uint64_t dropped;
    atomic_bool done;
} run;

static cJSON *read_vectors(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/vectors/%s", MMQ_TESTS, name);
    char *text = calloc(1, FILE_MAX);
    FILE *file = fopen(path, "rb");
    assert_non_null(text);
    assert_non_null(file);
    assert_true(fread(text, 1, FILE_MAX, file) < FILE_MAX);
    fclose(file);
    cJSON *vectors = cJSON_Parse(text);
    free(text);
    assert_true(cJSON_IsArray(vectors));
    return vectors;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

/* Appends the bytes that hex digits stand for. */
static void add_hex(mmq_buffer *out, const char *hex, size_t digits)
{
    for (size_t i = 0; i < digits; i += 2) {
        char byte[3] = {hex[i], hex[i + 1], '\0'};
        char *end;
        const uint8_t value = (uint8_t)strtoul(byte, &end, 16);
        assert_ptr_equal(end, byte + 2);
        mmq_buffer_add(out, &value, 1);
    }
}

static void to_hex(const void *data, size_t size, char *out)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

/* ---- the broker's side ---------------------------------------------------------------------- */

/* A frame's hex with {id} and {old} in it. */
static void add_frame(const run *r, const char *hex, mmq_message *message)
{
    char id[2 * MMQ_ID_MAX + 1];
    mmq_buffer frame;
    to_hex(r->broker.routing.id, r->broker.routing.id_size, id);
    mmq_buffer_init(&frame, FRAME_MAX);
    while (*hex != '\0') {
        const size_t digits = strcspn(hex, "{");
        add_hex(&frame, hex, digits);
        hex += digits;
        if (*hex == '{') {
            const char *value = strncmp(hex, "{id}", 4) == 0 ? id : r->old_id;
            add_hex(&frame, value, strlen(value));
            hex = strchr(hex, '}') + 1;
        }
    }
    assert_false(frame.failed);
    assert_int_equal(mmq_message_append_copy(message, frame.data, frame.size), MMQ_OK);
    mmq_buffer_clear(&frame);
}

/* The request asks for the cursor that the answer is for. */
static void check_cursor(const run *r, const char *wanted)
{
    const mmq_frame *body = &r->broker.last.frames[r->broker.envelope.body];
    mmq_reader reader, whole;
    mmq_value cursor;
    mmq_reader_init(&reader, mmq_frame_data(body), mmq_frame_size(body));
    const bool asked = mmq_map_find(reader, "cursor", &cursor, &whole);
    assert_int_equal(asked, wanted != NULL);
    assert_true(!asked || mmq_value_is(&cursor, wanted));
}

static void answer_request(run *r)
{
    const cJSON *answers = cJSON_GetObjectItem(r->vector, "answers"), *frames, *frame;
    const int last = cJSON_GetArraySize(answers) - 1;
    const cJSON *answer = cJSON_GetArrayItem(answers, r->requests < last ? r->requests : last);
    r->requests++;
    check_cursor(r, text_of(answer, "asks"));
    cJSON_ArrayForEach(frames, cJSON_GetObjectItem(answer, "messages"))
    {
        mmq_message message;
        begin_to_peer(&r->broker, &message);
        cJSON_ArrayForEach(frame, frames)
        {
            add_frame(r, frame->valuestring, &message);
        }
        fake_send(&r->broker, &message);
    }
    to_hex(r->broker.routing.id, r->broker.routing.id_size, r->old_id);
}

/* ---- the reader's side ---------------------------------------------------------------------- */

static void keep_row(run *r, const mmq_row *row)
{
    if (r->count < ROWS_MAX) {
        seen_row *out = &r->rows[r->count];
        *out = (seen_row){{0}, row->timestamp, row->value, row->anomaly_score, row->rowid};
        memcpy(out->uid, row->uid, row->uid_size);
    }
    r->count++;
}

/* Every other reader takes batches. */
static mmq_err take_rows(run *r, mmq_query *query, mmq_batch *batch)
{
    mmq_row row;
    if (batch == NULL) {
        mmq_err err = mmq_query_next(query, &row, &r->why);
        if (err == MMQ_OK) {
            keep_row(r, &row);
        }
        return err;
    }
    mmq_err err = mmq_query_batch(query, batch, &r->why);
    for (size_t i = 0; i < batch->count; i++) {
        row = (mmq_row){batch->uid[i].data, batch->uid[i].size,      batch->timestamp[i],
                        batch->value[i],    batch->anomaly_score[i], batch->rowid[i]};
        keep_row(r, &row);
    }
    return err;
}

static void *read_stream(void *context)
{
    run *r = context;
    static atomic_int turn;
    mmq_batch *batch = atomic_fetch_add(&turn, 1) % 2 == 0 ? calloc(1, sizeof *batch) : NULL;
    mmq_args args;
    mmq_args_init(&args);
    mmq_client *client = mmq_client_new(r->broker.endpoint, &r->why);
    mmq_query *query = NULL;
    r->err = MMQ_ENOMEM;
    if (client != NULL) {
        query = mmq_query_new(client, &args, (unsigned)number_of(r->vector, "limit_ms"), &r->why);
    }
    if (query != NULL) {
        do {
            r->err = take_rows(r, query, batch);
        } while (r->err == MMQ_OK);
        r->status = mmq_query_status(query);
        r->dropped = mmq_client_dropped(client);
    }
    mmq_query_destroy(&query);
    mmq_client_destroy(&client);
    mmq_args_clear(&args);
    free(batch);
    atomic_store(&r->done, true);
    return NULL;
}

/* ---- what must come of it ------------------------------------------------------------------- */

/* NaN is null, else all bits are compared. */
static bool number_fits(double number, const cJSON *bits)
{
    char text[17];
    uint64_t word;
    memcpy(&word, &number, sizeof word);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)word);
    return cJSON_IsNull(bits) ? number != number : strcmp(text, bits->valuestring) == 0;
}

/* Integers of 64 bits are more than cJSON's doubles hold: they are compared as those. */
static bool row_fits(const seen_row *row, const cJSON *wanted)
{
    return strcmp(row->uid, cJSON_GetArrayItem(wanted, 0)->valuestring) == 0 &&
           (double)row->timestamp == cJSON_GetArrayItem(wanted, 1)->valuedouble &&
           number_fits(row->value, cJSON_GetArrayItem(wanted, 2)) &&
           number_fits(row->anomaly_score, cJSON_GetArrayItem(wanted, 3)) &&
           (double)row->rowid == cJSON_GetArrayItem(wanted, 4)->valuedouble;
}

static void check_rows(const run *r)
{
    const cJSON *rows = cJSON_GetObjectItem(r->vector, "rows");
    const cJSON *maybe = cJSON_GetObjectItem(r->vector, "maybe");
    const size_t least = (size_t)cJSON_GetArraySize(rows);
    const size_t most = least + (size_t)cJSON_GetArraySize(maybe);
    assert_in_range(r->count, least, most);
    for (size_t i = 0; i < r->count; i++) {
        const cJSON *wanted = i < least ? cJSON_GetArrayItem(rows, (int)i)
                                        : cJSON_GetArrayItem(maybe, (int)(i - least));
        assert_true(row_fits(&r->rows[i], wanted));
    }
}

static void check_end(const run *r)
{
    const cJSON *end = cJSON_GetObjectItem(r->vector, "end");
    const char *word = cJSON_IsString(end) ? end->valuestring : "";
    if (strcmp(word, "whole") == 0) {
        assert_int_equal(r->err, MMQ_EEND);
        assert_int_equal(r->requests, number_of(r->vector, "requests"));
        assert_int_equal(r->dropped, number_of(r->vector, "dropped"));
    } else if (strcmp(word, "broken") == 0) {
        assert_true(r->err == MMQ_EUNAVAILABLE || r->err == MMQ_ETIMEOUT);
    } else if (strcmp(word, "protocol") == 0) {
        assert_int_equal(r->err, MMQ_EPROTO);
    } else {
        assert_int_equal(r->status, end->valueint);
        assert_int_equal(r->err,
                         end->valueint == 304 ? MMQ_EEND : mmq_err_from_status(end->valueint));
    }
}

static void check_run(run *r)
{
    print_message("  %s: %s\n", text_of(r->vector, "name"), mmq_err_name(r->err));
    check_rows(r);
    check_end(r);
}

static run *start_runs(const cJSON *vectors, size_t *count)
{
    run *runs = calloc(RUNS_MAX, sizeof *runs);
    assert_non_null(runs);
    const cJSON *vector;
    cJSON_ArrayForEach(vector, vectors)
    {
        assert_true(*count < RUNS_MAX);
        run *r = &runs[(*count)++];
        r->vector = vector;
        fake_start(&r->broker);
        assert_int_equal(pthread_create(&r->thread, NULL, read_stream, r), 0);
    }
    return runs;
}

static void play_brokers(run *runs, size_t count)
{
    for (size_t left = count; left > 0; (void)poll(NULL, 0, 1)) {
        left = 0;
        for (size_t i = 0; i < count; i++) {
            left += !atomic_load(&runs[i].done);
            while (fake_poll(&runs[i].broker, false)) {
                answer_request(&runs[i]);
            }
        }
    }
}

static void test_streams(void **state)
{
    (void)state;
    cJSON *vectors = read_vectors("streams.json");
    size_t count = 0;
    run *runs = start_runs(vectors, &count);
    play_brokers(runs, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_join(runs[i].thread, NULL), 0);
        fake_stop(&runs[i].broker);
    }
    for (size_t i = 0; i < count; i++) {
        check_run(&runs[i]);
    }
    assert_true(count > 90);
    free(runs);
    cJSON_Delete(vectors);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void add_arg(mmq_args *args, const cJSON *arg)
{
    const char *key = cJSON_GetArrayItem(arg, 0)->valuestring;
    const char *type = cJSON_GetArrayItem(arg, 1)->valuestring;
    const cJSON *value = cJSON_GetArrayItem(arg, 2);
    mmq_buffer bytes;
    mmq_buffer_init(&bytes, FRAME_MAX);
    if (strcmp(type, "int") == 0) {
        mmq_args_int(args, key, (int64_t)value->valuedouble);
    } else if (strcmp(type, "double") == 0) {
        mmq_args_double(args, key, value->valuedouble);
    } else if (strcmp(type, "text") == 0) {
        mmq_args_cstr(args, key, value->valuestring);
    } else {
        add_hex(&bytes, value->valuestring, strlen(value->valuestring));
        if (strcmp(type, "bytes") == 0) {
            mmq_args_text(args, key, (const char *)bytes.data, bytes.size);
        } else {
            mmq_args_packed(args, key, bytes.data, bytes.size);
        }
    }
    mmq_buffer_clear(&bytes);
}

/* {"id": ID, "timeout": MS, and what the vector says. */
static void check_body(const mmq_frame *frame, const cJSON *vector)
{
    mmq_reader reader, whole;
    mmq_value map, key, value;
    mmq_reader_init(&reader, mmq_frame_data(frame), mmq_frame_size(frame));
    assert_int_equal(mmq_unpack(&reader, &map), MMQ_OK);
    assert_int_equal(map.type, MMQ_MAP);
    assert_int_equal(map.count, number_of(vector, "count") + 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(mmq_unpack(&reader, &key), MMQ_OK);
        assert_true(mmq_value_is(&key, i == 0 ? "id" : "timeout"));
        assert_int_equal(mmq_unpack_whole(&reader, &value, &whole), MMQ_OK);
        assert_int_equal(value.type, MMQ_INT);
    }
    mmq_buffer wanted;
    mmq_buffer_init(&wanted, FRAME_MAX);
    const char *hex = text_of(vector, "body");
    add_hex(&wanted, hex, strlen(hex));
    assert_int_equal(mmq_reader_left(&reader), wanted.size);
    assert_memory_equal(reader.at, wanted.data, wanted.size);
    mmq_buffer_clear(&wanted);
}

static void ignore_answer(void *context, const mmq_answer *answer)
{
    (void)context;
    (void)answer;
}

static void test_requests(void **state)
{
    (void)state;
    fake_broker broker;
    fake_start(&broker);
    mmq_client *client = mmq_client_new(broker.endpoint, NULL);
    assert_non_null(client);
    cJSON *vectors = read_vectors("requests.json");
    const cJSON *vector, *arg;
    cJSON_ArrayForEach(vector, vectors)
    {
        mmq_args args;
        mmq_args_init(&args);
        cJSON_ArrayForEach(arg, cJSON_GetObjectItem(vector, "args"))
        {
            add_arg(&args, arg);
        }
        mmq_call call = mmq_args_call(&args, text_of(vector, "service"));
        call.answer = ignore_answer;
        const uint64_t handle = mmq_client_send(client, &call, NULL);
        assert_true(handle != 0);
        mmq_args_clear(&args);
        await_request(&broker, client);
        assert_int_equal(broker.envelope.service_size, strlen(text_of(vector, "service")));
        assert_memory_equal(broker.envelope.service, text_of(vector, "service"),
                            broker.envelope.service_size);
        check_body(&broker.last.frames[broker.envelope.body], vector);
        mmq_client_cancel(client, handle);
    }
    cJSON_Delete(vectors);
    mmq_client_destroy(&client);
    fake_stop(&broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
