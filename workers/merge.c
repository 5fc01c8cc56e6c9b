/* A tournament of lanes. A lane's key is (timestamp, index): lanes stand in the order of their
 * uids, so the index breaks ties as the uid would. The key of a lane whose batch is used up is what
 * it looked at last. Hence everything before the winner's key has been looked at in every lane.
 *
 * Room for rows is shared out: the more lanes, the smaller their batches, and the more often a
 * block is opened for a few of its rows. With a quarter of this room 10,000 metrics take twice the
 * time. */
#include "workers/merge.h"

#include <stddef.h>
#include <stdlib.h>

#include "lib/calendar.h"
#include "lib/check.h"
#include "workers/tournament.h"

enum {
    ROWS_BUDGET = 512 * 1024, /* rows that all lanes hold together: 16 MiB */
    ROWS_AHEAD = 2,           /* of a lane, fetched while others have their turn */
    CACHE_LINE = 64,          /* holds two rows, if they begin with one */
    FILLS_MAX = 16,           /* reads of one call */
};

/* The key has the timestamp. */
struct row {
    uint64_t key;
    int64_t rowid;
    double value, anomaly_score;
};

/* What a lane has to show. */
struct queue {
    mmq_row_prefix prefix;
    struct row *rows; /* batch_max of them; [at, count) come next */
    size_t at, count;
};

struct mmq_merge {
    const mmq_selection *selection;
    mmq_lane *lanes;
    size_t count; /* of lanes */
    size_t batch_max;
    struct queue *queues; /* of each lane */
    struct row *rows;     /* of all queues */
    uint64_t *keys;
    mmq_tournament tournament;
    mmq_columns batch;                              /* as it was read */
    const mmq_row_prefix *prefixes[MMQ_BATCH_ROWS]; /* of the rows that came last: their queues' */
};

void mmq_merge_destroy(mmq_merge **merge_p)
{
    mmq_merge *merge = *merge_p;
    if (merge == NULL) {
        return;
    }
    free(merge->queues);
    free(merge->rows);
    free(merge->keys);
    free(merge);
    *merge_p = NULL;
}

static bool make_room(mmq_merge *merge)
{
    const size_t count = merge->count, share = ROWS_BUDGET / count;
    merge->batch_max = share < 1 ? 1 : share > MMQ_BATCH_ROWS ? MMQ_BATCH_ROWS : share;
    merge->queues = calloc(count, sizeof *merge->queues);
    const size_t bytes = count * merge->batch_max * sizeof *merge->rows;
    merge->rows = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    merge->keys = calloc(2 * count, sizeof *merge->keys);
    if (merge->queues == NULL || merge->rows == NULL || merge->keys == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        mmq_row_prefix_init(&merge->queues[i].prefix, merge->lanes[i].uid);
        merge->queues[i].rows = merge->rows + i * merge->batch_max;
    }
    return true;
}

mmq_merge *mmq_merge_new(mmq_lane *lanes, size_t count, const mmq_selection *selection,
                         mmq_why *why)
{
    if (count > MMQ_TOURNAMENT_LANES_MAX) {
        (void)mmq_fail(why, MMQ_ETOOBIG, "too many metrics to merge: ask for order \"metric\"");
        return NULL;
    }
    mmq_merge *merge = malloc(sizeof *merge);
    if (merge != NULL) {
        *merge = (mmq_merge){.selection = selection, .lanes = lanes, .count = count};
    }
    if (merge == NULL || !make_room(merge)) {
        mmq_merge_destroy(&merge);
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory to merge %zu metrics", count);
    }
    return merge;
}

/* ---- keys ------------------------------------------------------------------------------- */

/* In the order of time: 39 bits for all timestamps there are. */
static uint64_t order_of(const mmq_merge *merge, int64_t timestamp)
{
    return (uint64_t)(merge->selection->ascending ? timestamp - MMQ_TIME_MIN
                                                  : MMQ_TIME_MAX - timestamp);
}

static int64_t timestamp_of(const mmq_merge *merge, uint64_t key)
{
    const int64_t order = (int64_t)(key >> MMQ_TOURNAMENT_LANE_BITS);
    return merge->selection->ascending ? MMQ_TIME_MIN + order : MMQ_TIME_MAX - order;
}

