/* Callers: clients, as far as something is under way for them.
 *
 * Invariants: BLOCKED if and only if the outbox holds something; then its lanes are parked, so that
 * nothing more is dispatched for who does not read. What the outbox holds is bounded in bytes and
 * time; past either, parts of streams go and one 503 a stream stays. */
#include "broker/state.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

/* An answer that waits. */
typedef struct waiting {
    mmq_link link; /* in caller->outbox */
    mmq_answer_kind kind;
    mmq_message message;
    mmq_message *instead; /* of a worker's FINAL: the 503 that takes its place; else NULL */
    size_t bytes;
} waiting;

enum { FRAME_BYTES = 256 * 1024 }; /* of a page, usually */

static const char too_slow[] = "the client read too slowly";

mmq_caller *mmq_caller_get(mmq_core *core, const mmq_peer *peer)
{
    mmq_table_item *item = mmq_table_find(&core->callers, peer->key, mmq_peer_key_size(peer));
    if (item != NULL) {
        return MMQ_OF(item, mmq_caller, item);
    }
    mmq_caller *caller = calloc(1, sizeof *caller);
    if (caller == NULL) {
        return NULL;
    }
    caller->core = core;
    caller->peer = *peer;
    caller->state = MMQ_CALLER_IDLE;
    mmq_list_init(&caller->jobs);
    mmq_list_init(&caller->lanes);
    mmq_list_init(&caller->outbox);
    mmq_table_add(&core->callers, &caller->item, caller->peer.key, mmq_peer_key_size(peer));
    mmq_list_push_back(&core->callers_in[MMQ_CALLER_IDLE], &caller->link);
    return caller;
}

static void set_state(mmq_caller *caller, mmq_caller_state to)
{
    mmq_caller_state from = caller->state;
    CHECK(from != MMQ_CALLER_DEAD);
    if (from == to) {
        return;
    }
    mmq_list_remove(&caller->link);
    mmq_list_push_back(&caller->core->callers_in[to], &caller->link);
    caller->state = to;
    if (to == MMQ_CALLER_BLOCKED) {
        caller->blocked_ns = caller->core->now_ns;
    }
    if (to == MMQ_CALLER_DEAD) {
        mmq_table_remove(&caller->core->callers, &caller->item);
    } else if (to == MMQ_CALLER_BLOCKED || from == MMQ_CALLER_BLOCKED) {
        MMQ_LIST_EACH(at, &caller->lanes)
        {
            mmq_lane_park(MMQ_OF(at, mmq_lane, caller_link), to == MMQ_CALLER_BLOCKED);
        }
    }
}

void mmq_caller_update(mmq_caller *caller)
{
    if (caller->state == MMQ_CALLER_DEAD) {
        return;
    }
    set_state(caller, !mmq_list_empty(&caller->outbox) ? MMQ_CALLER_BLOCKED
                      : !mmq_list_empty(&caller->jobs) ? MMQ_CALLER_BUSY
                                                       : MMQ_CALLER_IDLE);
}

static void remove_waiting(mmq_caller *caller, waiting *answer)
{
    mmq_list_remove(&answer->link);
    caller->outbox_bytes -= answer->bytes;
    caller->core->bytes -= answer->bytes;
    caller->outbox_kept -= answer->kind == MMQ_ANSWER_OURS;
    mmq_message_clear(&answer->message);
    if (answer->instead != NULL) {
        mmq_message_clear(answer->instead);
        free(answer->instead);
    }
    free(answer);
}

static void clear_outbox(mmq_caller *caller)
{
    while (!mmq_list_empty(&caller->outbox)) {
        remove_waiting(caller, MMQ_OF(caller->outbox.next, waiting, link));
        caller->core->dropped[MMQ_DROP_GONE]++;
    }
}

void mmq_caller_free(mmq_caller *caller)
{
    if (caller->state != MMQ_CALLER_DEAD) {
        set_state(caller, MMQ_CALLER_DEAD);
    }
    clear_outbox(caller);
    mmq_list_remove(&caller->link);
    free(caller);
}

