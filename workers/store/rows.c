/* Rows of one metric, from its blocks.
 *
 * By time: the range is a walk through blocks, from a place in one of them. A block is found by a
 * seek for its head; a range that has just read a block to its end knows that the next one is
 * behind it, which is a cheaper seek, as long as the transaction is the same. What is not wanted is
 * skipped by head, then by row: scores are decoded before values, and values only where a score was
 * wanted.
 *
 * By rowid: a window of them has a place for each row. Places of rows that were pruned are filled
 * first, from the list of gaps; the rest must be in blocks, which are found by the least rowid in
 * them. So a row that is missing is known from one that was pruned. */
#include "workers/store/blocks.h"
#include "workers/store/gaps.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"

enum { BLOCKS_EXAMINED_MAX = 64 };

/* ---- finding blocks by time ------------------------------------------------------------- */

/* Rows behind this are still to be read, in the range's direction. */
static mmq_row_key start_of(const mmq_range *range)
{
    const mmq_row_key position = {range->timestamp, range->rowid};
    const mmq_row_key start =
        range->ascending ? (mmq_row_key){range->from, 0} : (mmq_row_key){range->to, INT64_MAX};
    if (!range->positioned) {
        return start;
    }
    return mmq_key_is_before(position, start) == range->ascending ? start : position;
}

/* Where the block is looked for: upwards it is the first that ends behind the place, downwards the
 * last that begins there or before, which is before the start. */
static mmq_sought sought_of(const mmq_range *range)
{
    const mmq_row_key start = start_of(range);
    return (mmq_sought){range->metric, start.timestamp, start.rowid - (range->ascending ? 0 : 1)};
}

static bool is_at_end_of_block(const mmq_store *store, const mmq_range *range)
{
    return range->positioned && range->block_read_in == store->transaction;
}

static mmq_err find_up(mmq_store *store, const mmq_range *range, bool *found, mmq_stored_block *out,
                       mmq_why *why)
{
    const mmq_row_key start = start_of(range);
    return is_at_end_of_block(store, range)
               ? mmq_blocks_after(store, range->metric, start, found, out, why)
               : mmq_blocks_from(store, range->metric, start, found, out, why);
}

static mmq_err find_down(mmq_store *store, const mmq_range *range, bool *found,
                         mmq_stored_block *out, mmq_why *why)
{
    const mmq_sought sought = sought_of(range);
    const mmq_row_key key = {sought.timestamp, sought.rowid};
    return mmq_blocks_at(store, range->metric, key, found, out, why);
}

/* The next block with rows in the range; *found false: there is none. */
static mmq_err find_block(mmq_store *store, const mmq_range *range, bool *found,
                          mmq_stored_block *out, mmq_why *why)
{
    mmq_err err = range->ascending ? find_up(store, range, found, out, why)
                                   : find_down(store, range, found, out, why);
    if (err == MMQ_OK && *found) {
        *found = range->ascending ? out->head.first.timestamp <= range->to
                                  : out->head.last.timestamp >= range->from;
    }
    return err;
}

/* ---- what is wanted of a block ---------------------------------------------------------- */

static bool is_wanted(const mmq_range *range, const mmq_block_head *head)
{
    if (range->rowid_most > 0 && head->least_rowid > range->rowid_most) {
        return false;
    }
    return range->scores == MMQ_SCORES_ANY ||
           (range->scores == MMQ_SCORES_PRESENT ? head->unscored < head->rows
                                                : head->greatest_score >= range->least_score);
}

/* Some rows may be wanted and others not. */
static bool needs_filter(const mmq_range *range, const mmq_block_head *head)
{
    return (range->rowid_most > 0 && head->greatest_rowid > range->rowid_most) ||
           range->scores == MMQ_SCORES_LEAST ||
           (range->scores == MMQ_SCORES_PRESENT && head->unscored > 0);
}

