/* What the bus says of itself at one moment, and the differences between two such moments. All of
 * it comes from peers: maps are read key by key, what is missing or of the wrong type counts as not
 * known, and lists have a bound. */
#ifndef MMQ_SAMPLE_H
#define MMQ_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/unpack.h"
#include "metricmq/error.h"
#include "metricmq/protocol.h"

enum {
    MMQ_SAMPLE_BUCKETS = 32,
    MMQ_SAMPLE_LIST_MAX = 10000, /* services, or workers, that are looked at */
    MMQ_SAMPLE_NAME = 64,        /* bytes of a worker's name that are kept */
};

/* A histogram of times: counts below or at each bound. */
typedef struct mmq_spread {
    size_t buckets; /* 0: not known */
    double bounds_s[MMQ_SAMPLE_BUCKETS];
    double counts[MMQ_SAMPLE_BUCKETS];
} mmq_spread;

typedef struct mmq_service_sample {
    char name[MMQ_SERVICE_MAX]; /* any bytes */
    size_t name_size;
    double workers, capacity, busy, queued, queued_bytes;
    double requests, errors, redispatched, bytes_in, bytes_out; /* since the broker's start */
    mmq_spread took, waited;
} mmq_service_sample;

typedef struct mmq_worker_sample {
    char service[MMQ_SERVICE_MAX];
    size_t service_size;
    char name[MMQ_SAMPLE_NAME];
    size_t name_size;
    double number; /* -1: the broker tells none */
    double capacity, held, requests, heard_s, ready_s;
} mmq_worker_sample;

typedef struct mmq_sample {
    double uptime_s, clients, client_connections, worker_connections, descriptors, descriptors_max,
        memory, dropped;
    mmq_service_sample *services; /* by name */
    size_t service_count;
    mmq_worker_sample *workers; /* by number */
    size_t worker_count;
} mmq_sample;

/* Reads what mmi.stats answered. MMQ_EPROTO: that is no map; MMQ_ENOMEM. */
mmq_err mmq_sample_read(mmq_reader stats, mmq_sample *out, mmq_why *why) MMQ_MUST_USE;
void mmq_sample_clear(mmq_sample *sample);
/* A number of a map; NaN if there is none. */
double mmq_sample_number(mmq_reader map, const char *key);

/* The same service, or worker, in another sample; NULL: it is not there. */
const mmq_service_sample *mmq_sample_service(const mmq_sample *sample,
                                             const mmq_service_sample *like);
const mmq_worker_sample *mmq_sample_worker(const mmq_sample *sample, const mmq_worker_sample *like);

/* Seconds from one to the other; NaN if they are not of one run of a broker, in that order. */
double mmq_sample_span(const mmq_sample *before, const mmq_sample *now);
/* What was counted since: before NULL: since the start; NaN if a count fell. */
mmq_spread mmq_spread_since(const mmq_spread *before, const mmq_spread *now);
/* The time within which that share of them was done, within its bucket by proportion; NaN: there
 * was none. */
double mmq_spread_quantile(const mmq_spread *spread, double share);

#endif
