/* Entry points of the core: what came is checked here and handed to the objects; then services that
 * have something to do are served and ended objects are freed (settle). */
#include "broker/state.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/log.h"

#define COMPLAIN_NS MMQ_NS_PER_S
/* A tick so late means that we, not our workers, stood still. */
#define STALL_NS MMQ_NS_PER_S

/* libzmq tells of a lost connection before it lets go of it. */
enum { PROBES = 2 };

/* Frames of a body: before them a worker's message has one more than a client's. */
enum { BODY_FRAMES_MAX = MMQ_FRAMES_MAX - 5 };

const char *const mmq_drop_names[MMQ_DROP_COUNT] = {"malformed", "too_big", "late", "foreign",
                                                    "protocol",  "gone",    "slow", "denied"};

static void init_lists(mmq_core *core)
{
    mmq_list_init(&core->service_list);
    mmq_list_init(&core->dirty);
    for (size_t i = 0; i < MMQ_CALLER_STATES; i++) {
        mmq_list_init(&core->callers_in[i]);
    }
    mmq_list_init(&core->blocked_hands);
    mmq_list_init(&core->dead_hands);
    mmq_list_init(&core->dead_jobs);
}

mmq_core *mmq_core_new(const mmq_core_settings *settings, int64_t now_ns)
{
    mmq_core *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return NULL;
    }
    core->settings = *settings;
    core->now_ns = core->started_ns = now_ns;
    core->due_ns = core->retry_ns = core->probe_ns = core->unshared_ns = INT64_MAX;
    core->probed_ns = now_ns - MMQ_PROBE_NS;
    init_lists(core);
    if (mmq_table_init(&core->services) != MMQ_OK || mmq_table_init(&core->callers) != MMQ_OK ||
        mmq_table_init(&core->hands) != MMQ_OK || mmq_table_init(&core->tokens) != MMQ_OK) {
        mmq_core_destroy(&core);
    }
    return core;
}

static void free_dead(mmq_core *core)
{
    while (!mmq_list_empty(&core->dead_jobs)) {
        mmq_job *job = MMQ_OF(core->dead_jobs.next, mmq_job, link);
        mmq_list_remove(&job->link);
        core->jobs_in[MMQ_JOB_DONE]--;
        mmq_job_free(job);
    }
    while (!mmq_list_empty(&core->dead_hands)) {
        mmq_hand_free(MMQ_OF(core->dead_hands.next, mmq_hand, link));
    }
    while (!mmq_list_empty(&core->callers_in[MMQ_CALLER_DEAD])) {
        mmq_caller_free(MMQ_OF(core->callers_in[MMQ_CALLER_DEAD].next, mmq_caller, link));
    }
    while (!mmq_list_empty(&core->callers_in[MMQ_CALLER_IDLE])) {
        mmq_caller_free(MMQ_OF(core->callers_in[MMQ_CALLER_IDLE].next, mmq_caller, link));
    }
}

void mmq_core_settle(mmq_core *core)
{
    while (!mmq_list_empty(&core->dirty)) {
        mmq_service_serve(MMQ_OF(core->dirty.next, mmq_service, dirty));
    }
    free_dead(core);
    bool blocked = !mmq_list_empty(&core->callers_in[MMQ_CALLER_BLOCKED]) ||
                   !mmq_list_empty(&core->blocked_hands);
    if (!blocked) {
        core->retry_ns = INT64_MAX;
    } else if (core->retry_ns == INT64_MAX) {
        core->retry_ns = core->now_ns + MMQ_RETRY_NS;
    }
}

/* Counts a peer's fault; logs at most one a second. */
static void complain(mmq_core *core, mmq_drop drop, const char *fault)
{
    core->dropped[drop]++;
    const int64_t count = mmq_log_due(&core->complaints, core->now_ns, COMPLAIN_NS);
    if (count > 0) {
        mmq_log(MMQ_WARN, "message dropped", MMQ_S("kind", mmq_drop_names[drop]),
                MMQ_S("fault", fault), MMQ_I("count", count));
    }
}

