/* There are three shapes of a scan:
 *
 *   one metric        one lane
 *   order "metric"    one lane at a time; when it has ended, that of the next uid
 *   order "time"      a lane for every metric, side by side, merged by a tournament */
#include "workers/scan.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "workers/merge.h"

enum {
    HEADS_BATCH = 64,
    HEADS_AHEAD = 32, /* of a sequence, whose scans live for a page */
    LANES_FIRST = 64,
};

struct mmq_scan {
    mmq_selection selection;
    int64_t commit;
    bool sequence; /* order "metric": a lane follows when the last has ended */
    size_t lane_count;
    size_t lane_capacity;
    mmq_lane *lanes;         /* by uid ascending */
    mmq_merge *merge;        /* NULL: one lane at a time */
    size_t head, head_count; /* heads [head, head_count) are of the lanes that come next */
    size_t taken;            /* rows of the run */

    /* The place: all rows up to there have been shown or do not match. */
    const mmq_lane *here; /* the lane it is in; NULL before the first run */
    bool positioned;      /* false: at the lane's start */
    int64_t timestamp, rowid;

    mmq_metric_head heads[HEADS_AHEAD];
    mmq_row_prefix prefix; /* of the one lane */
    mmq_columns columns;   /* the run */
};

/* The place is where the lane is, which has no rows. */
static void mark_place(mmq_scan *scan, const mmq_lane *lane)
{
    scan->here = lane;
    scan->positioned = lane->range.positioned;
    scan->timestamp = lane->range.timestamp;
    scan->rowid = lane->range.rowid;
}

/* ---- lanes ------------------------------------------------------------------------------ */

static mmq_err add_lane(mmq_scan *scan, const mmq_metric_head *metric, int64_t bound, mmq_why *why)
{
    if (scan->lane_count == scan->lane_capacity) {
        size_t capacity = scan->lane_capacity > 0 ? 2 * scan->lane_capacity : LANES_FIRST;
        mmq_lane *lanes = reallocarray(scan->lanes, capacity, sizeof *lanes);
        if (lanes == NULL) {
            return mmq_fail(why, MMQ_ENOMEM, "no memory to merge %zu metrics", capacity);
        }
        scan->lanes = lanes;
        scan->lane_capacity = capacity;
    }
    mmq_lane_init(&scan->lanes[scan->lane_count++], &scan->selection, metric, bound);
    return MMQ_OK;
}

/* ---- order "time": all lanes side by side ----------------------------------------------- */

static mmq_err add_heads(mmq_scan *scan, mmq_store *store, const mmq_metric_head *heads,
                         size_t count, mmq_why *why)
{
    for (size_t i = 0; i < count; i++) {
        int64_t bound;
        mmq_err err = mmq_store_length_at(store, &heads[i], scan->commit, &bound, why);
        if (err == MMQ_OK && bound > 0) {
            err = add_lane(scan, &heads[i], bound, why);
        }
        if (err != MMQ_OK) {
            return err;
        }
    }
    return MMQ_OK;
}

static mmq_err add_all_lanes(mmq_scan *scan, mmq_store *store, mmq_why *why)
{
    mmq_metric_head heads[HEADS_BATCH];
    size_t count = 0;
    char after[MMQ_UID_MAX + 1] = "";
    do {
        mmq_err err = mmq_store_heads(store, after, heads, HEADS_BATCH, &count, why);
        if (err == MMQ_OK) {
            err = add_heads(scan, store, heads, count, why);
        }
        if (err != MMQ_OK) {
            return err;
        }
        if (count > 0) {
            memcpy(after, heads[count - 1].uid, sizeof after);
        }
    } while (count == HEADS_BATCH);
    return MMQ_OK;
}

/* At the cursor's timestamp the lanes of later uids are still to be shown, those of earlier ones
 * are not: rowids are from 1 to less than INT64_MAX, so these two stand for "all" and "none". */
static mmq_err position_lane(mmq_scan *scan, mmq_lane *lane, mmq_store *store,
                             const mmq_scan_start *start, mmq_why *why)
{
    const mmq_cursor *cursor = start->cursor;
    const int order = strcmp(lane->uid, cursor->uid);
    int64_t rowid = cursor->rowid;
    if (order != 0) {
        rowid = (order > 0) == scan->selection.ascending ? 0 : INT64_MAX;
    }
    mmq_lane_position(lane, cursor->timestamp, rowid);
    return mmq_lane_recount(lane, &scan->selection, store, mmq_merge_scratch(scan->merge),
                            start->deadline_ns, why);
}

