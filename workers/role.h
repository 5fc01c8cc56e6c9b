/* A role: a worker and what its work threads share, started and ended together. The three roles
 * of workers.h are made by it. */
#ifndef MMQ_ROLE_H
#define MMQ_ROLE_H

#include <stdbool.h>

#include "metricmq/worker.h"
#include "workers/workers.h"

typedef struct mmq_role_parts {
    mmq_worker_options worker; /* its `shared` is filled in by mmq_role_new */
    bool standby;              /* thread_new may wait long: start by mmq_worker_new_standby */
    /* Called by mmq_role_destroy before it ends the worker, so that a thread_new that waits gives
     * up. Any thread. Optional. */
    void (*stop)(void *shared);
    /* What thread_new waits for that others have and may keep, for people; NULL: nothing. Any
     * thread. Optional. */
    const char *(*waits)(const void *shared);
    /* Frees what the threads share and nulls it, when no thread is left. Optional. */
    void (*shared_destroy)(void **shared);
} mmq_role_parts;

/* Starts the worker; *shared becomes worker.shared. Takes ownership of *shared and nulls it, on
 * success only. NULL with a sentence in why. */
mmq_role *mmq_role_new(const mmq_role_parts *parts, void **shared, mmq_why *why);

#endif
