/* GET /_watch: those who are told what changes, by server-sent events. One thread. */
#ifndef MMQ_HTTP_VIEWERS_H
#define MMQ_HTTP_VIEWERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct mmq_adapter mmq_adapter;
typedef struct mmq_exchange mmq_exchange;
typedef struct mmq_viewer mmq_viewer;
typedef struct mmq_viewers mmq_viewers;

/* Of the adapter, whose client is there. NULL: no memory. */
mmq_viewers *mmq_viewers_new(mmq_adapter *adapter);
/* No exchange may view any more. */
void mmq_viewers_destroy(mmq_viewers **viewers);
/* Asks for news while somebody views, and wakes some of those whom there is something to tell;
 * nanoseconds until it wants to be called again, -1: none. To be called before the client's step.
 */
int64_t mmq_viewers_step(mmq_adapter *adapter);
/* Ends the answers of all who view now. */
void mmq_viewers_end(mmq_viewers *viewers);
/* How many there are. */
size_t mmq_viewers_count(const mmq_viewers *viewers);
/* The exchange views no more; nothing if it did not. */
void mmq_viewer_leave(mmq_exchange *exchange);

#endif
