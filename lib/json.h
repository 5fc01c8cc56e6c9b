/* JSON in, msgpack out, and back. Input is checked whole before cJSON sees it, since cJSON takes
 * trailing bytes, "01", repeated keys, raw control characters, bad UTF-8 and cuts at \u0000. */
#ifndef MMQ_JSON_H
#define MMQ_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "metricmq/error.h"

enum { MMQ_JSON_DEPTH = 32 };

/* RFC 8259, UTF-8 without BOM; numbers must be finite doubles of at most 63 bytes; no NUL in
 * strings, no lone surrogates, no repeated keys, at most 2^20 keys in the objects that are open
 * at any one place, at most MMQ_JSON_DEPTH deep. why says what and at which byte. */
mmq_err mmq_json_check(const char *text, size_t size, mmq_why *why) MMQ_MUST_USE;
/* Checks and appends the value as msgpack. Whole numbers below 2^53 become integers. */
mmq_err mmq_json_to_msgpack(const char *text, size_t size, mmq_buffer *out,
                            mmq_why *why) MMQ_MUST_USE;
/* Appends one msgpack value (all bytes of data) as JSON without spaces. Strings must be UTF-8, map
 * keys strings, floats finite, no bin, no ext, MMQ_JSON_DEPTH deep: else MMQ_EINVAL. */
mmq_err mmq_json_from_msgpack(const void *data, size_t size, mmq_buffer *out,
                              mmq_why *why) MMQ_MUST_USE;
/* Appends text as a JSON string with its quotes. text must be valid UTF-8. */
void mmq_json_string(mmq_buffer *out, const char *text, size_t size);

#endif
