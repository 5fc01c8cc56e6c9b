/* Values or scores of a block.
 *
 *   u8 presence  0: all are there; 1: none is, and nothing follows; 2: a bitmap follows, bit i set
 *                where item i is there, least significant first. An absent item's place holds
 *                any finite number.
 *   u8 coding    0: packed (packed.h), the doubles' bits
 *                1: u8 places, packed integers m: the item is m / 10^places, correctly rounded;
 *                   u16 exceptions, their positions, u16 each, ascending, and their bits, u64 each
 *                2: u16 count, packed indexes into as many entries, u8 coding (0 or 1) of the
 *                   entries and the entries
 *
 * Any item is found without decoding those before it. */
#ifndef MMQ_STORE_DOUBLES_H
#define MMQ_STORE_DOUBLES_H

#include "workers/store/packed.h"

enum {
    MMQ_DOUBLES_EXCEPTIONS_MAX = MMQ_BLOCK_ROWS / 8,
    MMQ_DOUBLES_MAX = 2 + MMQ_BLOCK_ROWS / 8 + MMQ_PACKED_MAX,
};

/* Writes at most MMQ_DOUBLES_MAX bytes; returns the end. NaN: absent; others are finite. count > 0.
 */
uint8_t *mmq_doubles_write(const double *items, size_t count, uint8_t *out);

typedef enum mmq_presence {
    MMQ_PRESENT_ALL,
    MMQ_PRESENT_NONE,
    MMQ_PRESENT_SOME,
} mmq_presence;

/* Doubles that are no dictionary. */
typedef struct mmq_plain_doubles {
    bool decimal;
    double divisor; /* 10^places */
    mmq_packed packed;
    size_t exception_count;
    const uint8_t *positions, *exceptions;
} mmq_plain_doubles;

/* A column as it was read; borrows from the block. */
typedef struct mmq_doubles {
    mmq_presence presence;
    const uint8_t *bitmap;
    bool dictionary;
    mmq_packed indexes;
    size_t entry_count;
    mmq_plain_doubles plain; /* the items, or the dictionary's entries */
} mmq_doubles;

/* Checks a column of count items that fills [at, end); MMQ_PACKED_SLACK as for packed. False if it
 * is none. */
bool mmq_doubles_read(const uint8_t *at, const uint8_t *end, size_t count, mmq_doubles *out);
/* Items [from, to), NaN where absent. False if one is no finite number. */
bool mmq_doubles_decode(const mmq_doubles *doubles, size_t from, size_t to, double *out);

#endif
