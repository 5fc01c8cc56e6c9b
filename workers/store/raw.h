/* Blocks as they lie in a store, for who copies them into another one, of any engine: heads in
 * their order, and data that goes over as it is. Heads bear the checks of their metric's key, which
 * is another one there, so those are made anew; data and its check stay. In transactions. */
#ifndef MMQ_STORE_RAW_H
#define MMQ_STORE_RAW_H

#include "workers/store/blocks.h"

enum { MMQ_RAW_PIECE = 64 };

/* A walk through a metric's heads, piece by piece: the store may be used between two steps. What is
 * written behind the walk's place and before its next head it does not see. */
typedef struct mmq_raw_walk {
    mmq_store *store;
    int64_t metric;
    mmq_row_key from; /* where the next piece begins */
    bool ended;       /* there is no next piece */
    size_t count, at;
    mmq_stored_block heads[MMQ_RAW_PIECE];
} mmq_raw_walk;

/* From the block on that begins at key, or is the first behind it. */
void mmq_raw_begin(mmq_raw_walk *walk, mmq_store *store, int64_t metric, mmq_row_key key);
/* *head: the one it is at, borrowed until the walk goes on; NULL: it is at its end. MMQ_ECORRUPT
 * names a block that is damaged. */
mmq_err mmq_raw_head(mmq_raw_walk *walk, const mmq_stored_block **head, mmq_why *why) MMQ_MUST_USE;
void mmq_raw_next(mmq_raw_walk *walk);

/* Both are of the same rows, in whatever metric they are. */
bool mmq_raw_same(const mmq_block_head *a, const mmq_block_head *b);

/* Copies the source's block into the target's metric, in place of `old` (with the same first row),
 * or as a new one if that is NULL. Its data is believed only if it is what its head says:
 * MMQ_ECORRUPT names the block, and nothing of it was written. */
mmq_err mmq_raw_copy(mmq_store *source, const mmq_stored_block *from, mmq_store *target,
                     int64_t metric, const mmq_stored_block *old, mmq_why *why) MMQ_MUST_USE;

#endif
