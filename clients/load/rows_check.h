/* Checks a stream of rows as it comes: the names first and once, only rows that were asked for,
 * strictly in order, none missing, none twice. The first fault found is kept. */
#ifndef MMQ_ROWS_CHECK_H
#define MMQ_ROWS_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/load/tally.h"

/* What the answer must be. */
typedef struct mmq_rows_wanted {
    const char *uid;     /* borrowed */
    bool ascending;      /* in time, then rowid */
    int64_t from, to;    /* inclusive */
    uint64_t least_rows; /* known to be there */
    uint64_t most_rows;
    bool all; /* rowids must be 1, 2, 3..., each once, in whatever order time has them */
} mmq_rows_wanted;

typedef struct mmq_rows_check {
    mmq_rows_wanted wanted;
    size_t uid_size;
    mmq_fault fault;
    bool named;
    uint64_t rows;
    int64_t timestamp, rowid; /* of the row before */
    uint64_t sum, squares;    /* of rowids, modulo 2^64 */
} mmq_rows_check;

void mmq_rows_check_init(mmq_rows_check *check, const mmq_rows_wanted *wanted);
void mmq_rows_check_payload(mmq_rows_check *check, const void *payload, size_t size);
/* The stream is whole: what was wrong with it, MMQ_FAULT_NONE if nothing. */
mmq_fault mmq_rows_check_end(mmq_rows_check *check);

#endif
