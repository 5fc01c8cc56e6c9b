/* The life of an exchange, as libmicrohttpd calls us.
 *
 * libmicrohttpd takes an answer only before a body or behind it, never in its middle. So a refusal
 * waits until the body was read and thrown away, but for three cases: framing that cannot be
 * trusted, a client that waits for "100 Continue", and a body that is past MMQ_BODY_READ, whose
 * answer is written by us and its connection closed.
 *
 * Suspended connections have no timeout in libmicrohttpd, and their descriptors are not watched:
 * each has a deadline of ours. All wait equally long, so the list of them is in order. */
#include "clients/http/exchange.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clients/http/routes.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/fields.h"
#include "lib/log.h"

enum {
    GRACE_MS = 2000,  /* beyond the bus timeout: the client library's own 504 comes first */
    LINGER_MS = 2000, /* for a client to see our answer while it still sends */
};

static void drop_body(mmq_exchange *exchange)
{
    exchange->adapter->body_bytes -= exchange->body_held;
    exchange->body_held = 0;
    mmq_buffer_clear(&exchange->body);
}

static void free_exchange(mmq_exchange *exchange)
{
    for (size_t i = 0; i < MMQ_EXCHANGE_CALLS; i++) {
        mmq_client_cancel(exchange->adapter->client, exchange->calls[i].handle);
    }
    mmq_inquiry_leave(exchange);
    mmq_creation_destroy(&exchange->creation);
    drop_body(exchange);
    mmq_stream_destroy(&exchange->stream);
    mmq_render_destroy(&exchange->render);
    mmq_frame_close(&exchange->page);
    if (exchange->response) {
        MHD_destroy_response(exchange->response);
    }
    free(exchange->target);
    free(exchange);
}

static void stop_reading(mmq_adapter *adapter, mmq_seat *seat)
{
    if (seat->is_reading) {
        TAILQ_REMOVE(&adapter->reading, seat, reading);
        seat->is_reading = false;
    }
}

/* libmicrohttpd's timeout begins anew with each byte: a request that trickles in has a deadline of
 * ours. */
static void start_reading(mmq_adapter *adapter, mmq_seat *seat)
{
    stop_reading(adapter, seat);
    seat->is_reading = true;
    seat->since_ns = mmq_now_ns();
    TAILQ_INSERT_TAIL(&adapter->reading, seat, reading);
}

static mmq_seat *find_seat(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/* The address that a connection comes from, as a number that is not 0. Hosts of one IPv6 network
 * (/64) are one party: each can have as many addresses there as it likes. */
static uint64_t find_party(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    uint64_t party = 0;
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *ip4 = (const struct sockaddr_in *)(const void *)address;
        party = ntohl(ip4->sin_addr.s_addr);
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)(const void *)address;
        const uint8_t *bytes = ip6->sin6_addr.s6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&ip6->sin6_addr);
        memcpy(&party, mapped ? bytes + 8 : bytes, sizeof party);
    }
    return party != 0 ? party : 1;
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
    exchange->party = find_party(connection);
    exchange->started_ns = mmq_now_ns();
    mmq_frame_init(&exchange->page);
    exchange->target_size = strlen(target);
    exchange->target = strdup(target);
    if (exchange->target == NULL) {
        free_exchange(exchange);
        return NULL;
    }
    snprintf(exchange->shown, sizeof exchange->shown, "%.*s", (int)strcspn(target, "?"), target);
    snprintf(exchange->trace, sizeof exchange->trace, "%08" PRIx32 "-%" PRIu64, adapter->trace_run,
             ++adapter->trace_count);
    TAILQ_INSERT_TAIL(&adapter->live, exchange, live);
    adapter->live_count++;
    seat->exchange = exchange;
    return exchange;
}

static void start_waiting(mmq_exchange *exchange)
{
    int64_t wait_ms = (int64_t)exchange->adapter->timeout_ms + GRACE_MS;
    exchange->deadline_ns = mmq_now_ns() + wait_ms * MMQ_NS_PER_MS;
    TAILQ_INSERT_TAIL(&exchange->adapter->waiting, exchange, waiting);
}

void mmq_exchange_went_on(mmq_exchange *exchange)
{
    if (exchange->suspended) {
        TAILQ_REMOVE(&exchange->adapter->waiting, exchange, waiting);
        start_waiting(exchange);
    }
}

void mmq_exchange_suspend(mmq_exchange *exchange)
{
    CHECK(!exchange->suspended);
    exchange->suspended = true;
    start_waiting(exchange);
    MHD_suspend_connection(exchange->connection);
}

void mmq_exchange_wake(mmq_exchange *exchange)
{
    if (exchange->suspended) {
        exchange->suspended = false;
        exchange->adapter->woken = true;
        TAILQ_REMOVE(&exchange->adapter->waiting, exchange, waiting);
        MHD_resume_connection(exchange->connection);
    }
}

