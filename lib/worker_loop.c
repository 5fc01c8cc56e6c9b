/* The loop thread of a worker: it owns the links to the brokers, the queue of requests that no
 * thread has yet, and one end of each work thread's pipe. It never blocks and does no work.
 *
 * STARTING until every thread has its context; SERVING; DRAINING once the worker was told to stop,
 * until what was begun has ended or drain_ms are over; STOPPING until every thread has ended.
 *
 * Several brokers: each link is a worker of its own to its broker, with the whole capacity, and a
 * loss of one ends that one's requests only. The threads are shared: requests of all links are
 * begun in the order in which they came. So the queue holds at most the capacity for each link, and
 * a busy broker's requests delay another's by that much at most.
 *
 * A worker of two services is that twice: to each broker it has a link for each of them.
 *
 * A request that is kept counts no more as work of its thread, which takes the next batch, and the
 * end does not wait for it; its link holds it until its FINAL.
 *
 * An answer that its broker does not take now waits as `stuck`, and keeps only its own thread from
 * going on; the loop, heartbeats and the other threads do. A broker that is slow, or stands still,
 * may thus hold every thread with its own answers, but not for ever: a link is closed when nothing
 * was heard for its liveness (3 s), or nothing could be sent for 30 s, and then its answers are
 * dropped.
 *
 * It waits for libzmq's descriptors, not with zmq_poll, which asks each socket anew, by a system
 * call, each time. They tell of what is new only to who has found the socket empty, and any call of
 * libzmq may take note of it: so what was told of, or sent to, is "awake", and is read to its end
 * before the loop waits again.
 *
 * MDP has no word for "no more, please": after DISCONNECT the broker drops our answers. So while
 * draining we begin nothing new but stay, and say DISCONNECT when what was begun is answered: the
 * broker then gives what we hold to another worker. Holding it, rather than refusing it, keeps the
 * broker from thinking us the least loaded worker. Writes are never given to another worker, so
 * those are answered with 503: not begun, may be sent again. */
#include <czmq.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/monitor.h"
#include "lib/vitals.h"
#include "lib/worker_link.h"
#include "lib/worker_parts.h"
#include "lib/envelope.h"

enum {
    PIPE_HWM = 8,      /* notes that wait for the loop, at each end */
    MESSAGES_MAX = 64, /* read from one thread in a pass */
    EVENTS_MAX = 1 + 2 * MMQ_LINKS_MAX + MMQ_WORK_THREADS_MAX,
};

typedef enum loop_state { STARTING, SERVING, DRAINING, STOPPING } loop_state;

struct loop {
    mmq_worker *worker;
    loop_state state;
    mmq_work_thread *threads;
    size_t thread_count; /* those that were started */
    size_t ready_count;
    size_t ended_count;
    mmq_worker_link *links[MMQ_LINKS_MAX];
    size_t link_count;
    uint64_t generations[MMQ_LINKS_MAX]; /* of the links, when last looked at */
    mmq_request_queue queue;
    int64_t drain_end_ns;
    int input; /* epoll: an event bears the address of the worker (control), a link or a thread */
    bool control_awake;
};

/* ---- links -------------------------------------------------------------------------------- */

static bool serves(const struct loop *loop)
{
    return loop->state == SERVING || loop->state == DRAINING;
}

/* Drops what came over connections that have ended; it is the broker's to end. */
static void drop_requests(struct loop *loop)
{
    mmq_request *request = TAILQ_FIRST(&loop->queue);
    while (request != NULL) {
        mmq_request *next = TAILQ_NEXT(request, link);
        if (!mmq_worker_awaits(loop->worker, request->origin)) {
            TAILQ_REMOVE(&loop->queue, request, link);
            mmq_request_destroy(&request);
        }
        request = next;
    }
}

static void tend_links(struct loop *loop)
{
    bool ended = false;
    unsigned registered = 0;
    for (size_t i = 0; i < loop->link_count; i++) {
        mmq_worker_link_read(loop->links[i], &loop->queue);
        if (serves(loop)) {
            mmq_worker_link_tend(loop->links[i]);
        }
        const uint64_t generation = atomic_load(&loop->worker->generations[i]);
        ended |= generation != loop->generations[i];
        loop->generations[i] = generation;
        registered += i < loop->worker->endpoints.count && /* brokers are counted, not services */
                      mmq_worker_link_is_registered(loop->links[i]);
    }
    atomic_store_explicit(&loop->worker->registered, registered, memory_order_relaxed);
    if (ended) {
        drop_requests(loop);
    }
}

