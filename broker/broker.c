/* The broker's thread: two ROUTER sockets around the core.
 *
 * The loop drains workers before clients, since answers free what requests wait for, each in
 * bounded bursts; the time is read once a burst. Sockets are made and bound by the caller of
 * mmq_broker_new, so that errors come back to it, and belong to the thread until that has ended. */
#include "broker/broker.h"

#include <czmq.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "lib/clock.h"
#include "lib/dealer.h"
#include "lib/log.h"
#include "metricmq/frame.h"
#include "metricmq/protocol.h"

enum {
    BURST = 256,               /* messages of one socket before the other is looked at */
    ENVELOPE_ROOM = 64 * 1024, /* over the bound on bodies: peer, magic, service, headers */
    ENDPOINT_MAX = 256,
    SERVICES_MAX = 1000,
    WORKERS_MAX = 10000,
    REQUESTS_MAX = 100000,
    BYTES_MAX = 256 * 1024 * 1024,
};

struct mmq_broker {
    zactor_t *actor;
    zsock_t *clients; /* ROUTER */
    zsock_t *workers; /* ROUTER */
    char endpoint[ENDPOINT_MAX];
    char worker_endpoint[ENDPOINT_MAX];
    mmq_core *core;
    unsigned drain_ms;
    atomic_bool ended; /* orders the thread's last writes before our frees */
};

typedef struct socket_option {
    int name;
    int value;
} socket_option;

/* Both sides. */
static const socket_option common_options[] = {
    {ZMQ_ROUTER_MANDATORY, 1},     /* a full or missing peer is an error, not silence */
    {ZMQ_HANDSHAKE_IVL, 5000},     /* strangers that say nothing are cut (default 30 s) */
    {ZMQ_TCP_KEEPALIVE, 1},        /* half-open peers older than ZMTP's heartbeats */
    {ZMQ_TCP_KEEPALIVE_IDLE, 60},  /* seconds */
    {ZMQ_TCP_KEEPALIVE_INTVL, 10}, /* seconds */
    {ZMQ_TCP_KEEPALIVE_CNT, 3},
    {ZMQ_BACKLOG, 1024}, /* all clients come back at once after a restart */
    {ZMQ_LINGER, 1000},  /* last answers get out, a dead peer holds nobody up */
};

/* A client that does not read stops its ZMTP, so its heartbeat must be longer than the 30 s that
 * the core is patient. 128 frames of 256 KiB are two of the largest pages. */
static const socket_option client_options[] = {
    {ZMQ_SNDHWM, 128},
    {ZMQ_RCVHWM, 256}, /* a flood waits in its own connection */
    {ZMQ_MAXMSGSIZE, MMQ_MESSAGE_MAX},
    {ZMQ_HEARTBEAT_IVL, 10000},
    {ZMQ_HEARTBEAT_TIMEOUT, 60000},
};

/* A worker is sent as many requests as it has capacity for, and heartbeats. */
static const socket_option worker_options[] = {
    {ZMQ_SNDHWM, MMQ_CAPACITY_MAX + 24}, {ZMQ_RCVHWM, 256},
    {ZMQ_MAXMSGSIZE, MMQ_FRAME_LIMIT},   {ZMQ_HEARTBEAT_IVL, 5000},
    {ZMQ_HEARTBEAT_TIMEOUT, 15000},
};

static mmq_err set_options(zsock_t *socket, const socket_option *options, size_t count,
                           mmq_why *why)
{
    for (size_t i = 0; i < count; i++) {
        int64_t wide = options[i].value; /* the one option that is an int64_t */
        bool is_wide = options[i].name == ZMQ_MAXMSGSIZE;
        const void *value = is_wide ? (const void *)&wide : &options[i].value;
        size_t size = is_wide ? sizeof wide : sizeof options[i].value;
        if (zmq_setsockopt(zsock_resolve(socket), options[i].name, value, size) != 0) {
            return mmq_fail(why, MMQ_EINVAL, "socket option %d: %s", options[i].name,
                            zmq_strerror(errno));
        }
    }
    return MMQ_OK;
}

static mmq_err bind_endpoint(zsock_t *socket, const char *endpoint, mmq_why *why)
{
    if (!mmq_endpoint_port_fits(endpoint)) {
        return mmq_fail(why, MMQ_EINVAL, "cannot bind %s: the port is over 65535", endpoint);
    }
    if (zmq_bind(zsock_resolve(socket), endpoint) != 0) {
        return mmq_fail(why, MMQ_EBUSY, "cannot bind %s: %s", endpoint, zmq_strerror(errno));
    }
    return MMQ_OK;
}

