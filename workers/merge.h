/* Rows of many lanes, side by side, in the order of time: by timestamp, then by the lanes' order,
 * then by rowid in the direction of time. */
#ifndef MMQ_MERGE_H
#define MMQ_MERGE_H

#include "metricmq/error.h"
#include "lib/columns.h"
#include "workers/lane.h"

typedef struct mmq_merge mmq_merge;

/* The lanes, in the order of their uids, and the selection are borrowed. Each lane is to be started
 * once, then mmq_merge_begin called. NULL: no memory, or too many lanes. */
mmq_merge *mmq_merge_new(mmq_lane *lanes, size_t count, const mmq_selection *selection,
                         mmq_why *why);
void mmq_merge_destroy(mmq_merge **merge);
/* Lanes [from, to) are started next, at most MMQ_STORE_EXPECT_MAX. */
mmq_err mmq_merge_expect(mmq_merge *merge, size_t from, size_t to, mmq_store *store,
                         mmq_why *why) MMQ_MUST_USE;
/* Reads a lane's first rows. */
mmq_err mmq_merge_start(mmq_merge *merge, size_t lane, mmq_store *store, mmq_why *why) MMQ_MUST_USE;
void mmq_merge_begin(mmq_merge *merge);

/* The next rows; MMQ_EEND behind the last. None: all up to where mmq_merge_winner is were looked at
 * and none matched. *read: the store was read, a bounded number of times. */
mmq_err mmq_merge_next(mmq_merge *merge, mmq_store *store, mmq_columns *out, bool *read,
                       mmq_why *why) MMQ_MUST_USE;
/* Of the rows that came last: each one's prefix, and the lane that row i is of. */
const mmq_row_prefix *const *mmq_merge_prefixes(const mmq_merge *merge);
const mmq_lane *mmq_merge_lane(const mmq_merge *merge, size_t i);
/* The lane that comes next. */
const mmq_lane *mmq_merge_winner(const mmq_merge *merge);
/* Room for one batch, for whoever positions lanes before they are started. */
mmq_columns *mmq_merge_scratch(mmq_merge *merge);
/* Memory that it holds. */
size_t mmq_merge_bytes(const mmq_merge *merge);

#endif
