/* Envelopes and headers. Everything here reads bytes of peers: a frame is looked at only after its
 * index was checked, and what a parser returns borrows from the message. */
#include "lib/envelope.h"

#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/check.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"

enum {
    BODY_OF_CLIENT = 3, /* magic, command, service, body */
    BODY_OF_WORKER = 4, /* magic, command, token, empty, body */
    HEADER_MAX = 64 * 1024,
};

static const uint8_t packed_nil[] = {0xc0};

static bool frame_is(const mmq_frame *frame, const char *text)
{
    size_t size = strlen(text);
    return mmq_frame_size(frame) == size && memcmp(mmq_frame_data(frame), text, size) == 0;
}

static mmq_err parse_start(const mmq_message *message, size_t first, const char *magic,
                           int *command, mmq_why *why)
{
    if (message->count < first + 2) {
        return mmq_fail(why, MMQ_EPROTO, "fewer than 2 frames");
    }
    if (!frame_is(&message->frames[first], magic)) {
        return mmq_fail(why, MMQ_EPROTO, "the first frame is not %s", magic);
    }
    const mmq_frame *frame = &message->frames[first + 1];
    if (mmq_frame_size(frame) != 1) {
        return mmq_fail(why, MMQ_EPROTO, "the command is not one byte");
    }
    *command = *(const uint8_t *)mmq_frame_data(frame);
    return MMQ_OK;
}

static mmq_err parse_service(const mmq_frame *frame, mmq_envelope *out, mmq_why *why)
{
    out->service = mmq_frame_data(frame);
    out->service_size = mmq_frame_size(frame);
    if (out->service_size == 0 || out->service_size > MMQ_SERVICE_MAX) {
        return mmq_fail(why, MMQ_EPROTO, "the service's name is not 1 to %d bytes",
                        MMQ_SERVICE_MAX);
    }
    for (size_t i = 0; i < out->service_size; i++) {
        if (out->service[i] <= ' ' || out->service[i] > '~') {
            return mmq_fail(why, MMQ_EPROTO, "the service's name is not printable ASCII");
        }
    }
    return MMQ_OK;
}

mmq_err mmq_envelope_parse_client(const mmq_message *message, size_t first, mmq_envelope *out,
                                  mmq_why *why)
{
    *out = (mmq_envelope){.body = first + BODY_OF_CLIENT};
    mmq_err err = parse_start(message, first, MMQ_CLIENT_MAGIC, &out->command, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (out->command < MMQ_CLIENT_REQUEST || out->command > MMQ_CLIENT_FINAL) {
        return mmq_fail(why, MMQ_EPROTO, "unknown client command %d", out->command);
    }
    if (message->count <= out->body) {
        return mmq_fail(why, MMQ_EPROTO, "a client's command of fewer than 4 frames");
    }
    return parse_service(&message->frames[first + 2], out, why);
}

/* Decimal text, 1 to MMQ_CAPACITY_MAX; 0 if it is anything else. */
static unsigned parse_capacity(const mmq_frame *frame)
{
    const char *text = mmq_frame_data(frame);
    size_t size = mmq_frame_size(frame);
    if (size == 0 || size > 4) {
        return 0;
    }
    unsigned capacity = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
        capacity = capacity * 10 + (unsigned)(text[i] - '0');
    }
    return capacity <= MMQ_CAPACITY_MAX ? capacity : 0;
}

static mmq_err parse_ready(const mmq_message *message, size_t first, mmq_envelope *out,
                           mmq_why *why)
{
    size_t count = message->count - first;
    if (count != 3 && count != 4) {
        return mmq_fail(why, MMQ_EPROTO, "READY of neither 3 nor 4 frames");
    }
    out->plain = count == 3;
    out->capacity = out->plain ? 1 : parse_capacity(&message->frames[first + 3]);
    if (out->capacity == 0) {
        return mmq_fail(why, MMQ_EPROTO, "READY's capacity is not 1 to %d", MMQ_CAPACITY_MAX);
    }
    return parse_service(&message->frames[first + 2], out, why);
}

static mmq_err parse_addressed(const mmq_message *message, size_t first, mmq_envelope *out,
                               mmq_why *why)
{
    out->body = first + BODY_OF_WORKER;
    if (message->count <= out->body) {
        return mmq_fail(why, MMQ_EPROTO, "a worker's command of fewer than 5 frames");
    }
    out->token = mmq_frame_data(&message->frames[first + 2]);
    out->token_size = mmq_frame_size(&message->frames[first + 2]);
    if (out->token_size == 0 || out->token_size > MMQ_TOKEN_MAX) {
        return mmq_fail(why, MMQ_EPROTO, "the client address is not 1 to %d bytes", MMQ_TOKEN_MAX);
    }
    if (mmq_frame_size(&message->frames[first + 3]) != 0) {
        return mmq_fail(why, MMQ_EPROTO, "no empty frame after the client address");
    }
    return MMQ_OK;
}

