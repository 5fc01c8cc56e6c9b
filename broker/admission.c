/* What a service's queue takes in.
 *
 * A full queue refuses the newest request of the client that has most in it. And a request that
 * would wait longer than its timeout is refused at once: in a queue that is longer than timeouts
 * are, each request would otherwise be worked on when nobody waits for it any more.
 *
 * How long a request would wait is known from the pace at which the queue was served lately, and
 * from what will be served before it: lanes take turns, so of each other lane no more than of its
 * own. A queue that is always full to the last moment would make every request a little late: so
 * the expected time must be within three quarters of the timeout. */
#include "broker/state.h"

static size_t lane_weight(const mmq_lane *lane, bool by_bytes)
{
    return by_bytes ? lane->bytes : lane->count;
}

/* The lane with the most in it, of those heavier than `least`. */
static mmq_lane *heaviest_in(const mmq_link *list, bool by_bytes, size_t least, mmq_lane *best)
{
    MMQ_LIST_EACH(at, list)
    {
        mmq_lane *lane = MMQ_OF(at, mmq_lane, link);
        size_t weight = lane_weight(lane, by_bytes);
        if (weight > (best != NULL ? lane_weight(best, by_bytes) : least)) {
            best = lane;
        }
    }
    return best;
}

/* False if there is none. */
static bool make_room(mmq_service *service, const mmq_caller *caller, size_t bytes)
{
    const mmq_core_settings *settings = &service->core->settings;
    if (bytes > settings->queue_bytes_max) {
        return false;
    }
    for (;;) {
        bool by_count = service->queued >= settings->queue_max;
        bool by_bytes = service->queued_bytes + bytes > settings->queue_bytes_max;
        if (!by_count && !by_bytes) {
            return true;
        }
        const mmq_lane *own = mmq_lane_find(service, caller);
        size_t more = by_count ? 1 : bytes;
        size_t least = more + (own != NULL ? lane_weight(own, !by_count) : 0);
        mmq_lane *lane = heaviest_in(&service->turn, !by_count, least, NULL);
        lane = heaviest_in(&service->parked, !by_count, least, lane);
        if (lane == NULL || lane == own) {
            return false;
        }
        mmq_job_fail(MMQ_OF(lane->jobs.prev, mmq_job, link), MMQ_JOB_DONE, 503,
                     "the queue is full and this client has most in it");
    }
}

static void note_sharing(mmq_service *service, const mmq_caller *caller)
{
    uint64_t hash = caller->item.hash; /* a client's caller comes and goes, its name stays */
    if (hash != service->last_caller) {
        service->shared_ns = service->last_caller != 0 ? service->core->now_ns : service->shared_ns;
        service->last_caller = hash;
    }
}

/* A window ends after a while; only time in which something waited, and every worker was busy,
 * tells of the workers' pace. Each time that it is not so, half of what is known is forgotten:
 * else, after a stall, too little would be let in to ever learn that it is over. Of two windows in
 * a row the faster one counts, for the other may hold a moment in which the broker itself, or the
 * whole machine, stood still. */
void mmq_pace_count(mmq_service *service)
{
    int64_t now_ns = service->core->now_ns;
    if (service->queued == 0 || mmq_heap_first(&service->ready) != NULL) {
        service->pace_since_ns = 0;
        service->pace_window_ns = 0;
        service->pace_ns /= 2;
        return;
    }
    if (service->pace_since_ns == 0) {
        service->pace_since_ns = now_ns;
        service->pace_count = 0;
        return;
    }
    service->pace_count++;
    int64_t took_ns = now_ns - service->pace_since_ns;
    if (took_ns >= MMQ_PACE_NS) {
        const int64_t window_ns = took_ns / service->pace_count;
        const int64_t before_ns = service->pace_window_ns;
        const int64_t pace_ns = window_ns < before_ns ? window_ns : before_ns;
        service->pace_ns = service->pace_ns == 0 ? pace_ns : (service->pace_ns * 3 + pace_ns) / 4;
        service->pace_window_ns = window_ns;
        service->pace_since_ns = now_ns;
        service->pace_count = 0;
    }
}

/* Nanoseconds until a worker would have answered one more request of that caller. */
static int64_t expected_ns(const mmq_service *service, const mmq_caller *caller)
{
    const mmq_lane *own = mmq_lane_find(service, caller);
    size_t waiting = own != NULL ? own->count : 0;
    size_t before = (waiting + 1) * (service->lane_count + (waiting == 0));
    before = before < service->queued ? before : service->queued;
    return (int64_t)before * service->pace_ns + service->hold_ns;
}

const char *mmq_service_admit(mmq_service *service, const mmq_caller *caller, size_t bytes,
                              unsigned timeout_ms)
{
    note_sharing(service, caller);
    int64_t patience_ns = (int64_t)timeout_ms * MMQ_NS_PER_MS / 4 * 3;
    if (service->hand_count > 0 && service->queued > 0 &&
        !mmq_service_has_room(service, mmq_lane_find(service, caller)) &&
        expected_ns(service, caller) > patience_ns) {
        return "too many requests wait: this one would not get its turn within its timeout";
    }
    return make_room(service, caller, bytes) ? NULL : "the service's queue is full";
}
