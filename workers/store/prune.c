/* Pruning: rows before a time go, whole blocks by their heads, the one that lies across by being
 * written again. Blocks of a metric are in the order of time, so what is to go is a run of blocks
 * at its beginning, and each piece of a prune takes the next few of them.
 *
 * Each piece is a commit like others: readers see the rows before it, or not after it. What is gone
 * is noted by rowid (gaps.c), so that a row that was pruned is known from one that was lost, and a
 * rowid never names another row. */
#include "workers/store/blocks.h"
#include "workers/store/gaps.h"
#include "workers/store/room.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>

#include "lib/check.h"

/* What things cost, in parts of MMQ_PRUNE_WORK. */
enum { COST_LOOK = 1, COST_DROP = 8, COST_OPEN = 16, COST_GAP = 2, COUNTED_BLOCKS = 32 };

#define BEFORE_ALL ((mmq_row_key){INT64_MIN, 0})

typedef struct prune {
    mmq_store *store;
    int64_t metric, before;
    int *work;
    mmq_gap gap; /* found, and not noted yet; first 0: none */
    int64_t rows, unscored, blocks;
} prune;

/* ---- rowids ----------------------------------------------------------------------------- */

static mmq_err note_gap(prune *p, mmq_why *why)
{
    const mmq_gap gap = p->gap;
    p->gap.first = 0;
    *p->work -= COST_GAP;
    return gap.first > 0 ? mmq_gap_add(p->store, p->metric, gap, why) : MMQ_OK;
}

/* Rows that arrived in the order of their times make one gap, however many blocks they were. */
static mmq_err extend_gap(prune *p, mmq_gap gap, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (p->gap.first > 0 && p->gap.last + 1 == gap.first) {
        p->gap.last = gap.last;
    } else {
        err = note_gap(p, why);
        p->gap = gap;
    }
    return err;
}

static int compare_rowids(const void *a_p, const void *b_p)
{
    const int64_t a = *(const int64_t *)a_p, b = *(const int64_t *)b_p;
    return (a > b) - (a < b);
}

/* Sorts them. */
static mmq_err lose_rowids(prune *p, int64_t *rowid, size_t count, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    qsort(rowid, count, sizeof *rowid, compare_rowids);
    for (size_t i = 0; i < count && err == MMQ_OK; i++) {
        err = extend_gap(p, (mmq_gap){rowid[i], rowid[i]}, why);
    }
    return err;
}

/* ---- blocks ----------------------------------------------------------------------------- */

static mmq_err lose_block(prune *p, const mmq_stored_block *stored, mmq_why *why)
{
    const mmq_block_head *head = &stored->head;
    if (head->greatest_rowid - head->least_rowid + 1 == head->rows) {
        return extend_gap(p, (mmq_gap){head->least_rowid, head->greatest_rowid}, why);
    }
    *p->work -= COST_OPEN;
    mmq_err err = mmq_blocks_open(p->store, stored, why);
    return err == MMQ_OK ? lose_rowids(p, p->store->block->rowid, p->store->block->count, why)
                         : err;
}

static mmq_err drop_block(prune *p, const mmq_stored_block *stored, mmq_why *why)
{
    mmq_err err = lose_block(p, stored, why);
    if (err == MMQ_OK) {
        err = mmq_blocks_drop(p->store, stored, why);
    }
    *p->work -= COST_DROP;
    p->rows += stored->head.rows;
    p->unscored += stored->head.unscored;
    p->blocks++;
    return err;
}

/* Rows of the open block that are before the time. */
static size_t count_before(const mmq_block *block, int64_t before)
{
    size_t count = 0;
    while (count < block->count && block->timestamp[count] < before) {
        count++;
    }
    return count;
}

static mmq_err load_block(prune *p, const mmq_stored_block *stored, mmq_why *why)
{
    mmq_room *room = p->store->old;
    room->rows.count = 0;
    mmq_err err = mmq_blocks_open(p->store, stored, why);
    if (err == MMQ_OK) {
        err = mmq_room_reserve(room, (size_t)stored->head.rows, why);
    }
    return err == MMQ_OK && !mmq_room_add_block(room, p->store->block)
               ? mmq_blocks_damaged(p->store, stored, "the data of the", why)
               : err;
}

/* Writes what stays of a block in its place. */
static mmq_err cut_block(prune *p, const mmq_stored_block *stored, mmq_why *why)
{
    mmq_err err = load_block(p, stored, why);
    if (err != MMQ_OK) {
        return err;
    }
    const mmq_write_rows *rows = &p->store->old->rows;
    const size_t lost = count_before(p->store->block, p->before);
    if (lost == 0 || lost == rows->count) {
        return mmq_blocks_damaged(p->store, stored, "the order of the", why);
    }
    for (size_t i = 0; i < lost; i++) {
        p->unscored += isnan(rows->anomaly_score[i]) ? 1 : 0;
    }
    *p->work -= COST_OPEN + COST_DROP;
    p->rows += (int64_t)lost;
    err = mmq_blocks_put(p->store, p->metric, stored, rows, lost, rows->count - lost, why);
    return err == MMQ_OK ? lose_rowids(p, rows->rowid, lost, why) : err;
}