/* The number of the open block's rows that are not behind key. */
static size_t count_up_to(const mmq_block *block, mmq_row_key key)
{
    size_t low = 0, high = block->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const mmq_row_key row = {block->timestamp[middle], block->rowid[middle]};
        if (mmq_key_is_before(key, row)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Rows [from, to) of the open block are in the range and not read yet. */
typedef struct span {
    size_t from, to;
} span;

static span span_of(const mmq_range *range, const mmq_block *block)
{
    const mmq_row_key start = start_of(range);
    const mmq_row_key least = {range->from, 0}, most = {range->to, INT64_MAX};
    const mmq_row_key before = {start.timestamp, start.rowid - 1};
    const span rows = {
        .from = count_up_to(block, range->ascending ? start : least),
        .to = count_up_to(block, range->ascending ? most : before),
    };
    return rows.from < rows.to ? rows : (span){rows.from, rows.from};
}

static bool row_is_wanted(const mmq_range *range, int64_t rowid, double score)
{
    return (range->rowid_most == 0 || rowid <= range->rowid_most) &&
           (range->scores == MMQ_SCORES_ANY ||
            (range->scores == MMQ_SCORES_PRESENT ? !isnan(score) : score >= range->least_score));
}

/* ---- taking rows ------------------------------------------------------------------------ */

/* Appends rows [from, to) of the open block, ascending. */
static bool take_all(const mmq_block *block, span rows, mmq_columns *out)
{
    const size_t count = rows.to - rows.from, at = out->count;
    memcpy(out->timestamp + at, block->timestamp + rows.from, count * sizeof *out->timestamp);
    memcpy(out->rowid + at, block->rowid + rows.from, count * sizeof *out->rowid);
    out->count += count;
    return mmq_doubles_decode(&block->value, rows.from, rows.to, out->value + at) &&
           mmq_doubles_decode(&block->anomaly_score, rows.from, rows.to, out->anomaly_score + at);
}

/* Narrows rows to those, next in the range's direction, of which `wanted` are wanted; their places
 * go to `places`, ascending. */
static size_t pick(const mmq_range *range, const mmq_block *block, const double *score,
                   size_t wanted, span *rows, uint16_t *places)
{
    const span all = *rows;
    size_t count = 0;
    for (size_t step = 0; step < all.to - all.from; step++) {
        const size_t row = range->ascending ? all.from + step : all.to - 1 - step;
        if (!row_is_wanted(range, block->rowid[row], score[row - all.from])) {
            continue;
        }
        places[range->ascending ? count : wanted - 1 - count] = (uint16_t)row;
        if (++count == wanted) {
            *rows = range->ascending ? (span){all.from, row + 1} : (span){row, all.to};
            return count;
        }
    }
    if (!range->ascending) {
        memmove(places, places + wanted - count, count * sizeof *places);
    }
    return count;
}

/* Where few are wanted they are decoded one by one. */
static bool decode_places(const mmq_block *block, span rows, const uint16_t *places, size_t count,
                          double *out)
{
    double values[MMQ_BLOCK_ROWS];
    if (count * 8 < rows.to - rows.from) {
        for (size_t i = 0; i < count; i++) {
            if (!mmq_doubles_decode(&block->value, places[i], places[i] + (size_t)1, &out[i])) {
                return false;
            }
        }
        return true;
    }
    if (!mmq_doubles_decode(&block->value, rows.from, rows.to, values)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = values[places[i] - rows.from];
    }
    return true;
}

static bool take_wanted(const mmq_range *range, const mmq_block *block, size_t wanted, span *rows,
                        mmq_columns *out)
{
    double score[MMQ_BLOCK_ROWS];
    uint16_t places[MMQ_BLOCK_ROWS];
    const span all = *rows;
    if (!mmq_doubles_decode(&block->anomaly_score, all.from, all.to, score)) {
        return false;
    }
    const size_t count = pick(range, block, score, wanted, rows, places), at = out->count;
    for (size_t i = 0; i < count; i++) {
        out->timestamp[at + i] = block->timestamp[places[i]];
        out->rowid[at + i] = block->rowid[places[i]];
        out->anomaly_score[at + i] = score[places[i] - all.from];
    }
    out->count += count;
    return count == 0 || decode_places(block, all, places, count, out->value + at);
}

/* 8-byte items, integers or doubles. */
static void reverse(void *items, size_t count)
{
    char *low = items, *high = low + count * sizeof(uint64_t);
    for (size_t i = 0; i < count / 2; i++, low += sizeof(uint64_t)) {
        uint64_t a, b;
        high -= sizeof(uint64_t);
        memcpy(&a, low, sizeof a);
        memcpy(&b, high, sizeof b);
        memcpy(low, &b, sizeof b);
        memcpy(high, &a, sizeof a);
    }
}

/* The rows from `from` on. */
static void turn_round(mmq_columns *out, size_t from)
{
    const size_t count = out->count - from;
    reverse(out->timestamp + from, count);
    reverse(out->rowid + from, count);
    reverse(out->value + from, count);
    reverse(out->anomaly_score + from, count);
}

/* Takes what is wanted of `rows`, at most `wanted`, and narrows them to those that were looked at.
 * False: damaged. */
static bool take_rows(const mmq_range *range, const mmq_block_head *head, const mmq_block *block,
                      size_t wanted, span *rows, mmq_columns *out)
{
    const size_t at = out->count;
    bool good;
    if (needs_filter(range, head)) {
        good = take_wanted(range, block, wanted, rows, out);
    } else {
        if (rows->to - rows->from > wanted) {
            *rows = range->ascending ? (span){rows->from, rows->from + wanted}
                                     : (span){rows->to - wanted, rows->to};
        }
        good = take_all(block, *rows, out);
    }
    if (!range->ascending) {
        turn_round(out, at);
    }
    return good;
}

/* ---- by time ---------------------------------------------------------------------------- */

static void move_to(mmq_range *range, mmq_row_key key)
{
    range->positioned = true;
    range->timestamp = key.timestamp;
    range->rowid = key.rowid;
}

static void move_behind_block(const mmq_store *store, mmq_range *range, const mmq_block_head *head)
{
    const mmq_row_key end = range->ascending ? head->last : head->first;
    range->ended = range->ascending ? end.timestamp > range->to : end.timestamp < range->from;
    move_to(range, end);
    range->block_read_in = store->transaction;
}

/* Rows `looked` of those that were to be read of the block have been looked at. */
static void move_behind(const mmq_store *store, mmq_range *range, const mmq_stored_block *stored,
                        span all, span looked)
{
    const mmq_block *block = store->block;
    if (looked.from == all.from && looked.to == all.to) {
        move_behind_block(store, range, &stored->head);
        return;
    }
    const size_t row = range->ascending ? looked.to - 1 : looked.from;
    move_to(range, (mmq_row_key){block->timestamp[row], block->rowid[row]});
    range->block_read_in = 0;
}

static mmq_err read_block(mmq_store *store, mmq_range *range, const mmq_stored_block *stored,
                          mmq_columns *out, size_t capacity, mmq_why *why)
{
    mmq_err err = mmq_blocks_open(store, stored, why);
    if (err != MMQ_OK) {
        return err;
    }
    const span all = span_of(range, store->block);
    span looked = all;
    if (!take_rows(range, &stored->head, store->block, capacity - out->count, &looked, out)) {
        return mmq_blocks_damaged(store, stored, "the data of the", why);
    }
    move_behind(store, range, stored, all, looked);
    return MMQ_OK;
}

mmq_err mmq_store_read_time(mmq_store *store, mmq_range *range, mmq_columns *out, size_t capacity,
                            mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE && capacity <= MMQ_BATCH_ROWS);
    out->count = 0;
    range->ended |= range->from > range->to;
    /* Half of what was asked for is enough, if it ends where a block ends: the next read then opens
     * no block that was open already. */
    const size_t enough = (capacity + 1) / 2;
    for (size_t i = 0; i < BLOCKS_EXAMINED_MAX && out->count < enough && !range->ended; i++) {
        mmq_stored_block stored;
        bool found;
        mmq_err err = find_block(store, range, &found, &stored, why);
        if (err == MMQ_OK && !found) {
            range->ended = true;
        } else if (err == MMQ_OK && is_wanted(range, &stored.head)) {
            err = read_block(store, range, &stored, out, capacity, why);
        } else if (err == MMQ_OK) {
            move_behind_block(store, range, &stored.head);
        }
        if (err != MMQ_OK) {
            return err;
        }
    }
    return MMQ_OK;
}

bool mmq_store_wants(mmq_store *store, const mmq_range *range)
{
    const mmq_sought sought = sought_of(range);
    return store->engine->expects != NULL &&
           !store->engine->expects(store, range->ascending, &sought);
}

mmq_err mmq_store_expect(mmq_store *store, const mmq_range *const ranges[], size_t count,
                         mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE && count <= MMQ_STORE_EXPECT_MAX);
    mmq_sought next[MMQ_STORE_EXPECT_MAX];
    if (store->engine->expect == NULL || count == 0) {
        return MMQ_OK;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(ranges[i]->ascending == ranges[0]->ascending);
        next[i] = sought_of(ranges[i]);
    }
    return store->engine->expect(store, ranges[0]->ascending, next, count, why);
}

