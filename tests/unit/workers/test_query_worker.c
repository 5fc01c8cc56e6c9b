/* The query worker over the bus; the test plays the broker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <sys/stat.h>
#include <zmq.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "lib/envelope.h"
#include "query_world.h"
#include "workers/workers.h"
#include "lib/columns.h"

enum { WAIT_MS = 20000, METRICS = 30, ROWS = 700 };

struct bus {
    struct world *world;
    void *context, *router;
    mmq_role *role;
    mmq_frame peer; /* the worker's address */
};

/* An answer: its FINAL's header, and the payloads of all its frames in one. */
struct reply {
    mmq_message final;
    mmq_header header;
    mmq_buffer payload;
    size_t partials;
    char cursor[MMQ_CURSOR_MAX]; /* of the last PARTIAL */
    char next[MMQ_CURSOR_MAX], error[256], state[128];
    char early_state[128]; /* of the last PARTIAL */
};

/* The worker's next message that is no heartbeat; frame 0 is its address. */
static void receive(struct bus *bus, mmq_message *message, mmq_envelope *envelope)
{
    mmq_why why;
    for (;;) {
        zmq_pollitem_t item = {.socket = bus->router, .events = ZMQ_POLLIN};
        assert_int_equal(zmq_poll(&item, 1, WAIT_MS), 1);
        assert_int_equal(mmq_message_receive(message, bus->router, MMQ_FRAME_LIMIT), MMQ_OK);
        world_ok(mmq_envelope_parse_worker(message, 1, envelope, &why), &why);
        if (envelope->command != MMQ_WORKER_HEARTBEAT) {
            return;
        }
    }
}

static void wait_until_ready(struct bus *bus)
{
    mmq_message message;
    mmq_envelope envelope;
    mmq_message_init(&message);
    receive(bus, &message, &envelope);
    assert_int_equal(envelope.command, MMQ_WORKER_READY);
    assert_int_equal(envelope.capacity, 4);
    assert_memory_equal(envelope.service, MMQ_SERVICE_QUERY, envelope.service_size);
    mmq_frame_init(&bus->peer);
    mmq_frame_move(&bus->peer, &message.frames[0]);
    mmq_message_clear(&message);
}

static void copy_text(char *out, size_t room, const char *data, size_t size)
{
    assert_true(size < room);
    if (size > 0) {
        memcpy(out, data, size);
    }
    out[size] = '\0';
}

static void take_payload(struct reply *reply, const mmq_message *message, size_t index)
{
    if (index < message->count) {
        mmq_buffer_add(&reply->payload, mmq_frame_data(&message->frames[index]),
                       mmq_frame_size(&message->frames[index]));
    }
}

/* Reads PARTIALs up to the FINAL. */
static void read_reply(struct bus *bus, struct reply *reply)
{
    mmq_envelope envelope;
    for (;;) {
        receive(bus, &reply->final, &envelope);
        assert_int_equal(envelope.token_size, 5);
        assert_true(envelope.body < reply->final.count);
        const mmq_frame *frame = &reply->final.frames[envelope.body];
        assert_int_equal(
            mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &reply->header), MMQ_OK);
        take_payload(reply, &reply->final, envelope.body + 1);
        if (envelope.command == MMQ_WORKER_FINAL) {
            break;
        }
        assert_int_equal(envelope.command, MMQ_WORKER_PARTIAL);
        assert_int_equal(reply->header.seq, reply->partials++);
        copy_text(reply->cursor, sizeof reply->cursor, reply->header.cursor.data,
                  reply->header.cursor.size);
        copy_text(reply->early_state, sizeof reply->early_state, reply->header.state.data,
                  reply->header.state.size);
    }
    assert_int_equal(reply->header.seq, reply->partials);
    copy_text(reply->next, sizeof reply->next, reply->header.next.data, reply->header.next.size);
    copy_text(reply->error, sizeof reply->error, reply->header.error.data,
              reply->header.error.size);
    copy_text(reply->state, sizeof reply->state, reply->header.state.data,
              reply->header.state.size);
}

