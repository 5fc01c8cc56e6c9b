/* Each connection has a generation. A request bears that of its connection: once that has ended,
 * the broker has ended or re-dispatched the request, so answers to it are dropped. The generation
 * is what the threads of the worker look at; only this file writes it.
 *
 * held counts the requests of the connection, from REQUEST to FINAL: the broker keeps it within the
 * capacity that READY named.
 *
 * libzmq's descriptors tell of what is new only to who has found the socket empty, and any call of
 * libzmq may take note of it. So the link is awake, and is read, from an event or a message sent
 * until it was read to its end.
 *
 * A connection is left when the broker has been silent for liveness_ns, or lets an answer wait for
 * BLOCKED_NS. After a loss the next one is tried within a second, and libzmq tries every 100 ms or
 * when CONNECT_TIMEOUT_MS of dealer.c are over: so READY is out within 2 s of a broker's return. */
#include "lib/worker_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/dealer.h"
#include "lib/log.h"
#include "lib/envelope.h"

enum {
    SEND_HWM = 64,     /* messages of up to 256 KiB that wait for the network */
    MESSAGES_MAX = 64, /* read in a pass */
    BACKOFF_LEAST_MS = 100,
    BACKOFF_MOST_MS = 1000,
    LINGER_MS = 1000,
};

/* As long as the broker bears with a client that does not read. Once SEND_HWM is reached, libzmq
 * takes the next message when half of them are gone: up to 8 MiB. */
#define BLOCKED_NS (30 * MMQ_NS_PER_S)

struct mmq_worker_link {
    mmq_worker *worker;
    size_t index; /* among the worker's links */
    const char *endpoint, *service;
    unsigned capacity;
    mmq_dealer *dealer; /* NULL between two connections */
    int input;          /* epoll; the loop's */
    bool awake, monitor_awake;
    bool full; /* nothing can be sent until libzmq says otherwise */
    size_t held;
    bool ready_sent;
    bool complained;
    int64_t interval_ns; /* of heartbeats */
    int64_t liveness_ns;
    int64_t heard_ns;     /* when the broker last said something */
    int64_t heartbeat_ns; /* when we say something next */
    int64_t blocked_ns;   /* since when the broker takes no answer; 0: it does */
    int64_t open_ns;      /* when to connect again */
    unsigned failures;    /* connections in a row over which the broker said nothing */
};

mmq_worker_link *mmq_worker_link_new(mmq_worker *worker, size_t index, int input)
{
    mmq_worker_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    const bool first = index < worker->endpoints.count;
    link->worker = worker;
    link->index = index;
    link->input = input;
    link->endpoint = worker->endpoints.items[index % worker->endpoints.count];
    link->service = mmq_worker_link_service(worker, index);
    link->capacity = first ? worker->options.capacity : worker->options.second_capacity;
    const bool plain = link->capacity == 1;
    link->interval_ns = (plain ? 2500 : 1000) * MMQ_NS_PER_MS;
    link->liveness_ns = (plain ? 10000 : 3000) * MMQ_NS_PER_MS;
    return link;
}

static mmq_err watch_dealer(mmq_worker_link *link, mmq_why *why)
{
    int descriptors[MMQ_DEALER_DESCRIPTORS];
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = link};
    mmq_dealer_descriptors(link->dealer, descriptors);
    for (size_t i = 0; i < MMQ_DEALER_DESCRIPTORS; i++) {
        if (epoll_ctl(link->input, EPOLL_CTL_ADD, descriptors[i], &event) != 0) {
            return mmq_fail(why, MMQ_EUNAVAILABLE, "a worker cannot wait for its socket: %s",
                            strerror(errno));
        }
    }
    link->awake = link->monitor_awake = true;
    return MMQ_OK;
}

/* libzmq closes the descriptors some time after the sockets were destroyed. */
static void end_dealer(mmq_worker_link *link)
{
    if (link->dealer != NULL) {
        int descriptors[MMQ_DEALER_DESCRIPTORS];
        mmq_dealer_descriptors(link->dealer, descriptors);
        for (size_t i = 0; i < MMQ_DEALER_DESCRIPTORS; i++) {
            (void)epoll_ctl(link->input, EPOLL_CTL_DEL, descriptors[i], NULL);
        }
    }
    link->awake = link->monitor_awake = false;
    mmq_dealer_destroy(&link->dealer, LINGER_MS);
}

void mmq_worker_link_destroy(mmq_worker_link **link_p)
{
    mmq_worker_link *link = *link_p;
    if (link == NULL) {
        return;
    }
    end_dealer(link);
    free(link);
    *link_p = NULL;
}

