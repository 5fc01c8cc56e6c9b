/* The loop thread of a worker: it owns the DEALER to the broker, the queue of requests that no
 * thread has yet, and one end of each work thread's pipe. It never blocks and does no work.
 *
 * STARTING until every thread has its context; SERVING; DRAINING once the worker was told to stop,
 * until what was begun has ended or drain_ms are over; STOPPING until every thread has ended.
 *
 * MDP has no word for "no more, please": after DISCONNECT the broker drops our answers. So while
 * draining we begin nothing new but stay, and say DISCONNECT when what was begun is answered: the
 * broker then gives what we hold to another worker. Holding it, rather than refusing it, keeps the
 * broker from thinking us the least loaded worker. Writes are never given to another worker, so
 * those are answered with 503: not begun, may be sent again.
 *
 * Each connection to the broker has a generation. A request bears that of its connection; answers
 * to requests of an earlier one are dropped, since the broker has ended or re-dispatched them.
 * held counts the current generation's requests, from REQUEST to FINAL: the broker keeps it within
 * the capacity that READY named. */
#include <czmq.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backoff.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/dealer.h"
#include "lib/log.h"
#include "lib/worker_parts.h"

enum {
    SEND_HWM = 64,     /* messages of up to 256 KiB that wait for the network */
    PIPE_HWM = 8,      /* notes that wait for the loop, at each end */
    MESSAGES_MAX = 64, /* read from one socket in a pass */
    BACKOFF_LEAST_MS = 100,
    BACKOFF_MOST_MS = 1000,
    LINGER_MS = 1000,
    FIXED_ITEMS = 3, /* of zmq_poll: control, DEALER, its monitor */
};

typedef enum loop_state { STARTING, SERVING, DRAINING, STOPPING } loop_state;

struct loop {
    mmq_worker *worker;
    loop_state state;
    mmq_work_thread *threads;
    size_t thread_count; /* those that were started */
    size_t ready_count;
    size_t ended_count;
    TAILQ_HEAD(, mmq_request) queue;
    size_t held;
    int64_t drain_end_ns;
    /* the connection; dealer is NULL between two */
    mmq_dealer *dealer;
    uint64_t generation;
    bool ready_sent;
    bool complained;
    int64_t interval_ns; /* of heartbeats */
    int64_t liveness_ns;
    int64_t heard_ns;     /* when the broker last said something */
    int64_t heartbeat_ns; /* when we say something next */
    int64_t open_ns;      /* when to connect again */
    unsigned failures;    /* connections in a row over which the broker said nothing */
    zmq_pollitem_t items[FIXED_ITEMS + MMQ_WORK_THREADS_MAX];
};

/* ---- the connection ----------------------------------------------------------------------- */

static bool serves(const struct loop *loop)
{
    return loop->state == SERVING || loop->state == DRAINING;
}

static void drop_queue(struct loop *loop)
{
    mmq_request *request;
    while ((request = TAILQ_FIRST(&loop->queue)) != NULL) {
        TAILQ_REMOVE(&loop->queue, request, link);
        mmq_request_destroy(&request);
    }
}

/* Ends the connection; what was taken over it is the broker's to end. */
static void close_connection(struct loop *loop, const char *reason)
{
    if (loop->dealer == NULL) {
        return;
    }
    mmq_log(loop->state == SERVING && loop->failures == 0 ? MMQ_WARN : MMQ_DEBUG,
            "the connection to the broker ends", MMQ_S("reason", reason),
            MMQ_S("service", loop->worker->options.service));
    mmq_dealer_destroy(&loop->dealer, LINGER_MS);
    atomic_store(&loop->worker->generation, ++loop->generation);
    loop->held = 0;
    drop_queue(loop);
    for (size_t i = 0; i < loop->thread_count; i++) {
        mmq_message_clear(&loop->threads[i].stuck);
    }
    loop->open_ns =
        mmq_now_ns() + mmq_backoff_ns(loop->failures++, BACKOFF_LEAST_MS, BACKOFF_MOST_MS);
}

