/* Rows in buckets of time. The blocks of a metric are in the order of time, as the buckets are, so
 * that one walk through heads meets both in turn. A block that lies in one bucket, and of which all
 * rows count, is not read: its head says what its rows come to. Of others the keys, the values and,
 * where there are some, the scores are decoded, and their rows go into their buckets run by run.
 *
 * There is one bucket under way, that of the position. It is given away when the walk comes to a
 * row of another one or to a block that reaches beyond it, so a range may be left behind any block
 * and taken up by another handle.
 *
 * Sums are long doubles: no sum of doubles overflows there. A block's mean, a double, times its
 * rows is exact in one (11 + 53 bits of 64), so that a bucket's mean has the error of its blocks'
 * (2^-53), that of adding them up (2^-64 each at most) and its own (2^-53). A cursor keeps the
 * mean. */
#include "workers/store/blocks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

enum {
    OPENED_MAX = 32,    /* blocks that a call decodes */
    EXAMINED_MAX = 512, /* heads that it looks at */
};

/* A call. */
typedef struct filling {
    mmq_store *store;
    mmq_bucket_range *range;
    mmq_dated_bucket *out;
    size_t count;
    size_t opened;
    mmq_row_key end; /* of the block before */
} filling;

/* Rows of the open block that count, ascending by key. */
typedef struct counted {
    size_t count;
    int64_t timestamp[MMQ_BLOCK_ROWS];
    double value[MMQ_BLOCK_ROWS], score[MMQ_BLOCK_ROWS];
} counted;

/* ---- the bucket under way --------------------------------------------------------------- */

static int64_t start_of(const mmq_bucket_range *range, int64_t timestamp)
{
    return timestamp - (timestamp - range->from) % range->width;
}

static double within(double value, double least, double greatest)
{
    return value < least ? least : value > greatest ? greatest : value;
}

static void set_mean(filling *f)
{
    mmq_bucket *bucket = &f->range->bucket;
    const double mean = (double)(f->range->sum / (long double)bucket->rows);
    bucket->mean = within(mean, bucket->least, bucket->greatest);
}

/* Gives the bucket under way away, if its rows are behind the position. */
static void end_bucket(filling *f)
{
    mmq_bucket_range *range = f->range;
    if (range->bucket.rows > 0) {
        set_mean(f);
        f->out[f->count++] = (mmq_dated_bucket){start_of(range, range->timestamp), range->bucket};
        range->bucket.rows = 0;
    }
}

/* The next rows are of the bucket of that time. */
static void enter_bucket(filling *f, int64_t timestamp)
{
    mmq_bucket_range *range = f->range;
    if (range->bucket.rows > 0 && start_of(range, range->timestamp) != start_of(range, timestamp)) {
        end_bucket(f);
    }
    if (range->bucket.rows == 0) {
        f->range->sum = 0;
    }
    range->positioned = true;
    range->timestamp = timestamp;
}

static double greater_score(double a, double b)
{
    return isnan(a) || b > a ? b : a;
}

/* Rows of the block that was entered, or a part of it. */
static void add(filling *f, const mmq_bucket *rows, long double sum)
{
    mmq_bucket *bucket = &f->range->bucket;
    f->range->sum += sum;
    if (bucket->rows == 0) {
        *bucket = *rows;
        return;
    }
    bucket->rows += rows->rows;
    bucket->unscored += rows->unscored;
    bucket->least = rows->least < bucket->least ? rows->least : bucket->least;
    bucket->greatest = rows->greatest > bucket->greatest ? rows->greatest : bucket->greatest;
    bucket->last = rows->last;
    bucket->greatest_score = greater_score(bucket->greatest_score, rows->greatest_score);
}

/* ---- rows of an open block -------------------------------------------------------------- */

/* The number of rows, from `from` on, that are before the time. */
static size_t count_before(const int64_t *timestamp, size_t from, size_t to, int64_t time)
{
    size_t low = from, high = to;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (timestamp[middle] < time) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The open block's rows that are behind the position and in the range: [*from, *to). */
static void find_span(const mmq_bucket_range *range, const mmq_block *block, size_t *from,
                      size_t *to)
{
    *to = count_before(block->timestamp, 0, block->count, range->to + 1);
    *from = count_before(block->timestamp, 0, *to, range->from);
    while (range->positioned && *from < *to &&
           (block->timestamp[*from] < range->timestamp ||
            (block->timestamp[*from] == range->timestamp && block->rowid[*from] <= range->rowid))) {
        ++*from;
    }
}

/* Keeps the rows up to rowid_most. */
static void drop_later(const mmq_bucket_range *range, const int64_t *rowid, counted *rows)
{
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        rows->timestamp[kept] = rows->timestamp[i];
        rows->value[kept] = rows->value[i];
        rows->score[kept] = rows->score[i];
        kept += rowid[i] <= range->rowid_most;
    }
    rows->count = kept;
}