/* False if the message cannot have come from a ROUTER. */
static bool take_peer(const mmq_core *core, mmq_side side, const mmq_message *message,
                      mmq_peer *out)
{
    size_t size = message->count > 0 ? mmq_frame_size(&message->frames[0]) : 0;
    if (size == 0 || size > MMQ_PEER_MAX) {
        return false;
    }
    const char *user = core->allow != NULL ? core->settings.user(&message->frames[0]) : NULL;
    out->user_size = user != NULL && strlen(user) == MMQ_KEY_TEXT ? MMQ_KEY_TEXT : 0;
    out->key[0] = (uint8_t)side;
    if (out->user_size > 0) {
        memcpy(out->key + 1, user, MMQ_KEY_TEXT);
    }
    memcpy(out->key + 1 + out->user_size, mmq_frame_data(&message->frames[0]), size);
    out->size = size;
    return true;
}

static void take_job(mmq_service *service, mmq_caller *caller, mmq_message *message,
                     const mmq_envelope *envelope, const mmq_routing *routing)
{
    mmq_job *job = mmq_job_new(service, caller, message, envelope->body, routing);
    if (job == NULL) {
        complain(service->core, MMQ_DROP_GONE, "the broker has no memory left");
        return;
    }
    service->requests++;
    service->bytes_in += job->bytes;
    job->lane = mmq_lane_get(service, caller);
    if (job->lane == NULL) {
        mmq_job_fail(job, MMQ_JOB_DONE, 503, "the broker has no memory left");
        return;
    }
    mmq_job_set_state(job, MMQ_JOB_QUEUED);
}

/* What is wrong with a request apart from its service's queue; NULL if nothing is. */
static const char *refuse_reason(const mmq_core *core, const mmq_message *message, size_t body,
                                 size_t bytes, int *status)
{
    *status = 413;
    if (bytes > MMQ_BODY_MAX) {
        return "a request body is at most 4 MiB";
    }
    if (message->count - body > BODY_FRAMES_MAX) {
        return "a request body has too many frames";
    }
    *status = 503;
    if (core->draining) {
        return "the broker is stopping";
    }
    size_t jobs = core->jobs_in[MMQ_JOB_QUEUED] + core->jobs_in[MMQ_JOB_HELD] +
                  core->jobs_in[MMQ_JOB_FORGOTTEN];
    if (jobs >= core->settings.requests_max ||
        core->bytes + bytes + sizeof(mmq_job) > core->settings.bytes_max) {
        return "the broker has too many requests under way";
    }
    return NULL;
}

static void take_request(mmq_core *core, mmq_caller *caller, mmq_message *message,
                         const mmq_envelope *envelope)
{
    const mmq_frame *frame = &message->frames[envelope->body];
    mmq_routing routing;
    mmq_routing_scan(mmq_frame_data(frame), mmq_frame_size(frame), &routing);
    size_t bytes = mmq_job_body_bytes(message, envelope->body);
    int status;
    const char *reason = refuse_reason(core, message, envelope->body, bytes, &status);
    mmq_service *service = NULL;
    if (reason == NULL) {
        service = mmq_service_get(core, envelope->service, envelope->service_size);
        reason = service == NULL ? "the broker has too many services" : NULL;
    }
    if (reason == NULL) {
        reason = mmq_service_admit(service, caller, bytes, routing.timeout_ms);
        service->requests += reason != NULL;
        service->errors += reason != NULL;
    }
    if (reason != NULL) {
        mmq_caller_refuse(caller, envelope, &routing, status, reason);
    } else {
        take_job(service, caller, message, envelope, &routing);
    }
}