static void open_connection(struct loop *loop)
{
    mmq_why why;
    const mmq_worker_options *options = &loop->worker->options;
    int64_t now_ns = mmq_now_ns();
    loop->dealer = mmq_dealer_new(options->endpoint, MMQ_MESSAGE_MAX, SEND_HWM, &why);
    if (loop->dealer == NULL) {
        mmq_log(MMQ_ERROR, "cannot connect to the broker", MMQ_S("reason", why.text));
        loop->open_ns = now_ns + BACKOFF_MOST_MS * MMQ_NS_PER_MS;
        return;
    }
    loop->ready_sent = false;
    loop->complained = false;
    loop->heard_ns = now_ns;
}

/* Sends a command that has no body. What cannot leave now is not sent. */
static bool say(struct loop *loop, mmq_worker_command command)
{
    const mmq_worker_options *options = &loop->worker->options;
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err = command == MMQ_WORKER_READY
                      ? mmq_envelope_ready(&message, options->service,
                                           options->capacity > 1 ? options->capacity : 0)
                      : mmq_envelope_begin_worker(&message, command, NULL, 0);
    if (err == MMQ_OK) {
        err = mmq_message_send(&message, mmq_dealer_socket(loop->dealer));
    }
    mmq_message_clear(&message);
    return err == MMQ_OK;
}

/* Leaves, so that the broker ends or re-dispatches all that we hold. */
static void leave_broker(struct loop *loop, const char *reason)
{
    if (loop->dealer != NULL && loop->ready_sent) {
        (void)say(loop, MMQ_WORKER_DISCONNECT);
    }
    close_connection(loop, reason);
}

static void send_ready(struct loop *loop)
{
    if (!loop->ready_sent && mmq_dealer_connected(loop->dealer) && say(loop, MMQ_WORKER_READY)) {
        loop->ready_sent = true;
        loop->heartbeat_ns = mmq_now_ns() + loop->interval_ns;
        mmq_log(MMQ_INFO, "ready", MMQ_S("service", loop->worker->options.service),
                MMQ_I("capacity", loop->worker->options.capacity));
    }
}

static void tend_connection(struct loop *loop)
{
    if (!serves(loop)) {
        return;
    }
    int64_t now_ns = mmq_now_ns();
    if (loop->dealer == NULL && loop->state == SERVING && now_ns >= loop->open_ns) {
        open_connection(loop);
    } else if (loop->dealer != NULL && mmq_dealer_check(loop->dealer)) {
        close_connection(loop, "connection lost");
    } else if (loop->dealer != NULL && now_ns - loop->heard_ns > loop->liveness_ns) {
        close_connection(loop, "the broker is silent");
    }
    if (loop->dealer == NULL) {
        return;
    }
    send_ready(loop);
    if (loop->ready_sent && now_ns >= loop->heartbeat_ns) {
        (void)say(loop, MMQ_WORKER_HEARTBEAT);
        loop->heartbeat_ns = now_ns + loop->interval_ns;
    }
}

/* ---- from the broker ---------------------------------------------------------------------- */

/* Once a connection: a broker that is wrong once is wrong often. */
static void complain(struct loop *loop, const char *reason)
{
    if (!loop->complained) {
        mmq_log(MMQ_WARN, "a message of the broker was dropped", MMQ_S("reason", reason));
    }
    loop->complained = true;
}

static void accept_request(struct loop *loop, mmq_message *message, size_t body)
{
    if (loop->held >= loop->worker->options.capacity) {
        complain(loop, "it sends more requests than this worker's capacity");
        return;
    }
    mmq_request *request = mmq_request_new(message, body, loop->generation);
    if (request == NULL) {
        leave_broker(loop, "no memory for a request");
        return;
    }
    TAILQ_INSERT_TAIL(&loop->queue, request, link);
    loop->held++;
}

static void take_command(struct loop *loop, mmq_message *message)
{
    mmq_envelope envelope;
    mmq_why why;
    if (mmq_envelope_parse_worker(message, 0, &envelope, &why) != MMQ_OK) {
        complain(loop, why.text);
        return;
    }
    loop->heard_ns = mmq_now_ns();
    loop->failures = 0;
    if (envelope.command == MMQ_WORKER_REQUEST) {
        accept_request(loop, message, envelope.body);
    } else if (envelope.command == MMQ_WORKER_DISCONNECT) {
        close_connection(loop, "the broker said DISCONNECT");
    }
}

