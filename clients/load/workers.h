/* Workers for load tests: a thread each, an echo service each, as lean as they can be, so that the
 * broker is measured and not they.
 *
 * A worker serves one request after the other, whatever its capacity: a request's service begins at
 * its receipt or when the one before it is answered, and takes `service_ns`. So a worker answers at
 * most 1 / service_ns requests a second, and a greater capacity only hides the round trip. */
#ifndef MMQ_LOAD_WORKERS_H
#define MMQ_LOAD_WORKERS_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/curve.h"
#include "metricmq/error.h"

typedef struct mmq_load_workers mmq_load_workers;

typedef struct mmq_load_worker_options {
    const char *endpoint;   /* of the broker, for workers; borrowed until they are destroyed */
    const mmq_curve *curve; /* borrowed likewise; NULL: plain text */
    const char *service;    /* borrowed likewise */
    size_t count;
    unsigned capacity; /* 1: a stock worker of RFC 18 */
    int64_t service_ns;
} mmq_load_worker_options;

/* Starts the threads; each connects in the background. NULL with a sentence in why. */
mmq_load_workers *mmq_load_workers_new(const mmq_load_worker_options *options, mmq_why *why);
/* Workers that have sent a READY. */
size_t mmq_load_workers_ready(const mmq_load_workers *workers);
/* Requests answered so far. */
uint64_t mmq_load_workers_served(const mmq_load_workers *workers);
/* Says DISCONNECT, joins, frees, nulls *workers. */
void mmq_load_workers_destroy(mmq_load_workers **workers);

#endif
