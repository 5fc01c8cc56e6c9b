/* The broker without sockets: time and messages in, messages out. One thread.
 *
 * Messages have the peer's routing id in frame 0, as a ROUTER gives and takes them. Every entry
 * point is told the time, on any clock that does not run backwards. */
#ifndef MMQ_BROKER_CORE_H
#define MMQ_BROKER_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/allow.h"
#include "metricmq/error.h"
#include "lib/message.h"

/* Where a peer stands. Routing ids are unique on one side only. */
typedef enum mmq_side {
    MMQ_SIDE_CLIENTS,
    MMQ_SIDE_WORKERS,
    MMQ_SIDE_LOCAL_CLIENTS, /* in this process */
    MMQ_SIDE_LOCAL_WORKERS,
    MMQ_SIDES,
} mmq_side;

static inline bool mmq_side_works(mmq_side side)
{
    return side == MMQ_SIDE_WORKERS || side == MMQ_SIDE_LOCAL_WORKERS;
}

/* Sends without waiting: MMQ_OK (the message is then empty), MMQ_EAGAIN if that peer is full,
 * MMQ_EUNREACHABLE if it is gone; others count as gone. */
typedef mmq_err mmq_core_send(void *context, mmq_side side, mmq_message *message);

typedef struct mmq_core_settings {
    size_t queue_max;       /* requests waiting for one service */
    size_t queue_bytes_max; /* bytes of their bodies */
    size_t services_max;
    size_t workers_max;
    size_t requests_max; /* waiting or at workers */
    size_t bytes_max;    /* bodies of requests, and answers that wait for slow clients */
    mmq_core_send *send;
    void *context;
    /* Who sent a message, by its first frame: a public key in Z85, or NULL. Asked once there are
     * lists (mmq_core_set_allow); may be NULL until then. */
    const char *(*user)(const mmq_frame *frame);
} mmq_core_settings;

enum { MMQ_CLIENT_HWM = 128 }; /* messages that libzmq keeps for a client */

typedef struct mmq_core_gauges {
    size_t client_connections, worker_connections;
    size_t descriptors, descriptors_max;
    size_t memory;     /* resident bytes of the process */
    uint64_t reopened; /* routers opened anew for memory that was not accounted for */
    uint64_t client_handshakes_failed, worker_handshakes_failed;
} mmq_core_gauges;

typedef struct mmq_core mmq_core;

mmq_core *mmq_core_new(const mmq_core_settings *settings, int64_t now_ns);
void mmq_core_destroy(mmq_core **core);

/* Takes one message; it is left empty. */
void mmq_core_receive(mmq_core *core, mmq_side side, mmq_message *message, int64_t now_ns);
/* A message that was over the bounds and thrown away but for its first frame. */
void mmq_core_too_big(mmq_core *core, mmq_side side, mmq_message *message, int64_t now_ns);
/* One of the network's workers has lost its connection: it is not known which. All are sent a
 * heartbeat soon, which those that are gone do not take. */
void mmq_core_suspect(mmq_core *core, int64_t now_ns);
/* All peers on that side are gone. */
void mmq_core_lose(mmq_core *core, mmq_side side, int64_t now_ns);
/* Clients have read: who is blocked is tried again, if the last try was not just now. */
void mmq_core_retry(mmq_core *core, int64_t now_ns);
/* Does what is due; returns the nanoseconds until something will be, -1: never. */
int64_t mmq_core_tick(mmq_core *core, int64_t now_ns);

/* Bytes that the core knows of: requests, answers that wait, and those that libzmq holds for
 * clients that do not read. */
size_t mmq_core_bytes(const mmq_core *core);
/* Of all services. */
typedef struct mmq_core_counts {
    uint64_t requests; /* that came, so far */
    size_t waiting, held;
    size_t workers;
} mmq_core_counts;
mmq_core_counts mmq_core_count(const mmq_core *core);
/* What mmi.stats tells of what the core does not know. */
void mmq_core_set_gauges(mmq_core *core, const mmq_core_gauges *gauges);

/* The lists by which peers that are not of this process are judged from now on: the next message of
 * a client whose key is not in them gets 403, such a worker leaves at once. Borrowed until others
 * are set. Without any, everybody may do everything. */
void mmq_core_set_allow(mmq_core *core, const mmq_allow *allow, int64_t now_ns);

/* From now on new requests get 503; what is under way goes on. */
void mmq_core_drain(mmq_core *core, int64_t now_ns);
/* True if no request is under way and no answer waits. */
bool mmq_core_idle(const mmq_core *core);
/* Ends all requests with 503 and says DISCONNECT to all workers. */
void mmq_core_end(mmq_core *core, int64_t now_ns);

#endif
