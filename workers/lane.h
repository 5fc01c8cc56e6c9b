/* A lane: one metric's rows as a stream shows them, read from the store batch by batch. */
#ifndef MMQ_LANE_H
#define MMQ_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "lib/columns.h"
#include "workers/query_args.h"
#include "workers/store/store.h"

typedef struct mmq_lane {
    mmq_range range; /* what is still to be read; its position: all up to there was examined */
    int64_t bound;   /* greatest rowid the stream shows: the metric's last as of its first page */
    int64_t shown;   /* rows handed out, on this page and those before it */
    bool ended;      /* the store has nothing more for it */
    size_t batch;    /* rows of the next read */
    char uid[MMQ_UID_MAX + 1];
} mmq_lane;

/* A lane at the start of the selection's range. */
void mmq_lane_init(mmq_lane *lane, const mmq_selection *selection, const mmq_metric_head *metric,
                   int64_t bound);
/* Only what is behind (timestamp, rowid) in the selection's direction is still to be read. */
void mmq_lane_position(mmq_lane *lane, int64_t timestamp, int64_t rowid);
/* Sets `shown` of a positioned lane to the number of rows up to its position that match, as far as
 * that matters for the limit. MMQ_ETIMEOUT past deadline_ns. */
mmq_err mmq_lane_recount(mmq_lane *lane, const mmq_selection *selection, mmq_store *store,
                         mmq_columns *scratch, int64_t deadline_ns, mmq_why *why) MMQ_MUST_USE;
/* Reads one batch of rows, at most batch_max, into out: maybe none. For a lane that has not ended,
 * whose rows so far are counted in `shown`. */
mmq_err mmq_lane_fill(mmq_lane *lane, const mmq_selection *selection, mmq_store *store,
                      mmq_columns *out, size_t batch_max, mmq_why *why) MMQ_MUST_USE;

#endif
