/* An exchange: one HTTP request and its answer. Private to this room; one thread.
 *
 *     NEW -> READING -> WORKING -> ANSWERING -> (freed when libmicrohttpd has done with it)
 *
 * A route's handler either answers (mmq_exchange_answer, _refuse) or starts work on the bus and
 * returns; the connection is then suspended until something answers. */
#ifndef MMQ_EXCHANGE_H
#define MMQ_EXCHANGE_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "clients/http/create.h"
#include "clients/http/headers.h"
#include "clients/http/helper.h"
#include "clients/http/inquiry.h"
#include "clients/http/meters.h"
#include "clients/http/url.h"
#include "clients/render/render.h"
#include "lib/buffer.h"
#include "lib/pack.h"
#include "metricmq/client.h"

enum {
    MMQ_BODY_KEPT = 1024 * 1024,       /* bytes of a body at most, where no route says more */
    MMQ_BODY_READ = 8 * 1024 * 1024,   /* what is read of a bigger one before the answer */
    MMQ_BODIES_MAX = 64 * 1024 * 1024, /* bytes of all bodies, and of what they have become */
    MMQ_EXCHANGE_CALLS = 3,            /* calls of one exchange at a time */
    MMQ_STAGED = 1024,                 /* the least room that a renderer takes */
};

typedef struct mmq_exchange mmq_exchange;
typedef struct mmq_adapter mmq_adapter;
typedef struct mmq_route mmq_route;

/* A connection's; freed when it is closed. */
typedef struct mmq_seat {
    TAILQ_ENTRY(mmq_seat) reading; /* while its next request is not whole */
    bool is_reading;
    int64_t since_ns; /* when it began to be waited for */
    struct MHD_Connection *connection;
    mmq_exchange *exchange; /* under way on it; may be NULL */
} mmq_seat;

TAILQ_HEAD(mmq_seat_list, mmq_seat);
TAILQ_HEAD(mmq_exchange_list, mmq_exchange);

/* What all exchanges share. */
struct mmq_adapter {
    mmq_client *client;
    struct mmq_exchange_list live;    /* all exchanges */
    struct mmq_exchange_list waiting; /* the suspended ones, by deadline */
    struct mmq_seat_list reading;     /* by since_ns */
    int64_t read_ns;                  /* that a request may take to come */
    size_t live_count;
    bool woken;          /* a connection was resumed: libmicrohttpd must run, its timer won't say */
    unsigned timeout_ms; /* of a request on the bus */
    bool draining;       /* no new work; connections are closed behind their answers */
    bool keyed;          /* a key is wanted */
    mmq_key_digest key;  /* of the Authorization header that has it */
    uint32_t trace_run;  /* random: trace ids of two runs differ */
    uint64_t trace_count; /* requests so far */
    mmq_meters meters;
    mmq_inquiry *ready;         /* what /health/ready asks */
    mmq_inquiry *scrape;        /* what /metrics asks */
    int64_t process_started_ns; /* since the epoch */
    mmq_buffer openapi;         /* the answer to /openapi.json, once it was made */
    size_t body_bytes;          /* bounded by MMQ_BODIES_MAX */
    mmq_helper *helper;
    struct mmq_creation_list creations; /* those that have a call to send, in turn */
    size_t creating;                    /* their calls at the bus */
};

typedef enum mmq_exchange_state {
    MMQ_EXCHANGE_NEW,       /* only its target is known */
    MMQ_EXCHANGE_READING,   /* its body */
    MMQ_EXCHANGE_LINGERING, /* answered 413 in the middle of a body; the rest is thrown away */
    MMQ_EXCHANGE_WORKING,   /* the handler was called */
    MMQ_EXCHANGE_ANSWERING, /* libmicrohttpd has the response */
} mmq_exchange_state;

/* A call on the bus. */
typedef struct mmq_exchange_call {
    mmq_exchange *exchange;
    uint64_t handle; /* 0: not under way */
    int status;      /* of its FINAL; 0: none yet */
} mmq_exchange_call;

struct mmq_exchange {
    TAILQ_ENTRY(mmq_exchange) live;
    TAILQ_ENTRY(mmq_exchange) waiting;
    mmq_adapter *adapter;
    struct MHD_Connection *connection;
    uint64_t party; /* the address it comes from */
    mmq_seat *seat;
    mmq_exchange_state state;
    bool suspended;      /* it is on the list `waiting` */
    int64_t deadline_ns; /* suspended: when we give up; LINGERING: when we close */
    int64_t started_ns;
    int64_t answered_ns; /* when it had an answer, or its beginning */
    char trace[32];