static void read_dealer(struct loop *loop)
{
    mmq_message message;
    mmq_message_init(&message);
    for (size_t i = 0; i < MESSAGES_MAX && loop->dealer != NULL; i++) {
        mmq_err err =
            mmq_message_receive(&message, mmq_dealer_socket(loop->dealer), MMQ_MESSAGE_MAX);
        if (err == MMQ_OK) {
            take_command(loop, &message);
        } else if (err != MMQ_ETOOBIG) {
            break;
        }
    }
    mmq_message_clear(&message);
}

/* ---- work threads ------------------------------------------------------------------------- */

/* Hands the oldest requests to the thread. */
static void hand_over(struct loop *loop, mmq_work_thread *thread)
{
    mmq_request *batch[MMQ_CAPACITY_MAX];
    size_t count = 0;
    while (count < loop->worker->options.batch_max && !TAILQ_EMPTY(&loop->queue)) {
        batch[count] = TAILQ_FIRST(&loop->queue);
        TAILQ_REMOVE(&loop->queue, batch[count], link);
        count++;
    }
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err = mmq_message_append_copy(&message, batch, count * sizeof *batch);
    if (err == MMQ_OK) { /* the pipe is unbounded this way and takes it */
        err = mmq_message_send(&message, zsock_resolve(thread->loop_pipe));
    }
    mmq_message_clear(&message);
    if (err == MMQ_OK) {
        thread->outstanding = count;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        mmq_request_destroy(&batch[i]);
    }
    leave_broker(loop, "no memory for a batch");
}

static void dispatch(struct loop *loop)
{
    if (loop->state != SERVING && !(loop->state == DRAINING && mmq_worker_refuses(loop->worker))) {
        return;
    }
    for (size_t i = 0; i < loop->thread_count && !TAILQ_EMPTY(&loop->queue); i++) {
        if (loop->threads[i].outstanding == 0) {
            hand_over(loop, &loop->threads[i]);
        }
    }
}

static void end_threads(struct loop *loop)
{
    loop->state = STOPPING;
    for (size_t i = 0; i < loop->thread_count; i++) {
        mmq_pipe_signal(loop->threads[i].loop_pipe);
    }
}

static void fail(struct loop *loop, const char *reason, size_t size)
{
    if (loop->state != STARTING) {
        return; /* another thread failed before, or we stop anyway */
    }
    (void)mmq_fail(&loop->worker->why, MMQ_EUNAVAILABLE, "%.*s", (int)size, reason);
    atomic_store(&loop->worker->failed, true);
    end_threads(loop);
    mmq_pipe_signal(loop->worker->loop_control); /* the owner may wait for it */
}

/* Sends what waits for the broker; false if it still waits. */
static bool flush_stuck(struct loop *loop, mmq_work_thread *thread)
{
    if (thread->stuck.count == 0) {
        return true;
    }
    return mmq_message_send(&thread->stuck, mmq_dealer_socket(loop->dealer)) == MMQ_OK;
}

/* Sends the thread's frames token, header and payload on to the broker. */
static void forward(struct loop *loop, mmq_work_thread *thread, mmq_worker_command command,
                    mmq_message *note)
{
    const mmq_frame *token = &note->frames[1];
    mmq_err err = mmq_envelope_begin_worker(&thread->stuck, command, mmq_frame_data(token),
                                            mmq_frame_size(token));
    for (size_t i = 2; err == MMQ_OK && i < note->count; i++) {
        err = mmq_message_append(&thread->stuck, &note->frames[i]);
    }
    if (err != MMQ_OK) {
        leave_broker(loop, "no memory for an answer");
        return;
    }
    (void)flush_stuck(loop, thread);
}

static void take_answer(struct loop *loop, mmq_work_thread *thread, mmq_note note,
                        mmq_message *message)
{
    bool last = note.kind != MMQ_NOTE_PARTIAL;
    thread->outstanding -= last;
    if (note.generation != loop->generation || loop->dealer == NULL) {
        return;
    }
    loop->held -= last;
    if (note.kind == MMQ_NOTE_LOST) {
        leave_broker(loop, "no memory for an answer");
    } else {
        forward(loop, thread, last ? MMQ_WORKER_FINAL : MMQ_WORKER_PARTIAL, message);
    }
}

static void start_serving(struct loop *loop)
{
    if (++loop->ready_count == loop->worker->options.threads && loop->state == STARTING) {
        loop->state = SERVING;
        mmq_pipe_signal(loop->worker->loop_control); /* the owner may wait for it */
    }
}

