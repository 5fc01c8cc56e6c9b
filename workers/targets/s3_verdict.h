/* What an answer, or its absence, means: did it work, whose turn is it, and what is to be done.
 * Pure; any thread. */
#ifndef MMQ_S3_VERDICT_H
#define MMQ_S3_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "workers/targets/s3_address.h"
#include "workers/targets/s3_http.h"
#include "workers/targets/target.h"

/* What could make the same request work, or tells more than the class of the failure. */
typedef enum mmq_s3_remedy {
    MMQ_S3_NO_REMEDY,
    MMQ_S3_TIME,       /* tried again as it is */
    MMQ_S3_KEYS,       /* other credentials */
    MMQ_S3_CLOCK,      /* the store's time: skew_s */
    MMQ_S3_RESUM,      /* none: the body is not what its digest says, here or there */
    MMQ_S3_GONE,       /* none: there is no such multipart upload (any more) */
    MMQ_S3_NOT_OFFERED /* none: the store cannot do this */
} mmq_s3_remedy;

typedef struct mmq_s3_verdict {
    mmq_err err; /* MMQ_OK: 2xx, and the body is no error */
    mmq_setback setback;
    mmq_s3_remedy remedy;
    int64_t skew_s; /* the store's clock less ours, under MMQ_S3_CLOCK */
    mmq_why why;
} mmq_s3_verdict;

/* now_s: of the wall clock, uncorrected. */
void mmq_s3_judge(const mmq_s3_address *address, const mmq_s3_reply *reply, int64_t now_s,
                  mmq_s3_verdict *out);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110's IMF-fixdate) as seconds since the epoch. */
bool mmq_s3_http_date(const char *text, int64_t *out);
/* A Retry-After in seconds or as a date, as nanoseconds from 0 to 5 minutes; 0 if it is neither. */
int64_t mmq_s3_retry_after_ns(const char *text, int64_t now_s);
/* Copies a peer's text for a sentence: printable ASCII, the rest as '?', cut to fit. */
void mmq_s3_tame(char *out, size_t room, const char *text);

typedef enum mmq_s3_agreement {
    MMQ_S3_SAME,
    MMQ_S3_OTHER,
    MMQ_S3_NO_MD5, /* an ETag of another kind, as of encrypted objects: says nothing */
    MMQ_S3_NO_ETAG /* none, or none that could be sent back */
} mmq_s3_agreement;

/* The ETag without its quotes (and without W/); "" if it is not fit to be sent back. */
void mmq_s3_etag(const char *header, char out[MMQ_S3_ETAG_MAX + 1]);
/* Compares an answer's ETag with the MD5 that was expected ("...-N" of a multipart object). */
mmq_s3_agreement mmq_s3_etag_compare(const mmq_s3_reply *reply, const char *etag, const char *md5);

#endif
