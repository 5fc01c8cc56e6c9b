/* The life of an exchange, as libmicrohttpd calls us.
 *
 * libmicrohttpd takes an answer only before a body or behind it, never in its middle. So a refusal
 * waits until the body was read and thrown away, but for three cases: framing that cannot be
 * trusted, a client that waits for "100 Continue", and what has taken too long or is too big to be
 * read to its end: its answer is written by us and its connection closed.
 *
 * Everything that a connection can be waited for has a deadline (seats.h); it is set here. */
#include "clients/http/exchange.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clients/http/access.h"
#include "clients/http/routes.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/fields.h"
#include "lib/log.h"

/* As much of the text as fits. */
static void copy_text(char *out, size_t room, const char *text, size_t size)
{
    size = size < room ? size : room - 1;
    memcpy(out, text, size);
    out[size] = '\0';
}

static void drop_body(mmq_exchange *exchange)
{
    mmq_buffer_clear(&exchange->body);
    exchange->adapter->body_bytes -= exchange->body_held;
    exchange->body_held = 0;
}

static void free_exchange(mmq_exchange *exchange)
{
    for (size_t i = 0; i < MMQ_EXCHANGE_CALLS; i++) {
        mmq_client_cancel(exchange->adapter->client, exchange->calls[i].handle);
    }
    mmq_inquiry_leave(exchange);
    mmq_viewer_leave(exchange);
    mmq_access_leave(exchange);
    mmq_creation_destroy(&exchange->creation);
    mmq_feed_clear(&exchange->feed);
    mmq_exchange_clear_stream(exchange);
    drop_body(exchange);
    if (exchange->response) {
        MHD_destroy_response(exchange->response);
    }
    free(exchange->target);
    free(exchange);
}

static void await(mmq_exchange *exchange, mmq_wait wait, uint64_t progress)
{
    mmq_seat_await(&exchange->adapter->seats, exchange->seat, wait, progress);
}

static void await_reader(mmq_exchange *exchange)
{
    await(exchange, MMQ_WAIT_READER, 0); /* asking for its progress is a system call: later */
}

