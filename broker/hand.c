/* Hands: workers.
 *
 *     NEW -> FREE <-> FULL     FREE -> BLOCKED -> FREE     any -> DEAD
 *
 * Invariant: exactly the FREE ones are in their service's heap of workers with room, keyed by load
 * and then by when they were last used.
 *
 * A worker that fails may be faster than those that work, so load alone would give it the most.
 * Those that failed stand behind all others, but for one job now and then, by which it shows that
 * they are well again. */
#include "broker/state.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/digest.h"
#include "lib/log.h"

#define BIT(state_) (1U << (state_))
#define FAILED_KEY  (INT64_C(1) << 62) /* behind those of workers that are well */

enum { TRY_AFTER_S = 1, FAILURES_MAX = 4 }; /* that, 2, 4 and then always 8 s */

static const unsigned next_states[MMQ_HAND_STATES] = {
    [MMQ_HAND_NEW] = BIT(MMQ_HAND_FREE),
    [MMQ_HAND_FREE] =
        BIT(MMQ_HAND_FREE) | BIT(MMQ_HAND_FULL) | BIT(MMQ_HAND_BLOCKED) | BIT(MMQ_HAND_DEAD),
    [MMQ_HAND_FULL] = BIT(MMQ_HAND_FREE) | BIT(MMQ_HAND_FULL) | BIT(MMQ_HAND_DEAD),
    [MMQ_HAND_BLOCKED] = BIT(MMQ_HAND_FREE) | BIT(MMQ_HAND_DEAD),
};

mmq_hand *mmq_hand_find(mmq_core *core, const mmq_peer *peer)
{
    mmq_table_item *item = mmq_table_find(&core->hands, peer->key, mmq_peer_key_size(peer));
    return item != NULL ? MMQ_OF(item, mmq_hand, item) : NULL;
}

static int64_t rank(const mmq_hand *hand)
{
    int64_t key = (int64_t)hand->held << 48 | (int64_t)(hand->used & UINT64_C(0xffffffffffff));
    if (hand->failures > 0) {
        return hand->tried ? INT64_MIN : FAILED_KEY + key;
    }
    return hand->service->gathers ? -key : key;
}

static void put_ready(mmq_hand *hand)
{
    mmq_heap_put(&hand->service->ready, &hand->ready, rank(hand));
    mmq_service_mark(hand->service);
}

static void set_state(mmq_hand *hand, mmq_hand_state to)
{
    CHECK((next_states[hand->state] & BIT(to)) != 0);
    hand->state = to;
    mmq_list_remove(&hand->link);
    if (to == MMQ_HAND_FREE) {
        put_ready(hand);
    } else {
        mmq_heap_remove(&hand->service->ready, &hand->ready);
    }
    if (to == MMQ_HAND_BLOCKED) {
        mmq_list_push_back(&hand->core->blocked_hands, &hand->link);
    } else if (to == MMQ_HAND_DEAD) {
        mmq_list_push_back(&hand->core->dead_hands, &hand->link);
    }
}

void mmq_hand_update(mmq_hand *hand)
{
    if (hand->state == MMQ_HAND_FREE || hand->state == MMQ_HAND_FULL) {
        set_state(hand, hand->held < hand->capacity ? MMQ_HAND_FREE : MMQ_HAND_FULL);
    }
}

/* When it is tried again. */
static void put_off(mmq_hand *hand)
{
    hand->failures += hand->failures < FAILURES_MAX ? 1 : 0;
    hand->tried = false;
    hand->try_ns = hand->core->now_ns + (TRY_AFTER_S * MMQ_NS_PER_S << (hand->failures - 1));
}

void mmq_hand_judge(mmq_hand *hand, bool well)
{
    if (well == (hand->failures == 0)) {
        return;
    }
    if (well) {
        hand->failures = 0;
        hand->tried = false;
    } else {
        put_off(hand);
    }
    mmq_hand_update(hand);
}

void mmq_hand_unblock(mmq_hand *hand)
{
    set_state(hand, MMQ_HAND_FREE);
}

static int64_t beat_interval(const mmq_hand *hand)
{
    return hand->plain ? MMQ_PLAIN_BEAT_NS : MMQ_BEAT_NS;
}

