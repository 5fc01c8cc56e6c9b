/* Each worker is one thread with one DEALER. It reads until nothing is left, answers what is served
 * by now, and then waits in poll(2) for its socket, its connection, its next deadline or the end.
 * What is read but not served yet waits in `queue`, up to the greatest capacity there is; beyond
 * that it waits in the socket.
 *
 * Every message of the broker is a sign of life, so that workers also serve a forwarder that sends
 * requests but no heartbeats. After a silence, a DISCONNECT or a lost connection a worker connects
 * anew; what it held is the broker's to end or to give to another. */
#include "clients/load/workers.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "clients/load/echo.h"
#include "lib/clock.h"
#include "lib/dealer.h"
#include "lib/envelope.h"

enum {
    STACK_SIZE = 256 * 1024,
    SEND_HWM = 1000,
    MESSAGES_MAX = 64, /* read at a time */
    ROUNDS_MAX = 16,   /* of a turn */
    RECONNECT_MS = 200,
    HEARTBEAT_MS = 1000,
    LIVENESS_MS = 3000,
    PLAIN_HEARTBEAT_MS = 2500,
    PLAIN_LIVENESS_MS = 10000,
    LINGER_MS = 200,
};

/* A request that waits for its service to end. */
typedef struct held {
    STAILQ_ENTRY(held) link;
    int64_t end_ns;
    size_t body; /* index of the body's frame */
    mmq_message message;
} held;

typedef struct worker {
    mmq_load_workers *workers;
    pthread_t thread;
    mmq_dealer *dealer; /* NULL between two connections */
    bool ready_sent;
    bool said_ready; /* once in its life */
    int64_t heard_ns, heartbeat_ns, open_ns;
    int64_t busy_ns; /* when the last request of the queue is served */
    STAILQ_HEAD(, held) queue;
    size_t held_count;
    _Atomic uint64_t served; /* written by the thread only */
} worker;

struct mmq_load_workers {
    mmq_load_worker_options options;
    int64_t interval_ns, liveness_ns; /* of heartbeats */
    int stop;                         /* an eventfd that all poll; readable from the end on */
    _Atomic size_t ready;
    size_t count; /* threads that were started */
    worker workers[];
};

/* ---- the connection ----------------------------------------------------------------------- */

static void drop_first(worker *self)
{
    held *first = STAILQ_FIRST(&self->queue);
    STAILQ_REMOVE_HEAD(&self->queue, link);
    self->held_count--;
    mmq_message_clear(&first->message);
    free(first);
}

static void close_connection(worker *self, int linger_ms)
{
    mmq_dealer_destroy(&self->dealer, linger_ms);
    while (!STAILQ_EMPTY(&self->queue)) {
        drop_first(self);
    }
    self->busy_ns = 0;
    self->open_ns = mmq_now_ns() + RECONNECT_MS * MMQ_NS_PER_MS;
}

static void open_connection(worker *self, int64_t now_ns)
{
    const mmq_load_worker_options *options = &self->workers->options;
    const mmq_dealer_options dealer = {
        .frame_max = MMQ_MESSAGE_MAX, .send_hwm = SEND_HWM, .curve = options->curve};
    self->dealer = mmq_dealer_new(options->endpoint, &dealer, NULL);
    self->open_ns = now_ns + RECONNECT_MS * MMQ_NS_PER_MS;
    self->heard_ns = now_ns;
    self->ready_sent = false;
}

static bool say(worker *self, mmq_worker_command command)
{
    const mmq_load_worker_options *options = &self->workers->options;
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err = command == MMQ_WORKER_READY
                      ? mmq_envelope_ready(&message, options->service,
                                           options->capacity > 1 ? options->capacity : 0)
                      : mmq_envelope_begin_worker(&message, command, NULL, 0);
    if (!err) {
        err = mmq_message_send(&message, mmq_dealer_socket(self->dealer));
    }
    mmq_message_clear(&message);
    return !err;
}

static void send_ready(worker *self, int64_t now_ns)
{
    if (!mmq_dealer_connected(self->dealer) || !say(self, MMQ_WORKER_READY)) {
        return;
    }
    self->ready_sent = true;
    self->heard_ns = now_ns;
    self->heartbeat_ns = now_ns + self->workers->interval_ns;
    if (!self->said_ready) {
        self->said_ready = true;
        atomic_fetch_add(&self->workers->ready, 1);
    }
}

