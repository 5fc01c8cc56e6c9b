/* What prunes have left behind: which rowids of a metric are gone, as gaps, and what was pruned
 * when. In a transaction. A store that was never pruned may lack the tables: then there are no
 * gaps. */
#ifndef MMQ_STORE_GAPS_H
#define MMQ_STORE_GAPS_H

#include "workers/store/handle.h"

/* Rows first..last are gone. Gaps of a metric are disjoint, and rows lie between any two. */
typedef struct mmq_gap {
    int64_t first, last;
} mmq_gap;

/* The last gap that begins at rowid or before; it need not reach rowid. */
mmq_err mmq_gap_at(mmq_store *store, int64_t metric, int64_t rowid, bool *found, mmq_gap *out,
                   mmq_why *why) MMQ_MUST_USE;
/* All gaps that have some of rowids first..last, ascending. */
mmq_err mmq_gaps_each(mmq_store *store, int64_t metric, int64_t first, int64_t last,
                      void (*take)(void *context, mmq_gap gap), void *context,
                      mmq_why *why) MMQ_MUST_USE;
/* The next gaps, ascending, whose first rowid is behind `after`: up to `capacity`, and fewer only
 * where there are no more. */
mmq_err mmq_gaps_piece(mmq_store *store, int64_t metric, int64_t after, mmq_gap *out,
                       size_t capacity, size_t *count, mmq_why *why) MMQ_MUST_USE;
/* Notes that the rows are gone; joins the gaps that it touches. In a write transaction. */
mmq_err mmq_gap_add(mmq_store *store, int64_t metric, mmq_gap gap, mmq_why *why) MMQ_MUST_USE;
/* A gap that stands alone: MMQ_Q_ADD_GAP, _SET_GAP (of the same first rowid) or _DROP_GAP. In a
 * write transaction. */
mmq_err mmq_gap_write(mmq_store *store, mmq_query query, int64_t metric, mmq_gap gap,
                      mmq_why *why) MMQ_MUST_USE;

/* The greatest time of the metric's prunes: each row that is gone was before it. MMQ_ECORRUPT if it
 * was never pruned. */
mmq_err mmq_pruned_before(mmq_store *store, int64_t metric, int64_t *out,
                          mmq_why *why) MMQ_MUST_USE;
/* The same; *found false: it never was. */
mmq_err mmq_pruned_find(mmq_store *store, int64_t metric, bool *found, int64_t *out,
                        mmq_why *why) MMQ_MUST_USE;

#endif
