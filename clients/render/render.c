/* Answers as text. A payload is a concatenation of whole msgpack values, cut by its sender between
 * values, so a renderer keeps no bytes of a payload that it was done with.
 *
 * Rows are the hot path: their text is bounded, so they are written straight into the caller's
 * room, which is checked once a row. Everything else (what stands before, between and after, and
 * records, whose text has no small bound) goes through `text`, which is handed out piece by piece
 * before anything more is read; one record at most is in it. */
#include "clients/render/render.h"

#include <stdlib.h>
#include <string.h>

#include "clients/render/forms.h"
#include "lib/check.h"
#include "metricmq/unpack.h"

enum { RECORD_TEXT_MAX = 32 * 1024 * 1024 };

#define NAMES "\"names\": [\"timestamp\",\"value\",\"anomaly_score\",\"rowid\"]}"
#define BUCKET_NAMES                                                                               \
    "\"names\": [\"timestamp\",\"rows\",\"least\",\"greatest\",\"first\",\"last\",\"mean\","       \
    "\"anomaly_score\",\"unscored\"]}"

typedef struct form_spec {
    const char *head;
    const char *between; /* records */
    const char *tail;
    const char *content_type;
    mmq_row_fn *row; /* all three NULL: bytes as they are */
    mmq_record_fn *record;
    mmq_bucket_fn *bucket;
} form_spec;

#define JSON_TYPE   "application/json; charset=UTF-8"
#define CSV_TYPE    "text/csv; charset=UTF-8"
#define NDJSON_TYPE "application/x-ndjson"
#define TABLE_TYPE  "text/plain; charset=UTF-8"

static const form_spec forms[] = {
    [MMQ_FORM_MSGPACK] = {"", "", "", "application/octet-stream", NULL, NULL, NULL},
    [MMQ_FORM_JSON_METRIC] = {"{\"data\": [", "", "], " NAMES, JSON_TYPE, mmq_row_json_metric, NULL,
                              NULL},
    [MMQ_FORM_JSON_METRICS] = {"{\"metrics\": [", "", "], " NAMES, JSON_TYPE, mmq_row_json_metrics,
                               NULL, NULL},
    [MMQ_FORM_JSON_RECORDS] = {"[", ", ", "]", JSON_TYPE, NULL, mmq_record_json, NULL},
    [MMQ_FORM_CSV] = {"uid,timestamp,value,anomaly_score,rowid\r\n", "", "", CSV_TYPE, mmq_row_csv,
                      NULL, NULL},
    [MMQ_FORM_NDJSON] = {"", "", "", NDJSON_TYPE, mmq_row_ndjson, NULL, NULL},
    [MMQ_FORM_TABLE] = {"UID                               TIMESTAMP                             "
                        "VALUE             ANOMALY SCORE       ROWID\n",
                        "", "", TABLE_TYPE, mmq_row_table, NULL, NULL},
    [MMQ_FORM_CSV_RECORDS] = {mmq_record_csv_head, "", "", CSV_TYPE, NULL, mmq_record_csv, NULL},
    [MMQ_FORM_TABLE_RECORDS] = {mmq_record_table_head, "", "", TABLE_TYPE, NULL, mmq_record_table,
                                NULL},
    [MMQ_FORM_JSON_EXPORT] = {"[", "]},\n", "]", JSON_TYPE, NULL, mmq_record_export, NULL},
    [MMQ_FORM_JSON_SUMMARY] = {"{\"data\": [", "", "], " BUCKET_NAMES, JSON_TYPE, NULL, NULL,
                               mmq_bucket_json_metric},
    [MMQ_FORM_JSON_SUMMARIES] = {"{\"metrics\": [", "", "], " BUCKET_NAMES, JSON_TYPE, NULL, NULL,
                                 mmq_bucket_json_metrics},
    [MMQ_FORM_CSV_SUMMARY] = {"uid,timestamp,rows,least,greatest,first,last,mean,anomaly_score,"
                              "unscored\r\n",
                              "", "", CSV_TYPE, NULL, NULL, mmq_bucket_csv},
    [MMQ_FORM_NDJSON_SUMMARY] = {"", "", "", NDJSON_TYPE, NULL, NULL, mmq_bucket_ndjson},
};

