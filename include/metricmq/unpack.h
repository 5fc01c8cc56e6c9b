/* msgpack, read: a bounded reader over borrowed bytes, without allocation and recursion.
 *
 * Counts are checked against the bytes that are left before anyone loops over them, so that bytes
 * of whatever peer can be read. Pure functions: any thread. A reader is a value and may be copied
 * to look ahead. */
#ifndef METRICMQ_UNPACK_H
#define METRICMQ_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MMQ_UNPACK_DEPTH = 32 };

typedef struct mmq_reader {
    const uint8_t *at;
    const uint8_t *end;
} mmq_reader;

typedef enum mmq_type {
    MMQ_NIL,
    MMQ_BOOL,
    MMQ_INT,   /* fits int64 */
    MMQ_UINT,  /* above INT64_MAX */
    MMQ_FLOAT, /* float32 or float64 */
    MMQ_STR,   /* str or pre-2013 raw; not checked to be UTF-8: mmq_utf8_valid */
    MMQ_BIN,
    MMQ_ARRAY, /* count values follow */
    MMQ_MAP,   /* 2 * count values follow */
    MMQ_EXT,
} mmq_type;

typedef struct mmq_value {
    mmq_type type;
    union {
        bool boolean;
        int64_t integer;
        uint64_t unsigned_integer;
        double number;
        struct {
            const char *data;
            size_t size;
        } text; /* STR, BIN, EXT: borrowed */
        uint32_t count;
    };
} mmq_value;

void mmq_reader_init(mmq_reader *reader, const void *data, size_t size);
/* True if all has been read. */
bool mmq_reader_done(const mmq_reader *reader);
/* Bytes not read yet. */
size_t mmq_reader_left(const mmq_reader *reader);
/* Reads a scalar or text whole; of an array or map only the head. MMQ_EEND at the end of the data,
 * MMQ_EPROTO if it is cut off, claims more values than bytes left, or is no msgpack. */
mmq_err mmq_unpack(mmq_reader *reader, mmq_value *out) MMQ_MUST_USE;
/* Skips one value with all that it holds; MMQ_EPROTO also beyond MMQ_UNPACK_DEPTH. */
mmq_err mmq_unpack_skip(mmq_reader *reader) MMQ_MUST_USE;
/* Reads one value with all that it holds: *head is its beginning, as mmq_unpack gives it, *whole a
 * reader of that value alone. On failure the reader stays where it was. */
mmq_err mmq_unpack_whole(mmq_reader *reader, mmq_value *head, mmq_reader *whole) MMQ_MUST_USE;
/* The value under `key` of the map that the reader stands at, as mmq_unpack_whole gives it. False
 * if there is no map, or no such key before its end or its first fault. */
bool mmq_map_find(mmq_reader map, const char *key, mmq_value *head, mmq_reader *whole);
/* True if value is a STR equal to text. */
bool mmq_value_is(const mmq_value *value, const char *text);

/* True if the bytes are UTF-8: of a text that goes on to others, msgpack does not promise it. */
bool mmq_utf8_valid(const char *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif
