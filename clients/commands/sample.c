/* Lists are kept sorted by what names their members, so that two samples are compared in no more
 * than n log n steps, however many services a stranger registers. */
#include "clients/commands/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double mmq_sample_number(mmq_reader map, const char *key)
{
    mmq_value value;
    mmq_reader at;
    if (!mmq_map_find(map, key, &value, &at)) {
        return NAN;
    }
    return value.type == MMQ_INT    ? (double)value.integer
           : value.type == MMQ_UINT ? (double)value.unsigned_integer
                                    : NAN;
}

/* Bytes of a str, cut at room. */
static size_t read_name(const mmq_value *value, char *out, size_t room)
{
    if (value->type != MMQ_STR) {
        return 0;
    }
    size_t size = value->text.size < room ? value->text.size : room;
    memcpy(out, value->text.data, size);
    return size;
}

static size_t find_name(mmq_reader map, const char *key, char *out, size_t room)
{
    mmq_value value;
    mmq_reader at;
    return mmq_map_find(map, key, &value, &at) ? read_name(&value, out, room) : 0;
}

/* ---- histograms ---------------------------------------------------------------------------- */

static bool read_pair(mmq_reader *at, double *bound_us, double *count)
{
    mmq_value pair, first, second;
    if (mmq_unpack(at, &pair) != MMQ_OK || pair.type != MMQ_ARRAY || pair.count != 2 ||
        mmq_unpack(at, &first) != MMQ_OK || first.type != MMQ_INT ||
        mmq_unpack(at, &second) != MMQ_OK || second.type != MMQ_INT || second.integer < 0) {
        return false;
    }
    *bound_us = (double)first.integer;
    *count = (double)second.integer;
    return true;
}

/* Bounds in microseconds. */
static void read_spread(mmq_reader map, const char *key, mmq_spread *out)
{
    mmq_value list;
    mmq_reader at;
    out->buckets = 0;
    if (!mmq_map_find(map, key, &list, &at) || mmq_unpack(&at, &list) != MMQ_OK ||
        list.type != MMQ_ARRAY || list.count > MMQ_SAMPLE_BUCKETS) {
        return;
    }
    double last = 0;
    for (size_t i = 0; i < list.count; i++) {
        double bound_us;
        if (!read_pair(&at, &bound_us, &out->counts[i]) || bound_us <= last) {
            return;
        }
        last = bound_us;
        out->bounds_s[i] = bound_us / 1e6;
    }
    out->buckets = list.count;
}

mmq_spread mmq_spread_since(const mmq_spread *before, const mmq_spread *now)
{
    mmq_spread since = *now;
    if (before == NULL) {
        return since;
    }
    since.buckets = before->buckets == now->buckets ? now->buckets : 0;
    for (size_t i = 0; i < since.buckets; i++) {
        since.counts[i] -= before->counts[i];
        if (since.counts[i] < 0) {
            since.buckets = 0;
        }
    }
    return since;
}

double mmq_spread_quantile(const mmq_spread *spread, double share)
{
    double all = 0, seen = 0, from_s = 0;
    for (size_t i = 0; i < spread->buckets; i++) {
        all += spread->counts[i];
    }
    for (size_t i = 0; i < spread->buckets; i++) {
        double wanted = share * all - seen;
        if (spread->counts[i] > 0 && wanted <= spread->counts[i]) {
            return from_s + (spread->bounds_s[i] - from_s) * fmax(wanted, 0) / spread->counts[i];
        }
        seen += spread->counts[i];
        from_s = spread->bounds_s[i];
    }
    return NAN;
}

/* ---- services ------------------------------------------------------------------------------ */