static mmq_err start_lanes(mmq_scan *scan, size_t from, size_t to, mmq_store *store,
                           const mmq_scan_start *start, mmq_why *why)
{
    const bool positioned = start->cursor != NULL && start->cursor->positioned;
    mmq_err err = MMQ_OK;
    for (size_t i = from; i < to && positioned && err == MMQ_OK; i++) {
        err = position_lane(scan, &scan->lanes[i], store, start, why);
    }
    if (err == MMQ_OK) {
        err = mmq_merge_expect(scan->merge, from, to, store, why);
    }
    for (size_t i = from; i < to && err == MMQ_OK; i++) {
        err =
            mmq_now_ns() > start->deadline_ns
                ? mmq_fail(why, MMQ_ETIMEOUT, "no time left to merge %zu metrics", scan->lane_count)
                : mmq_merge_start(scan->merge, i, store, why);
    }
    return err;
}

static mmq_err open_merge(mmq_scan *scan, mmq_store *store, const mmq_scan_start *start,
                          mmq_why *why)
{
    mmq_err err = add_all_lanes(scan, store, why);
    if (err != MMQ_OK || scan->lane_count == 0) {
        return err;
    }
    scan->merge = mmq_merge_new(scan->lanes, scan->lane_count, &scan->selection, why);
    if (scan->merge == NULL) {
        return MMQ_ENOMEM;
    }
    for (size_t from = 0, to; from < scan->lane_count && err == MMQ_OK; from = to) {
        to = from + MMQ_STORE_EXPECT_MAX < scan->lane_count ? from + MMQ_STORE_EXPECT_MAX
                                                            : scan->lane_count;
        err = start_lanes(scan, from, to, store, start, why);
    }
    if (err == MMQ_OK) {
        mmq_merge_begin(scan->merge);
    }
    return err;
}

static mmq_err next_of_merge(mmq_scan *scan, mmq_store *store, mmq_scan_run *run, mmq_why *why)
{
    mmq_err err = mmq_merge_next(scan->merge, store, &scan->columns, &run->read, why);
    if (err == MMQ_OK && scan->columns.count == 0) {
        mark_place(scan, mmq_merge_winner(scan->merge));
    }
    return err;
}

/* ---- one lane at a time ----------------------------------------------------------------- */

/* The only lane is that of `metric`, at its start. */
static void set_lane(mmq_scan *scan, const mmq_metric_head *metric, int64_t bound)
{
    mmq_lane *lane = &scan->lanes[0];
    mmq_lane_init(lane, &scan->selection, metric, bound);
    scan->here = lane;
    scan->positioned = false;
    if (metric->uid[0] != '\0') {
        mmq_row_prefix_init(&scan->prefix, metric->uid);
    }
}

/* The lane that the cursor was in, where it was. */
static void resume_lane(mmq_scan *scan, const mmq_metric_head *metric, const mmq_cursor *cursor)
{
    set_lane(scan, metric, cursor->bound);
    mmq_lane *lane = &scan->lanes[0];
    lane->shown = cursor->shown;
    if (cursor->positioned) {
        mmq_lane_position(lane, cursor->timestamp, cursor->rowid);
    }
}

/* The heads that follow the lane's uid. */
static mmq_err read_heads(mmq_scan *scan, mmq_store *store, mmq_why *why)
{
    scan->head = 0;
    return mmq_store_heads(store, scan->lanes[0].uid, scan->heads, HEADS_AHEAD, &scan->head_count,
                           why);
}

/* Goes on to the next uid; MMQ_EEND if there is none. */
static mmq_err open_next_lane(mmq_scan *scan, mmq_store *store, mmq_why *why)
{
    int64_t bound;
    mmq_err err = scan->head == scan->head_count ? read_heads(scan, store, why) : MMQ_OK;
    if (err == MMQ_OK && scan->head_count == 0) {
        return MMQ_EEND;
    }
    const mmq_metric_head *metric = &scan->heads[scan->head++];
    if (err == MMQ_OK) {
        err = mmq_store_length_at(store, metric, scan->commit, &bound, why);
    }
    if (err == MMQ_OK) {
        set_lane(scan, metric, bound);
    }
    return err;
}

static mmq_err open_sequence(mmq_scan *scan, mmq_store *store, const mmq_cursor *cursor,
                             mmq_why *why)
{
    mmq_metric_head metric;
    if (cursor == NULL) {
        return MMQ_OK; /* the first lane follows the uid "" */
    }
    mmq_err err = mmq_store_find(store, cursor->uid, &metric, why);
    if (err == MMQ_OK && metric.key == cursor->metric) {
        resume_lane(scan, &metric, cursor);
        return MMQ_OK;
    }
    /* It was deleted, and maybe made again as another metric, which the stream does not show. */
    memcpy(scan->lanes[0].uid, cursor->uid, sizeof cursor->uid);
    return err == MMQ_ENOTFOUND ? MMQ_OK : err;
}