static mmq_seat *find_seat(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

void *mmq_exchange_new(void *context, const char *target, struct MHD_Connection *connection)
{
    mmq_adapter *adapter = context;
    mmq_seat *seat = find_seat(connection);
    mmq_exchange *exchange = seat != NULL ? calloc(1, sizeof *exchange) : NULL;
    if (exchange == NULL) {
        return NULL;
    }
    exchange->adapter = adapter;
    exchange->seat = seat;
    exchange->connection = connection;
    exchange->started_ns = mmq_now_ns();
    mmq_frame_init(&exchange->page);
    mmq_heap_item_init(&exchange->hold);
    mmq_buffer_init(&exchange->body, 0);
    exchange->target_size = strlen(target);
    exchange->target = strdup(target);
    if (exchange->target == NULL) {
        free_exchange(exchange);
        return NULL;
    }
    copy_text(exchange->shown, sizeof exchange->shown, target, strcspn(target, "?"));
    snprintf(exchange->trace, sizeof exchange->trace, "%08" PRIx32 "-%" PRIu64, adapter->trace_run,
             ++adapter->trace_count);
    TAILQ_INSERT_TAIL(&adapter->live, exchange, live);
    adapter->live_count++;
    seat->exchange = exchange;
    await(exchange, MMQ_WAIT_HEADER, 0);
    return exchange;
}

void mmq_exchange_suspend(mmq_exchange *exchange)
{
    CHECK(!exchange->suspended);
    exchange->suspended = true;
    await(exchange, exchange->viewer ? MMQ_WAIT_NEWS : MMQ_WAIT_BUS, 0);
    MHD_suspend_connection(exchange->connection);
}

void mmq_exchange_went_on(mmq_exchange *exchange)
{
    if (exchange->suspended) {
        await(exchange, MMQ_WAIT_BUS, 0);
    }
}

void mmq_exchange_wake(mmq_exchange *exchange)
{
    if (exchange->suspended) {
        exchange->suspended = false;
        exchange->adapter->woken = true;
        await_reader(exchange);
        MHD_resume_connection(exchange->connection);
    }
}

void mmq_exchange_break(mmq_exchange *exchange)
{
    exchange->broken = true;
    mmq_seat_reset(exchange->seat);
    mmq_stream_destroy(&exchange->stream);
    mmq_exchange_wake(exchange);
}

/* Sizes and framing: refuses what is wrong with them. */
static void check_shape(mmq_exchange *exchange, const char *fault)
{
    if (fault) {
        exchange->close = true;
        mmq_exchange_refuse(exchange, 400, "%s", fault);
    } else if (exchange->target_size > MMQ_TARGET_MAX) {
        mmq_exchange_refuse(exchange, 414, "the request target is over %d bytes", MMQ_TARGET_MAX);
    } else if (exchange->headers.bytes > MMQ_HEADER_BYTES) {
        mmq_exchange_refuse(exchange, 431, "the headers are over %d bytes", MMQ_HEADER_BYTES);
    }
}

/* The target: refuses it, answers for all paths, or sets the url. */
static void check_target(mmq_exchange *exchange, const char *method)
{
    mmq_why why = {""};
    if (strcmp(method, "OPTIONS") == 0 && strcmp(exchange->target, "*") == 0) {
        mmq_exchange_answer_options(exchange, UINT_MAX);
    } else if (mmq_url_parse(exchange->target, exchange->target_size, &exchange->url, &why)) {
        exchange->close = true;
        mmq_exchange_refuse(exchange, 400, "%s", why.text);
    }
}

static void refuse_method(mmq_exchange *exchange, unsigned allowed)
{
    char methods[64];
    mmq_methods_print(allowed, methods);
    mmq_exchange_refuse(exchange, 405, "this path takes %s", methods);
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_ALLOW, methods);
}

/* Key, path, method and right: refuses or sets the route. */
static void check_route(mmq_exchange *exchange, const char *method)
{
    unsigned allowed, rights;
    mmq_err err = mmq_route_find(&exchange->url, method, &exchange->route, &allowed);
    mmq_access_check_key(exchange, method, &rights);
    if (exchange->status != 0) {
        return;
    }
    if (err == MMQ_ENOTFOUND) {
        mmq_exchange_refuse(exchange, 404, "there is nothing at this path");
    } else if (err && strcmp(method, "OPTIONS") == 0) {
        mmq_exchange_answer_options(exchange, allowed);
    } else if (err) {
        refuse_method(exchange, allowed);
    } else if (exchange->adapter->draining) {
        mmq_exchange_refuse(exchange, 503, "the adapter is being stopped");
    } else {
        mmq_access_check_right(exchange, rights);
    }
}

/* A sentence why it cannot be said where the request ends; NULL: it can. */
static const char *find_fault(const mmq_exchange *exchange, const char *method, const char *version)
{
    /* No method begins with what a request before it left over. */
    return mmq_is_token(method, strlen(method)) ? mmq_headers_fault(&exchange->headers, version)
                                                : "the method is none that a request may have";
}

/* Refuses what is wrong with the head of a request; else its route is set. */
static void check_head(mmq_exchange *exchange, const char *method, const char *fault)
{
    check_shape(exchange, fault);
    if (exchange->status == 0) {
        mmq_access_check_source(exchange);
    }
    if (exchange->status == 0) {
        check_target(exchange, method);
    }
    if (exchange->status == 0) {
        check_route(exchange, method);
    }
}

