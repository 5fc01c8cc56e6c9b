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
#include "clients/http/feed.h"
#include "clients/http/guesses.h"
#include "clients/http/gzip.h"
#include "clients/http/headers.h"
#include "clients/http/helper.h"
#include "clients/http/hosts.h"
#include "clients/http/inquiry.h"
#include "clients/http/keys.h"
#include "clients/http/meters.h"
#include "clients/http/seats.h"
#include "clients/http/url.h"
#include "clients/http/viewers.h"
#include "clients/render/render.h"
#include "lib/buffer.h"
#include "lib/heap.h"
#include "metricmq/pack.h"
#include "metricmq/client.h"

enum {
    MMQ_TARGET_MAX = 8192,             /* bytes of a request target */
    MMQ_BODY_KEPT = 1024 * 1024,       /* bytes of a body at most, of most routes */
    MMQ_BODY_SPARE = 7 * 1024 * 1024,  /* what is read of a body beyond what is wanted of it */
    MMQ_BODIES_MAX = 64 * 1024 * 1024, /* bytes of all bodies, and of what they have become */
    MMQ_EXCHANGE_CALLS = 3,            /* calls of one exchange at a time */
    MMQ_STAGED = 1024,                 /* the least room that a renderer takes */
    MMQ_GZIPS_MAX = 64,                /* answers that are compressed at a time */
    MMQ_GZIP_LEAST = 1024,             /* bytes of an answer that is worth it */
    MMQ_AGENT_MAX = 96,                /* bytes of a User-Agent in the log */
};

typedef struct mmq_route mmq_route;

TAILQ_HEAD(mmq_exchange_list, mmq_exchange);

/* What all exchanges share. */
struct mmq_adapter {
    mmq_client *client;
    mmq_seats seats;
    struct mmq_exchange_list live; /* all exchanges */
    size_t live_count;
    size_t body_bytes;   /* bounded by MMQ_BODIES_MAX */
    size_t stream_count; /* exchanges that have a stream */
    bool woken;          /* a connection was resumed: libmicrohttpd must run, its timer won't say */
    unsigned timeout_ms; /* of a request on the bus */
    bool draining;       /* no new work; connections are closed behind their answers */
    bool keyed;          /* a key is wanted */
    mmq_keys *keys;      /* those that there are */
    mmq_guesses guesses;
    mmq_heap held; /* answers to wrong keys that wait */
    mmq_hosts hosts;
    uint32_t trace_run;   /* random: trace ids of two runs differ */
    uint64_t trace_count; /* requests so far */
    mmq_gzip_pool gzips;
    const char *const *origins; /* of pages that may ask from a browser; borrowed */
    size_t origin_count;
    char server[64]; /* our name and version */
    mmq_meters meters;
    mmq_inquiry *ready;         /* what /health/ready asks */
    mmq_inquiry *scrape;        /* what /metrics asks */
    mmq_inquiry *status;        /* what /_status asks */
    int64_t process_started_ns; /* since the epoch */
    mmq_buffer openapi;         /* the answer to /openapi.json, once it was made */
    mmq_helper *helper;
    mmq_viewers *viewers;
    struct mmq_creation_list creations; /* those that have a call to send, in turn */
    size_t creating;                    /* their calls at the bus */
};