/* When to give it up; a stock worker that works is given until its request's deadline. */
static int64_t patience_end(const mmq_hand *hand)
{
    if (!hand->plain) {
        return hand->heard_ns + MMQ_LIVENESS_NS;
    }
    bool works = !mmq_list_empty(&hand->jobs) &&
                 mmq_heap_has(&MMQ_OF(hand->jobs.next, mmq_job, link)->deadline);
    return works ? INT64_MAX : hand->heard_ns + MMQ_PLAIN_LIVENESS_NS;
}

static void set_timer(mmq_hand *hand)
{
    int64_t end_ns = patience_end(hand);
    mmq_heap_put(&hand->core->timers, &hand->timer,
                 end_ns < hand->beat_ns ? end_ns : hand->beat_ns);
}

static void init_hand(mmq_hand *hand, mmq_core *core, const mmq_peer *peer,
                      const mmq_envelope *ready)
{
    hand->core = core;
    hand->peer = *peer;
    hand->capacity = ready->capacity;
    hand->plain = ready->plain;
    hand->number = ++core->registered;
    hand->ready_ns = core->now_ns;
    hand->heard_ns = core->now_ns;
    hand->beat_ns = core->now_ns + beat_interval(hand);
    mmq_random(&hand->serial, sizeof hand->serial);
    mmq_list_init(&hand->link);
    mmq_list_init(&hand->jobs);
    mmq_heap_item_init(&hand->ready);
    mmq_heap_item_init(&hand->timer);
}

mmq_err mmq_hand_register(mmq_core *core, const mmq_peer *peer, const mmq_envelope *ready,
                          mmq_why *why)
{
    if (core->hands.count >= core->settings.workers_max) {
        return mmq_fail(why, MMQ_EBUSY, "too many workers");
    }
    mmq_service *service = mmq_service_get(core, ready->service, ready->service_size);
    if (service == NULL) {
        return mmq_fail(why, MMQ_EBUSY, "too many services");
    }
    mmq_hand *hand = calloc(1, sizeof *hand);
    if (hand == NULL || mmq_heap_reserve(&core->timers, core->hands.count + 1) != MMQ_OK ||
        mmq_heap_reserve(&service->ready, service->hand_count + 1) != MMQ_OK) {
        free(hand);
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a worker");
    }
    init_hand(hand, core, peer, ready);
    hand->service = service;
    service->hand_count++;
    service->capacity += hand->capacity;
    mmq_list_push_back(&service->hands, &hand->all);
    mmq_table_add(&core->hands, &hand->item, hand->peer.key, mmq_peer_key_size(peer));
    set_state(hand, MMQ_HAND_FREE);
    set_timer(hand);
    mmq_log(MMQ_INFO, "worker ready", MMQ_S("service", service->name),
            MMQ_I("capacity", hand->capacity), MMQ_I("workers", service->hand_count));
    return MMQ_OK;
}

void mmq_hand_free(mmq_hand *hand)
{
    mmq_list_remove(&hand->link);
    free(hand);
}

static void make_token(const mmq_hand *hand, uint8_t out[MMQ_TOKEN_SIZE])
{
    memcpy(out, &hand->serial, sizeof hand->serial);
    memcpy(out + sizeof hand->serial, &hand->dispatches, sizeof hand->dispatches);
}

/* The body's frames are shared: they may be needed for another worker. */
static mmq_err append_body(mmq_message *out, mmq_job *job)
{
    mmq_err err = MMQ_OK;
    for (size_t i = 0; i < job->body.count && err == MMQ_OK; i++) {
        err = mmq_message_append_share(out, &job->body.frames[i]);
    }
    return err;
}

static mmq_err make_request(mmq_message *out, const mmq_hand *hand, mmq_job *job)
{
    mmq_err err = mmq_peer_address(out, &hand->peer);
    if (err == MMQ_OK) {
        err = mmq_envelope_begin_worker(out, MMQ_WORKER_REQUEST, job->token, sizeof job->token);
    }
    return err == MMQ_OK ? append_body(out, job) : MMQ_ENOMEM;
}

