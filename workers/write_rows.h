/* Rows of a write request: a concatenation of msgpack arrays, read into columns. */
#ifndef MMQ_WRITE_ROWS_H
#define MMQ_WRITE_ROWS_H

#include <stddef.h>

#include "workers/store/store.h"

typedef enum mmq_rows_form {
    MMQ_ROWS_APPEND, /* [timestamp, value, anomaly_score | nil, raw_score | nil] */
    MMQ_ROWS_SCORE,  /* [rowid, anomaly_score, raw_score] */
} mmq_rows_form;

/* Reads all rows; columns that the form does not have stay NULL. MMQ_EINVAL names the row, counted
 * from 1. *out is zeroed first and the caller's to clear, on failure too. */
mmq_err mmq_write_rows_read(mmq_rows_form form, const void *data, size_t size, mmq_write_rows *out,
                            mmq_why *why) MMQ_MUST_USE;
void mmq_write_rows_clear(mmq_write_rows *rows);

#endif