static int connection_fd(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* Sends RST at once. SO_LINGER would not do: libmicrohttpd shuts the connection down before it
 * closes it, and the FIN, which a reader of HTTP/1.0 takes for the end, would come first. */
static void reset_connection(struct MHD_Connection *connection)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    (void)connect(connection_fd(connection), &nobody, sizeof nobody);
}

void mmq_exchange_break(mmq_exchange *exchange)
{
    exchange->broken = true;
    reset_connection(exchange->connection);
    mmq_stream_destroy(&exchange->stream);
    mmq_exchange_wake(exchange);
}

/* Paths that want no key; what is not there under them does not either. */
static bool is_open(const mmq_exchange *exchange)
{
    const mmq_url *url = &exchange->url;
    return (exchange->route && exchange->route->open) ||
           (url->depth > 0 && mmq_slice_is(&url->segments[0], "health"));
}

/* The target and method, the key, the framing: refuses or sets the route. */
static void check_request(mmq_exchange *exchange, const char *method, const char *version)
{
    mmq_why why = {""};
    unsigned allowed;
    const mmq_adapter *adapter = exchange->adapter;
    const char *fault = mmq_headers_fault(&exchange->headers, version);
    mmq_err target = mmq_url_parse(exchange->target, exchange->target_size, &exchange->url, &why);
    if (fault || target) {
        exchange->close = true;
        mmq_exchange_refuse(exchange, 400, "%s", fault ? fault : why.text);
        return;
    }
    mmq_err err = mmq_route_find(&exchange->url, method, &exchange->route, &allowed);
    if (adapter->keyed && !is_open(exchange) &&
        !mmq_key_matches(&adapter->key, &exchange->headers)) {
        mmq_exchange_refuse(exchange, 401, "the key is missing or wrong");
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Basic realm=\"metricmq\"");
    } else if (err == MMQ_ENOTFOUND) {
        mmq_exchange_refuse(exchange, 404, "there is nothing at this path");
    } else if (err) {
        char methods[64];
        mmq_methods_print(allowed, methods);
        mmq_exchange_refuse(exchange, 405, "this path takes %s", methods);
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_ALLOW, methods);
    } else if (adapter->draining) {
        mmq_exchange_refuse(exchange, 503, "the adapter is being stopped");
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
    enum MHD_Result result =
        MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    return result;
}

/* An answer that is not there yet is waited for; one that could not be made closes. */
static enum MHD_Result answer_or_wait(mmq_exchange *exchange)
{
    if (exchange->response) {
        return send_answer(exchange);
    }
    if (exchange->status != 0) {
        return MHD_NO;
    }
    mmq_exchange_suspend(exchange);
    return MHD_YES;
}

static size_t body_most(const mmq_exchange *exchange)
{
    return exchange->route && exchange->route->body_max > 0 ? exchange->route->body_max
                                                            : MMQ_BODY_KEPT;
}

static enum MHD_Result begin_exchange(mmq_exchange *exchange, const char *method,
                                      const char *version)
{
    exchange->state = MMQ_EXCHANGE_READING;
    snprintf(exchange->method, sizeof exchange->method, "%s", method);
    mmq_headers_read(exchange->connection, &exchange->headers);
    check_request(exchange, method, version);
    const mmq_headers *headers = &exchange->headers;
    bool untrusted = mmq_headers_fault(headers, version) != NULL;
    mmq_buffer_init(&exchange->body, exchange->route ? exchange->route->body_max : 0);
    if (exchange->status == 0 && headers->expects && headers->length > body_most(exchange)) {
        mmq_exchange_refuse(exchange, 413, "the body is over %zu bytes", body_most(exchange));
    }
    if (exchange->status == 0 || !(untrusted || headers->expects)) {
        return MHD_YES;
    }
    exchange->close = true;
    return answer_or_wait(exchange);
}

static void keep_body(mmq_exchange *exchange, const char *data, size_t size)
{
    mmq_adapter *adapter = exchange->adapter;
    if (exchange->route->body_max == 0) {
        return;
    }
    if (size > MMQ_BODIES_MAX - adapter->body_bytes) {
        drop_body(exchange);
        mmq_exchange_refuse_body(exchange);
        return;
    }
    adapter->body_bytes += size;
    exchange->body_held += size;
    mmq_buffer_add(&exchange->body, data, size);
}