struct mmq_render {
    const form_spec *spec;
    bool monitored_only;
    const uint8_t *payload; /* borrowed */
    size_t size;
    size_t offset;       /* of the next value */
    mmq_row_writer rows; /* its `at` is set for the time of a read only */
    bool records;        /* there was a record */
    bool finished;       /* no more payloads */
    bool ended;          /* the tail is in text */
    bool failed;         /* a payload made no sense */
    mmq_buffer text;     /* to be handed out before anything else */
    size_t text_offset;  /* how much of it was */
};

mmq_render *mmq_render_new(mmq_form form)
{
    CHECK((size_t)form < sizeof forms / sizeof *forms);
    mmq_render *render = calloc(1, sizeof *render);
    if (render == NULL) {
        return NULL;
    }
    render->spec = &forms[form];
    mmq_buffer_init(&render->text, RECORD_TEXT_MAX);
    mmq_buffer_text(&render->text, render->spec->head);
    if (render->text.failed) {
        mmq_render_destroy(&render);
    }
    return render;
}

void mmq_render_destroy(mmq_render **render)
{
    if (*render != NULL) {
        mmq_buffer_clear(&(*render)->text);
        free(*render);
        *render = NULL;
    }
}

void mmq_render_monitored_only(mmq_render *render)
{
    render->monitored_only = true;
}

void mmq_render_feed(mmq_render *render, const void *payload, size_t size)
{
    CHECK(render->offset == render->size || render->failed);
    CHECK(!render->finished);
    render->payload = payload;
    render->size = size;
    render->offset = 0;
}

void mmq_render_finish(mmq_render *render)
{
    render->finished = true;
}

static size_t take_text(mmq_render *render, char *out, size_t room)
{
    size_t left = render->text.size - render->text_offset;
    size_t size = left < room ? left : room;
    if (size > 0) {
        memcpy(out, render->text.data + render->text_offset, size);
        render->text_offset += size;
    }
    if (render->text_offset == render->text.size) {
        mmq_buffer_reset(&render->text);
        render->text_offset = 0;
    }
    return size;
}

static size_t take_bytes(mmq_render *render, char *out, size_t room)
{
    size_t left = render->size - render->offset;
    size_t size = left < room ? left : room;
    if (size > 0) {
        memcpy(out, render->payload + render->offset, size);
        render->offset += size;
    }
    return size;
}

/* What was written for the reader's last call is gone. */
static void forget_text(mmq_row_writer *rows)
{
    rows->value.text = rows->score.text = rows->raw.text = NULL;
}

static size_t take_rows(mmq_render *render, char *out, size_t room)
{
    mmq_row_writer *rows = &render->rows;
    mmq_row_fn *write_row = render->spec->row;
    const char *last = out + room - MMQ_ROW_TEXT_MAX;
    mmq_row row;
    rows->at = out;
    forget_text(rows);
    while (rows->at <= last && render->offset < render->size) {
        mmq_err err = mmq_rows_decode(render->payload, render->size, &render->offset, &row);
        if (err == MMQ_EAGAIN) {
            continue;
        }
        if (err != MMQ_OK || !write_row(rows, &row)) {
            render->failed = true;
            break;
        }
    }
    return (size_t)(rows->at - out);
}

static size_t take_buckets(mmq_render *render, char *out, size_t room)
{
    mmq_row_writer *rows = &render->rows;
    const char *last = out + room - MMQ_ROW_TEXT_MAX;
    mmq_bucket_row row;
    rows->at = out;
    while (!render->failed && rows->at <= last && render->offset < render->size) {
        mmq_err err = mmq_bucket_take(render->payload, render->size, &render->offset, &row);
        render->failed = err != MMQ_EAGAIN && (err != MMQ_OK || !render->spec->bucket(rows, &row));
    }
    return (size_t)(rows->at - out);
}

