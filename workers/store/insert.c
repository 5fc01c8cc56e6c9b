/* New rows are sorted, and go piece by piece to the block that their keys lie in: that block's rows
 * and the piece are merged and written in its place, as several blocks if they are too many for
 * one.
 *
 * Behind the last row, where almost all rows go, a block would be read and written again for each
 * row. So a metric's last block is left small, "open": until it has OPEN_ROWS it is written again
 * with each append; then it is folded into the block before it, unless that is full, and a new one
 * begins. It also makes the newest rows, which are asked for most, cheap to read. */
#include "workers/store/insert.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "workers/store/blocks.h"
#include "workers/store/room.h"

enum {
    OPEN_ROWS = 64,       /* of the last block at most */
    OPEN_FIRST_ROWS = 32, /* of it when it begins */
};

/* ---- blocks as rows --------------------------------------------------------------------- */

static mmq_err load_block(mmq_store *store, const mmq_stored_block *stored, mmq_why *why)
{
    mmq_room *room = store->old;
    mmq_err err = mmq_blocks_open(store, stored, why);
    if (err == MMQ_OK) {
        err = mmq_room_reserve(room, room->rows.count + (size_t)stored->head.rows, why);
    }
    return err == MMQ_OK && !mmq_room_add_block(room, store->block)
               ? mmq_blocks_damaged(store, stored, "the data of the", why)
               : err;
}

/* Merges rows [from, to) of store->fresh into those of store->old. Both are sorted. */
static mmq_err merge(mmq_store *store, size_t from, size_t to, mmq_why *why)
{
    const mmq_write_rows *fresh = &store->fresh->rows;
    mmq_write_rows *old = &store->old->rows;
    mmq_err err = mmq_room_reserve(store->old, old->count + (to - from), why);
    if (err != MMQ_OK) {
        return err;
    }
    const bool behind = old->count == 0 || mmq_key_is_before(mmq_row_key_of(old, old->count - 1),
                                                             mmq_row_key_of(fresh, from));
    mmq_room_add_rows(store->old, fresh, from, to);
    return behind ? MMQ_OK : mmq_room_sort(store->old, why);
}

/* How many of `left` rows the next block gets. At the end of a metric blocks are full, but for the
 * last, which is open, and the one before it, which is growing. Elsewhere they are of equal size,
 * which leaves room for more. */
static size_t next_size(size_t left, bool at_end)
{
    if (!at_end) {
        const size_t pieces = (left + MMQ_BLOCK_ROWS - 1) / MMQ_BLOCK_ROWS;
        return (left + pieces - 1) / pieces;
    }
    if (left > MMQ_BLOCK_ROWS) {
        return MMQ_BLOCK_ROWS;
    }
    return left > OPEN_ROWS ? left - OPEN_FIRST_ROWS : left;
}

/* Writes the rows of store->old in place of `block`, or as new blocks if that is NULL. */
static mmq_err write_blocks(mmq_store *store, int64_t metric, const mmq_stored_block *block,
                            bool at_end, mmq_why *why)
{
    const mmq_write_rows *rows = &store->old->rows;
    mmq_err err = MMQ_OK;
    for (size_t done = 0; done < rows->count && err == MMQ_OK;) {
        const size_t count = next_size(rows->count - done, at_end);
        err = mmq_blocks_put(store, metric, done == 0 ? block : NULL, rows, done, count, why);
        done += count;
    }
    return err;
}

/* ---- behind the last block -------------------------------------------------------------- */

/* The block before `block`, if it has room for more rows. */
static mmq_err find_growing(mmq_store *store, const mmq_stored_block *block, bool *found,
                            mmq_stored_block *out, mmq_why *why)
{
    mmq_row_key key = block->head.first;
    key.rowid--;
    mmq_err err = mmq_blocks_at(store, block->metric, key, found, out, why);
    *found = err == MMQ_OK && *found && out->head.rows < MMQ_BLOCK_ROWS;
    return err;
}

/* Folds the last block and the new rows into the one before it. */
static mmq_err fold(mmq_store *store, const mmq_stored_block *last, const mmq_stored_block *growing,
                    size_t from, size_t to, mmq_why *why)
{
    mmq_err err = load_block(store, growing, why);
    if (err == MMQ_OK) {
        err = load_block(store, last, why);
    }
    if (err == MMQ_OK) {
        err = mmq_blocks_drop(store, last, why);
    }
    if (err == MMQ_OK) {
        err = merge(store, from, to, why);
    }
    return err == MMQ_OK ? write_blocks(store, last->metric, growing, true, why) : err;
}

/* Merges rows [from, to) of store->fresh into the block and writes it again. */
static mmq_err extend(mmq_store *store, const mmq_stored_block *block, bool at_end, size_t from,
                      size_t to, mmq_why *why)
{
    mmq_err err = load_block(store, block, why);
    if (err == MMQ_OK) {
        err = merge(store, from, to, why);
    }
    return err == MMQ_OK ? write_blocks(store, block->metric, block, at_end, why) : err;
}