static mmq_err open_one_lane(mmq_scan *scan, mmq_store *store, const mmq_scan_start *start,
                             mmq_why *why)
{
    const mmq_metric_head *metric = start->metric;
    const mmq_cursor *cursor = start->cursor;
    static const mmq_metric_head none = {0};
    mmq_err err = add_lane(scan, &none, 0, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (scan->sequence) {
        return open_sequence(scan, store, cursor, why);
    }
    if (metric != NULL && cursor == NULL) {
        set_lane(scan, metric, metric->last_rowid);
    } else if (metric != NULL && metric->key == cursor->metric) {
        resume_lane(scan, metric, cursor);
    }
    return MMQ_OK;
}

static mmq_err next_of_lane(mmq_scan *scan, mmq_store *store, mmq_scan_run *run, mmq_why *why)
{
    mmq_lane *lane = &scan->lanes[0];
    run->read = true;
    if (!lane->ended) {
        mmq_err err =
            mmq_lane_fill(lane, &scan->selection, store, &scan->columns, MMQ_BATCH_ROWS, why);
        if (err != MMQ_OK || scan->columns.count > 0) {
            return err;
        }
    }
    if (lane->ended) {
        return scan->sequence ? open_next_lane(scan, store, why) : MMQ_EEND;
    }
    mark_place(scan, lane);
    return MMQ_OK;
}

/* ---- the scan --------------------------------------------------------------------------- */

mmq_err mmq_scan_open(mmq_store *store, const mmq_scan_start *start, mmq_scan **out, mmq_why *why)
{
    mmq_scan *scan = malloc(sizeof *scan);
    if (scan == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a scan");
    }
    memset(scan, 0, offsetof(mmq_scan, heads)); /* not the columns: small queries would notice */
    scan->columns.count = 0;
    const bool all = start->selection->uid[0] == '\0';
    scan->selection = *start->selection;
    scan->commit = start->commit;
    const bool empty = scan->selection.from > scan->selection.to;
    scan->sequence = all && scan->selection.by_metric && !empty;
    mmq_err err = all && !scan->selection.by_metric && !empty
                      ? open_merge(scan, store, start, why)
                      : open_one_lane(scan, store, start, why);
    if (err != MMQ_OK) {
        mmq_scan_close(&scan);
        return err;
    }
    *out = scan;
    return MMQ_OK;
}

void mmq_scan_close(mmq_scan **scan_p)
{
    mmq_scan *scan = *scan_p;
    if (scan == NULL) {
        return;
    }
    free(scan->lanes);
    mmq_merge_destroy(&scan->merge);
    free(scan);
    *scan_p = NULL;
}

mmq_err mmq_scan_next(mmq_scan *scan, mmq_store *store, mmq_scan_run *run, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    *run = (mmq_scan_run){.columns = &scan->columns};
    if (scan->taken == scan->columns.count) {
        scan->taken = scan->columns.count = 0;
        err = scan->merge != NULL    ? next_of_merge(scan, store, run, why)
              : scan->lane_count > 0 ? next_of_lane(scan, store, run, why)
                                     : MMQ_EEND;
    }
    if (scan->merge != NULL) {
        run->prefixes = mmq_merge_prefixes(scan->merge);
    } else {
        run->prefix = &scan->prefix;
    }
    run->from = scan->taken;
    return err;
}

void mmq_scan_take(mmq_scan *scan, size_t rows)
{
    CHECK(rows > 0 && rows <= scan->columns.count - scan->taken);
    scan->taken += rows;
    const size_t last = scan->taken - 1;
    if (scan->merge != NULL) {
        scan->here = mmq_merge_lane(scan->merge, last);
    } else {
        scan->here = &scan->lanes[0];
        scan->lanes[0].shown += (int64_t)rows;
    }
    scan->positioned = true;
    scan->timestamp = scan->columns.timestamp[last];
    scan->rowid = scan->columns.rowid[last];
}

void mmq_scan_cursor(const mmq_scan *scan, mmq_cursor *out)
{
    CHECK(scan->here != NULL);
    const bool all = scan->selection.uid[0] == '\0';
    *out = (mmq_cursor){.commit = scan->commit, .positioned = scan->positioned};
    if (scan->positioned) {
        out->timestamp = scan->timestamp;
        out->rowid = scan->rowid;
    }
    if (!all || scan->sequence) {
        out->metric = scan->here->range.metric;
        out->bound = scan->here->bound;
        out->shown = scan->here->shown;
    }
    if (all) {
        memcpy(out->uid, scan->here->uid, sizeof out->uid);
    }
}

bool mmq_scan_is_merge(const mmq_scan *scan)
{
    return scan->merge != NULL;
}

size_t mmq_scan_bytes(const mmq_scan *scan)
{
    return sizeof *scan + scan->lane_capacity * sizeof *scan->lanes +
           (scan->merge != NULL ? mmq_merge_bytes(scan->merge) : 0);
}
