/* msgpack writers (msgpack-c underneath) into a buffer, in the forms that readers of the pre-2013
 * specification know too: strings are raw, never str8; integers take their shortest form. */
#ifndef MMQ_PACK_H
#define MMQ_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"

void mmq_pack_nil(mmq_buffer *out);
void mmq_pack_bool(mmq_buffer *out, bool value);
void mmq_pack_int(mmq_buffer *out, int64_t value);
void mmq_pack_double(mmq_buffer *out, double value); /* always float64 */
void mmq_pack_text(mmq_buffer *out, const char *data, size_t size);
void mmq_pack_cstr(mmq_buffer *out, const char *text); /* nil if NULL */
void mmq_pack_array(mmq_buffer *out, uint32_t count);  /* then `count` values */
void mmq_pack_map(mmq_buffer *out, uint32_t count);    /* then `count` keys and values */

/* Arguments of a call, counted as they are added: what mmq_call wants. */
typedef struct mmq_args {
    mmq_buffer pairs;
    uint32_t count;
} mmq_args;

void mmq_args_init(mmq_args *args);
void mmq_args_clear(mmq_args *args);
void mmq_args_int(mmq_args *args, const char *key, int64_t value);
void mmq_args_double(mmq_args *args, const char *key, double value);
void mmq_args_bool(mmq_args *args, const char *key, bool value);
void mmq_args_cstr(mmq_args *args, const char *key, const char *text); /* left out if NULL */
void mmq_args_text(mmq_args *args, const char *key, const char *data, size_t size);
void mmq_args_packed(mmq_args *args, const char *key, const void *packed, size_t size);

#endif
