/* Pages of buckets: of one metric, or of all that are not unmonitored, uid ascending. All metrics
 * have the same buckets: what the query leaves open of their axis is found before the first page
 * and stands in the cursor.
 *
 * The cursor's uid (of all metrics) is that of the metric that the stream stands in; metric 0: it
 * stands behind it. Positioned, its rows up to (timestamp, rowid) are in buckets that were shown,
 * or in the one that the cursor has: so a page may end in the middle of a bucket, however many rows
 * that has.
 *
 * Rows are those of the first page; of a row that is scored meanwhile the score as it is when it is
 * read. A metric that is deleted meanwhile ends where it is. */
#include <stdlib.h>
#include <string.h>

#include "lib/bucket.h"
#include "lib/calendar.h"
#include "lib/clock.h"
#include "workers/query_pages.h"

enum { HEADS = MMQ_STORE_EXPECT_MAX, BATCH = MMQ_BUCKETS_LEAST + 400 };

typedef struct summary {
    mmq_page *page;
    bool all;                  /* metrics */
    bool in_metric;            /* range is of a metric, and not read to its end */
    bool full;                 /* the page has no room for what comes next, or its time is over */
    mmq_cursor place;          /* behind what was shown */
    char uid[MMQ_UID_MAX + 1]; /* of the metric that the stream is in or behind */
    mmq_bucket_range range;
    mmq_buffer packed;
    size_t head, head_count; /* heads [head, head_count) are of the metrics that come next */
    mmq_metric_head heads[HEADS];
    mmq_dated_bucket buckets[BATCH];
} summary;

/* ---- the axis --------------------------------------------------------------------------- */

/* The times of all rows. */
typedef struct extent {
    bool any; /* a row */
    int64_t first, last;
} extent;

static mmq_err widen(mmq_store *store, const mmq_metric_head *metric, extent *out, mmq_why *why)
{
    int64_t first, last;
    bool found;
    mmq_err err = mmq_store_span(store, metric->key, &found, &first, &last, why);
    if (err == MMQ_OK && found) {
        out->first = out->any && out->first < first ? out->first : first;
        out->last = out->any && out->last > last ? out->last : last;
        out->any = true;
    }
    return err;
}

static mmq_err read_heads(summary *s, const char *after, mmq_why *why)
{
    s->head = 0;
    return mmq_store_heads(s->page->store, after, s->heads, HEADS, &s->head_count, why);
}

static mmq_err widen_all(summary *s, extent *out, mmq_why *why)
{
    char after[MMQ_UID_MAX + 1] = "";
    mmq_err err;
    do {
        err = read_heads(s, after, why);
        for (size_t i = 0; i < s->head_count && err == MMQ_OK; i++) {
            memcpy(after, s->heads[i].uid, sizeof after);
            err = s->heads[i].monitored ? widen(s->page->store, &s->heads[i], out, why) : MMQ_OK;
        }
        if (err == MMQ_OK && mmq_now_ns() > s->page->options->deadline_ns) {
            err = mmq_fail(why, MMQ_ETIMEOUT,
                           "no time left to find the first and last row of all metrics: say from"
                           " and to");
        }
    } while (err == MMQ_OK && s->head_count == HEADS);
    s->head = s->head_count = 0;
    return err;
}

/* Sets place.buckets.from and to, from > to: there can be no row. */
static mmq_err find_axis(summary *s, const mmq_metric_head *metric, mmq_why *why)
{
    const mmq_selection *selection = &s->page->query->selection;
    mmq_cursor_buckets *out = &s->place.buckets;
    extent found = {.first = 1, .last = 0};
    mmq_err err = MMQ_OK;
    if (selection->from == INT64_MIN || selection->to == INT64_MAX) {
        err = s->all           ? widen_all(s, &found, why)
              : metric != NULL ? widen(s->page->store, metric, &found, why)
                               : MMQ_OK;
    }
    out->from = selection->from == INT64_MIN ? found.first : selection->from;
    out->to = selection->to == INT64_MAX ? found.last : selection->to;
    out->from = out->from < MMQ_TIME_MIN ? MMQ_TIME_MIN : out->from;
    out->to = out->to > MMQ_TIME_MAX ? MMQ_TIME_MAX : out->to;
    return err;
}

/* ---- where the stream is ---------------------------------------------------------------- */

static void begin_metric(summary *s, int64_t key, int64_t bound)
{
    const mmq_cursor_buckets *axis = &s->place.buckets;
    const int64_t seconds = axis->to - axis->from + 1, buckets = s->page->query->buckets;
    s->range = (mmq_bucket_range){
        .metric = key,
        .from = axis->from,
        .to = axis->to,
        .width = (seconds + buckets - 1) / buckets,
        .rowid_most = bound,
    };
    s->in_metric = bound > 0;
}

