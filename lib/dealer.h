/* A DEALER connected to a broker, with a monitor that tells when the connection was lost.
 *
 * libzmq connects in the background and again after a loss. Nothing waits in the socket for a
 * connection that is not there (ZMQ_IMMEDIATE): sending would block meanwhile, so that what is sent
 * goes to the broker that is there now or not at all. On inproc a loss is not seen. */
#ifndef MMQ_DEALER_H
#define MMQ_DEALER_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/error.h"

typedef struct mmq_dealer mmq_dealer;

/* send_hwm: messages that wait for the network at most. NULL on a bad endpoint or when there are no
 * descriptors left. */
mmq_dealer *mmq_dealer_new(const char *endpoint, size_t frame_max, int send_hwm, mmq_why *why);
/* linger_ms: how long what was sent may still leave in the background. */
void mmq_dealer_destroy(mmq_dealer **dealer, int linger_ms);
/* The libzmq sockets, borrowed, to poll. Only mmq_dealer_lost reads from the monitor. */
void *mmq_dealer_socket(const mmq_dealer *dealer);
void *mmq_dealer_monitor(const mmq_dealer *dealer);
/* True if a connection was lost since the last call. */
bool mmq_dealer_lost(mmq_dealer *dealer);

#endif
