/* What the adapter counts of its own work, for /metrics. The loop's thread owns the counts: no
 * locks. Labels are routes of our table and statuses that we know, so a stranger adds no series. */
#ifndef MMQ_METERS_H
#define MMQ_METERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"

typedef struct mmq_exchange mmq_exchange;
typedef struct mmq_adapter mmq_adapter;

enum {
    MMQ_METERS_ROUTES = 40,   /* the table's at most, and "none" */
    MMQ_METERS_STATUSES = 32, /* known ones at most, and "none" and "other" */
    MMQ_METERS_BUCKETS = 17,
};

typedef struct mmq_times {
    uint64_t counts[MMQ_METERS_BUCKETS];
    int64_t sum_ns;
} mmq_times;

typedef struct mmq_route_meter {
    uint64_t statuses[MMQ_METERS_STATUSES];
    uint64_t bytes;         /* of answers' bodies that have ended, whole or not */
    uint64_t broken_by_us;  /* answers that we reset in their middle */
    uint64_t left_by_peers; /* answers whose reader went away in their middle */
    mmq_times wait;         /* from the request line to the answer's beginning */
    mmq_times whole;        /* ... to its end */
} mmq_route_meter;

typedef struct mmq_meters {
    uint64_t connections_made;
    uint64_t connections; /* open ones */
    mmq_route_meter routes[MMQ_METERS_ROUTES];
} mmq_meters;

/* An exchange has ended; done: its answer was sent whole. */
void mmq_meters_end(mmq_meters *meters, const mmq_exchange *exchange, bool done);
/* Writes the families metricmq_http_*. Walks the live exchanges: what they have sent counts too. */
void mmq_meters_expose(const mmq_adapter *adapter, mmq_buffer *out);

#endif
