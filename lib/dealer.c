/* The monitor is a PAIR that libzmq's I/O thread writes to. We subscribe to the loss of a finished
 * connection only: attempts that fail are libzmq's own business.
 *
 * Pings at the level of ZMTP find a peer that is gone without a word (half-open TCP, a stopped
 * process): clients of MDP have no heartbeats of their own. */
#include "lib/dealer.h"

#include <czmq.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metricmq/frame.h"

enum {
    RECONNECT_MS = 100,
    PING_MS = 1000,
    PING_TIMEOUT_MS = 5000,
    CONNECT_TIMEOUT_MS = 3000,
    HANDSHAKE_MS = 5000,
    EVENT_SIZE_MAX = 4096,
};

struct mmq_dealer {
    zsock_t *socket;
    zsock_t *monitor;
};

static void set_options(zsock_t *socket, const char *endpoint, size_t frame_max, int send_hwm)
{
    zsock_set_immediate(socket, 1);
    zsock_set_linger(socket, 0);
    /* Not for all: `localhost` would then mean ::1 only. */
    zsock_set_ipv6(socket, strchr(endpoint, '[') != NULL);
    zsock_set_sndhwm(socket, send_hwm);
    zsock_set_maxmsgsize(socket, (int)frame_max);
    zsock_set_reconnect_ivl(socket, RECONNECT_MS);
    zsock_set_connect_timeout(socket, CONNECT_TIMEOUT_MS);
    zsock_set_handshake_ivl(socket, HANDSHAKE_MS);
    zsock_set_heartbeat_ivl(socket, PING_MS);
    zsock_set_heartbeat_timeout(socket, PING_TIMEOUT_MS);
}

static bool start_monitor(mmq_dealer *dealer)
{
    static atomic_uint_fast64_t serial;
    char name[64];
    snprintf(name, sizeof name, "inproc://metricmq-monitor-%llu",
             (unsigned long long)atomic_fetch_add(&serial, 1));
    if (zmq_socket_monitor(zsock_resolve(dealer->socket), name, ZMQ_EVENT_DISCONNECTED) != 0) {
        return false;
    }
    zsock_set_rcvhwm(dealer->monitor, 0); /* or else the I/O thread would wait for us */
    return zsock_connect(dealer->monitor, "%s", name) == 0;
}

mmq_dealer *mmq_dealer_new(const char *endpoint, size_t frame_max, int send_hwm, mmq_why *why)
{
    mmq_dealer *dealer = calloc(1, sizeof *dealer);
    if (dealer == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a socket");
        return NULL;
    }
    dealer->socket = zsock_new(ZMQ_DEALER);
    dealer->monitor = zsock_new(ZMQ_PAIR);
    if (dealer->socket == NULL || dealer->monitor == NULL || !start_monitor(dealer)) {
        (void)mmq_fail(why, MMQ_EUNAVAILABLE, "no socket for %s: no descriptors left", endpoint);
        mmq_dealer_destroy(&dealer, 0);
        return NULL;
    }
    set_options(dealer->socket, endpoint, frame_max, send_hwm);
    if (zsock_connect(dealer->socket, "%s", endpoint) != 0) {
        (void)mmq_fail(why, MMQ_EINVAL, "%s is not an endpoint that can be connected to", endpoint);
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
        (void)zmq_socket_monitor(zsock_resolve(dealer->socket), NULL, 0);
        zsock_set_linger(dealer->socket, linger_ms);
    }
    zsock_destroy(&dealer->monitor);
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

bool mmq_dealer_lost(mmq_dealer *dealer)
{
    bool lost = false;
    mmq_message event;
    mmq_message_init(&event);
    while (mmq_message_receive(&event, mmq_dealer_monitor(dealer), EVENT_SIZE_MAX) == MMQ_OK) {
        lost = true;
    }
    mmq_message_clear(&event);
    return lost;
}