/* Sends the request and clears args. */
static void ask(struct bus *bus, const char *op, mmq_args *args, struct reply *reply)
{
    mmq_message message;
    mmq_frame address;
    mmq_buffer body;
    mmq_message_init(&message);
    mmq_buffer_init(&body, 64 * 1024);
    memset(reply, 0, sizeof *reply);
    mmq_message_init(&reply->final);
    mmq_buffer_init(&reply->payload, 64 * 1024 * 1024);
    mmq_args_cstr(args, "op", op);
    mmq_args_int(args, "id", 7);
    mmq_pack_map(&body, args->count);
    mmq_buffer_add(&body, args->pairs.data, args->pairs.size);
    assert_int_equal(mmq_frame_share(&address, &bus->peer), MMQ_OK);
    assert_int_equal(mmq_message_append(&message, &address), MMQ_OK);
    assert_int_equal(mmq_envelope_begin_worker(&message, MMQ_WORKER_REQUEST, "token", 5), MMQ_OK);
    assert_int_equal(mmq_message_append_copy(&message, body.data, body.size), MMQ_OK);
    assert_int_equal(mmq_message_send(&message, bus->router), MMQ_OK);
    mmq_buffer_clear(&body);
    mmq_args_clear(args);
    mmq_args_init(args);
    read_reply(bus, reply);
}

static void clear_reply(struct reply *reply)
{
    mmq_message_clear(&reply->final);
    mmq_buffer_clear(&reply->payload);
}

/* Asks and expects that status without a payload; error may be a part of the sentence. */
static void ask_status(struct bus *bus, const char *op, mmq_args *args, int status,
                       const char *error)
{
    struct reply reply;
    ask(bus, op, args, &reply);
    assert_int_equal(reply.header.status, status);
    assert_int_equal(reply.payload.size, 0);
    assert_non_null(strstr(reply.error, error));
    clear_reply(&reply);
}

static size_t count_rows(const struct reply *reply)
{
    size_t offset = 0, rows = 0;
    mmq_row row;
    mmq_err err = MMQ_OK;
    while (err != MMQ_EEND) {
        err = mmq_rows_decode(reply->payload.data, reply->payload.size, &offset, &row);
        assert_true(err == MMQ_OK || err == MMQ_EAGAIN || err == MMQ_EEND);
        rows += err == MMQ_OK;
    }
    return rows;
}

static void small_answers_are_one_final(void **state)
{
    struct bus *bus = *state;
    struct reply reply;
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", "m3");
    mmq_args_int(&args, "anomaly", -1);
    mmq_args_int(&args, "limit", 5);
    ask(bus, "data", &args, &reply);
    assert_int_equal(reply.header.status, 200);
    assert_int_equal(reply.header.rows, 5);
    assert_int_equal(reply.partials, 0);
    assert_int_equal(count_rows(&reply), 5);
    assert_string_equal(reply.next, "");
    mmq_args_cstr(&args, "uid", "m3");
    mmq_args_cstr(&args, "unless", reply.state);
    clear_reply(&reply);
    ask_status(bus, "data", &args, 304, "");
    mmq_args_cstr(&args, "uid", "nobody");
    ask(bus, "data", &args, &reply);
    assert_int_equal(reply.header.status, 200);
    assert_int_equal(reply.payload.size, mmq_rows_names_size);
    clear_reply(&reply);
}

static void large_pages_go_out_in_parts(void **state)
{
    struct bus *bus = *state;
    struct reply first, rest;
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_int(&args, "anomaly", -1);
    mmq_args_int(&args, "max_bytes", 600000);
    ask(bus, "data", &args, &first);
    assert_int_equal(first.header.status, 200);
    assert_int_equal(first.header.rows, count_rows(&first));
    if (first.partials > 0) { /* a page ends by time, too */
        assert_string_equal(first.early_state, first.state);
    }
    size_t rows = count_rows(&first);
    char cursor[MMQ_CURSOR_MAX];
    memcpy(cursor, first.next, sizeof cursor);
    clear_reply(&first);
    while (cursor[0] != '\0') {
        mmq_args_int(&args, "anomaly", -1);
        mmq_args_cstr(&args, "cursor", cursor);
        ask(bus, "data", &args, &rest);
        assert_int_equal(rest.header.status, 200);
        rows += count_rows(&rest);
        memcpy(cursor, rest.next, sizeof cursor);
        clear_reply(&rest);
    }
    assert_int_equal(rows, METRICS * ROWS);
}