static mmq_err prune_blocks(prune *p, bool *done, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    *done = false;
    while (err == MMQ_OK && *p->work > 0) {
        mmq_stored_block stored;
        bool found;
        *p->work -= COST_LOOK;
        (void)sched_yield(); /* readers that wait for this CPU do not wait for the piece's end */
        err = mmq_blocks_after(p->store, p->metric, BEFORE_ALL, &found, &stored, why);
        if (err == MMQ_OK && (!found || stored.head.first.timestamp >= p->before)) {
            *done = true;
            break;
        }
        if (err == MMQ_OK) {
            err = stored.head.last.timestamp < p->before ? drop_block(p, &stored, why)
                                                         : cut_block(p, &stored, why);
        }
    }
    return err == MMQ_OK ? note_gap(p, why) : err;
}

/* ---- the metric ------------------------------------------------------------------------- */

static mmq_err note_prune(prune *p, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(p->store, MMQ_Q_SET_PRUNED);
    mmq_bind_int(statement, 1, p->metric);
    mmq_bind_int(statement, 2, p->before);
    mmq_bind_int(statement, 3, p->store->commit);
    return mmq_run(p->store, statement, why);
}

static mmq_err change_record(const prune *p, int64_t last_rowid, mmq_why *why)
{
    mmq_metric_state state = {0};
    mmq_err err = mmq_state_read(p->store, p->metric, &state, why);
    state.unscored -= p->unscored;
    return err == MMQ_OK ? mmq_state_write(p->store, p->metric, last_rowid, &state, why) : err;
}

mmq_err mmq_store_prune(mmq_store *store, const mmq_metric_head *metric, int64_t before, int *work,
                        bool *done, mmq_pruned *out, mmq_why *why)
{
    CHECK(store->phase == MMQ_PHASE_WRITE);
    mmq_metric_head now;
    prune p = {.store = store, .metric = metric->key, .before = before, .work = work};
    mmq_err err = mmq_store_find(store, metric->uid, &now, why);
    if (err == MMQ_OK && now.key == metric->key) {
        err = prune_blocks(&p, done, why);
    } else {
        *done = err == MMQ_OK || err == MMQ_ENOTFOUND; /* another writer has deleted it */
        *work -= COST_LOOK;
        return *done ? MMQ_OK : err;
    }
    store->gentle = true;
    if (err == MMQ_OK && p.rows > 0) {
        err = store->engine->alone(store, why); /* what is noted bears the commit's number */
    }
    if (err == MMQ_OK && p.rows > 0) {
        err = note_prune(&p, why);
    }
    if (err == MMQ_OK && p.rows > 0) {
        err = change_record(&p, now.last_rowid, why);
    }
    if (err == MMQ_OK && p.rows > 0) {
        err = mmq_change_tell(store, now.uid, now.last_rowid, why);
    }
    out->rows += p.rows;
    out->blocks += p.blocks;
    return err;
}

/* ---- what would go ---------------------------------------------------------------------- */

static mmq_err count_blocks(mmq_store *store, int64_t metric, int64_t before, mmq_pruned *out,
                            mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_COUNT_BLOCKS);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_int(statement, 2, before);
    bool row;
    mmq_err err = mmq_step(store, statement, &row, why);
    if (err == MMQ_OK && row &&
        (!mmq_column_int(statement, 0, 0, INT64_MAX, &out->blocks) ||
         !mmq_column_int(statement, 1, 0, MMQ_ROWID_MAX, &out->rows))) {
        err = mmq_damaged(store, "a count of rows", why);
    }
    mmq_done(statement);
    return err;
}

/* The last block that begins before the time may have rows that stay. */
static mmq_err count_staying(mmq_store *store, int64_t metric, int64_t before, mmq_pruned *out,
                             mmq_why *why)
{
    mmq_stored_block stored;
    bool found;
    const mmq_row_key last = {before - 1, INT64_MAX};
    mmq_err err = mmq_blocks_at(store, metric, last, &found, &stored, why);
    if (err != MMQ_OK || !found || stored.head.last.timestamp < before) {
        return err;
    }
    err = mmq_blocks_open(store, &stored, why);
    if (err == MMQ_OK) {
        out->rows -= (int64_t)(store->block->count - count_before(store->block, before));
        out->blocks--;
    }
    return err;
}

mmq_err mmq_store_prunable(mmq_store *store, const mmq_metric_head *metric, int64_t before,
                           int *work, mmq_pruned *out, mmq_why *why)
{
    mmq_pruned here = {0};
    mmq_err err = count_blocks(store, metric->key, before, &here, why);
    if (err == MMQ_OK && here.blocks > 0) {
        err = count_staying(store, metric->key, before, &here, why);
    }
    *work -= COST_LOOK + (int)(here.blocks / COUNTED_BLOCKS);
    out->rows += here.rows;
    out->blocks += here.blocks;
    return err;
}
