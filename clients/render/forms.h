/* What render.c needs of each form; private to this room. */
#ifndef MMQ_RENDER_FORMS_H
#define MMQ_RENDER_FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/append_row.h"
#include "lib/bucket.h"
#include "lib/buffer.h"
#include "lib/calendar.h"
#include "metricmq/rows.h"

enum { MMQ_ROW_TEXT_MAX = 512 }; /* bytes of a row's text at most, in every form */

/* A number of the row before, which often comes again. */
typedef struct mmq_printed {
    uint64_t bits;    /* of the double */
    const char *text; /* in what was written since the reader's last call; NULL: nowhere */
    size_t size;
} mmq_printed;

/* What the writer of rows remembers from one row to the next. */
typedef struct mmq_row_writer {
    char *at;                 /* where the next byte goes; there is always room for a row */
    bool rows;                /* there was a row (of this group, in forms with groups) */
    bool groups;              /* JSON_METRICS, JSON_EXPORT: there was a group */
    char uid[MMQ_UID_MAX];    /* of the last row, checked */
    size_t uid_size;          /* 0: none yet */
    mmq_day day;              /* of the last row */
    mmq_printed value, score; /* of the last row */
    mmq_printed raw;          /* of it, too */
} mmq_row_writer;

/* Writes one row at writer->at. False if the row makes no sense as text (time out of range, value
 * not finite, a uid that is none). */
typedef bool mmq_row_fn(mmq_row_writer *writer, const mmq_row *row);
mmq_row_fn mmq_row_json_metric, mmq_row_json_metrics, mmq_row_csv, mmq_row_ndjson, mmq_row_table;

/* As mmq_row_fn, of buckets. */
typedef bool mmq_bucket_fn(mmq_row_writer *writer, const mmq_bucket_row *row);
mmq_bucket_fn mmq_bucket_json_metric, mmq_bucket_json_metrics, mmq_bucket_csv, mmq_bucket_ndjson;

/* For writers of both kinds (rows.c). They put text at writer->at, which has room for it. */
void mmq_write_text(mmq_row_writer *writer, const char *text, size_t size);
void mmq_write_time(mmq_row_writer *writer, int64_t timestamp);
void mmq_write_number(mmq_row_writer *writer, double number);
void mmq_write_integer(mmq_row_writer *writer, int64_t number);
/* Remembers the uid; *changed: it is not that of the row before. False: it is none. */
bool mmq_write_follow_uid(mmq_row_writer *writer, const char *uid, size_t size, bool *changed);
/* JSON_METRICS: ends the group before, and begins that of the writer's uid. */
void mmq_write_group(mmq_row_writer *writer);

/* Appends one packed record (a map). False if it is none. */
typedef bool mmq_record_fn(mmq_buffer *text, const void *packed, size_t size);
mmq_record_fn mmq_record_json, mmq_record_csv, mmq_record_table;

/* JSON_EXPORT: a record up to where its rows begin, and one of its rows. */
bool mmq_record_export(mmq_buffer *text, const void *packed, size_t size);
bool mmq_row_export(mmq_row_writer *writer, const mmq_append_row *row);

/* The first lines of the record forms that have one; static storage. */
extern const char mmq_record_csv_head[];
extern const char mmq_record_table_head[];

/* True if the record has a status that is not 0. */
bool mmq_record_monitored(const void *packed, size_t size);

#endif