/* ---- by rowid --------------------------------------------------------------------------- */

/* Rowids [first, first + size), where they go and which of them are there. */
struct window {
    int64_t first;
    size_t size, found;
    bool marking; /* gaps are being filled, else emptied */
    const mmq_rowid_window *out;
};

static bool is_in(const struct window *window, int64_t rowid)
{
    return (uint64_t)(rowid - window->first) < window->size;
}

/* The rows between the first and the last that is in the window. */
static span find_span(const mmq_block *block, const struct window *window)
{
    span rows = {0, block->count};
    while (rows.from < rows.to && !is_in(window, block->rowid[rows.from])) {
        rows.from++;
    }
    while (rows.to > rows.from && !is_in(window, block->rowid[rows.to - 1])) {
        rows.to--;
    }
    return rows;
}

static bool place_rows(const mmq_block *block, struct window *window)
{
    double value[MMQ_BLOCK_ROWS], anomaly_score[MMQ_BLOCK_ROWS], raw_score[MMQ_BLOCK_ROWS];
    const mmq_rowid_window *out = window->out;
    const span rows = find_span(block, window);
    if (!mmq_doubles_decode(&block->value, rows.from, rows.to, value) ||
        !mmq_doubles_decode(&block->anomaly_score, rows.from, rows.to, anomaly_score) ||
        !mmq_doubles_decode(&block->raw_score, rows.from, rows.to, raw_score)) {
        return false;
    }
    for (size_t i = rows.from; i < rows.to; i++) {
        if (!is_in(window, block->rowid[i])) {
            continue;
        }
        const size_t place = (size_t)(block->rowid[i] - window->first);
        if (out->there[place]) {
            return false;
        }
        out->there[place] = true;
        window->found++;
        out->timestamp[place] = block->timestamp[i];
        out->value[place] = value[i - rows.from];
        out->anomaly_score[place] = anomaly_score[i - rows.from];
        out->raw_score[place] = raw_score[i - rows.from];
    }
    return true;
}