/* False: damaged. */
static bool take_rows(const filling *f, const mmq_block_head *head, counted *out)
{
    const mmq_block *block = f->store->block;
    size_t from, to;
    find_span(f->range, block, &from, &to);
    out->count = to - from;
    if (out->count == 0) {
        return true;
    }
    memcpy(out->timestamp, block->timestamp + from, out->count * sizeof *out->timestamp);
    if (!mmq_doubles_decode(&block->value, from, to, out->value) ||
        !mmq_doubles_decode(&block->anomaly_score, from, to, out->score)) {
        return false;
    }
    if (head->greatest_rowid > f->range->rowid_most) {
        drop_later(f->range, block->rowid + from, out);
    }
    return true;
}

/* Rows [from, to), all of one bucket. */
static void add_run(filling *f, const counted *rows, size_t from, size_t to)
{
    mmq_bucket run = {.rows = (int64_t)(to - from),
                      .least = rows->value[from],
                      .greatest = rows->value[from],
                      .first = rows->value[from],
                      .last = rows->value[to - 1],
                      .greatest_score = NAN};
    long double sum = 0;
    for (size_t i = from; i < to; i++) {
        const double value = rows->value[i];
        run.least = value < run.least ? value : run.least;
        run.greatest = value > run.greatest ? value : run.greatest;
        sum += value;
    }
    for (size_t i = from; i < to; i++) {
        const bool absent = isnan(rows->score[i]);
        run.unscored += absent;
        run.greatest_score =
            absent ? run.greatest_score : greater_score(run.greatest_score, rows->score[i]);
    }
    add(f, &run, sum);
}

static void add_rows(filling *f, const counted *rows)
{
    const mmq_bucket_range *range = f->range;
    for (size_t from = 0; from < rows->count;) {
        const int64_t timestamp = rows->timestamp[from];
        const int64_t end = start_of(range, timestamp) + range->width;
        const size_t to = rows->timestamp[rows->count - 1] < end
                              ? rows->count
                              : count_before(rows->timestamp, from, rows->count, end);
        enter_bucket(f, timestamp);
        add_run(f, rows, from, to);
        from = to;
    }
}

