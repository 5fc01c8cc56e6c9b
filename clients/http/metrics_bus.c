/* Maps of the bus as families. Each number is looked up by a key that we know; what else a map
 * holds, and what is no whole number, is passed over. */
#include <string.h>

#include "clients/http/exposition.h"
#include "clients/http/metrics.h"
#include "lib/clock.h"

/* ---- maps ---------------------------------------------------------------------------------- */

static int64_t number_of(mmq_reader map, const char *key)
{
    mmq_value value;
    mmq_reader at;
    return mmq_map_find(map, key, &value, &at) && value.type == MMQ_INT ? value.integer : 0;
}

static bool has(mmq_reader map, const char *key)
{
    mmq_value value;
    mmq_reader at;
    return mmq_map_find(map, key, &value, &at);
}

struct family {
    const char *key; /* in the map */
    const char *name, *type, *help;
};

static void expose_families(mmq_buffer *out, mmq_reader map, const struct family *families,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mmq_expose_family(out, families[i].name, families[i].type, families[i].help);
        mmq_expose_count(out, families[i].name, NULL, 0, number_of(map, families[i].key));
    }
}

#define COUNT_OF(array_) (sizeof(array_) / sizeof *(array_))

/* ---- services ------------------------------------------------------------------------------ */

static const char *const names[] = {MMQ_SERVICE_QUERY, MMQ_SERVICE_WRITE, MMQ_SERVICE_FEEDBACK,
                                    MMQ_SERVICE_WATCH, "other"};

static const struct family service_families[] = {
    {"workers", "metricmq_service_workers", "gauge", "Workers of the service."},
    {"capacity", "metricmq_service_capacity", "gauge", "Requests that its workers take at once."},
    {"busy", "metricmq_service_busy", "gauge", "Requests that are at a worker."},
    {"queued", "metricmq_service_queued", "gauge", "Requests that wait for a worker."},
    {"queued_bytes", "metricmq_service_queued_bytes", "gauge",
     "Bytes of the requests that wait for a worker."},
    {"requests", "metricmq_service_requests_total", "counter", "Requests that came."},
    {"errors", "metricmq_service_errors_total", "counter",
     "Requests that the broker itself answered with an error."},
    {"redispatched", "metricmq_service_redispatched_total", "counter",
     "Requests given to another worker after theirs was lost."},
    {"partials", "metricmq_service_partials_total", "counter", "Parts of answers passed on."},
    {"bytes_in", "metricmq_service_received_bytes_total", "counter", "Bytes of requests."},
    {"bytes_out", "metricmq_service_sent_bytes_total", "counter", "Bytes of answers."},
};

enum {
    SERVICES = COUNT_OF(names),
    NUMBERS = COUNT_OF(service_families),
    BUCKETS_MAX = 32,
};

/* Histograms of a service: lists of bounds and counts, with a sum in microseconds. */
static const struct {
    const char *list, *sum;
    int64_t unit_ns;   /* of the bounds */
    const char *other; /* where the list is not there: that of earlier brokers, in ms */
    const char *name, *help;
} service_timings[] = {
    {"took", "took_us", 1000, "latency", "metricmq_service_duration_seconds",
     "Time from the broker's receipt of a request to a worker's last answer."},
    {"waited", "waited_us", 1000, NULL, "metricmq_service_wait_seconds",
     "Time that requests waited in the broker for a worker, to their end where none came."},
};

enum { TIMINGS = COUNT_OF(service_timings) };

/* Unsigned: sums of what a peer sends may wrap. */
struct service {
    uint64_t numbers[NUMBERS];
    uint64_t counts[TIMINGS][BUCKETS_MAX];
    uint64_t sums_us[TIMINGS];
};

/* The bounds of a histogram, the same for all services. */
struct bounds {
    size_t count; /* 0: there are none */
    int64_t ns[BUCKETS_MAX];
};

struct services {
    struct service of[SERVICES];
    struct bounds bounds[TIMINGS];
};

/* Reads one [bound, count]. */
static bool read_bucket(mmq_reader *at, mmq_value *bound, mmq_value *count)
{
    mmq_value pair;
    return mmq_unpack(at, &pair) == MMQ_OK && pair.type == MMQ_ARRAY && pair.count == 2 &&
           mmq_unpack(at, bound) == MMQ_OK && bound->type == MMQ_INT && bound->integer >= 0 &&
           bound->integer <= INT32_MAX && mmq_unpack(at, count) == MMQ_OK && count->type == MMQ_INT;
}

