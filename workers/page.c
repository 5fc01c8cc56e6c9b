/* A page ends when it holds max_bytes, when its time is over, or with the stream. Its frames are
 * filled in place and moved to the sink one by one as they fill up; the last one goes with FINAL,
 * so that a page of one frame is a FINAL alone. */
#include "workers/page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"

/* A server that is behind the one that gave the cursor has not the stream's rows yet. */
static mmq_err check_cursor(const mmq_page *page, mmq_why *why)
{
    const mmq_snapshot *snapshot = &page->snapshot;
    const bool same = page->query->cursor.store == snapshot->store;
    if (same && page->commit <= snapshot->commit) {
        return MMQ_OK;
    }
    return same && page->commit - snapshot->commit <= snapshot->behind
               ? mmq_fail(why, MMQ_EUNAVAILABLE,
                          "the store's server is behind the one that the stream began on")
               : mmq_fail(why, MMQ_EGONE, "cursor is of another store, or of one since restored");
}

mmq_err mmq_page_begin(mmq_page *page, mmq_store *store, const mmq_page_query *query,
                       const mmq_page_options *options, const mmq_page_sink *sink, mmq_why *why)
{
    CHECK(options->frame_bytes >= MMQ_PAGE_LEAST);
    *page = (mmq_page){.query = query, .options = options, .sink = sink};
    mmq_buffer_init(&page->buffer, MMQ_PAGE_MOST);
    mmq_err err = mmq_store_begin_read(store, &page->snapshot, why);
    if (err != MMQ_OK) {
        return err;
    }
    page->store = store;
    page->commit = page->snapshot.commit;
    if (!query->has_cursor) {
        return MMQ_OK;
    }
    page->commit = query->cursor.commit;
    return check_cursor(page, why);
}

mmq_err mmq_page_check_pruned(mmq_page *page, int64_t from, int64_t metric, const char *uid,
                              mmq_why *why)
{
    bool pruned;
    mmq_err err =
        mmq_store_pruned_since(page->store, page->commit, from, metric, uid, &pruned, why);
    return err == MMQ_OK && pruned
               ? mmq_fail(why, MMQ_EGONE,
                          "rows that the stream had still to show were pruned meanwhile: ask anew")
               : err;
}

void mmq_page_clear(mmq_page *page)
{
    if (page->store != NULL) {
        mmq_store_end_read(page->store);
        page->store = NULL;
    }
    mmq_buffer_clear(&page->buffer);
}

void mmq_page_set_state(mmq_page *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(page->state, sizeof page->state, format, args);
    va_end(args);
    CHECK(size > 0 && (size_t)size < sizeof page->state);
    const mmq_slice *unless = &page->query->unless;
    page->unchanged = !page->query->has_cursor && unless->data != NULL &&
                      unless->size == (size_t)size &&
                      memcmp(unless->data, page->state, unless->size) == 0;
}

mmq_err mmq_page_find_metric(mmq_page *page, mmq_metric_head *head, const mmq_metric_head **metric,
                             mmq_why *why)
{
    const char *uid = page->query->selection.uid;
    *metric = NULL;
    if (uid[0] == '\0') {
        return MMQ_OK;
    }
    mmq_err err = mmq_store_find(page->store, uid, head, why);
    if (err == MMQ_OK) {
        *metric = head;
    }
    return err == MMQ_ENOTFOUND ? MMQ_OK : err;
}

void mmq_page_set_rows_state(mmq_page *page, const mmq_metric_head *metric)
{
    const uint64_t store = page->snapshot.store;
    if (page->query->selection.uid[0] == '\0') {
        mmq_page_set_state(page, "%016" PRIx64 "-%" PRId64, store, page->commit);
    } else if (!page->query->has_cursor) {
        mmq_page_set_state(page, "%016" PRIx64 "-%" PRId64 "-%" PRId64, store,
                           metric != NULL ? metric->key : 0, metric != NULL ? metric->changed : 0);
    }
}

void mmq_page_positioned(mmq_page *page)
{
    page->ends_ns = mmq_now_ns() + page->options->time_ns;
}

bool mmq_page_is_late(const mmq_page *page)
{
    return mmq_now_ns() >= page->ends_ns;
}

size_t mmq_page_left(const mmq_page *page)
{
    const size_t held = page->sent + page->buffer.size;
    return held < page->query->max_bytes ? page->query->max_bytes - held : 0;
}

size_t mmq_page_room(const mmq_page *page)
{
    const size_t left = mmq_page_left(page);
    const size_t frame = page->options->frame_bytes;
    const size_t room = page->buffer.size < frame ? frame - page->buffer.size : 0;
    return room < left ? room : left;
}

static void print_place(const mmq_page *page, mmq_cursor *place, char out[MMQ_CURSOR_MAX])
{
    place->binding = page->query->binding;
    place->store = page->snapshot.store;
    place->commit = page->commit;
    mmq_cursor_print(place, out);
}

mmq_err mmq_page_flush(mmq_page *page, mmq_cursor *place, mmq_why *why)
{
    char cursor[MMQ_CURSOR_MAX];
    mmq_frame frame;
    mmq_frame_init(&frame);
    print_place(page, place, cursor);
    page->sent += page->buffer.size;
    mmq_err err = mmq_buffer_to_frame(&page->buffer, &frame);
    if (err == MMQ_OK) {
        err = page->sink->partial(page->sink->context, cursor, &frame);
    }
    mmq_frame_close(&frame);
    return err == MMQ_OK ? MMQ_OK : mmq_fail(why, err, "a part of the page could not be sent");
}

mmq_err mmq_page_add(mmq_page *page, mmq_cursor *place, const mmq_buffer *value, bool *full,
                     mmq_why *why)
{
    if (page->rows > 0 && value->size > mmq_page_left(page)) {
        *full = true;
        return MMQ_OK;
    }
    if (page->buffer.size > 0 && value->size > mmq_page_room(page)) {
        mmq_err err = mmq_page_flush(page, place, why);
        if (err != MMQ_OK) {
            return err;
        }
    }
    mmq_buffer_add(&page->buffer, value->data, value->size);
    if (page->buffer.failed) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a frame");
    }
    page->rows++;
    return MMQ_OK;
}

void mmq_page_set_next(mmq_page *page, mmq_cursor *place)
{
    print_place(page, place, page->next);
    page->more = true;
}
