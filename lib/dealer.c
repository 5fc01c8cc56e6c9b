/* The monitor is a PAIR that libzmq's I/O thread writes to. We subscribe to the beginning and end
 * of finished connections only: attempts that fail are libzmq's own business.
 *
 * ZMQ_IMMEDIATE would keep sends from piling up without a connection, too. But with it libzmq 4.3.4
 * cuts the pipe of a lost connection off at once, and if a message was just being received, asserts
 * on its missing frames (fq.cpp, !_more).
 *
 * Pings at the level of ZMTP find a peer that is gone without a word (half-open TCP, a stopped
 * process): clients of MDP have no heartbeats of their own. */
#include "lib/dealer.h"

#include <czmq.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
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
    bool connected;
};

static void set_options(zsock_t *socket, const char *endpoint, size_t frame_max, int send_hwm)
{
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
    if (zmq_socket_monitor(zsock_resolve(dealer->socket), name,
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) != 0) {
        return false;
    }
    zsock_set_rcvhwm(dealer->monitor, 0); /* or else the I/O thread would wait for us */
    return zsock_connect(dealer->monitor, "%s", name) == 0;
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
               : mmq_fail(why, MMQ_EINVAL, "%s is not an endpoint that can be connected to",
                          endpoint);
}

/* Only libzmq knows what it takes; the attempt that begins ends with the socket. */
mmq_err mmq_endpoint_check(const char *endpoint, mmq_why *why)
{
    zsock_t *socket = zsock_new(ZMQ_DEALER);
    if (socket == NULL) {
        return MMQ_OK; /* no descriptors left: nothing can be said against the endpoint */
    }
    zsock_set_linger(socket, 0);
    mmq_err err = connect_socket(socket, endpoint, why);
    zsock_destroy(&socket);
    return err;
}

mmq_dealer *mmq_dealer_new(const char *endpoint, size_t frame_max, int send_hwm, mmq_why *why)
{
    mmq_dealer *dealer = calloc(1, sizeof *dealer);
    if (dealer == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a socket");
        return NULL;
    }
    dealer->connected = strncmp(endpoint, "inproc:", 7) == 0;
    dealer->socket = zsock_new(ZMQ_DEALER);
    dealer->monitor = zsock_new(ZMQ_PAIR);
    if (dealer->socket == NULL || dealer->monitor == NULL || !start_monitor(dealer)) {
        (void)mmq_fail(why, MMQ_EUNAVAILABLE, "no socket for %s: no descriptors left", endpoint);
        mmq_dealer_destroy(&dealer, 0);
        return NULL;
    }
    set_options(dealer->socket, endpoint, frame_max, send_hwm);
    if (connect_socket(dealer->socket, endpoint, why) != MMQ_OK) {
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

static int descriptor_of(zsock_t *socket)
{
    int descriptor = -1;
    size_t size = sizeof descriptor;
    CHECK(zmq_getsockopt(zsock_resolve(socket), ZMQ_FD, &descriptor, &size) == 0);
    return descriptor;
}

void mmq_dealer_descriptors(const mmq_dealer *dealer, int descriptors[MMQ_DEALER_DESCRIPTORS])
{
    descriptors[0] = descriptor_of(dealer->socket);
    descriptors[1] = descriptor_of(dealer->monitor);
}

/* The first frame of an event begins with its number, in the host's byte order. */
static unsigned event_of(const mmq_message *message)
{
    uint16_t event = 0;
    const mmq_frame *frame = &message->frames[0];
    if (mmq_frame_size(frame) >= sizeof event) {
        memcpy(&event, mmq_frame_data(frame), sizeof event);
    }
    return event;
}

bool mmq_dealer_check(mmq_dealer *dealer)
{
    bool lost = false;
    mmq_message message;
    mmq_message_init(&message);
    while (mmq_message_receive(&message, mmq_dealer_monitor(dealer), EVENT_SIZE_MAX) == MMQ_OK) {
        dealer->connected = event_of(&message) == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        lost |= !dealer->connected;
    }
    mmq_message_clear(&message);
    return lost;
}

bool mmq_dealer_connected(const mmq_dealer *dealer)
{
    return dealer->connected;
}
