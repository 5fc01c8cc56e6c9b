/* Answers: whole ones and streams.
 *
 * An exchange is answered once: what comes later is ignored. A stream is answered when its first
 * payload is there, so that an error before it has its own status; an error behind it resets the
 * connection. libmicrohttpd pulls: its reader is given text, or the connection is suspended until
 * the stream has more. The payload under the renderer is the only one held here. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "clients/http/exchange.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/uid.h"
#include "lib/unpack.h"
#include "metricmq/version.h"

enum { BLOCK = 32 * 1024, SENTENCE = 1024 };

#define JSON_TYPE "application/json; charset=UTF-8"

void mmq_exchange_header(mmq_exchange *exchange, const char *name, const char *value)
{
    if (exchange->response) {
        (void)MHD_add_response_header(exchange->response, name, value);
    }
}

/* Takes over a response (NULL: there was no memory for it, the connection will be closed). */
static void set_response(mmq_exchange *exchange, int status, const char *type,
                         struct MHD_Response *response)
{
    char server[64];
    snprintf(server, sizeof server, "metricmq %s", mmq_version());
    exchange->status = status;
    exchange->answered_ns = mmq_now_ns();
    exchange->response = response;
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_SERVER, server);
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    mmq_exchange_wake(exchange);
}

/* libmicrohttpd's functions want bytes that are not const, also where they copy. */
static struct MHD_Response *response_of(const void *data, size_t size)
{
    mmq_buffer copy;
    mmq_buffer_init(&copy, size + 1);
    mmq_buffer_add(&copy, data, size);
    struct MHD_Response *response =
        copy.failed ? NULL
                    : MHD_create_response_from_buffer(size, copy.data, MHD_RESPMEM_MUST_COPY);
    mmq_buffer_clear(&copy);
    return response;
}

void mmq_exchange_answer(mmq_exchange *exchange, int status, const char *type, const void *data,
                         size_t size)
{
    if (exchange->status == 0) {
        exchange->bytes = size;
        set_response(exchange, status, type, response_of(data, size));
    }
}

static void add_refusal(mmq_buffer *out, const char *sentence)
{
    size_t size = strlen(sentence);
    bool valid = mmq_utf8_valid(sentence, size);
    sentence = valid ? sentence : "the request was refused, with a reason that is not UTF-8";
    mmq_buffer_text(out, "{\"result\": ");
    mmq_json_string(out, sentence, strlen(sentence));
    mmq_buffer_text(out, "}");
}

void mmq_exchange_refuse(mmq_exchange *exchange, int status, const char *format, ...)
{
    char sentence[SENTENCE];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    mmq_buffer text;
    mmq_buffer_init(&text, 8 * SENTENCE);
    add_refusal(&text, sentence);
    mmq_exchange_answer(exchange, status, JSON_TYPE, text.data, text.size);
    mmq_buffer_clear(&text);
}

void mmq_exchange_refuse_body(mmq_exchange *exchange)
{
    mmq_exchange_refuse(exchange, 503, "there are too many big requests already");
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_RETRY_AFTER, "1");
}

