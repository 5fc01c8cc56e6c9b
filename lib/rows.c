/* The row codec. Encoding is the hottest loop of the program: the bytes that all rows of a metric
 * share are made once and copied in whole pieces, everything else is stored in place without a
 * call, an allocation or a branch that data could mislead. Stores may reach beyond what they write:
 * room for the longest row that the prefix allows is checked first, and no store passes that.
 *
 * Nearly all rows are plain: a timestamp of four bytes and a rowid of one to four. They are read
 * in a straight line too; whatever else there may be is left to the bounded reader (lib/unpack.h).
 */
#include "lib/columns.h"

#include <endian.h>
#include <math.h>
#include <string.h>

#include "lib/bits.h"
#include "lib/check.h"
#include "lib/put.h"
#include "metricmq/unpack.h"

enum { /* heads of msgpack values */
       FIXARRAY = 0x90,
       FIXRAW = 0xa0,
       NIL = 0xc0,
       FLOAT64 = 0xcb,
       UINT8 = 0xcc,
       UINT16 = 0xcd,
       UINT32 = 0xce,
       RAW16 = 0xda,
};

enum {
    FIXRAW_MAX = 31, /* bytes of text whose head is one byte */
    ROW_WIDTH = 5,
    PIECE = 16, /* bytes of a prefix that are copied at once */
    /* of a plain row, from where its prefix ends: */
    VALUE_HEAD = 5,
    VALUE = 6,
    SCORE_HEAD = 14,
    SCORE = 15,
    ROWID_AFTER_NIL = 15,
    ROWID = 23,
};

#define ALWAYS_INLINE    __attribute__((always_inline)) static inline
#define FIRST_BYTE(byte) ((uint64_t)(byte) << 56) /* of a word stored highest byte first */
#define INFINITY_BITS    UINT64_C(0x7ff0000000000000)

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
    uint8_t *at = memset(prefix->data, 0, sizeof prefix->data);
    *at++ = FIXARRAY | ROW_WIDTH;
    if (size <= FIXRAW_MAX) {
        *at++ = (uint8_t)(FIXRAW | size);
    } else { /* never str8 */
        *at++ = RAW16;
        *at++ = 0;
        *at++ = (uint8_t)size;
    }
    memcpy(at, uid, size);
    at[size] = UINT32; /* what follows in a plain row is copied with it */
    at[size + VALUE_HEAD] = FLOAT64;
    prefix->size = (size_t)(at - prefix->data) + size;
}

/* The forms of unsigned numbers of 7, 8, 16 and 32 bits, as words that are stored highest byte
 * first: head + number * scale, of which the first `size` bytes count. */
static const struct form {
    uint32_t least, most;
    uint64_t head;
    uint64_t scale;
    size_t size;
} forms[] = {
    {0, INT8_MAX, 0, UINT64_C(1) << 56, 1},
    {INT8_MAX + 1, UINT8_MAX, FIRST_BYTE(UINT8), UINT64_C(1) << 48, 2},
    {UINT8_MAX + 1, UINT16_MAX, FIRST_BYTE(UINT16), UINT64_C(1) << 40, 3},
    {UINT16_MAX + 1, UINT32_MAX, FIRST_BYTE(UINT32), UINT64_C(1) << 24, 5},
};

static inline const struct form *find_form(uint32_t number)
{
    return &forms[(number > INT8_MAX) + (number > UINT8_MAX) + (number > UINT16_MAX)];
}

static inline bool has_form(const struct form *form, int64_t number)
{
    return (uint64_t)number - form->least <= form->most - form->least;
}

static inline void store_word(uint8_t *at, uint64_t word)
{
    const uint64_t big = htobe64(word);
    memcpy(at, &big, sizeof big);
}

/* With the heads behind it, in pieces that reach beyond by less than the tail may take. */
static inline void store_prefix(uint8_t *at, const mmq_row_prefix *prefix)
{
    memcpy(at, prefix->data, 2 * PIECE);
    for (size_t done = 2 * PIECE; done < prefix->size + VALUE; done += PIECE) {
        memcpy(at + done, prefix->data + done, PIECE);
    }
}

