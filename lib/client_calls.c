/* An id is a serial number, which makes it unique in the client's life, and a slot. A call keeps
 * its slot from try to try, so one table serves both ids and handles. */
#include "lib/client_calls.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/intrusive.h"

void mmq_calls_init(mmq_calls *calls)
{
    memset(calls, 0, sizeof *calls);
    for (size_t i = 0; i < MMQ_CALLS_LANES; i++) {
        TAILQ_INIT(&calls->lanes[i].calls);
    }
    TAILQ_INIT(&calls->turns);
    calls->window = SIZE_MAX;
    calls->reach = 16;
    TAILQ_INIT(&calls->mmi);
    mmq_heap_init(&calls->timers);
}

void mmq_calls_clear(mmq_calls *calls)
{
    mmq_pending *pending;
    while ((pending = mmq_calls_first(calls)) != NULL) {
        mmq_calls_remove(calls, pending);
    }
    mmq_heap_clear(&calls->timers);
}

/* Finds a slot that is free, among twice as many as there are calls: a client with few calls keeps
 * to the beginning of its table. There are more slots than calls in any case. */
static uint64_t make_id(mmq_calls *calls)
{
    while (calls->reach < MMQ_CALLS_SLOTS && calls->reach <= 2 * calls->timers.count) {
        calls->reach *= 2;
    }
    do {
        calls->serial++;
    } while (calls->slots[calls->serial % calls->reach] != NULL);
    return calls->serial * MMQ_CALLS_SLOTS + calls->serial % calls->reach;
}

static mmq_pending *copy_call(const mmq_call *call)
{
    size_t service_size = strlen(call->service) + 1;
    mmq_pending *pending = calloc(1, sizeof *pending + service_size + call->args_size);
    if (pending == NULL) {
        return NULL;
    }
    memcpy(pending->bytes, call->service, service_size);
    if (call->args_size > 0) {
        memcpy(pending->bytes + service_size, call->args, call->args_size);
    }
    mmq_heap_item_init(&pending->timer);
    pending->service = (const char *)pending->bytes;
    pending->args = pending->bytes + service_size;
    pending->args_size = call->args_size;
    pending->args_count = call->args_count;
    pending->retry = call->retry;
    pending->party = call->party;
    pending->answer = call->answer;
    pending->context = call->context;
    return pending;
}

mmq_pending *mmq_calls_add(mmq_calls *calls, const mmq_call *call, mmq_why *why)
{
    const size_t count = calls->timers.count;
    if (count == MMQ_CALLS_MAX || call->args_size > MMQ_CALLS_BYTES_MAX - calls->bytes) {
        (void)mmq_fail(why, MMQ_EBUSY, "too many requests are under way");
        return NULL;
    }
    mmq_pending *pending = copy_call(call);
    if (pending == NULL || mmq_heap_reserve(&calls->timers, count + 1) != MMQ_OK) {
        free(pending);
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the request");
        return NULL;
    }
    pending->handle = pending->id = make_id(calls);
    calls->slots[pending->id % MMQ_CALLS_SLOTS] = pending;
    mmq_heap_put(&calls->timers, &pending->timer, 0);
    calls->bytes += pending->args_size;
    return pending;
}

static mmq_calls_lane *lane_of(mmq_calls *calls, const mmq_pending *pending)
{
    return &calls->lanes[pending->party == 0 ? 0 : 1 + pending->party % (MMQ_CALLS_LANES - 1)];
}

static void enter_lane(mmq_calls *calls, mmq_pending *pending)
{
    mmq_calls_lane *lane = lane_of(calls, pending);
    if (TAILQ_EMPTY(&lane->calls) && pending->party != 0) {
        TAILQ_INSERT_TAIL(&calls->turns, lane, turn);
    }
    TAILQ_INSERT_TAIL(&lane->calls, pending, link);
}

/* The lane has had its turn. */
static void leave_lane(mmq_calls *calls, mmq_pending *pending)
{
    mmq_calls_lane *lane = lane_of(calls, pending);
    TAILQ_REMOVE(&lane->calls, pending, link);
    if (pending->party == 0) {
        return;
    }
    TAILQ_REMOVE(&calls->turns, lane, turn);
    if (!TAILQ_EMPTY(&lane->calls)) {
        TAILQ_INSERT_TAIL(&calls->turns, lane, turn);
    }
}

static void leave_state(mmq_calls *calls, mmq_pending *pending)
{
    if (pending->state == MMQ_CALL_UNSENT) {
        leave_lane(calls, pending);
    } else if (pending->state == MMQ_CALL_SENT) {
        calls->sent -= pending->party != 0;
        if (pending->mmi) {
            TAILQ_REMOVE(&calls->mmi, pending, link);
        }
    }
}

static void enter_state(mmq_calls *calls, mmq_pending *pending)
{
    if (pending->state == MMQ_CALL_UNSENT) {
        enter_lane(calls, pending);
    } else if (pending->state == MMQ_CALL_SENT) {
        calls->sent += pending->party != 0;
        if (pending->mmi) {
            TAILQ_INSERT_TAIL(&calls->mmi, pending, link);
        }
    }
}

void mmq_calls_remove(mmq_calls *calls, mmq_pending *pending)
{
    CHECK(calls->slots[pending->id % MMQ_CALLS_SLOTS] == pending);
    leave_state(calls, pending);
    calls->slots[pending->id % MMQ_CALLS_SLOTS] = NULL;
    calls->bytes -= pending->args_size;
    mmq_heap_remove(&calls->timers, &pending->timer);
    free(pending);
}

void mmq_calls_set_state(mmq_calls *calls, mmq_pending *pending, mmq_call_state state)
{
    leave_state(calls, pending);
    pending->state = state;
    enter_state(calls, pending);
}

mmq_pending *mmq_calls_next(const mmq_calls *calls)
{
    mmq_pending *pending = TAILQ_FIRST(&calls->lanes[0].calls);
    if (pending != NULL || TAILQ_EMPTY(&calls->turns) || calls->sent >= calls->window) {
        return pending;
    }
    return TAILQ_FIRST(&TAILQ_FIRST(&calls->turns)->calls);
}

void mmq_calls_set_due(mmq_calls *calls, mmq_pending *pending, int64_t due_ns)
{
    mmq_heap_put(&calls->timers, &pending->timer, due_ns);
}

void mmq_calls_renew(mmq_calls *calls, mmq_pending *pending)
{
    pending->id = ++calls->serial * MMQ_CALLS_SLOTS + pending->id % MMQ_CALLS_SLOTS;
}

mmq_pending *mmq_calls_by_id(const mmq_calls *calls, uint64_t id)
{
    mmq_pending *pending = calls->slots[id % MMQ_CALLS_SLOTS];
    return pending != NULL && pending->id == id ? pending : NULL;
}

mmq_pending *mmq_calls_by_handle(const mmq_calls *calls, uint64_t handle)
{
    mmq_pending *pending = calls->slots[handle % MMQ_CALLS_SLOTS];
    return pending != NULL && pending->handle == handle ? pending : NULL;
}

mmq_pending *mmq_calls_by_mmi(const mmq_calls *calls, const char *service, size_t size)
{
    mmq_pending *pending;
    TAILQ_FOREACH(pending, &calls->mmi, link)
    {
        if (strlen(pending->service) == size && memcmp(pending->service, service, size) == 0) {
            return pending;
        }
    }
    return NULL;
}

mmq_pending *mmq_calls_first(const mmq_calls *calls)
{
    mmq_heap_item *first = mmq_heap_first(&calls->timers);
    return first != NULL ? MMQ_OF(first, mmq_pending, timer) : NULL;
}