mmq_err mmq_envelope_parse_worker(const mmq_message *message, size_t first, mmq_envelope *out,
                                  mmq_why *why)
{
    *out = (mmq_envelope){.body = message->count};
    mmq_err err = parse_start(message, first, MMQ_WORKER_MAGIC, &out->command, why);
    if (err != MMQ_OK) {
        return err;
    }
    switch (out->command) {
    case MMQ_WORKER_READY:
        return parse_ready(message, first, out, why);
    case MMQ_WORKER_REQUEST:
    case MMQ_WORKER_PARTIAL:
    case MMQ_WORKER_FINAL:
        return parse_addressed(message, first, out, why);
    case MMQ_WORKER_HEARTBEAT:
    case MMQ_WORKER_DISCONNECT:
        return message->count == first + 2
                   ? MMQ_OK
                   : mmq_fail(why, MMQ_EPROTO, "HEARTBEAT or DISCONNECT of more than 2 frames");
    default:
        return mmq_fail(why, MMQ_EPROTO, "unknown worker command %d", out->command);
    }
}

static mmq_err begin_envelope(mmq_message *message, const char *magic, int command)
{
    uint8_t byte = (uint8_t)command;
    mmq_err err = mmq_message_append_copy(message, magic, strlen(magic));
    return err == MMQ_OK ? mmq_message_append_copy(message, &byte, 1) : err;
}

mmq_err mmq_envelope_begin_client(mmq_message *message, mmq_client_command command,
                                  const char *service, size_t service_size)
{
    mmq_err err = begin_envelope(message, MMQ_CLIENT_MAGIC, (int)command);
    return err == MMQ_OK ? mmq_message_append_copy(message, service, service_size) : err;
}

mmq_err mmq_envelope_begin_worker(mmq_message *message, mmq_worker_command command,
                                  const void *token, size_t token_size)
{
    mmq_err err = begin_envelope(message, MMQ_WORKER_MAGIC, (int)command);
    if (command == MMQ_WORKER_HEARTBEAT || command == MMQ_WORKER_DISCONNECT) {
        return err;
    }
    CHECK(command != MMQ_WORKER_READY); /* see mmq_envelope_ready */
    if (err == MMQ_OK) {
        err = mmq_message_append_copy(message, token, token_size);
    }
    return err == MMQ_OK ? mmq_message_append_copy(message, NULL, 0) : err;
}

mmq_err mmq_envelope_ready(mmq_message *message, const char *service, unsigned capacity)
{
    mmq_err err = begin_envelope(message, MMQ_WORKER_MAGIC, MMQ_WORKER_READY);
    if (err == MMQ_OK) {
        err = mmq_message_append_copy(message, service, strlen(service));
    }
    if (err != MMQ_OK || capacity == 0) {
        return err;
    }
    char text[16];
    int size = snprintf(text, sizeof text, "%u", capacity);
    return mmq_message_append_copy(message, text, (size_t)size);
}

static bool is_scalar(mmq_type type)
{
    return type != MMQ_ARRAY && type != MMQ_MAP && type != MMQ_EXT;
}

/* Reads one pair. The first `id` and `timeout` count; of later ones the worker complains. */
static mmq_err scan_pair(mmq_reader *reader, mmq_routing *out, bool *has_id, bool *has_timeout)
{
    mmq_value key, value;
    mmq_reader whole;
    mmq_err err = mmq_unpack_whole(reader, &key, &whole);
    if (err == MMQ_OK) {
        err = mmq_unpack_whole(reader, &value, &whole);
    }
    if (err != MMQ_OK) {
        return err;
    }
    if (!*has_id && mmq_value_is(&key, "id")) {
        *has_id = true;
        if (is_scalar(value.type) && mmq_reader_left(&whole) <= MMQ_ID_MAX) {
            out->id = whole.at;
            out->id_size = mmq_reader_left(&whole);
        }
    } else if (!*has_timeout && mmq_value_is(&key, "timeout")) {
        *has_timeout = true;
        if (value.type == MMQ_INT && value.integer >= 1 && value.integer <= MMQ_TIMEOUT_MAX_MS) {
            out->timeout_ms = (unsigned)value.integer;
        }
    }
    return MMQ_OK;
}

void mmq_routing_scan(const void *body, size_t size, mmq_routing *out)
{
    *out = (mmq_routing){packed_nil, sizeof packed_nil, MMQ_TIMEOUT_DEFAULT_MS};
    mmq_reader reader;
    mmq_reader_init(&reader, body, size);
    mmq_value map;
    if (mmq_unpack(&reader, &map) != MMQ_OK || map.type != MMQ_MAP) {
        return;
    }
    bool has_id = false;
    bool has_timeout = false;
    for (uint32_t i = 0; i < map.count && !(has_id && has_timeout); i++) {
        if (scan_pair(&reader, out, &has_id, &has_timeout) != MMQ_OK) {
            return;
        }
    }
}

static bool take_number(const mmq_value *value, int64_t *out)
{
    if (value->type == MMQ_INT && value->integer >= 0) {
        *out = value->integer;
        return true;
    }
    return value->type == MMQ_NIL;
}

static bool take_text(const mmq_value *value, size_t most, mmq_text *out)
{
    if (value->type == MMQ_STR && value->text.size <= most) {
        *out = (mmq_text){value->text.data, value->text.size};
        return true;
    }
    return value->type == MMQ_NIL;
}

