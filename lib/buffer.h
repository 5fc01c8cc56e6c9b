/* A growing byte buffer with sticky failure: writers return nothing; ask once at the end. */
#ifndef MMQ_BUFFER_H
#define MMQ_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "metricmq/frame.h"

typedef struct mmq_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit; /* bytes at most */
    bool failed;  /* a write found no memory or the limit: all later ones are ignored */
} mmq_buffer;

void mmq_buffer_init(mmq_buffer *buffer, size_t limit);
void mmq_buffer_clear(mmq_buffer *buffer); /* frees; may be used again */
void mmq_buffer_reset(mmq_buffer *buffer); /* keeps the memory; forgets content and failure */
/* Room for size more bytes: where to write them, or NULL. The writer then adds to buffer->size. */
uint8_t *mmq_buffer_reserve(mmq_buffer *buffer, size_t size);
void mmq_buffer_add(mmq_buffer *buffer, const void *data, size_t size);
void mmq_buffer_text(mmq_buffer *buffer, const char *text);
void mmq_buffer_format(mmq_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* NUL-terminates (not counted in size) and returns the text, NULL after failure. */
const char *mmq_buffer_cstr(mmq_buffer *buffer);
/* Moves the content into an initialised frame without copying; the buffer is then empty.
 * MMQ_ENOMEM after failure. */
mmq_err mmq_buffer_to_frame(mmq_buffer *buffer, mmq_frame *frame) MMQ_MUST_USE;

#endif