typedef enum mmq_exchange_state {
    MMQ_EXCHANGE_NEW,       /* only its target is known */
    MMQ_EXCHANGE_READING,   /* its body */
    MMQ_EXCHANGE_LINGERING, /* answered in the middle of its request; the rest is thrown away */
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
    mmq_adapter *adapter;
    struct MHD_Connection *connection;
    mmq_seat *seat;
    mmq_exchange_state state;
    bool suspended; /* its seat waits for the bus */
    int64_t started_ns;
    int64_t answered_ns; /* when it had an answer, or its beginning */
    char trace[MMQ_REQUEST_ID_MAX + 1];

    char *target; /* of the request line, decoded in place */
    size_t target_size;
    char shown[256]; /* its path for the log, as it came */
    char method[16]; /* for the log */
    char agent[MMQ_AGENT_MAX];
    char key[MMQ_KEY_NAME_MAX + 1]; /* whose key it has; "": none */
    bool head;                      /* the method is HEAD: no body is made */
    bool old; /* HTTP/1.0: an answer without length ends where the connection does */
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
    int64_t hold_ns;               /* not before: it had a wrong key; 0: at once */
    bool unlogged;                 /* it was held: the log counts such only */
    mmq_heap_item hold;            /* in adapter->held */

    mmq_exchange_call calls[MMQ_EXCHANGE_CALLS];
    mmq_inquiry *inquiry; /* that it waits for; NULL: none */
    TAILQ_ENTRY(mmq_exchange) asking;
    mmq_feed feed;      /* of an answer that is made of lines */
    mmq_viewer *viewer; /* of GET /_watch; NULL: it is none */
    mmq_stream *stream;
    int stream_status; /* of its answer, if it begins well; 0: 200 */
    bool counted;      /* in adapter->stream_count */
    mmq_form form;
    bool tagged; /* the stream has a state: its answer has an ETag and may be 304 */
    bool paged;  /* the stream may have several pages */
    mmq_render *render;
    mmq_gzip *gzip; /* NULL: the text goes out as it is */
    bool zipped;    /* the answer's text is compressed */
    mmq_frame page; /* what the renderer reads */
    bool whole;     /* the stream has ended well */
    bool broken;    /* the connection was reset */
    bool left;      /* because its client had left */
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

/* Ends what is past its deadline and what has nobody left to read it; nanoseconds until there may
 * be more of it, -1: none. */
int64_t mmq_exchange_tick(mmq_adapter *adapter);
/* Resets every connection with an exchange under way. */
void mmq_exchange_break_all(mmq_adapter *adapter);

/* ---- for handlers ----------------------------------------------------------------------- */

#define MMQ_JSON_TYPE "application/json; charset=UTF-8"

/* Answers with a copy of data. Wakes the connection if it is suspended. type NULL: without a body.
 */
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
/* As mmq_exchange_stream, for an op that answers with its state and takes `unless`: the answer has
 * an ETag, and is 304 if the client has it already. paged: it takes max_bytes, too. */
void mmq_exchange_stream_tagged(mmq_exchange *exchange, mmq_args *args, mmq_form form,
                                bool monitored, bool paged);
/* Starts call `index`; `call->answer` is called with the mmq_exchange_call. False: refused. */
bool mmq_exchange_call_start(mmq_exchange *exchange, size_t index, mmq_call *call);

/* ---- between exchange.c, answer.c, cors.c and stream.c ---------------------------------- */

void mmq_exchange_suspend(mmq_exchange *exchange);
void mmq_exchange_wake(mmq_exchange *exchange);
/* Resets the connection (RST): its answer must not look whole. */
void mmq_exchange_break(mmq_exchange *exchange);
/* Answers with a response, which is taken over (NULL: there was no memory for it, the connection
 * will be closed); type as for mmq_exchange_answer, cache: of Cache-Control. */
void mmq_exchange_respond(mmq_exchange *exchange, int status, const char *type, const char *cache,
                          struct MHD_Response *response);
/* Sends what must be said before a request was read to its end, which libmicrohttpd cannot, and no
 * more after that. */
void mmq_exchange_answer_raw(mmq_exchange *exchange, int status, const char *reason,
                             const char *sentence);
/* Answers OPTIONS of a path that takes these methods; *: target of all paths. */
void mmq_exchange_answer_options(mmq_exchange *exchange, unsigned methods);
/* Pages of its Origin may ask: --cors-origin says so. */
bool mmq_cors_allows(const mmq_exchange *exchange);
/* A browser asks, without a key, whether a page from an origin of ours may ask. */
bool mmq_cors_preflight(const mmq_exchange *exchange, const char *method);
/* Adds what a browser wants to see before it shows the answer to a page. */
void mmq_cors_add_headers(mmq_exchange *exchange);
/* Frees what a stream holds. */
void mmq_exchange_clear_stream(mmq_exchange *exchange);

#endif
