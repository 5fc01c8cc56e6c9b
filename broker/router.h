/* A ROUTER bound to one endpoint, and what becomes of its connections.
 *
 * libzmq has no bound on connections and no way to cut one off. So a router stops listening when
 * the process's descriptors run out (those who are connected go on), and can be opened anew, which
 * cuts all off and frees what libzmq holds for them. */
#ifndef MMQ_BROKER_ROUTER_H
#define MMQ_BROKER_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core.h"
#include "metricmq/curve.h"
#include "metricmq/error.h"

typedef struct mmq_router mmq_router;

enum { MMQ_ROUTER_DESCRIPTORS = 2 };

/* Binds; the side says with which bounds. With curve (NULL: plain text; copied) it speaks CURVE
 * only, and a ZAP handler must be there (zap.h). NULL with a sentence in why that names the
 * endpoint. */
mmq_router *mmq_router_new(mmq_side side, const char *endpoint, const mmq_curve *curve,
                           mmq_why *why);
void mmq_router_destroy(mmq_router **router);
/* The libzmq socket, borrowed; another one after mmq_router_reopen. */
void *mmq_router_socket(const mmq_router *router);
/* As bound (port resolved). Borrowed. */
const char *mmq_router_endpoint(const mmq_router *router);
/* To poll for input; edge-triggered, as ZMQ_FD is. Returns how many there are. */
size_t mmq_router_descriptors(const mmq_router *router, int out[MMQ_ROUTER_DESCRIPTORS]);

/* What happened to its connections since the last call: true if one was lost. */
bool mmq_router_check(mmq_router *router);
/* Connections now, as of the last check; 0 on inproc. */
size_t mmq_router_connections(const mmq_router *router);
/* Handshakes that failed so far: of another mechanism or with another server's key, with a key that
 * is in no list, and those that ended or were silent. As of the last check. */
typedef struct mmq_handshakes {
    uint64_t protocol, denied, ended;
} mmq_handshakes;
mmq_handshakes mmq_router_handshakes(const mmq_router *router);
/* Listens, or stops listening; binding may have to wait until the endpoint is free again. */
void mmq_router_listen(mmq_router *router, bool listen);
/* True if it listens. */
bool mmq_router_listens(const mmq_router *router);
/* Closes the socket, with all connections and what came over them, and makes a new one that does
 * not listen yet. After an error the old one goes on. */
mmq_err mmq_router_reopen(mmq_router *router, mmq_why *why) MMQ_MUST_USE;

#endif
