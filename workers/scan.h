/* A scan: the rows of a stream, in its order, from its start or from a cursor. It holds no
 * transaction: each call is given the store, between begin_read and end_read. */
#ifndef MMQ_SCAN_H
#define MMQ_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cursor.h"
#include "metricmq/error.h"
#include "lib/columns.h"
#include "workers/query_args.h"
#include "workers/store/store.h"

typedef struct mmq_scan mmq_scan;

typedef struct mmq_scan_start {
    const mmq_selection *selection;
    const mmq_metric_head *metric; /* of selection->uid; NULL: there is none, or all metrics */
    int64_t commit;                /* the stream shows what this commit showed */
    const mmq_cursor *cursor;      /* NULL: the first page */
    int64_t deadline_ns;           /* for finding the cursor's place: MMQ_ETIMEOUT past it */
} mmq_scan_start;

/* Rows that come next. Borrowed until the next call with the scan. */
typedef struct mmq_scan_run {
    const mmq_row_prefix *prefix;          /* of all rows; NULL: they are of several metrics */
    const mmq_row_prefix *const *prefixes; /* of each row; NULL: prefix is set */
    const mmq_columns *columns;
    size_t from; /* rows [from, columns->count): if there are none, rows were looked at and none
                    matched, and here is a place to stop */
    bool read;   /* the store was read for it: a moment to look at the clock */
} mmq_scan_run;

/* MMQ_EGONE if the cursor is older than the store remembers. */
mmq_err mmq_scan_open(mmq_store *store, const mmq_scan_start *start, mmq_scan **out,
                      mmq_why *why) MMQ_MUST_USE;
void mmq_scan_close(mmq_scan **scan);
/* The next run; MMQ_EEND behind the last one. Each call reads the store a bounded number of times
 * and brings rows or moves the scan's place on. */
mmq_err mmq_scan_next(mmq_scan *scan, mmq_store *store, mmq_scan_run *run,
                      mmq_why *why) MMQ_MUST_USE;
/* The first `rows` rows not yet taken of the last run are shown: the place is behind them. */
void mmq_scan_take(mmq_scan *scan, size_t rows);
/* The place as a cursor; binding and store are the caller's to fill in. Only after mmq_scan_next.
 */
void mmq_scan_cursor(const mmq_scan *scan, mmq_cursor *out);

/* True if it is many lanes side by side, which take long to bring in place. */
bool mmq_scan_is_merge(const mmq_scan *scan);
/* Memory that it holds. */
size_t mmq_scan_bytes(const mmq_scan *scan);

#endif
