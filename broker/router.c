/* Each connection that was accepted is told of as lost, too, also if it never got through its
 * handshake: so the two kinds of event count those that are there.
 *
 * CURVE: a router with keys takes no other mechanism, and nobody whom the ZAP handler does not
 * know. libzmq would take everybody if there were no handler, hence ZMQ_ZAP_ENFORCE_DOMAIN.
 * Debian's libzmq has that option though its header shows it in draft builds only; where it does
 * not, we do not start. */
#include "broker/router.h"

#include <czmq.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/zap.h"
#include "lib/dealer.h"
#include "lib/monitor.h"
#include "lib/envelope.h"

enum { ENDPOINT_MAX = 256 };

#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

struct mmq_router {
    mmq_side side;
    zsock_t *socket;
    zsock_t *monitor; /* NULL on inproc */
    bool listens;
    size_t connections;
    mmq_handshakes handshakes;
    bool secure;
    mmq_curve curve;             /* if secure */
    char endpoint[ENDPOINT_MAX]; /* resolved */
};

typedef struct socket_option {
    int name;
    int value;
} socket_option;

/* Both sides. No pings at the level of ZMTP: libzmq 4.3.4 aborts (stream_engine_base, !_io_error)
 * when one is due on a connection that ended while its input was held back by the high-water mark,
 * which any client could bring about. TCP finds peers that are gone; workers have heartbeats. */
static const socket_option common_options[] = {
    {ZMQ_ROUTER_MANDATORY, 1},     /* a full or missing peer is an error, not silence */
    {ZMQ_HANDSHAKE_IVL, 5000},     /* strangers that say nothing are cut (default 30 s) */
    {ZMQ_TCP_KEEPALIVE, 1},        /* half-open peers are found after 90 s */
    {ZMQ_TCP_KEEPALIVE_IDLE, 60},  /* seconds */
    {ZMQ_TCP_KEEPALIVE_INTVL, 10}, /* seconds */
    {ZMQ_TCP_KEEPALIVE_CNT, 3},
    {ZMQ_BACKLOG, 1024}, /* all clients come back at once after a restart */
    {ZMQ_LINGER, 1000},  /* last answers get out, a dead peer holds nobody up */
};

/* As many frames of 256 KiB are two of the largest pages. */
static const socket_option client_options[] = {
    {ZMQ_SNDHWM, MMQ_CLIENT_HWM},
    {ZMQ_RCVHWM, 256},                 /* a flood waits in its own connection */
    {ZMQ_MAXMSGSIZE, MMQ_MESSAGE_MAX}, /* else a frame's head makes us allocate what it says */
};

/* A worker is sent as many requests as it has capacity for, and heartbeats. */
static const socket_option worker_options[] = {
    {ZMQ_SNDHWM, MMQ_CAPACITY_MAX + 24},
    {ZMQ_RCVHWM, 256},
    {ZMQ_MAXMSGSIZE, MMQ_FRAME_LIMIT},
};

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

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

/* Not for all: an IPv4 address would come back from the socket as [::ffff:127.0.0.1]. */
static bool wants_ipv6(const char *endpoint)
{
    return strchr(endpoint, '[') != NULL || strncmp(endpoint, "tcp://*:", 8) == 0;
}

static mmq_err set_bytes(zsock_t *socket, int option, const char *text, mmq_why *why)
{
    return zmq_setsockopt(zsock_resolve(socket), option, text, strlen(text)) == 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL, "CURVE cannot be set up (option %d): %s", option,
                          zmq_strerror(errno));
}

static mmq_err set_keys(zsock_t *socket, mmq_side side, const mmq_curve *curve, mmq_why *why)
{
    static const socket_option options[] = {{ZMQ_CURVE_SERVER, 1}, {ZMQ_ZAP_ENFORCE_DOMAIN, 1}};
    const char *domain = mmq_side_works(side) ? MMQ_ZAP_WORKERS : MMQ_ZAP_CLIENTS;
    mmq_err err = set_options(socket, options, COUNT(options), why);
    if (err == MMQ_OK) {
        err = set_bytes(socket, ZMQ_CURVE_SECRETKEY, curve->secret_key, why);
    }
    return err == MMQ_OK ? set_bytes(socket, ZMQ_ZAP_DOMAIN, domain, why) : err;
}

static mmq_err set_all_options(zsock_t *socket, mmq_side side, const char *endpoint, mmq_why *why)
{
    const socket_option ipv6 = {ZMQ_IPV6, wants_ipv6(endpoint)};
    bool works = mmq_side_works(side);
    mmq_err err = set_options(socket, common_options, COUNT(common_options), why);
    if (err == MMQ_OK) {
        err = set_options(socket, &ipv6, 1, why);
    }
    if (err == MMQ_OK) {
        err = set_options(socket, works ? worker_options : client_options,
                          works ? COUNT(worker_options) : COUNT(client_options), why);
    }
    return err;
}

static bool is_local(const mmq_router *router)
{
    return router->side == MMQ_SIDE_LOCAL_CLIENTS || router->side == MMQ_SIDE_LOCAL_WORKERS;
}

static void close_sockets(mmq_router *router)
{
    mmq_monitor_destroy(&router->monitor, router->socket);
    if (router->socket != NULL && router->listens) {
        /* An inproc name is given back at once, not when libzmq's reaper comes round. */
        zmq_unbind(zsock_resolve(router->socket), router->endpoint);
    }
    zsock_destroy(&router->socket);
}

