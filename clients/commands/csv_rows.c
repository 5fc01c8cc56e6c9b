/* Columns are found by their names in the header, the first of a name; others are passed over. */
#include "clients/commands/csv_rows.h"

#include <math.h>
#include <string.h>

#include "lib/number.h"
#include "metricmq/unpack.h"

enum { COLUMN_TIMESTAMP, COLUMN_VALUE, COLUMN_ANOMALY, COLUMN_RAW };
enum { SHOWN_MAX = 40 }; /* bytes of a value in a sentence */

static const char *const column_names[MMQ_CSV_ROW_COLUMNS] = {"timestamp", "value", "anomaly_score",
                                                              "raw_score"};

static bool field_is(const mmq_csv_field *field, const char *text)
{
    return field->size == strlen(text) && memcmp(field->data, text, field->size) == 0;
}

mmq_err mmq_csv_rows_begin(mmq_csv_rows *rows, FILE *file, mmq_why *why)
{
    mmq_csv_init(&rows->csv, file);
    mmq_err err = mmq_csv_next(&rows->csv, why);
    if (err) {
        return err == MMQ_EEND ? mmq_fail(why, MMQ_EINVAL, "the file is empty") : err;
    }
    for (size_t c = 0; c < MMQ_CSV_ROW_COLUMNS; c++) {
        rows->column[c] = SIZE_MAX;
        for (size_t i = 0; i < rows->csv.count && rows->column[c] == SIZE_MAX; i++) {
            if (field_is(&rows->csv.fields[i], column_names[c])) {
                rows->column[c] = i;
            }
        }
    }
    for (size_t c = COLUMN_TIMESTAMP; c <= COLUMN_VALUE; c++) {
        if (rows->column[c] == SIZE_MAX) {
            return mmq_fail(why, MMQ_EINVAL, "the header has no column `%s`", column_names[c]);
        }
    }
    return MMQ_OK;
}

/* The text of a column; empty where the file has no such column. */
static mmq_err get_field(const mmq_csv_rows *rows, int column, mmq_csv_field *out, mmq_why *why)
{
    *out = (mmq_csv_field){"", 0};
    if (rows->column[column] == SIZE_MAX) {
        return MMQ_OK;
    }
    if (rows->column[column] >= rows->csv.count) {
        return mmq_fail(why, MMQ_EINVAL, "the row has no `%s`", column_names[column]);
    }
    *out = rows->csv.fields[rows->column[column]];
    return MMQ_OK;
}

/* How much of a value a sentence shows: nothing of one that is no text or that a terminal would
 * obey. */
static size_t measure_shown(const mmq_csv_field *field)
{
    size_t size = field->size < SHOWN_MAX ? field->size : SHOWN_MAX;
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)field->data[i];
        if (byte < ' ' || byte == 0x7f) {
            return 0;
        }
    }
    if (!mmq_utf8_valid(field->data, field->size)) {
        return 0;
    }
    while (!mmq_utf8_valid(field->data, size)) { /* whole characters only */
        size--;
    }
    return size;
}

static mmq_err bad_field(int column, const mmq_csv_field *field, const char *wanted, mmq_why *why)
{
    return mmq_fail(why, MMQ_EINVAL, "`%s` is \"%.*s\", not %s", column_names[column],
                    (int)measure_shown(field), field->data, wanted);
}

static mmq_err read_time(mmq_csv_rows *rows, int64_t *out, mmq_why *why)
{
    mmq_csv_field field;
    mmq_err err = get_field(rows, COLUMN_TIMESTAMP, &field, why);
    if (!err && !mmq_time_parse_row(field.data, field.size, &rows->day, out)) {
        return bad_field(COLUMN_TIMESTAMP, &field, "a time like 2014-07-01 00:30:00", why);
    }
    return err;
}

static mmq_err read_number(const mmq_csv_rows *rows, int column, bool needed, double *out,
                           mmq_why *why)
{
    mmq_csv_field field;
    *out = NAN;
    mmq_err err = get_field(rows, column, &field, why);
    if (err || (!needed && field.size == 0)) {
        return err;
    }
    if (!mmq_number_parse(field.data, field.size, out)) {
        return bad_field(column, &field, "a finite number", why);
    }
    return MMQ_OK;
}

/* Blank lines are no rows. */
mmq_err mmq_csv_rows_next(mmq_csv_rows *rows, mmq_csv_row *out, mmq_why *why)
{
    mmq_err err;
    do {
        err = mmq_csv_next(&rows->csv, why);
    } while (!err && rows->csv.count == 1 && rows->csv.fields[0].size == 0);
    if (!err) {
        err = read_time(rows, &out->timestamp, why);
    }
    if (!err) {
        err = read_number(rows, COLUMN_VALUE, true, &out->value, why);
    }
    if (!err) {
        err = read_number(rows, COLUMN_ANOMALY, false, &out->anomaly_score, why);
    }
    return err ? err : read_number(rows, COLUMN_RAW, false, &out->raw_score, why);
}