/* Where the lane is: its next row or, if it has none, what was looked at last. */
static uint64_t key_of(const mmq_merge *merge, size_t index)
{
    const struct queue *queue = &merge->queues[index];
    const mmq_lane *lane = &merge->lanes[index];
    if (queue->at < queue->count) {
        return queue->rows[queue->at].key;
    }
    if (lane->ended) {
        return MMQ_TOURNAMENT_OUT;
    }
    return mmq_tournament_key(lane->range.positioned ? order_of(merge, lane->range.timestamp) : 0,
                              index);
}

static mmq_err fill(mmq_merge *merge, size_t index, mmq_store *store, mmq_why *why)
{
    struct queue *to = &merge->queues[index];
    mmq_lane *lane = &merge->lanes[index];
    const mmq_columns *batch = &merge->batch;
    to->at = to->count = 0;
    mmq_err err =
        mmq_lane_fill(lane, merge->selection, store, &merge->batch, merge->batch_max, why);
    if (err != MMQ_OK) {
        return err;
    }
    for (size_t i = 0; i < batch->count; i++) {
        to->rows[i] = (struct row){mmq_tournament_key(order_of(merge, batch->timestamp[i]), index),
                                   batch->rowid[i], batch->value[i], batch->anomaly_score[i]};
    }
    to->count = batch->count;
    lane->shown += (int64_t)batch->count;
    return MMQ_OK;
}

static mmq_err expect(const mmq_merge *merge, const size_t *indexes, size_t count, mmq_store *store,
                      mmq_why *why)
{
    const mmq_range *ranges[MMQ_STORE_EXPECT_MAX];
    for (size_t i = 0; i < count; i++) {
        ranges[i] = &merge->lanes[indexes[i]].range;
    }
    return mmq_store_expect(store, ranges, count, why);
}

mmq_err mmq_merge_expect(mmq_merge *merge, size_t from, size_t to, mmq_store *store, mmq_why *why)
{
    size_t indexes[MMQ_STORE_EXPECT_MAX], count = 0;
    CHECK(from <= to && to - from <= MMQ_STORE_EXPECT_MAX);
    for (size_t i = from; i < to && !merge->selection->has_rowid; i++) {
        if (!merge->lanes[i].ended) {
            indexes[count++] = i;
        }
    }
    return count > 1 ? expect(merge, indexes, count, store, why) : MMQ_OK;
}

mmq_err mmq_merge_start(mmq_merge *merge, size_t lane, mmq_store *store, mmq_why *why)
{
    mmq_err err = fill(merge, lane, store, why);
    if (err == MMQ_OK) {
        merge->keys[merge->count + lane] = key_of(merge, lane);
    }
    return err;
}

void mmq_merge_begin(mmq_merge *merge)
{
    mmq_tournament_begin(&merge->tournament, merge->keys, merge->count);
}

/* ---- rows ------------------------------------------------------------------------------- */

/* Moves rows of lanes that have some into the run, until the winner has none or the run is full. */
static void merge_rows(mmq_merge *merge, mmq_columns *out)
{
    while (out->count < MMQ_BATCH_ROWS) {
        const uint64_t winner = mmq_tournament_winner(&merge->tournament);
        const size_t index = mmq_tournament_lane(winner);
        if (winner == MMQ_TOURNAMENT_OUT || merge->queues[index].at == merge->queues[index].count) {
            return;
        }
        struct queue *lane = &merge->queues[index];
        const struct row *row = &lane->rows[lane->at++];
        __builtin_prefetch(row + ROWS_AHEAD); /* other lanes come before: it will be there */
        const size_t at = out->count++;
        out->timestamp[at] = timestamp_of(merge, winner);
        out->rowid[at] = row->rowid;
        out->value[at] = row->value;
        out->anomaly_score[at] = row->anomaly_score;
        merge->prefixes[at] = &lane->prefix;
        mmq_tournament_replay(&merge->tournament, index,
                              lane->at < lane->count ? row[1].key : key_of(merge, index));
    }
}

/* Where the rows end that the lane has. */
static uint64_t end_of(const mmq_merge *merge, size_t index)
{
    const struct queue *queue = &merge->queues[index];
    return queue->at < queue->count ? queue->rows[queue->count - 1].key : key_of(merge, index);
}

