/* A page being made: one read transaction, one frame that is being filled, the bounds it ends at.
 * What fills it is in query_pages.h. */
#ifndef MMQ_PAGE_H
#define MMQ_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/cursor.h"
#include "metricmq/error.h"
#include "metricmq/frame.h"
#include "metricmq/protocol.h"
#include "workers/query_args.h"
#include "workers/scan_cache.h"
#include "workers/store/store.h"

/* Where the frames before the last one go. */
typedef struct mmq_page_sink {
    /* payload is moved; the stream may be taken up behind it from cursor. */
    mmq_err (*partial)(void *context, const char *cursor, mmq_frame *payload);
    void *context;
} mmq_page_sink;

typedef struct mmq_page_options {
    size_t frame_bytes;    /* payload of a frame at most; at least 1 KiB */
    int64_t time_ns;       /* from mmq_page_positioned on */
    int64_t deadline_ns;   /* for what comes before it */
    mmq_scan_cache *cache; /* of pages before; NULL: none */
} mmq_page_options;

enum { MMQ_STATE_MAX = 64 };

typedef struct mmq_page {
    mmq_store *store;
    const mmq_page_query *query; /* borrowed, as options and sink are */
    const mmq_page_options *options;
    const mmq_page_sink *sink;
    mmq_snapshot snapshot;
    int64_t commit;            /* the stream shows what this commit showed */
    int64_t ends_ns;           /* when its time is over */
    size_t sent;               /* bytes given to the sink */
    mmq_buffer buffer;         /* the frame being filled; at the end, that of FINAL */
    int64_t rows;              /* in all its frames */
    bool unchanged;            /* FINAL 304: `unless` is the state */
    bool more;                 /* next is set */
    char state[MMQ_STATE_MAX]; /* "": not known on this page */
    char next[MMQ_CURSOR_MAX];
} mmq_page;

/* Begins the read transaction. MMQ_EGONE if the cursor is of another store or of its future.
 * mmq_page_clear is needed in any case. */
mmq_err mmq_page_begin(mmq_page *page, mmq_store *store, const mmq_page_query *query,
                       const mmq_page_options *options, const mmq_page_sink *sink,
                       mmq_why *why) MMQ_MUST_USE;
/* Of a page that goes on: MMQ_EGONE if rows from timestamp `from` on, which may be ones that the
 * stream had still to show, were pruned since its first page: of the metric with that key; or if it
 * is 0, of the metric `uid` and those behind it. */
mmq_err mmq_page_check_pruned(mmq_page *page, int64_t from, int64_t metric, const char *uid,
                              mmq_why *why) MMQ_MUST_USE;
/* Ends the transaction and frees the buffer. */
void mmq_page_clear(mmq_page *page);

/* Sets the state (printf) and `unchanged`. */
void mmq_page_set_state(mmq_page *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The query's one metric, as *head; *metric NULL: there is no such uid, or the query is of all. */
mmq_err mmq_page_find_metric(mmq_page *page, mmq_metric_head *head, const mmq_metric_head **metric,
                             mmq_why *why) MMQ_MUST_USE;
/* The state of rows of that metric, or of all, as of the first page; later ones know it of a stream
 * over all metrics only. */
void mmq_page_set_rows_state(mmq_page *page, const mmq_metric_head *metric);
/* Its time runs from now on. */
void mmq_page_positioned(mmq_page *page);
bool mmq_page_is_late(const mmq_page *page);
/* Bytes that it may still hold, in this frame and others. */
size_t mmq_page_left(const mmq_page *page);
/* Bytes that this frame may still hold. */
size_t mmq_page_room(const mmq_page *page);
/* Gives the frame to the sink and begins another. `place` is behind its last row. */
mmq_err mmq_page_flush(mmq_page *page, mmq_cursor *place, mmq_why *why) MMQ_MUST_USE;
/* Adds a packed value behind `place`. *full: the page has no room for it. One at least is always
 * added, however big, so that the stream gets ahead. */
mmq_err mmq_page_add(mmq_page *page, mmq_cursor *place, const mmq_buffer *value, bool *full,
                     mmq_why *why) MMQ_MUST_USE;
/* The stream goes on at `place` on the next page. */
void mmq_page_set_next(mmq_page *page, mmq_cursor *place);

#endif