static void take_gap(void *context, mmq_gap gap)
{
    struct window *window = context;
    const int64_t last = window->first + (int64_t)window->size - 1;
    const int64_t from = gap.first > window->first ? gap.first : window->first;
    const int64_t to = gap.last < last ? gap.last : last;
    const size_t count = (size_t)(to - from) + 1;
    memset(window->out->there + (from - window->first), window->marking,
           count * sizeof *window->out->there);
    window->found += window->marking ? count : 0;
}

/* Takes the places of rows that were pruned for filled, or back. */
static mmq_err mark_gaps(mmq_store *store, int64_t metric, struct window *window, bool filled,
                         mmq_why *why)
{
    window->marking = filled;
    return mmq_gaps_each(store, metric, window->first, window->first + (int64_t)window->size - 1,
                         take_gap, window, why);
}

/* *blocks: how many were opened. */
static mmq_err fill_window(mmq_store *store, int64_t metric, struct window *window, size_t *blocks,
                           mmq_why *why)
{
    mmq_err err = MMQ_OK;
    *blocks = 0;
    mmq_rowid_walk walk;
    mmq_blocks_begin_rowid(store, metric, window->first + (int64_t)window->size - 1, &walk);
    while (err == MMQ_OK && window->found < window->size) {
        mmq_stored_block stored;
        bool found;
        err = mmq_blocks_next_rowid(store, &walk, &found, &stored, why);
        if (err != MMQ_OK || !found) {
            return err;
        }
        if (stored.head.greatest_rowid < window->first) {
            continue;
        }
        ++*blocks;
        err = mmq_blocks_open(store, &stored, why);
        if (err == MMQ_OK && !place_rows(store->block, window)) {
            err = mmq_blocks_damaged(store, &stored, "the data of the", why);
        }
    }
    mmq_blocks_end_rowid(store);
    return err;
}