/* In words that overlap. The rowid is of the form. */
ALWAYS_INLINE uint8_t *store_plain_row(uint8_t *at, const mmq_row_prefix *prefix,
                                       const mmq_columns *columns, size_t i,
                                       const struct form *form)
{
    const uint32_t timestamp = htobe32((uint32_t)columns->timestamp[i]);
    const uint64_t score = mmq_bits_of(columns->anomaly_score[i]);
    const bool nil = score << 1 > INFINITY_BITS << 1;
    store_prefix(at, prefix);
    at += prefix->size;
    memcpy(at + 1, &timestamp, sizeof timestamp);
    store_word(at + VALUE, mmq_bits_of(columns->value[i]));
    at[SCORE_HEAD] = nil ? NIL : FLOAT64;
    store_word(at + SCORE, score);
    at += nil ? ROWID_AFTER_NIL : ROWID;
    store_word(at, form->head + (uint64_t)columns->rowid[i] * form->scale);
    return at + form->size;
}

/* The timestamp takes four bytes (1970-01-01 18:12:16 to 2106), the rowid four at most. */
static inline bool is_plain(const mmq_columns *columns, size_t i)
{
    const int64_t timestamp = columns->timestamp[i], rowid = columns->rowid[i];
    return timestamp > UINT16_MAX && timestamp <= UINT32_MAX && rowid >= 0 && rowid <= UINT32_MAX;
}

static uint8_t *store_any_row(uint8_t *at, const mmq_row_prefix *prefix, const mmq_columns *columns,
                              size_t i)
{
    memcpy(at, prefix->data, prefix->size);
    at = mmq_put_integer(at + prefix->size, columns->timestamp[i]);
    at = mmq_put_double(at, columns->value[i]);
    if (isnan(columns->anomaly_score[i])) {
        *at++ = NIL;
    } else {
        at = mmq_put_double(at, columns->anomaly_score[i]);
    }
    return mmq_put_integer(at, columns->rowid[i]);
}

/* Stores rows from *i on, before `end`, one at least, as long as they are plain and their rowids of
 * one form. */
static uint8_t *store_plain_rows(uint8_t *at, const mmq_row_prefix *prefix,
                                 const mmq_columns *columns, size_t *i, size_t end)
{
    size_t row = *i;
    const mmq_row_prefix own = *prefix; /* which no store through `at` can change */
    const struct form form = *find_form((uint32_t)columns->rowid[row]);
    do {
        at = store_plain_row(at, &own, columns, row++, &form);
    } while (row < end && is_plain(columns, row) && has_form(&form, columns->rowid[row]));
    *i = row;
    return at;
}

static uint8_t *store_other_rows(uint8_t *at, const mmq_row_prefix *prefix,
                                 const mmq_columns *columns, size_t *i, size_t end)
{
    do {
        at = store_any_row(at, prefix, columns, (*i)++);
    } while (*i < end && !is_plain(columns, *i));
    return at;
}

size_t mmq_rows_encode(const mmq_row_prefix *prefix, const mmq_columns *columns, size_t from,
                       uint8_t *out, size_t capacity, size_t *next)
{
    const size_t longest = prefix->size + MMQ_ROW_TAIL_MAX;
    uint8_t *at = out;
    size_t i = from;
    size_t fit;
    while (i < columns->count && (fit = (capacity - (size_t)(at - out)) / longest) > 0) {
        const size_t end = fit < columns->count - i ? i + fit : columns->count;
        at = is_plain(columns, i) ? store_plain_rows(at, prefix, columns, &i, end)
                                  : store_other_rows(at, prefix, columns, &i, end);
    }
    *next = i;
    return (size_t)(at - out);
}