/* Not for all: an IPv4 address would come back from the socket as [::ffff:127.0.0.1]. */
static bool wants_ipv6(const char *endpoint)
{
    return strchr(endpoint, '[') != NULL || strncmp(endpoint, "tcp://*:", 8) == 0;
}

/* A ROUTER bound to an endpoint, whose resolved form goes to `resolved`, and on inproc. */
static zsock_t *open_socket(const char *endpoint, const char *inproc, const socket_option *options,
                            size_t count, char resolved[ENDPOINT_MAX], mmq_why *why)
{
    zsock_t *socket = zsock_new(ZMQ_ROUTER);
    if (socket == NULL) {
        (void)mmq_fail(why, MMQ_EIO, "no socket: %s", zmq_strerror(errno));
        return NULL;
    }
    size_t size = ENDPOINT_MAX;
    size_t common = sizeof common_options / sizeof *common_options;
    const socket_option ipv6 = {ZMQ_IPV6, wants_ipv6(endpoint)};
    mmq_err err = set_options(socket, common_options, common, why);
    if (err == MMQ_OK) {
        err = set_options(socket, &ipv6, 1, why);
    }
    if (err == MMQ_OK) {
        err = set_options(socket, options, count, why);
    }
    if (err == MMQ_OK) {
        err = bind_endpoint(socket, endpoint, why);
    }
    if (err == MMQ_OK &&
        zmq_getsockopt(zsock_resolve(socket), ZMQ_LAST_ENDPOINT, resolved, &size) != 0) {
        err = mmq_fail(why, MMQ_EINVAL, "%s: %s", endpoint, zmq_strerror(errno));
    }
    if (err == MMQ_OK) {
        err = bind_endpoint(socket, inproc, why);
    }
    if (err != MMQ_OK) {
        zsock_destroy(&socket);
    }
    return socket;
}

/* The inproc name is given back at once, not when libzmq's reaper comes round. */
static void close_socket(zsock_t **socket, const char *inproc)
{
    if (*socket != NULL) {
        zmq_unbind(zsock_resolve(*socket), inproc);
        zsock_destroy(socket);
    }
}

static mmq_err send_message(void *context, mmq_side side, mmq_message *message)
{
    mmq_broker *broker = context;
    zsock_t *socket = side == MMQ_SIDE_CLIENTS ? broker->clients : broker->workers;
    return mmq_message_send(message, zsock_resolve(socket));
}

static void drain_socket(mmq_broker *broker, mmq_side side)
{
    bool clients = side == MMQ_SIDE_CLIENTS;
    void *socket = zsock_resolve(clients ? broker->clients : broker->workers);
    size_t size_max = (size_t)(clients ? MMQ_MESSAGE_MAX : MMQ_FRAME_LIMIT) + ENVELOPE_ROOM;
    int64_t now_ns = mmq_now_ns();
    mmq_message message;
    mmq_message_init(&message);
    for (int i = 0; i < BURST; i++) {
        mmq_err err = mmq_message_receive(&message, socket, size_max);
        if (err == MMQ_ETOOBIG) {
            mmq_core_too_big(broker->core, side, &message, now_ns);
        } else if (err != MMQ_OK) {
            break;
        } else if (clients) {
            mmq_core_from_client(broker->core, &message, now_ns);
        } else {
            mmq_core_from_worker(broker->core, &message, now_ns);
        }
    }
    mmq_message_clear(&message);
}

/* zactor sends one command only: $TERM. */
static bool is_told_to_stop(zsock_t *pipe)
{
    char *command = zstr_recv(pipe);
    bool stop = command == NULL || strcmp(command, "$TERM") == 0;
    zstr_free(&command);
    return stop;
}

