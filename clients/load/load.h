/* The load generator: many clients that ask, check what they get, and time it.
 *
 * Closed loop: `concurrency` requests are always under way; each answer starts the next request. It
 * finds the greatest throughput. Its latencies are those of a system that is asked less as soon as
 * it is slow: what a stall does to others that would have asked meanwhile does not show.
 *
 * Open loop: request k is due at start + k / rate, whatever became of those before. Latency counts
 * from when a request was due, not from when it was sent, so that a stall of the system, or of the
 * generator itself, is in the figures of all requests that it held up (no coordinated omission).
 * What the client library does not take ends as "not_sent" and never moves the schedule.
 *
 * Requests go through the client library, so that what is measured is what its users have. Echo
 * requests are not retried unless `retry`: an error is to be seen. Streams resume as they always
 * do.
 *
 * Requests that are due before the warm-up is over are sent but not counted. After the end nothing
 * is started; what is under way is waited for, so that each request ends in an answer or an error;
 * one that does not, within the timeout and a grace, is `never_answered`: a bug in the library.
 *
 * One thread runs all clients (driver.c); workers have a thread each (workers.c). */
#ifndef MMQ_LOAD_H
#define MMQ_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/load/catalog.h"
#include "clients/load/mix.h"
#include "clients/load/tally.h"
#include "metricmq/curve.h"
#include "metricmq/error.h"

typedef struct mmq_load_result {
    int64_t elapsed_ns; /* of the time that counts: less than was asked for if it was stopped */
    bool stopped;       /* before its end */
    uint64_t never_answered;
    uint64_t stray; /* answers that belonged to no request: late, twice or foreign */
    mmq_tally kinds[MMQ_LOAD_KINDS];
    mmq_histogram lag; /* open loop: from when a request was due until it was sent, nanoseconds */
    mmq_series series;
} mmq_load_result;

typedef struct mmq_load_options {
    const char *endpoint;   /* of the broker, for clients */
    const mmq_curve *curve; /* keys of all clients; NULL: plain text */
    const char *service;    /* of echo requests */
    size_t clients;
    size_t concurrency; /* closed loop; 0: open */
    double rate;        /* open loop, requests a second; 0: closed */
    int64_t warmup_ns, duration_ns;
    unsigned timeout_ms;
    uint64_t seed;
    mmq_mix mix;
    mmq_catalog *catalog; /* what a mix with rows asks for; borrowed, changed */
    size_t size;          /* of an echo's bytes */
    bool retry;           /* echo requests */
    int stop; /* a descriptor, -1: none. When it is readable the run ends early; when it is
               * readable again, what is under way is not waited for */
    /* Called about four times a second with what there is so far; may be NULL. */
    void (*progress)(void *context, const mmq_load_result *so_far, int64_t now_ns);
    void *context;
} mmq_load_options;

enum { MMQ_LOAD_CLIENTS_MAX = 10000, MMQ_LOAD_WORKERS_MAX = 1000 };

/* Runs to the end. MMQ_OK: result says what happened, errors of requests included; free it with
 * mmq_load_result_destroy. Else why says what was missing to begin. */
mmq_err mmq_load_run(const mmq_load_options *options, mmq_load_result **result,
                     mmq_why *why) MMQ_MUST_USE;
void mmq_load_result_destroy(mmq_load_result **result);
/* All kinds in one. */
void mmq_load_total(const mmq_load_result *result, mmq_tally *total);

/* Raises the limits on descriptors and sockets of this process to what so many clients and workers
 * need; to be called before the first socket is made. MMQ_ETOOBIG: they cannot be raised so far. */
mmq_err mmq_load_reserve(size_t clients, size_t workers, mmq_why *why) MMQ_MUST_USE;

#endif
