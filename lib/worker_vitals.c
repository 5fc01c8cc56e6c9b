/* The numbers are each a thread's own and read one by one: a reader needs no more than to see that
 * they change. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/vitals.h"
#include "lib/worker_parts.h"

static bool is_stuck(const mmq_worker *worker, int64_t now_ns)
{
    for (unsigned i = 0; i < worker->options.threads; i++) {
        const int64_t due_ns = atomic_load(&worker->due_ns[i]);
        if (due_ns > 0 && now_ns - due_ns > MMQ_VITALS_LATE_MS * MMQ_NS_PER_MS) {
            return true;
        }
    }
    return false;
}

static unsigned count_busy(const mmq_worker *worker)
{
    unsigned busy = 0;
    for (unsigned i = 0; i < worker->options.threads; i++) {
        busy += atomic_load(&worker->due_ns[i]) > 0;
    }
    return busy;
}

void mmq_worker_vitals(const mmq_worker *worker, int64_t now_ns, mmq_vitals *out)
{
    const unsigned registered = atomic_load(&worker->registered);
    *out = (mmq_vitals){.passes = atomic_load(&worker->passes), .stuck = is_stuck(worker, now_ns)};
    if (!atomic_load(&worker->serving)) {
        snprintf(out->state, sizeof out->state, "%.60s: opening the store", worker->service);
    } else if (registered == 0) {
        out->readiness = MMQ_ALONE;
        snprintf(out->state, sizeof out->state, "%.60s: waiting for a broker", worker->service);
    } else {
        out->readiness = MMQ_READY;
        snprintf(out->state, sizeof out->state, "%.60s: serving %u of %zu brokers", worker->service,
                 registered, worker->endpoints.count);
    }
    snprintf(out->counts, sizeof out->counts,
             "%" PRIu64 " requests answered, %u of %u threads busy",
             (uint64_t)atomic_load(&worker->answered), count_busy(worker), worker->options.threads);
}
