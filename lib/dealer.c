/* The monitor tells of handshakes that succeeded and of connections that ended, whether they got
 * that far or not. Attempts to connect are libzmq's own business, which repeats them, unless there
 * is to be only one.
 *
 * ZMQ_IMMEDIATE would keep sends from piling up without a connection, too. But with it libzmq 4.3.4
 * cuts the pipe of a lost connection off at once, and if a message was just being received, asserts
 * on its missing frames (fq.cpp, !_more).
 *
 * Pings at the level of ZMTP find a peer that is gone without a word (half-open TCP, a stopped
 * process): clients of MDP have no heartbeats of their own. But libzmq 4.3.4 aborts when a ping is
 * due on a connection that ended while its input was held back (stream_engine_base, !_io_error):
 * by a high-water mark that was reached, or by a socket that was closed and lingers. So a DEALER
 * with pings has no high-water mark for what it receives, and does not linger.
 *
 * CURVE: a socket with keys speaks nothing else, so that no broker, and nobody in its place, can
 * make it fall back to plain text. A handshake that failed ends the connection for good in libzmq;
 * it shows here as a connection that is lost, and the users connect anew. */
#include "lib/dealer.h"

#include <czmq.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/monitor.h"
#include "lib/process.h"
#include "metricmq/protocol.h"

enum {
    /* As many requests as a worker may hold, and heartbeats: what comes beyond waits at the broker,
     * which counts it. */
    RECEIVE_HWM = MMQ_CAPACITY_MAX + 24,
    RECONNECT_MS = 100,
    ONCE_MS = 24 * 3600 * 1000, /* for ever; -1 would throw away what came before a loss, too */
    PING_MS = 1000,
    /* A host that is gone answers no SYN, and TCP repeats it after 1, 3, 7... s: a new attempt
     * finds it sooner when it is back. */
    CONNECT_TIMEOUT_MS = 1500,
    HANDSHAKE_MS = 5000, /* a broker that says nothing is left (default 30 s) */
};

struct mmq_dealer {
    zsock_t *socket;
    zsock_t *monitor;
    bool connected;
    bool refused;
    bool denied;
};

/* Not by czmq's setters, which tell of no failure: a socket without its keys would speak plain
 * text.
 */
static mmq_err set_keys(zsock_t *socket, const mmq_curve *curve, mmq_why *why)
{
    const struct {
        int option;
        const char *key;
    } keys[] = {{ZMQ_CURVE_SERVERKEY, curve->server_key},
                {ZMQ_CURVE_PUBLICKEY, curve->public_key},
                {ZMQ_CURVE_SECRETKEY, curve->secret_key}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strnlen(keys[i].key, MMQ_KEY_TEXT + 1) != MMQ_KEY_TEXT ||
            zmq_setsockopt(zsock_resolve(socket), keys[i].option, keys[i].key, MMQ_KEY_TEXT) != 0) {
            return mmq_fail(why, MMQ_EINVAL, "a CURVE key is not 40 characters of Z85");
        }
    }
    return MMQ_OK;
}

static void set_options(zsock_t *socket, const char *endpoint, const mmq_dealer_options *options)
{
    zsock_set_linger(socket, 0);
    /* Not for all: `localhost` would then mean ::1 only. */
    zsock_set_ipv6(socket, strchr(endpoint, '[') != NULL);
    zsock_set_sndhwm(socket, options->send_hwm);
    zsock_set_rcvhwm(socket, RECEIVE_HWM);
    /* A hostile broker, too, must not have us make room for what we would not take. */
    zsock_set_maxmsgsize(socket, (int)options->frame_max);
    zsock_set_reconnect_ivl(socket, options->once ? ONCE_MS : RECONNECT_MS);
    zsock_set_connect_timeout(socket, CONNECT_TIMEOUT_MS);
    zsock_set_handshake_ivl(socket, HANDSHAKE_MS);
    if (options->ping_timeout_ms > 0) { /* workers have MDP's heartbeats instead */
        zsock_set_heartbeat_ivl(socket, PING_MS);
        zsock_set_heartbeat_timeout(socket, options->ping_timeout_ms);
        /* No TTL: it would have the broker cut us after a silence, and TCP tells it of our end. */
        zsock_set_rcvhwm(socket, 0); /* see above; answers are bounded by what was asked for */
    }
}

