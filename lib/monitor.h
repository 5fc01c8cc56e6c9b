/* What libzmq says of a socket's connections.
 *
 * The events come over a PAIR that libzmq's I/O thread writes to. It has no bound, since that
 * thread would wait for us: so subscribe to what is rare. */
#ifndef MMQ_MONITOR_H
#define MMQ_MONITOR_H

#include <czmq.h>

/* events: ZMQ_EVENT_* of libzmq, or-ed. NULL if there are no descriptors left. */
zsock_t *mmq_monitor_new(zsock_t *socket, int events);
/* Before the socket is closed; nulls *monitor. */
void mmq_monitor_destroy(zsock_t **monitor, zsock_t *socket);
/* The next event, 0 if there is none. */
int mmq_monitor_next(zsock_t *monitor);
/* The descriptor to poll of any socket; edge-triggered (ZMQ_FD). */
int mmq_socket_descriptor(zsock_t *socket);

#endif
