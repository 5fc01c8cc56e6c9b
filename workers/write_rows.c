/* Two passes: the first counts the rows and finds those that are no arrays, so that the columns
 * are allocated once and exactly; the second reads them. A row is at least 4 bytes, which bounds
 * the columns by 8 times the bytes of the request. */
#include "workers/write_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/unpack.h"

static const uint32_t row_values[] = {[MMQ_ROWS_APPEND] = 4, [MMQ_ROWS_SCORE] = 3};

static mmq_err count_rows(mmq_rows_form form, mmq_reader reader, size_t *count, mmq_why *why)
{
    for (*count = 0; !mmq_reader_done(&reader); (*count)++) {
        mmq_reader ahead = reader;
        mmq_value array;
        if (mmq_unpack(&ahead, &array) != MMQ_OK || array.type != MMQ_ARRAY ||
            array.count != row_values[form] || mmq_unpack_skip(&reader) != MMQ_OK) {
            return mmq_fail(why, MMQ_EINVAL, "row %zu must be an array of %u values", *count + 1,
                            row_values[form]);
        }
    }
    return MMQ_OK;
}

/* Neither value nor score may be NaN or infinite; *out is NaN for a nil that is allowed. */
static bool read_number(mmq_reader *reader, bool optional, double *out)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK) {
        return false;
    }
    switch (value.type) {
    case MMQ_NIL:
        *out = NAN;
        return optional;
    case MMQ_INT:
        *out = (double)value.integer;
        return true;
    case MMQ_UINT:
        *out = (double)value.unsigned_integer;
        return true;
    case MMQ_FLOAT:
        *out = value.number;
        return isfinite(value.number);
    case MMQ_BOOL:
    case MMQ_STR:
    case MMQ_BIN:
    case MMQ_ARRAY:
    case MMQ_MAP:
    case MMQ_EXT:
        break;
    }
    return false;
}

/* An integer, or a float that is one: other languages know only floats. */
static bool read_integer(mmq_reader *reader, int64_t *out)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK) {
        return false;
    }
    if (value.type == MMQ_FLOAT && fabs(value.number) <= 0x1p53 &&
        value.number == trunc(value.number)) {
        *out = (int64_t)value.number;
        return true;
    }
    *out = value.integer;
    return value.type == MMQ_INT;
}

/* The name of the column that is wrong, NULL if none is. */
static const char *read_row(mmq_rows_form form, mmq_reader *reader, mmq_write_rows *out, size_t i)
{
    mmq_value array;
    bool append = form == MMQ_ROWS_APPEND;
    if (mmq_unpack(reader, &array) != MMQ_OK ||
        !read_integer(reader, append ? &out->timestamp[i] : &out->rowid[i])) {
        return append ? "the timestamp must be an integer" : "the rowid must be an integer";
    }
    if (append && !read_number(reader, false, &out->value[i])) {
        return "the value must be a finite number";
    }
    if (!read_number(reader, append, &out->anomaly_score[i]) ||
        !read_number(reader, append, &out->raw_score[i])) {
        return append ? "a score must be a finite number or nil"
                      : "a score must be a finite number";
    }
    return NULL;
}

static bool allocate_columns(mmq_rows_form form, size_t count, mmq_write_rows *out)
{
    bool append = form == MMQ_ROWS_APPEND;
    size_t some = count > 0 ? count : 1;
    int64_t *integers = calloc(some, sizeof *integers);
    *(append ? &out->timestamp : &out->rowid) = integers;
    out->value = append ? calloc(some, sizeof *out->value) : NULL;
    out->anomaly_score = calloc(some, sizeof *out->anomaly_score);
    out->raw_score = calloc(some, sizeof *out->raw_score);
    return integers != NULL && (!append || out->value != NULL) && out->anomaly_score != NULL &&
           out->raw_score != NULL;
}

mmq_err mmq_write_rows_read(mmq_rows_form form, const void *data, size_t size, mmq_write_rows *out,
                            mmq_why *why)
{
    memset(out, 0, sizeof *out);
    mmq_reader reader;
    mmq_reader_init(&reader, data, size);
    size_t count;
    mmq_err err = count_rows(form, reader, &count, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (!allocate_columns(form, count, out)) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for %zu rows", count);
    }
    out->count = count;
    for (size_t i = 0; i < count; i++) {
        const char *wrong = read_row(form, &reader, out, i);
        if (wrong != NULL) {
            return mmq_fail(why, MMQ_EINVAL, "row %zu: %s", i + 1, wrong);
        }
    }
    return MMQ_OK;
}

void mmq_write_rows_clear(mmq_write_rows *rows)
{
    free(rows->timestamp);
    free(rows->rowid);
    free(rows->value);
    free(rows->anomaly_score);
    free(rows->raw_score);
    memset(rows, 0, sizeof *rows);
}
