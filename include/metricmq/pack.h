/* msgpack, written: what requests and payloads are made of.
 *
 * In the forms that readers of the pre-2013 specification know too: strings are raw, never str8;
 * integers take their shortest form. Writers return nothing: a buffer that failed (no memory, over
 * its limit) says so in `failed`, and whoever sends it finds out. */
#ifndef METRICMQ_PACK_H
#define METRICMQ_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

void mmq_pack_nil(mmq_buffer *out);
void mmq_pack_bool(mmq_buffer *out, bool value);
void mmq_pack_int(mmq_buffer *out, int64_t value);
void mmq_pack_double(mmq_buffer *out, double value); /* always float64, bit for bit */
/* Bytes or text of that size. */
void mmq_pack_text(mmq_buffer *out, const char *data, size_t size);
void mmq_pack_cstr(mmq_buffer *out, const char *text); /* nil if NULL */
void mmq_pack_array(mmq_buffer *out, uint32_t count);  /* then `count` values */
void mmq_pack_map(mmq_buffer *out, uint32_t count);    /* then `count` keys and values */

/* Arguments of a request (docs/protocol.md), counted as they are added: what mmq_call wants. They
 * may have at most MMQ_BODY_MAX bytes. */
typedef struct mmq_args {
    mmq_buffer pairs;
    uint32_t count;
} mmq_args;

void mmq_args_init(mmq_args *args);
/* Frees; the arguments are empty and may be used again. */
void mmq_args_clear(mmq_args *args);
void mmq_args_int(mmq_args *args, const char *key, int64_t value);
void mmq_args_double(mmq_args *args, const char *key, double value);
void mmq_args_bool(mmq_args *args, const char *key, bool value);
void mmq_args_cstr(mmq_args *args, const char *key, const char *text); /* left out if NULL */
/* Bytes or text of that size, copied: `rows`, a cursor. */
void mmq_args_text(mmq_args *args, const char *key, const char *data, size_t size);
/* A value that is packed already, copied: a map, an array. */
void mmq_args_packed(mmq_args *args, const char *key, const void *packed, size_t size);
/* A map of pairs that were added to `map`, copied: a record, `extra`. */
void mmq_args_map(mmq_args *args, const char *key, const mmq_args *map);

#ifdef __cplusplus
}
#endif

#endif