static void take_note(struct loop *loop, mmq_work_thread *thread, mmq_message *message)
{
    mmq_note note;
    CHECK(mmq_frame_size(&message->frames[0]) == sizeof note);
    memcpy(&note, mmq_frame_data(&message->frames[0]), sizeof note);
    switch (note.kind) {
    case MMQ_NOTE_READY:
        start_serving(loop);
        break;
    case MMQ_NOTE_FAILED:
        if (message->count > 1) {
            fail(loop, mmq_frame_data(&message->frames[1]), mmq_frame_size(&message->frames[1]));
        } else {
            fail(loop, "no memory", strlen("no memory"));
        }
        break;
    case MMQ_NOTE_PARTIAL:
    case MMQ_NOTE_FINAL:
    case MMQ_NOTE_LOST:
        take_answer(loop, thread, note, message);
        break;
    case MMQ_NOTE_ENDED:
        loop->ended_count++;
        break;
    }
}

static void read_thread(struct loop *loop, mmq_work_thread *thread)
{
    mmq_message message;
    mmq_message_init(&message);
    for (size_t i = 0; i < MESSAGES_MAX && flush_stuck(loop, thread); i++) {
        if (mmq_message_receive(&message, zsock_resolve(thread->loop_pipe), SIZE_MAX) != MMQ_OK) {
            break;
        }
        take_note(loop, thread, &message);
    }
    mmq_message_clear(&message);
}

/* ---- the loop ----------------------------------------------------------------------------- */

static bool open_pipe(mmq_work_thread *thread)
{
    static atomic_uint_fast64_t serial; /* libzmq frees a name some time after its socket closed */
    thread->loop_pipe = zsock_new(ZMQ_PAIR);
    thread->pipe = zsock_new(ZMQ_PAIR);
    if (thread->loop_pipe == NULL || thread->pipe == NULL) {
        return false;
    }
    zsock_set_sndhwm(thread->loop_pipe, 0);
    zsock_set_rcvhwm(thread->pipe, 0);
    zsock_set_sndhwm(thread->pipe, PIPE_HWM);
    zsock_set_rcvhwm(thread->loop_pipe, PIPE_HWM);
    char name[64];
    snprintf(name, sizeof name, "inproc://metricmq-thread-%llu",
             (unsigned long long)atomic_fetch_add(&serial, 1));
    return zsock_bind(thread->loop_pipe, "%s", name) == 0 &&
           zsock_connect(thread->pipe, "%s", name) == 0;
}

static void free_thread(mmq_work_thread *thread)
{
    zsock_destroy(&thread->pipe);
    zsock_destroy(&thread->loop_pipe);
    mmq_message_clear(&thread->stuck);
    free(thread->batch);
}

static bool start_thread(struct loop *loop, mmq_work_thread *thread)
{
    thread->worker = loop->worker;
    mmq_message_init(&thread->stuck);
    thread->batch = calloc(loop->worker->options.batch_max, sizeof *thread->batch);
    if (thread->batch != NULL && open_pipe(thread) &&
        pthread_create(&thread->pthread, NULL, mmq_worker_run_thread, thread) == 0) {
        loop->thread_count++;
        return true;
    }
    free_thread(thread);
    return false;
}

static void start_threads(struct loop *loop)
{
    size_t count = loop->worker->options.threads;
    loop->threads = calloc(count, sizeof *loop->threads);
    while (loop->threads != NULL && loop->thread_count < count &&
           start_thread(loop, &loop->threads[loop->thread_count])) {
    }
    if (loop->thread_count < count) {
        static const char reason[] = "no memory, descriptors or threads left for a worker";
        fail(loop, reason, sizeof reason - 1);
    }
}

static void read_control(struct loop *loop)
{
    mmq_message message;
    mmq_message_init(&message);
    while (mmq_message_receive(&message, zsock_resolve(loop->worker->loop_control), 64) == MMQ_OK) {
    }
    mmq_message_clear(&message);
    if (!atomic_load(&loop->worker->stopping)) {
        return;
    }
    if (loop->state == STARTING) {
        end_threads(loop);
    } else if (loop->state == SERVING) {
        loop->state = DRAINING;
        loop->drain_end_ns = mmq_now_ns() + loop->worker->options.drain_ms * MMQ_NS_PER_MS;
    }
}