/* Whether the window holds all rows of the metric that are in it; nothing is known of a metric that
 * was deleted. */
static mmq_err check_window(mmq_store *store, int64_t metric, const struct window *window,
                            mmq_why *why)
{
    int64_t last;
    bool known;
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_LENGTH);
    mmq_bind_int(statement, 1, metric);
    mmq_err err = mmq_read_int(store, statement, &known, &last, "a metric's length", why);
    if (err != MMQ_OK) {
        return err;
    }
    size_t there = 0;
    while (there < window->size && window->out->there[there]) {
        there++;
    }
    const bool some_behind = there < window->found;
    const bool some_missing =
        known && there < window->size && last - window->first >= (int64_t)there;
    return some_behind || some_missing ? mmq_damaged(store, "rows are missing", why) : MMQ_OK;
}

mmq_err mmq_store_read_window(mmq_store *store, int64_t metric, int64_t first, int64_t last,
                              mmq_rowid_window *out, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE && first >= 1);
    out->count = out->blocks = 0;
    if (first > last || out->capacity == 0) {
        return MMQ_OK;
    }
    struct window window = {.first = first, .size = out->capacity, .out = out};
    if ((uint64_t)(last - first) < out->capacity) {
        window.size = (size_t)(last - first) + 1;
    }
    memset(out->there, 0, window.size * sizeof *out->there);
    mmq_err err = mark_gaps(store, metric, &window, true, why);
    if (err == MMQ_OK) {
        err = fill_window(store, metric, &window, &out->blocks, why);
    }
    if (err == MMQ_OK && window.found < window.size) {
        err = check_window(store, metric, &window, why);
    }
    if (err == MMQ_OK) {
        err = mark_gaps(store, metric, &window, false, why);
    }
    out->count = err == MMQ_OK ? window.found : 0;
    return err;
}

/* Moves the rows that are there together; returns how many they are. */
static size_t close_up(const mmq_rowid_window *window, int64_t first, mmq_columns *out)
{
    size_t count = 0;
    for (size_t i = 0; i < window->count; i++) {
        if (window->there[i]) {
            out->timestamp[count] = out->timestamp[i];
            out->rowid[count] = first + (int64_t)i;
            out->value[count] = out->value[i];
            out->anomaly_score[count] = out->anomaly_score[i];
            out->raw_score[count] = out->raw_score[i];
            count++;
        }
    }
    return count;
}

/* The first rowid from *rowid on that is in no gap. */
static mmq_err skip_gap(mmq_store *store, int64_t metric, int64_t *rowid, mmq_why *why)
{
    mmq_gap gap;
    bool found;
    mmq_err err = mmq_gap_at(store, metric, *rowid, &found, &gap, why);
    if (err == MMQ_OK && found && gap.last >= *rowid) {
        *rowid = gap.last + 1;
    }
    return err;
}

mmq_err mmq_store_read_rowids(mmq_store *store, int64_t metric, int64_t first, int64_t last,
                              mmq_columns *out, size_t capacity, mmq_why *why)
{
    CHECK(capacity <= MMQ_BATCH_ROWS);
    bool there[MMQ_BATCH_ROWS];
    mmq_rowid_window window = {.capacity = capacity,
                               .timestamp = out->timestamp,
                               .value = out->value,
                               .anomaly_score = out->anomaly_score,
                               .raw_score = out->raw_score,
                               .there = there};
    out->count = 0;
    first = first < 1 ? 1 : first;
    mmq_err err = skip_gap(store, metric, &first, why);
    if (err == MMQ_OK) { /* it begins with a row, or there is none */
        err = mmq_store_read_window(store, metric, first, last, &window, why);
    }
    if (err == MMQ_OK) {
        out->count = close_up(&window, first, out);
    }
    return err;
}