static void deny_request(mmq_core *core, mmq_caller *caller, const mmq_message *message,
                         const mmq_envelope *envelope)
{
    const mmq_frame *frame = &message->frames[envelope->body];
    mmq_routing routing;
    mmq_core_deny(core, &caller->peer, envelope->service, envelope->service_size);
    if (mmq_mmi_is(envelope->service, envelope->service_size)) {
        mmq_mmi_deny(caller, envelope);
        return;
    }
    mmq_routing_scan(mmq_frame_data(frame), mmq_frame_size(frame), &routing);
    mmq_caller_refuse(caller, envelope, &routing, 403,
                      mmq_core_is_known(core, &caller->peer)
                          ? "this key has no right to the service"
                          : "this key is not in the broker's list any more");
}

static void from_client(mmq_core *core, mmq_side side, mmq_message *message)
{
    mmq_peer peer;
    mmq_envelope envelope;
    mmq_why why = {""};
    if (!take_peer(core, side, message, &peer) ||
        mmq_envelope_parse_client(message, 1, &envelope, &why) != MMQ_OK) {
        complain(core, MMQ_DROP_MALFORMED, why.text);
        return;
    }
    if (envelope.command != (int)MMQ_CLIENT_REQUEST) {
        complain(core, MMQ_DROP_MALFORMED, "a client's command that is no REQUEST");
        return;
    }
    mmq_caller *caller = mmq_caller_get(core, &peer);
    if (caller == NULL) {
        complain(core, MMQ_DROP_GONE, "the broker has no memory left");
    } else if (!mmq_core_may_ask(core, &peer, envelope.service, envelope.service_size)) {
        deny_request(core, caller, message, &envelope);
    } else if (mmq_mmi_is(envelope.service, envelope.service_size)) {
        mmq_mmi_answer(caller, message, &envelope);
    } else {
        take_request(core, caller, message, &envelope);
    }
}

/* A worker, known or not, that broke the protocol or has no right. */
static void send_away(mmq_core *core, mmq_hand *hand, const mmq_peer *peer, mmq_drop drop,
                      const char *fault)
{
    if (drop != MMQ_DROP_DENIED) {
        complain(core, drop, fault);
    }
    if (hand != NULL) {
        mmq_hand_dismiss(hand, fault);
    } else {
        mmq_hand_send_disconnect(core, peer);
    }
}

static void take_ready(mmq_core *core, mmq_hand *hand, const mmq_peer *peer,
                       const mmq_envelope *envelope)
{
    mmq_why why = {""};
    if (hand != NULL) {
        send_away(core, hand, peer, MMQ_DROP_PROTOCOL, "a second READY");
    } else if (mmq_mmi_is(envelope->service, envelope->service_size)) {
        send_away(core, NULL, peer, MMQ_DROP_PROTOCOL, "READY for a service of the broker's");
    } else if (!mmq_core_may_serve(core, peer, envelope->service, envelope->service_size)) {
        mmq_core_deny(core, peer, envelope->service, envelope->service_size);
        send_away(core, NULL, peer, MMQ_DROP_DENIED, "");
    } else if (mmq_hand_register(core, peer, envelope, &why) != MMQ_OK) {
        send_away(core, NULL, peer, MMQ_DROP_PROTOCOL, why.text);
    }
}

static bool was_given(const mmq_hand *hand, const mmq_envelope *envelope)
{
    uint64_t halves[2];
    if (envelope->token_size != sizeof halves) {
        return false;
    }
    memcpy(halves, envelope->token, sizeof halves);
    return halves[0] == hand->serial && halves[1] < hand->dispatches;
}

static void take_answer(mmq_core *core, mmq_hand *hand, mmq_message *message,
                        const mmq_envelope *envelope)
{
    mmq_table_item *item = mmq_table_find(&core->tokens, envelope->token, envelope->token_size);
    mmq_job *job = item != NULL ? MMQ_OF(item, mmq_job, token_item) : NULL;
    if (job != NULL && job->hand == hand) {
        mmq_job_answer(job, message, envelope);
    } else if (was_given(hand, envelope)) {
        core->dropped[MMQ_DROP_LATE]++;
    } else {
        send_away(core, hand, &hand->peer, MMQ_DROP_FOREIGN, "an answer to another's request");
    }
}