/* The list of a histogram and the unit of its bounds. */
static bool find_list(mmq_reader map, size_t timing, mmq_reader *at, uint32_t *count,
                      int64_t *unit_ns)
{
    mmq_value list;
    const char *other = service_timings[timing].other;
    *unit_ns = service_timings[timing].unit_ns;
    if (!mmq_map_find(map, service_timings[timing].list, &list, at)) {
        *unit_ns = MMQ_NS_PER_MS;
        if (other == NULL || !mmq_map_find(map, other, &list, at)) {
            return false;
        }
    }
    if (mmq_unpack(at, &list) != MMQ_OK || list.type != MMQ_ARRAY || list.count == 0 ||
        list.count > BUCKETS_MAX) {
        return false;
    }
    *count = list.count;
    return true;
}

/* The bounds are those that the first service has; one with others is not counted. */
static void add_timing(struct services *all, struct service *to, size_t timing, mmq_reader map)
{
    struct bounds *bounds = &all->bounds[timing];
    mmq_value bound, count;
    mmq_reader at;
    uint32_t buckets;
    int64_t unit_ns;
    uint64_t counts[BUCKETS_MAX];
    if (!find_list(map, timing, &at, &buckets, &unit_ns) ||
        (bounds->count != 0 && buckets != bounds->count)) {
        return;
    }
    for (size_t i = 0; i < buckets; i++) {
        if (!read_bucket(&at, &bound, &count)) {
            return;
        }
        int64_t bound_ns = bound.integer * unit_ns;
        bool fits =
            bounds->count != 0 ? bounds->ns[i] == bound_ns : i == 0 || bounds->ns[i - 1] < bound_ns;
        if (!fits) {
            return;
        }
        bounds->ns[i] = bound_ns;
        counts[i] = (uint64_t)count.integer;
    }
    bounds->count = buckets;
    for (size_t i = 0; i < buckets; i++) {
        to->counts[timing][i] += counts[i];
    }
    to->sums_us[timing] += (uint64_t)number_of(map, service_timings[timing].sum);
}

static struct service *slot_of(struct services *all, const mmq_value *name)
{
    size_t i = 0;
    while (i + 1 < SERVICES && !mmq_value_is(name, names[i])) {
        i++;
    }
    return &all->of[i];
}

static void read_services(mmq_reader stats, struct services *out)
{
    mmq_value head, name;
    mmq_reader at;
    if (!mmq_map_find(stats, "services", &head, &at) || mmq_unpack(&at, &head) != MMQ_OK ||
        head.type != MMQ_MAP) {
        return;
    }
    for (uint32_t i = 0; i < head.count; i++) {
        mmq_reader map;
        if (mmq_unpack(&at, &name) != MMQ_OK || mmq_unpack_whole(&at, &head, &map) != MMQ_OK) {
            return;
        }
        struct service *to = slot_of(out, &name);
        for (size_t n = 0; n < NUMBERS; n++) {
            to->numbers[n] += (uint64_t)number_of(map, service_families[n].key);
        }
        for (size_t timing = 0; timing < TIMINGS; timing++) {
            add_timing(out, to, timing, map);
        }
    }
}

static void expose_timing(mmq_buffer *out, const struct services *all, size_t timing)
{
    const char *name = service_timings[timing].name;
    const struct bounds *bounds = &all->bounds[timing];
    mmq_expose_family(out, name, "histogram", service_timings[timing].help);
    for (size_t i = 0; i < SERVICES; i++) {
        const struct service *service = &all->of[i];
        const mmq_times_view view = {bounds->ns, service->counts[timing], bounds->count,
                                     (int64_t)(service->sums_us[timing] * 1000 & INT64_MAX)};
        mmq_expose_times(out, name, (mmq_label){"service", names[i]}, &view);
    }
}

static void expose_services(mmq_buffer *out, mmq_reader stats)
{
    struct services all = {0};
    read_services(stats, &all);
    for (size_t n = 0; n < NUMBERS; n++) {
        const struct family *family = &service_families[n];
        mmq_expose_family(out, family->name, family->type, family->help);
        for (size_t i = 0; i < SERVICES; i++) {
            mmq_expose_count(out, family->name, &(mmq_label){"service", names[i]}, 1,
                             (int64_t)all.of[i].numbers[n]);
        }
    }
    for (size_t timing = 0; timing < TIMINGS; timing++) {
        if (all.bounds[timing].count > 0) {
            expose_timing(out, &all, timing);
        }
    }
}

/* ---- the broker ---------------------------------------------------------------------------- */

