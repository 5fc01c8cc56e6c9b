/* Buckets as text: as rows (rows.c), with other columns. A bucket has a uid of at most 100 bytes, a
 * timestamp of 19, six numbers of 24 and two counts of 16, and its keys have 150. */
#include <math.h>
#include <string.h>

#include "clients/render/forms.h"

#define PUT(writer, literal) mmq_write_text(writer, literal, sizeof(literal) - 1)

static bool is_sane(const mmq_bucket_row *row)
{
    return row->start >= MMQ_TIME_MIN && row->start <= MMQ_TIME_MAX &&
           row->bucket.rows <= INT64_C(1) << 53;
}

static void put_text(mmq_row_writer *writer, const char *text)
{
    mmq_write_text(writer, text, strlen(text));
}

static void put_uid(mmq_row_writer *writer)
{
    mmq_write_text(writer, writer->uid, writer->uid_size);
}

/* What follows the time, in the order of the columns. */
static void put_columns(mmq_row_writer *writer, const mmq_bucket *bucket, const char *comma,
                        const char *none)
{
    const double numbers[] = {bucket->least, bucket->greatest, bucket->first, bucket->last,
                              bucket->mean};
    put_text(writer, comma);
    mmq_write_integer(writer, bucket->rows);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        put_text(writer, comma);
        mmq_write_number(writer, numbers[i]);
    }
    put_text(writer, comma);
    if (isnan(bucket->greatest_score)) {
        put_text(writer, none);
    } else {
        mmq_write_number(writer, bucket->greatest_score);
    }
    put_text(writer, comma);
    mmq_write_integer(writer, bucket->unscored);
}

static void put_json(mmq_row_writer *writer, const mmq_bucket_row *row)
{
    PUT(writer, "[\"");
    mmq_write_time(writer, row->start);
    PUT(writer, "\"");
    put_columns(writer, &row->bucket, ", ", "null");
    PUT(writer, "]");
}

bool mmq_bucket_json_metric(mmq_row_writer *writer, const mmq_bucket_row *row)
{
    if (!is_sane(row)) {
        return false;
    }
    if (writer->rows) {
        PUT(writer, ", ");
    }
    writer->rows = true;
    put_json(writer, row);
    return true;
}

bool mmq_bucket_json_metrics(mmq_row_writer *writer, const mmq_bucket_row *row)
{
    bool changed;
    if (!is_sane(row) || !mmq_write_follow_uid(writer, row->uid, row->uid_size, &changed)) {
        return false;
    }
    if (changed) {
        mmq_write_group(writer);
    }
    return mmq_bucket_json_metric(writer, row);
}

bool mmq_bucket_csv(mmq_row_writer *writer, const mmq_bucket_row *row)
{
    bool changed;
    if (!is_sane(row) || !mmq_write_follow_uid(writer, row->uid, row->uid_size, &changed)) {
        return false;
    }
    put_uid(writer);
    PUT(writer, ",");
    mmq_write_time(writer, row->start);
    put_columns(writer, &row->bucket, ",", "");
    PUT(writer, "\r\n");
    return true;
}

#define PUT_NUMBER(writer, key, number)                                                            \
    do {                                                                                           \
        PUT(writer, ", \"" key "\": ");                                                            \
        mmq_write_number(writer, number);                                                          \
    } while (0)

bool mmq_bucket_ndjson(mmq_row_writer *writer, const mmq_bucket_row *row)
{
    const mmq_bucket *bucket = &row->bucket;
    bool changed;
    if (!is_sane(row) || !mmq_write_follow_uid(writer, row->uid, row->uid_size, &changed)) {
        return false;
    }
    PUT(writer, "{\"uid\": \"");
    put_uid(writer);
    PUT(writer, "\", \"timestamp\": \"");
    mmq_write_time(writer, row->start);
    PUT(writer, "\", \"rows\": ");
    mmq_write_integer(writer, bucket->rows);
    PUT_NUMBER(writer, "least", bucket->least);
    PUT_NUMBER(writer, "greatest", bucket->greatest);
    PUT_NUMBER(writer, "first", bucket->first);
    PUT_NUMBER(writer, "last", bucket->last);
    PUT_NUMBER(writer, "mean", bucket->mean);
    if (isnan(bucket->greatest_score)) {
        PUT(writer, ", \"anomaly_score\": null");
    } else {
        PUT_NUMBER(writer, "anomaly_score", bucket->greatest_score);
    }
    PUT(writer, ", \"unscored\": ");
    mmq_write_integer(writer, bucket->unscored);
    PUT(writer, "}\n");
    return true;
}