/* New sockets, not yet bound. */
static mmq_err open_sockets(mmq_router *router, mmq_why *why)
{
    const int events = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                       ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    router->monitor = NULL;
    router->socket = zsock_new(ZMQ_ROUTER);
    if (router->socket != NULL && !is_local(router)) {
        router->monitor = mmq_monitor_new(router->socket, events);
    }
    if (router->socket == NULL || (!is_local(router) && router->monitor == NULL)) {
        return mmq_fail(why, MMQ_EUNAVAILABLE, "no socket for %s: %s", router->endpoint,
                        zmq_strerror(errno));
    }
    mmq_err err = set_all_options(router->socket, router->side, router->endpoint, why);
    return err == MMQ_OK && router->secure
               ? set_keys(router->socket, router->side, &router->curve, why)
               : err;
}

static mmq_err bind_socket(mmq_router *router, mmq_why *why)
{
    void *socket = zsock_resolve(router->socket);
    if (!mmq_endpoint_port_fits(router->endpoint)) {
        return mmq_fail(why, MMQ_EINVAL, "cannot bind %s: the port is over 65535",
                        router->endpoint);
    }
    if (zmq_bind(socket, router->endpoint) != 0) {
        return mmq_fail(why, MMQ_EBUSY, "cannot bind %s: %s", router->endpoint,
                        zmq_strerror(errno));
    }
    router->listens = true;
    return MMQ_OK;
}

/* Once: later the endpoint is what others read. */
static mmq_err resolve_endpoint(mmq_router *router, mmq_why *why)
{
    size_t size = sizeof router->endpoint;
    void *socket = zsock_resolve(router->socket);
    return zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, router->endpoint, &size) == 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL, "%s: %s", router->endpoint, zmq_strerror(errno));
}

mmq_router *mmq_router_new(mmq_side side, const char *endpoint, const mmq_curve *curve,
                           mmq_why *why)
{
    mmq_router *router = calloc(1, sizeof *router);
    if (router == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a socket");
        return NULL;
    }
    router->side = side;
    router->secure = curve != NULL;
    if (router->secure) {
        router->curve = *curve;
    }
    mmq_err err = MMQ_OK;
    if ((size_t)snprintf(router->endpoint, ENDPOINT_MAX, "%s", endpoint) >= ENDPOINT_MAX) {
        err = mmq_fail(why, MMQ_EINVAL, "cannot bind %.40s...: the endpoint is too long", endpoint);
    }
    if (err == MMQ_OK) {
        err = open_sockets(router, why);
    }
    if (err == MMQ_OK) {
        err = bind_socket(router, why);
    }
    if (err == MMQ_OK) {
        err = resolve_endpoint(router, why);
    }
    if (err != MMQ_OK) {
        mmq_router_destroy(&router);
    }
    return router;
}

void mmq_router_destroy(mmq_router **router)
{
    if (*router == NULL) {
        return;
    }
    close_sockets(*router);
    mmq_curve_wipe(&(*router)->curve);
    free(*router);
    *router = NULL;
}

void *mmq_router_socket(const mmq_router *router)
{
    return zsock_resolve(router->socket);
}

const char *mmq_router_endpoint(const mmq_router *router)
{
    return router->endpoint;
}

size_t mmq_router_descriptors(const mmq_router *router, int out[MMQ_ROUTER_DESCRIPTORS])
{
    out[0] = mmq_socket_descriptor(router->socket);
    if (router->monitor == NULL) {
        return 1;
    }
    out[1] = mmq_socket_descriptor(router->monitor);
    return 2;
}

static void count_event(mmq_router *router, int event)
{
    router->connections += event == ZMQ_EVENT_ACCEPTED;
    router->connections -= event == ZMQ_EVENT_DISCONNECTED && router->connections > 0;
    router->handshakes.protocol += event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
    router->handshakes.denied += event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    router->handshakes.ended += event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
}

bool mmq_router_check(mmq_router *router)
{
    if (router->monitor == NULL) {
        return false;
    }
    bool lost = false;
    int event;
    while ((event = mmq_monitor_next(router->monitor)) != 0) {
        count_event(router, event);
        lost |= event == ZMQ_EVENT_DISCONNECTED;
    }
    return lost;
}

size_t mmq_router_connections(const mmq_router *router)
{
    return router->connections;
}

mmq_handshakes mmq_router_handshakes(const mmq_router *router)
{
    return router->handshakes;
}

void mmq_router_listen(mmq_router *router, bool listen)
{
    mmq_why why; /* libzmq lets an endpoint go in the background: the caller tries again */
    if (listen && !router->listens) {
        (void)bind_socket(router, &why);
    } else if (!listen && router->listens) {
        zmq_unbind(zsock_resolve(router->socket), router->endpoint);
        router->listens = false;
    }
}

bool mmq_router_listens(const mmq_router *router)
{
    return router->listens;
}

mmq_err mmq_router_reopen(mmq_router *router, mmq_why *why)
{
    mmq_router old = *router;
    mmq_err err = open_sockets(router, why);
    if (err != MMQ_OK) {
        close_sockets(router);
        *router = old;
        return err;
    }
    zsock_set_linger(old.socket, 0);
    close_sockets(&old);
    router->listens = false;
    router->connections = 0;
    return MMQ_OK;
}