static const struct family broker_families[] = {
    {"clients", "metricmq_broker_clients", "gauge", "Clients that the broker knows."},
    {"client_connections", "metricmq_broker_client_connections", "gauge",
     "Connections to the clients' endpoint."},
    {"worker_connections", "metricmq_broker_worker_connections", "gauge",
     "Connections to the workers' endpoint."},
    {"descriptors", "metricmq_broker_open_fds", "gauge",
     "Descriptors that the broker's process has open."},
    {"descriptors_max", "metricmq_broker_max_fds", "gauge",
     "Descriptors that the broker's process may have."},
    {"memory", "metricmq_broker_resident_memory_bytes", "gauge",
     "Resident memory of the broker's process."},
    {"rebinds", "metricmq_broker_rebinds_total", "counter",
     "How often the broker cut all connections and bound anew."},
    {"client_handshakes_failed", "metricmq_broker_client_handshakes_failed_total", "counter",
     "Connections to the clients' endpoint that ended in their handshake."},
    {"worker_handshakes_failed", "metricmq_broker_worker_handshakes_failed_total", "counter",
     "Connections to the workers' endpoint that ended in their handshake."},
};

static const char *const drops[] = {"malformed", "too_big", "late", "foreign",
                                    "protocol",  "gone",    "slow", "denied"};

static void expose_drops(mmq_buffer *out, mmq_reader stats)
{
    static const char name[] = "metricmq_broker_dropped_total";
    mmq_value head;
    mmq_reader map;
    bool found = mmq_map_find(stats, "dropped", &head, &map);
    mmq_expose_family(out, name, "counter", "Messages that the broker dropped, by reason.");
    for (size_t i = 0; i < COUNT_OF(drops); i++) {
        mmq_expose_count(out, name, &(mmq_label){"reason", drops[i]}, 1,
                         found ? number_of(map, drops[i]) : 0);
    }
}

void mmq_metrics_broker(mmq_buffer *out, mmq_reader stats)
{
    static const char uptime[] = "metricmq_broker_uptime_seconds";
    mmq_expose_family(out, uptime, "gauge", "Time since the broker was started.");
    int64_t uptime_ms = number_of(stats, "uptime_ms");
    mmq_expose_ns(out, uptime, NULL, 0,
                  uptime_ms < INT64_MAX / MMQ_NS_PER_MS ? uptime_ms * MMQ_NS_PER_MS : INT64_MAX);
    expose_families(out, stats, broker_families, COUNT_OF(broker_families));
    expose_drops(out, stats);
    expose_services(out, stats);
}

/* ---- the spool ----------------------------------------------------------------------------- */

static const struct family spool_families[] = {
    {"jobs", "metricmq_spool_jobs", "gauge", "Dumps that are accepted and not yet delivered."},
    {"bytes", "metricmq_spool_bytes", "gauge", "Bytes that they take."},
    {"oldest_age_s", "metricmq_spool_oldest_age_seconds", "gauge",
     "How long the oldest of them has waited."},
    {"quarantined", "metricmq_spool_quarantined_jobs", "gauge",
     "Things in the spool that are no good and were put aside."},
};

static const char *const states[] = {"waiting", "settings", "held"};

void mmq_metrics_spool(mmq_buffer *out, mmq_reader counts)
{
    static const char name[] = "metricmq_spool_state_jobs";
    expose_families(out, counts, spool_families, COUNT_OF(spool_families));
    if (!has(counts, states[0])) {
        return; /* a worker that does not tell */
    }
    mmq_expose_family(out, name, "gauge",
                      "Dumps not yet delivered, by what they wait for: the next attempt, a change "
                      "of settings, or an operator.");
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        mmq_expose_count(out, name, &(mmq_label){"state", states[i]}, 1,
                         number_of(counts, states[i]));
    }
}

/* ---- the store ----------------------------------------------------------------------------- */

static const struct family store_families[] = {
    {"bytes", "metricmq_store_bytes", "gauge",
     "Bytes of the store: its file, or its tables in PostgreSQL."},
    {"log_bytes", "metricmq_store_log_bytes", "gauge",
     "Bytes of the log beside it, which holds the last commits."},
    {"free_bytes", "metricmq_store_free_bytes", "gauge",
     "Bytes of the store's file that hold nothing: new rows take them first."},
    {"disk_free_bytes", "metricmq_store_disk_free_bytes", "gauge",
     "Bytes that the store's file system has left."},
};

/* Of a store that is no file there are no such figures but the first: then they are not 0, which
 * would be an alarm, but not there. */
void mmq_metrics_store(mmq_buffer *out, mmq_reader sizes)
{
    for (size_t i = 0; i < COUNT_OF(store_families); i++) {
        if (has(sizes, store_families[i].key)) {
            expose_families(out, sizes, &store_families[i], 1);
        }
    }
}
