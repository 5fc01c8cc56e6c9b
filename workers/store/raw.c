#include "workers/store/raw.h"

#include <math.h>

#include "lib/bits.h"
#include "lib/check.h"

void mmq_raw_begin(mmq_raw_walk *walk, mmq_store *store, int64_t metric, mmq_row_key key)
{
    walk->store = store;
    walk->metric = metric;
    walk->from = key;
    walk->ended = false;
    walk->count = walk->at = 0;
}

/* Each head lies behind the one before: the next piece then, too. */
static mmq_err take_head(mmq_raw_walk *walk, const mmq_block_walk *found, mmq_why *why)
{
    const mmq_row_key first = found->block.head.first;
    if (found->said == MMQ_SAID_DAMAGED) {
        return mmq_blocks_damaged(walk->store, &found->block, "the head of the", why);
    }
    if (mmq_key_is_before(first, walk->from)) {
        return mmq_blocks_damaged(walk->store, &found->block, "the order of the", why);
    }
    walk->heads[walk->count++] = found->block;
    walk->from = (mmq_row_key){first.timestamp, first.rowid + 1};
    return MMQ_OK;
}

static mmq_err read_piece(mmq_raw_walk *walk, mmq_why *why)
{
    mmq_block_walk blocks;
    bool found = true;
    walk->count = walk->at = 0;
    mmq_err err = mmq_blocks_begin(walk->store, walk->metric, walk->from, &blocks, why);
    if (err != MMQ_OK) {
        return err;
    }
    while (err == MMQ_OK && found && walk->count < MMQ_RAW_PIECE) {
        err = mmq_blocks_next(walk->store, &blocks, &found, why);
        if (err == MMQ_OK && found) {
            err = take_head(walk, &blocks, why);
        }
    }
    walk->ended = !found;
    mmq_done(blocks.statement);
    return err;
}

mmq_err mmq_raw_head(mmq_raw_walk *walk, const mmq_stored_block **head, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (walk->at == walk->count && !walk->ended) {
        err = read_piece(walk, why);
    }
    *head = err == MMQ_OK && walk->at < walk->count ? &walk->heads[walk->at] : NULL;
    return err;
}

void mmq_raw_next(mmq_raw_walk *walk)
{
    CHECK(walk->at < walk->count);
    walk->at++;
}

static bool same_key(mmq_row_key a, mmq_row_key b)
{
    return a.timestamp == b.timestamp && a.rowid == b.rowid;
}

bool mmq_raw_same(const mmq_block_head *a, const mmq_block_head *b)
{
    const bool scores = isnan(a->greatest_score)
                            ? isnan(b->greatest_score)
                            : mmq_bits_of(a->greatest_score) == mmq_bits_of(b->greatest_score);
    return scores && same_key(a->first, b->first) && same_key(a->last, b->last) &&
           a->least_rowid == b->least_rowid && a->greatest_rowid == b->greatest_rowid &&
           a->rows == b->rows && a->unscored == b->unscored && a->data_check == b->data_check;
}

/* Looked for by its place, as a scan does, so that an engine that reads ahead does. */
static mmq_err open_block(mmq_store *source, const mmq_stored_block *from, mmq_why *why)
{
    const mmq_row_key first = from->head.first;
    mmq_stored_block found;
    bool there;
    mmq_err err = mmq_blocks_after(
        source, from->metric, (mmq_row_key){first.timestamp, first.rowid - 1}, &there, &found, why);
    if (err == MMQ_OK && (!there || !mmq_raw_same(&found.head, &from->head))) {
        return mmq_blocks_damaged(source, from, "the index of the", why);
    }
    return err == MMQ_OK ? mmq_blocks_open(source, &found, why) : err;
}

mmq_err mmq_raw_copy(mmq_store *source, const mmq_stored_block *from, mmq_store *target,
                     int64_t metric, const mmq_stored_block *old, mmq_why *why)
{
    double value[MMQ_BLOCK_ROWS];
    size_t size = 0;
    mmq_err err = open_block(source, from, why);
    if (err != MMQ_OK) {
        return err;
    }
    const mmq_block *block = source->block;
    const void *data = mmq_column_blob(source->statements[MMQ_Q_BLOCK_DATA], 0, &size);
    if (data == NULL || !mmq_doubles_decode(&block->value, 0, block->count, value)) {
        return mmq_blocks_damaged(source, from, "the data of the", why);
    }
    const mmq_block_values values = mmq_block_values_of(value, block->count);
    return mmq_blocks_put_encoded(target, metric, old, &from->head, &values, data, size, why);
}
