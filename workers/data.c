/* Pages of rows: runs of a scan, encoded straight into the frame that is sent. A row is taken from
 * the scan only when it is in the frame, so the scan's place is always behind the last row shown,
 * and any moment is good for a cursor. */
#include "workers/query_pages.h"

#include "lib/columns.h"
#include "workers/scan.h"

static size_t encode(const mmq_scan_run *run, size_t from, uint8_t *out, size_t size, size_t *next)
{
    return run->prefix != NULL
               ? mmq_rows_encode(run->prefix, run->columns, from, out, size, next)
               : mmq_rows_encode_mixed(run->prefixes, run->columns, from, out, size, next);
}

/* Encodes what fits of rows [from, ...) into the frame; returns the number of rows. */
static mmq_err encode_rows(mmq_page *page, const mmq_scan_run *run, size_t from, size_t *rows,
                           mmq_why *why)
{
    const size_t longest = run->prefix != NULL ? run->prefix->size + MMQ_ROW_TAIL_MAX : MMQ_ROW_MAX;
    const size_t wanted = (run->columns->count - from) * longest;
    const size_t room = mmq_page_room(page);
    /* A small answer gets a small frame; one that goes on will need a whole one. */
    const size_t size = wanted < room && page->rows == 0 ? wanted : room;
    uint8_t *out = mmq_buffer_reserve(&page->buffer, size);
    if (out == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a frame");
    }
    size_t next;
    page->buffer.size += encode(run, from, out, size, &next);
    *rows = next - from;
    page->rows += (int64_t)*rows;
    return MMQ_OK;
}

/* Adds a run. *full: the page has no room for the rest of it. */
static mmq_err add_run(mmq_page *page, mmq_scan *scan, const mmq_scan_run *run, bool *full,
                       mmq_why *why)
{
    mmq_cursor place;
    size_t at = run->from;
    while (at < run->columns->count) {
        size_t rows = 0;
        mmq_err err = encode_rows(page, run, at, &rows, why);
        if (err == MMQ_OK && rows > 0) {
            mmq_scan_take(scan, rows);
            at += rows;
        } else if (err == MMQ_OK && mmq_page_left(page) < MMQ_ROW_MAX) {
            *full = true;
            return MMQ_OK;
        } else if (err == MMQ_OK) {
            mmq_scan_cursor(scan, &place);
            err = mmq_page_flush(page, &place, why);
        }
        if (err != MMQ_OK) {
            return err;
        }
    }
    return MMQ_OK;
}

static mmq_err fill_rows(mmq_page *page, mmq_scan *scan, mmq_why *why)
{
    bool full = false;
    mmq_scan_run run = {0};
    while (!full && !(run.read && mmq_page_is_late(page))) {
        mmq_err err = mmq_scan_next(scan, page->store, &run, why);
        if (err == MMQ_EEND) {
            return MMQ_OK;
        }
        if (err == MMQ_OK) {
            err = add_run(page, scan, &run, &full, why);
        }
        if (err != MMQ_OK) {
            return err;
        }
    }
    mmq_cursor place;
    mmq_scan_cursor(scan, &place);
    mmq_page_set_next(page, &place);
    return MMQ_OK;
}

/* The least timestamp of what is still to be read. With a limit, the rows of a merge that were
 * shown are counted again. */
static int64_t least_left(const mmq_page *page)
{
    const mmq_selection *selection = &page->query->selection;
    const mmq_cursor *cursor = &page->query->cursor;
    const bool one = selection->uid[0] != '\0';
    const bool passed = selection->ascending && cursor->positioned &&
                        (one || (!selection->by_metric && selection->limit == 0));
    return passed && cursor->timestamp > selection->from ? cursor->timestamp : selection->from;
}

/* A stream that began before a prune may lack rows that it was to show: it ends, and says why. */
static mmq_err check_not_pruned(mmq_page *page, const mmq_metric_head *metric, mmq_why *why)
{
    const mmq_selection *selection = &page->query->selection;
    if (!page->query->has_cursor || (selection->uid[0] != '\0' && metric == NULL)) {
        return MMQ_OK;
    }
    return mmq_page_check_pruned(page, least_left(page), metric != NULL ? metric->key : 0,
                                 selection->by_metric ? page->query->cursor.uid : "", why);
}

/* Where the page before left off, or positioned anew. */
static mmq_err open_scan(mmq_page *page, const mmq_metric_head *metric, mmq_scan **out,
                         mmq_why *why)
{
    const mmq_cursor *cursor = page->query->has_cursor ? &page->query->cursor : NULL;
    const mmq_scan_start start = {
        .selection = &page->query->selection,
        .metric = metric,
        .commit = page->commit,
        .cursor = cursor,
        .deadline_ns = page->options->deadline_ns,
    };
    *out = cursor != NULL ? mmq_scan_cache_take(page->options->cache, cursor) : NULL;
    return *out != NULL ? MMQ_OK : mmq_scan_open(page->store, &start, out, why);
}

mmq_err mmq_page_fill_data(mmq_page *page, mmq_why *why)
{
    mmq_metric_head head;
    const mmq_metric_head *metric = NULL;
    mmq_err err = mmq_page_find_metric(page, &head, &metric, why);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_page_set_rows_state(page, metric);
    if (page->unchanged) {
        return MMQ_OK;
    }
    mmq_scan *scan;
    err = check_not_pruned(page, metric, why);
    if (err == MMQ_OK) {
        err = open_scan(page, metric, &scan, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    if (!page->query->has_cursor) {
        mmq_buffer_add(&page->buffer, mmq_rows_names, mmq_rows_names_size);
    }
    mmq_page_positioned(page);
    err = fill_rows(page, scan, why);
    if (err == MMQ_OK && page->more) {
        mmq_scan_cache_put(page->options->cache, page->next, &scan);
    }
    mmq_scan_close(&scan);
    return err;
}