void mmq_caller_kill(mmq_caller *caller)
{
    set_state(caller, MMQ_CALLER_DEAD);
    clear_outbox(caller);
    while (!mmq_list_empty(&caller->jobs)) {
        mmq_job *job = MMQ_OF(caller->jobs.next, mmq_job, caller_link);
        mmq_job_set_state(job, job->state == MMQ_JOB_HELD ? MMQ_JOB_FORGOTTEN : MMQ_JOB_DONE);
    }
}

static mmq_err send_to(mmq_caller *caller, mmq_message *message)
{
    mmq_core_settings *settings = &caller->core->settings;
    size_t bytes = mmq_message_size(message);
    mmq_err err = settings->send(settings->context, mmq_peer_side(&caller->peer), message);
    if (err != MMQ_OK && err != MMQ_EAGAIN) {
        caller->core->dropped[MMQ_DROP_GONE]++;
        mmq_caller_kill(caller);
    }
    caller->sent_bytes += err == MMQ_OK ? bytes : 0;
    return err;
}

size_t mmq_caller_piped(const mmq_caller *caller)
{
    const size_t most = (size_t)MMQ_CLIENT_HWM * FRAME_BYTES;
    return caller->sent_bytes < most ? caller->sent_bytes : most;
}

/* Makes the 503 that stays if the FINAL has to go; NULL if there is no memory for it. */
static mmq_message *make_instead(mmq_caller *caller, const mmq_job *job)
{
    CHECK(job != NULL);
    const mmq_header header = {.id = job->id,
                               .id_size = job->id_size,
                               .status = 503,
                               .rows = -1,
                               .seq = (int64_t)job->partials,
                               .error = {too_slow, sizeof too_slow - 1}};
    mmq_message *message = calloc(1, sizeof *message);
    if (message == NULL) {
        return NULL;
    }
    mmq_message_init(message);
    if (!mmq_job_make_final(message, &caller->peer, job->service->name, job->service->name_size,
                            &header)) {
        mmq_message_clear(message);
        free(message);
        return NULL;
    }
    return message;
}

static void count_waiting(mmq_caller *caller, waiting *answer)
{
    answer->bytes = sizeof *answer + (answer->instead != NULL ? sizeof *answer->instead : 0) +
                    mmq_message_size(&answer->message);
    caller->outbox_bytes += answer->bytes;
    caller->core->bytes += answer->bytes;
    caller->outbox_kept += answer->kind == MMQ_ANSWER_OURS;
}

/* False if it was thrown away. */
static bool keep_answer(mmq_caller *caller, mmq_message *message, mmq_answer_kind kind,
                        const mmq_job *job)
{
    const mmq_core *core = caller->core;
    bool over = core->bytes > core->settings.bytes_max && !caller->dropping;
    bool full = kind == MMQ_ANSWER_OURS && (caller->outbox_kept >= MMQ_OUTBOX_KEPT || over);
    waiting *answer = full ? NULL : calloc(1, sizeof *answer);
    if (answer == NULL) {
        caller->core->dropped[MMQ_DROP_SLOW]++;
        mmq_message_clear(message);
        return false;
    }
    answer->kind = kind;
    mmq_message_init(&answer->message);
    mmq_message_move(&answer->message, message);
    if (kind == MMQ_ANSWER_FINAL) {
        answer->instead = make_instead(caller, job);
        answer->kind = answer->instead != NULL ? kind : MMQ_ANSWER_PART;
    }
    count_waiting(caller, answer);
    mmq_list_push_back(&caller->outbox, &answer->link);
    mmq_caller_update(caller);
    return true;
}