static void from_worker(mmq_core *core, mmq_side side, mmq_message *message)
{
    mmq_peer peer;
    if (!take_peer(core, side, message, &peer)) {
        complain(core, MMQ_DROP_PROTOCOL, "no peer");
        return;
    }
    mmq_hand *hand = mmq_hand_find(core, &peer);
    mmq_envelope envelope;
    mmq_why why = {""};
    if (mmq_envelope_parse_worker(message, 1, &envelope, &why) != MMQ_OK) {
        send_away(core, hand, &peer, MMQ_DROP_PROTOCOL, why.text);
        return;
    }
    if (hand != NULL) {
        hand->heard_ns = core->now_ns;
    }
    if (envelope.command == (int)MMQ_WORKER_READY) {
        take_ready(core, hand, &peer, &envelope);
    } else if (envelope.command == (int)MMQ_WORKER_REQUEST) {
        send_away(core, hand, &peer, MMQ_DROP_PROTOCOL, "a REQUEST of a worker");
    } else if (hand == NULL) {
        if (envelope.command != (int)MMQ_WORKER_DISCONNECT) { /* or we would answer for ever */
            send_away(core, NULL, &peer, MMQ_DROP_PROTOCOL, "no READY before");
        }
    } else if (envelope.command == (int)MMQ_WORKER_HEARTBEAT) {
        mmq_hand_beat(hand);
    } else if (envelope.command == (int)MMQ_WORKER_DISCONNECT) {
        mmq_hand_kill(hand, "it left");
    } else {
        take_answer(core, hand, message, &envelope);
    }
}

void mmq_core_receive(mmq_core *core, mmq_side side, mmq_message *message, int64_t now_ns)
{
    core->now_ns = now_ns;
    if (mmq_side_works(side)) {
        from_worker(core, side, message);
    } else {
        from_client(core, side, message);
    }
    mmq_message_clear(message);
    mmq_core_settle(core);
}

void mmq_core_too_big(mmq_core *core, mmq_side side, mmq_message *message, int64_t now_ns)
{
    core->now_ns = now_ns;
    mmq_peer peer;
    if (mmq_side_works(side) && take_peer(core, side, message, &peer)) {
        send_away(core, mmq_hand_find(core, &peer), &peer, MMQ_DROP_TOO_BIG, "over the bounds");
    } else {
        complain(core, MMQ_DROP_TOO_BIG, "over the bounds");
    }
    mmq_message_clear(message);
    mmq_core_settle(core);
}

/* Where we stood still (SIGSTOP, a suspended machine), that is no silence of the workers. */
static void forgive_stall(mmq_core *core)
{
    int64_t late_ns = core->now_ns - core->due_ns;
    if (late_ns < STALL_NS) {
        return;
    }
    for (size_t i = 0; i < core->timers.count; i++) {
        mmq_hand *hand = MMQ_OF(core->timers.items[i], mmq_hand, timer);
        hand->heard_ns += late_ns;
        if (hand->heard_ns > core->now_ns) {
            hand->heard_ns = core->now_ns;
        }
    }
}

static void retry_blocked(mmq_core *core)
{
    core->retried_ns = core->now_ns;
    MMQ_LIST_EACH(at, &core->callers_in[MMQ_CALLER_BLOCKED])
    {
        mmq_caller_retry(MMQ_OF(at, mmq_caller, link));
    }
    while (!mmq_list_empty(&core->blocked_hands)) {
        mmq_hand_unblock(MMQ_OF(core->blocked_hands.next, mmq_hand, link));
    }
    core->retry_ns = INT64_MAX; /* set again if something still is blocked */
}

