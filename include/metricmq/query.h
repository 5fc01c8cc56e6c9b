/* Rows of one query, without payloads, pages and cursors being seen.
 *
 *     mmq_args args;
 *     mmq_args_init(&args);
 *     mmq_args_cstr(&args, "uid", uid);
 *     mmq_args_double(&args, "anomaly", 0.9);
 *     mmq_query *query = mmq_query_new(client, &args, 0, &why);
 *     mmq_args_clear(&args);
 *     while (query != NULL && (err = mmq_query_next(query, &row, &why)) == MMQ_OK) {
 *         printf("%.*s %f\n", (int)row.uid_size, row.uid, row.value);
 *     }
 *     ... err == MMQ_EEND: that were all of them ...
 *     mmq_query_destroy(&query);
 *
 * A query is a stream (metricmq/client.h): it resumes by itself, and it is whole or an error. At
 * most two pages are held, however slow the reader is. It belongs to its client's thread. */
#ifndef METRICMQ_QUERY_H
#define METRICMQ_QUERY_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/client.h"
#include "metricmq/error.h"
#include "metricmq/pack.h"
#include "metricmq/rows.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmq_query mmq_query;

/* Asks metric.query for `data` with these arguments, as docs/protocol.md names them (uid, from, to,
 * anomaly, limit, rowid, order, max_bytes, unless; op, id, timeout and cursor are added here); they
 * are copied. The query breaks after timeout_ms without progress while it is waited for; 0: the
 * default. NULL with a sentence in why. */
mmq_query *mmq_query_new(mmq_client *client, const mmq_args *args, unsigned timeout_ms,
                         mmq_why *why);
/* Cancels what is under way and frees; may be called at any time. Destroy queries before their
 * client. */
void mmq_query_destroy(mmq_query **query);

/* Waits for the next row. MMQ_OK: row is set, its uid borrowed until the next call on this query.
 * MMQ_EEND: there are no more, and none is missing. Else the query is broken for good: MMQ_EPROTO
 * if what came is no stream of rows, or the error of the answer's status. */
mmq_err mmq_query_next(mmq_query *query, mmq_row *row, mmq_why *why) MMQ_MUST_USE;

enum { MMQ_BATCH_MAX = 1024 };

/* Rows by column: row i is (uid[i], timestamp[i], value[i], anomaly_score[i], rowid[i]). About 48
 * KiB: not for small stacks. */
typedef struct mmq_batch {
    size_t count;
    mmq_text uid[MMQ_BATCH_MAX];         /* borrowed until the next call on the query */
    int64_t timestamp[MMQ_BATCH_MAX];    /* seconds since the epoch, UTC */
    double value[MMQ_BATCH_MAX];         /* finite */
    double anomaly_score[MMQ_BATCH_MAX]; /* NaN where there is none */
    int64_t rowid[MMQ_BATCH_MAX];        /* 1, 2, 3... in the order of arrival */
} mmq_batch;

/* As mmq_query_next for 1 to MMQ_BATCH_MAX rows, as many as have come; waits for the first only. */
mmq_err mmq_query_batch(mmq_query *query, mmq_batch *batch, mmq_why *why) MMQ_MUST_USE;

/* 0 until the first part of the answer came; then 200, 304 (`unless` was its state: no rows are
 * shown, and the query ends), or the error's status. */
int mmq_query_status(const mmq_query *query);
/* The `state` of the answer, what `unless` wants; "" until it is known. Borrowed. */
const char *mmq_query_state(const mmq_query *query);

#ifdef __cplusplus
}
#endif

#endif
