/* A growing byte buffer with sticky failure: writers return nothing; ask once at the end.
 *
 * A value of its owner; one thread at a time. Payloads and rows are written into one by
 * metricmq/pack.h, and become a frame without being copied. */
#ifndef METRICMQ_BUFFER_H
#define METRICMQ_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "metricmq/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmq_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit; /* bytes at most */
    bool failed;  /* a write found no memory or the limit: all later ones are ignored */
} mmq_buffer;

/* An empty buffer of at most `limit` bytes; it takes no memory yet. */
void mmq_buffer_init(mmq_buffer *buffer, size_t limit);
/* Frees the content; the buffer is empty and may be used again, with the same limit. */
void mmq_buffer_clear(mmq_buffer *buffer);
/* Keeps the memory; forgets content and failure. */
void mmq_buffer_reset(mmq_buffer *buffer);
/* Copies size bytes behind what is there. */
void mmq_buffer_add(mmq_buffer *buffer, const void *data, size_t size);
/* Moves the content into an initialised frame without copying; the buffer is then empty.
 * MMQ_ENOMEM after a failure. */
mmq_err mmq_buffer_to_frame(mmq_buffer *buffer, mmq_frame *frame) MMQ_MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