static mmq_err read_block(filling *f, const mmq_stored_block *stored, mmq_why *why)
{
    counted rows;
    f->opened++;
    mmq_err err = mmq_blocks_open(f->store, stored, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (!take_rows(f, &stored->head, &rows)) {
        return mmq_blocks_damaged(f->store, stored, "the data of the", why);
    }
    add_rows(f, &rows);
    return MMQ_OK;
}

/* ---- blocks ----------------------------------------------------------------------------- */

static bool is_behind(const mmq_bucket_range *range, mmq_row_key key)
{
    const mmq_row_key position = {range->timestamp, range->rowid};
    return !range->positioned || mmq_key_is_before(position, key);
}

/* All rows of the block count, and are of one bucket. */
static bool lies_in_one(const mmq_bucket_range *range, const mmq_block_head *head)
{
    return head->first.timestamp >= range->from && head->last.timestamp <= range->to &&
           is_behind(range, head->first) && head->greatest_rowid <= range->rowid_most &&
           start_of(range, head->first.timestamp) == start_of(range, head->last.timestamp);
}

static void add_block(filling *f, const mmq_block_walk *walk)
{
    const mmq_block_head *head = &walk->block.head;
    const mmq_block_values *values = &walk->values;
    const mmq_bucket rows = {.rows = head->rows,
                             .unscored = head->unscored,
                             .least = values->least,
                             .greatest = values->greatest,
                             .first = values->first,
                             .last = values->last,
                             .greatest_score = head->greatest_score};
    enter_bucket(f, head->first.timestamp);
    add(f, &rows, (long double)values->mean * (long double)head->rows);
}

static void move_behind(filling *f, const mmq_block_head *head)
{
    mmq_bucket_range *range = f->range;
    if (head->last.timestamp > range->to) {
        range->ended = true;
    } else if (head->last.timestamp >= range->from) {
        enter_bucket(f, head->last.timestamp);
        range->rowid = head->last.rowid;
    }
}

static mmq_err take_block(filling *f, const mmq_block_walk *walk, mmq_why *why)
{
    const mmq_stored_block *stored = &walk->block;
    const mmq_block_head *head = &stored->head;
    mmq_err err = MMQ_OK;
    if (walk->said == MMQ_SAID_DAMAGED || walk->said == MMQ_SAID_VALUES_DAMAGED) {
        return mmq_blocks_damaged(f->store, stored, "the head of the", why);
    }
    if (!mmq_key_is_before(f->end, head->first) || !is_behind(f->range, head->last)) {
        return mmq_blocks_damaged(f->store, stored, "the order of the", why);
    }
    f->end = head->last;
    if (head->first.timestamp > f->range->to) {
        f->range->ended = true;
        return MMQ_OK;
    }
    if (walk->said == MMQ_SAID_ALL && lies_in_one(f->range, head)) {
        add_block(f, walk);
    } else if (head->least_rowid <= f->range->rowid_most) {
        err = read_block(f, stored, why);
    }
    move_behind(f, head);
    return err;
}

/* Where the first block with rows behind the position begins. Without one the range has ended. */
static mmq_err find_first(const filling *f, mmq_row_key *out, mmq_why *why)
{
    mmq_bucket_range *range = f->range;
    const mmq_row_key start = range->positioned ? (mmq_row_key){range->timestamp, range->rowid}
                                                : (mmq_row_key){range->from, 0};
    mmq_stored_block stored;
    bool found;
    mmq_err err = mmq_blocks_from(f->store, range->metric, start, &found, &stored, why);
    if (err == MMQ_OK && found && stored.head.first.timestamp <= range->to) {
        *out = stored.head.first;
    } else if (err == MMQ_OK) {
        range->ended = true;
    }
    return err;
}

static mmq_err walk_blocks(filling *f, size_t capacity, mmq_why *why)
{
    mmq_block_walk walk;
    mmq_row_key first;
    bool found = true;
    mmq_err err = find_first(f, &first, why);
    if (err != MMQ_OK || f->range->ended) {
        return err;
    }
    err = mmq_blocks_begin(f->store, f->range->metric, first, &walk, why);
    if (err != MMQ_OK) {
        return err;
    }
    for (size_t i = 0; i < EXAMINED_MAX && f->opened < OPENED_MAX && err == MMQ_OK &&
                       !f->range->ended && capacity - f->count >= MMQ_BUCKETS_LEAST;
         i++) {
        err = mmq_blocks_next(f->store, &walk, &found, why);
        if (err == MMQ_OK && found) {
            err = take_block(f, &walk, why);
        } else if (err == MMQ_OK) {
            f->range->ended = true;
        }
    }
    mmq_done(walk.statement);
    return err;
}

/* What heads say agrees with their checks; whether it can be is another question. */
static mmq_err check_sane(const filling *f, mmq_why *why)
{
    const mmq_bucket *under_way = &f->range->bucket;
    bool sane = under_way->rows == 0 || mmq_bucket_is_sane(under_way);
    for (size_t i = 0; i < f->count && sane; i++) {
        sane = mmq_bucket_is_sane(&f->out[i].bucket);
    }
    return sane ? MMQ_OK : mmq_damaged(f->store, "what heads of blocks say of their rows", why);
}

mmq_err mmq_store_read_buckets(mmq_store *store, mmq_bucket_range *range, mmq_dated_bucket *out,
                               size_t capacity, size_t *count, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE && capacity >= MMQ_BUCKETS_LEAST && range->width > 0);
    filling f = {.store = store, .range = range, .out = out, .end = {INT64_MIN, 0}};
    *count = 0;
    if (range->bucket.rows > 0 && range->sum == 0) {
        range->sum = (long double)range->bucket.mean * (long double)range->bucket.rows;
    }
    mmq_err err = walk_blocks(&f, capacity, why);
    if (err == MMQ_OK && range->ended) {
        end_bucket(&f);
    } else if (err == MMQ_OK && range->bucket.rows > 0) {
        set_mean(&f);
    }
    if (err == MMQ_OK) {
        err = check_sane(&f, why);
    }
    *count = err == MMQ_OK ? f.count : 0;
    return err;
}

mmq_err mmq_store_span(mmq_store *store, int64_t metric, bool *found, int64_t *first, int64_t *last,
                       mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE);
    mmq_stored_block stored;
    mmq_err err = mmq_blocks_after(store, metric, (mmq_row_key){INT64_MIN, 0}, found, &stored, why);
    if (err == MMQ_OK && *found) {
        *first = stored.head.first.timestamp;
        err =
            mmq_blocks_at(store, metric, (mmq_row_key){INT64_MAX, INT64_MAX}, found, &stored, why);
    }
    if (err == MMQ_OK && *found) {
        *last = stored.head.last.timestamp;
    }
    return err;
}
