/* Jobs: requests on their way.
 *
 *     NEW -> QUEUED <-> HELD -> FORGOTTEN -> DONE      (QUEUED and HELD -> DONE too)
 *
 * Invariants: QUEUED stands in exactly one lane, HELD and FORGOTTEN in exactly one hand's list and
 * in core->tokens; QUEUED and HELD have a caller and a lane, others none. Each job's client gets
 * one FINAL: whoever delivers it detaches the job from its caller first. */
#include "broker/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

const unsigned mmq_timing_bounds_us[MMQ_TIMING_BUCKETS] = {
    50,      100,      200,      500,       1000,
    2000,    5000,     10000,    20000,     50000,
    100000,  200000,   500000,   1000000,   2000000,
    5000000, 10000000, 30000000, 100000000, MMQ_TIMEOUT_MAX_MS * 1000};

enum {
    COPIED_MAX = 8192, /* of libzmq's receive buffer; what is larger has one of its own */
    HEADER_MAX = 8192, /* of a FINAL's header: ours are smaller */
};

#define BIT(state_) (1U << (state_))

static const unsigned next_states[MMQ_JOB_STATES] = {
    [MMQ_JOB_NEW] = BIT(MMQ_JOB_QUEUED) | BIT(MMQ_JOB_DONE),
    [MMQ_JOB_QUEUED] = BIT(MMQ_JOB_HELD) | BIT(MMQ_JOB_DONE),
    [MMQ_JOB_HELD] = BIT(MMQ_JOB_QUEUED) | BIT(MMQ_JOB_FORGOTTEN) | BIT(MMQ_JOB_DONE),
    [MMQ_JOB_FORGOTTEN] = BIT(MMQ_JOB_DONE),
};

size_t mmq_job_body_bytes(const mmq_message *message, size_t body)
{
    size_t bytes = 0;
    for (size_t i = body; i < message->count; i++) {
        bytes += mmq_frame_size(&message->frames[i]);
    }
    return bytes;
}

/* Small frames are copied: libzmq hands out parts of its receive buffer, 18 KiB that each would
 * keep from being used again while its request waits. */
static bool take_body(mmq_job *job, mmq_message *message, size_t body)
{
    mmq_err err = MMQ_OK;
    for (size_t i = body; i < message->count && err == MMQ_OK; i++) {
        mmq_frame *frame = &message->frames[i];
        size_t size = mmq_frame_size(frame);
        job->bytes += size;
        err = size <= COPIED_MAX ? mmq_message_append_copy(&job->body, mmq_frame_data(frame), size)
                                 : mmq_message_append(&job->body, frame);
    }
    return err == MMQ_OK;
}

mmq_job *mmq_job_new(mmq_service *service, mmq_caller *caller, mmq_message *message, size_t body,
                     const mmq_routing *routing)
{
    mmq_core *core = service->core;
    size_t jobs = core->deadlines.count + 1;
    mmq_job *job = calloc(1, sizeof *job);
    if (job == NULL || mmq_heap_reserve(&core->deadlines, jobs) != MMQ_OK) {
        free(job);
        return NULL;
    }
    job->core = core;
    job->service = service;
    job->caller = caller;
    job->received_ns = core->now_ns;
    job->id_size = routing->id_size;
    memcpy(job->id, routing->id, routing->id_size);
    int64_t deadline_ns = core->now_ns + (int64_t)routing->timeout_ms * MMQ_NS_PER_MS;
    mmq_list_init(&job->link);
    mmq_list_init(&job->caller_link);
    mmq_heap_item_init(&job->deadline);
    mmq_message_init(&job->body);
    if (!take_body(job, message, body)) { /* borrowed routing is not used from here on */
        mmq_job_free(job);
        return NULL;
    }
    core->bytes += sizeof *job + job->bytes;
    core->jobs_in[MMQ_JOB_NEW]++;
    mmq_heap_put(&core->deadlines, &job->deadline, deadline_ns);
    mmq_list_push_back(&caller->jobs, &job->caller_link);
    mmq_caller_update(caller);
    return job;
}

void mmq_job_free(mmq_job *job)
{
    mmq_message_clear(&job->body);
    free(job);
}

/* Nobody waits for the answer any more: neither the caller nor the body is needed. */
static void detach_caller(mmq_job *job)
{
    mmq_caller *caller = job->caller;
    mmq_list_remove(&job->caller_link);
    mmq_message_clear(&job->body);
    job->core->bytes -= job->bytes;
    job->bytes = 0;
    job->caller = NULL;
    if (caller != NULL) {
        mmq_caller_update(caller);
    }
}

static void count_time(mmq_timing *timing, int64_t span_ns)
{
    uint64_t span_us = span_ns > 0 ? (uint64_t)span_ns / 1000 : 0;
    size_t i = 0;
    while (i + 1 < MMQ_TIMING_BUCKETS && span_us > mmq_timing_bounds_us[i]) {
        i++;
    }
    timing->counts[i]++;
    timing->sum_us += span_us;
}