/* Ends the connection; what was taken over it is the broker's to end. */
static void close_connection(mmq_worker_link *link, const char *reason)
{
    if (link->dealer == NULL) {
        return;
    }
    const bool is_news = !mmq_worker_stopping(link->worker) && link->failures == 0;
    mmq_log(is_news ? MMQ_WARN : MMQ_DEBUG, "the connection to the broker ends",
            MMQ_S("reason", reason), MMQ_S("broker", link->endpoint),
            MMQ_S("service", link->service));
    end_dealer(link);
    atomic_fetch_add(&link->worker->generations[link->index], 1);
    link->held = 0;
    link->open_ns =
        mmq_now_ns() + mmq_backoff_ns(link->failures++, BACKOFF_LEAST_MS, BACKOFF_MOST_MS);
}

static void open_connection(mmq_worker_link *link, int64_t now_ns)
{
    const mmq_dealer_options options = {
        .frame_max = MMQ_MESSAGE_MAX, .send_hwm = SEND_HWM, .curve = link->worker->options.curve};
    mmq_why why;
    link->dealer = mmq_dealer_new(link->endpoint, &options, &why);
    if (link->dealer != NULL && watch_dealer(link, &why) != MMQ_OK) {
        end_dealer(link);
    }
    if (link->dealer == NULL) {
        mmq_log(MMQ_ERROR, "cannot connect to the broker", MMQ_S("reason", why.text));
        link->open_ns = now_ns + BACKOFF_MOST_MS * MMQ_NS_PER_MS;
        return;
    }
    link->ready_sent = false;
    link->complained = false;
    link->heard_ns = now_ns;
    link->blocked_ns = 0;
    link->full = false;
}

/* Sends a command that has no body. What cannot leave now is not sent. */
static bool say(mmq_worker_link *link, mmq_worker_command command)
{
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err =
        command == MMQ_WORKER_READY
            ? mmq_envelope_ready(&message, link->service, link->capacity > 1 ? link->capacity : 0)
            : mmq_envelope_begin_worker(&message, command, NULL, 0);
    if (err == MMQ_OK) {
        err = mmq_message_send(&message, mmq_dealer_socket(link->dealer));
        link->awake = true;
    }
    mmq_message_clear(&message);
    return err == MMQ_OK;
}

void mmq_worker_link_leave(mmq_worker_link *link, const char *reason)
{
    if (link->dealer != NULL && link->ready_sent) {
        (void)say(link, MMQ_WORKER_DISCONNECT);
    }
    close_connection(link, reason);
}

/* ---- tending ------------------------------------------------------------------------------ */

static void check_connection(mmq_worker_link *link, int64_t now_ns)
{
    bool lost = link->monitor_awake && mmq_dealer_check(link->dealer);
    link->monitor_awake = false;
    if (lost) {
        close_connection(link, mmq_dealer_denied(link->dealer)
                                   ? "the handshake failed: do both sides use CURVE, and are the "
                                     "keys right?"
                                   : "connection lost");
    } else if (now_ns - link->heard_ns > link->liveness_ns) {
        close_connection(link, "the broker is silent");
    } else if (link->blocked_ns > 0 && now_ns - link->blocked_ns > BLOCKED_NS) {
        close_connection(link, "the broker takes no answers");
    }
}

static void send_ready(mmq_worker_link *link, int64_t now_ns)
{
    if (!link->ready_sent && mmq_dealer_connected(link->dealer) && say(link, MMQ_WORKER_READY)) {
        link->ready_sent = true;
        link->heard_ns = now_ns; /* it just finished the handshake, however long that took */
        link->heartbeat_ns = now_ns + link->interval_ns;
        mmq_log(MMQ_INFO, "ready", MMQ_S("service", link->service), MMQ_S("broker", link->endpoint),
                MMQ_I("capacity", link->capacity));
    }
}

void mmq_worker_link_tend(mmq_worker_link *link)
{
    int64_t now_ns = mmq_now_ns();
    if (link->dealer != NULL) {
        check_connection(link, now_ns);
    } else if (now_ns >= link->open_ns && !mmq_worker_stopping(link->worker)) {
        open_connection(link, now_ns);
    }
    if (link->dealer == NULL) {
        return;
    }
    send_ready(link, now_ns);
    if (link->ready_sent && now_ns >= link->heartbeat_ns) {
        (void)say(link, MMQ_WORKER_HEARTBEAT);
        link->heartbeat_ns = now_ns + link->interval_ns;
    }
}

