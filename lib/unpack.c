/* One value at a time from borrowed bytes. Each head is checked against what is left before it is
 * believed, so nothing loops, jumps or allocates by a number that a peer made up. On failure the
 * reader stays where it was. */
#include "metricmq/unpack.h"

#include <endian.h>
#include <string.h>

void mmq_reader_init(mmq_reader *reader, const void *data, size_t size)
{
    reader->at = data;
    reader->end = size > 0 ? reader->at + size : reader->at;
}

bool mmq_reader_done(const mmq_reader *reader)
{
    return reader->at == reader->end;
}

size_t mmq_reader_left(const mmq_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* One load each: rows are mostly numbers, and a loop over their bytes would be most of the work. */
static uint64_t load_number(const uint8_t *at, size_t size)
{
    union {
        uint16_t two;
        uint32_t four;
        uint64_t eight;
    } bytes;
    switch (size) {
    case 1:
        return *at;
    case 2:
        memcpy(&bytes.two, at, sizeof bytes.two);
        return be16toh(bytes.two);
    case 4:
        memcpy(&bytes.four, at, sizeof bytes.four);
        return be32toh(bytes.four);
    default:
        memcpy(&bytes.eight, at, sizeof bytes.eight);
        return be64toh(bytes.eight);
    }
}

/* A big-endian number of 1, 2, 4 or 8 bytes. */
static bool read_number(mmq_reader *reader, size_t size, uint64_t *out)
{
    if (mmq_reader_left(reader) < size) {
        return false;
    }
    *out = load_number(reader->at, size);
    reader->at += size;
    return true;
}

static bool read_unsigned(mmq_reader *reader, size_t size, mmq_value *out)
{
    uint64_t number;
    if (!read_number(reader, size, &number)) {
        return false;
    }
    if (number > INT64_MAX) {
        *out = (mmq_value){.type = MMQ_UINT, .unsigned_integer = number};
    } else {
        *out = (mmq_value){.type = MMQ_INT, .integer = (int64_t)number};
    }
    return true;
}

static bool read_signed(mmq_reader *reader, size_t size, mmq_value *out)
{
    uint64_t number;
    if (!read_number(reader, size, &number)) {
        return false;
    }
    uint64_t sign = UINT64_C(1) << (8 * size - 1);
    *out = (mmq_value){.type = MMQ_INT, .integer = (int64_t)((number ^ sign) - sign)};
    return true;
}

static bool read_float(mmq_reader *reader, size_t size, mmq_value *out)
{
    uint64_t bits;
    if (!read_number(reader, size, &bits)) {
        return false;
    }
    *out = (mmq_value){.type = MMQ_FLOAT};
    if (size == sizeof(float)) {
        uint32_t half = (uint32_t)bits;
        float number;
        memcpy(&number, &half, sizeof number);
        out->number = (double)number;
    } else {
        memcpy(&out->number, &bits, sizeof out->number);
    }
    return true;
}

static bool take_text(mmq_reader *reader, mmq_type type, uint64_t size, mmq_value *out)
{
    if (size > mmq_reader_left(reader)) {
        return false;
    }
    *out = (mmq_value){.type = type, .text = {(const char *)reader->at, (size_t)size}};
    reader->at += size;
    return true;
}

static bool read_text(mmq_reader *reader, mmq_type type, size_t size_size, mmq_value *out)
{
    uint64_t size;
    return read_number(reader, size_size, &size) && take_text(reader, type, size, out);
}

/* The byte that tells an ext's type is checked to be there and left out. */
static bool take_ext(mmq_reader *reader, uint64_t size, mmq_value *out)
{
    if (!take_text(reader, MMQ_EXT, size + 1, out)) {
        return false;
    }
    out->text.data++;
    out->text.size--;
    return true;
}

static bool read_ext(mmq_reader *reader, size_t size_size, mmq_value *out)
{
    uint64_t size;
    return read_number(reader, size_size, &size) && take_ext(reader, size, out);
}

/* Each value takes a byte at least. */
static bool take_count(const mmq_reader *reader, mmq_type type, uint64_t count, mmq_value *out)
{
    *out = (mmq_value){.type = type, .count = (uint32_t)count};
    return count * (type == MMQ_MAP ? 2 : 1) <= mmq_reader_left(reader);
}

static bool read_count(mmq_reader *reader, mmq_type type, size_t count_size, mmq_value *out)
{
    uint64_t count;
    return read_number(reader, count_size, &count) && take_count(reader, type, count, out);
}

static bool read_constant(mmq_type type, bool boolean, mmq_value *out)
{
    *out = (mmq_value){.type = type, .boolean = boolean};
    return true;
}

/* Heads 0xc0 to 0xdf: the size of what follows is in the next bytes or implied. */
static bool read_long_form(mmq_reader *reader, uint8_t head, mmq_value *out)
{
    switch (head) {
    case 0xc0:
        return read_constant(MMQ_NIL, false, out);
    case 0xc2:
    case 0xc3:
        return read_constant(MMQ_BOOL, head == 0xc3, out);
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return read_text(reader, MMQ_BIN, (size_t)1 << (head - 0xc4), out);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return read_ext(reader, (size_t)1 << (head - 0xc7), out);
    case 0xca:
    case 0xcb:
        return read_float(reader, head == 0xca ? 4 : 8, out);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_unsigned(reader, (size_t)1 << (head - 0xcc), out);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_signed(reader, (size_t)1 << (head - 0xd0), out);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_ext(reader, UINT64_C(1) << (head - 0xd4), out);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return read_text(reader, MMQ_STR, (size_t)1 << (head - 0xd9), out);
    case 0xdc:
    case 0xdd:
        return read_count(reader, MMQ_ARRAY, head == 0xdc ? 2 : 4, out);
    case 0xde:
    case 0xdf:
        return read_count(reader, MMQ_MAP, head == 0xde ? 2 : 4, out);
    default: /* 0xc1 means nothing */
        return false;
    }
}

static bool read_value(mmq_reader *reader, mmq_value *out)
{
    uint8_t head = *reader->at++;
    if (head < 0x80 || head >= 0xe0) {
        *out = (mmq_value){.type = MMQ_INT, .integer = (int8_t)head};
        return true;
    }
    if (head < 0x90) {
        return take_count(reader, MMQ_MAP, head & 0x0f, out);
    }
    if (head < 0xa0) {
        return take_count(reader, MMQ_ARRAY, head & 0x0f, out);
    }
    if (head < 0xc0) {
        return take_text(reader, MMQ_STR, head & 0x1f, out);
    }
    return read_long_form(reader, head, out);
}

mmq_err mmq_unpack(mmq_reader *reader, mmq_value *out)
{
    if (mmq_reader_done(reader)) {
        return MMQ_EEND;
    }
    mmq_reader ahead = *reader;
    if (!read_value(&ahead, out)) {
        return MMQ_EPROTO;
    }
    *reader = ahead;
    return MMQ_OK;
}

static uint64_t count_children(const mmq_value *value)
{
    bool map = value->type == MMQ_MAP;
    return map || value->type == MMQ_ARRAY ? (uint64_t)value->count * (map ? 2 : 1) : 0;
}

mmq_err mmq_unpack_skip(mmq_reader *reader)
{
    uint64_t left[MMQ_UNPACK_DEPTH + 1] = {1}; /* values still to skip, a level each */
    size_t depth = 0;
    mmq_reader ahead = *reader;
    if (mmq_reader_done(reader)) {
        return MMQ_EEND;
    }
    while (left[0] > 0 || depth > 0) {
        if (left[depth] == 0) {
            depth--;
            continue;
        }
        mmq_value value;
        if (mmq_unpack(&ahead, &value) != MMQ_OK) {
            return MMQ_EPROTO;
        }
        left[depth]--;
        uint64_t children = count_children(&value);
        if (children > 0 && ++depth > MMQ_UNPACK_DEPTH) {
            return MMQ_EPROTO;
        }
        if (children > 0) {
            left[depth] = children;
        }
    }
    *reader = ahead;
    return MMQ_OK;
}

mmq_err mmq_unpack_whole(mmq_reader *reader, mmq_value *head, mmq_reader *whole)
{
    mmq_reader ahead = *reader;
    *whole = *reader;
    mmq_err err = mmq_unpack(&ahead, head);
    if (err == MMQ_OK) {
        err = mmq_unpack_skip(reader);
        whole->end = reader->at;
    }
    return err;
}

bool mmq_map_find(mmq_reader map, const char *key, mmq_value *head, mmq_reader *whole)
{
    mmq_value object, name;
    if (mmq_unpack(&map, &object) != MMQ_OK || object.type != MMQ_MAP) {
        return false;
    }
    for (uint32_t left = object.count; left > 0; left--) {
        if (mmq_unpack(&map, &name) != MMQ_OK || name.type != MMQ_STR ||
            mmq_unpack_whole(&map, head, whole) != MMQ_OK) {
            return false;
        }
        if (mmq_value_is(&name, key)) {
            return true;
        }
    }
    return false;
}

bool mmq_value_is(const mmq_value *value, const char *text)
{
    return value->type == MMQ_STR && value->text.size == strlen(text) &&
           memcmp(value->text.data, text, value->text.size) == 0;
}

/* Bytes of the character that starts here; 0 if it is none: overlong forms, surrogates and what is
 * beyond U+10FFFF are excluded by the range of the second byte. */
static size_t measure_character(const unsigned char *at, size_t left)
{
    unsigned char head = at[0];
    if (head < 0x80) {
        return 1;
    }
    size_t size = head < 0xc2 ? 0 : head < 0xe0 ? 2 : head < 0xf0 ? 3 : head < 0xf5 ? 4 : 0;
    if (size == 0 || left < size) {
        return 0;
    }
    unsigned char least = head == 0xe0 ? 0xa0 : head == 0xf0 ? 0x90 : 0x80;
    unsigned char most = head == 0xed ? 0x9f : head == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < least || at[1] > most) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

bool mmq_utf8_valid(const char *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)data;
    for (size_t i = 0; i < size;) {
        size_t step = measure_character(bytes + i, size - i);
        if (step == 0) {
            return false;
        }
        i += step;
    }
    return true;
}