bool mmq_endpoint_port_fits(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    bool tcp = strncmp(endpoint, "tcp://", 6) == 0;
    return !tcp || colon == NULL || strtoul(colon + 1, NULL, 10) <= UINT16_MAX;
}

static mmq_err connect_socket(zsock_t *socket, const char *endpoint, mmq_why *why)
{
    return mmq_endpoint_port_fits(endpoint) && zsock_connect(socket, "%s", endpoint) == 0
               ? MMQ_OK
               : mmq_fail(
                     why, MMQ_EINVAL,
                     "%.128s is not an endpoint that can be connected to; want tcp://HOST:PORT",
                     endpoint);
}

/* Only libzmq knows what it takes; the attempt that begins ends with the socket. This may be the
 * process's first one, with which libzmq's own threads start: they block all signals as soon as
 * they run, which on a busy machine may be after our program has taken SIGTERM for itself. */
mmq_err mmq_endpoint_check(const char *endpoint, mmq_why *why)
{
    const sigset_t before = mmq_signals_block();
    zsock_t *socket = zsock_new(ZMQ_DEALER);
    mmq_signals_restore(&before);
    if (socket == NULL) {
        return MMQ_OK; /* no descriptors left: nothing can be said against the endpoint */
    }
    zsock_set_linger(socket, 0);
    mmq_err err = connect_socket(socket, endpoint, why);
    zsock_destroy(&socket);
    return err;
}

mmq_dealer *mmq_dealer_new(const char *endpoint, const mmq_dealer_options *options, mmq_why *why)
{
    mmq_dealer *dealer = calloc(1, sizeof *dealer);
    if (dealer == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a socket");
        return NULL;
    }
    const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                       ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    dealer->connected = strncmp(endpoint, "inproc:", 7) == 0;
    dealer->socket = zsock_new(ZMQ_DEALER);
    if (dealer->socket != NULL) {
        dealer->monitor =
            mmq_monitor_new(dealer->socket, events | (options->once ? ZMQ_EVENT_CLOSED : 0));
    }
    if (dealer->monitor == NULL) {
        (void)mmq_fail(why, MMQ_EUNAVAILABLE, "no socket for %s: no descriptors left", endpoint);
        mmq_dealer_destroy(&dealer, 0);
        return NULL;
    }
    set_options(dealer->socket, endpoint, options);
    if ((options->curve != NULL && set_keys(dealer->socket, options->curve, why) != MMQ_OK) ||
        connect_socket(dealer->socket, endpoint, why) != MMQ_OK) {
        mmq_dealer_destroy(&dealer, 0);
    }
    return dealer;
}

void mmq_dealer_destroy(mmq_dealer **dealer_p, int linger_ms)
{
    mmq_dealer *dealer = *dealer_p;
    if (dealer == NULL) {
        return;
    }
    if (dealer->socket != NULL) {
        mmq_monitor_destroy(&dealer->monitor, dealer->socket);
        zsock_set_linger(dealer->socket, linger_ms);
    }
    zsock_destroy(&dealer->socket);
    free(dealer);
    *dealer_p = NULL;
}

void *mmq_dealer_socket(const mmq_dealer *dealer)
{
    return zsock_resolve(dealer->socket);
}

void *mmq_dealer_monitor(const mmq_dealer *dealer)
{
    return zsock_resolve(dealer->monitor);
}

void mmq_dealer_descriptors(const mmq_dealer *dealer, int descriptors[MMQ_DEALER_DESCRIPTORS])
{
    descriptors[0] = mmq_socket_descriptor(dealer->socket);
    descriptors[1] = mmq_socket_descriptor(dealer->monitor);
}

static bool is_denial(int event)
{
    return event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
           event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ||
           event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
}

bool mmq_dealer_check(mmq_dealer *dealer)
{
    bool lost = false;
    int event;
    while ((event = mmq_monitor_next(dealer->monitor)) != 0) {
        dealer->connected = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        dealer->refused = event == ZMQ_EVENT_CLOSED;
        lost |= event == ZMQ_EVENT_DISCONNECTED;
        dealer->denied =
            event != ZMQ_EVENT_HANDSHAKE_SUCCEEDED && (dealer->denied || is_denial(event));
    }
    return lost;
}

bool mmq_dealer_connected(const mmq_dealer *dealer)
{
    return dealer->connected;
}

bool mmq_dealer_refused(const mmq_dealer *dealer)
{
    return dealer->refused;
}

bool mmq_dealer_denied(const mmq_dealer *dealer)
{
    return dealer->denied;
}
