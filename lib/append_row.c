/* One encoder and one decoder for all who send or show such rows. */
#include "lib/append_row.h"

#include <math.h>
#include <stdbool.h>

#include "lib/put.h"
#include "metricmq/unpack.h"

enum { ROW_HEAD = 0x94, ROW_WIDTH = 4, NIL = 0xc0 };

static uint8_t *put_score(uint8_t *at, double score)
{
    if (isnan(score)) {
        *at = NIL;
        return at + 1;
    }
    return mmq_put_double(at, score);
}

uint8_t *mmq_append_row_put(uint8_t *at, const mmq_append_row *row)
{
    *at = ROW_HEAD;
    at = mmq_put_integer(at + 1, row->timestamp);
    at = mmq_put_double(at, row->value);
    return put_score(put_score(at, row->anomaly_score), row->raw_score);
}

/* NaN stands for nil, so it cannot come as a number. */
static bool take_number(mmq_reader *reader, bool may_be_nil, double *out)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK) {
        return false;
    }
    if (value.type == MMQ_FLOAT) {
        *out = value.number;
    } else if (value.type == MMQ_INT) {
        *out = (double)value.integer;
    } else {
        *out = NAN;
        return may_be_nil && value.type == MMQ_NIL;
    }
    return isfinite(*out);
}

mmq_err mmq_append_row_take(const void *payload, size_t size, size_t *offset, mmq_append_row *out)
{
    mmq_reader reader;
    mmq_value array, time;
    mmq_reader_init(&reader, (const uint8_t *)payload + *offset, size - *offset);
    if (mmq_unpack(&reader, &array) != MMQ_OK || array.type != MMQ_ARRAY ||
        array.count != ROW_WIDTH || mmq_unpack(&reader, &time) != MMQ_OK || time.type != MMQ_INT ||
        !take_number(&reader, false, &out->value) ||
        !take_number(&reader, true, &out->anomaly_score) ||
        !take_number(&reader, true, &out->raw_score)) {
        return MMQ_EPROTO;
    }
    out->timestamp = time.integer;
    *offset = size - mmq_reader_left(&reader);
    return MMQ_OK;
}
