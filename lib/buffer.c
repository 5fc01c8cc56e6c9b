/* A byte buffer that grows by doubling, or to what is asked for where that is more, up to its
 * limit. Failure is sticky, so that writers need no checks between them: size never passes limit,
 * and what was written before the failure stays. */
#include "lib/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

enum { FIRST_CAPACITY = 256 };

void mmq_buffer_init(mmq_buffer *buffer, size_t limit)
{
    CHECK(limit < SIZE_MAX / 2); /* doubling and the NUL cannot overflow */
    *buffer = (mmq_buffer){.limit = limit};
}

void mmq_buffer_clear(mmq_buffer *buffer)
{
    free(buffer->data);
    mmq_buffer_init(buffer, buffer->limit);
}

void mmq_buffer_reset(mmq_buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
}

static bool grow_buffer(mmq_buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > 0 ? 2 * buffer->capacity : FIRST_CAPACITY;
    if (capacity > buffer->limit + 1) {
        capacity = buffer->limit + 1;
    }
    if (capacity < needed) {
        capacity = needed;
    }
    uint8_t *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *mmq_buffer_reserve(mmq_buffer *buffer, size_t size)
{
    if (buffer->failed || size > buffer->limit - buffer->size) {
        buffer->failed = true;
        return NULL;
    }
    size_t needed = buffer->size + size + 1; /* room for mmq_buffer_cstr's NUL is always there */
    if (needed > buffer->capacity && !grow_buffer(buffer, needed)) {
        buffer->failed = true;
        return NULL;
    }
    return buffer->data + buffer->size;
}

void mmq_buffer_add(mmq_buffer *buffer, const void *data, size_t size)
{
    uint8_t *out = mmq_buffer_reserve(buffer, size);
    if (out != NULL && size > 0) {
        memcpy(out, data, size);
        buffer->size += size;
    }
}

void mmq_buffer_text(mmq_buffer *buffer, const char *text)
{
    mmq_buffer_add(buffer, text, strlen(text));
}

void mmq_buffer_format(mmq_buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(size >= 0);
    uint8_t *out = mmq_buffer_reserve(buffer, (size_t)size);
    if (out == NULL) {
        return;
    }
    va_start(args, format);
    vsnprintf((char *)out, (size_t)size + 1, format, args);
    va_end(args);
    buffer->size += (size_t)size;
}

const char *mmq_buffer_cstr(mmq_buffer *buffer)
{
    uint8_t *end = mmq_buffer_reserve(buffer, 0);
    if (end == NULL) {
        return NULL;
    }
    *end = '\0';
    return (const char *)buffer->data;
}

mmq_err mmq_buffer_to_frame(mmq_buffer *buffer, mmq_frame *frame)
{
    if (buffer->failed) {
        return MMQ_ENOMEM;
    }
    mmq_frame made;
    mmq_err err = mmq_frame_adopt(&made, buffer->data, buffer->size);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_frame_move(frame, &made);
    mmq_buffer_init(buffer, buffer->limit);
    return MMQ_OK;
}