void mmq_exchange_answer_raw(mmq_exchange *exchange, int status, const char *reason,
                             const char *sentence)
{
    mmq_buffer body, text;
    mmq_buffer_init(&body, SENTENCE);
    mmq_buffer_init(&text, 2 * SENTENCE);
    add_refusal(&body, sentence);
    mmq_buffer_format(&text,
                      "HTTP/1.1 %d %s\r\nServer: metricmq %s\r\nContent-Type: " JSON_TYPE
                      "\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                      status, reason, mmq_version(), body.size);
    mmq_buffer_add(&text, body.data, body.size);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info && !text.failed) {
        (void)send(info->connect_fd, text.data, text.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    exchange->status = status;
    exchange->answered_ns = mmq_now_ns();
    exchange->bytes = body.size;
    mmq_buffer_clear(&text);
    mmq_buffer_clear(&body);
}

/* Every route with a uid has it second: /_models/{uid}... */
bool mmq_exchange_uid(mmq_exchange *exchange, mmq_slice *uid)
{
    *uid = exchange->url.segments[1];
    if (!mmq_uid_valid(uid->data, uid->size)) {
        mmq_exchange_refuse(exchange, 400, MMQ_UID_RULE);
        return false;
    }
    return true;
}

void mmq_exchange_no_metric(mmq_exchange *exchange, const char *uid, size_t size)
{
    mmq_exchange_refuse(exchange, 404, "ObjectNotFoundError Metric not found: Metric ID: %.*s",
                        (int)size, uid);
}

static mmq_err take_page(mmq_exchange *exchange, mmq_why *why)
{
    mmq_frame_close(&exchange->page);
    mmq_frame_init(&exchange->page);
    mmq_err err = mmq_stream_take(exchange->stream, &exchange->page, why);
    if (err == MMQ_OK) {
        mmq_render_feed(exchange->render, mmq_frame_data(&exchange->page),
                        mmq_frame_size(&exchange->page));
    } else if (err == MMQ_EEND) {
        mmq_render_finish(exchange->render);
        exchange->whole = true;
    }
    return err;
}

/* Text of the payload that the renderer has; 0: there is no more, or it makes no sense. */
static size_t read_text(mmq_exchange *exchange, char *out, size_t room, bool *failed)
{
    *failed = false;
    if (room >= MMQ_STAGED && exchange->staged_at == exchange->staged_size) {
        return mmq_render_read(exchange->render, out, room, failed);
    }
    if (exchange->staged_at == exchange->staged_size) {
        exchange->staged_at = 0;
        exchange->staged_size =
            mmq_render_read(exchange->render, exchange->staged, MMQ_STAGED, failed);
    }
    size_t left = exchange->staged_size - exchange->staged_at;
    size_t size = left < room ? left : room;
    memcpy(out, exchange->staged + exchange->staged_at, size);
    exchange->staged_at += size;
    return size;
}

static ssize_t break_off(mmq_exchange *exchange, const char *reason)
{
    mmq_log(MMQ_WARN, "answer broken off", MMQ_S("path", exchange->shown), MMQ_S("why", reason),
            MMQ_S("trace", exchange->trace));
    mmq_exchange_break(exchange);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* libmicrohttpd's content reader. */
static ssize_t read_answer(void *context, uint64_t position, char *out, size_t room)
{
    mmq_exchange *exchange = context;
    (void)position;
    while (!exchange->broken) {
        bool failed;
        size_t size = read_text(exchange, out, room, &failed);
        if (size > 0) {
            exchange->bytes += size;
            return (ssize_t)size;
        }
        if (failed) {
            return break_off(exchange, "a payload of the bus makes no sense");
        }
        if (exchange->whole) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        mmq_why why = {""};
        mmq_err err = take_page(exchange, &why);
        if (err == MMQ_EAGAIN) {
            mmq_exchange_suspend(exchange);
            return 0;
        }
        if (err != MMQ_OK && err != MMQ_EEND) {
            return break_off(exchange, why.text);
        }
    }
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static void refuse_stream(mmq_exchange *exchange, mmq_err err, const mmq_why *why)
{
    int status = mmq_stream_status(exchange->stream);
    status = status >= 400 && status <= 599 ? status : mmq_err_status(err);
    mmq_slice *uid = &exchange->url.segments[1];
    if (status == 404 && exchange->url.depth > 1) {
        mmq_exchange_no_metric(exchange, uid->data, uid->size);
    } else {
        mmq_exchange_refuse(exchange, status, "%s", why->text);
    }
}

/* The stream has something to say. */
static void stream_ready(void *context)
{
    mmq_exchange *exchange = context;
    if (exchange->status != 0) {
        mmq_exchange_wake(exchange);
        return;
    }
    mmq_why why = {""};
    mmq_err err = take_page(exchange, &why);
    if (err == MMQ_EAGAIN) {
        return;
    }
    if (err != MMQ_OK && err != MMQ_EEND) {
        refuse_stream(exchange, err, &why);
        return;
    }
    set_response(
        exchange, exchange->stream_status ? exchange->stream_status : 200,
        mmq_render_content_type(exchange->form),
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_answer, exchange, NULL));
    if (exchange->form == MMQ_FORM_MSGPACK) {
        mmq_exchange_header(exchange, "X-Accel-Buffering", "no");
    }
}

void mmq_exchange_stream(mmq_exchange *exchange, mmq_args *args, mmq_form form, bool monitored)
{
    mmq_why why = {"no memory for the request"};
    mmq_args_cstr(args, "trace", exchange->trace);
    const mmq_stream_options options = {
        .call = {.service = MMQ_SERVICE_QUERY,
                 .args = args->pairs.data,
                 .args_size = args->pairs.size,
                 .args_count = args->count,
                 .timeout_ms = exchange->adapter->timeout_ms,
                 .retry = true,
                 .party = exchange->party},
        .ready = stream_ready,
        .context = exchange,
    };
    exchange->form = form;
    exchange->render = mmq_render_new(form);
    if (exchange->render && !args->pairs.failed) {
        if (monitored) {
            mmq_render_monitored_only(exchange->render);
        }
        exchange->stream = mmq_stream_new(exchange->adapter->client, &options, &why);
    }
    if (exchange->stream == NULL) {
        mmq_exchange_refuse(exchange, 503, "%s", why.text);
    }
    mmq_args_clear(args);
}

bool mmq_exchange_call_start(mmq_exchange *exchange, size_t index, mmq_call *call)
{
    mmq_why why = {""};
    exchange->calls[index].exchange = exchange;
    call->context = &exchange->calls[index];
    exchange->calls[index].handle = mmq_client_send(exchange->adapter->client, call, &why);
    if (exchange->calls[index].handle == 0) {
        mmq_exchange_refuse(exchange, 503, "%s", why.text);
        return false;
    }
    return true;
}
