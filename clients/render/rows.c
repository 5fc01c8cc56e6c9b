/* Rows as text. Each writer advances writer->at by at most MMQ_ROW_TEXT_MAX bytes: a uid has at
 * most 100, a timestamp 19, a number 24. Uids are letters, digits, '-', '_' and '.', checked
 * whenever they change, so that no form has to quote them. Most rows share their day with the row
 * before, and many a number: its text is used again. */
#include <math.h>
#include <string.h>

#include "clients/render/forms.h"
#include "lib/bits.h"
#include "lib/number.h"
#include "lib/uid.h"

void mmq_write_text(mmq_row_writer *writer, const char *text, size_t size)
{
    memcpy(writer->at, text, size);
    writer->at += size;
}

#define PUT(writer, literal) mmq_write_text(writer, literal, sizeof(literal) - 1)

void mmq_write_time(mmq_row_writer *writer, int64_t timestamp)
{
    mmq_day_print(&writer->day, timestamp, writer->at);
    writer->at += MMQ_TIME_TEXT;
}

void mmq_write_number(mmq_row_writer *writer, double value)
{
    writer->at += mmq_number_print(value, writer->at);
}

/* As put_number; *last is that of the row before, which lies at least a row's text ahead. */
static void put_again(mmq_row_writer *writer, mmq_printed *last, double number)
{
    const uint64_t bits = mmq_bits_of(number); /* 0 and -0 are equal, but not in text */
    if (last->text != NULL && bits == last->bits) {
        memcpy(writer->at, last->text, MMQ_NUMBER_TEXT);
    } else {
        last->bits = bits;
        last->size = mmq_number_print(number, writer->at);
    }
    last->text = writer->at;
    writer->at += last->size;
}

void mmq_write_integer(mmq_row_writer *writer, int64_t value)
{
    writer->at += mmq_integer_print(value, writer->at);
}

static bool row_is_sane(const mmq_row *row)
{
    return row->timestamp >= MMQ_TIME_MIN && row->timestamp <= MMQ_TIME_MAX &&
           isfinite(row->value) && !isinf(row->anomaly_score);
}

bool mmq_write_follow_uid(mmq_row_writer *writer, const char *uid, size_t size, bool *changed)
{
    *changed = size != writer->uid_size || memcmp(uid, writer->uid, writer->uid_size) != 0;
    if (!*changed) {
        return true;
    }
    if (!mmq_uid_valid(uid, size)) {
        return false;
    }
    memcpy(writer->uid, uid, size);
    writer->uid_size = size;
    return true;
}

static bool follow_uid(mmq_row_writer *writer, const mmq_row *row, bool *changed)
{
    return mmq_write_follow_uid(writer, row->uid, row->uid_size, changed);
}

static void put_score(mmq_row_writer *writer, const mmq_row *row)
{
    if (isnan(row->anomaly_score)) {
        PUT(writer, "null");
    } else {
        put_again(writer, &writer->score, row->anomaly_score);
    }
}

static void put_json_row(mmq_row_writer *writer, const mmq_row *row)
{
    PUT(writer, "[\"");
    mmq_write_time(writer, row->timestamp);
    PUT(writer, "\", ");
    put_again(writer, &writer->value, row->value);
    PUT(writer, ", ");
    put_score(writer, row);
    PUT(writer, ", ");
    mmq_write_integer(writer, row->rowid);
    PUT(writer, "]");
}

bool mmq_row_json_metric(mmq_row_writer *writer, const mmq_row *row)
{
    if (!row_is_sane(row)) {
        return false;
    }
    if (writer->rows) {
        PUT(writer, ", ");
    }
    writer->rows = true;
    put_json_row(writer, row);
    return true;
}

void mmq_write_group(mmq_row_writer *writer)
{
    if (writer->groups) {
        PUT(writer, "]}, ");
    }
    PUT(writer, "{\"uid\": \"");
    mmq_write_text(writer, writer->uid, writer->uid_size);
    PUT(writer, "\", \"data\": [");
    writer->groups = true;
    writer->rows = false;
}