static void bad_requests_are_refused(void **state)
{
    struct bus *bus = *state;
    mmq_args args;
    mmq_args_init(&args);
    ask_status(bus, "drop", &args, 400, "op");
    mmq_args_cstr(&args, "colour", "red");
    ask_status(bus, "data", &args, 400, "colour");
    mmq_args_cstr(&args, "uid", "m1");
    ask_status(bus, "stats", &args, 400, "uid");
    ask_status(bus, "model", &args, 400, "uid");
    mmq_args_cstr(&args, "uid", "nobody");
    ask_status(bus, "model", &args, 404, "Metric not found: nobody");
    mmq_args_cstr(&args, "cursor", "nonsense");
    ask_status(bus, "models", &args, 400, "cursor");
}

/* The record at the reader: its uid, copied out. */
static bool read_record(mmq_reader *reader, char uid[MMQ_UID_MAX + 1])
{
    mmq_value value;
    mmq_reader whole = *reader;
    if (mmq_reader_done(reader)) {
        return false;
    }
    assert_int_equal(mmq_unpack(&whole, &value), MMQ_OK);
    assert_true(value.type == MMQ_MAP && value.count == 14);
    assert_int_equal(mmq_unpack(&whole, &value), MMQ_OK);
    assert_true(mmq_value_is(&value, "uid"));
    assert_int_equal(mmq_unpack(&whole, &value), MMQ_OK);
    copy_text(uid, MMQ_UID_MAX + 1, value.text.data, value.text.size);
    assert_int_equal(mmq_unpack_skip(reader), MMQ_OK);
    return true;
}

static void records_come_in_pages(void **state)
{
    struct bus *bus = *state;
    struct reply reply;
    mmq_args args;
    mmq_args_init(&args);
    char cursor[MMQ_CURSOR_MAX] = "", last[MMQ_UID_MAX + 1] = "", uid[MMQ_UID_MAX + 1];
    char first_state[128] = "";
    size_t records = 0, pages = 0;
    do {
        mmq_args_int(&args, "max_bytes", 1024);
        mmq_args_cstr(&args, "cursor", cursor[0] != '\0' ? cursor : NULL);
        ask(bus, "models", &args, &reply);
        assert_int_equal(reply.header.status, 200);
        if (pages++ == 0) {
            memcpy(first_state, reply.state, sizeof first_state);
            world_begin(bus->world); /* not in this stream */
            (void)world_create(bus->world, "zz");
            world_commit(bus->world);
        }
        assert_string_equal(reply.state, first_state);
        mmq_reader reader;
        mmq_reader_init(&reader, reply.payload.data, reply.payload.size);
        for (; read_record(&reader, uid); records++) {
            assert_true(strcmp(last, uid) < 0);
            memcpy(last, uid, sizeof last);
        }
        memcpy(cursor, reply.next, sizeof cursor);
        clear_reply(&reply);
    } while (cursor[0] != '\0');
    assert_int_equal(records, METRICS);
    assert_true(pages > 5);
    ask(bus, "models", &args, &reply);
    mmq_args_cstr(&args, "unless", reply.state);
    clear_reply(&reply);
    ask_status(bus, "models", &args, 304, "");
}

/* What the op store says: of tables in PostgreSQL only how large they are. */
static void check_sizes(const struct bus *bus, const struct reply *reply)
{
    static const char *const sizes[] = {"bytes", "log_bytes", "free_bytes", "disk_free_bytes"};
    const size_t count = store_server() == NULL ? 4 : 1;
    int64_t found[4];
    struct stat seen;
    mmq_reader reader, at;
    mmq_value value;
    mmq_reader_init(&reader, reply->payload.data, reply->payload.size);
    for (size_t i = 0; i < count; i++) {
        assert_true(mmq_map_find(reader, sizes[i], &value, &at) && value.type == MMQ_INT);
        found[i] = value.integer;
    }
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    assert_int_equal(value.count, count);
    if (count == 1) {
        assert_in_range(found[0], 16 * 1024, 64 * 1024 * 1024);
        return;
    }
    assert_int_equal(stat(strchr(bus->world->url, ':') + 1, &seen), 0);
    assert_int_equal(found[0], seen.st_size);
    assert_true(found[1] >= 0 && found[2] >= 0 && found[2] < found[0] && found[3] > 0);
}

