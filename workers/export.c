/* Pages of an export: a metric's record, then its rows by rowid, then the next metric. The cursor's
 * uid is that of the metric that the stream stands in; positioned, its record was shown, and its
 * rows up to the cursor's rowid; not positioned, the stream goes on behind it.
 *
 * Rows are those of the stream's first page (the cursor's bound); a record is shown as it is when
 * it is read. A metric that is deleted meanwhile ends where it is. Where rows are pruned meanwhile
 * the stream ends with MMQ_EGONE. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/append_row.h"
#include "workers/query_pages.h"
#include "workers/record.h"

struct export
{
    mmq_page *page;
    mmq_cursor place;
    bool full; /* the page has no room for what comes next */
    mmq_buffer record;
    mmq_columns rows;
};

/* The place is behind the metric that it was in. */
static void leave_metric(struct export *export)
{
    export->place.positioned = false;
    export->place.metric = export->place.bound = export->place.rowid = 0;
}

/* Adds rows [*at, count) as far as this frame has room for them. */
static mmq_err encode_rows(struct export *export, size_t *at, mmq_why *why)
{
    mmq_page *page = export->page;
    const mmq_columns *rows = &export->rows;
    const size_t fit = mmq_page_room(page) / MMQ_APPEND_ROW_MAX, left = rows->count - *at;
    const size_t end = *at + (fit < left ? fit : left);
    uint8_t *out = mmq_buffer_reserve(&page->buffer, (end - *at) * MMQ_APPEND_ROW_MAX);
    if (out == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a frame");
    }
    uint8_t *to = out;
    for (; *at < end; ++*at) {
        const mmq_append_row row = {rows->timestamp[*at], rows->value[*at],
                                    rows->anomaly_score[*at], rows->raw_score[*at]};
        to = mmq_append_row_put(to, &row);
        export->place.rowid = rows->rowid[*at];
        page->rows++;
    }
    page->buffer.size += (size_t)(to - out);
    return MMQ_OK;
}

static mmq_err add_rows(struct export *export, mmq_why *why)
{
    mmq_page *page = export->page;
    mmq_err err = MMQ_OK;
    for (size_t at = 0; at < export->rows.count && err == MMQ_OK;) {
        if (mmq_page_left(page) < MMQ_APPEND_ROW_MAX) {
            export->full = true;
            return MMQ_OK;
        }
        err = mmq_page_room(page) < MMQ_APPEND_ROW_MAX ? mmq_page_flush(page, &export->place, why)
                                                       : encode_rows(export, &at, why);
    }
    return err;
}

/* The next batch of rows of the metric that the place is in. */
static mmq_err fill_rows(struct export *export, mmq_why *why)
{
    const mmq_cursor *place = &export->place;
    mmq_err err = mmq_store_read_rowids(export->page->store, place->metric, place->rowid + 1,
                                        place->bound, &export->rows, MMQ_BATCH_ROWS, why);
    if (err == MMQ_OK && export->rows.count == 0) { /* the others were pruned */
        export->place.rowid = export->place.bound;
    }
    return err == MMQ_OK ? add_rows(export, why) : err;
}

/* Shows the record of a metric that is in the stream; the place is then before its rows. */
static mmq_err add_metric(struct export *export, const mmq_metric *metric, mmq_why *why)
{
    mmq_page *page = export->page;
    int64_t bound;
    mmq_err err = mmq_store_length_at(page->store, &metric->head, page->commit, &bound, why);
    mmq_buffer_reset(&export->record);
    if (err == MMQ_OK) {
        err = mmq_record_pack(&export->record, metric, why);
    }
    if (err == MMQ_OK) {
        err = mmq_page_add(page, &export->place, &export->record, &export->full, why);
    }
    if (err == MMQ_OK && !export->full) {
        export->place.positioned = true;
        export->place.metric = metric->head.key;
        export->place.bound = bound;
        export->place.rowid = 0;
    }
    return err;
}

