/* Counts are noted once, when an exchange ends; what is under way is looked at when someone asks,
 * so that a block of a stream costs nothing here. A route that was never asked for shows no line.
 */
#include "clients/http/meters.h"

#include <stdio.h>
#include <string.h>

#include "clients/http/exposition.h"
#include "clients/http/routes.h"
#include "lib/clock.h"

enum { NONE, OTHER, FIRST_KNOWN };

/* What we answer, and what the bus's answers bring. */
static const int known[] = {200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 410,
                            411, 413, 414, 415, 417, 429, 431, 500, 501, 502, 503, 504, 505};

enum { STATUSES = FIRST_KNOWN + sizeof known / sizeof *known };

_Static_assert((int)STATUSES <= (int)MMQ_METERS_STATUSES, "more statuses than room");

#define US(us_) ((us_)*INT64_C(1000))
#define MS(ms_) ((ms_)*MMQ_NS_PER_MS)

static const int64_t bounds_ns[MMQ_METERS_BUCKETS - 1] = {
    US(250), US(500), MS(1),   MS(2) + US(500), MS(5),    MS(10),   MS(25),    MS(50),
    MS(100), MS(250), MS(500), MS(1000),        MS(2500), MS(5000), MS(10000), MS(30000)};

static size_t status_slot(int status)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i] == status) {
            return FIRST_KNOWN + i;
        }
    }
    return status == 0 ? NONE : OTHER;
}

static const char *status_name(size_t slot, char room[16])
{
    if (slot < FIRST_KNOWN) {
        return slot == NONE ? "none" : "other";
    }
    snprintf(room, 16, "%d", known[slot - FIRST_KNOWN]);
    return room;
}

static void note_time(mmq_times *times, int64_t took_ns)
{
    size_t i = 0;
    while (i + 1 < MMQ_METERS_BUCKETS && took_ns > bounds_ns[i]) {
        i++;
    }
    times->counts[i]++;
    times->sum_ns += took_ns;
}

/* Bytes of a body that were meant for the wire: an answer to HEAD has none. */
static uint64_t body_bytes(const mmq_exchange *exchange)
{
    bool sent = exchange->status != 0 && strcmp(exchange->method, "HEAD") != 0;
    return sent ? exchange->bytes : 0;
}

void mmq_meters_end(mmq_meters *meters, const mmq_exchange *exchange, bool done)
{
    mmq_route_meter *meter = &meters->routes[mmq_route_index(exchange->route)];
    int64_t now_ns = mmq_now_ns();
    meter->statuses[status_slot(exchange->status)]++;
    meter->bytes += body_bytes(exchange);
    const bool by_us = exchange->broken && !exchange->left;
    meter->broken_by_us += by_us;
    meter->left_by_peers += !done && !by_us && exchange->state == MMQ_EXCHANGE_ANSWERING;
    if (exchange->status != 0) {
        note_time(&meter->wait, exchange->answered_ns - exchange->started_ns);
        note_time(&meter->whole, now_ns - exchange->started_ns);
    }
}

/* ---- what is said of it ------------------------------------------------------------------- */

static const char *route_name(size_t index)
{
    const mmq_route *route = mmq_route_at(index);
    return route ? route->name : "none";
}

static bool was_asked(const mmq_route_meter *meter)
{
    for (size_t i = 0; i < STATUSES; i++) {
        if (meter->statuses[i] > 0) {
            return true;
        }
    }
    return false;
}

static void expose_requests(const mmq_meters *meters, mmq_buffer *out)
{
    static const char name[] = "metricmq_http_requests_total";
    mmq_expose_family(out, name, "counter",
                      "Requests that have ended, by route and status of the answer (none: the "
                      "client went away before there was one).");
    for (size_t i = 0; i < MMQ_METERS_ROUTES; i++) {
        for (size_t slot = 0; slot < STATUSES; slot++) {
            char room[16];
            const mmq_label labels[] = {{"route", route_name(i)},
                                        {"code", status_name(slot, room)}};
            if (meters->routes[i].statuses[slot] > 0) {
                mmq_expose_count(out, name, labels, 2, (int64_t)meters->routes[i].statuses[slot]);
            }
        }
    }
}

static void expose_one_times(mmq_buffer *out, const char *name, size_t route,
                             const mmq_times *times)
{
    const mmq_times_view view = {bounds_ns, times->counts, MMQ_METERS_BUCKETS, times->sum_ns};
    mmq_expose_times(out, name, (mmq_label){"route", route_name(route)}, &view);
}

static void expose_times(const mmq_meters *meters, mmq_buffer *out)
{
    static const char wait[] = "metricmq_http_request_wait_seconds";
    static const char whole[] = "metricmq_http_request_duration_seconds";
    mmq_expose_family(out, wait, "histogram",
                      "Time from a request's first line to the beginning of its answer.");
    for (size_t i = 0; i < MMQ_METERS_ROUTES; i++) {
        if (was_asked(&meters->routes[i])) {
            expose_one_times(out, wait, i, &meters->routes[i].wait);
        }
    }
    mmq_expose_family(out, whole, "histogram",
                      "Time from a request's first line to the end of its answer, at the reader's "
                      "pace.");
    for (size_t i = 0; i < MMQ_METERS_ROUTES; i++) {
        if (was_asked(&meters->routes[i])) {
            expose_one_times(out, whole, i, &meters->routes[i].whole);
        }
    }
}

