/* A block: up to MMQ_BLOCK_ROWS neighbouring rows of a metric, in the order of (timestamp, rowid),
 * by column. Its head says what is in it, so that a reader may skip it. docs/storage.md has the
 * format. Nothing here knows of SQLite. */
#ifndef MMQ_STORE_BLOCK_H
#define MMQ_STORE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workers/store/doubles.h"
#include "workers/store/sequence.h"
#include "workers/store/store.h"

enum {
    MMQ_BLOCK_COLUMNS = 5,
    MMQ_BLOCK_HEAD = 4 + 2 * MMQ_BLOCK_COLUMNS,
    MMQ_BLOCK_MAX = MMQ_BLOCK_HEAD + 2 * MMQ_SEQUENCE_MAX + 3 * MMQ_DOUBLES_MAX + MMQ_PACKED_SLACK,
};

/* A row's place among the rows of its metric. */
typedef struct mmq_row_key {
    int64_t timestamp, rowid;
} mmq_row_key;

typedef struct mmq_block_head {
    mmq_row_key first, last;
    int64_t least_rowid, greatest_rowid;
    int64_t rows;          /* 1 to MMQ_BLOCK_ROWS */
    int64_t unscored;      /* rows without an anomaly score */
    double greatest_score; /* the greatest anomaly score; NaN: there is none */
    uint64_t data_check;   /* of the block's data */
} mmq_block_head;

/* What the values of a block come to. It lies beside the head, with a check of its own: who looks
 * for rows does not read it, and a store of version 3 has none. */
typedef struct mmq_block_values {
    double least, greatest;
    double first, last;
    double mean; /* least <= mean <= greatest */
} mmq_block_values;

enum { MMQ_BLOCK_VALUES = 5 * 8 + 8 }; /* its bytes: the numbers and the check */

/* Of 1 to MMQ_BLOCK_ROWS finite values. The mean is rounded once, whatever the values. */
mmq_block_values mmq_block_values_of(const double *value, size_t count);
void mmq_block_values_write(const mmq_block_values *values, int64_t metric,
                            const mmq_block_head *head, uint8_t out[MMQ_BLOCK_VALUES]);
/* False unless it was written for this block, and the numbers can be. */
bool mmq_block_values_read(const void *data, size_t size, int64_t metric,
                           const mmq_block_head *head, mmq_block_values *out);

/* What the head of metric's block must have as its check (XXH3 over its fields and the metric). */
uint64_t mmq_block_head_check(int64_t metric, const mmq_block_head *head);

/* Encodes rows [from, from + count), 1 to MMQ_BLOCK_ROWS of them, and fills in the head. Returns
 * the bytes written. */
size_t mmq_block_encode(const mmq_write_rows *rows, size_t from, size_t count,
                        uint8_t out[MMQ_BLOCK_MAX], mmq_block_head *head);

/* A block that was opened: its keys decoded, its other columns at hand. Borrows the data. */
typedef struct mmq_block {
    size_t count;
    int64_t timestamp[MMQ_BLOCK_ROWS], rowid[MMQ_BLOCK_ROWS];
    mmq_doubles value, anomaly_score, raw_score;
} mmq_block;

/* False if the data is not what the head says, whoever wrote it. */
bool mmq_block_open(const mmq_block_head *head, const void *data, size_t size, mmq_block *out);

#endif