static enum MHD_Result send_answer(mmq_exchange *exchange)
{
    if (exchange->close || exchange->adapter->draining) {
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    struct MHD_Response *response = exchange->response;
    exchange->response = NULL;
    exchange->state = MMQ_EXCHANGE_ANSWERING;
    await_reader(exchange);
    enum MHD_Result result =
        MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    return result;
}

/* An answer that is not there yet, or not to be sent yet, is waited for; one that could not be made
 * closes. */
static enum MHD_Result answer_or_wait(mmq_exchange *exchange)
{
    if (exchange->response && !mmq_access_holds(exchange)) {
        return send_answer(exchange);
    }
    if (exchange->status != 0 && !exchange->response) {
        return MHD_NO;
    }
    mmq_exchange_suspend(exchange);
    return MHD_YES;
}

/* What of a body is kept; nothing of one that nobody asked for. */
static size_t body_kept(const mmq_exchange *exchange)
{
    return exchange->route ? exchange->route->body_max : 0;
}

static size_t body_most(const mmq_exchange *exchange)
{
    return body_kept(exchange) > 0 ? body_kept(exchange) : MMQ_BODY_KEPT;
}

static void refuse_size(mmq_exchange *exchange)
{
    mmq_exchange_refuse(exchange, 413, "the body is over %zu bytes", body_most(exchange));
}

/* What the headers say of the request. */
static void note_headers(mmq_exchange *exchange, const char *method, const char *version)
{
    mmq_headers *headers = &exchange->headers;
    mmq_headers_read(exchange->connection, method, version, headers);
    const char *agent = headers->agent ? headers->agent : "";
    copy_text(exchange->method, sizeof exchange->method, method, strlen(method));
    copy_text(exchange->agent, sizeof exchange->agent, agent, strlen(agent));
    exchange->head = strcmp(method, "HEAD") == 0;
    exchange->old = strcmp(version, "HTTP/1.0") == 0;
    if (headers->request_id) {
        copy_text(exchange->trace, sizeof exchange->trace, headers->request_id,
                  strlen(headers->request_id));
    }
    if (headers->length > 0 || headers->codings > 0) {
        await(exchange, MMQ_WAIT_BODY, 0);
    }
}

static enum MHD_Result begin_exchange(mmq_exchange *exchange, const char *method,
                                      const char *version)
{
    const mmq_headers *headers = &exchange->headers;
    exchange->state = MMQ_EXCHANGE_READING;
    note_headers(exchange, method, version);
    const char *fault = find_fault(exchange, method, version);
    check_head(exchange, method, fault);
    if (exchange->status == 0 && headers->expects && headers->length > body_most(exchange)) {
        refuse_size(exchange);
    }
    mmq_buffer_init(&exchange->body, body_kept(exchange));
    if (exchange->status == 0 || !(fault || headers->expects)) {
        return MHD_YES;
    }
    exchange->close = true;
    return answer_or_wait(exchange);
}

/* Keeps a piece of the body if it is wanted, and there is room among all bodies. */
static void keep_body(mmq_exchange *exchange, const char *data, size_t size)
{
    mmq_adapter *adapter = exchange->adapter;
    if (exchange->status != 0 || exchange->body_size > body_kept(exchange)) {
        drop_body(exchange);
    } else if (size > MMQ_BODIES_MAX - adapter->body_bytes) {
        drop_body(exchange);
        mmq_exchange_refuse_body(exchange);
    } else {
        exchange->body_held += size;
        adapter->body_bytes += size;
        mmq_buffer_add(&exchange->body, data, size);
    }
}

/* Ends a request in its middle: what more comes of it is thrown away for a moment, so that the
 * client gets to see the answer. */
static void cut_short(mmq_exchange *exchange, int status, const char *reason, const char *sentence)
{
    exchange->state = MMQ_EXCHANGE_LINGERING;
    mmq_exchange_answer_raw(exchange, status, reason, sentence);
    await(exchange, MMQ_WAIT_LEAVE, 0);
}

static enum MHD_Result take_body(mmq_exchange *exchange, const char *data, size_t *size)
{
    exchange->body_size += *size;
    if (exchange->state != MMQ_EXCHANGE_LINGERING) {
        keep_body(exchange, data, *size);
        if (exchange->body_size > body_most(exchange) + MMQ_BODY_SPARE) {
            cut_short(exchange, 413, "Content Too Large", "the body is too big");
        }
    }
    *size = 0;
    return MHD_YES;
}

/* The request is whole: works on it unless it was refused before. */
static enum MHD_Result work_on(mmq_exchange *exchange)
{
    exchange->state = MMQ_EXCHANGE_WORKING;
    if (exchange->status != 0) {
        return answer_or_wait(exchange);
    }
    if (exchange->body_size > body_most(exchange)) {
        exchange->close = true;
        refuse_size(exchange);
    } else if (exchange->body.failed) {
        mmq_exchange_refuse(exchange, 503, "no memory for the body");
    } else {
        exchange->route->handle(exchange);
    }
    return answer_or_wait(exchange);
}

enum MHD_Result mmq_exchange_handle(void *adapter, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *data, size_t *size, void **context)
{
    mmq_exchange *exchange = *context;
    (void)adapter, (void)connection, (void)url;
    if (exchange == NULL || exchange->broken) {
        return MHD_NO;
    }
    switch (exchange->state) {
    case MMQ_EXCHANGE_NEW:
        return begin_exchange(exchange, method, version);
    case MMQ_EXCHANGE_READING:
        return *size > 0 ? take_body(exchange, data, size) : work_on(exchange);
    case MMQ_EXCHANGE_LINGERING:
        return *size > 0 ? take_body(exchange, data, size) : MHD_NO;
    case MMQ_EXCHANGE_WORKING:
        return answer_or_wait(exchange);
    case MMQ_EXCHANGE_ANSWERING:
        break;
    }
    return MHD_NO;
}

/* The one line that a request leaves in the log. */
static void log_exchange(const mmq_exchange *exchange, bool done)
{
    const int64_t elapsed_ns = mmq_now_ns() - exchange->started_ns;
    if (mmq_log_wants(MMQ_INFO) && !exchange->unlogged) {
        char address[64];
        mmq_seat_print(exchange->seat, address, sizeof address);
        mmq_log(MMQ_INFO, "request", MMQ_S("method", exchange->method),
                MMQ_S("path", exchange->shown), MMQ_I("status", exchange->status),
                MMQ_I("bytes", exchange->bytes), MMQ_I("ms", elapsed_ns / MMQ_NS_PER_MS),
                MMQ_S("address", address), MMQ_S("key", exchange->key),
                MMQ_S("agent", exchange->agent), MMQ_S("trace", exchange->trace),
                MMQ_S("end", done ? "whole" : "broken"));
    }
}

/* Logs and frees. */
static void end_exchange(mmq_exchange *exchange, bool done)
{
    mmq_adapter *adapter = exchange->adapter;
    log_exchange(exchange, done);
    CHECK(!exchange->suspended);
    mmq_meters_end(&adapter->meters, exchange, done);
    TAILQ_REMOVE(&adapter->live, exchange, live);
    adapter->live_count--;
    exchange->seat->exchange = NULL;
    await(exchange, MMQ_WAIT_IDLE, 0);
    free_exchange(exchange);
}

void mmq_exchange_completed(void *context, struct MHD_Connection *connection, void **slot,
                            enum MHD_RequestTerminationCode how)
{
    mmq_exchange *exchange = *slot;
    (void)context, (void)connection;
    if (exchange == NULL) {
        return;
    }
    *slot = NULL;
    bool done = how == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    done |= exchange->viewer && exchange->left; /* that is how they end */
    const bool streamed = exchange->stream || exchange->feed.begun;
    if (!done && streamed && exchange->state == MMQ_EXCHANGE_ANSWERING) {
        mmq_seat_reset(exchange->seat);
    }
    end_exchange(exchange, done);
}

void mmq_exchange_connection(void *context, struct MHD_Connection *connection, void **slot,
                             enum MHD_ConnectionNotificationCode what)
{
    mmq_adapter *adapter = context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *slot = mmq_seat_new(&adapter->seats, connection);
        adapter->meters.connections_made += *slot != NULL;
        adapter->meters.connections += *slot != NULL;
        return;
    }
    mmq_seat *seat = *slot;
    if (seat == NULL) { /* there was no memory: its requests were refused */
        return;
    }
    if (seat->exchange != NULL) {
        end_exchange(seat->exchange, false);
    }
    adapter->meters.connections--;
    mmq_seat_destroy(&adapter->seats, &seat);
    *slot = NULL;
}

