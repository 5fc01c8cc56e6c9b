/* Rows of a stretch of time, summed up: what `summary` of metric.query answers with, a bucket an
 * array [uid, start, rows, least, greatest, first, last, mean, anomaly_score | nil, unscored]. */
#ifndef MMQ_BUCKET_H
#define MMQ_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "metricmq/protocol.h"

enum { MMQ_BUCKET_MAX = 1 + 3 + MMQ_UID_MAX + 9 * 9 }; /* packed bytes of one at most */

typedef struct mmq_bucket {
    int64_t rows;           /* 0: there is nothing in it */
    int64_t unscored;       /* of them without an anomaly score */
    double least, greatest; /* of their values, which are finite */
    double first, last;     /* values, in the order of (timestamp, rowid) */
    double mean;            /* least <= mean <= greatest */
    double greatest_score;  /* NaN: none has one */
} mmq_bucket;

/* True if rows could have made it what it is. */
bool mmq_bucket_is_sane(const mmq_bucket *bucket);

/* The packed array of names, sent before the first bucket of a stream. */
extern const uint8_t mmq_bucket_names[];
extern const size_t mmq_bucket_names_size;

/* Packs one at a place with room for MMQ_BUCKET_MAX bytes; returns the place behind it. */
uint8_t *mmq_bucket_put(uint8_t *at, const char *uid, int64_t start, const mmq_bucket *bucket);

/* A bucket as a reader sees it. */
typedef struct mmq_bucket_row {
    const char *uid; /* borrowed from the payload */
    size_t uid_size;
    int64_t start; /* seconds since the epoch, UTC */
    mmq_bucket bucket;
} mmq_bucket_row;

/* Reads the value at *offset of a payload and moves *offset past it. MMQ_OK: a bucket; MMQ_EAGAIN:
 * it was the array of names; MMQ_EPROTO: neither. *offset < size. */
mmq_err mmq_bucket_take(const void *payload, size_t size, size_t *offset,
                        mmq_bucket_row *out) MMQ_MUST_USE;

#endif
