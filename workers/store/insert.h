/* Rows that go into blocks, and scores that go onto rows. In a write transaction; the metric's
 * record is the caller's business. */
#ifndef MMQ_STORE_INSERT_H
#define MMQ_STORE_INSERT_H

#include "workers/store/handle.h"

/* Rows [from, rows->count) of rows, which get the rowids from first_rowid on. */
mmq_err mmq_insert_rows(mmq_store *store, int64_t metric, const mmq_write_rows *rows, size_t from,
                        int64_t first_rowid, mmq_why *why) MMQ_MUST_USE;
/* Scores for rows that exist, in any order; of two for one row the later one counts. *scored:
 * by how many the rows without a score became fewer. */
mmq_err mmq_insert_scores(mmq_store *store, int64_t metric, const mmq_write_rows *rows,
                          int64_t *scored, mmq_why *why) MMQ_MUST_USE;

#endif