static void leave_brokers(struct loop *loop, const char *reason)
{
    for (size_t i = 0; i < loop->link_count; i++) {
        mmq_worker_link_leave(loop->links[i], reason);
    }
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
        thread->awake = true;
    }
    mmq_message_clear(&message);
    if (err == MMQ_OK) {
        thread->outstanding = count;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        mmq_request_destroy(&batch[i]);
    }
    leave_brokers(loop, "no memory for a batch");
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
        loop->threads[i].awake = true;
    }
}

static void signal_owner(struct loop *loop)
{
    mmq_pipe_signal(loop->worker->loop_control);
    loop->control_awake = true;
}

static void fail(struct loop *loop, const char *reason, size_t size)
{
    if (loop->state != STARTING) {
        return; /* another thread failed before, or we stop anyway */
    }
    (void)mmq_fail(&loop->worker->why, MMQ_EUNAVAILABLE, "%.*s", (int)size, reason);
    atomic_store(&loop->worker->failed, true);
    end_threads(loop);
    signal_owner(loop); /* who may wait for it */
}

/* Sends what waits for its broker; false if it still waits. */
static bool flush_stuck(struct loop *loop, mmq_work_thread *thread)
{
    if (thread->stuck.count == 0) {
        return true;
    }
    if (!mmq_worker_awaits(loop->worker, thread->stuck_origin)) {
        mmq_message_clear(&thread->stuck);
        return true;
    }
    mmq_worker_link *link = loop->links[thread->stuck_origin.link];
    return mmq_worker_link_send(link, &thread->stuck) != MMQ_EAGAIN;
}

/* Sends the thread's frames token, header and payload on to the broker. */
static void forward(struct loop *loop, mmq_work_thread *thread, mmq_origin origin,
                    mmq_worker_command command, mmq_message *note)
{
    const mmq_frame *token = &note->frames[1];
    mmq_err err = mmq_envelope_begin_worker(&thread->stuck, command, mmq_frame_data(token),
                                            mmq_frame_size(token));
    for (size_t i = 2; err == MMQ_OK && i < note->count; i++) {
        err = mmq_message_append(&thread->stuck, &note->frames[i]);
    }
    thread->stuck_origin = origin;
    if (err != MMQ_OK) {
        mmq_worker_link_leave(loop->links[origin.link], "no memory for an answer");
    }
    (void)flush_stuck(loop, thread);
}

static void take_answer(struct loop *loop, mmq_work_thread *thread, mmq_note note,
                        mmq_message *message)
{
    const bool last = note.kind != MMQ_NOTE_PARTIAL;
    thread->outstanding -= last && !note.kept;
    atomic_fetch_add_explicit(&loop->worker->answered, last, memory_order_relaxed);
    if (!mmq_worker_awaits(loop->worker, note.origin)) {
        return;
    }
    mmq_worker_link *link = loop->links[note.origin.link];
    if (last) {
        mmq_worker_link_end_request(link);
    }
    if (note.kind == MMQ_NOTE_LOST) {
        mmq_worker_link_leave(link, "no memory for an answer");
    } else {
        forward(loop, thread, note.origin, last ? MMQ_WORKER_FINAL : MMQ_WORKER_PARTIAL, message);
    }
}

static void start_serving(struct loop *loop)
{
    if (++loop->ready_count == loop->worker->options.threads && loop->state == STARTING) {
        loop->state = SERVING;
        atomic_store(&loop->worker->serving, true);
        signal_owner(loop); /* who may wait for it */
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
    case MMQ_NOTE_KEPT:
        thread->outstanding--;
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
            thread->awake = false;
            break;
        }
        take_note(loop, thread, &message);
    }
    mmq_message_clear(&message);
}

/* ---- the loop ----------------------------------------------------------------------------- */

static bool make_links(struct loop *loop)
{
    while (loop->link_count < mmq_worker_links(loop->worker)) {
        mmq_worker_link *link = mmq_worker_link_new(loop->worker, loop->link_count, loop->input);
        if (link == NULL) {
            static const char reason[] = "no memory for a worker";
            fail(loop, reason, sizeof reason - 1);
            return false;
        }
        loop->links[loop->link_count++] = link;
    }
    return true;
}

static bool open_pipe(mmq_work_thread *thread)
{
    static atomic_uint_fast64_t serial; /* libzmq frees a name some time after its socket closed */
    thread->loop_pipe = zsock_new(ZMQ_PAIR);
    thread->pipe = zsock_new(ZMQ_PAIR);
    if (thread->loop_pipe == NULL || thread->pipe == NULL) {
        return false;
    }
    /* To the thread: unbounded, but there is one batch at a time. From it: the thread waits for the
     * loop, which waits for the broker. Frames on inproc have no greatest size: both ends are ours.
     */
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

/* Events of the pipe bear `whose`. */
static bool watch_pipe(const struct loop *loop, zsock_t *pipe, void *whose)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = whose};
    return epoll_ctl(loop->input, EPOLL_CTL_ADD, mmq_socket_descriptor(pipe), &event) == 0;
}

