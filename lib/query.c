/* A reader over a stream: it decodes one payload at a time. The first payload begins with the names
 * of the columns, which come once: a stream that has not even those is none. */
#include "metricmq/query.h"

#include <stdlib.h>

struct mmq_query {
    mmq_stream *stream;
    mmq_frame payload; /* that is being read; empty: none */
    size_t offset;     /* in it */
    bool named;        /* the names have come */
    mmq_err err;       /* it is broken or at its end */
    mmq_why why;       /* of err */
};

static mmq_stream *open_stream(mmq_client *client, const mmq_args *args, unsigned timeout_ms,
                               mmq_why *why)
{
    mmq_args all;
    mmq_args_init(&all);
    mmq_args_cstr(&all, "op", "data");
    mmq_buffer_add(&all.pairs, args->pairs.data, args->pairs.size);
    all.count += args->count;
    all.pairs.failed |= args->pairs.failed;
    mmq_stream_options options = {.call = mmq_args_call(&all, MMQ_SERVICE_QUERY)};
    options.call.timeout_ms = timeout_ms;
    mmq_stream *stream = mmq_stream_new(client, &options, why);
    mmq_args_clear(&all);
    return stream;
}

mmq_query *mmq_query_new(mmq_client *client, const mmq_args *args, unsigned timeout_ms,
                         mmq_why *why)
{
    mmq_query *query = calloc(1, sizeof *query);
    if (query == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a query");
        return NULL;
    }
    mmq_frame_init(&query->payload);
    query->stream = open_stream(client, args, timeout_ms, why);
    if (query->stream == NULL) {
        mmq_query_destroy(&query);
    }
    return query;
}

void mmq_query_destroy(mmq_query **query_p)
{
    mmq_query *query = *query_p;
    if (query == NULL) {
        return;
    }
    mmq_stream_destroy(&query->stream);
    mmq_frame_close(&query->payload);
    free(query);
    *query_p = NULL;
}

/* Waits for a payload; MMQ_EEND: there are no more. */
static mmq_err take_payload(mmq_query *query)
{
    query->offset = 0;
    mmq_frame_close(&query->payload);
    mmq_frame_init(&query->payload);
    mmq_err err = mmq_stream_next(query->stream, &query->payload, &query->why);
    if (err == MMQ_EEND && !query->named && mmq_stream_status(query->stream) != 304) {
        err = mmq_fail(&query->why, MMQ_EPROTO, "the stream has not even the names of its columns");
    }
    return err;
}

/* Reads what stands next in the payload. MMQ_EEND: nothing more; MMQ_EAGAIN: it was the names. */
static mmq_err read_value(mmq_query *query, mmq_row *row)
{
    mmq_err err = mmq_rows_decode(mmq_frame_data(&query->payload), mmq_frame_size(&query->payload),
                                  &query->offset, row);
    const bool names = err == MMQ_EAGAIN;
    if (err == MMQ_EPROTO) {
        return mmq_fail(&query->why, err, "what should be a row is none");
    }
    if (err != MMQ_EEND && names == query->named) {
        return mmq_fail(&query->why, MMQ_EPROTO,
                        "the names of the columns stand where they must "
                        "not, or do not where they must");
    }
    query->named |= names;
    return err;
}

mmq_err mmq_query_next(mmq_query *query, mmq_row *row, mmq_why *why)
{
    while (query->err == MMQ_OK) {
        mmq_err err = read_value(query, row);
        if (err == MMQ_OK) {
            return MMQ_OK;
        }
        if (err != MMQ_EAGAIN) {
            query->err = err == MMQ_EEND ? take_payload(query) : err;
        }
    }
    return query->err == MMQ_EEND ? MMQ_EEND : mmq_fail(why, query->err, "%s", query->why.text);
}

static void add_row(mmq_batch *batch, const mmq_row *row)
{
    const size_t at = batch->count++;
    batch->uid[at] = (mmq_text){row->uid, row->uid_size};
    batch->timestamp[at] = row->timestamp;
    batch->value[at] = row->value;
    batch->anomaly_score[at] = row->anomaly_score;
    batch->rowid[at] = row->rowid;
}

mmq_err mmq_query_batch(mmq_query *query, mmq_batch *batch, mmq_why *why)
{
    mmq_row row = {0};
    batch->count = 0;
    mmq_err err = mmq_query_next(query, &row, why);
    if (err != MMQ_OK) {
        return err;
    }
    while (err == MMQ_OK) {
        add_row(batch, &row);
        err = batch->count < MMQ_BATCH_MAX ? read_value(query, &row) : MMQ_EEND;
    }
    if (err != MMQ_EEND) { /* the rows before it are good; the next call tells */
        query->err = err;
    }
    return MMQ_OK;
}

int mmq_query_status(const mmq_query *query)
{
    return mmq_stream_status(query->stream);
}

const char *mmq_query_state(const mmq_query *query)
{
    return mmq_stream_state(query->stream);
}