static void tend_connection(worker *self, int64_t now_ns)
{
    if (!self->dealer && now_ns >= self->open_ns) {
        open_connection(self, now_ns);
    }
    if (!self->dealer) {
        return;
    }
    bool silent = now_ns - self->heard_ns > self->workers->liveness_ns &&
                  STAILQ_EMPTY(&self->queue) && self->ready_sent;
    if (mmq_dealer_check(self->dealer) || silent) {
        close_connection(self, 0);
    } else if (!self->ready_sent) {
        send_ready(self, now_ns);
    } else if (now_ns >= self->heartbeat_ns) {
        (void)say(self, MMQ_WORKER_HEARTBEAT);
        self->heartbeat_ns = now_ns + self->workers->interval_ns;
    }
}

/* ---- requests ----------------------------------------------------------------------------- */

static mmq_err append_answer(mmq_message *answer, const mmq_frame *body)
{
    mmq_routing routing;
    mmq_routing_scan(mmq_frame_data(body), mmq_frame_size(body), &routing);
    const mmq_header header = {
        .id = routing.id, .id_size = routing.id_size, .status = 200, .rows = -1, .seq = 0};
    mmq_frame head;
    mmq_err err = mmq_header_final(&head, &header);
    if (!err) {
        err = mmq_message_append(answer, &head);
    }
    mmq_frame_close(&head);
    const char *data;
    size_t size;
    if (!err && mmq_echo_find(mmq_frame_data(body), mmq_frame_size(body), &data, &size)) {
        err = mmq_message_append_copy(answer, data, size);
    }
    return err;
}