static int64_t earlier(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

int64_t mmq_worker_link_due_ns(const mmq_worker_link *link)
{
    if (link->dealer == NULL) {
        return mmq_worker_stopping(link->worker) ? INT64_MAX : link->open_ns;
    }
    int64_t due_ns = link->heard_ns + link->liveness_ns;
    if (link->ready_sent) {
        due_ns = earlier(due_ns, link->heartbeat_ns);
    }
    return link->blocked_ns > 0 ? earlier(due_ns, link->blocked_ns + BLOCKED_NS) : due_ns;
}

/* ---- from the broker ---------------------------------------------------------------------- */

/* Once a connection: a broker that is wrong once is wrong often. */
static void complain(mmq_worker_link *link, const char *reason)
{
    if (!link->complained) {
        mmq_log(MMQ_WARN, "a message of the broker was dropped", MMQ_S("reason", reason),
                MMQ_S("broker", link->endpoint));
    }
    link->complained = true;
}

static void accept_request(mmq_worker_link *link, mmq_message *message, size_t body,
                           mmq_request_queue *queue)
{
    if (link->held >= link->capacity) {
        complain(link, "it sends more requests than this worker's capacity");
        return;
    }
    const mmq_origin origin = {link->index, atomic_load(&link->worker->generations[link->index])};
    mmq_request *request = mmq_request_new(message, body, origin);
    if (request == NULL) {
        mmq_worker_link_leave(link, "no memory for a request");
        return;
    }
    TAILQ_INSERT_TAIL(queue, request, link);
    link->held++;
}

static void take_command(mmq_worker_link *link, mmq_message *message, mmq_request_queue *queue)
{
    mmq_envelope envelope;
    mmq_why why;
    if (mmq_envelope_parse_worker(message, 0, &envelope, &why) != MMQ_OK) {
        complain(link, why.text);
        return;
    }
    link->heard_ns = mmq_now_ns();
    link->failures = 0;
    if (envelope.command == MMQ_WORKER_REQUEST) {
        accept_request(link, message, envelope.body, queue);
    } else if (envelope.command == MMQ_WORKER_DISCONNECT) {
        close_connection(link, "the broker said DISCONNECT");
    }
}

/* That something was read to its end may have taken note of room, and this of something to read. */
static void look_for_room(mmq_worker_link *link)
{
    if (link->full) {
        int events = 0;
        size_t size = sizeof events;
        (void)zmq_getsockopt(mmq_dealer_socket(link->dealer), ZMQ_EVENTS, &events, &size);
        link->full = (events & ZMQ_POLLOUT) == 0;
        link->awake = (events & ZMQ_POLLIN) != 0;
    }
}

void mmq_worker_link_read(mmq_worker_link *link, mmq_request_queue *queue)
{
    mmq_message message;
    mmq_message_init(&message);
    for (size_t i = 0; i < MESSAGES_MAX && link->awake; i++) {
        mmq_err err =
            mmq_message_receive(&message, mmq_dealer_socket(link->dealer), MMQ_MESSAGE_MAX);
        if (err == MMQ_OK) {
            take_command(link, &message, queue);
        } else if (err != MMQ_ETOOBIG) {
            link->awake = false;
            look_for_room(link);
            break;
        }
    }
    mmq_message_clear(&message);
}

/* ---- to the broker ------------------------------------------------------------------------ */

mmq_err mmq_worker_link_send(mmq_worker_link *link, mmq_message *message)
{
    mmq_err err = link->dealer == NULL ? MMQ_ECLOSED
                  : link->full         ? MMQ_EAGAIN
                                       : mmq_message_send(message, mmq_dealer_socket(link->dealer));
    link->awake = link->dealer != NULL && (link->awake || !link->full);
    link->full = err == MMQ_EAGAIN;
    if (err != MMQ_EAGAIN) {
        link->blocked_ns = 0;
        mmq_message_clear(message);
    } else if (link->blocked_ns == 0) {
        link->blocked_ns = mmq_now_ns();
    }
    return err;
}

void mmq_worker_link_end_request(mmq_worker_link *link)
{
    link->held--;
}

void mmq_worker_link_wake(mmq_worker_link *link)
{
    link->awake = link->monitor_awake = link->dealer != NULL;
}

bool mmq_worker_link_is_awake(const mmq_worker_link *link)
{
    return link->awake;
}

bool mmq_worker_link_is_registered(const mmq_worker_link *link)
{
    return link->dealer != NULL && link->ready_sent;
}