static void leave_metric(summary *s)
{
    s->in_metric = false;
    s->place.metric = s->place.bound = 0;
    s->place.positioned = false;
    s->place.buckets.bucket.rows = 0;
    memcpy(s->place.uid, s->uid, sizeof s->place.uid);
}

static void mark_place(summary *s, int64_t timestamp, int64_t rowid, const mmq_bucket *under_way)
{
    mmq_cursor *place = &s->place;
    place->metric = s->range.metric;
    place->bound = s->range.rowid_most;
    place->positioned = true;
    place->timestamp = timestamp;
    place->rowid = rowid;
    place->buckets.bucket = under_way != NULL ? *under_way : (mmq_bucket){0};
    if (s->all) {
        memcpy(place->uid, s->uid, sizeof place->uid);
    }
}

/* The metric that the cursor was in, if it is still that metric. */
static void resume_metric(summary *s, const mmq_metric_head *metric, const mmq_cursor *cursor)
{
    if (metric == NULL || metric->key != cursor->metric) {
        return;
    }
    begin_metric(s, cursor->metric, cursor->bound);
    s->range.positioned = cursor->positioned;
    s->range.timestamp = cursor->timestamp;
    s->range.rowid = cursor->rowid;
    s->range.bucket = cursor->buckets.bucket;
}

static mmq_err resume_all(summary *s, const mmq_cursor *cursor, mmq_why *why)
{
    mmq_metric_head metric;
    memcpy(s->uid, cursor->uid, sizeof s->uid);
    if (cursor->metric == 0 || cursor->uid[0] == '\0') {
        return MMQ_OK;
    }
    mmq_err err = mmq_store_find(s->page->store, cursor->uid, &metric, why);
    if (err == MMQ_OK) {
        resume_metric(s, &metric, cursor);
    }
    return err == MMQ_ENOTFOUND ? MMQ_OK : err;
}

static mmq_err start(summary *s, const mmq_metric_head *metric, mmq_why *why)
{
    const mmq_page_query *query = s->page->query;
    if (query->has_cursor) {
        s->place = query->cursor;
    } else {
        mmq_err err = find_axis(s, metric, why);
        if (err != MMQ_OK) {
            return err;
        }
    }
    if (s->place.buckets.from > s->place.buckets.to) {
        return MMQ_EEND;
    }
    if (s->all) {
        return query->has_cursor ? resume_all(s, &query->cursor, why) : MMQ_OK;
    }
    if (query->has_cursor) {
        resume_metric(s, metric, &query->cursor);
    } else if (metric != NULL) {
        begin_metric(s, metric->key, metric->last_rowid);
        s->place.metric = metric->key;
        s->place.bound = metric->last_rowid;
    }
    return MMQ_OK;
}

/* ---- buckets ---------------------------------------------------------------------------- */

static mmq_err add_bucket(summary *s, const mmq_dated_bucket *dated, mmq_why *why)
{
    mmq_buffer *packed = &s->packed;
    mmq_buffer_reset(packed);
    uint8_t *at = mmq_buffer_reserve(packed, MMQ_BUCKET_MAX);
    if (at == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a bucket");
    }
    packed->size = (size_t)(mmq_bucket_put(at, s->uid, dated->start, &dated->bucket) - at);
    mmq_err err = mmq_page_add(s->page, &s->place, packed, &s->full, why);
    if (err == MMQ_OK && !s->full) {
        const int64_t last = dated->start + s->range.width - 1;
        mark_place(s, last < s->range.to ? last : s->range.to, INT64_MAX, NULL);
    }
    return err;
}

static mmq_err add_buckets(summary *s, mmq_why *why)
{
    size_t count = 0;
    mmq_err err = mmq_store_read_buckets(s->page->store, &s->range, s->buckets, BATCH, &count, why);
    for (size_t i = 0; i < count && err == MMQ_OK && !s->full; i++) {
        err = add_bucket(s, &s->buckets[i], why);
    }
    if (err != MMQ_OK || s->full) {
        return err;
    }
    if (s->range.ended) {
        leave_metric(s);
    } else if (s->range.positioned) {
        mark_place(s, s->range.timestamp, s->range.rowid, &s->range.bucket);
    }
    return MMQ_OK;
}