/* Answers a REQUEST; an answer that cannot leave is lost, which the asker will notice. */
static void answer_request(worker *self, const mmq_message *request, size_t body)
{
    mmq_message answer;
    mmq_envelope envelope;
    mmq_message_init(&answer);
    mmq_err err = mmq_envelope_parse_worker(request, 0, &envelope, NULL);
    if (!err) {
        err = mmq_envelope_begin_worker(&answer, MMQ_WORKER_FINAL, envelope.token,
                                        envelope.token_size);
    }
    if (!err) {
        err = append_answer(&answer, &request->frames[body]);
    }
    if (!err) {
        err = mmq_message_send(&answer, mmq_dealer_socket(self->dealer));
    }
    mmq_message_clear(&answer);
    if (!err) {
        atomic_store_explicit(&self->served,
                              atomic_load_explicit(&self->served, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    }
}

static void hold_request(worker *self, mmq_message *request, size_t body, int64_t now_ns)
{
    held *item = malloc(sizeof *item);
    if (!item) {
        return; /* the broker's deadline ends it */
    }
    self->busy_ns = (self->busy_ns > now_ns ? self->busy_ns : now_ns);
    self->busy_ns += self->workers->options.service_ns;
    item->end_ns = self->busy_ns;
    item->body = body;
    mmq_message_init(&item->message);
    mmq_message_move(&item->message, request);
    STAILQ_INSERT_TAIL(&self->queue, item, link);
    self->held_count++;
}

static void take_command(worker *self, mmq_message *message, int64_t now_ns)
{
    mmq_envelope envelope;
    if (mmq_envelope_parse_worker(message, 0, &envelope, NULL)) {
        return;
    }
    self->heard_ns = now_ns;
    if (envelope.command == MMQ_WORKER_DISCONNECT) {
        close_connection(self, 0);
    } else if (envelope.command != MMQ_WORKER_REQUEST || envelope.body >= message->count) {
        return;
    } else if (self->workers->options.service_ns > 0) {
        hold_request(self, message, envelope.body, now_ns);
    } else {
        answer_request(self, message, envelope.body);
    }
}

/* True if something was there. */
static bool take_commands(worker *self)
{
    int64_t now_ns = mmq_now_ns();
    mmq_message message;
    mmq_message_init(&message);
    size_t count = 0;
    while (count < MESSAGES_MAX && self->dealer && self->held_count < MMQ_CAPACITY_MAX &&
           !mmq_message_receive(&message, mmq_dealer_socket(self->dealer), MMQ_MESSAGE_MAX)) {
        take_command(self, &message, now_ns);
        count++;
    }
    mmq_message_clear(&message);
    return count > 0;
}

static bool answer_served(worker *self)
{
    int64_t now_ns = mmq_now_ns();
    bool any = false;
    held *first;
    while ((first = STAILQ_FIRST(&self->queue)) != NULL && first->end_ns <= now_ns) {
        answer_request(self, &first->message, first->body);
        drop_first(self);
        any = true;
    }
    return any;
}

/* ---- the thread --------------------------------------------------------------------------- */

/* A broker that is away is not silent: its return is a thing to read. */
static int64_t next_turn(const worker *self)
{
    if (!self->dealer) {
        return self->open_ns;
    }
    if (!self->ready_sent) {
        return mmq_now_ns() + self->workers->liveness_ns;
    }
    const held *first = STAILQ_FIRST(&self->queue); /* who works does not mind silence */
    const int64_t turn_ns = first ? first->end_ns : self->heard_ns + self->workers->liveness_ns;
    return self->heartbeat_ns < turn_ns ? self->heartbeat_ns : turn_ns;
}

/* Waits, or only looks whether it is the end if there is `more` to do. False at the end. */
static bool wait_for_turn(worker *self, bool more)
{
    struct pollfd items[1 + MMQ_DEALER_DESCRIPTORS] = {
        {.fd = self->workers->stop, .events = POLLIN}};
    nfds_t count = 1;
    if (self->dealer && !more) {
        int descriptors[MMQ_DEALER_DESCRIPTORS];
        mmq_dealer_descriptors(self->dealer, descriptors);
        for (size_t i = 0; i < MMQ_DEALER_DESCRIPTORS; i++) {
            items[count++] = (struct pollfd){.fd = descriptors[i], .events = POLLIN};
        }
    }
    int64_t left_ns = more ? 0 : next_turn(self) - mmq_now_ns();
    left_ns = left_ns > 0 ? left_ns : 0;
    const struct timespec left = {left_ns / MMQ_NS_PER_S, left_ns % MMQ_NS_PER_S};
    (void)ppoll(items, count, &left, NULL);
    return (items[0].revents & POLLIN) == 0;
}

/* True if there may be more: what a send takes note of, the descriptor does not tell any more, so
 * only a turn in which nothing was there may be followed by waiting. */
static bool turn(worker *self)
{
    tend_connection(self, mmq_now_ns());
    bool any = self->dealer != NULL;
    for (size_t i = 0; any && i < ROUNDS_MAX; i++) {
        any = take_commands(self);
        any |= answer_served(self);
        any &= self->dealer != NULL;
    }
    return any;
}

static void *run_worker(void *context)
{
    worker *self = context;
    bool more;
    do {
        more = turn(self);
    } while (wait_for_turn(self, more));
    if (self->dealer && self->ready_sent) {
        (void)say(self, MMQ_WORKER_DISCONNECT);
    }
    close_connection(self, LINGER_MS);
    return NULL;
}

static bool start_threads(mmq_load_workers *workers)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    bool ok = true;
    while (ok && workers->count < workers->options.count) {
        worker *self = &workers->workers[workers->count];
        self->workers = workers;
        STAILQ_INIT(&self->queue);
        ok = pthread_create(&self->thread, &attributes, run_worker, self) == 0;
        workers->count += ok;
    }
    pthread_attr_destroy(&attributes);
    return ok;
}

mmq_load_workers *mmq_load_workers_new(const mmq_load_worker_options *options, mmq_why *why)
{
    mmq_load_workers *workers =
        calloc(1, sizeof *workers + options->count * sizeof *workers->workers);
    if (!workers) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for %zu workers", options->count);
        return NULL;
    }
    bool plain = options->capacity <= 1;
    workers->options = *options;
    workers->interval_ns = (plain ? PLAIN_HEARTBEAT_MS : HEARTBEAT_MS) * MMQ_NS_PER_MS;
    workers->liveness_ns = (plain ? PLAIN_LIVENESS_MS : LIVENESS_MS) * MMQ_NS_PER_MS;
    workers->stop = eventfd(0, EFD_CLOEXEC);
    if (workers->stop < 0 || !start_threads(workers)) {
        (void)mmq_fail(why, MMQ_EUNAVAILABLE, "only %zu of %zu workers could be started",
                       workers->count, options->count);
        mmq_load_workers_destroy(&workers);
    }
    return workers;
}

size_t mmq_load_workers_ready(const mmq_load_workers *workers)
{
    return atomic_load(&workers->ready);
}

uint64_t mmq_load_workers_served(const mmq_load_workers *workers)
{
    uint64_t served = 0;
    for (size_t i = 0; i < workers->count; i++) {
        served += atomic_load_explicit(&workers->workers[i].served, memory_order_relaxed);
    }
    return served;
}

void mmq_load_workers_destroy(mmq_load_workers **workers_p)
{
    mmq_load_workers *workers = *workers_p;
    if (!workers) {
        return;
    }
    if (workers->stop >= 0) {
        (void)eventfd_write(workers->stop, 1);
    }
    for (size_t i = 0; i < workers->count; i++) {
        pthread_join(workers->workers[i].thread, NULL);
    }
    if (workers->stop >= 0) {
        close(workers->stop);
    }
    free(workers);
    *workers_p = NULL;
}