void mmq_core_retry(mmq_core *core, int64_t now_ns)
{
    if (core->retry_ns != INT64_MAX && now_ns - core->retried_ns >= MMQ_RETRY_LEAST_NS) {
        core->now_ns = now_ns;
        retry_blocked(core);
        mmq_core_settle(core);
    }
}

static void for_each_hand(mmq_core *core, void (*visit)(mmq_hand *hand))
{
    MMQ_LIST_EACH(at, &core->service_list)
    {
        MMQ_LIST_EACH(hand_at, &MMQ_OF(at, mmq_service, link)->hands)
        {
            visit(MMQ_OF(hand_at, mmq_hand, all));
        }
    }
}

static void probe_hands(mmq_core *core)
{
    core->probed_ns = core->now_ns;
    core->probe_ns = --core->probes > 0 ? core->now_ns + MMQ_PROBE_NS : INT64_MAX;
    for_each_hand(core, mmq_hand_probe);
}

void mmq_core_suspect(mmq_core *core, int64_t now_ns)
{
    int64_t earliest_ns = core->probed_ns + MMQ_PROBE_NS;
    core->probe_ns = earliest_ns > now_ns ? earliest_ns : now_ns;
    core->probes = PROBES;
}

static void lose_workers(mmq_core *core, mmq_side side)
{
    MMQ_LIST_EACH(at, &core->service_list)
    {
        MMQ_LIST_EACH(hand_at, &MMQ_OF(at, mmq_service, link)->hands)
        {
            mmq_hand *hand = MMQ_OF(hand_at, mmq_hand, all);
            if (mmq_peer_side(&hand->peer) == side) {
                mmq_hand_kill(hand, "its connection was cut");
            }
        }
    }
}

static void lose_clients(mmq_core *core, mmq_side side)
{
    static const mmq_caller_state states[] = {MMQ_CALLER_BUSY, MMQ_CALLER_BLOCKED};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        MMQ_LIST_EACH(at, &core->callers_in[states[i]])
        {
            mmq_caller *caller = MMQ_OF(at, mmq_caller, link);
            if (mmq_peer_side(&caller->peer) == side) {
                mmq_caller_kill(caller);
            }
        }
    }
}

void mmq_core_lose(mmq_core *core, mmq_side side, int64_t now_ns)
{
    core->now_ns = now_ns;
    if (mmq_side_works(side)) {
        lose_workers(core, side);
    } else {
        lose_clients(core, side);
    }
    mmq_core_settle(core);
}

size_t mmq_core_bytes(const mmq_core *core)
{
    size_t piped = 0;
    MMQ_LIST_EACH(at, &core->callers_in[MMQ_CALLER_BLOCKED])
    {
        piped += mmq_caller_piped(MMQ_OF(at, mmq_caller, link));
    }
    return core->bytes + (piped < core->settings.bytes_max ? piped : core->settings.bytes_max);
}

mmq_core_counts mmq_core_count(const mmq_core *core)
{
    mmq_core_counts counts = {.waiting = core->jobs_in[MMQ_JOB_QUEUED],
                              .held = core->jobs_in[MMQ_JOB_HELD],
                              .workers = core->timers.count};
    MMQ_LIST_EACH(at, &core->service_list)
    {
        counts.requests += MMQ_OF(at, mmq_service, link)->requests;
    }
    return counts;
}

void mmq_core_set_gauges(mmq_core *core, const mmq_core_gauges *gauges)
{
    core->gauges = *gauges;
}

static void serve_passed_over(mmq_core *core)
{
    core->unshared_ns = INT64_MAX;
    MMQ_LIST_EACH(at, &core->service_list)
    {
        mmq_service_mark(MMQ_OF(at, mmq_service, link));
    }
}

