/* How a part of the process is: what its own threads write down for the thread that keeps an eye on
 * all of them. A part is one loop (broker, HTTP adapter, a worker's loop) and, for a worker, the
 * threads that work for it. */
#ifndef MMQ_VITALS_H
#define MMQ_VITALS_H

#include <stdbool.h>
#include <stdint.h>

#include "metricmq/worker.h"

typedef enum mmq_readiness {
    MMQ_UNREADY, /* it still makes what it needs */
    MMQ_ALONE,   /* it would serve, but nobody is there to serve: no broker */
    MMQ_READY,
} mmq_readiness;

enum {
    MMQ_VITALS_TEXT = 112,
    MMQ_VITALS_PASS_MS = 1000, /* a loop makes a pass at least so often, whatever it waits for */
};

typedef struct mmq_vitals {
    mmq_readiness readiness;
    uint64_t passes;              /* of the loop so far; a loop that makes none does not live */
    bool stuck;                   /* a thread works on what should have ended long ago */
    char state[MMQ_VITALS_TEXT];  /* for people: what it is at; changes rarely */
    char counts[MMQ_VITALS_TEXT]; /* ... and how much of it */
} mmq_vitals;

/* What is worked on for so long past the time that it may take is not going to end. A worker
 * answers a request by its deadline, and its answer leaves, or the connection does, within 30 s of
 * that. */
enum { MMQ_VITALS_LATE_MS = 60000 };

/* Of a worker, at mmq_now_ns. Any thread, while the worker lives. */
void mmq_worker_vitals(const mmq_worker *worker, int64_t now_ns, mmq_vitals *out);

#endif
