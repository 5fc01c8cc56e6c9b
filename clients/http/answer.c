/* Whole answers. An exchange is answered once: what comes later is ignored. */
#include <gnutls/gnutls.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "clients/http/exchange.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"

enum { SENTENCE = 1024 };

void mmq_exchange_header(mmq_exchange *exchange, const char *name, const char *value)
{
    if (exchange->response) {
        (void)MHD_add_response_header(exchange->response, name, value);
    }
}

/* What other request headers the answer would be another for. */
static void add_vary(mmq_exchange *exchange)
{
    const bool cors = exchange->adapter->origin_count > 0;
    if (exchange->tagged || cors) {
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_VARY,
                            !exchange->tagged ? "Origin"
                            : cors            ? "Accept, Accept-Encoding, Origin"
                                              : "Accept, Accept-Encoding");
    }
}

void mmq_exchange_respond(mmq_exchange *exchange, int status, const char *type, const char *cache,
                          struct MHD_Response *response)
{
    exchange->status = status;
    exchange->answered_ns = mmq_now_ns();
    exchange->response = response;
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_SERVER, exchange->adapter->server);
    if (type) {
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    }
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_CACHE_CONTROL, cache);
    mmq_exchange_header(exchange, "X-Request-Id", exchange->trace);
    if (status == 503) {
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    }
    add_vary(exchange);
    mmq_cors_add_headers(exchange);
    mmq_exchange_wake(exchange);
}

/* libmicrohttpd's function wants bytes that are not const, also where it copies. */
static struct MHD_Response *copy_response(const void *data, size_t size)
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
        exchange->bytes = exchange->head ? 0 : size;
        mmq_exchange_respond(exchange, status, type, "no-store", copy_response(data, size));
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
    mmq_exchange_answer(exchange, status, MMQ_JSON_TYPE, text.data, text.size);
    mmq_buffer_clear(&text);
}

void mmq_exchange_refuse_body(mmq_exchange *exchange)
{
    mmq_exchange_refuse(exchange, 503, "there are too many big requests already");
}

/* As much as goes out at once; nobody waits for a client that is about to be left. */
static void send_raw(mmq_exchange *exchange, const mmq_buffer *text)
{
    const union MHD_ConnectionInfo *tls =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    const int fd = mmq_seat_descriptor(exchange->seat);
    if (tls && tls->tls_session) {
        gnutls_session_t session = (gnutls_session_t)tls->tls_session;
        (void)gnutls_record_send(session, text->data, text->size);
        (void)gnutls_bye(session, GNUTLS_SHUT_WR);
    } else {
        (void)send(fd, text->data, text->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    (void)shutdown(fd, SHUT_WR);
}

void mmq_exchange_answer_raw(mmq_exchange *exchange, int status, const char *reason,
                             const char *sentence)
{
    mmq_buffer body, text;
    mmq_buffer_init(&body, SENTENCE);
    mmq_buffer_init(&text, 2 * SENTENCE);
    add_refusal(&body, sentence);
    mmq_buffer_format(&text,
                      "HTTP/1.1 %d %s\r\nServer: %s\r\nContent-Type: " MMQ_JSON_TYPE
                      "\r\nCache-Control: no-store\r\nX-Request-Id: %s\r\nContent-Length: %zu\r\n"
                      "Connection: close\r\n\r\n",
                      status, reason, exchange->adapter->server, exchange->trace, body.size);
    mmq_buffer_add(&text, body.data, body.size);
    if (!text.failed) {
        send_raw(exchange, &text);
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
