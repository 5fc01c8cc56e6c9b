/* Rows of a data stream: by column in memory, by row on the wire.
 *
 * A stream is a concatenation of msgpack values: first the array of column names (on a stream's
 * first page only), then for each row [uid, timestamp, value, anomaly_score | nil, rowid]. */
#ifndef METRICMQ_ROWS_H
#define METRICMQ_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "metricmq/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MMQ_BATCH_ROWS = 1024,                    /* rows of a batch at most */
    MMQ_UID_MAX = 100,                        /* bytes of a uid */
    MMQ_ROW_PREFIX_MAX = 1 + 3 + MMQ_UID_MAX, /* bytes of what the prefix holds at most */
    MMQ_ROW_TAIL_MAX = 4 * 9,                 /* bytes of the rest of a row at most */
    MMQ_ROW_MAX = MMQ_ROW_PREFIX_MAX + MMQ_ROW_TAIL_MAX,
};

/* Rows of one metric, a column an array. An absent score is NaN (NaN itself is never stored). */
typedef struct mmq_columns {
    size_t count;
    int64_t timestamp[MMQ_BATCH_ROWS]; /* seconds since the epoch, UTC */
    int64_t rowid[MMQ_BATCH_ROWS];     /* 1, 2, 3... in the order of arrival */
    double value[MMQ_BATCH_ROWS];
    double anomaly_score[MMQ_BATCH_ROWS];
    double raw_score[MMQ_BATCH_ROWS];
} mmq_columns;

/* The packed array of column names, sent before the first row of a stream. */
extern const uint8_t mmq_rows_names[];
extern const size_t mmq_rows_names_size;

/* The bytes that begin each row of one metric: array header and packed uid. Padded with zeros, so
 * that it can be copied in pieces of 16 bytes. */
typedef struct mmq_row_prefix {
    uint8_t data[(MMQ_ROW_PREFIX_MAX + 15) / 16 * 16];
    size_t size;
} mmq_row_prefix;

void mmq_row_prefix_init(mmq_row_prefix *prefix, const char *uid);

/* Packs rows [from, columns->count) into out until `capacity` has no room for another; returns the
 * bytes written and sets *next to the first row that was not packed. */
size_t mmq_rows_encode(const mmq_row_prefix *prefix, const mmq_columns *columns, size_t from,
                       uint8_t *out, size_t capacity, size_t *next);
/* The same for rows of several metrics: prefixes[i] (borrowed for the call) is that of row i. */
size_t mmq_rows_encode_mixed(const mmq_row_prefix *const *prefixes, const mmq_columns *columns,
                             size_t from, uint8_t *out, size_t capacity, size_t *next);

/* One row as a reader sees it. uid borrows from the payload. */
typedef struct mmq_row {
    const char *uid;
    size_t uid_size;
    int64_t timestamp;
    double value;
    double anomaly_score; /* NaN where nil */
    int64_t rowid;
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