/* When a lane that is filled now is to be filled again, if it gets as far as the last time. */
static uint64_t next_end(const mmq_merge *merge, size_t index)
{
    const struct queue *queue = &merge->queues[index];
    const uint64_t end = key_of(merge, index);
    return queue->count > 0 ? end + (end - queue->rows[0].key) : MMQ_TOURNAMENT_OUT;
}

/* The lanes that are filled next, the first one first: those whose rows end first, and before the
 * winner is filled again, with which what was expected is forgotten. Looks at all lanes, for which
 * each of 64 fills pays a 64th. */
static size_t find_next(const mmq_merge *merge, size_t winner, size_t indexes[MMQ_STORE_EXPECT_MAX])
{
    const uint64_t limit = next_end(merge, winner);
    uint64_t ends[MMQ_STORE_EXPECT_MAX];
    size_t count = 0;
    for (size_t i = 0; i < merge->count; i++) {
        const uint64_t end = merge->lanes[i].ended ? MMQ_TOURNAMENT_OUT : end_of(merge, i);
        const bool full = count == MMQ_STORE_EXPECT_MAX;
        if (end == MMQ_TOURNAMENT_OUT || end > limit || (full && end >= ends[count - 1])) {
            continue;
        }
        size_t at = full ? count - 1 : count++;
        for (; at > 0 && ends[at - 1] > end; at--) {
            ends[at] = ends[at - 1];
            indexes[at] = indexes[at - 1];
        }
        ends[at] = end;
        indexes[at] = i;
    }
    return count;
}

/* The lane is filled next: it is, with others, expected by the store. */
static mmq_err foresee(const mmq_merge *merge, size_t index, mmq_store *store, mmq_why *why)
{
    size_t indexes[MMQ_STORE_EXPECT_MAX];
    if (merge->selection->has_rowid || !mmq_store_wants(store, &merge->lanes[index].range)) {
        return MMQ_OK;
    }
    const size_t count = find_next(merge, index, indexes);
    return count > 1 ? expect(merge, indexes, count, store, why) : MMQ_OK;
}

/* The winner has no rows and has not ended. */
static mmq_err fill_winner(mmq_merge *merge, mmq_store *store, mmq_why *why)
{
    mmq_tournament *tournament = &merge->tournament;
    const size_t index = mmq_tournament_lane(mmq_tournament_winner(tournament));
    mmq_err err = foresee(merge, index, store, why);
    if (err == MMQ_OK) {
        err = fill(merge, index, store, why);
    }
    if (err == MMQ_OK) {
        mmq_tournament_replay(tournament, index, key_of(merge, index));
    }
    return err;
}

mmq_err mmq_merge_next(mmq_merge *merge, mmq_store *store, mmq_columns *out, bool *read,
                       mmq_why *why)
{
    const mmq_tournament *tournament = &merge->tournament;
    out->count = 0;
    merge_rows(merge, out);
    for (size_t fills = 0; fills < FILLS_MAX && out->count < MMQ_BATCH_ROWS &&
                           mmq_tournament_winner(tournament) != MMQ_TOURNAMENT_OUT;
         fills++) {
        *read = true;
        mmq_err err = fill_winner(merge, store, why);
        if (err != MMQ_OK) {
            return err;
        }
        merge_rows(merge, out);
    }
    const bool is_over = mmq_tournament_winner(tournament) == MMQ_TOURNAMENT_OUT;
    return out->count == 0 && is_over ? MMQ_EEND : MMQ_OK;
}

const mmq_row_prefix *const *mmq_merge_prefixes(const mmq_merge *merge)
{
    return merge->prefixes;
}

const mmq_lane *mmq_merge_lane(const mmq_merge *merge, size_t i)
{
    const char *queue = (const char *)merge->prefixes[i] - offsetof(struct queue, prefix);
    return &merge->lanes[(const struct queue *)(const void *)queue - merge->queues];
}

const mmq_lane *mmq_merge_winner(const mmq_merge *merge)
{
    return &merge->lanes[mmq_tournament_lane(mmq_tournament_winner(&merge->tournament))];
}

mmq_columns *mmq_merge_scratch(mmq_merge *merge)
{
    return &merge->batch;
}

size_t mmq_merge_bytes(const mmq_merge *merge)
{
    return sizeof *merge + merge->count * (sizeof *merge->queues + 2 * sizeof *merge->keys +
                                           merge->batch_max * sizeof *merge->rows);
}