/* False if a key that we know has a wrong type; other keys are newer than we are. */
static bool take_header_value(const mmq_value *key, const mmq_value *value, mmq_header *out)
{
    if (mmq_value_is(key, "status")) {
        return take_number(value, &out->status);
    } else if (mmq_value_is(key, "rows")) {
        return take_number(value, &out->rows);
    } else if (mmq_value_is(key, "seq")) {
        return take_number(value, &out->seq);
    } else if (mmq_value_is(key, "cursor")) {
        return take_text(value, MMQ_CURSOR_MAX, &out->cursor);
    } else if (mmq_value_is(key, "next")) {
        out->has_next = true;
        return take_text(value, MMQ_CURSOR_MAX, &out->next);
    } else if (mmq_value_is(key, "error")) {
        return take_text(value, SIZE_MAX, &out->error);
    } else if (mmq_value_is(key, "state")) {
        return take_text(value, SIZE_MAX, &out->state);
    } else if (mmq_value_is(key, "trace")) {
        return take_text(value, SIZE_MAX, &out->trace);
    }
    return true;
}

static mmq_err parse_header_pair(mmq_reader *reader, mmq_header *out)
{
    mmq_value key, value;
    mmq_reader whole;
    if (mmq_unpack(reader, &key) != MMQ_OK || key.type != MMQ_STR ||
        mmq_unpack_whole(reader, &value, &whole) != MMQ_OK) {
        return MMQ_EPROTO;
    }
    if (mmq_value_is(&key, "id")) {
        out->id = whole.at;
        out->id_size = mmq_reader_left(&whole);
        return is_scalar(value.type) ? MMQ_OK : MMQ_EPROTO;
    }
    return take_header_value(&key, &value, out) ? MMQ_OK : MMQ_EPROTO;
}

mmq_err mmq_header_parse(const void *data, size_t size, mmq_header *out)
{
    *out = (mmq_header){.id = packed_nil, .id_size = sizeof packed_nil, .rows = -1, .seq = -1};
    mmq_reader reader;
    mmq_reader_init(&reader, data, size);
    mmq_value map;
    if (mmq_unpack(&reader, &map) != MMQ_OK || map.type != MMQ_MAP) {
        return MMQ_EPROTO;
    }
    for (uint32_t i = 0; i < map.count; i++) {
        if (parse_header_pair(&reader, out) != MMQ_OK) {
            return MMQ_EPROTO;
        }
    }
    return mmq_reader_done(&reader) ? MMQ_OK : MMQ_EPROTO;
}

static void pack_id(mmq_buffer *out, const mmq_header *header)
{
    mmq_pack_cstr(out, "id");
    if (header->id == NULL) {
        mmq_pack_nil(out);
    } else {
        mmq_buffer_add(out, header->id, header->id_size);
    }
}

static void pack_number(mmq_buffer *out, const char *key, int64_t value)
{
    mmq_pack_cstr(out, key);
    if (value < 0) {
        mmq_pack_nil(out);
    } else {
        mmq_pack_int(out, value);
    }
}

static void pack_text(mmq_buffer *out, const char *key, mmq_text text)
{
    mmq_pack_cstr(out, key);
    if (text.data == NULL) {
        mmq_pack_nil(out);
    } else {
        mmq_pack_text(out, text.data, text.size);
    }
}

/* A client's trace of any length must not keep its answer from being made. */
static bool has_trace(const mmq_header *header)
{
    return header->trace.data != NULL && header->trace.size <= MMQ_TRACE_MAX;
}

/* The map's head and its id; the other `count` - 1 pairs follow, then end_header. */
static void begin_header(mmq_buffer *out, uint32_t count, const mmq_header *header)
{
    mmq_buffer_init(out, HEADER_MAX);
    mmq_pack_map(out, count + has_trace(header));
    pack_id(out, header);
}

static mmq_err end_header(mmq_buffer *out, const mmq_header *header, mmq_frame *frame)
{
    if (has_trace(header)) {
        pack_text(out, "trace", header->trace);
    }
    mmq_frame_init(frame);
    mmq_err err = mmq_buffer_to_frame(out, frame);
    mmq_buffer_clear(out);
    return err;
}

mmq_err mmq_header_partial(mmq_frame *frame, const mmq_header *header)
{
    mmq_buffer out;
    begin_header(&out, 3 + (header->state.data != NULL), header);
    pack_number(&out, "seq", header->seq);
    pack_text(&out, "cursor", header->cursor);
    if (header->state.data != NULL) {
        pack_text(&out, "state", header->state);
    }
    return end_header(&out, header, frame);
}

mmq_err mmq_header_final(mmq_frame *frame, const mmq_header *header)
{
    mmq_buffer out;
    begin_header(&out, 7, header);
    pack_number(&out, "status", header->status);
    pack_number(&out, "rows", header->rows);
    pack_number(&out, "seq", header->seq);
    pack_text(&out, "next", header->next);
    pack_text(&out, "error", header->error);
    pack_text(&out, "state", header->state);
    return end_header(&out, header, frame);
}
