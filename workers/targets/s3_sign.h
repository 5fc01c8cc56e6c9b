/* AWS Signature Version 4 for S3, in the form of an Authorization header. Any thread. */
#ifndef MMQ_S3_SIGN_H
#define MMQ_S3_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/digest.h"
#include "metricmq/error.h"

enum {
    MMQ_S3_DATE = 16, /* YYYYMMDDTHHMMSSZ */
    MMQ_S3_QUERY_MAX = 8,
    MMQ_S3_HEADERS_MAX = 16,
};

/* A header or a parameter of the query. */
typedef struct mmq_s3_pair {
    const char *name;
    const char *value;
} mmq_s3_pair;

/* A request as the store will see it. All borrowed. */
typedef struct mmq_s3_request {
    const char *method;
    const char *path; /* from '/' on, not encoded */
    const mmq_s3_pair *query;
    size_t query_count; /* <= MMQ_S3_QUERY_MAX; neither sorted nor encoded */
    const mmq_s3_pair *headers;
    size_t header_count; /* <= MMQ_S3_HEADERS_MAX: those that are signed, host among them */
    const char *sha256;  /* of the body, in hex */
    int64_t time_s;      /* that x-amz-date says */
    const char *region;
    const char *access_key;
    const char *secret_key;
} mmq_s3_request;

/* Writes the time as x-amz-date wants it; times beyond the calendar's bounds are cut to them. */
void mmq_s3_date(int64_t time_s, char out[MMQ_S3_DATE + 1]);
/* Appends the text percent-encoded as the signature wants it: all but letters, digits and "-._~",
 * of a path not its slashes either. */
void mmq_s3_encode(mmq_buffer *out, const char *text, bool is_path);
/* Appends the parameters encoded and sorted, "a=1&b=", as they are signed and sent. */
void mmq_s3_query(mmq_buffer *out, const mmq_s3_pair *query, size_t count);
/* Appends what the store makes its signature of; for tests. */
void mmq_s3_canonical(mmq_buffer *out, const mmq_s3_request *request);
/* Appends the value of the Authorization header. MMQ_ENOMEM. */
mmq_err mmq_s3_sign(mmq_buffer *out, const mmq_s3_request *request, mmq_why *why) MMQ_MUST_USE;

#endif