/* ---- deadlines -------------------------------------------------------------------------- */

/* A request that does not come to its end. */
static void cut_request(mmq_seat *seat)
{
    if (seat->exchange == NULL || seat->exchange->status != 0) {
        mmq_seat_reset(seat);
    } else {
        cut_short(seat->exchange, 408, "Request Timeout", "the request did not come in time");
    }
}

/* An answer that the bus did not give in time. */
static void end_waiting(mmq_exchange *exchange)
{
    if (exchange->state == MMQ_EXCHANGE_ANSWERING) {
        mmq_exchange_break(exchange);
    } else {
        mmq_exchange_refuse(exchange, 504, "the bus did not answer in time");
    }
}

/* It stays in its place if it gets ahead as fast as it must. */
static bool gets_ahead(mmq_seats *seats, mmq_seat *seat)
{
    const mmq_wait wait = seat->wait;
    if (wait != MMQ_WAIT_BODY && wait != MMQ_WAIT_READER) {
        return false;
    }
    const mmq_exchange *exchange = seat->exchange;
    const uint64_t progress =
        wait == MMQ_WAIT_BODY ? exchange->body_size : mmq_seat_taken(seat, exchange->bytes);
    const bool ahead = mmq_seat_gets_ahead(seats, seat, progress);
    if (ahead) {
        mmq_seat_await(seats, seat, wait, progress);
    }
    return ahead;
}

