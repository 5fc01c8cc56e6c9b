/* Blocks in the database: heads found, data opened, both written. */
#ifndef MMQ_STORE_BLOCKS_H
#define MMQ_STORE_BLOCKS_H

#include "workers/store/block.h"
#include "workers/store/handle.h"

/* A block as it lies in the store. */
typedef struct mmq_stored_block {
    int64_t metric;
    int64_t data; /* key of its data */
    mmq_block_head head;
} mmq_stored_block;

static inline bool mmq_key_is_before(mmq_row_key a, mmq_row_key b)
{
    return a.timestamp < b.timestamp || (a.timestamp == b.timestamp && a.rowid < b.rowid);
}

/* The last block that begins at key or before. *found: whether there is one. */
mmq_err mmq_blocks_at(mmq_store *store, int64_t metric, mmq_row_key key, bool *found,
                      mmq_stored_block *out, mmq_why *why) MMQ_MUST_USE;
/* The first block that begins behind key. */
mmq_err mmq_blocks_after(mmq_store *store, int64_t metric, mmq_row_key key, bool *found,
                         mmq_stored_block *out, mmq_why *why) MMQ_MUST_USE;
/* The first block that ends behind key: where a walk upwards begins. */
mmq_err mmq_blocks_from(mmq_store *store, int64_t metric, mmq_row_key key, bool *found,
                        mmq_stored_block *out, mmq_why *why) MMQ_MUST_USE;
/* A walk through the blocks that may hold a rowid, those with the greatest least rowid first. One
 * at a time; ends with *found false, an error, or mmq_blocks_end_rowid. */
typedef struct mmq_rowid_walk {
    int64_t metric;
    int64_t most; /* least rowid of blocks still to come */
    int taken, piece;
} mmq_rowid_walk;
void mmq_blocks_begin_rowid(mmq_store *store, int64_t metric, int64_t rowid, mmq_rowid_walk *out);
mmq_err mmq_blocks_next_rowid(mmq_store *store, mmq_rowid_walk *walk, bool *found,
                              mmq_stored_block *out, mmq_why *why) MMQ_MUST_USE;
void mmq_blocks_end_rowid(mmq_store *store);

/* What a walk has found of a block. */
typedef enum mmq_block_said {
    MMQ_SAID_DAMAGED,        /* the head is: of it only the first timestamp is what the file has */
    MMQ_SAID_VALUES_DAMAGED, /* the head is good, what is said of the values is not */
    MMQ_SAID_HEAD,           /* nothing is said of them: its rows have to be looked at */
    MMQ_SAID_ALL,
} mmq_block_said;

/* A walk through the blocks of a metric in their order. */
typedef struct mmq_block_walk {
    mmq_prepared *statement;
    int64_t metric;
    int taken;         /* of the piece that was asked for */
    mmq_row_key asked; /* where the piece begins */
    mmq_row_key place; /* of the last, as the table has it */
    mmq_block_said said;
    mmq_stored_block block;
    mmq_block_values values; /* with MMQ_SAID_ALL */
} mmq_block_walk;

/* From the block on that begins at key, or is the first behind it. One walk at a time. */
mmq_err mmq_blocks_begin(mmq_store *store, int64_t metric, mmq_row_key key, mmq_block_walk *out,
                         mmq_why *why) MMQ_MUST_USE;
/* Ends with *found false, an error, or mmq_done(walk->statement). */
mmq_err mmq_blocks_next(mmq_store *store, mmq_block_walk *walk, bool *found,
                        mmq_why *why) MMQ_MUST_USE;

/* Opens the block as store->block, unless it is already. MMQ_ECORRUPT names it. */
mmq_err mmq_blocks_open(mmq_store *store, const mmq_stored_block *stored,
                        mmq_why *why) MMQ_MUST_USE;
/* Forgets store->block: before anything is written, and with each transaction. */
void mmq_blocks_close(mmq_store *store);
/* MMQ_ECORRUPT, naming the block. */
mmq_err mmq_blocks_damaged(mmq_store *store, const mmq_stored_block *stored, const char *what,
                           mmq_why *why) MMQ_MUST_USE;

/* Writes rows [from, from + count), sorted by key, as a block in place of `old`, or as a new one if
 * that is NULL. */
mmq_err mmq_blocks_put(mmq_store *store, int64_t metric, const mmq_stored_block *old,
                       const mmq_write_rows *rows, size_t from, size_t count,
                       mmq_why *why) MMQ_MUST_USE;
/* The same of what is encoded already: the head and what is said of the values belong to it. */
mmq_err mmq_blocks_put_encoded(mmq_store *store, int64_t metric, const mmq_stored_block *old,
                               const mmq_block_head *head, const mmq_block_values *values,
                               const void *data, size_t size, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_blocks_drop(mmq_store *store, const mmq_stored_block *old, mmq_why *why) MMQ_MUST_USE;

/* Has the heads of up to `most` blocks say of their values what they did not (those of version 3);
 * *left: some may be left. In a write transaction. */
mmq_err mmq_blocks_complete(mmq_store *store, size_t most, bool *left, mmq_why *why) MMQ_MUST_USE;

#endif
