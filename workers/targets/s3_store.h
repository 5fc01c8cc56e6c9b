/* A store of S3 as the target's parts see it: what threads share of it, and a session, which is one
 * thread's dealing with it for the length of one put or sweep. */
#ifndef MMQ_S3_STORE_H
#define MMQ_S3_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/watch.h"
#include "metricmq/error.h"
#include "workers/targets/s3_address.h"
#include "workers/targets/s3_credentials.h"
#include "workers/targets/s3_http.h"
#include "workers/targets/s3_verdict.h"
#include "workers/targets/target.h"

enum { MMQ_S3_LINKS_KEPT = 8 };

typedef struct mmq_s3_store {
    mmq_s3_address address;
    char *ca_file; /* owned; NULL: the machine's authorities */
    int64_t stall_ns;
    mmq_s3_credentials *credentials;
    _Atomic int64_t skew_s; /* the store's clock less ours, as far as it complained */
    pthread_mutex_t mutex;  /* of the links that no session uses */
    mmq_s3_link *links[MMQ_S3_LINKS_KEPT];
} mmq_s3_store;

/* NULL with a sentence. */
mmq_s3_store *mmq_s3_store_new(const char *rest, const mmq_s3_settings *settings, mmq_why *why);
void mmq_s3_store_destroy(mmq_s3_store **store);

typedef struct mmq_s3_session {
    mmq_s3_store *store;
    mmq_s3_link *link;
    mmq_watch watch;     /* who is asked */
    mmq_watch outer;     /* who is told only, after mmq_s3_session_limit */
    mmq_watch asked;     /* asks it, and keeps what it said in `stopped` */
    int64_t done, total; /* bytes, as the watch is told */
    int64_t ticked_ns;   /* when it was asked last */
    int64_t end_ns;      /* after mmq_s3_session_limit */
    mmq_err stopped;     /* the watch's error */
    mmq_why stopped_why;
    mmq_s3_verdict verdict; /* of what failed last, if nothing has stopped it */
} mmq_s3_session;

/* MMQ_ENOMEM. The caller ends it, also after failure. */
mmq_err mmq_s3_session_begin(mmq_s3_session *session, mmq_s3_store *store, const mmq_watch *watch,
                             mmq_why *why) MMQ_MUST_USE;
void mmq_s3_session_end(mmq_s3_session *session);
/* From now on only the time limits it, whatever stopped it or says so: for putting things in order.
 * The session must not be copied after that. */
void mmq_s3_session_limit(mmq_s3_session *session, int64_t limit_ns);
/* Asks the watch, if that was not done just now, and lets exchanges go on for a little while. */
mmq_err mmq_s3_session_wait(mmq_s3_session *session) MMQ_MUST_USE;
/* Asks the watch. */
mmq_err mmq_s3_session_tick(mmq_s3_session *session) MMQ_MUST_USE;

/* Sets the verdict, with a sentence, and is its error. */
#define mmq_s3_fail(session_, err_, kind_, ...)                                                    \
    ((session_)->verdict = (mmq_s3_verdict){.err = (err_), .setback = {.kind = (kind_)}},          \
     mmq_fail(&(session_)->verdict.why, err_, __VA_ARGS__))

/* ---- calls ------------------------------------------------------------------------------ */

enum { MMQ_S3_CALL_HEADERS = 4 };

/* A request to the store that is made anew as often as makes sense: signed each time, with other
 * credentials or a corrected clock where the store wants them, and after a failure that passes as
 * often as `tries` allows. Filled by designated initialisers; what is pointed to is borrowed until
 * the call is ended. */
typedef struct mmq_s3_call {
    const char *method;
    const char *key; /* NULL: the bucket is meant */
    mmq_s3_pair query[MMQ_S3_QUERY_MAX];
    size_t query_count;
    mmq_s3_pair headers[MMQ_S3_CALL_HEADERS];
    size_t header_count;
    const char *sha256; /* of the body; NULL: there is none */
    mmq_s3_body body;
    size_t reply_max;  /* 0: MMQ_S3_REPLY_MAX */
    unsigned tries;    /* 0: one */
    unsigned patience; /* it may stall so many times as long; 0: once */

    mmq_s3_exchange *exchange; /* NULL: none is under way */
    unsigned failures;
    bool has_new_keys, has_new_clock;
    int64_t due_ns;  /* not to be tried before */
    uint64_t serial; /* of the credentials it was signed with */
    bool is_done;
    mmq_s3_verdict verdict; /* once it is done */
} mmq_s3_call;

/* Starts it, or takes its answer and judges it. */
void mmq_s3_call_step(mmq_s3_session *session, mmq_s3_call *call);
/* Takes it to its end: its verdict's error, which is then the session's too, or the watch's. */
mmq_err mmq_s3_call_run(mmq_s3_session *session, mmq_s3_call *call) MMQ_MUST_USE;
/* The answer of a call that is done; borrowed until it is ended. NULL if it was never sent. */
const mmq_s3_reply *mmq_s3_call_reply(const mmq_s3_call *call);
void mmq_s3_call_end(mmq_s3_call *call);

#endif