static void end_stalled(mmq_seat *seat)
{
    if (seat->exchange != NULL) {
        seat->exchange->broken = true;
    }
    mmq_seat_reset(seat);
}

static void end_overdue(mmq_seats *seats, mmq_seat *seat)
{
    const mmq_wait wait = seat->wait;
    if (gets_ahead(seats, seat)) {
        return;
    }
    mmq_seat_await(seats, seat, MMQ_WAIT_LEAVE, 0);
    if (wait == MMQ_WAIT_FIRST || wait == MMQ_WAIT_IDLE) {
        mmq_seat_close(seats, seat);
    } else if (wait == MMQ_WAIT_HEADER || wait == MMQ_WAIT_BODY) {
        cut_request(seat);
    } else if (wait == MMQ_WAIT_BUS) {
        end_waiting(seat->exchange);
    } else {
        end_stalled(seat);
    }
}

static void end_vanished(mmq_seat *seat)
{
    seat->exchange->left = true;
    mmq_exchange_break(seat->exchange);
}

/* -1: never. */
static int64_t sooner(int64_t a_ns, int64_t b_ns)
{
    return a_ns < 0 || (b_ns >= 0 && b_ns < a_ns) ? b_ns : a_ns;
}

int64_t mmq_exchange_tick(mmq_adapter *adapter)
{
    mmq_seat *seat;
    int64_t left_ns;
    int64_t look_ns = mmq_seats_look(&adapter->seats, end_vanished);
    while ((seat = mmq_seats_overdue(&adapter->seats, &left_ns))) {
        end_overdue(&adapter->seats, seat);
    }
    left_ns = sooner(left_ns, look_ns);
    return sooner(left_ns, mmq_access_tick(adapter, adapter->draining));
}

void mmq_exchange_break_all(mmq_adapter *adapter)
{
    mmq_exchange *exchange;
    (void)mmq_access_tick(adapter, true);
    TAILQ_FOREACH(exchange, &adapter->live, live)
    {
        mmq_exchange_break(exchange);
    }
}
