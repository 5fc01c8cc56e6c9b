/* Services and their queues.
 *
 * A service's queue is made of lanes, one a client that waits; they are served in turn, so that a
 * client with thousands of requests delays only itself. While there are several clients, none holds
 * more than a quarter of what the workers take at once: what is at a worker is out of our hands,
 * and a request that comes behind long ones would wait for them all. Our query workers take three a
 * thread, so a quarter leaves a thread free for the others. A service lives while it has workers or
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
    service->gathers = strcmp(service->name, MMQ_SERVICE_WRITE) == 0;
    service->redispatch = !service->gathers; /* what was written cannot be taken back */
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
    if (lane->count > 0) {
        mmq_list_remove(&lane->link);
        mmq_list_push_back(parked ? &lane->service->parked : &lane->service->turn, &lane->link);
        mmq_service_mark(lane->service);
    }
}

mmq_lane *mmq_lane_find(const mmq_service *service, const mmq_caller *caller)
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
    mmq_lane *lane = mmq_lane_find(service, caller);
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
    return lane;
}

void mmq_lane_put(mmq_lane *lane, mmq_job *job, bool front)
{
    mmq_service *service = lane->service;
    if (front) {
        mmq_list_push_front(&lane->jobs, &job->link);
    } else {
        mmq_list_push_back(&lane->jobs, &job->link);
    }
    lane->bytes += job->bytes;
    service->queued++;
    service->queued_bytes += job->bytes;
    if (lane->count++ == 0) {
        service->lane_count++;
        mmq_lane_park(lane, lane->caller->state == MMQ_CALLER_BLOCKED);
    }
    mmq_service_mark(service);
}

void mmq_lane_take(mmq_lane *lane, mmq_job *job)
{
    mmq_service *service = lane->service;
    mmq_list_remove(&job->link);
    lane->bytes -= job->bytes;
    service->queued--;
    service->queued_bytes -= job->bytes;
    if (--lane->count == 0) {
        mmq_list_remove(&lane->link);
        service->lane_count--;
    }
}

void mmq_lane_settle(mmq_lane *lane)
{
    if (lane->count == 0 && lane->held == 0) {
        mmq_list_remove(&lane->caller_link);
        free(lane);
    }
}

/* Several clients wait, or asked lately. */
static bool is_shared(const mmq_service *service)
{
    return service->lane_count > 1 || service->core->now_ns - service->shared_ns < MMQ_SHARED_NS;
}

static bool may_hold_more(const mmq_service *service, const mmq_lane *lane)
{
    return lane == NULL || lane->held == 0 || !is_shared(service) ||
           lane->held < service->capacity / MMQ_SHARES;
}

bool mmq_service_has_room(const mmq_service *service, const mmq_lane *lane)
{
    return mmq_heap_first(&service->ready) != NULL && may_hold_more(service, lane);
}

/* The lane whose turn it is; NULL if there is none that may hold more. */
static mmq_lane *next_lane(const mmq_service *service)
{
    MMQ_LIST_EACH(at, &service->turn)
    {
        mmq_lane *lane = MMQ_OF(at, mmq_lane, link);
        if (may_hold_more(service, lane)) {
            return lane;
        }
    }
    return NULL;
}

/* What was passed over is looked at again when the service is not shared any more. */
static void note_passed_over(const mmq_service *service)
{
    mmq_core *core = service->core;
    int64_t due_ns = service->shared_ns + MMQ_SHARED_NS;
    if (service->lane_count == 1 && !mmq_list_empty(&service->turn) &&
        mmq_heap_first(&service->ready) != NULL && due_ns < core->unshared_ns) {
        core->unshared_ns = due_ns;
    }
}

/* Gives the lane's oldest job to the worker. */
static void hand_out(mmq_service *service, mmq_lane *lane, mmq_hand *hand)
{
    mmq_job *job = MMQ_OF(lane->jobs.next, mmq_job, link);
    bool goes_on = lane->count > 1;
    mmq_err err = mmq_hand_give(hand, job);
    if (err == MMQ_OK) {
        mmq_pace_count(service);
    }
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
    mmq_lane *lane;
    while ((item = mmq_heap_first(&service->ready)) != NULL &&
           (lane = next_lane(service)) != NULL) {
        hand_out(service, lane, MMQ_OF(item, mmq_hand, ready));
    }
    note_passed_over(service);
    if (service->core->draining && service->hand_count == 0) {
        refuse_queued(&service->turn);
        refuse_queued(&service->parked);
    }
    mmq_list_remove(&service->dirty);
    if (service->hand_count == 0 && service->queued == 0) {
        free_service(service);
    }
}
