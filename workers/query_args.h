/* What a request to metric.query asks for: its arguments, checked. Pure: no store, no time. */
#ifndef MMQ_QUERY_ARGS_H
#define MMQ_QUERY_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cursor.h"
#include "lib/fields.h"
#include "metricmq/error.h"
#include "metricmq/rows.h"

enum {
    MMQ_PAGE_DEFAULT = 1024 * 1024, /* bytes of a page's payload */
    MMQ_PAGE_LEAST = 1024,          /* max_bytes is clamped to these */
    MMQ_PAGE_MOST = 16 * 1024 * 1024,
};

enum {
    MMQ_BUCKETS_DEFAULT = 400,
    MMQ_BUCKETS_MOST = 10000,
    MMQ_BUCKETS_MOST_ALL = 400, /* of each of all metrics */
};

/* Which rows a stream shows, and in what order. */
typedef struct mmq_selection {
    char uid[MMQ_UID_MAX + 1]; /* "": all metrics */
    int64_t from, to;          /* inclusive; the ends of int64_t where not given */
    bool ascending;            /* `from` was given */
    bool by_metric;            /* order "metric" */
    double anomaly;            /* > 0: the least score; 0: any score; < 0: scored or not */
    int64_t limit;             /* rows of each metric; 0: no limit */
    bool has_rowid;            /* only the row `rowid` of each metric */
    int64_t rowid;
} mmq_selection;

/* A request for one page of a stream, of rows, of records or of both. */
typedef struct mmq_page_query {
    mmq_selection selection; /* of rows; zeros for records */
    int64_t buckets;         /* of each metric; 0: it is not rows in buckets */
    uint64_t binding;        /* what its cursors are bound to */
    size_t max_bytes;        /* of payload */
    bool has_cursor;         /* not the first page */
    mmq_cursor cursor;
    mmq_slice unless; /* borrowed from the body; data NULL: not given */
    mmq_slice uids;   /* of records: packed strs, each a valid uid; borrowed; data NULL: all */
} mmq_page_query;

/* Read a request's body. MMQ_EINVAL with a sentence that names the argument; also for a cursor
 * that is damaged or bound to other arguments. */
mmq_err mmq_query_read_data(const void *body, size_t size, mmq_page_query *out,
                            mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_query_read_models(const void *body, size_t size, mmq_page_query *out,
                              mmq_why *why) MMQ_MUST_USE;
/* Of its selection only the uid counts: "" for all metrics that are not unmonitored. */
mmq_err mmq_query_read_export(const void *body, size_t size, mmq_page_query *out,
                              mmq_why *why) MMQ_MUST_USE;
/* Of its selection uid, from and to count. */
mmq_err mmq_query_read_summary(const void *body, size_t size, mmq_page_query *out,
                               mmq_why *why) MMQ_MUST_USE;
/* unless: as that of a page. */
mmq_err mmq_query_read_model(const void *body, size_t size, char uid[MMQ_UID_MAX + 1],
                             mmq_slice *unless, mmq_why *why) MMQ_MUST_USE;
/* For an op without arguments. */
mmq_err mmq_query_read_none(const void *body, size_t size, mmq_why *why) MMQ_MUST_USE;

#endif