bool mmq_row_json_metrics(mmq_row_writer *writer, const mmq_row *row)
{
    bool changed;
    if (!row_is_sane(row) || !follow_uid(writer, row, &changed)) {
        return false;
    }
    if (changed) {
        mmq_write_group(writer);
    }
    return mmq_row_json_metric(writer, row);
}

static void put_export_score(mmq_row_writer *writer, mmq_printed *last, double score)
{
    if (isnan(score)) {
        PUT(writer, ",null");
    } else {
        PUT(writer, ",");
        put_again(writer, last, score);
    }
}

/* Without spaces: exports are long. */
bool mmq_row_export(mmq_row_writer *writer, const mmq_append_row *row)
{
    if (row->timestamp < MMQ_TIME_MIN || row->timestamp > MMQ_TIME_MAX) {
        return false;
    }
    PUT(writer, ",");
    writer->at -= !writer->rows;
    writer->rows = true;
    PUT(writer, "[");
    put_again(writer, &writer->value, row->value);
    PUT(writer, ",\"");
    mmq_write_time(writer, row->timestamp);
    PUT(writer, "\"");
    put_export_score(writer, &writer->score, row->anomaly_score);
    put_export_score(writer, &writer->raw, row->raw_score);
    PUT(writer, "]");
    return true;
}

bool mmq_row_csv(mmq_row_writer *writer, const mmq_row *row)
{
    bool changed;
    if (!row_is_sane(row) || !follow_uid(writer, row, &changed)) {
        return false;
    }
    mmq_write_text(writer, writer->uid, writer->uid_size);
    PUT(writer, ",");
    mmq_write_time(writer, row->timestamp);
    PUT(writer, ",");
    put_again(writer, &writer->value, row->value);
    PUT(writer, ",");
    if (!isnan(row->anomaly_score)) {
        put_again(writer, &writer->score, row->anomaly_score);
    }
    PUT(writer, ",");
    mmq_write_integer(writer, row->rowid);
    PUT(writer, "\r\n");
    return true;
}

bool mmq_row_ndjson(mmq_row_writer *writer, const mmq_row *row)
{
    bool changed;
    if (!row_is_sane(row) || !follow_uid(writer, row, &changed)) {
        return false;
    }
    PUT(writer, "{\"uid\": \"");
    mmq_write_text(writer, writer->uid, writer->uid_size);
    PUT(writer, "\", \"timestamp\": \"");
    mmq_write_time(writer, row->timestamp);
    PUT(writer, "\", \"value\": ");
    put_again(writer, &writer->value, row->value);
    PUT(writer, ", \"anomaly_score\": ");
    put_score(writer, row);
    PUT(writer, ", \"rowid\": ");
    mmq_write_integer(writer, row->rowid);
    PUT(writer, "}\n");
    return true;
}

/* Moves the text from `start` to the right end of a column of `width` bytes. */
static void align_right(mmq_row_writer *writer, char *start, size_t width)
{
    size_t size = (size_t)(writer->at - start);
    if (size < width) {
        memmove(start + width - size, start, size);
        memset(start, ' ', width - size);
        writer->at = start + width;
    }
}

bool mmq_row_table(mmq_row_writer *writer, const mmq_row *row)
{
    bool changed;
    if (!row_is_sane(row) || !follow_uid(writer, row, &changed)) {
        return false;
    }
    mmq_write_text(writer, writer->uid, writer->uid_size);
    for (size_t i = writer->uid_size; i < 32; i++) {
        PUT(writer, " ");
    }
    PUT(writer, "  ");
    mmq_write_time(writer, row->timestamp);
    char *start = writer->at;
    mmq_write_number(writer, row->value);
    align_right(writer, start, 24);
    start = writer->at;
    if (isnan(row->anomaly_score)) {
        PUT(writer, "-");
    } else {
        mmq_write_number(writer, row->anomaly_score);
    }
    align_right(writer, start, 26);
    start = writer->at;
    mmq_write_integer(writer, row->rowid);
    align_right(writer, start, 12);
    PUT(writer, "\n");
    return true;
}