static void a_record_and_the_counts_are_single_maps(void **state)
{
    struct bus *bus = *state;
    struct reply reply;
    mmq_args args;
    mmq_args_init(&args);
    mmq_reader reader;
    char uid[MMQ_UID_MAX + 1];
    mmq_args_cstr(&args, "uid", "m4");
    ask(bus, "model", &args, &reply);
    assert_int_equal(reply.header.status, 200);
    mmq_reader_init(&reader, reply.payload.data, reply.payload.size);
    assert_true(read_record(&reader, uid));
    assert_string_equal(uid, "m4");
    assert_true(mmq_reader_done(&reader));
    clear_reply(&reply);
    mmq_args_cstr(&args, "uid", "m4");
    mmq_args_cstr(&args, "unless", reply.state);
    ask_status(bus, "model", &args, 304, "");
    mmq_args_cstr(&args, "uid", "m4");
    mmq_args_cstr(&args, "unless", "other");
    ask(bus, "model", &args, &reply);
    assert_int_equal(reply.header.status, 200);
    clear_reply(&reply);

    int64_t unscored = 0;
    for (size_t i = 0; i < bus->world->count; i++) {
        for (int64_t r = 0; r < bus->world->metrics[i].count; r++) {
            unscored += isnan(bus->world->metrics[i].rows[r].score);
        }
    }
    ask(bus, "stats", &args, &reply);
    mmq_value value;
    mmq_reader_init(&reader, reply.payload.data, reply.payload.size);
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    assert_true(value.type == MMQ_MAP && value.count == 1);
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    assert_true(mmq_value_is(&value, "processing_time_remaining"));
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    assert_int_equal(value.integer, (unscored + 19) / 20);
    clear_reply(&reply);

    ask(bus, "store", &args, &reply);
    assert_int_equal(reply.header.status, 200);
    check_sizes(bus, &reply);
    clear_reply(&reply);
}

static void a_bad_store_is_not_served(void **state)
{
    struct bus *bus = *state;
    char url[160];
    mmq_why why = {""};
    snprintf(url, sizeof url, "sqlite:%s/missing.db", bus->world->folder);
    const mmq_worker_settings settings = {
        .endpoint = "inproc://nobody", .store = url, .threads = 2, .drain_ms = 1000};
    assert_null(mmq_query_worker_new(&settings, &why));
    assert_string_not_equal(why.text, "");
}

static int start(void **state)
{
    struct bus *bus = calloc(1, sizeof *bus);
    char endpoint[256], uid[24];
    size_t size = sizeof endpoint;
    mmq_why why;
    assert_non_null(bus);
    bus->world = world_new(1);
    world_begin(bus->world);
    for (int i = 0; i < METRICS; i++) {
        snprintf(uid, sizeof uid, "m%d", i);
        world_append(bus->world, world_create(bus->world, uid), ROWS, 1000);
    }
    world_commit(bus->world);
    bus->context = zmq_ctx_new();
    bus->router = zmq_socket(bus->context, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(bus->router, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(bus->router, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    const mmq_worker_settings settings = {
        .endpoint = endpoint, .store = bus->world->url, .threads = 2, .drain_ms = 1000};
    bus->role = mmq_query_worker_new(&settings, &why);
    if (bus->role == NULL) {
        fprintf(stderr, "%s\n", why.text);
        return -1;
    }
    wait_until_ready(bus);
    *state = bus;
    return 0;
}

static int stop(void **state)
{
    struct bus *bus = *state;
    mmq_role_destroy(&bus->role);
    mmq_frame_close(&bus->peer);
    zmq_close(bus->router);
    zmq_ctx_term(bus->context);
    world_destroy(&bus->world);
    free(bus);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_answers_are_one_final, start, stop),
        cmocka_unit_test_setup_teardown(large_pages_go_out_in_parts, start, stop),
        cmocka_unit_test_setup_teardown(bad_requests_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(records_come_in_pages, start, stop),
        cmocka_unit_test_setup_teardown(a_record_and_the_counts_are_single_maps, start, stop),
        cmocka_unit_test_setup_teardown(a_bad_store_is_not_served, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
