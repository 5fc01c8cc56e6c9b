/* HTTP exchanges by libcurl, several at once on one thread. It knows nothing of S3 but which
 * headers of an answer are worth keeping: libcurl is transport only, it neither signs nor follows.
 *
 * A link belongs to one thread at a time; its connections stay open for the exchanges to come. */
#ifndef MMQ_S3_HTTP_H
#define MMQ_S3_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "metricmq/error.h"
#include "workers/targets/s3_sign.h"

enum {
    MMQ_S3_AT_ONCE = 4,               /* exchanges of a link */
    MMQ_S3_REPLY_MAX = 64 * 1024,     /* bytes of an answer's headers, and of most bodies */
    MMQ_S3_ETAG_MAX = 64,             /* without quotes */
    MMQ_S3_LEAST_BYTES_A_S = 4 * 1024 /* slower is stalled */
};

/* What is sent along. */
typedef struct mmq_s3_body {
    const void *data; /* NULL: of the file */
    int fd;
    int64_t at; /* in the file */
    int64_t size;
} mmq_s3_body;

typedef struct mmq_s3_ask {
    const char *method; /* GET, HEAD, PUT, POST or DELETE; static storage */
    const char *url;
    const mmq_s3_pair *headers;
    size_t header_count;
    mmq_s3_body body;    /* of PUT and POST; borrowed until the exchange is done */
    size_t reply_max;    /* bytes of the answer's body */
    int64_t stall_ns;    /* at most so long without MMQ_S3_LEAST_BYTES_A_S in the mean */
    int64_t connect_ns;  /* for name, connection and handshake */
    const char *ca_file; /* NULL: the machine's authorities */
    bool use_proxy;      /* that the environment names */
} mmq_s3_ask;

typedef enum mmq_s3_end {
    MMQ_S3_PENDING,
    MMQ_S3_ANSWERED,   /* whole, whatever the status */
    MMQ_S3_BROKEN,     /* by the network or the peer, or never begun */
    MMQ_S3_STALLED,    /* too slow for too long */
    MMQ_S3_UNTRUSTED,  /* the certificate is not good for this host, or cannot be checked */
    MMQ_S3_FLOODED,    /* an answer beyond its bounds */
    MMQ_S3_UNREADABLE, /* the file that was to be sent cannot be read or is too short */
    MMQ_S3_NO_MEMORY,
} mmq_s3_end;

/* Headers are "" where there was none or it was longer than this. */
typedef struct mmq_s3_reply {
    mmq_s3_end end;
    int status;
    char etag[MMQ_S3_ETAG_MAX + sizeof "W/\"\""];
    char date[40];
    char retry_after[40];
    char length[24];
    char region[64];      /* x-amz-bucket-region */
    char encryption[32];  /* x-amz-server-side-encryption */
    char customer[32];    /* x-amz-server-side-encryption-customer-algorithm */
    char meta_sha256[65]; /* x-amz-meta-sha256 */
    mmq_buffer body;
    char error[256]; /* libcurl's sentence, unless answered */
} mmq_s3_reply;

typedef struct mmq_s3_link mmq_s3_link;
typedef struct mmq_s3_exchange mmq_s3_exchange;

/* Once before all else, from one thread at a time. */
mmq_err mmq_s3_http_setup(mmq_why *why) MMQ_MUST_USE;

/* NULL: no memory. */
mmq_s3_link *mmq_s3_link_new(void);
/* No exchange may be left. */
void mmq_s3_link_destroy(mmq_s3_link **link);
/* Begins an exchange; at most MMQ_S3_AT_ONCE are open. MMQ_ENOMEM. *out is the caller's to drop. */
mmq_err mmq_s3_link_start(mmq_s3_link *link, const mmq_s3_ask *ask, mmq_s3_exchange **out,
                          mmq_why *why) MMQ_MUST_USE;
/* Lets the exchanges go on for at most so long, or until one of them is done. */
void mmq_s3_link_wait(mmq_s3_link *link, int timeout_ms);

/* Borrowed; MMQ_S3_PENDING until it is done. */
const mmq_s3_reply *mmq_s3_exchange_reply(const mmq_s3_exchange *exchange);
/* Bytes of the body that have left so far. */
int64_t mmq_s3_exchange_sent(const mmq_s3_exchange *exchange);
/* Breaks it off if it is not done. */
void mmq_s3_exchange_drop(mmq_s3_exchange **exchange);

#endif