static mmq_err add_blocks(mmq_store *store, int64_t metric, size_t from, size_t to, mmq_why *why)
{
    mmq_err err = merge(store, from, to, why);
    return err == MMQ_OK ? write_blocks(store, metric, NULL, true, why) : err;
}

/* Rows [from, to) of store->fresh belong into the metric's last block or behind it. */
static mmq_err insert_at_end(mmq_store *store, const mmq_stored_block *last, size_t from, size_t to,
                             mmq_why *why)
{
    const size_t there = (size_t)last->head.rows, fresh = to - from;
    const bool behind =
        mmq_key_is_before(last->head.last, mmq_row_key_of(&store->fresh->rows, from));
    mmq_stored_block growing;
    bool found = false;
    if (there <= OPEN_ROWS && there + fresh > OPEN_ROWS) {
        mmq_err err = find_growing(store, last, &found, &growing, why);
        if (err != MMQ_OK) {
            return err;
        }
    }
    if (found) {
        return fold(store, last, &growing, from, to, why);
    }
    const bool is_new = behind && there == MMQ_BLOCK_ROWS;
    return is_new ? add_blocks(store, last->metric, from, to, why)
                  : extend(store, last, true, from, to, why);
}

/* ---- anywhere --------------------------------------------------------------------------- */