static void expose_bytes(const mmq_adapter *adapter, mmq_buffer *out)
{
    static const char name[] = "metricmq_http_response_body_bytes_total";
    uint64_t bytes[MMQ_METERS_ROUTES] = {0};
    const mmq_exchange *exchange;
    TAILQ_FOREACH(exchange, &adapter->live, live)
    {
        bytes[mmq_route_index(exchange->route)] += body_bytes(exchange);
    }
    mmq_expose_family(out, name, "counter", "Bytes of answers' bodies, also of those under way.");
    for (size_t i = 0; i < MMQ_METERS_ROUTES; i++) {
        const mmq_label label = {"route", route_name(i)};
        bytes[i] += adapter->meters.routes[i].bytes;
        if (bytes[i] > 0 || was_asked(&adapter->meters.routes[i])) {
            mmq_expose_count(out, name, &label, 1, (int64_t)bytes[i]);
        }
    }
}

static void expose_broken(const mmq_meters *meters, mmq_buffer *out)
{
    static const char name[] = "metricmq_http_broken_answers_total";
    mmq_expose_family(out, name, "counter",
                      "Answers that ended in their middle: reset by the server (the bus failed, "
                      "the reader stalled, the adapter stopped), or left by the client.");
    uint64_t by_us = 0, by_peers = 0;
    for (size_t i = 0; i < MMQ_METERS_ROUTES; i++) {
        by_us += meters->routes[i].broken_by_us;
        by_peers += meters->routes[i].left_by_peers;
    }
    mmq_expose_count(out, name, &(mmq_label){"by", "server"}, 1, (int64_t)by_us);
    mmq_expose_count(out, name, &(mmq_label){"by", "client"}, 1, (int64_t)by_peers);
}

static void expose_gauge(mmq_buffer *out, const char *name, const char *help, uint64_t value)
{
    mmq_expose_family(out, name, "gauge", help);
    mmq_expose_count(out, name, NULL, 0, (int64_t)value);
}

static void expose_now(const mmq_adapter *adapter, mmq_buffer *out)
{
    size_t streams = 0;
    const mmq_exchange *exchange;
    TAILQ_FOREACH(exchange, &adapter->live, live)
    {
        streams += exchange->stream != NULL;
    }
    mmq_expose_family(out, "metricmq_http_connections_accepted_total", "counter",
                      "Connections so far.");
    mmq_expose_count(out, "metricmq_http_connections_accepted_total", NULL, 0,
                     (int64_t)adapter->meters.connections_made);
    mmq_expose_family(out, "metricmq_http_connections_refused_total", "counter",
                      "Connections closed at once: too many, in all or of one address.");
    mmq_expose_count(out, "metricmq_http_connections_refused_total", NULL, 0,
                     (int64_t)adapter->seats.refused);
    mmq_expose_family(out, "metricmq_http_connections_evicted_total", "counter",
                      "Idle connections closed to make room for new ones.");
    mmq_expose_count(out, "metricmq_http_connections_evicted_total", NULL, 0,
                     (int64_t)adapter->seats.evicted);
    expose_gauge(out, "metricmq_http_connections", "Connections that are open, idle ones too.",
                 adapter->meters.connections);
    expose_gauge(out, "metricmq_http_requests_under_way",
                 "Requests whose answer has not ended, this one included.", adapter->live_count);
    expose_gauge(out, "metricmq_http_streams", "Answers that are streams of the bus, under way.",
                 streams);
    expose_gauge(out, "metricmq_http_viewers", "Answers of /_watch, under way.",
                 mmq_viewers_count(adapter->viewers));
}

static void expose_guesses(const mmq_guesses *guesses, mmq_buffer *out)
{
    mmq_expose_family(out, "metricmq_http_wrong_keys_total", "counter",
                      "Requests with a key that is none of ours.");
    mmq_expose_count(out, "metricmq_http_wrong_keys_total", NULL, 0, (int64_t)guesses->total);
    mmq_expose_family(out, "metricmq_http_wrong_keys_held_total", "counter",
                      "Those of them whose answer had to wait, since there were many.");
    mmq_expose_count(out, "metricmq_http_wrong_keys_held_total", NULL, 0, (int64_t)guesses->held);
}

void mmq_meters_expose(const mmq_adapter *adapter, mmq_buffer *out)
{
    expose_requests(&adapter->meters, out);
    expose_times(&adapter->meters, out);
    expose_bytes(adapter, out);
    expose_broken(&adapter->meters, out);
    expose_now(adapter, out);
    expose_guesses(&adapter->guesses, out);
}
