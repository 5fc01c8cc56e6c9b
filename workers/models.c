/* Pages of records, uid ascending, or in the order of the uids that were asked for. The cursor's
 * uid is that of the last record shown; its rowid, in the second case, how many of the uids are
 * done with. */
#include "workers/query_pages.h"

#include <inttypes.h>
#include <string.h>

#include "metricmq/unpack.h"
#include "workers/record.h"

/* Adds the record of a metric unless it was made after the stream's first page. */
static mmq_err add_metric(mmq_page *page, mmq_cursor *place, const mmq_metric *metric,
                          mmq_buffer *record, bool *full, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (metric->head.made <= page->commit) {
        mmq_buffer_reset(record);
        err = mmq_record_pack(record, metric, why);
        if (err == MMQ_OK) {
            err = mmq_page_add(page, place, record, full, why);
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
    mmq_metric_walk walk;
    mmq_store_metrics_begin(page->store, place.uid, &walk);
    mmq_err err;
    do {
        mmq_metric metric;
        err = mmq_store_metrics_next(page->store, &walk, &metric, why);
        if (err == MMQ_OK) {
            err = add_metric(page, &place, &metric, record, &full, why);
            mmq_metric_clear(&metric);
        }
    } while (err == MMQ_OK && !full && !mmq_page_is_late(page));
    mmq_store_metrics_end(page->store);
    if (err == MMQ_OK) {
        mmq_page_set_next(page, &place);
    }
    return err == MMQ_ENOTFOUND ? MMQ_OK : err;
}

/* The next of the uids; false: there is none left. */
static bool next_uid(mmq_reader *uids, char out[MMQ_UID_MAX + 1])
{
    mmq_value value;
    if (mmq_unpack(uids, &value) != MMQ_OK) {
        return false;
    }
    memcpy(out, value.text.data, value.text.size); /* it was checked when it was read */
    out[value.text.size] = '\0';
    return true;
}

static mmq_err fill_named(mmq_page *page, mmq_buffer *record, mmq_why *why)
{
    mmq_cursor place = {.positioned = true, .rowid = page->query->cursor.rowid};
    char uid[MMQ_UID_MAX + 1];
    mmq_reader uids;
    mmq_reader_init(&uids, page->query->uids.data, page->query->uids.size);
    for (int64_t i = 0; i < place.rowid && next_uid(&uids, uid); i++) {
    }
    bool full = false;
    while (!full && next_uid(&uids, uid)) {
        mmq_metric metric;
        mmq_err err = mmq_store_metric(page->store, uid, &metric, why);
        if (err == MMQ_OK) {
            err = add_metric(page, &place, &metric, record, &full, why);
            mmq_metric_clear(&metric);
        }
        if (err != MMQ_OK && err != MMQ_ENOTFOUND) {
            return err;
        }
        place.rowid += !full;
        full |= mmq_page_is_late(page);
    }
    if (full) {
        mmq_page_set_next(page, &place);
    }
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
    mmq_err err = page->query->uids.data != NULL ? fill_named(page, &record, why)
                                                 : fill_records(page, &record, why);
    mmq_buffer_clear(&record);
    return err;
}