static int64_t next_due(const mmq_core *core)
{
    int64_t due_ns = core->retry_ns < core->probe_ns ? core->retry_ns : core->probe_ns;
    due_ns = core->unshared_ns < due_ns ? core->unshared_ns : due_ns;
    const mmq_heap_item *first[] = {mmq_heap_first(&core->deadlines),
                                    mmq_heap_first(&core->timers)};
    for (size_t i = 0; i < 2; i++) {
        if (first[i] != NULL && first[i]->key < due_ns) {
            due_ns = first[i]->key;
        }
    }
    return due_ns;
}

int64_t mmq_core_tick(mmq_core *core, int64_t now_ns)
{
    core->now_ns = now_ns;
    forgive_stall(core);
    if (core->probe_ns <= now_ns) {
        probe_hands(core);
    }
    if (core->unshared_ns <= now_ns) {
        serve_passed_over(core);
    }
    mmq_heap_item *item;
    while ((item = mmq_heap_first(&core->deadlines)) != NULL && item->key <= now_ns) {
        mmq_job_expire(MMQ_OF(item, mmq_job, deadline));
    }
    while ((item = mmq_heap_first(&core->timers)) != NULL && item->key <= now_ns) {
        mmq_hand_tick(MMQ_OF(item, mmq_hand, timer));
    }
    if (core->retry_ns <= now_ns) {
        retry_blocked(core);
    }
    mmq_core_settle(core);
    int64_t due_ns = next_due(core);
    core->due_ns = due_ns;
    if (due_ns == INT64_MAX) {
        return -1;
    }
    return due_ns > now_ns ? due_ns - now_ns : 0;
}

void mmq_core_drain(mmq_core *core, int64_t now_ns)
{
    core->now_ns = now_ns;
    core->draining = true;
    MMQ_LIST_EACH(at, &core->service_list)
    {
        mmq_service_mark(MMQ_OF(at, mmq_service, link));
    }
    mmq_core_settle(core);
}

bool mmq_core_idle(const mmq_core *core)
{
    return core->jobs_in[MMQ_JOB_QUEUED] == 0 && core->jobs_in[MMQ_JOB_HELD] == 0 &&
           mmq_list_empty(&core->callers_in[MMQ_CALLER_BLOCKED]);
}

void mmq_core_end(mmq_core *core, int64_t now_ns)
{
    core->now_ns = now_ns;
    core->draining = true;
    mmq_heap_item *item;
    while ((item = mmq_heap_first(&core->deadlines)) != NULL) {
        mmq_job *job = MMQ_OF(item, mmq_job, deadline);
        if (job->state == MMQ_JOB_FORGOTTEN) {
            mmq_job_set_state(job, MMQ_JOB_DONE);
        } else {
            mmq_job_fail(job, MMQ_JOB_DONE, 503, "the broker is stopping");
        }
    }
    while ((item = mmq_heap_first(&core->timers)) != NULL) {
        mmq_hand_dismiss(MMQ_OF(item, mmq_hand, timer), "the broker is stopping");
    }
    mmq_core_settle(core);
}

static mmq_err drop_message(void *context, mmq_side side, mmq_message *message)
{
    (void)context;
    (void)side;
    (void)message;
    return MMQ_EUNREACHABLE;
}

void mmq_core_destroy(mmq_core **core_p)
{
    mmq_core *core = *core_p;
    if (core == NULL) {
        return;
    }
    core->settings.send = drop_message;
    mmq_core_end(core, core->now_ns);
    while (!mmq_list_empty(&core->callers_in[MMQ_CALLER_BLOCKED])) {
        mmq_caller_free(MMQ_OF(core->callers_in[MMQ_CALLER_BLOCKED].next, mmq_caller, link));
    }
    mmq_table_clear(&core->services);
    mmq_table_clear(&core->callers);
    mmq_table_clear(&core->hands);
    mmq_table_clear(&core->tokens);
    mmq_heap_clear(&core->deadlines);
    mmq_heap_clear(&core->timers);
    free(core);
    *core_p = NULL;
}
