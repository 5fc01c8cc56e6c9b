/* The wire: MDP/0.2 envelopes (ZeroMQ RFC 18) and the headers of our bodies (docs/protocol.md).
 * Pure functions over frames: no sockets, no time. */
#ifndef MMQ_ENVELOPE_H
#define MMQ_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/message.h"
#include "metricmq/protocol.h"

#define MMQ_CLIENT_MAGIC "MDPC02"
#define MMQ_WORKER_MAGIC "MDPW02"

enum {
    MMQ_TOKEN_MAX = 255,                /* bytes of an address (frame 2 of a worker's REQUEST) */
    MMQ_ID_MAX = 256,                   /* bytes of a packed id; a longer one counts as nil */
    MMQ_MESSAGE_MAX = 8 * 1024 * 1024,  /* bytes of a request that is answered with 413 */
    MMQ_FRAME_LIMIT = 17 * 1024 * 1024, /* ZMQ_MAXMSGSIZE: a page of 16 MiB and room */
};

typedef enum mmq_client_command {
    MMQ_CLIENT_REQUEST = 1,
    MMQ_CLIENT_PARTIAL = 2,
    MMQ_CLIENT_FINAL = 3,
} mmq_client_command;

typedef enum mmq_worker_command {
    MMQ_WORKER_READY = 1,
    MMQ_WORKER_REQUEST = 2,
    MMQ_WORKER_PARTIAL = 3,
    MMQ_WORKER_FINAL = 4,
    MMQ_WORKER_HEARTBEAT = 5,
    MMQ_WORKER_DISCONNECT = 6,
} mmq_worker_command;

/* What an envelope says. Pointers borrow from the message that was parsed. */
typedef struct mmq_envelope {
    int command;         /* mmq_client_command or mmq_worker_command */
    const char *service; /* not NUL-terminated; REQUEST, PARTIAL, FINAL of clients; READY */
    size_t service_size;
    const void *token; /* REQUEST, PARTIAL, FINAL of workers */
    size_t token_size;
    unsigned capacity; /* READY: 1 if it has no fourth frame */
    bool plain;        /* READY of three frames: a stock worker's heartbeat times apply */
    size_t body;       /* index of the body's first frame; == count if there is none */
} mmq_envelope;

/* Parses message frames from index `first` on (1 behind a ROUTER, whose frame 0 is the peer).
 * MMQ_EPROTO with a reason in why if it is not a well-formed command of that side. A service name
 * must be 1 to 255 bytes of printable ASCII without spaces. */
mmq_err mmq_envelope_parse_client(const mmq_message *message, size_t first, mmq_envelope *out,
                                  mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_envelope_parse_worker(const mmq_message *message, size_t first, mmq_envelope *out,
                                  mmq_why *why) MMQ_MUST_USE;

/* Begin a message with the frames before its body; the caller appends the body. */
mmq_err mmq_envelope_begin_client(mmq_message *message, mmq_client_command command,
                                  const char *service, size_t service_size) MMQ_MUST_USE;
mmq_err mmq_envelope_begin_worker(mmq_message *message, mmq_worker_command command,
                                  const void *token, size_t token_size) MMQ_MUST_USE;
/* READY; capacity 0 sends the plain three frames. */
mmq_err mmq_envelope_ready(mmq_message *message, const char *service,
                           unsigned capacity) MMQ_MUST_USE;

/* What a broker reads of a request's body. */
typedef struct mmq_routing {
    const void *id; /* packed, as it stood in the body; a packed nil if there is none */
    size_t id_size;
    unsigned timeout_ms; /* MMQ_TIMEOUT_DEFAULT_MS if absent or out of range */
} mmq_routing;

/* A bounded scan; never fails: what is not a map counts as id nil and the default timeout. */
void mmq_routing_scan(const void *body, size_t size, mmq_routing *out);

/* MMQ_EPROTO if it is not a map with string keys or a known key has the wrong type. */
mmq_err mmq_header_parse(const void *data, size_t size, mmq_header *out) MMQ_MUST_USE;

/* Pack a header into a new frame. All keys are there, nil where a pointer is NULL or a number is
 * negative; trace is left out where it is NULL or over MMQ_TRACE_MAX, and state of a PARTIAL where
 * it is NULL. */
mmq_err mmq_header_partial(mmq_frame *frame, const mmq_header *header) MMQ_MUST_USE;
mmq_err mmq_header_final(mmq_frame *frame, const mmq_header *header) MMQ_MUST_USE;

#endif