/* Goes on to the metric behind the place; MMQ_EEND if there is none. */
static mmq_err next_metric(struct export *export, mmq_why *why)
{
    mmq_page *page = export->page;
    const char *only = page->query->selection.uid;
    mmq_metric metric;
    if (*only != '\0' && export->place.uid[0] != '\0') {
        return MMQ_EEND;
    }
    mmq_err err = *only != '\0'
                      ? mmq_store_metric(page->store, only, &metric, why)
                      : mmq_store_metric_after(page->store, export->place.uid, &metric, why);
    if (err != MMQ_OK) {
        return err == MMQ_ENOTFOUND && *only == '\0' ? MMQ_EEND : err;
    }
    if (metric.head.made <= page->commit && (*only != '\0' || metric.status != 0)) {
        err = add_metric(export, &metric, why);
    }
    if (err == MMQ_OK && !export->full) {
        memcpy(export->place.uid, metric.head.uid, sizeof export->place.uid);
    }
    mmq_metric_clear(&metric);
    return err;
}

/* The metric that the cursor was in may be gone. */
static mmq_err resume(struct export *export, mmq_why *why)
{
    mmq_metric_head metric;
    if (!export->place.positioned) {
        return MMQ_OK;
    }
    mmq_err err = mmq_store_find(export->page->store, export->place.uid, &metric, why);
    if (err != MMQ_OK && err != MMQ_ENOTFOUND) {
        return err;
    }
    if (err == MMQ_ENOTFOUND || metric.key != export->place.metric ||
        metric.last_rowid < export->place.bound) {
        leave_metric(export);
    }
    return MMQ_OK;
}

static mmq_err fill_page(struct export *export, mmq_why *why)
{
    mmq_page *page = export->page;
    mmq_err err = resume(export, why);
    while (err == MMQ_OK && !export->full) {
        if (export->place.positioned && export->place.rowid >= export->place.bound) {
            leave_metric(export);
        }
        err = export->place.positioned ? fill_rows(export, why) : next_metric(export, why);
        export->full |= mmq_page_is_late(page);
    }
    if (err == MMQ_EEND) {
        return MMQ_OK;
    }
    if (err == MMQ_OK) {
        mmq_page_set_next(page, &export->place);
    }
    return err;
}

/* As `data` and `models` have it; of one metric it is known on the first page only. */
static mmq_err set_state(mmq_page *page, mmq_why *why)
{
    const uint64_t store = page->snapshot.store;
    const char *uid = page->query->selection.uid;
    if (*uid == '\0') {
        mmq_page_set_state(page, "%016" PRIx64 "-%" PRId64, store, page->commit);
        return MMQ_OK;
    }
    mmq_metric_head metric;
    mmq_err err = mmq_store_find(page->store, uid, &metric, why);
    if (err == MMQ_OK && !page->query->has_cursor) {
        mmq_page_set_state(page, "%016" PRIx64 "-%" PRId64 "-%" PRId64, store, metric.key,
                           metric.changed);
    }
    return err == MMQ_ENOTFOUND && page->query->has_cursor ? MMQ_OK : err;
}

/* A stream that began before a prune may lack rows that it was to show. */
static mmq_err check_not_pruned(mmq_page *page, mmq_why *why)
{
    const mmq_cursor *place = &page->query->cursor;
    const bool one = page->query->selection.uid[0] != '\0';
    return page->query->has_cursor && (!one || place->positioned)
               ? mmq_page_check_pruned(page, INT64_MIN, one ? place->metric : 0, place->uid, why)
               : MMQ_OK;
}

mmq_err mmq_page_fill_export(mmq_page *page, mmq_why *why)
{
    mmq_err err = set_state(page, why);
    if (err != MMQ_OK || page->unchanged) {
        return err;
    }
    err = check_not_pruned(page, why);
    if (err != MMQ_OK) {
        return err;
    }
    struct export *export = malloc(sizeof *export);
    if (export == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a batch of rows");
    }
    export->page = page;
    export->place = page->query->cursor;
    export->full = false;
    mmq_buffer_init(&export->record, MMQ_PAGE_MOST);
    mmq_page_positioned(page);
    err = fill_page(export, why);
    mmq_buffer_clear(&export->record);
    free(export);
    return err;
}