static enum MHD_Result take_body(mmq_exchange *exchange, const char *data, size_t *size)
{
    const size_t most = body_most(exchange);
    exchange->body_size += *size;
    bool wanted = exchange->status == 0 && exchange->body_size <= most;
    if (wanted) {
        keep_body(exchange, data, *size);
    } else {
        drop_body(exchange);
    }
    *size = 0;
    if (exchange->state == MMQ_EXCHANGE_LINGERING) {
        return mmq_now_ns() < exchange->deadline_ns ? MHD_YES : MHD_NO;
    }
    if (exchange->body_size > (most > MMQ_BODY_READ ? most : 0) + MMQ_BODY_READ) {
        exchange->state = MMQ_EXCHANGE_LINGERING;
        exchange->deadline_ns = mmq_now_ns() + LINGER_MS * MMQ_NS_PER_MS;
        mmq_exchange_answer_raw(exchange, 413, "Content Too Large", "the body is too big");
        shutdown(connection_fd(exchange->connection), SHUT_WR);
    }
    return MHD_YES;
}

/* The request is whole: works on it unless it was refused before. */
static enum MHD_Result work_on(mmq_exchange *exchange)
{
    exchange->state = MMQ_EXCHANGE_WORKING;
    stop_reading(exchange->adapter, exchange->seat);
    if (exchange->status != 0) {
        return answer_or_wait(exchange);
    }
    if (exchange->body_size > body_most(exchange)) {
        exchange->close = true;
        mmq_exchange_refuse(exchange, 413, "the body is over %zu bytes", body_most(exchange));
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

/* Logs and frees. */
static void end_exchange(mmq_exchange *exchange, bool done)
{
    mmq_adapter *adapter = exchange->adapter;
    int64_t elapsed_ns = mmq_now_ns() - exchange->started_ns;
    mmq_log(MMQ_INFO, "request", MMQ_S("method", exchange->method), MMQ_S("path", exchange->shown),
            MMQ_I("status", exchange->status), MMQ_I("bytes", exchange->bytes),
            MMQ_I("ms", elapsed_ns / MMQ_NS_PER_MS), MMQ_S("trace", exchange->trace),
            MMQ_S("end", done ? "whole" : "broken"));
    CHECK(!exchange->suspended);
    mmq_meters_end(&adapter->meters, exchange, done);
    TAILQ_REMOVE(&adapter->live, exchange, live);
    adapter->live_count--;
    exchange->seat->exchange = NULL;
    start_reading(adapter, exchange->seat);
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
    exchange->broken |= how == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED;
    if (!done && exchange->stream && exchange->state == MMQ_EXCHANGE_ANSWERING) {
        reset_connection(exchange->connection);
    }
    end_exchange(exchange, done);
}

void mmq_exchange_connection(void *context, struct MHD_Connection *connection, void **slot,
                             enum MHD_ConnectionNotificationCode what)
{
    mmq_adapter *adapter = context;
    bool starts = what == MHD_CONNECTION_NOTIFY_STARTED;
    mmq_seat *seat = starts ? calloc(1, sizeof *seat) : *slot;
    if (seat == NULL) { /* no memory: its requests are refused */
        return;
    }
    if (starts) {
        seat->connection = connection;
        adapter->meters.connections_made++;
        adapter->meters.connections++;
        start_reading(adapter, seat);
        *slot = seat;
        return;
    }
    if (seat->exchange != NULL) {
        end_exchange(seat->exchange, false);
    }
    adapter->meters.connections--;
    stop_reading(adapter, seat);
    free(seat);
    *slot = NULL;
}

static int64_t cut_readers(mmq_adapter *adapter)
{
    mmq_seat *seat;
    while ((seat = TAILQ_FIRST(&adapter->reading))) {
        int64_t left = seat->since_ns + adapter->read_ns - mmq_now_ns();
        if (left > 0) {
            return left;
        }
        stop_reading(adapter, seat);
        reset_connection(seat->connection);
    }
    return -1;
}

static int64_t end_waiting(mmq_adapter *adapter)
{
    mmq_exchange *exchange;
    while ((exchange = TAILQ_FIRST(&adapter->waiting))) {
        int64_t left = exchange->deadline_ns - mmq_now_ns();
        if (left > 0) {
            return left;
        }
        if (exchange->state == MMQ_EXCHANGE_ANSWERING) {
            mmq_exchange_break(exchange);
        } else {
            mmq_exchange_refuse(exchange, 504, "the bus did not answer in time");
        }
    }
    return -1;
}

int64_t mmq_exchange_tick(mmq_adapter *adapter)
{
    int64_t cut_ns = cut_readers(adapter);
    int64_t end_ns = end_waiting(adapter);
    return end_ns < 0 || (cut_ns >= 0 && cut_ns < end_ns) ? cut_ns : end_ns;
}

void mmq_exchange_break_all(mmq_adapter *adapter)
{
    mmq_exchange *exchange;
    TAILQ_FOREACH(exchange, &adapter->live, live)
    {
        mmq_exchange_break(exchange);
    }
}
