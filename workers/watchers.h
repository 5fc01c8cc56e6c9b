/* metric.watch (docs/protocol.md): requests that wait for the next commit. Used by the write
 * worker's thread. */
#ifndef MMQ_WATCHERS_H
#define MMQ_WATCHERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fields.h"
#include "metricmq/error.h"
#include "metricmq/worker.h"
#include "workers/store/store.h"

enum {
    MMQ_WATCHERS_KEPT = 56,     /* requests that wait */
    MMQ_WATCHERS_CAPACITY = 64, /* of one broker; it is never used up, so who comes is heard */
};

/* What a watch asks for. */
typedef struct mmq_watch_args {
    int64_t since; /* commit; from now on, unless it is given */
    mmq_slice store;
    bool has_since;
} mmq_watch_args;

/* MMQ_EINVAL for a body that is malformed. `store` is borrowed from it. */
mmq_err mmq_watch_args_read(const void *body, size_t size, mmq_watch_args *out,
                            mmq_why *why) MMQ_MUST_USE;

typedef struct mmq_watchers mmq_watchers;

/* Listens to the store, which is idle and must outlive it. NULL with a sentence in why. */
mmq_watchers *mmq_watchers_new(mmq_store *store, mmq_why *why);
/* Drops who waits, without an answer. */
void mmq_watchers_destroy(mmq_watchers **watchers);
/* Answers the request, or keeps it, and answers the one that has waited longest if there are too
 * many; nulls *request. */
void mmq_watchers_take(mmq_watchers *watchers, mmq_request **request);
/* Answers whom there is something to tell, or whose time is nearly over; outside of transactions.
 * True: somebody's is over within a second, call again soon. */
bool mmq_watchers_tend(mmq_watchers *watchers);

#endif