mmq_err mmq_hand_give(mmq_hand *hand, mmq_job *job)
{
    mmq_core *core = hand->core;
    mmq_message request;
    mmq_message_init(&request);
    make_token(hand, job->token);
    mmq_err err = make_request(&request, hand, job) == MMQ_OK ? MMQ_OK : MMQ_ENOMEM;
    if (err == MMQ_OK) {
        err = core->settings.send(core->settings.context, mmq_peer_side(&hand->peer), &request);
        if (err == MMQ_EAGAIN) {
            set_state(hand, MMQ_HAND_BLOCKED);
        } else if (err != MMQ_OK) {
            err = MMQ_EUNREACHABLE;
            mmq_hand_kill(hand, "it cannot be reached");
        }
    }
    mmq_message_clear(&request);
    if (err != MMQ_OK) {
        return err;
    }
    hand->dispatches++;
    hand->used = ++core->uses;
    if (hand->tried) {
        put_off(hand);
    }
    job->hand = hand;
    job->tries++;
    mmq_job_set_state(job, MMQ_JOB_HELD);
    if (!job->service->redispatch) {
        mmq_message_clear(&job->body);
    }
    return MMQ_OK;
}

static mmq_err send_command(mmq_core *core, const mmq_peer *peer, mmq_worker_command command)
{
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err = mmq_peer_address(&message, peer);
    if (err == MMQ_OK) {
        err = mmq_envelope_begin_worker(&message, command, NULL, 0);
    }
    if (err == MMQ_OK) {
        err = core->settings.send(core->settings.context, mmq_peer_side(peer), &message);
    }
    mmq_message_clear(&message);
    return err;
}

void mmq_hand_send_disconnect(mmq_core *core, const mmq_peer *peer)
{
    (void)send_command(core, peer, MMQ_WORKER_DISCONNECT); /* a peer that is gone knows it */
}

void mmq_hand_beat(mmq_hand *hand)
{
    mmq_link *first = hand->jobs.next;
    if (hand->plain && first != &hand->jobs) {
        mmq_job *job = MMQ_OF(first, mmq_job, link);
        if (job->state == MMQ_JOB_FORGOTTEN && !mmq_heap_has(&job->deadline)) {
            mmq_job_set_state(job, MMQ_JOB_DONE);
        }
    }
}

void mmq_hand_tick(mmq_hand *hand)
{
    mmq_core *core = hand->core;
    if (core->now_ns >= patience_end(hand)) {
        mmq_hand_kill(hand, "it is silent");
        return;
    }
    if (core->now_ns >= hand->beat_ns) {
        if (send_command(core, &hand->peer, MMQ_WORKER_HEARTBEAT) == MMQ_EUNREACHABLE) {
            mmq_hand_kill(hand, "it cannot be reached");
            return;
        }
        hand->beat_ns = core->now_ns + beat_interval(hand);
    }
    if (hand->failures > 0 && !hand->tried && core->now_ns >= hand->try_ns) {
        hand->tried = true;
        mmq_hand_update(hand);
    }
    set_timer(hand);
}

void mmq_hand_probe(mmq_hand *hand)
{
    hand->beat_ns = hand->core->now_ns;
    set_timer(hand);
}

void mmq_hand_kill(mmq_hand *hand, const char *reason)
{
    mmq_core *core = hand->core;
    mmq_service *service = hand->service;
    set_state(hand, MMQ_HAND_DEAD);
    mmq_table_remove(&core->hands, &hand->item);
    mmq_list_remove(&hand->all);
    mmq_heap_remove(&core->timers, &hand->timer);
    if (--service->hand_count == 0) {
        service->pace_since_ns = 0; /* an outage is no pace */
    }
    service->capacity -= hand->capacity;
    mmq_log(MMQ_INFO, "worker gone", MMQ_S("service", service->name), MMQ_S("reason", reason),
            MMQ_I("held", hand->held), MMQ_I("workers", service->hand_count));
    while (!mmq_list_empty(&hand->jobs)) { /* newest first: each goes to the front of its lane */
        mmq_job_return(MMQ_OF(hand->jobs.prev, mmq_job, link));
    }
    mmq_service_mark(service);
}

void mmq_hand_dismiss(mmq_hand *hand, const char *reason)
{
    mmq_hand_send_disconnect(hand->core, &hand->peer);
    mmq_hand_kill(hand, reason);
}
