/* A scan merges lanes by a binary heap. There are three shapes of it:
 *
 *   one metric        one lane
 *   order "metric"    one lane at a time; when it has ended, that of the next uid
 *   order "time"      a lane for every metric, side by side
 *
 * A lane's key in the heap is (timestamp, index): lanes stand in the order of their uids, so the
 * index breaks ties as the uid would. The key of a lane whose batch is used up is what it examined
 * last. Hence everything before the top's key has been examined in every lane, and the scan may
 * stop there: that is its place, also where no row matches.
 *
 * Room for rows is shared out: the more lanes, the smaller their batches, so that a merge of
 * 100,000 metrics holds no more rows than one of 64. */
#include "workers/scan.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "workers/lane.h"

enum {
    ROWS_BUDGET = 64 * 1024, /* rows that the lanes of a merge hold, all together */
    HEADS_BATCH = 64,
    LANES_FIRST = 64,
};

struct node {
    int64_t timestamp; /* of the lane */
    size_t lane;       /* index of it */
};

struct mmq_scan {
    mmq_selection selection;
    int64_t commit;
    bool sequence; /* order "metric": a lane follows when the last has ended */
    size_t lane_count;
    size_t lane_capacity;
    mmq_lane *lanes; /* by uid ascending */
    size_t batch_max;
    mmq_lane_row *rows; /* batch_max for each lane */
    size_t heap_count;
    struct node *heap; /* lanes that have not ended or have rows left; least key first */

    /* The place: all rows up to there have been shown or do not match. */
    const mmq_lane *here; /* the lane it is in; NULL before the first run */
    bool positioned;      /* false: at the lane's start */
    int64_t timestamp, rowid;

    mmq_row_prefix prefix; /* of the run */
    mmq_columns columns;   /* the run; while reading, the batch as it comes */
};

/* ---- the heap --------------------------------------------------------------------------- */

static bool is_before(const mmq_scan *scan, struct node a, struct node b)
{
    if (a.timestamp != b.timestamp) {
        return (a.timestamp < b.timestamp) == scan->selection.ascending;
    }
    return a.lane < b.lane;
}

static void sift_down(mmq_scan *scan, size_t at)
{
    const struct node moved = scan->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < scan->heap_count &&
            is_before(scan, scan->heap[child + 1], scan->heap[child])) {
            child++;
        }
        if (child >= scan->heap_count || !is_before(scan, scan->heap[child], moved)) {
            break;
        }
        scan->heap[at] = scan->heap[child];
        at = child;
    }
    scan->heap[at] = moved;
}

static mmq_lane *top_lane(const mmq_scan *scan)
{
    return &scan->lanes[scan->heap[0].lane];
}

static bool has_rows(const mmq_lane *lane)
{
    return lane->at < lane->count;
}

/* The top lane has moved on: back into order with it, or away. */
static void settle_top(mmq_scan *scan)
{
    if (scan->heap_count == 0) {
        return;
    }
    const mmq_lane *lane = top_lane(scan);
    if (!has_rows(lane) && lane->ended) {
        scan->heap[0] = scan->heap[--scan->heap_count];
    } else {
        scan->heap[0].timestamp = mmq_lane_timestamp(lane);
    }
    if (scan->heap_count > 0) {
        sift_down(scan, 0);
    }
}

static void add_to_heap(mmq_scan *scan, size_t lane)
{
    scan->heap[scan->heap_count++] = (struct node){mmq_lane_timestamp(&scan->lanes[lane]), lane};
}

/* ---- lanes ------------------------------------------------------------------------------ */

/* The metric's last rowid as of the stream's commit; 0 if it was made later. */
static mmq_err find_bound(const mmq_scan *scan, mmq_store *store, const mmq_metric_head *metric,
                          int64_t *bound, mmq_why *why)
{
    *bound = 0;
    if (metric->made > scan->commit) {
        return MMQ_OK;
    }
    if (metric->changed > scan->commit) {
        return mmq_store_length_at(store, metric, scan->commit, bound, why);
    }
    *bound = metric->last_rowid;
    return MMQ_OK;
}

static mmq_err fill_lane(mmq_scan *scan, mmq_lane *lane, mmq_store *store, mmq_why *why)
{
    return mmq_lane_fill(lane, &scan->selection, store, &scan->columns, scan->batch_max, why);
}

/* Room for the rows of all lanes, which are known now, and for the heap. */
static mmq_err make_room(mmq_scan *scan, mmq_why *why)
{
    const size_t lanes = scan->lane_count > 0 ? scan->lane_count : 1;
    const size_t share = ROWS_BUDGET / lanes;
    scan->batch_max = share < 1 ? 1 : share > MMQ_BATCH_ROWS ? MMQ_BATCH_ROWS : share;
    scan->rows = calloc(lanes * scan->batch_max, sizeof *scan->rows);
    scan->heap = calloc(lanes, sizeof *scan->heap);
    if (scan->rows == NULL || scan->heap == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory to merge %zu metrics", lanes);
    }
    for (size_t i = 0; i < scan->lane_count; i++) {
        scan->lanes[i].rows = scan->rows + i * scan->batch_max;
    }
    return MMQ_OK;
}

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
        mmq_err err = find_bound(scan, store, &heads[i], &bound, why);
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
    return mmq_lane_recount(lane, &scan->selection, store, &scan->columns, start->deadline_ns, why);
}

static mmq_err start_lane(mmq_scan *scan, size_t index, mmq_store *store,
                          const mmq_scan_start *start, mmq_why *why)
{
    mmq_lane *lane = &scan->lanes[index];
    mmq_err err = MMQ_OK;
    if (start->cursor != NULL && start->cursor->positioned) {
        err = position_lane(scan, lane, store, start, why);
    }
    if (err == MMQ_OK) {
        err = fill_lane(scan, lane, store, why);
    }
    if (err == MMQ_OK && (has_rows(lane) || !lane->ended)) {
        add_to_heap(scan, index);
    }
    return err;
}

