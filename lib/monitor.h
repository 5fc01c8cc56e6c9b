/* What libzmq says of a socket's connections.
 *
 * The events come over a PAIR that libzmq's I/O thread writes to. It has no bound, since that
 * thread would wait for us: so subscribe to what is rare. */
#ifndef MMQ_MONITOR_H
#define MMQ_MONITOR_H

struct _zsock_t;

/* events: ZMQ_EVENT_* of libzmq, or-ed. NULL if there are no descriptors left. */
struct _zsock_t *mmq_monitor_new(struct _zsock_t *socket, int events);
/* Before the socket is closed; nulls *monitor. */
void mmq_monitor_destroy(struct _zsock_t **monitor, struct _zsock_t *socket);
/* The next event, 0 if there is none. */
int mmq_monitor_next(struct _zsock_t *monitor);
/* The descriptor to poll of any socket; edge-triggered (ZMQ_FD). */
int mmq_socket_descriptor(struct _zsock_t *socket);

#endif
