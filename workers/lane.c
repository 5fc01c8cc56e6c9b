/* A lane reads its metric's range, of which the store skips what does not match; each read is
 * bounded by what the store looks at, whether it matches or not. The range's position is what was
 * looked at, which lets a stream get ahead where nothing matches.
 *
 * Batches begin small, for queries that want a few rows, and grow. Once `limit` rows are there, or
 * the store says that the range is at its end, the lane has ended. */
#include "workers/lane.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"

enum { FIRST_BATCH = 64, BATCH_GROWTH = 4 };

static mmq_range range_of(const mmq_selection *selection, int64_t metric, int64_t bound)
{
    const double least = selection->anomaly;
    return (mmq_range){
        .metric = metric,
        .from = selection->from,
        .to = selection->to,
        .ascending = selection->ascending,
        .scores = least > 0    ? MMQ_SCORES_LEAST
                  : least == 0 ? MMQ_SCORES_PRESENT
                               : MMQ_SCORES_ANY,
        .least_score = least,
        .rowid_most = bound,
    };
}

void mmq_lane_init(mmq_lane *lane, const mmq_selection *selection, const mmq_metric_head *metric,
                   int64_t bound)
{
    *lane = (mmq_lane){
        .range = range_of(selection, metric->key, bound),
        .bound = bound,
        .ended = bound <= 0 || selection->from > selection->to,
        .batch = selection->limit > 0 && selection->limit < FIRST_BATCH ? (size_t)selection->limit
                                                                        : FIRST_BATCH,
    };
    memcpy(lane->uid, metric->uid, sizeof lane->uid);
}

void mmq_lane_position(mmq_lane *lane, int64_t timestamp, int64_t rowid)
{
    lane->range.positioned = true;
    lane->range.timestamp = timestamp;
    lane->range.rowid = rowid;
}

/* In the range's direction. */
static bool is_behind_position(const mmq_range *range, int64_t timestamp, int64_t rowid)
{
    if (!range->positioned) {
        return true;
    }
    if (timestamp != range->timestamp) {
        return (timestamp > range->timestamp) == range->ascending;
    }
    return rowid != range->rowid && (rowid > range->rowid) == range->ascending;
}

static bool matches_score(const mmq_selection *selection, double score)
{
    if (selection->anomaly > 0) {
        return score >= selection->anomaly; /* false for NaN, the absent score */
    }
    return selection->anomaly < 0 || !isnan(score);
}

/* Rows of one batch up to the lane's position. */
static int64_t count_before(const mmq_lane *lane, const mmq_columns *rows)
{
    int64_t count = 0;
    for (size_t i = 0; i < rows->count; i++) {
        count += !is_behind_position(&lane->range, rows->timestamp[i], rows->rowid[i]);
    }
    return count;
}

mmq_err mmq_lane_recount(mmq_lane *lane, const mmq_selection *selection, mmq_store *store,
                         mmq_columns *scratch, int64_t deadline_ns, mmq_why *why)
{
    if (selection->limit == 0 || selection->limit >= lane->bound || selection->has_rowid) {
        return MMQ_OK; /* the limit cannot be reached */
    }
    mmq_range before = lane->range;
    before.positioned = before.ended = false;
    if (before.ascending && before.to > lane->range.timestamp) {
        before.to = lane->range.timestamp;
    } else if (!before.ascending && before.from < lane->range.timestamp) {
        before.from = lane->range.timestamp;
    }
    if (before.from > before.to) {
        return MMQ_OK;
    }
    do {
        mmq_err err = mmq_store_read_time(store, &before, scratch, MMQ_BATCH_ROWS, why);
        if (err != MMQ_OK) {
            return err;
        }
        lane->shown += count_before(lane, scratch);
        if (mmq_now_ns() > deadline_ns) {
            return mmq_fail(why, MMQ_ETIMEOUT, "no time left to find the cursor's place");
        }
    } while (!before.ended && lane->shown < selection->limit);
    return MMQ_OK;
}

/* The one row that was asked for, found without reading those before it. */
static mmq_err fill_by_rowid(mmq_lane *lane, const mmq_selection *selection, mmq_store *store,
                             mmq_columns *out, mmq_why *why)
{
    lane->ended = true;
    out->count = 0;
    if (selection->rowid > lane->bound) {
        return MMQ_OK;
    }
    mmq_err err = mmq_store_read_rowids(store, lane->range.metric, selection->rowid,
                                        selection->rowid, out, 1, why);
    if (err == MMQ_OK && out->count == 1 &&
        (out->timestamp[0] < lane->range.from || out->timestamp[0] > lane->range.to ||
         !matches_score(selection, out->anomaly_score[0]) ||
         !is_behind_position(&lane->range, out->timestamp[0], out->rowid[0]))) {
        out->count = 0;
    }
    return err;
}

/* Rows of the next read: no more than the limit still allows. */
static size_t next_batch(const mmq_lane *lane, const mmq_selection *selection, size_t batch_max)
{
    const size_t batch = lane->batch < batch_max ? lane->batch : batch_max;
    const int64_t left = selection->limit > 0 ? selection->limit - lane->shown : INT64_MAX;
    return (int64_t)batch < left ? batch : (size_t)left;
}

mmq_err mmq_lane_fill(mmq_lane *lane, const mmq_selection *selection, mmq_store *store,
                      mmq_columns *out, size_t batch_max, mmq_why *why)
{
    CHECK(!lane->ended && batch_max <= MMQ_BATCH_ROWS);
    out->count = 0;
    if (selection->limit > 0 && lane->shown >= selection->limit) {
        lane->ended = true;
        return MMQ_OK;
    }
    if (selection->has_rowid) {
        return fill_by_rowid(lane, selection, store, out, why);
    }
    const size_t batch = next_batch(lane, selection, batch_max);
    mmq_err err = mmq_store_read_time(store, &lane->range, out, batch, why);
    if (err != MMQ_OK) {
        return err;
    }
    const bool is_full =
        selection->limit > 0 && lane->shown + (int64_t)out->count >= selection->limit;
    lane->ended = lane->range.ended || is_full;
    lane->batch = batch * BATCH_GROWTH < batch_max ? batch * BATCH_GROWTH : batch_max;
    return MMQ_OK;
}
