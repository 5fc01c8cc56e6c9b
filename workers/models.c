/* Pages of records, uid ascending. The cursor's uid is that of the last record shown. */
#include "workers/query_pages.h"

#include <inttypes.h>
#include <string.h>

#include "workers/record.h"

/* Adds a packed record behind `place`. *full: the page has no room for it. One at least is always
 * added, however big, so that the stream gets ahead. */
static mmq_err add_record(mmq_page *page, mmq_cursor *place, const mmq_buffer *record, bool *full,
                          mmq_why *why)
{
    if (page->rows > 0 && record->size > mmq_page_left(page)) {
        *full = true;
        return MMQ_OK;
    }
    if (page->buffer.size > 0 && record->size > mmq_page_room(page)) {
        mmq_err err = mmq_page_flush(page, place, why);
        if (err != MMQ_OK) {
            return err;
        }
    }
    mmq_buffer_add(&page->buffer, record->data, record->size);
    if (page->buffer.failed) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a frame");
    }
    page->rows++;
    return MMQ_OK;
}

/* Adds the record of a metric unless it was made after the stream's first page. */
static mmq_err add_metric(mmq_page *page, mmq_cursor *place, const mmq_metric *metric,
                          mmq_buffer *record, bool *full, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (metric->head.made <= page->commit) {
        mmq_buffer_reset(record);
        err = mmq_record_pack(record, metric, why);
        if (err == MMQ_OK) {
            err = add_record(page, place, record, full, why);
        }
    }
    if (err == MMQ_OK && !*full) {
        memcpy(place->uid, metric->head.uid, sizeof place->uid);
    }
    return err;
}

static mmq_err fill_records(mmq_page *page, mmq_buffer *record, mmq_why *why)
{
    mmq_cursor place = {0};
    memcpy(place.uid, page->query->cursor.uid, sizeof place.uid);
    bool full = false;
    do {
        mmq_metric metric;
        mmq_err err = mmq_store_metric_after(page->store, place.uid, &metric, why);
        if (err == MMQ_ENOTFOUND) {
            return MMQ_OK;
        }
        if (err == MMQ_OK) {
            err = add_metric(page, &place, &metric, record, &full, why);
            mmq_metric_clear(&metric);
        }
        if (err != MMQ_OK) {
            return err;
        }
    } while (!full && !mmq_page_is_late(page));
    mmq_page_set_next(page, &place);
    return MMQ_OK;
}

mmq_err mmq_page_fill_models(mmq_page *page, mmq_why *why)
{
    mmq_page_set_state(page, "%016" PRIx64 "-%" PRId64, page->snapshot.store, page->commit);
    if (page->unchanged) {
        return MMQ_OK;
    }
    mmq_buffer record;
    mmq_buffer_init(&record, MMQ_PAGE_MOST);
    mmq_page_positioned(page);
    mmq_err err = fill_records(page, &record, why);
    mmq_buffer_clear(&record);
    return err;
}