static long poll_timeout(int64_t due_ns)
{
    return due_ns < 0 ? -1 : (long)((due_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS);
}

/* One turn: waits for input or the next due time. False if the sockets are no more or, with a pipe,
 * if it said so. */
static bool take_turn(mmq_broker *broker, zsock_t *pipe, int64_t wait_max_ns)
{
    int64_t due_ns = mmq_core_tick(broker->core, mmq_now_ns());
    if (wait_max_ns >= 0 && (due_ns < 0 || due_ns > wait_max_ns)) {
        due_ns = wait_max_ns;
    }
    zmq_pollitem_t items[] = {
        {zsock_resolve(broker->workers), 0, ZMQ_POLLIN, 0},
        {zsock_resolve(broker->clients), 0, ZMQ_POLLIN, 0},
        {pipe != NULL ? zsock_resolve(pipe) : NULL, 0, ZMQ_POLLIN, 0},
    };
    if (zmq_poll(items, pipe != NULL ? 3 : 2, poll_timeout(due_ns)) < 0 && errno != EINTR) {
        return false;
    }
    if ((items[0].revents & ZMQ_POLLIN) != 0) {
        drain_socket(broker, MMQ_SIDE_WORKERS);
    }
    if ((items[1].revents & ZMQ_POLLIN) != 0) {
        drain_socket(broker, MMQ_SIDE_CLIENTS);
    }
    return (items[2].revents & ZMQ_POLLIN) == 0 || !is_told_to_stop(pipe);
}

static void drain_core(mmq_broker *broker)
{
    int64_t end_ns = mmq_now_ns() + (int64_t)broker->drain_ms * MMQ_NS_PER_MS;
    mmq_core_drain(broker->core, mmq_now_ns());
    for (;;) {
        int64_t left_ns = end_ns - mmq_now_ns();
        if (left_ns <= 0 || mmq_core_idle(broker->core) || !take_turn(broker, NULL, left_ns)) {
            break;
        }
    }
    mmq_core_end(broker->core, mmq_now_ns());
}

static void run_broker(zsock_t *pipe, void *args)
{
    mmq_broker *broker = args;
    mmq_log_role("broker");
    zsock_signal(pipe, 0);
    mmq_log(MMQ_INFO, "ready", MMQ_S("clients", broker->endpoint),
            MMQ_S("workers", broker->worker_endpoint));
    while (take_turn(broker, pipe, -1)) {
    }
    mmq_log(MMQ_INFO, "stopping", MMQ_I("drain_ms", broker->drain_ms));
    drain_core(broker);
    atomic_store(&broker->ended, true);
}

static mmq_core *make_core(mmq_broker *broker, const mmq_broker_settings *settings)
{
    const mmq_core_settings core_settings = {
        .queue_max = settings->queue_max,
        .queue_bytes_max = settings->queue_bytes_max,
        .services_max = SERVICES_MAX,
        .workers_max = WORKERS_MAX,
        .requests_max = REQUESTS_MAX,
        .bytes_max = BYTES_MAX,
        .send = send_message,
        .context = broker,
    };
    return mmq_core_new(&core_settings, mmq_now_ns());
}

mmq_broker *mmq_broker_new(const mmq_broker_settings *settings, mmq_why *why)
{
    mmq_broker *broker = calloc(1, sizeof *broker);
    if (broker == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the broker");
        return NULL;
    }
    broker->drain_ms = settings->drain_ms;
    broker->clients =
        open_socket(settings->bind, MMQ_INPROC_CLIENTS, client_options,
                    sizeof client_options / sizeof *client_options, broker->endpoint, why);
    if (broker->clients != NULL) {
        broker->workers = open_socket(settings->bind_workers, MMQ_INPROC_WORKERS, worker_options,
                                      sizeof worker_options / sizeof *worker_options,
                                      broker->worker_endpoint, why);
    }
    if (broker->workers != NULL) {
        broker->core = make_core(broker, settings);
        broker->actor = broker->core != NULL ? zactor_new(run_broker, broker) : NULL;
        if (broker->actor == NULL) {
            (void)mmq_fail(why, MMQ_ENOMEM, "the broker's thread does not start");
        }
    }
    if (broker->actor == NULL) {
        mmq_broker_destroy(&broker);
    }
    return broker;
}

const char *mmq_broker_endpoint(const mmq_broker *broker)
{
    return broker->endpoint;
}

const char *mmq_broker_worker_endpoint(const mmq_broker *broker)
{
    return broker->worker_endpoint;
}

void mmq_broker_destroy(mmq_broker **broker_p)
{
    mmq_broker *broker = *broker_p;
    if (broker == NULL) {
        return;
    }
    zactor_destroy(&broker->actor); /* returns when the thread has ended */
    (void)atomic_load(&broker->ended);
    mmq_core_destroy(&broker->core);
    close_socket(&broker->clients, MMQ_INPROC_CLIENTS);
    close_socket(&broker->workers, MMQ_INPROC_WORKERS);
    free(broker);
    *broker_p = NULL;
}
