/* Rows as `append` takes them and `export` gives them: msgpack arrays
 * [timestamp, value, anomaly_score | nil, raw_score | nil]. */
#ifndef MMQ_APPEND_ROW_H
#define MMQ_APPEND_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

enum { MMQ_APPEND_ROW_MAX = 1 + 4 * 9 }; /* bytes of a row at most */

typedef struct mmq_append_row {
    int64_t timestamp; /* seconds since the epoch, UTC */
    double value;
    double anomaly_score, raw_score; /* NaN where absent */
} mmq_append_row;

/* Puts the row at a place with room for MMQ_APPEND_ROW_MAX bytes; returns the place behind it. */
uint8_t *mmq_append_row_put(uint8_t *at, const mmq_append_row *row);
/* Reads the row at *offset of a payload and moves *offset past it. MMQ_EPROTO if there is none, or
 * a number in it is not finite. */
mmq_err mmq_append_row_take(const void *payload, size_t size, size_t *offset,
                            mmq_append_row *out) MMQ_MUST_USE;

#endif