static int compare_bytes(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_services(const void *a_, const void *b_)
{
    const mmq_service_sample *a = a_, *b = b_;
    return compare_bytes(a->name, a->name_size, b->name, b->name_size);
}

static void read_service(mmq_reader map, mmq_service_sample *out)
{
    out->workers = mmq_sample_number(map, "workers");
    out->capacity = mmq_sample_number(map, "capacity");
    out->busy = mmq_sample_number(map, "busy");
    out->queued = mmq_sample_number(map, "queued");
    out->queued_bytes = mmq_sample_number(map, "queued_bytes");
    out->requests = mmq_sample_number(map, "requests");
    out->errors = mmq_sample_number(map, "errors");
    out->redispatched = mmq_sample_number(map, "redispatched");
    out->bytes_in = mmq_sample_number(map, "bytes_in");
    out->bytes_out = mmq_sample_number(map, "bytes_out");
    read_spread(map, "took", &out->took);
    read_spread(map, "waited", &out->waited);
}

/* The head of a list under a key, and a reader of what follows it; false: it is not there. */
static bool find_list(mmq_reader map, const char *key, mmq_type type, mmq_reader *at, size_t *count)
{
    mmq_value head;
    *count = 0;
    if (!mmq_map_find(map, key, &head, at) || mmq_unpack(at, &head) != MMQ_OK ||
        head.type != type) {
        return false;
    }
    *count = head.count < MMQ_SAMPLE_LIST_MAX ? head.count : MMQ_SAMPLE_LIST_MAX;
    return *count > 0;
}

static mmq_err read_services(mmq_reader stats, mmq_sample *out)
{
    mmq_reader at, map;
    size_t count;
    if (!find_list(stats, "services", MMQ_MAP, &at, &count)) {
        return MMQ_OK;
    }
    out->services = calloc(count, sizeof *out->services);
    if (out->services == NULL) {
        return MMQ_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mmq_service_sample *service = &out->services[out->service_count];
        mmq_value name, head;
        if (mmq_unpack(&at, &name) != MMQ_OK || mmq_unpack_whole(&at, &head, &map) != MMQ_OK) {
            break;
        }
        service->name_size = read_name(&name, service->name, sizeof service->name);
        read_service(map, service);
        out->service_count++;
    }
    qsort(out->services, out->service_count, sizeof *out->services, compare_services);
    return MMQ_OK;
}

const mmq_service_sample *mmq_sample_service(const mmq_sample *sample,
                                             const mmq_service_sample *like)
{
    return sample->service_count == 0 ? NULL
                                      : bsearch(like, sample->services, sample->service_count,
                                                sizeof *like, compare_services);
}

/* ---- workers ------------------------------------------------------------------------------- */

static int compare_workers(const void *a_, const void *b_)
{
    const mmq_worker_sample *a = a_, *b = b_;
    return (a->number > b->number) - (a->number < b->number);
}

static void read_worker(mmq_reader map, mmq_worker_sample *out)
{
    out->service_size = find_name(map, "service", out->service, sizeof out->service);
    out->name_size = find_name(map, "name", out->name, sizeof out->name);
    out->number = fmax(mmq_sample_number(map, "number"), -1); /* not NaN: it is sorted by */
    out->capacity = mmq_sample_number(map, "capacity");
    out->held = mmq_sample_number(map, "held");
    out->requests = mmq_sample_number(map, "requests");
    out->heard_s = mmq_sample_number(map, "age_ms") / 1000;
    out->ready_s = mmq_sample_number(map, "ready_ms") / 1000;
}

static mmq_err read_workers(mmq_reader stats, mmq_sample *out)
{
    mmq_reader at, map;
    size_t count;
    if (!find_list(stats, "workers", MMQ_ARRAY, &at, &count)) {
        return MMQ_OK;
    }
    out->workers = calloc(count, sizeof *out->workers);
    if (out->workers == NULL) {
        return MMQ_ENOMEM;
    }
    mmq_value head;
    while (out->worker_count < count && mmq_unpack_whole(&at, &head, &map) == MMQ_OK) {
        read_worker(map, &out->workers[out->worker_count++]);
    }
    qsort(out->workers, out->worker_count, sizeof *out->workers, compare_workers);
    return MMQ_OK;
}

const mmq_worker_sample *mmq_sample_worker(const mmq_sample *sample, const mmq_worker_sample *like)
{
    return sample->worker_count == 0 || like->number < 0
               ? NULL
               : bsearch(like, sample->workers, sample->worker_count, sizeof *like,
                         compare_workers);
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* The sum of all reasons. */
static double sum_of_drops(mmq_reader stats)
{
    mmq_reader at;
    size_t count;
    double sum = 0;
    mmq_value key, value;
    if (!find_list(stats, "dropped", MMQ_MAP, &at, &count)) {
        return NAN;
    }
    for (size_t i = 0; i < count; i++) {
        mmq_reader whole;
        if (mmq_unpack(&at, &key) != MMQ_OK || mmq_unpack_whole(&at, &value, &whole) != MMQ_OK ||
            value.type != MMQ_INT) {
            return NAN;
        }
        sum += (double)value.integer;
    }
    return sum;
}

mmq_err mmq_sample_read(mmq_reader stats, mmq_sample *out, mmq_why *why)
{
    mmq_value head;
    mmq_reader peek = stats;
    *out = (mmq_sample){0};
    if (mmq_unpack(&peek, &head) != MMQ_OK || head.type != MMQ_MAP) {
        return mmq_fail(why, MMQ_EPROTO, "the broker's counts are no map");
    }
    out->uptime_s = mmq_sample_number(stats, "uptime_ms") / 1000;
    out->clients = mmq_sample_number(stats, "clients");
    out->client_connections = mmq_sample_number(stats, "client_connections");
    out->worker_connections = mmq_sample_number(stats, "worker_connections");
    out->descriptors = mmq_sample_number(stats, "descriptors");
    out->descriptors_max = mmq_sample_number(stats, "descriptors_max");
    out->memory = mmq_sample_number(stats, "memory");
    out->dropped = sum_of_drops(stats);
    mmq_err err = read_services(stats, out);
    if (err == MMQ_OK) {
        err = read_workers(stats, out);
    }
    if (err != MMQ_OK) {
        mmq_sample_clear(out);
        return mmq_fail(why, err, "no memory for the broker's counts");
    }
    return MMQ_OK;
}

void mmq_sample_clear(mmq_sample *sample)
{
    free(sample->services);
    free(sample->workers);
    *sample = (mmq_sample){0};
}

double mmq_sample_span(const mmq_sample *before, const mmq_sample *now)
{
    return now->uptime_s > before->uptime_s ? now->uptime_s - before->uptime_s : NAN;
}