/* All of the heads are of metrics that are read next. */
static mmq_err expect_heads(const summary *s, mmq_why *why)
{
    const mmq_cursor_buckets *axis = &s->place.buckets;
    mmq_range ranges[HEADS];
    const mmq_range *next[HEADS];
    size_t count = 0;
    for (size_t i = 0; i < s->head_count; i++) {
        if (s->heads[i].monitored) {
            next[count] = &ranges[count];
            ranges[count++] = (mmq_range){
                .metric = s->heads[i].key, .from = axis->from, .to = axis->to, .ascending = true};
        }
    }
    return mmq_store_expect(s->page->store, next, count, why);
}

/* Goes on to the next metric; MMQ_EEND if there is none. */
static mmq_err next_metric(summary *s, mmq_why *why)
{
    int64_t bound = 0;
    if (!s->all) {
        return MMQ_EEND;
    }
    mmq_err err = MMQ_OK;
    if (s->head == s->head_count) {
        err = read_heads(s, s->uid, why);
        if (err == MMQ_OK) {
            err = expect_heads(s, why);
        }
    }
    if (err == MMQ_OK && s->head == s->head_count) {
        return MMQ_EEND;
    }
    const mmq_metric_head *metric = &s->heads[s->head];
    if (err == MMQ_OK && metric->monitored) {
        err = mmq_store_length_at(s->page->store, metric, s->page->commit, &bound, why);
    }
    if (err == MMQ_OK) {
        s->head++;
        memcpy(s->uid, metric->uid, sizeof s->uid);
        begin_metric(s, metric->key, bound);
        if (!s->in_metric) {
            leave_metric(s);
        }
    }
    return err;
}

/* Each turn gets ahead. */
static mmq_err fill_buckets(summary *s, mmq_why *why)
{
    while (!s->full) {
        mmq_err err = s->in_metric ? MMQ_OK : next_metric(s, why);
        if (err == MMQ_OK && s->in_metric) {
            err = add_buckets(s, why);
        }
        if (err != MMQ_OK) {
            return err == MMQ_EEND ? MMQ_OK : err;
        }
        if (!s->in_metric && !s->all) {
            return MMQ_OK;
        }
        s->full |= mmq_page_is_late(s->page);
    }
    mmq_page_set_next(s->page, &s->place);
    return MMQ_OK;
}

/* ---- the page --------------------------------------------------------------------------- */

/* A stream that began before a prune may lack rows that it was to show. */
static mmq_err check_not_pruned(mmq_page *page, const mmq_metric_head *metric, mmq_why *why)
{
    const mmq_cursor *cursor = &page->query->cursor;
    const bool one = page->query->selection.uid[0] != '\0';
    if (!page->query->has_cursor || (one && metric == NULL)) {
        return MMQ_OK;
    }
    const int64_t from = cursor->buckets.from;
    return one ? mmq_page_check_pruned(
                     page,
                     cursor->positioned && cursor->timestamp > from ? cursor->timestamp : from,
                     metric->key, "", why)
               : mmq_page_check_pruned(page, from, 0, cursor->uid, why);
}

static mmq_err fill(summary *s, const mmq_metric_head *metric, mmq_why *why)
{
    mmq_page *page = s->page;
    mmq_err err = start(s, metric, why);
    if (!page->query->has_cursor) {
        mmq_buffer_add(&page->buffer, mmq_bucket_names, mmq_bucket_names_size);
    }
    mmq_page_positioned(page);
    if (err == MMQ_OK) {
        err = fill_buckets(s, why);
    }
    return err == MMQ_EEND ? MMQ_OK : err;
}

mmq_err mmq_page_fill_summary(mmq_page *page, mmq_why *why)
{
    mmq_metric_head head;
    const mmq_metric_head *metric;
    mmq_err err = mmq_page_find_metric(page, &head, &metric, why);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_page_set_rows_state(page, metric);
    if (page->unchanged) {
        return MMQ_OK;
    }
    err = check_not_pruned(page, metric, why);
    if (err != MMQ_OK) {
        return err;
    }
    summary *s = malloc(sizeof *s);
    if (s == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a batch of buckets");
    }
    memset(s, 0, offsetof(summary, heads)); /* not what small queries would notice */
    s->page = page;
    s->all = page->query->selection.uid[0] == '\0';
    s->place.has_buckets = true;
    if (metric != NULL) {
        memcpy(s->uid, metric->uid, sizeof s->uid);
    }
    mmq_buffer_init(&s->packed, MMQ_BUCKET_MAX);
    err = fill(s, metric, why);
    mmq_buffer_clear(&s->packed);
    free(s);
    return err;
}