/* It leaves the queue. One that comes back from a lost worker is not counted again. */
static void count_wait(mmq_job *job, mmq_job_state to)
{
    const unsigned first = to == MMQ_JOB_HELD ? 1 : 0;
    if (job->tries == first) {
        count_time(&job->service->waited, job->core->now_ns - job->received_ns);
    }
}

static void leave_hand(mmq_job *job)
{
    mmq_hand *hand = job->hand;
    mmq_table_remove(&job->core->tokens, &job->token_item);
    mmq_list_remove(&job->link);
    hand->held--;
    job->service->held--;
    job->hand = NULL;
    mmq_hand_update(hand);
}

static void enter_hand(mmq_job *job)
{
    mmq_hand *hand = job->hand;
    CHECK(hand != NULL);
    mmq_table_add(&job->core->tokens, &job->token_item, job->token, sizeof job->token);
    mmq_list_push_back(&hand->jobs, &job->link);
    hand->held++;
    job->service->held++;
    job->given_ns = job->core->now_ns;
    mmq_hand_update(hand);
}

static void enter_done(mmq_job *job)
{
    mmq_heap_remove(&job->core->deadlines, &job->deadline);
    job->core->bytes -= sizeof *job;
    mmq_list_push_back(&job->core->dead_jobs, &job->link);
    mmq_service_mark(job->service);
}

/* Its place in the lane; a job that is neither QUEUED nor HELD has none. */
static void change_lane(mmq_job *job, mmq_job_state from, mmq_job_state to)
{
    mmq_lane *lane = job->lane;
    if (from == MMQ_JOB_QUEUED) {
        mmq_lane_take(lane, job);
    } else if (from == MMQ_JOB_HELD) {
        lane->held--;
        mmq_service_mark(job->service); /* its client may hold another one */
    }
    if (to == MMQ_JOB_QUEUED) {
        mmq_lane_put(lane, job, from == MMQ_JOB_HELD);
    } else if (to == MMQ_JOB_HELD) {
        lane->held++;
    } else {
        job->lane = NULL;
    }
    if (lane != NULL) {
        mmq_lane_settle(lane);
    }
}

void mmq_job_set_state(mmq_job *job, mmq_job_state to)
{
    mmq_job_state from = job->state;
    CHECK((next_states[from] & BIT(to)) != 0);
    bool was_held = from == MMQ_JOB_HELD || from == MMQ_JOB_FORGOTTEN;
    job->core->jobs_in[from]--;
    job->core->jobs_in[to]++;
    job->state = to;
    if (was_held && to != MMQ_JOB_FORGOTTEN) {
        leave_hand(job);
    }
    if (from == MMQ_JOB_QUEUED) {
        count_wait(job, to);
    }
    change_lane(job, from, to);
    if (from != MMQ_JOB_FORGOTTEN && (to == MMQ_JOB_FORGOTTEN || to == MMQ_JOB_DONE)) {
        detach_caller(job);
    }
    if (to == MMQ_JOB_HELD) {
        enter_hand(job);
    } else if (to == MMQ_JOB_DONE) {
        enter_done(job);
    }
}

bool mmq_job_make_final(mmq_message *out, const mmq_peer *peer, const char *service, size_t size,
                        const mmq_header *header)
{
    mmq_frame frame;
    mmq_err err = mmq_peer_address(out, peer);
    if (err == MMQ_OK) {
        err = mmq_envelope_begin_client(out, MMQ_CLIENT_FINAL, service, size);
    }
    if (err == MMQ_OK) {
        err = mmq_header_final(&frame, header);
        err = err == MMQ_OK ? mmq_message_append(out, &frame) : err;
        mmq_frame_close(&frame);
    }
    if (err != MMQ_OK) {
        mmq_message_clear(out);
    }
    return err == MMQ_OK;
}

void mmq_job_fail(mmq_job *job, mmq_job_state then, int status, const char *error)
{
    mmq_service *service = job->service;
    mmq_caller *caller = job->caller;
    const mmq_header header = {.id = job->id,
                               .id_size = job->id_size,
                               .status = status,
                               .rows = -1,
                               .seq = (int64_t)job->partials,
                               .error = {error, strlen(error)}};
    mmq_message final;
    mmq_message_init(&final);
    bool made =
        mmq_job_make_final(&final, &caller->peer, service->name, service->name_size, &header);
    service->errors++;
    mmq_job_set_state(job, then);
    if (made) {
        mmq_caller_deliver(caller, &final, MMQ_ANSWER_OURS, job);
    }
    mmq_message_clear(&final);
}

void mmq_job_return(mmq_job *job)
{
    if (job->state == MMQ_JOB_FORGOTTEN) {
        mmq_job_set_state(job, MMQ_JOB_DONE);
        return;
    }
    if (!job->service->redispatch || job->partials > 0) {
        mmq_job_fail(job, MMQ_JOB_DONE, 503, "the worker was lost; it may have done the work");
        return;
    }
    if (job->tries >= MMQ_TRIES_MAX) {
        mmq_job_fail(job, MMQ_JOB_DONE, 500, "three workers were lost while they had this request");
        return;
    }
    job->service->redispatched++;
    mmq_job_set_state(job, MMQ_JOB_QUEUED);
}