/* Takes a part of a stream out of the outbox; of a FINAL the 503 stays. */
static void drop_waiting(mmq_caller *caller, waiting *answer)
{
    caller->core->dropped[MMQ_DROP_SLOW]++;
    if (answer->kind == MMQ_ANSWER_PART || caller->outbox_kept >= MMQ_OUTBOX_KEPT) {
        remove_waiting(caller, answer);
        return;
    }
    caller->outbox_bytes -= answer->bytes;
    caller->core->bytes -= answer->bytes;
    mmq_message_move(&answer->message, answer->instead);
    free(answer->instead); /* empty now */
    answer->instead = NULL;
    answer->kind = MMQ_ANSWER_OURS;
    count_waiting(caller, answer);
}

/* Streams that have begun lose parts: each ends in a 503. Those come first, while the outbox is not
 * empty, so that nothing is sent here and the caller cannot die. */
static void drop_streams(mmq_caller *caller)
{
    caller->dropping = true;
    MMQ_LIST_EACH(job_at, &caller->jobs)
    {
        mmq_job *job = MMQ_OF(job_at, mmq_job, caller_link);
        if (job->state == MMQ_JOB_HELD && job->partials > 0) {
            mmq_job_fail(job, MMQ_JOB_FORGOTTEN, 503, too_slow);
        }
    }
    MMQ_LIST_EACH(at, &caller->outbox)
    {
        waiting *answer = MMQ_OF(at, waiting, link);
        if (answer->kind != MMQ_ANSWER_OURS) {
            drop_waiting(caller, answer);
        }
    }
    caller->dropping = false;
    caller->blocked_ns = caller->core->now_ns;
    mmq_caller_update(caller);
}

static bool is_over(const mmq_caller *caller)
{
    return caller->outbox_bytes > MMQ_OUTBOX_MAX ||
           caller->core->bytes > caller->core->settings.bytes_max ||
           caller->core->now_ns - caller->blocked_ns > MMQ_OUTBOX_NS;
}

void mmq_caller_deliver(mmq_caller *caller, mmq_message *message, mmq_answer_kind kind,
                        mmq_job *job)
{
    mmq_err err = MMQ_EAGAIN;
    if (caller->state == MMQ_CALLER_DEAD) {
        caller->core->dropped[MMQ_DROP_GONE]++;
        err = MMQ_EUNREACHABLE;
    } else if (mmq_list_empty(&caller->outbox)) {
        err = send_to(caller, message);
    }
    if (err != MMQ_EAGAIN) {
        mmq_message_clear(message);
        return;
    }
    bool kept = keep_answer(caller, message, kind, job);
    if (!kept && job != NULL && job->state == MMQ_JOB_HELD) {
        mmq_job_fail(job, MMQ_JOB_FORGOTTEN, 503, "the broker has no memory left");
    } else if (kept && kind != MMQ_ANSWER_OURS && is_over(caller)) {
        drop_streams(caller);
    }
}

void mmq_caller_refuse(mmq_caller *caller, const mmq_envelope *envelope, const mmq_routing *routing,
                       int status, const char *error)
{
    const mmq_header header = {.id = routing->id,
                               .id_size = routing->id_size,
                               .status = status,
                               .rows = -1,
                               .seq = 0,
                               .error = {error, strlen(error)}};
    if (caller->state == MMQ_CALLER_BLOCKED) { /* a flood fills the outbox between two ticks */
        mmq_caller_retry(caller);
    }
    mmq_message final;
    mmq_message_init(&final);
    if (mmq_job_make_final(&final, &caller->peer, envelope->service, envelope->service_size,
                           &header)) {
        mmq_caller_deliver(caller, &final, MMQ_ANSWER_OURS, NULL);
    }
    mmq_message_clear(&final);
}

void mmq_caller_retry(mmq_caller *caller)
{
    while (!mmq_list_empty(&caller->outbox)) {
        waiting *answer = MMQ_OF(caller->outbox.next, waiting, link);
        mmq_err err = send_to(caller, &answer->message);
        if (err == MMQ_EAGAIN) {
            if (is_over(caller)) {
                drop_streams(caller);
            }
            return;
        }
        if (err != MMQ_OK) {
            return; /* it is dead, its outbox gone */
        }
        remove_waiting(caller, answer);
    }
    mmq_caller_update(caller);
}