/* The first row of store->fresh, from `from` on, that is not before key. */
static size_t find_row(const mmq_store *store, size_t from, mmq_row_key key)
{
    const mmq_write_rows *fresh = &store->fresh->rows;
    size_t low = from, high = fresh->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (mmq_key_is_before(mmq_row_key_of(fresh, middle), key)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The block that row `from` of store->fresh belongs into: the last that begins before it, or else
 * the first. */
static mmq_err find_block(mmq_store *store, int64_t metric, size_t from, bool *found,
                          mmq_stored_block *out, mmq_why *why)
{
    const mmq_row_key key = mmq_row_key_of(&store->fresh->rows, from);
    mmq_err err = mmq_blocks_at(store, metric, key, found, out, why);
    return err == MMQ_OK && !*found ? mmq_blocks_after(store, metric, key, found, out, why) : err;
}

/* Inserts rows of store->fresh from *from on, as far as they belong into one block, and moves *from
 * behind them. */
static mmq_err insert_piece(mmq_store *store, int64_t metric, size_t *from, mmq_why *why)
{
    mmq_stored_block block, next;
    bool found, has_next = false;
    mmq_err err = find_block(store, metric, *from, &found, &block, why);
    if (err == MMQ_OK && found) {
        err = mmq_blocks_after(store, metric, block.head.first, &has_next, &next, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    const size_t begin = *from;
    *from = has_next ? find_row(store, begin, next.head.first) : store->fresh->rows.count;
    store->old->rows.count = 0;
    if (*from == begin) {
        return mmq_blocks_damaged(store, &next, "the order of the", why);
    }
    if (!found) {
        return add_blocks(store, metric, begin, *from, why);
    }
    return has_next ? extend(store, &block, false, begin, *from, why)
                    : insert_at_end(store, &block, begin, *from, why);
}

static mmq_err take_fresh(mmq_store *store, const mmq_write_rows *rows, size_t from,
                          int64_t first_rowid, mmq_why *why)
{
    mmq_room *fresh = store->fresh;
    fresh->rows.count = 0;
    mmq_err err = mmq_room_reserve(fresh, rows->count - from, why);
    if (err != MMQ_OK) {
        return err;
    }
    const size_t count = rows->count - from;
    mmq_write_rows *to = &fresh->rows;
    to->count = count;
    memcpy(to->timestamp, rows->timestamp + from, count * sizeof *to->timestamp);
    memcpy(to->value, rows->value + from, count * sizeof *to->value);
    memcpy(to->anomaly_score, rows->anomaly_score + from, count * sizeof *to->anomaly_score);
    memcpy(to->raw_score, rows->raw_score + from, count * sizeof *to->raw_score);
    for (size_t i = 0; i < count; i++) {
        to->rowid[i] = first_rowid + (int64_t)i;
    }
    return mmq_room_sort(fresh, why);
}

mmq_err mmq_insert_rows(mmq_store *store, int64_t metric, const mmq_write_rows *rows, size_t from,
                        int64_t first_rowid, mmq_why *why)
{
    mmq_err err = take_fresh(store, rows, from, first_rowid, why);
    for (size_t at = 0; err == MMQ_OK && at < store->fresh->rows.count;) {
        err = insert_piece(store, metric, &at, why);
    }
    mmq_room_shrink(store->fresh);
    mmq_room_shrink(store->old);
    return err;
}

/* ---- scores ----------------------------------------------------------------------------- */

typedef struct wanted_score {
    int64_t rowid;
    size_t row; /* of the request */
    bool set;
} wanted_score;

/* The scores of a request by rowid, one for each row: of several the last. */
typedef struct wanted_scores {
    const mmq_write_rows *rows;
    wanted_score *items;
    size_t count; /* the last of them is not set yet */
} wanted_scores;

static int compare_wanted(const void *a_p, const void *b_p)
{
    const wanted_score *a = a_p, *b = b_p;
    if (a->rowid != b->rowid) {
        return a->rowid < b->rowid ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

static mmq_err sort_scores(const mmq_write_rows *rows, wanted_scores *out, mmq_why *why)
{
    wanted_score *items = reallocarray(NULL, rows->count, sizeof *items);
    if (items == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for %zu scores", rows->count);
    }
    for (size_t i = 0; i < rows->count; i++) {
        items[i] = (wanted_score){rows->rowid[i], i, false};
    }
    qsort(items, rows->count, sizeof *items, compare_wanted);
    *out = (wanted_scores){.rows = rows, .items = items};
    for (size_t i = 0; i < rows->count; i++) {
        if (i + 1 == rows->count || items[i + 1].rowid != items[i].rowid) {
            items[out->count++] = items[i];
        }
    }
    return MMQ_OK;
}

/* The number of items before the rowid. */
static size_t count_before(const wanted_scores *wanted, int64_t rowid)
{
    size_t low = 0, high = wanted->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (wanted->items[middle].rowid < rowid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static wanted_score *find_score(const wanted_scores *wanted, int64_t rowid)
{
    const size_t at = count_before(wanted, rowid);
    return at < wanted->count && wanted->items[at].rowid == rowid ? &wanted->items[at] : NULL;
}

static bool holds_some(const mmq_block *block, const wanted_scores *wanted)
{
    for (size_t i = 0; i < block->count; i++) {
        if (find_score(wanted, block->rowid[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void set_scores(const wanted_scores *wanted, mmq_write_rows *there)
{
    for (size_t i = 0; i < there->count; i++) {
        wanted_score *score = find_score(wanted, there->rowid[i]);
        if (score != NULL) {
            there->anomaly_score[i] = wanted->rows->anomaly_score[score->row];
            there->raw_score[i] = wanted->rows->raw_score[score->row];
            score->set = true;
        }
    }
}

static int64_t count_unscored(const mmq_write_rows *rows)
{
    int64_t unscored = 0;
    for (size_t i = 0; i < rows->count; i++) {
        unscored += __builtin_isnan(rows->anomaly_score[i]) ? 1 : 0;
    }
    return unscored;
}

/* Sets the scores that are wanted of the block's rows. */
static mmq_err score_block(mmq_store *store, const mmq_stored_block *block,
                           const wanted_scores *wanted, int64_t *scored, mmq_why *why)
{
    const size_t from = count_before(wanted, block->head.least_rowid);
    const size_t to = count_before(wanted, block->head.greatest_rowid + 1);
    const wanted_scores near = {wanted->rows, wanted->items + from, to - from};
    if (near.count == 0) {
        return MMQ_OK;
    }
    mmq_err err = mmq_blocks_open(store, block, why);
    if (err != MMQ_OK || !holds_some(store->block, &near)) {
        return err;
    }
    mmq_write_rows *rows = &store->old->rows;
    rows->count = 0;
    err = load_block(store, block, why);
    if (err != MMQ_OK) {
        return err;
    }
    set_scores(&near, rows);
    *scored += block->head.unscored - count_unscored(rows);
    return mmq_blocks_put(store, block->metric, block, rows, 0, rows->count, why);
}

/* The block with the greatest least rowid up to `most`. */
static mmq_err find_holder(mmq_store *store, int64_t metric, int64_t most, mmq_stored_block *out,
                           mmq_why *why)
{
    bool found;
    mmq_rowid_walk walk;
    mmq_blocks_begin_rowid(store, metric, most, &walk);
    mmq_err err = mmq_blocks_next_rowid(store, &walk, &found, out, why);
    mmq_blocks_end_rowid(store);
    if (err == MMQ_OK && !found) {
        return mmq_damaged(store, "a row is missing", why);
    }
    return err;
}

/* Down by the blocks' least rowids: a block that was passed holds none of the rows that are left,
 * so that each is opened and written once at most, however rowids are spread over blocks. */
static mmq_err walk_down(mmq_store *store, int64_t metric, wanted_scores *wanted, int64_t *scored,
                         mmq_why *why)
{
    int64_t passed = INT64_MAX;
    mmq_err err = MMQ_OK;
    while (wanted->count > 0 && err == MMQ_OK) {
        mmq_stored_block block;
        const int64_t last = wanted->items[wanted->count - 1].rowid;
        err = find_holder(store, metric, last < passed ? last : passed - 1, &block, why);
        if (err == MMQ_OK) {
            err = score_block(store, &block, wanted, scored, why);
            passed = block.head.least_rowid;
        }
        while (wanted->count > 0 && wanted->items[wanted->count - 1].set) {
            wanted->count--;
        }
    }
    return err;
}

mmq_err mmq_insert_scores(mmq_store *store, int64_t metric, const mmq_write_rows *rows,
                          int64_t *scored, mmq_why *why)
{
    wanted_scores wanted;
    *scored = 0;
    mmq_err err = sort_scores(rows, &wanted, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = walk_down(store, metric, &wanted, scored, why);
    free(wanted.items);
    return err;
}
