/* Rows are read twice at most. The quick way takes what writers send, integers, float64 and nil, in
 * one pass and looks at nothing twice; whatever it does not take, good or bad, is left to the
 * careful way, which alone knows all forms and says what is wrong with which row.
 *
 * A row is at least 4 bytes, which bounds the columns by 8 times the bytes of the request. */
#include "workers/write_rows.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metricmq/unpack.h"

enum {
    ROW_LEAST = 4,           /* bytes of a row: the score form, all small integers */
    ROW_MOST = 1 + 9 + 3 * 9 /* of one that is read the quick way */
};

static const uint32_t row_values[] = {[MMQ_ROWS_APPEND] = 4, [MMQ_ROWS_SCORE] = 3};

/* ---- the careful way -------------------------------------------------------------------- */

/* Counts the rows and finds those that are no arrays. */
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
    size_t size = (count > 0 ? count : 1) * sizeof(double);
    int64_t *integers = malloc(size);
    *(append ? &out->timestamp : &out->rowid) = integers;
    out->value = append ? malloc(size) : NULL;
    out->anomaly_score = malloc(size);
    out->raw_score = malloc(size);
    return integers != NULL && (!append || out->value != NULL) && out->anomaly_score != NULL &&
           out->raw_score != NULL;
}

/* ---- the quick way ---------------------------------------------------------------------- */

/* Bytes being read; ROW_MOST of them may be. Failure is sticky: its values mean nothing. */
typedef struct quick {
    const uint8_t *at;
    bool failed;
} quick;

/* A big-endian number of 1, 2, 4 or 8 bytes behind a head, as the top bytes of 64 bits. */
static uint64_t take_top(quick *from, unsigned size)
{
    uint64_t number;
    memcpy(&number, from->at + 1, sizeof number);
    from->at += 1 + size;
    return be64toh(number);
}

/* Heads 0xcc to 0xcf, 0xd0 to 0xd3 and those that are the number. */
static int64_t take_integer(quick *from)
{
    const uint8_t head = *from->at;
    if (head < 0x80 || head >= 0xe0) {
        from->at++;
        return (int8_t)head;
    }
    if (head < 0xcc || head > 0xd3) {
        from->failed = true;
        return 0;
    }
    const unsigned size = 1U << (head & 3), unused = 64 - 8 * size;
    const uint64_t top = take_top(from, size);
    if (head >= 0xd0) {
        return (int64_t)top >> unused; /* gcc and clang shift in the sign */
    }
    from->failed |= top >> unused > INT64_MAX;
    return (int64_t)(top >> unused);
}

static double take_number(quick *from)
{
    if (*from->at != 0xcb) {
        return (double)take_integer(from);
    }
    double number;
    const uint64_t bits = take_top(from, sizeof bits), exponent = UINT64_C(0x7ff) << 52;
    from->failed |= (bits & exponent) == exponent; /* NaN or infinite */
    memcpy(&number, &bits, sizeof number);
    return number;
}

static double take_optional(quick *from)
{
    if (*from->at != 0xc0) {
        return take_number(from);
    }
    from->at++;
    return NAN;
}

static void take_append_row(quick *from, mmq_write_rows *out, size_t i)
{
    from->failed |= *from->at++ != 0x94;
    out->timestamp[i] = take_integer(from);
    out->value[i] = take_number(from);
    out->anomaly_score[i] = take_optional(from);
    out->raw_score[i] = take_optional(from);
}

static void take_score_row(quick *from, mmq_write_rows *out, size_t i)
{
    from->failed |= *from->at++ != 0x93;
    out->rowid[i] = take_integer(from);
    out->anomaly_score[i] = take_number(from);
    out->raw_score[i] = take_number(from);
}

/* Rows as long as the bytes of a whole one are there; returns where the next one begins. */
static const uint8_t *take_rows(mmq_rows_form form, quick *from, const uint8_t *end,
                                mmq_write_rows *out)
{
    if (form == MMQ_ROWS_APPEND) {
        for (; end - from->at >= ROW_MOST && !from->failed; out->count++) {
            take_append_row(from, out, out->count);
        }
    } else {
        for (; end - from->at >= ROW_MOST && !from->failed; out->count++) {
            take_score_row(from, out, out->count);
        }
    }
    return from->at;
}

/* The rows in the last bytes, which may be too few: they are read from a copy with some to spare.
 */
static bool take_last_rows(mmq_rows_form form, const uint8_t *at, size_t left, mmq_write_rows *out)
{
    uint8_t copy[2 * ROW_MOST] = {0};
    quick from = {copy, false};
    memcpy(copy, at, left);
    for (; from.at < copy + left && !from.failed; out->count++) {
        if (form == MMQ_ROWS_APPEND) {
            take_append_row(&from, out, out->count);
        } else {
            take_score_row(&from, out, out->count);
        }
    }
    return from.at == copy + left && !from.failed;
}

/* False: *out holds nothing of worth. The columns have room for as many rows as there can be. */
static bool read_quick(mmq_rows_form form, const uint8_t *data, size_t size, mmq_write_rows *out)
{
    quick from = {data, false};
    out->count = 0;
    const uint8_t *at = take_rows(form, &from, data + size, out);
    return !from.failed && take_last_rows(form, at, (size_t)(data + size - at), out);
}

/* ---- both ------------------------------------------------------------------------------- */

static mmq_err read_carefully(mmq_rows_form form, mmq_reader reader, mmq_write_rows *out,
                              mmq_why *why)
{
    mmq_err err = count_rows(form, reader, &out->count, why);
    for (size_t i = 0; err == MMQ_OK && i < out->count; i++) {
        const char *wrong = read_row(form, &reader, out, i);
        if (wrong != NULL) {
            err = mmq_fail(why, MMQ_EINVAL, "row %zu: %s", i + 1, wrong);
        }
    }
    return err;
}

mmq_err mmq_write_rows_read(mmq_rows_form form, const void *data, size_t size, mmq_write_rows *out,
                            mmq_why *why)
{
    memset(out, 0, sizeof *out);
    mmq_reader reader;
    mmq_reader_init(&reader, data, size);
    const size_t most = size / ROW_LEAST + 1;
    if (!allocate_columns(form, most, out)) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for %zu rows", most);
    }
    return size > 0 && read_quick(form, data, size, out) ? MMQ_OK
                                                         : read_carefully(form, reader, out, why);
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
