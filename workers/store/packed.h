/* A sequence of integers in as many bits each as most of them need.
 *
 *   offset 0  u8   width, bits of an item: 0 to 56, or 64
 *          1  u8   0
 *          2  u16  patches
 *          4  i64  base
 *         12  items: base + bits, the i-th from bit i * width on, least significant first
 *             positions of the patches, u16 each, ascending
 *             their items, i64 each
 *
 * Little endian. Any item is found without reading those before it. Items are read 8 bytes at a
 * time, so MMQ_PACKED_SLACK bytes must follow that may be read. */
#ifndef MMQ_STORE_PACKED_H
#define MMQ_STORE_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MMQ_BLOCK_ROWS = 1024, /* items at most */
    MMQ_PACKED_SLACK = 8,  /* readable bytes behind */
    MMQ_PACKED_HEAD = 12,
    MMQ_PACKED_MAX = MMQ_PACKED_HEAD + 8 * MMQ_BLOCK_ROWS, /* bytes of a sequence at most */
};

typedef struct mmq_packed {
    size_t count;
    unsigned width;
    int64_t base;
    const uint8_t *bits;
    size_t patch_count;
    const uint8_t *positions, *patches;
} mmq_packed;

/* How a sequence would be packed best. */
typedef struct mmq_packing {
    unsigned width;
    int64_t base;
    size_t patch_count;
    size_t size; /* bytes, head and patches included */
} mmq_packing;

mmq_packing mmq_packing_plan(const int64_t *items, size_t count);
/* Writes plan.size bytes; returns the end. */
uint8_t *mmq_packed_write(const mmq_packing *plan, const int64_t *items, size_t count,
                          uint8_t *out);
/* Checks a sequence of count items at *at, which ends at `end` at the latest, and moves *at behind
 * it. False if it is none. */
bool mmq_packed_read(const uint8_t **at, const uint8_t *end, size_t count, mmq_packed *out);
/* Items [from, to). */
void mmq_packed_unpack(const mmq_packed *packed, size_t from, size_t to, int64_t *out);

#endif
