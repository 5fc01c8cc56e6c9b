/* Client library: requests over one DEALER socket, blocking or on the caller's event loop.
 *
 * A client belongs to one thread. Many requests may be under way at once; each try has an id of
 * its own, so that late answers of an earlier try are dropped. Requests marked `retry` are sent
 * again, with backoff, when the broker was lost or answered 503, until their deadline. Others are
 * sent once at most.
 *
 * Several brokers: "tcp://a:5750,tcp://b:5750" names up to 8. The client uses the first that
 * answers, and goes on to the next (after the last: the first) when it is lost. Requests, streams
 * and the descriptor stay what they were.
 *
 * A stream hides pages: it asks for the next page ahead of need (at most two are held), and takes
 * a broken page up again from the cursor of the last PARTIAL it saw. */
#ifndef METRICMQ_CLIENT_H
#define METRICMQ_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/curve.h"
#include "metricmq/error.h"
#include "metricmq/frame.h"
#include "metricmq/pack.h"
#include "metricmq/protocol.h"
#include "metricmq/unpack.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmq_client mmq_client;
typedef struct mmq_stream mmq_stream;

/* Connects (in the background) to the broker's endpoint for clients; endpoint may be a list of
 * several brokers'. NULL if one is bad, with a sentence in why that names it. */
mmq_client *mmq_client_new(const char *endpoint, mmq_why *why);
/* As mmq_client_new, over CURVE with these keys and in no other way (on inproc they do not matter);
 * they are copied. NULL: plain text. All brokers of a list have the same public key. */
mmq_client *mmq_client_new_curve(const char *endpoint, const mmq_curve *curve, mmq_why *why);
/* True if attempts to connect ended in the handshake, and none has succeeded since: the broker
 * wants CURVE, or other keys. */
bool mmq_client_denied(const mmq_client *client);
/* Requests and streams that are still open are forgotten; their callbacks are not called. Destroy
 * streams first. */
void mmq_client_destroy(mmq_client **client);

/* For a client that asks on behalf of many: of the calls that name a party, at most `window` are at
 * the broker at once; the others wait here, and parties are served in turn, so that one with many
 * requests does not hold up the others. 0, the default: no bound. */
void mmq_client_set_window(mmq_client *client, size_t window);

/* ---- on an event loop ------------------------------------------------------------------- */

/* The descriptor to poll for input, the same for the client's life; edge-triggered as ZMQ_FD is:
 * after it became readable, and after each send, call mmq_client_step. */
int mmq_client_descriptor(const mmq_client *client);
/* Handles all that has come and all deadlines that have passed; calls callbacks. Returns the
 * nanoseconds until it must be called again even without input; -1: none. */
int64_t mmq_client_step(mmq_client *client);

/* One answer or part of one. header borrows until the callback returns; payload (NULL if there is
 * none) may be moved away by the callback. For `mmi.*` header holds the status and no id. */
typedef struct mmq_answer {
    bool final;
    const mmq_header *header;
    mmq_frame *payload;
} mmq_answer;

typedef void mmq_answer_fn(void *context, const mmq_answer *answer);

typedef struct mmq_call {
    const char *service;
    const void *args; /* packed key-value pairs WITHOUT the map's head, as mmq_args has them; the
                       * client adds id and timeout. For `mmi.*`: the raw body, or nothing */
    size_t args_size;
    uint32_t args_count; /* pairs */
    unsigned timeout_ms; /* 0: the default */
    bool retry;          /* may be sent again */
    uint64_t party;      /* whom it is for: see mmq_client_set_window; 0: nobody in particular */
    mmq_answer_fn *answer;
    void *context;
} mmq_call;

/* A call with these arguments, which it borrows: all else is to be set. Arguments that failed make
 * a call that is refused as too big. */
mmq_call mmq_args_call(const mmq_args *args, const char *service);

/* Sends a request; the callback comes from mmq_client_step, never from here. The FINAL always
 * comes: past the deadline the library makes one with 504. Returns a handle for cancel, 0 with a
 * sentence in why if the request could not be taken (too big, too many). */
uint64_t mmq_client_send(mmq_client *client, const mmq_call *call, mmq_why *why);
/* Forgets a request: no more callbacks of it. Unknown handles are ignored. */
void mmq_client_cancel(mmq_client *client, uint64_t handle);
/* Answers so far that belonged to no request under way: late, twice, foreign or malformed. */
uint64_t mmq_client_dropped(const mmq_client *client);

/* ---- blocking --------------------------------------------------------------------------- */

/* A whole answer. Free with mmq_result_clear. */
typedef struct mmq_result {
    int status;
    char error[256]; /* "" if there is none */
    char state[128]; /* "" if there is none */
    mmq_frame payload;
} mmq_result;

/* Sends and waits for the FINAL; call->answer and context are not used. MMQ_OK: a FINAL came (its
 * status may still be an error's); result is then the caller's to clear. */
mmq_err mmq_client_call(mmq_client *client, const mmq_call *call, mmq_result *result,
                        mmq_why *why) MMQ_MUST_USE;
/* As mmq_client_call, but a FINAL with an error's status becomes that error, with its sentence in
 * why, and result is empty then. */
mmq_err mmq_client_ask(mmq_client *client, const mmq_call *call, mmq_result *result,
                       mmq_why *why) MMQ_MUST_USE;
/* The value under `key` of an answer that is one map; what *out points to borrows from the result.
 * False if the payload is no map or has no such key. */
bool mmq_result_find(const mmq_result *result, const char *key, mmq_value *out);
/* Frees the payload; may be called again. */
void mmq_result_clear(mmq_result *result);

/* ---- streams ---------------------------------------------------------------------------- */

typedef struct mmq_stream_options {
    mmq_call call;    /* service metric.query; args without cursor and max_bytes */
    size_t max_bytes; /* payload of a page; 0: the default (1 MiB) */
    /* Called from mmq_client_step when mmq_stream_take has something new to say. Optional. */
    void (*ready)(void *context);
    void *context;
} mmq_stream_options;

/* Starts: the first page is asked for at once. args are copied. */
mmq_stream *mmq_stream_new(mmq_client *client, const mmq_stream_options *options, mmq_why *why);
/* Cancels what is under way and frees. May be called from `ready`. */
void mmq_stream_destroy(mmq_stream **stream);
/* The next payload, moved into an initialised frame. MMQ_OK; MMQ_EAGAIN: not there yet;
 * MMQ_EEND: the stream is whole; other: it is broken for good, why says how, mmq_stream_status
 * the status. */
mmq_err mmq_stream_take(mmq_stream *stream, mmq_frame *payload, mmq_why *why) MMQ_MUST_USE;
/* As take, but waits. */
mmq_err mmq_stream_next(mmq_stream *stream, mmq_frame *payload, mmq_why *why) MMQ_MUST_USE;
/* 0 until the first FINAL or PARTIAL came; then 200, 304 or the error's status. */
int mmq_stream_status(const mmq_stream *stream);
/* All has been taken, and there was no error: the next take says MMQ_EEND. */
bool mmq_stream_whole(const mmq_stream *stream);
/* As the option: of pages that are asked for from now on (the next one is often under way). */
void mmq_stream_set_max_bytes(mmq_stream *stream, size_t max_bytes);
/* Pages that have come whole. */
uint64_t mmq_stream_pages(const mmq_stream *stream);
/* The `state` of the first page; "" until its FINAL, or its first PARTIAL from workers that tell it
 * there. Borrowed. */
const char *mmq_stream_state(const mmq_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