size_t mmq_rows_encode_mixed(const mmq_row_prefix *const *prefixes, const mmq_columns *columns,
                             size_t from, uint8_t *out, size_t capacity, size_t *next)
{
    const size_t count = columns->count;
    const uint8_t *const end = out + capacity;
    uint8_t *at = out;
    size_t i = from;
    for (; i < count && (size_t)(end - at) >= prefixes[i]->size + MMQ_ROW_TAIL_MAX; i++) {
        if (is_plain(columns, i)) {
            const struct form *form = find_form((uint32_t)columns->rowid[i]);
            at = store_plain_row(at, prefixes[i], columns, i, form);
        } else {
            at = store_any_row(at, prefixes[i], columns, i);
        }
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

static inline uint64_t load_word(const uint8_t *at)
{
    uint64_t big;
    memcpy(&big, at, sizeof big);
    return be64toh(big);
}

/* The double of these bits, if it is finite. */
static inline bool take_finite(uint64_t bits, double *out)
{
    memcpy(out, &bits, sizeof bits);
    return (bits & INFINITY_BITS) != INFINITY_BITS;
}

/* Up to four bytes in their shortest form; returns its size, 0 if it is something else. */
static inline size_t take_unsigned(const uint8_t *at, int64_t *out)
{
    const uint64_t word = load_word(at);
    const uint8_t head = *at;
    if (head < 0x80) {
        *out = head;
        return 1;
    }
    if (head < UINT8 || head > UINT32) {
        return 0;
    }
    const unsigned bytes = 1U << (head - UINT8);
    *out = (int64_t)(word << 8 >> (64 - 8 * bytes));
    return 1 + bytes;
}

/* Returns where the uid begins, NULL if its form is another. */
static inline const uint8_t *take_uid_head(const uint8_t *at, size_t *uid_size)
{
    if ((at[1] & ~FIXRAW_MAX) == FIXRAW) {
        *uid_size = at[1] & FIXRAW_MAX;
        return at + 2;
    }
    *uid_size = at[3];
    return at[1] == RAW16 && at[2] == 0 ? at + 4 : NULL;
}

/* A row as store_plain_row writes it, of which MMQ_ROW_MAX bytes can be read. Returns where it
 * ends, or NULL: then decode_any has to say what it is. */
static inline const uint8_t *decode_plain(const uint8_t *at, mmq_row *out)
{
    if (*at != (FIXARRAY | ROW_WIDTH) || (at = take_uid_head(at, &out->uid_size)) == NULL ||
        out->uid_size < 1 || out->uid_size > MMQ_UID_MAX) {
        return NULL;
    }
    out->uid = (const char *)at;
    at += out->uid_size;
    const bool nil = at[SCORE_HEAD] == NIL;
    if (at[0] != UINT32 || at[VALUE_HEAD] != FLOAT64 || (at[SCORE_HEAD] != FLOAT64 && !nil) ||
        !take_finite(load_word(at + VALUE), &out->value)) {
        return NULL;
    }
    out->timestamp = (int64_t)(load_word(at) << 8 >> 32);
    if (nil) {
        out->anomaly_score = NAN;
    } else if (!take_finite(load_word(at + SCORE), &out->anomaly_score)) {
        return NULL;
    }
    at += nil ? ROWID_AFTER_NIL : ROWID;
    const size_t size = take_unsigned(at, &out->rowid);
    return size > 0 ? at + size : NULL;
}

/* Whatever msgpack there is, in bounds. */
static mmq_err decode_any(const uint8_t *payload, size_t size, size_t *offset, mmq_row *out)
{
    mmq_reader reader;
    mmq_reader_init(&reader, payload + *offset, size - *offset);
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

mmq_err mmq_rows_decode(const void *payload, size_t size, size_t *offset, mmq_row *out)
{
    CHECK(*offset <= size);
    if (*offset == size) {
        return MMQ_EEND;
    }
    if (size - *offset >= MMQ_ROW_MAX) {
        const uint8_t *start = payload, *end = decode_plain(start + *offset, out);
        if (end != NULL) {
            *offset = (size_t)(end - start);
            return MMQ_OK;
        }
    }
    return decode_any(payload, size, offset, out);
}
