/* Rows by column, as the store hands them over, and how they are written into a stream. */
#ifndef MMQ_COLUMNS_H
#define MMQ_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/rows.h"

enum {
    MMQ_BATCH_ROWS = 1024,                    /* rows of a batch at most */
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

#endif