static mmq_err open_merge(mmq_scan *scan, mmq_store *store, const mmq_scan_start *start,
                          mmq_why *why)
{
    mmq_err err = add_all_lanes(scan, store, why);
    if (err == MMQ_OK) {
        err = make_room(scan, why);
    }
    for (size_t i = 0; i < scan->lane_count && err == MMQ_OK; i++) {
        err =
            mmq_now_ns() > start->deadline_ns
                ? mmq_fail(why, MMQ_ETIMEOUT, "no time left to merge %zu metrics", scan->lane_count)
                : start_lane(scan, i, store, start, why);
    }
    for (size_t i = scan->heap_count / 2; i > 0; i--) {
        sift_down(scan, i - 1);
    }
    return err;
}

/* ---- one lane at a time ----------------------------------------------------------------- */

/* The only lane is that of `metric`, at its start. */
static void set_lane(mmq_scan *scan, const mmq_metric_head *metric, int64_t bound)
{
    mmq_lane *lane = &scan->lanes[0];
    mmq_lane_init(lane, &scan->selection, metric, bound);
    lane->rows = scan->rows;
    scan->here = lane;
    scan->positioned = false;
    scan->heap_count = 0;
    if (!lane->ended) {
        add_to_heap(scan, 0);
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

/* Goes on to the next uid; MMQ_EEND if there is none. */
static mmq_err open_next_lane(mmq_scan *scan, mmq_store *store, mmq_why *why)
{
    mmq_metric_head metric;
    size_t count;
    int64_t bound;
    mmq_err err = mmq_store_heads(store, scan->lanes[0].uid, &metric, 1, &count, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (count == 0) {
        return MMQ_EEND;
    }
    err = find_bound(scan, store, &metric, &bound, why);
    if (err == MMQ_OK) {
        set_lane(scan, &metric, bound);
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
    if (err == MMQ_OK) {
        err = make_room(scan, why);
    }
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

/* ---- the scan --------------------------------------------------------------------------- */

mmq_err mmq_scan_open(mmq_store *store, const mmq_scan_start *start, mmq_scan **out, mmq_why *why)
{
    mmq_scan *scan = malloc(sizeof *scan);
    if (scan == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a scan");
    }
    memset(scan, 0, offsetof(mmq_scan, prefix)); /* not the columns: small queries would notice */
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
    free(scan->rows);
    free(scan->heap);
    free(scan);
    *scan_p = NULL;
}

/* The rows of the top lane that come before every other lane's. */
static void copy_run(mmq_scan *scan)
{
    const mmq_lane *lane = top_lane(scan);
    struct node second = {0};
    if (scan->heap_count > 1) {
        second = scan->heap[1];
    }
    if (scan->heap_count > 2 && is_before(scan, scan->heap[2], second)) {
        second = scan->heap[2];
    }
    size_t count = 0;
    for (size_t i = lane->at; i < lane->count; i++, count++) {
        const mmq_lane_row *row = &lane->rows[i];
        const struct node node = {row->timestamp, scan->heap[0].lane};
        if (scan->heap_count > 1 && !is_before(scan, node, second)) {
            break;
        }
        scan->columns.timestamp[count] = row->timestamp;
        scan->columns.rowid[count] = row->rowid;
        scan->columns.value[count] = row->value;
        scan->columns.anomaly_score[count] = row->anomaly_score;
    }
    scan->columns.count = count;
    mmq_row_prefix_init(&scan->prefix, lane->uid);
}

/* The place is where the top lane is, which has no rows. */
static void mark_place(mmq_scan *scan)
{
    const mmq_lane *lane = top_lane(scan);
    scan->here = lane;
    scan->positioned = lane->range.positioned;
    scan->timestamp = lane->range.timestamp;
    scan->rowid = lane->range.rowid;
}

mmq_err mmq_scan_next(mmq_scan *scan, mmq_store *store, mmq_scan_run *run, mmq_why *why)
{
    *run = (mmq_scan_run){.prefix = &scan->prefix, .columns = &scan->columns};
    settle_top(scan);
    if (scan->heap_count > 0 && !has_rows(top_lane(scan))) {
        run->read = true;
        mmq_err err = fill_lane(scan, top_lane(scan), store, why);
        if (err != MMQ_OK) {
            return err;
        }
        settle_top(scan);
    }
    scan->columns.count = 0;
    if (scan->heap_count == 0) {
        run->read = true;
        return scan->sequence ? open_next_lane(scan, store, why) : MMQ_EEND;
    }
    if (has_rows(top_lane(scan))) {
        copy_run(scan);
    } else {
        mark_place(scan);
    }
    return MMQ_OK;
}

void mmq_scan_take(mmq_scan *scan, size_t rows)
{
    mmq_lane *lane = top_lane(scan);
    CHECK(rows > 0 && rows <= lane->count - lane->at);
    lane->at += rows;
    lane->shown += (int64_t)rows;
    scan->here = lane;
    scan->positioned = true;
    scan->timestamp = lane->rows[lane->at - 1].timestamp;
    scan->rowid = lane->rows[lane->at - 1].rowid;
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
    return scan->lane_count > 1;
}

size_t mmq_scan_bytes(const mmq_scan *scan)
{
    const size_t per_lane = sizeof *scan->heap + scan->batch_max * sizeof *scan->rows;
    return sizeof *scan + scan->lane_capacity * sizeof *scan->lanes + scan->lane_count * per_lane;
}
