/* A DEALER connected to a broker, with a monitor that tells whether there is a connection.
 *
 * libzmq connects in the background, and (unless told `once`) again after a loss. It would keep
 * what is sent meanwhile, and hand it to the broker that returns, however late: so its users send
 * only while connected. On inproc there is always a connection and none is ever lost. */
#ifndef MMQ_DEALER_H
#define MMQ_DEALER_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/curve.h"
#include "metricmq/error.h"

typedef struct mmq_dealer mmq_dealer;

enum { MMQ_DEALER_DESCRIPTORS = 2 };

typedef struct mmq_dealer_options {
    size_t frame_max;
    int send_hwm;        /* messages that wait for the network at most */
    int ping_timeout_ms; /* a connection over which nothing came for so long is lost; 0: no pings */
    bool once;           /* one attempt to connect: what fails or is lost stays so */
    const mmq_curve *curve; /* borrowed for the call; NULL: plain text, and no broker's proof */
} mmq_dealer_options;

/* NULL on a bad endpoint or when there are no descriptors left. */
mmq_dealer *mmq_dealer_new(const char *endpoint, const mmq_dealer_options *options, mmq_why *why);
/* False for a TCP port over 65535, of which libzmq would silently take the low 16 bits. */
bool mmq_endpoint_port_fits(const char *endpoint);
/* MMQ_EINVAL: nothing that could ever be connected to. Whether anybody is there is not looked at.
 */
mmq_err mmq_endpoint_check(const char *endpoint, mmq_why *why) MMQ_MUST_USE;
/* linger_ms: how long what was sent may still leave in the background; 0 for one with pings. */
void mmq_dealer_destroy(mmq_dealer **dealer, int linger_ms);
/* The libzmq sockets, borrowed, to poll. Only mmq_dealer_check reads from the monitor. */
void *mmq_dealer_socket(const mmq_dealer *dealer);
void *mmq_dealer_monitor(const mmq_dealer *dealer);
/* What to poll instead where there is no zmq_poll; edge-triggered, as ZMQ_FD is. */
void mmq_dealer_descriptors(const mmq_dealer *dealer, int descriptors[MMQ_DEALER_DESCRIPTORS]);
/* Takes note of what happened to the connection. True if one was lost since the last call. */
bool mmq_dealer_check(mmq_dealer *dealer);
/* As of the last mmq_dealer_check. */
bool mmq_dealer_connected(const mmq_dealer *dealer);
/* True if the one attempt to connect has failed, as of the last mmq_dealer_check. */
bool mmq_dealer_refused(const mmq_dealer *dealer);
/* True if the last attempt ended in the handshake: keys or mechanism are not what the broker wants,
 * or it went away meanwhile. As of the last mmq_dealer_check. */
bool mmq_dealer_denied(const mmq_dealer *dealer);

#endif
