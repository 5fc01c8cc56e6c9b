/* Services and their queues.
 *
 * A service's queue is made of lanes, one a client that waits; they are served in turn, so that a
 * client with thousands of requests delays only itself. A service lives while it has workers or
 * something waits for it. */
#include "broker/state.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

mmq_service *mmq_service_find(mmq_core *core, const char *name, size_t size)
{
    mmq_table_item *item = mmq_table_find(&core->services, name, size);
    return item != NULL ? MMQ_OF(item, mmq_service, item) : NULL;
}

mmq_service *mmq_service_get(mmq_core *core, const char *name, size_t size)
{
    mmq_service *service = mmq_service_find(core, name, size);
    if (service != NULL || core->services.count >= core->settings.services_max ||
        size > MMQ_SERVICE_MAX) {
        return service;
    }
    service = calloc(1, sizeof *service);
    if (service == NULL) {
        return NULL;
    }
    service->core = core;
    memcpy(service->name, name, size);
    service->name_size = size;
    service->redispatch = strcmp(service->name, MMQ_SERVICE_WRITE) != 0;
    mmq_list_init(&service->dirty);
    mmq_list_init(&service->turn);
    mmq_list_init(&service->parked);
    mmq_list_init(&service->hands);
    mmq_heap_init(&service->ready);
    mmq_table_add(&core->services, &service->item, service->name, size);
    mmq_list_push_back(&core->service_list, &service->link);
    mmq_service_mark(service); /* so that it goes if nothing comes of it */
    return service;
}

static void free_service(mmq_service *service)
{
    CHECK(service->hand_count == 0 && service->queued == 0);
    mmq_table_remove(&service->core->services, &service->item);
    mmq_list_remove(&service->link);
    mmq_list_remove(&service->dirty);
    mmq_heap_clear(&service->ready);
    free(service);
}

void mmq_service_mark(mmq_service *service)
{
    if (mmq_list_empty(&service->dirty)) {
        mmq_list_push_back(&service->core->dirty, &service->dirty);
    }
}

void mmq_lane_park(mmq_lane *lane, bool parked)
{
    mmq_list_remove(&lane->link);
    mmq_list_push_back(parked ? &lane->service->parked : &lane->service->turn, &lane->link);
    mmq_service_mark(lane->service);
}

static mmq_lane *find_lane(const mmq_service *service, const mmq_caller *caller)
{
    MMQ_LIST_EACH(at, &caller->lanes)
    {
        mmq_lane *lane = MMQ_OF(at, mmq_lane, caller_link);
        if (lane->service == service) {
            return lane;
        }
    }
    return NULL;
}

mmq_lane *mmq_lane_get(mmq_service *service, mmq_caller *caller)
{
    mmq_lane *lane = find_lane(service, caller);
    if (lane != NULL) {
        return lane;
    }
    lane = calloc(1, sizeof *lane);
    if (lane == NULL) {
        return NULL;
    }
    lane->caller = caller;
    lane->service = service;
    mmq_list_init(&lane->link);
    mmq_list_init(&lane->jobs);
    mmq_list_push_back(&caller->lanes, &lane->caller_link);
    mmq_lane_park(lane, caller->state == MMQ_CALLER_BLOCKED);
    return lane;
}

void mmq_lane_put(mmq_lane *lane, mmq_job *job, bool front)
{
    job->lane = lane;
    if (front) {
        mmq_list_push_front(&lane->jobs, &job->link);
    } else {
        mmq_list_push_back(&lane->jobs, &job->link);
    }
    lane->count++;
    lane->bytes += job->bytes;
    lane->service->queued++;
    lane->service->queued_bytes += job->bytes;
    mmq_service_mark(lane->service);
}

void mmq_lane_take(mmq_job *job)
{
    mmq_lane *lane = job->lane;
    mmq_list_remove(&job->link);
    job->lane = NULL;
    lane->count--;
    lane->bytes -= job->bytes;
    lane->service->queued--;
    lane->service->queued_bytes -= job->bytes;
    if (lane->count == 0) {
        mmq_list_remove(&lane->link);
        mmq_list_remove(&lane->caller_link);
        free(lane);
    }
}

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

bool mmq_service_admit(mmq_service *service, const mmq_caller *caller, size_t bytes)
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
        const mmq_lane *own = find_lane(service, caller);
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

/* Gives the job whose turn it is to the worker. */
static void hand_out(mmq_service *service, mmq_hand *hand)
{
    mmq_lane *lane = MMQ_OF(service->turn.next, mmq_lane, link);
    mmq_job *job = MMQ_OF(lane->jobs.next, mmq_job, link);
    bool goes_on = lane->count > 1;
    mmq_err err = mmq_hand_give(hand, job);
    if (err == MMQ_OK && goes_on) {
        mmq_list_remove(&lane->link);
        mmq_list_push_back(&service->turn, &lane->link);
    } else if (err == MMQ_ENOMEM) {
        mmq_job_fail(job, MMQ_JOB_DONE, 503, "the broker has no memory left");
    }
}

static void refuse_queued(mmq_link *lanes)
{
    while (!mmq_list_empty(lanes)) {
        mmq_lane *lane = MMQ_OF(lanes->next, mmq_lane, link);
        mmq_job_fail(MMQ_OF(lane->jobs.next, mmq_job, link), MMQ_JOB_DONE, 503,
                     "the broker is stopping");
    }
}

void mmq_service_serve(mmq_service *service)
{
    mmq_heap_item *item;
    while (!mmq_list_empty(&service->turn) && (item = mmq_heap_first(&service->ready)) != NULL) {
        hand_out(service, MMQ_OF(item, mmq_hand, ready));
    }
    if (service->core->draining && service->hand_count == 0) {
        refuse_queued(&service->turn);
        refuse_queued(&service->parked);
    }
    mmq_list_remove(&service->dirty);
    if (service->hand_count == 0 && service->queued == 0) {
        free_service(service);
    }
}
