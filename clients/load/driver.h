/* What driver.c (clients, the loop), request.c (a request's life), ask_echo.c and ask_data.c (what
 * is sent and what must come back) share. */
#ifndef MMQ_DRIVER_H
#define MMQ_DRIVER_H

#include <sys/queue.h>

#include "clients/load/echo.h"
#include "clients/load/load.h"
#include "clients/load/rows_check.h"
#include "clients/load/schedule.h"
#include "lib/heap.h"
#include "lib/splitmix.h"
#include "metricmq/client.h"

typedef struct mmq_driver mmq_driver;

/* A client of the load. */
typedef struct mmq_peer {
    TAILQ_ENTRY(mmq_peer) link; /* on driver->marked */
    bool marked;                /* to be stepped in this turn */
    mmq_heap_item timer;        /* in driver->timers if it must be stepped without input */
    mmq_client *client;
} mmq_peer;

/* A request under way, or one that is kept for the next. */
typedef struct mmq_load_request {
    TAILQ_ENTRY(mmq_load_request) link; /* on driver->under_way, oldest first, or driver->spare */
    mmq_driver *driver;
    mmq_peer *peer;
    mmq_load_kind kind;
    uint64_t number;
    int64_t due_ns;     /* latency counts from here */
    int64_t started_ns; /* its timeout counts from here */
    bool counted;       /* it was due after the warm-up */
    mmq_outcome outcome;
    /* of requests for rows */
    mmq_stream *stream;
    mmq_catalog_metric *metric;
    uint32_t day; /* MMQ_LOAD_DAY: which of the metric's */
    mmq_rows_check check;
} mmq_load_request;

TAILQ_HEAD(mmq_load_requests, mmq_load_request);

struct mmq_driver {
    const mmq_load_options *options;
    mmq_load_result *result;
    mmq_peer *peers;
    int input;       /* epoll, over the clients' descriptors and options->stop */
    mmq_heap timers; /* of peers */
    TAILQ_HEAD(, mmq_peer) marked;
    struct mmq_load_requests under_way, spare;
    size_t under_way_count;
    uint64_t number; /* of the last request */
    mmq_echo echo;
    mmq_args args; /* of the request for rows that is being sent */
    mmq_splitmix random;
    /* the clock of the run; on the monotonic clock, nanoseconds */
    int64_t start_ns, count_ns, end_ns; /* nothing is due after the end */
    int64_t progress_ns;                /* when progress is due */
    mmq_schedule schedule;              /* open loop */
    size_t missing;                     /* closed loop: requests to be started in the next turn */
    size_t turn;                        /* whose turn it is to get one of those */
    bool abandoned;                     /* what is under way is not waited for */
};

/* Starts a request on that client. If the library does not take it, it ends at once. */
void mmq_request_start(mmq_driver *driver, mmq_peer *peer, int64_t due_ns, int64_t now_ns);
/* Counts a request by its outcome; it is a spare one then. */
void mmq_request_end(mmq_load_request *request);
/* Ends the streams that are not whole within the timeout: the library bounds only the time that
 * one makes no progress. */
void mmq_requests_expire(mmq_driver *driver, int64_t now_ns);
/* When mmq_requests_expire has something to do; INT64_MAX: never, as things are. */
int64_t mmq_requests_due(const mmq_driver *driver);
/* Frees all requests. */
void mmq_requests_clear(mmq_driver *driver);

/* Send what the request is for and end it when its answer is there. False: not sent. */
bool mmq_ask_echo(mmq_load_request *request);
bool mmq_ask_data(mmq_load_request *request);

/* Called when a request has ended. In a closed loop starts the next. */
void mmq_driver_request_ended(mmq_driver *driver, mmq_peer *peer, bool sent, int64_t now_ns);
/* The peer has something to do: it will be stepped in this turn. */
void mmq_driver_mark(mmq_driver *driver, mmq_peer *peer);

#endif
