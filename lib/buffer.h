/* What a buffer (metricmq/buffer.h) offers to this house only: text, and room to write into. */
#ifndef MMQ_BUFFER_H
#define MMQ_BUFFER_H

#include "metricmq/buffer.h"

/* Room for size more bytes: where to write them, or NULL. The writer then adds to buffer->size. */
uint8_t *mmq_buffer_reserve(mmq_buffer *buffer, size_t size);
void mmq_buffer_text(mmq_buffer *buffer, const char *text);
void mmq_buffer_format(mmq_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* NUL-terminates (not counted in size) and returns the text, NULL after failure. */
const char *mmq_buffer_cstr(mmq_buffer *buffer);

#endif
