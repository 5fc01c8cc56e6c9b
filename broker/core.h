/* The broker without sockets: time and messages in, messages out. One thread.
 *
 * Messages have the peer's routing id in frame 0, as a ROUTER gives and takes them. Every entry
 * point is told the time, on any clock that does not run backwards. */
#ifndef MMQ_BROKER_CORE_H
#define MMQ_BROKER_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "metricmq/frame.h"

typedef enum mmq_side { MMQ_SIDE_CLIENTS, MMQ_SIDE_WORKERS } mmq_side;

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
} mmq_core_settings;

typedef struct mmq_core mmq_core;

mmq_core *mmq_core_new(const mmq_core_settings *settings, int64_t now_ns);
void mmq_core_destroy(mmq_core **core);

/* Take a message that came; it is left empty. */
void mmq_core_from_client(mmq_core *core, mmq_message *message, int64_t now_ns);
void mmq_core_from_worker(mmq_core *core, mmq_message *message, int64_t now_ns);
/* A message that was over the bounds and thrown away but for its first frame. */
void mmq_core_too_big(mmq_core *core, mmq_side side, mmq_message *message, int64_t now_ns);
/* Does what is due; returns the nanoseconds until something will be, -1: never. */
int64_t mmq_core_tick(mmq_core *core, int64_t now_ns);

/* From now on new requests get 503; what is under way goes on. */
void mmq_core_drain(mmq_core *core, int64_t now_ns);
/* True if no request is under way and no answer waits. */
bool mmq_core_idle(const mmq_core *core);
/* Ends all requests with 503 and says DISCONNECT to all workers. */
void mmq_core_end(mmq_core *core, int64_t now_ns);

#endif
