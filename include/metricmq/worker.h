/* Worker runtime: serve a service of a broker.
 *
 * One thread (the loop) owns the DEALER socket: READY, heartbeats, reconnect. `threads` work
 * threads take requests from it over inproc and hand frames back, so that work may take long while
 * heartbeats go on. docs/architecture.md has the picture.
 *
 * Several brokers: "tcp://a:5751,tcp://b:5751" names up to 8. RFC 18 binds a worker to one broker,
 * so each of them sees a worker of its own, with the whole capacity; the threads are shared, and a
 * request waits for one in the order of arrival.
 *
 *     static void echo(void *context, mmq_request **requests, size_t count)
 *     {
 *         size_t size;
 *         const void *body = mmq_request_body(requests[0], &size);
 *         mmq_final final = {.status = 200, .rows = -1};
 *         ... mmq_frame_copy(&payload, body, size) ...
 *         mmq_request_final(&requests[0], &final, &payload);
 *     }
 */
#ifndef METRICMQ_WORKER_H
#define METRICMQ_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/curve.h"
#include "metricmq/error.h"
#include "metricmq/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmq_worker mmq_worker;
typedef struct mmq_request mmq_request;

typedef struct mmq_worker_options {
    const char *endpoint; /* the broker's endpoint for workers, or a list of several brokers' */
    const char *service;
    /* Another service that the same threads serve, with a capacity of its own (2..1000), so that
     * its requests never take the place of the first one's. NULL: none. */
    const char *second;
    unsigned second_capacity;
    const mmq_curve *curve; /* keys: CURVE and nothing else; copied. NULL: plain text */
    unsigned threads;       /* work threads, 1..64; 0 means 1 */
    unsigned capacity;      /* requests held at once, 1..1000; 1 sends the plain READY */
    unsigned batch_max;     /* requests handed over in one call; 0 means 1 */
    unsigned drain_ms;      /* how long destroy waits for work under way */
    void *shared;           /* borrowed; handed to thread_new */
    /* Called in each work thread before its first request; the result is the handler's context.
     * NULL: the worker does not start (or, later, stops) and `failed` tells why. May block, e.g. on
     * a lock: the worker says READY only when every thread has its context. Optional. */
    void *(*thread_new)(void *shared, mmq_why *why);
    void (*thread_destroy)(void **context);
    /* Called in a work thread with 1..batch_max requests; each must end in mmq_request_final,
     * or be kept (mmq_request_keep). */
    void (*handle)(void *context, mmq_request **requests, size_t count);
    /* Called in a work thread that has had no request to work on for a moment (20 ms): again after
     * as long while it returns true, then about once a second. Optional. */
    bool (*idle)(void *context);
} mmq_worker_options;

/* Starts the threads and returns when every thread has its context (READY is then under way).
 * NULL on failure, with a sentence in why. Strings are copied. */
mmq_worker *mmq_worker_new(const mmq_worker_options *options, mmq_why *why);
/* As mmq_worker_new but returns at once, before the contexts are made: for a worker whose
 * thread_new may wait long (a standby). */
mmq_worker *mmq_worker_new_standby(const mmq_worker_options *options, mmq_why *why);
/* True once the worker was told to stop; may be asked from any thread. */
bool mmq_worker_stopping(const mmq_worker *worker);
/* True if a work thread could not make its context (standby only): why says the reason. */
bool mmq_worker_failed(mmq_worker *worker, mmq_why *why);
/* Says DISCONNECT, finishes what is under way (at most drain_ms), joins, frees, nulls *worker. */
void mmq_worker_destroy(mmq_worker **worker);

/* The request's body; borrowed until its FINAL. */
const void *mmq_request_body(const mmq_request *request, size_t *size);
/* Nanoseconds left until its deadline, by the worker's receipt; <= 0: drop it with 504. */
int64_t mmq_request_left_ns(const mmq_request *request);
/* The trace of the request's body for logs, "" if there is none; valid until its FINAL. */
const char *mmq_request_trace(const mmq_request *request);
/* True if the worker is stopping: long work should break off and answer 503. */
bool mmq_request_stopping(const mmq_request *request);

/* The name of the service that was asked. */
const char *mmq_request_service(const mmq_request *request);

/* The handler may return before the request's FINAL: that is made by a later call of handle or idle
 * in the same thread, before the deadline. Nobody waits for it when the worker stops: the broker
 * then gives the request to another worker, or answers it. */
void mmq_request_keep(mmq_request *request);
/* False once the connection that it came over has ended, and with it the request. */
bool mmq_request_awaited(const mmq_request *request);
/* Ends a kept request without an answer, frees it and nulls *request: for one that is not awaited,
 * and in thread_destroy. */
void mmq_request_drop(mmq_request **request);

/* Sends a PARTIAL: payload is moved. cursor may be NULL. */
mmq_err mmq_request_partial(mmq_request *request, const char *cursor,
                            mmq_frame *payload) MMQ_MUST_USE;

/* PARTIALs bear this state from now on, so that a reader knows it before FINAL; NULL: none.
 * Borrowed until the request's FINAL. */
void mmq_request_set_state(mmq_request *request, const char *state);

/* What goes into FINAL; NULL and negative mean nil. */
typedef struct mmq_final {
    int status;
    int64_t rows;
    const char *next;
    const char *error;
    const char *state;
} mmq_final;

/* Ends the request: frees it and nulls *request. payload may be NULL; else it is moved. */
void mmq_request_final(mmq_request **request, const mmq_final *final, mmq_frame *payload);
/* Ends it with an error's status and sentence. */
void mmq_request_refuse(mmq_request **request, mmq_err err, const mmq_why *why);

#ifdef __cplusplus
}
#endif

#endif
