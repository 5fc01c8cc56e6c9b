/* Raw deflate (RFC 1951) of a stream that comes piece by piece, by one of two engines: ISA-L for
 * level 1, zlib for 2 to 9. The same pieces give the same bytes. One thread at a time. */
#ifndef MMQ_DEFLATE_H
#define MMQ_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

enum { MMQ_LEVEL_MIN = 1, MMQ_LEVEL_MAX = 9, MMQ_LEVEL_DEFAULT = 1 };

typedef struct mmq_deflate mmq_deflate;

/* What comes behind a piece. */
typedef enum mmq_deflate_next {
    MMQ_DEFLATE_MORE,  /* more of the same: some of the piece may stay in the engine */
    MMQ_DEFLATE_FLUSH, /* all is out, ends at a byte, and what comes next looks back at none of it
                        */
    MMQ_DEFLATE_END,   /* nothing: the stream's final block */
} mmq_deflate_next;

/* NULL: no memory. */
mmq_deflate *mmq_deflate_new(int level);
void mmq_deflate_destroy(mmq_deflate **engine);

/* Hands a piece to the engine, which reads it until mmq_deflate_take has said that it is done. (Not
 * const: ISA-L's interface knows none.) */
void mmq_deflate_put(mmq_deflate *engine, uint8_t *data, size_t size, mmq_deflate_next next);
/* Fills out as far as the piece goes; *done false: out is full, call again with more room. ISA-L's
 * bytes depend on where it finds out to be full: with the piece's size and MMQ_DEFLATE_ROOM, which
 * is what may still be in the engine, it never is. MMQ_EIO: the engine does not go on. */
mmq_err mmq_deflate_take(mmq_deflate *engine, uint8_t *out, size_t capacity, size_t *made,
                         bool *done, mmq_why *why) MMQ_MUST_USE;

enum { MMQ_DEFLATE_ROOM = 256 * 1024 };

/* CRC-32 as gzip has it (RFC 1952): of bytes that go on where crc ends (0: at the start), and of
 * two stretches one after the other, the second of so many bytes. */
uint32_t mmq_crc(uint32_t crc, const void *data, size_t size);
uint32_t mmq_crc_join(uint32_t first, uint32_t second, int64_t second_bytes);

#endif
