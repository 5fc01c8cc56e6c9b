/* A request in a work thread: what was asked, and the notes that carry its answers to the loop. */
#include <czmq.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "metricmq/unpack.h"
#include "lib/worker_parts.h"
#include "lib/envelope.h"

enum { TRACE_PAIRS_MAX = 64 }; /* how far into a body we look for the trace */

/* A trace that is too long or no text counts as none. NULL also if there is no memory: an answer
 * without its trace is better than none. */
static char *copy_trace(const mmq_value *value)
{
    bool fits = value->type == MMQ_STR && value->text.size <= MMQ_TRACE_MAX &&
                memchr(value->text.data, '\0', value->text.size) == NULL &&
                mmq_utf8_valid(value->text.data, value->text.size);
    return fits ? strndup(value->text.data, value->text.size) : NULL;
}

static char *find_trace(const void *body, size_t size)
{
    mmq_reader reader, whole;
    mmq_value map, key, value;
    mmq_reader_init(&reader, body, size);
    if (mmq_unpack(&reader, &map) != MMQ_OK || map.type != MMQ_MAP) {
        return NULL;
    }
    for (uint32_t i = 0; i < map.count && i < TRACE_PAIRS_MAX; i++) {
        if (mmq_unpack_whole(&reader, &key, &whole) != MMQ_OK ||
            mmq_unpack_whole(&reader, &value, &whole) != MMQ_OK) {
            return NULL;
        }
        if (mmq_value_is(&key, "trace")) {
            return copy_trace(&value);
        }
    }
    return NULL;
}

mmq_request *mmq_request_new(mmq_message *message, size_t body, mmq_origin origin)
{
    mmq_request *request = calloc(1, sizeof *request);
    if (request == NULL) {
        return NULL;
    }
    mmq_message_init(&request->message);
    mmq_message_move(&request->message, message);
    request->body = body;
    request->origin = origin;
    size_t size;
    const void *data = mmq_request_body(request, &size);
    mmq_routing routing;
    mmq_routing_scan(data, size, &routing);
    request->id = routing.id;
    request->id_size = routing.id_size;
    request->deadline_ns = mmq_now_ns() + routing.timeout_ms * MMQ_NS_PER_MS;
    request->trace = find_trace(data, size);
    return request;
}

void mmq_request_destroy(mmq_request **request_p)
{
    mmq_request *request = *request_p;
    if (request == NULL) {
        return;
    }
    mmq_message_clear(&request->message);
    free(request->trace);
    free(request);
    *request_p = NULL;
}

const void *mmq_request_body(const mmq_request *request, size_t *size)
{
    const mmq_frame *body = &request->message.frames[request->body];
    *size = mmq_frame_size(body);
    return mmq_frame_data(body);
}

int64_t mmq_request_left_ns(const mmq_request *request)
{
    return request->deadline_ns - mmq_now_ns();
}

const char *mmq_request_trace(const mmq_request *request)
{
    return request->trace != NULL ? request->trace : "";
}

bool mmq_request_stopping(const mmq_request *request)
{
    return mmq_worker_stopping(request->thread->worker);
}

const char *mmq_request_service(const mmq_request *request)
{
    return mmq_worker_link_service(request->thread->worker, request->origin.link);
}

bool mmq_request_awaited(const mmq_request *request)
{
    return mmq_worker_awaits(request->thread->worker, request->origin);
}

static mmq_text text_of(const char *text)
{
    return (mmq_text){text, text != NULL ? strlen(text) : 0};
}

bool mmq_note_send(mmq_work_thread *thread, mmq_note note, mmq_message *frames)
{
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err = mmq_message_append_copy(&message, &note, sizeof note);
    for (size_t i = 0; err == MMQ_OK && frames != NULL && i < frames->count; i++) {
        err = mmq_message_append(&message, &frames->frames[i]);
    }
    if (err == MMQ_OK) {
        err = mmq_message_send_wait(&message, zsock_resolve(thread->pipe));
    }
    mmq_message_clear(&message);
    return err == MMQ_OK || err == MMQ_ECLOSED; /* when all ends there is nobody to tell */
}

static mmq_note note_of(const mmq_request *request, mmq_note_kind kind)
{
    return (mmq_note){.kind = kind, .origin = request->origin, .kept = request->kept};
}

static mmq_header header_of(const mmq_request *request)
{
    return (mmq_header){
        .id = request->id,
        .id_size = request->id_size,
        .rows = -1,
        .seq = request->seq,
        .trace = text_of(request->trace),
    };
}

