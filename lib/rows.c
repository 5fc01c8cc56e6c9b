/* The row codec. Encoding is the hottest loop of the program: the bytes that all rows of a metric
 * share are made once and copied, everything else is stored in place without a call or an
 * allocation, and room is checked once a row against the longest row that the prefix allows. */
#include "metricmq/rows.h"

#include <endian.h>
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/unpack.h"

enum {
    FIXRAW_MAX = 31,      /* bytes of text whose head is one byte */
    ROW_TAIL_MAX = 4 * 9, /* timestamp, value, score, rowid at their longest */
    ROW_WIDTH = 5,
};

const uint8_t mmq_rows_names[] = "\x96"
                                 "\xa5names"
                                 "\xa3uid"
                                 "\xa9timestamp"
                                 "\xa5value"
                                 "\xad"
                                 "anomaly_score"
                                 "\xa5rowid";
const size_t mmq_rows_names_size = sizeof mmq_rows_names - 1;

void mmq_row_prefix_init(mmq_row_prefix *prefix, const char *uid)
{
    size_t size = strlen(uid);
    CHECK(size >= 1 && size <= MMQ_UID_MAX);
    uint8_t *at = prefix->data;
    *at++ = 0x90 | ROW_WIDTH;
    if (size <= FIXRAW_MAX) {
        *at++ = (uint8_t)(0xa0 | size);
    } else { /* raw16, never str8 */
        *at++ = 0xda;
        *at++ = 0;
        *at++ = (uint8_t)size;
    }
    memcpy(at, uid, size);
    prefix->size = (size_t)(at - prefix->data) + size;
}

static inline uint8_t *store_16(uint8_t *at, uint8_t head, uint16_t number)
{
    uint16_t big = htobe16(number);
    *at = head;
    memcpy(at + 1, &big, sizeof big);
    return at + 1 + sizeof big;
}

static inline uint8_t *store_32(uint8_t *at, uint8_t head, uint32_t number)
{
    uint32_t big = htobe32(number);
    *at = head;
    memcpy(at + 1, &big, sizeof big);
    return at + 1 + sizeof big;
}

static inline uint8_t *store_64(uint8_t *at, uint8_t head, uint64_t number)
{
    uint64_t big = htobe64(number);
    *at = head;
    memcpy(at + 1, &big, sizeof big);
    return at + 1 + sizeof big;
}

static inline uint8_t *store_negative(uint8_t *at, int64_t value)
{
    if (value >= -32) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value >= INT8_MIN) {
        at[0] = 0xd0;
        at[1] = (uint8_t)value;
        return at + 2;
    }
    if (value >= INT16_MIN) {
        return store_16(at, 0xd1, (uint16_t)value);
    }
    if (value >= INT32_MIN) {
        return store_32(at, 0xd2, (uint32_t)value);
    }
    return store_64(at, 0xd3, (uint64_t)value);
}

static inline uint8_t *store_integer(uint8_t *at, int64_t value)
{
    if (value < 0) {
        return store_negative(at, value);
    }
    if (value < 128) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value <= UINT8_MAX) {
        at[0] = 0xcc;
        at[1] = (uint8_t)value;
        return at + 2;
    }
    if (value <= UINT16_MAX) {
        return store_16(at, 0xcd, (uint16_t)value);
    }
    if (value <= UINT32_MAX) {
        return store_32(at, 0xce, (uint32_t)value);
    }
    return store_64(at, 0xcf, (uint64_t)value);
}

static inline uint8_t *store_double(uint8_t *at, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return store_64(at, 0xcb, bits);
}

static inline uint8_t *store_score(uint8_t *at, double score)
{
    if (isnan(score)) {
        *at = 0xc0;
        return at + 1;
    }
    return store_double(at, score);
}

size_t mmq_rows_encode(const mmq_row_prefix *prefix, const mmq_columns *columns, size_t from,
                       uint8_t *out, size_t capacity, size_t *next)
{
    const size_t longest = prefix->size + ROW_TAIL_MAX;
    uint8_t *at = out;
    size_t i = from;
    for (; i < columns->count && capacity - (size_t)(at - out) >= longest; i++) {
        memcpy(at, prefix->data, prefix->size);
        at = store_integer(at + prefix->size, columns->timestamp[i]);
        at = store_double(at, columns->value[i]);
        at = store_score(at, columns->anomaly_score[i]);
        at = store_integer(at, columns->rowid[i]);
    }
    *next = i;
    return (size_t)(at - out);
}

/* Compared by value, not by byte: other writers may use longer forms. */
static mmq_err decode_names(mmq_reader *reader)
{
    static const char *const names[] = {"uid", "timestamp", "value", "anomaly_score", "rowid"};
    mmq_value value;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (mmq_unpack(reader, &value) != MMQ_OK || !mmq_value_is(&value, names[i])) {
            return MMQ_EPROTO;
        }
    }
    return MMQ_EAGAIN;
}

static bool decode_integer(mmq_reader *reader, int64_t *out)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK || value.type != MMQ_INT) {
        return false;
    }
    *out = value.integer;
    return true;
}

/* NaN stands for nil, so it cannot come as a number; JSON has no form for infinity. */
static bool decode_number(mmq_reader *reader, bool may_be_nil, double *out)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK) {
        return false;
    }
    if (value.type == MMQ_FLOAT) {
        *out = value.number;
    } else if (value.type == MMQ_INT) {
        *out = (double)value.integer;
    } else if (value.type == MMQ_UINT) {
        *out = (double)value.unsigned_integer;
    } else {
        *out = NAN;
        return may_be_nil && value.type == MMQ_NIL;
    }
    return isfinite(*out);
}

static mmq_err decode_row(mmq_reader *reader, const mmq_value *uid, mmq_row *out)
{
    if (uid->type != MMQ_STR || uid->text.size == 0 || uid->text.size > MMQ_UID_MAX) {
        return MMQ_EPROTO;
    }
    out->uid = uid->text.data;
    out->uid_size = uid->text.size;
    return decode_integer(reader, &out->timestamp) && decode_number(reader, false, &out->value) &&
                   decode_number(reader, true, &out->anomaly_score) &&
                   decode_integer(reader, &out->rowid)
               ? MMQ_OK
               : MMQ_EPROTO;
}

mmq_err mmq_rows_decode(const void *payload, size_t size, size_t *offset, mmq_row *out)
{
    CHECK(*offset <= size);
    if (*offset == size) {
        return MMQ_EEND;
    }
    mmq_reader reader;
    mmq_reader_init(&reader, (const uint8_t *)payload + *offset, size - *offset);
    mmq_value array, head;
    if (mmq_unpack(&reader, &array) != MMQ_OK || array.type != MMQ_ARRAY || array.count == 0 ||
        mmq_unpack(&reader, &head) != MMQ_OK) {
        return MMQ_EPROTO;
    }
    mmq_err err = MMQ_EPROTO;
    if (array.count == ROW_WIDTH) {
        err = decode_row(&reader, &head, out);
    } else if (array.count == ROW_WIDTH + 1 && mmq_value_is(&head, "names")) {
        err = decode_names(&reader);
    }
    if (err != MMQ_EPROTO) {
        *offset = size - (size_t)(reader.end - reader.at);
    }
    return err;
}