/* True while something that was begun has no answer, or its answer has not left. */
static bool is_busy(const struct loop *loop)
{
    for (size_t i = 0; i < loop->thread_count; i++) {
        if (loop->threads[i].outstanding > 0 || loop->threads[i].stuck.count > 0) {
            return true;
        }
    }
    return mmq_worker_refuses(loop->worker) && !TAILQ_EMPTY(&loop->queue);
}

static void drain(struct loop *loop)
{
    if (loop->state == DRAINING && (!is_busy(loop) || mmq_now_ns() >= loop->drain_end_ns)) {
        leave_broker(loop, "the worker stops");
        end_threads(loop);
    }
}

/* Milliseconds until a timer is due, rounded up; -1: none is set. */
static long wait_ms(const struct loop *loop)
{
    int64_t due_ns = INT64_MAX;
    if (serves(loop) && loop->dealer == NULL) {
        due_ns = loop->open_ns;
    } else if (serves(loop)) {
        int64_t dead_ns = loop->heard_ns + loop->liveness_ns;
        due_ns = loop->ready_sent && loop->heartbeat_ns < dead_ns ? loop->heartbeat_ns : dead_ns;
    }
    if (loop->state == DRAINING && loop->drain_end_ns < due_ns) {
        due_ns = loop->drain_end_ns;
    }
    if (due_ns == INT64_MAX) {
        return -1;
    }
    int64_t left_ns = due_ns - mmq_now_ns();
    return left_ns <= 0 ? 0 : (long)(left_ns / MMQ_NS_PER_MS + 1);
}

/* Waits; afterwards items[FIXED_ITEMS + i] tells of thread i. */
static void wait_input(struct loop *loop)
{
    zmq_pollitem_t *items = loop->items;
    bool blocked = false;
    for (size_t i = 0; i < loop->thread_count; i++) {
        bool stuck = loop->threads[i].stuck.count > 0;
        blocked |= stuck;
        items[FIXED_ITEMS + i] = (zmq_pollitem_t){
            .socket = zsock_resolve(loop->threads[i].loop_pipe), .events = stuck ? 0 : ZMQ_POLLIN};
    }
    items[0] = items[1] = items[2] =
        (zmq_pollitem_t){.socket = zsock_resolve(loop->worker->loop_control), .events = ZMQ_POLLIN};
    if (loop->dealer != NULL) {
        items[1].socket = mmq_dealer_socket(loop->dealer);
        items[1].events = (short)(ZMQ_POLLIN | (blocked ? ZMQ_POLLOUT : 0));
        items[2].socket = mmq_dealer_monitor(loop->dealer);
    }
    (void)zmq_poll(items, FIXED_ITEMS + (int)loop->thread_count, wait_ms(loop));
}

static void run(struct loop *loop)
{
    start_threads(loop);
    while (loop->state != STOPPING || loop->ended_count < loop->thread_count) {
        wait_input(loop);
        read_control(loop);
        read_dealer(loop);
        for (size_t i = 0; i < loop->thread_count; i++) {
            if (loop->items[FIXED_ITEMS + i].revents != 0 || loop->threads[i].stuck.count > 0) {
                read_thread(loop, &loop->threads[i]);
            }
        }
        tend_connection(loop);
        dispatch(loop);
        drain(loop);
    }
    for (size_t i = 0; i < loop->thread_count; i++) {
        CHECK(pthread_join(loop->threads[i].pthread, NULL) == 0);
        free_thread(&loop->threads[i]);
    }
}

void *mmq_worker_run_loop(void *worker_p)
{
    mmq_worker *worker = worker_p;
    mmq_log_role("worker");
    bool plain = worker->options.capacity == 1;
    struct loop loop = {
        .worker = worker,
        .interval_ns = (plain ? 2500 : 1000) * MMQ_NS_PER_MS,
        .liveness_ns = (plain ? 10000 : 3000) * MMQ_NS_PER_MS,
    };
    TAILQ_INIT(&loop.queue);
    run(&loop);
    mmq_dealer_destroy(&loop.dealer, LINGER_MS);
    drop_queue(&loop);
    free(loop.threads);
    return NULL;
}