    char *target; /* of the request line, decoded in place */
    size_t target_size;
    char shown[256]; /* its path for the log, as it came */
    char method[16]; /* for the log */
    mmq_url url;
    mmq_headers headers;
    const mmq_route *route;

    mmq_buffer body;
    uint64_t body_size;     /* bytes seen, kept or not */
    size_t body_held;       /* bytes kept; they count in the adapter's body_bytes */
    mmq_creation *creation; /* of POST /_models, once the body is there; may be NULL */

    int status;                    /* 0: no answer yet */
    struct MHD_Response *response; /* until it is queued */
    uint64_t bytes;                /* of the answer's body so far */

    mmq_exchange_call calls[MMQ_EXCHANGE_CALLS];
    mmq_inquiry *inquiry; /* that it waits for; NULL: none */
    TAILQ_ENTRY(mmq_exchange) asking;
    mmq_stream *stream;
    int stream_status; /* of its answer, if it begins well; 0: 200 */
    mmq_form form;
    mmq_render *render;
    mmq_frame page; /* what the renderer reads */
    bool whole;     /* the stream has ended well */
    bool broken;    /* the connection was reset */
    bool close;     /* the connection is closed behind the answer */
    char staged[MMQ_STAGED];
    size_t staged_size, staged_at;
};

/* ---- for libmicrohttpd ------------------------------------------------------------------ */

/* MHD_OPTION_NOTIFY_CONNECTION. libmicrohttpd closes some connections without a word about the
 * request that it had shown us (query arguments that overflow its pool): their exchange ends here.
 */
void mmq_exchange_connection(void *adapter, struct MHD_Connection *connection, void **seat,
                             enum MHD_ConnectionNotificationCode what);
/* MHD_OPTION_URI_LOG_CALLBACK: makes the exchange (NULL without memory). */
void *mmq_exchange_new(void *adapter, const char *target, struct MHD_Connection *connection);
/* The access handler. */
enum MHD_Result mmq_exchange_handle(void *adapter, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *data, size_t *size, void **context);
/* MHD_OPTION_NOTIFY_COMPLETED: logs and frees. */
void mmq_exchange_completed(void *context, struct MHD_Connection *connection, void **slot,
                            enum MHD_RequestTerminationCode how);

/* ---- for the loop ----------------------------------------------------------------------- */

/* Ends suspended exchanges and requests on their way that are past their deadline; nanoseconds to
 * the next one, -1: none. */
int64_t mmq_exchange_tick(mmq_adapter *adapter);
/* Resets every connection with an exchange under way. */
void mmq_exchange_break_all(mmq_adapter *adapter);

/* ---- for handlers ----------------------------------------------------------------------- */

/* Answers with a copy of data. Wakes the connection if it is suspended. */
void mmq_exchange_answer(mmq_exchange *exchange, int status, const char *type, const void *data,
                         size_t size);
/* Answers {"result": sentence}. */
void mmq_exchange_refuse(mmq_exchange *exchange, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Answers that there are too many bodies already (503). */
void mmq_exchange_refuse_body(mmq_exchange *exchange);
/* Work that takes long has got ahead: its deadline begins anew. */
void mmq_exchange_went_on(mmq_exchange *exchange);
/* Adds a header to the answer just made. */
void mmq_exchange_header(mmq_exchange *exchange, const char *name, const char *value);
/* The uid in the path, or refuses it: false. */
bool mmq_exchange_uid(mmq_exchange *exchange, mmq_slice *uid);
/* Answers 404 for a uid (a valid one). */
void mmq_exchange_no_metric(mmq_exchange *exchange, const char *uid, size_t size);
/* Answers with a stream of metric.query in this form; the status waits for its first payload.
 * Clears args. monitored: only metrics whose status is not 0. */
void mmq_exchange_stream(mmq_exchange *exchange, mmq_args *args, mmq_form form, bool monitored);
/* Starts call `index`; `call->answer` is called with the mmq_exchange_call. False: refused. */
bool mmq_exchange_call_start(mmq_exchange *exchange, size_t index, mmq_call *call);

/* ---- between exchange.c and answer.c ---------------------------------------------------- */

void mmq_exchange_suspend(mmq_exchange *exchange);
void mmq_exchange_wake(mmq_exchange *exchange);
/* Resets the connection (RST): its answer must not look whole. */
void mmq_exchange_break(mmq_exchange *exchange);
/* Sends what must be said before a body was read to its end, which libmicrohttpd cannot. */
void mmq_exchange_answer_raw(mmq_exchange *exchange, int status, const char *reason,
                             const char *sentence);

#endif
