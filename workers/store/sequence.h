/* Timestamps and rowids of a block: integers that mostly grow by the same step.
 *
 *   u8 coding   0: i64 first, i64 step           item i is first + i * step
 *               1: i64 first, packed (packed.h)  the differences of neighbours */
#ifndef MMQ_STORE_SEQUENCE_H
#define MMQ_STORE_SEQUENCE_H

#include "workers/store/packed.h"

enum { MMQ_SEQUENCE_MAX = 1 + 8 + MMQ_PACKED_MAX };

/* Writes at most MMQ_SEQUENCE_MAX bytes; returns the end. count > 0. */
uint8_t *mmq_sequence_write(const int64_t *items, size_t count, uint8_t *out);
/* Decodes all of a sequence that fills [at, end); MMQ_PACKED_SLACK as for packed. False if it is
 * none, or if an item is not within least..most. If `ascending` no item is below the one before. */
bool mmq_sequence_read(const uint8_t *at, const uint8_t *end, size_t count, int64_t least,
                       int64_t most, bool ascending, int64_t *out);

#endif
