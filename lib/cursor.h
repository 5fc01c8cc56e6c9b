/* Cursors: where a stream goes on. Opaque to clients; any worker of the same store reads them. */
#ifndef MMQ_CURSOR_H
#define MMQ_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/bucket.h"
#include "metricmq/error.h"
#include "metricmq/protocol.h"
#include "metricmq/rows.h"

/* What a stream of buckets has come to. */
typedef struct mmq_cursor_buckets {
    int64_t from, to;  /* of all buckets, inclusive, from <= to */
    mmq_bucket bucket; /* what the rows up to the cursor's make of the bucket that it is in; rows 0:
                          none of them is of that bucket. Then the cursor is positioned */
} mmq_cursor_buckets;

typedef struct mmq_cursor {
    uint64_t binding; /* digest of the arguments that the cursor is bound to */
    uint64_t store;   /* the store's random id */
    int64_t commit;   /* the stream shows what this commit showed */
    int64_t metric;   /* key of the one metric, or of the current one (order "metric"); 0: none */
    int64_t bound;    /* its last rowid at `commit`; 0 with metric 0 */
    int64_t shown;    /* rows of it shown so far: counts against limit */
    bool positioned;  /* false: at the start of the range (of `uid`'s if that is not empty) */
    int64_t timestamp;
    int64_t rowid;
    char uid[MMQ_UID_MAX + 1]; /* of the last row examined; "" if there is one metric only */
    bool has_buckets;          /* it is of a stream of buckets */
    mmq_cursor_buckets buckets;
} mmq_cursor;

/* NUL-terminated ASCII into out. */
void mmq_cursor_print(const mmq_cursor *cursor, char out[MMQ_CURSOR_MAX]);
/* MMQ_EINVAL unless it is the exact text that mmq_cursor_print makes of some cursor whose fields
 * are in their ranges. */
mmq_err mmq_cursor_parse(const char *text, size_t size, mmq_cursor *out) MMQ_MUST_USE;

#endif