/* The job stays with its worker, which has no room for another until it answers. A stock worker is
 * silent while it works: it is given up when its liveness is over. One that lives on but never
 * answers what came too late gets its room back after a while. */
static void expire_held(mmq_job *job)
{
    mmq_core *core = job->core;
    if (job->state == MMQ_JOB_HELD) {
        mmq_job_fail(job, MMQ_JOB_FORGOTTEN, 504, "the worker did not answer in time");
        mmq_hand_judge(job->hand, false);
    } else if (!job->hand->plain) {
        mmq_job_set_state(job, MMQ_JOB_DONE);
        return;
    }
    if (job->hand->plain) {
        mmq_heap_remove(&core->deadlines, &job->deadline);
        job->hand->heard_ns = core->now_ns;
    } else {
        mmq_heap_put(&core->deadlines, &job->deadline, core->now_ns + MMQ_FORGET_NS);
    }
}

void mmq_job_expire(mmq_job *job)
{
    if (job->state != MMQ_JOB_QUEUED) {
        expire_held(job);
    } else if (job->service->hand_count == 0) {
        char error[32 + MMQ_SERVICE_MAX];
        snprintf(error, sizeof error, "no worker serves %s", job->service->name);
        mmq_job_fail(job, MMQ_JOB_DONE, 503, error);
    } else {
        mmq_job_fail(job, MMQ_JOB_DONE, 504, "no worker was free in time");
    }
}

static void count_answer(mmq_job *job)
{
    int64_t held_ns = job->core->now_ns - job->given_ns;
    job->service->hold_ns += (held_ns - job->service->hold_ns) / 8;
    count_time(&job->service->took, job->core->now_ns - job->received_ns);
}

/* The worker's body, moved behind the client's envelope. */
static bool make_answer(const mmq_job *job, mmq_message *message, const mmq_envelope *envelope,
                        mmq_message *out)
{
    mmq_client_command command =
        envelope->command == MMQ_WORKER_PARTIAL ? MMQ_CLIENT_PARTIAL : MMQ_CLIENT_FINAL;
    const mmq_peer *peer = &job->caller->peer;
    mmq_err err = mmq_peer_address(out, peer);
    if (err == MMQ_OK) {
        err = mmq_envelope_begin_client(out, command, job->service->name, job->service->name_size);
    }
    for (size_t i = envelope->body; i < message->count && err == MMQ_OK; i++) {
        err = mmq_message_append(out, &message->frames[i]);
    }
    return err == MMQ_OK;
}

static void forward_partial(mmq_job *job, mmq_message *answer)
{
    job->partials++;
    job->service->partials++;
    mmq_message_clear(&job->body); /* it will not be dispatched again */
    mmq_caller_deliver(job->caller, answer, MMQ_ANSWER_PART, job);
}

static void forward_final(mmq_job *job, mmq_message *answer)
{
    mmq_caller *caller = job->caller;
    count_answer(job);
    mmq_job_set_state(job, MMQ_JOB_DONE);
    mmq_caller_deliver(caller, answer, MMQ_ANSWER_FINAL, job);
}

/* Does a FINAL say 503? That is all that is read of it: a worker whose store is away answers at
 * once, so by its load it would get the most. */
static bool says_unavailable(const mmq_message *message, const mmq_envelope *envelope)
{
    const mmq_frame *frame = &message->frames[envelope->body];
    mmq_header header;
    return envelope->body < message->count && mmq_frame_size(frame) <= HEADER_MAX &&
           mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &header) == MMQ_OK &&
           header.status == 503;
}

void mmq_job_answer(mmq_job *job, mmq_message *message, const mmq_envelope *envelope)
{
    bool final = envelope->command == MMQ_WORKER_FINAL;
    if (final) {
        mmq_hand_judge(job->hand, !says_unavailable(message, envelope));
    }
    size_t bytes = mmq_job_body_bytes(message, envelope->body);
    job->partial_bytes += final ? 0 : bytes;
    if (job->partial_bytes > MMQ_FRAME_LIMIT) {
        if (job->state == MMQ_JOB_HELD) {
            mmq_job_fail(job, MMQ_JOB_FORGOTTEN, 503, "the worker sent more than a page");
        }
        mmq_hand_dismiss(job->hand, "more PARTIALs than a page");
        return;
    }
    if (job->state == MMQ_JOB_FORGOTTEN) {
        job->core->dropped[MMQ_DROP_LATE]++;
        if (final) {
            mmq_job_set_state(job, MMQ_JOB_DONE);
        }
        return;
    }
    job->service->bytes_out += bytes;
    mmq_message answer;
    mmq_message_init(&answer);
    if (!make_answer(job, message, envelope, &answer)) {
        mmq_job_fail(job, final ? MMQ_JOB_DONE : MMQ_JOB_FORGOTTEN, 503,
                     "the broker has no memory left");
    } else if (final) {
        forward_final(job, &answer);
    } else {
        forward_partial(job, &answer);
    }
    mmq_message_clear(&answer);
}