static void add_record(mmq_render *render)
{
    const uint8_t *start = render->payload + render->offset;
    mmq_reader reader;
    mmq_reader_init(&reader, start, render->size - render->offset);
    if (mmq_unpack_skip(&reader) != MMQ_OK) {
        render->failed = true;
        return;
    }
    size_t size = (size_t)(reader.at - start);
    render->offset += size;
    if (render->monitored_only && !mmq_record_monitored(start, size)) {
        return;
    }
    mmq_buffer_text(&render->text, render->records ? render->spec->between : "");
    render->records = true;
    render->rows.groups = render->spec->record == mmq_record_export;
    render->rows.rows = false;
    render->failed = !render->spec->record(&render->text, start, size) || render->text.failed;
}

/* Exports mix records, which are maps, with rows, which are arrays of a few values. */
static bool is_export_row(const mmq_render *render)
{
    return render->spec->record == mmq_record_export && render->records &&
           (render->payload[render->offset] & 0xf0) == 0x90;
}

static size_t take_export_rows(mmq_render *render, char *out, size_t room)
{
    mmq_row_writer *rows = &render->rows;
    const char *last = out + room - MMQ_ROW_TEXT_MAX;
    mmq_append_row row;
    rows->at = out;
    forget_text(rows);
    while (!render->failed && rows->at <= last && render->offset < render->size &&
           is_export_row(render)) {
        render->failed =
            mmq_append_row_take(render->payload, render->size, &render->offset, &row) != MMQ_OK ||
            !mmq_row_export(rows, &row);
    }
    return (size_t)(rows->at - out);
}

static void add_tail(mmq_render *render)
{
    mmq_buffer_text(&render->text, render->rows.groups ? "]}" : "");
    mmq_buffer_text(&render->text, render->spec->tail);
    render->failed = render->text.failed;
    render->ended = true;
}

/* Makes more text out of the payload; what it wrote straight into out is returned. */
static size_t step_render(mmq_render *render, char *out, size_t room)
{
    if (render->offset == render->size) {
        if (render->finished && !render->ended) {
            add_tail(render);
        }
        return 0;
    }
    if (render->spec->row != NULL) {
        return room < MMQ_ROW_TEXT_MAX ? 0 : take_rows(render, out, room);
    }
    if (render->spec->bucket != NULL) {
        return room < MMQ_ROW_TEXT_MAX ? 0 : take_buckets(render, out, room);
    }
    if (is_export_row(render)) {
        return room < MMQ_ROW_TEXT_MAX ? 0 : take_export_rows(render, out, room);
    }
    if (render->spec->record != NULL) {
        add_record(render);
        return 0;
    }
    return take_bytes(render, out, room);
}

/* Something is left that can be written into `room`. */
static bool can_step(const mmq_render *render, size_t room)
{
    if (render->failed || room == 0) {
        return false;
    }
    if (render->text.size > 0) {
        return true;
    }
    if (render->offset < render->size) {
        const bool rows = render->spec->row != NULL || render->spec->bucket != NULL;
        return room >= MMQ_ROW_TEXT_MAX || (!rows && !is_export_row(render));
    }
    return render->finished && !render->ended;
}

size_t mmq_render_read(mmq_render *render, char *out, size_t capacity, bool *failed)
{
    CHECK(capacity >= 1024);
    size_t size = 0;
    while (can_step(render, capacity - size)) {
        if (render->text.size > 0) {
            size += take_text(render, out + size, capacity - size);
        } else {
            size += step_render(render, out + size, capacity - size);
        }
    }
    *failed = render->failed;
    return render->failed ? 0 : size;
}

const char *mmq_render_content_type(mmq_form form)
{
    CHECK((size_t)form < sizeof forms / sizeof *forms);
    return forms[form].content_type;
}