/* Moves header and payload (may be NULL). */
static bool send_answer(mmq_request *request, mmq_note_kind kind, mmq_frame *header,
                        mmq_frame *payload)
{
    const mmq_frame *token = &request->message.frames[request->body - 2];
    mmq_message frames;
    mmq_message_init(&frames);
    mmq_err err = mmq_message_append_copy(&frames, mmq_frame_data(token), mmq_frame_size(token));
    if (err == MMQ_OK) {
        err = mmq_message_append(&frames, header);
    }
    if (err == MMQ_OK && payload != NULL) {
        err = mmq_message_append(&frames, payload);
    }
    bool sent = err == MMQ_OK && mmq_note_send(request->thread, note_of(request, kind), &frames);
    mmq_message_clear(&frames);
    return sent;
}

mmq_err mmq_request_partial(mmq_request *request, const char *cursor, mmq_frame *payload)
{
    if (!mmq_worker_awaits(request->thread->worker, request->origin)) {
        return MMQ_EUNREACHABLE; /* the broker that asked is gone */
    }
    mmq_header header = header_of(request);
    header.cursor = text_of(cursor);
    header.state = text_of(request->state);
    mmq_frame frame;
    mmq_frame_init(&frame);
    mmq_err err = mmq_header_partial(&frame, &header);
    if (err == MMQ_OK) {
        err = send_answer(request, MMQ_NOTE_PARTIAL, &frame, payload) ? MMQ_OK : MMQ_ENOMEM;
    }
    mmq_frame_close(&frame);
    request->seq += err == MMQ_OK;
    return err;
}

void mmq_request_set_state(mmq_request *request, const char *state)
{
    request->state = state;
}

static bool send_final(mmq_request *request, const mmq_final *final, mmq_frame *payload)
{
    mmq_header header = header_of(request);
    header.status = final->status;
    header.rows = final->rows;
    header.next = text_of(final->next);
    header.error = text_of(final->error);
    header.state = text_of(final->state);
    mmq_frame frame;
    mmq_frame_init(&frame);
    bool sent = mmq_header_final(&frame, &header) == MMQ_OK &&
                send_answer(request, MMQ_NOTE_FINAL, &frame, payload);
    mmq_frame_close(&frame);
    return sent;
}

/* Only those who asked for a trace are logged: a line for each request would cost as much as the
 * request does. */
static void log_traced(const mmq_request *request, const mmq_final *final)
{
    if (request->trace != NULL) {
        mmq_log(MMQ_INFO, "request answered", MMQ_S("service", mmq_request_service(request)),
                MMQ_I("status", final->status), MMQ_S("trace", request->trace));
    }
}

void mmq_request_final(mmq_request **request_p, const mmq_final *final, mmq_frame *payload)
{
    mmq_request *request = *request_p;
    mmq_work_thread *thread = request->thread;
    CHECK(request->kept || thread->open > 0);
    log_traced(request, final);
    const mmq_final poor = {.status = 503, .rows = -1, .error = "no memory for the answer"};
    if (!send_final(request, final, payload) && !send_final(request, &poor, NULL)) {
        /* a note alone fits into its frame without memory of its own */
        CHECK(mmq_note_send(thread, note_of(request, MMQ_NOTE_LOST), NULL));
    }
    if (payload != NULL) { /* it may still be there, if there was no memory to send it */
        mmq_frame_close(payload);
        mmq_frame_init(payload);
    }
    thread->open -= !request->kept;
    mmq_request_destroy(request_p);
}

void mmq_request_keep(mmq_request *request)
{
    mmq_work_thread *thread = request->thread;
    CHECK(!request->kept && thread->open > 0);
    request->kept = true;
    thread->open--;
    /* a note alone fits into its frame without memory of its own */
    CHECK(mmq_note_send(thread, note_of(request, MMQ_NOTE_KEPT), NULL));
}

void mmq_request_drop(mmq_request **request)
{
    CHECK((*request)->kept);
    mmq_request_destroy(request);
}

void mmq_request_refuse(mmq_request **request, mmq_err err, const mmq_why *why)
{
    mmq_final final = {.status = mmq_err_status(err),
                       .rows = -1,
                       .error =
                           why != NULL && why->text[0] != '\0' ? why->text : mmq_err_name(err)};
    mmq_request_final(request, &final, NULL);
}
