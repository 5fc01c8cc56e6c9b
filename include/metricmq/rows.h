/* Rows of a data stream, read from its payloads.
 *
 * A stream is a concatenation of msgpack values: first the array of column names (on a stream's
 * first page only), then for each row [uid, timestamp, value, anomaly_score | nil, rowid].
 * metricmq/query.h hands rows out without payloads being seen. Pure functions: any thread. */
#ifndef METRICMQ_ROWS_H
#define METRICMQ_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "metricmq/protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One row as a reader sees it. uid borrows from the payload. */
typedef struct mmq_row {
    const char *uid;
    size_t uid_size;
    int64_t timestamp; /* seconds since the epoch, UTC */
    double value;
    double anomaly_score; /* NaN where nil */
    int64_t rowid;        /* 1, 2, 3... in the order of arrival */
} mmq_row;

/* Reads the value at *offset of a payload and moves *offset past it. MMQ_OK: a row;
 * MMQ_EAGAIN: it was the array of names; MMQ_EEND: the payload is at its end;
 * MMQ_EPROTO: neither. Integers are taken as value and score too (other writers send them). */
mmq_err mmq_rows_decode(const void *payload, size_t size, size_t *offset,
                        mmq_row *out) MMQ_MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
