/* A worker's connection to one broker of its list. Used by the loop thread only. */
#ifndef MMQ_WORKER_LINK_H
#define MMQ_WORKER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/worker_parts.h"
#include "lib/message.h"

typedef struct mmq_worker_link mmq_worker_link;

/* The worker's link `index` (mmq_worker_links), not yet connected. NULL: no memory. Its
 * sockets are watched by the epoll descriptor `input`: an event bears the link's address. */
mmq_worker_link *mmq_worker_link_new(mmq_worker *worker, size_t index, int input);
void mmq_worker_link_destroy(mmq_worker_link **link);

/* Connects if it is time (unless the worker is stopping), says READY and heartbeats, and notices a
 * broker that is gone, silent, or has taken no answer for too long. */
void mmq_worker_link_tend(mmq_worker_link *link);
/* When it wants to be tended next. */
int64_t mmq_worker_link_due_ns(const mmq_worker_link *link);
/* Reads what has come (bounded); requests go to the queue's end. */
void mmq_worker_link_read(mmq_worker_link *link, mmq_request_queue *queue);
/* Sends an answer. MMQ_EAGAIN: the broker does not take it now, the message is whole; else it is
 * gone, also if there is no connection. */
mmq_err mmq_worker_link_send(mmq_worker_link *link, mmq_message *message) MMQ_MUST_USE;
/* A request that came over the connection there is has ended. */
void mmq_worker_link_end_request(mmq_worker_link *link);
/* Says DISCONNECT, so that the broker ends or re-dispatches all that we hold, and ends the
 * connection. It is made anew later unless the worker is stopping. */
void mmq_worker_link_leave(mmq_worker_link *link, const char *reason);
/* `input` told of it: there may be something to read, tend or send. */
void mmq_worker_link_wake(mmq_worker_link *link);
/* The broker was told READY over the connection that there is. */
bool mmq_worker_link_is_registered(const mmq_worker_link *link);
/* There may be, whether `input` tells of it or not. */
bool mmq_worker_link_is_awake(const mmq_worker_link *link);

#endif