static bool start_thread(struct loop *loop, mmq_work_thread *thread)
{
    thread->worker = loop->worker;
    thread->index = loop->thread_count;
    thread->awake = true;
    mmq_message_init(&thread->stuck);
    thread->batch = calloc(loop->worker->options.batch_max, sizeof *thread->batch);
    if (thread->batch != NULL && open_pipe(thread) && watch_pipe(loop, thread->loop_pipe, thread) &&
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
    CHECK(loop->thread_count == 0);
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
    while (loop->control_awake) {
        loop->control_awake =
            mmq_message_receive(&message, zsock_resolve(loop->worker->loop_control), 64) == MMQ_OK;
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
        leave_brokers(loop, "the worker stops");
        end_threads(loop);
    }
}

/* Milliseconds until a timer is due, rounded up, or the loop must show that it lives. */
static int wait_ms(const struct loop *loop)
{
    const int64_t now_ns = mmq_now_ns();
    int64_t due_ns = now_ns + MMQ_VITALS_PASS_MS * MMQ_NS_PER_MS;
    if (loop->state == DRAINING && loop->drain_end_ns < due_ns) {
        due_ns = loop->drain_end_ns;
    }
    for (size_t i = 0; serves(loop) && i < loop->link_count; i++) {
        const int64_t link_ns = mmq_worker_link_due_ns(loop->links[i]);
        due_ns = link_ns < due_ns ? link_ns : due_ns;
    }
    const int64_t left_ns = due_ns - now_ns;
    return left_ns <= 0 ? 0 : (int)(left_ns / MMQ_NS_PER_MS + 1);
}

/* Something is awake that can be read now. */
static bool is_awake(const struct loop *loop)
{
    bool awake = loop->control_awake;
    for (size_t i = 0; i < loop->link_count; i++) {
        awake |= mmq_worker_link_is_awake(loop->links[i]);
    }
    for (size_t i = 0; i < loop->thread_count; i++) {
        awake |= loop->threads[i].awake && loop->threads[i].stuck.count == 0;
    }
    return awake;
}

static void wake(struct loop *loop, void *whose)
{
    for (size_t i = 0; i < loop->link_count; i++) {
        if (whose == loop->links[i]) {
            mmq_worker_link_wake(loop->links[i]);
            return;
        }
    }
    if (whose == loop->worker) {
        loop->control_awake = true;
    } else {
        ((mmq_work_thread *)whose)->awake = true;
    }
}

static void wait_input(struct loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    const int count =
        epoll_wait(loop->input, events, EVENTS_MAX, is_awake(loop) ? 0 : wait_ms(loop));
    for (int i = 0; i < count; i++) {
        wake(loop, events[i].data.ptr);
    }
}

static void read_threads(struct loop *loop)
{
    for (size_t i = 0; i < loop->thread_count; i++) {
        if (loop->threads[i].awake || loop->threads[i].stuck.count > 0) {
            read_thread(loop, &loop->threads[i]);
        }
    }
}

static bool open_input(struct loop *loop)
{
    loop->input = epoll_create1(EPOLL_CLOEXEC);
    loop->control_awake = true;
    if (loop->input < 0 || !watch_pipe(loop, loop->worker->loop_control, loop->worker)) {
        static const char reason[] = "no descriptors left for a worker";
        fail(loop, reason, sizeof reason - 1);
        return false;
    }
    return make_links(loop);
}

static void run(struct loop *loop)
{
    if (open_input(loop)) {
        start_threads(loop);
    }
    while (loop->state != STOPPING || loop->ended_count < loop->thread_count) {
        wait_input(loop);
        atomic_fetch_add_explicit(&loop->worker->passes, 1, memory_order_relaxed);
        read_control(loop);
        tend_links(loop);
        read_threads(loop);
        dispatch(loop);
        drain(loop);
    }
    for (size_t i = 0; i < loop->thread_count; i++) {
        CHECK(pthread_join(loop->threads[i].pthread, NULL) == 0);
        free_thread(&loop->threads[i]);
    }
}

static void clear_loop(struct loop *loop)
{
    mmq_request *request;
    while ((request = TAILQ_FIRST(&loop->queue)) != NULL) {
        TAILQ_REMOVE(&loop->queue, request, link);
        mmq_request_destroy(&request);
    }
    for (size_t i = 0; i < loop->link_count; i++) {
        mmq_worker_link_destroy(&loop->links[i]);
    }
    free(loop->threads);
    if (loop->input >= 0) {
        close(loop->input);
    }
}

void *mmq_worker_run_loop(void *worker)
{
    mmq_log_role("worker");
    struct loop loop = {.worker = worker};
    TAILQ_INIT(&loop.queue);
    run(&loop);
    clear_loop(&loop);
    return NULL;
}
