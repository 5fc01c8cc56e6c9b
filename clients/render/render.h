/* Answers as text: payloads of the bus in, text out, piece by piece and in constant memory. The
 * HTTP adapter and the command line share it. Pure: no sockets, no files. */
#ifndef MMQ_RENDER_H
#define MMQ_RENDER_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/error.h"

typedef enum mmq_form {
    MMQ_FORM_MSGPACK,      /* the payload as it is */
    MMQ_FORM_JSON_METRIC,  /* {"data": [...], "names": [...]} */
    MMQ_FORM_JSON_METRICS, /* {"metrics": [...], "names": [...]}; wants order "metric" */
    MMQ_FORM_JSON_RECORDS, /* payload of `models`: [{...}, ...] */
    MMQ_FORM_CSV,          /* rows: uid,timestamp,value,anomaly_score,rowid with CRLF */
    MMQ_FORM_NDJSON,       /* rows: an object a line, in the same columns */
    MMQ_FORM_TABLE,        /* rows for a terminal */
    MMQ_FORM_CSV_RECORDS,
    MMQ_FORM_TABLE_RECORDS,
    MMQ_FORM_JSON_EXPORT,    /* payload of `export`: [{..., "data": [[...], ...]}, ...] */
    MMQ_FORM_JSON_SUMMARY,   /* payload of `summary`: as JSON_METRIC */
    MMQ_FORM_JSON_SUMMARIES, /* as JSON_METRICS */
    MMQ_FORM_CSV_SUMMARY,
    MMQ_FORM_NDJSON_SUMMARY,
    MMQ_FORM_COUNT,
} mmq_form;

typedef struct mmq_render mmq_render;

mmq_render *mmq_render_new(mmq_form form);
void mmq_render_destroy(mmq_render **render);
/* Records only: leaves out metrics that nobody watches (status 0). Before the first feed. */
void mmq_render_monitored_only(mmq_render *render);
/* Gives it the next payload; borrowed until mmq_render_read has returned 0 for it. */
void mmq_render_feed(mmq_render *render, const void *payload, size_t size);
/* No more payloads: what is left is the end of the text. */
void mmq_render_finish(mmq_render *render);
/* Writes up to capacity (>= 1024) bytes of text and returns how many; 0: feed it, or, after
 * finish, all is written. A payload that makes no sense: *failed is set, for good. */
size_t mmq_render_read(mmq_render *render, char *out, size_t capacity, bool *failed);
/* The content type of a form, for HTTP; static storage. */
const char *mmq_render_content_type(mmq_form form);

#endif
