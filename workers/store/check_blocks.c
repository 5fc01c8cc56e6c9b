/* The blocks of one metric. Each is looked at by itself: its head, its place behind the one before,
 * its data, each column, and whether the head says of the rows what they are. Together they must
 * hold each rowid from 1 to the last once, but for those that were pruned, and add up to what the
 * metric's record says.
 *
 * Which rowids there are is noted in a bitmap. It has room for a window of them, so that memory is
 * bounded; metrics that are longer take another walk a window, which opens the blocks of that
 * window only. */
#include "workers/store/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "workers/store/blocks.h"
#include "workers/store/gaps.h"

/* What the walk through a metric's blocks has come to. */
typedef struct walk {
    mmq_checker *checker;
    const mmq_metric_check *metric;
    int64_t window;         /* its first rowid */
    size_t extent;          /* how many rowids of it there must be */
    bool first;             /* the first walk, which looks at everything */
    bool lost;              /* the rows of a block could not be counted */
    mmq_row_key end;        /* of the blocks so far */
    int64_t pruned;         /* rows that are in gaps */
    int64_t rows, unscored; /* of the blocks */
    int64_t greatest;       /* timestamp */
    mmq_block_walk blocks;
} walk;

__attribute__((format(printf, 2, 3))) static void block_fault(walk *w, const char *format, ...)
{
    char text[160];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    mmq_check_fault(w->checker, "%s: block from timestamp %" PRId64 ": %s", w->metric->name,
                    w->blocks.block.head.first.timestamp, text);
}

/* ---- one block -------------------------------------------------------------------------- */

/* Opens the data as store->block. *good false: it was said why that is not possible. */
static mmq_err open_data(walk *w, bool *good, mmq_why *why)
{
    mmq_store *store = w->checker->store;
    mmq_blocks_close(store);
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_BLOCK_DATA);
    mmq_bind_int(statement, 1, w->blocks.block.metric);
    mmq_bind_int(statement, 2, w->blocks.block.data);
    bool row;
    *good = false;
    mmq_err err = mmq_step(store, statement, &row, why);
    if (err != MMQ_OK) {
        return err;
    }
    size_t size = 0;
    const void *data = row ? mmq_column_blob(statement, 0, &size) : NULL;
    if (data == NULL) {
        block_fault(w, "its data is missing");
    } else if (XXH3_64bits(data, size) != w->blocks.block.head.data_check) {
        block_fault(w, "its data does not agree with its check");
    } else if (!mmq_block_open(&w->blocks.block.head, data, size, store->block)) {
        block_fault(w, "its data cannot be decoded");
    } else {
        *good = true;
    }
    return MMQ_OK;
}

static void check_scores(walk *w, const double *score, size_t count)
{
    int64_t unscored = 0;
    double greatest = NAN;
    for (size_t i = 0; i < count; i++) {
        unscored += isnan(score[i]) ? 1 : 0;
        greatest = fmax(greatest, score[i]); /* of a number and NaN the number */
    }
    const double said = w->blocks.block.head.greatest_score;
    if (unscored != w->blocks.block.head.unscored) {
        block_fault(w, "its head says that %" PRId64 " rows have no score, and %" PRId64 " have",
                    w->blocks.block.head.unscored, unscored);
    }
    if (isnan(said) != isnan(greatest) || said < greatest || said > greatest) {
        block_fault(w, "its head has another greatest score than its rows");
    }
}

/* Machines may differ in the last bit of a mean. */
static bool are_near(double a, double b, double size)
{
    return fabs(a / 4 - b / 4) <= ldexp(size, -50);
}

static void check_values(walk *w, const double *value, size_t count)
{
    const mmq_block_values said = w->blocks.values, is = mmq_block_values_of(value, count);
    const double size = fmax(fabs(is.least), fabs(is.greatest));
    const bool same = said.least == is.least && said.greatest == is.greatest &&
                      said.first == is.first && said.last == is.last;
    if (!same || !are_near(said.mean, is.mean, size)) {
        block_fault(w, "its head says another thing of its values than they are");
    }
}

/* *good false: it was said which column cannot be decoded. */
static bool check_columns(walk *w, const mmq_block *block)
{
    double item[MMQ_BLOCK_ROWS];
    bool good = true;
    if (!mmq_doubles_decode(&block->value, 0, block->count, item)) {
        block_fault(w, "its values cannot be decoded");
        good = false;
    } else if (w->blocks.said == MMQ_SAID_ALL) {
        check_values(w, item, block->count);
    }
    if (!mmq_doubles_decode(&block->raw_score, 0, block->count, item)) {
        block_fault(w, "its raw scores cannot be decoded");
        good = false;
    }
    if (!mmq_doubles_decode(&block->anomaly_score, 0, block->count, item)) {
        block_fault(w, "its anomaly scores cannot be decoded");
        return false;
    }
    check_scores(w, item, block->count);
    return good;
}

static void check_keys(walk *w, const mmq_block *block)
{
    int64_t least = block->rowid[0], greatest = block->rowid[0];
    bool ordered = true;
    for (size_t i = 1; i < block->count; i++) {
        const mmq_row_key before = {block->timestamp[i - 1], block->rowid[i - 1]};
        const mmq_row_key row = {block->timestamp[i], block->rowid[i]};
        ordered &= mmq_key_is_before(before, row);
        least = row.rowid < least ? row.rowid : least;
        greatest = row.rowid > greatest ? row.rowid : greatest;
    }
    if (!ordered) {
        block_fault(w, "its rows are out of order");
    }
    if (least != w->blocks.block.head.least_rowid ||
        greatest != w->blocks.block.head.greatest_rowid) {
        block_fault(w, "its head has another least or greatest rowid than its rows");
    }
}

/* Marks the rowids that lie in the window. */
static void see_rowids(walk *w, const mmq_block *block)
{
    uint64_t *seen = w->checker->seen;
    int64_t twice = 0;
    for (size_t i = 0; i < block->count; i++) {
        const uint64_t place = (uint64_t)(block->rowid[i] - w->window);
        if (place < w->extent) {
            const uint64_t bit = UINT64_C(1) << place % 64;
            twice = (seen[place / 64] & bit) != 0 && twice == 0 ? block->rowid[i] : twice;
            seen[place / 64] |= bit;
        }
    }
    if (twice > 0) {
        block_fault(w, "rowid %" PRId64 " is there twice%s", twice,
                    w->pruned > 0 ? ", or was pruned" : "");
    }
}

static void check_place(walk *w)
{
    const mmq_block_head *head = &w->blocks.block.head;
    if (!mmq_key_is_before(w->end, head->first)) {
        block_fault(w, "it is not behind the block before it");
    }
    if (mmq_key_is_before(w->end, head->last)) {
        w->end = head->last;
    }
    if (w->metric->recorded && head->greatest_rowid > w->metric->head.last_rowid) {
        block_fault(w, "it has rowid %" PRId64 ", and the metric's last is %" PRId64,
                    head->greatest_rowid, w->metric->head.last_rowid);
    }
}

static mmq_err check_block(walk *w, mmq_why *why)
{
    const mmq_block_head *head = &w->blocks.block.head;
    mmq_checker *checker = w->checker;
    check_place(w);
    w->rows += head->rows;
    w->unscored += head->unscored;
    w->greatest = head->last.timestamp > w->greatest ? head->last.timestamp : w->greatest;
    checker->sums->rows += head->rows;
    bool good;
    mmq_err err = open_data(w, &good, why);
    if (err == MMQ_OK && good) {
        good = check_columns(w, checker->store->block);
        check_keys(w, checker->store->block);
        see_rowids(w, checker->store->block);
    }
    w->lost |= !good;
    return err == MMQ_OK ? mmq_check_tell(checker, "checking rows", checker->sums->rows,
                                          checker->rows_total, why)
                         : err;
}

/* A later walk: the block was looked at before. */
static mmq_err recheck_block(walk *w, mmq_why *why)
{
    const mmq_block_head *head = &w->blocks.block.head;
    if (head->greatest_rowid < w->window || head->least_rowid - w->window >= MMQ_CHECK_WINDOW) {
        return MMQ_OK;
    }
    bool good;
    mmq_err err = open_data(w, &good, why);
    if (err == MMQ_OK && good) {
        see_rowids(w, w->checker->store->block);
    }
    return err;
}

/* ---- all blocks ------------------------------------------------------------------------- */

static mmq_err look_at_block(walk *w, mmq_why *why)
{
    w->checker->sums->blocks += w->first ? 1 : 0;
    if (w->first && w->blocks.said == MMQ_SAID_VALUES_DAMAGED) {
        block_fault(w, "what its head says of its values is damaged");
    }
    if (w->blocks.said == MMQ_SAID_DAMAGED) {
        block_fault(w, "its head is damaged");
        w->lost = true;
        return MMQ_OK;
    }
    return w->first ? check_block(w, why) : recheck_block(w, why);
}

static mmq_err walk_blocks(walk *w, mmq_why *why)
{
    mmq_store *store = w->checker->store;
    const mmq_row_key start = {INT64_MIN, 0};
    bool found = true;
    mmq_err err = mmq_blocks_begin(store, w->metric->key, start, &w->blocks, why);
    if (err != MMQ_OK) {
        return err;
    }
    while (err == MMQ_OK && found) {
        err = mmq_blocks_next(store, &w->blocks, &found, why);
        if (err == MMQ_OK && found) {
            err = look_at_block(w, why);
        }
    }
    mmq_done(w->blocks.statement);
    mmq_blocks_close(store);
    return err;
}

/* Marks rowids [from, to) of the window, 64 at a time where that is possible. */
static void mark(uint64_t *seen, size_t from, size_t to)
{
    for (size_t place = from; place < to;) {
        if (place % 64 == 0 && to - place >= 64) {
            seen[place / 64] = UINT64_MAX;
            place += 64;
        } else {
            seen[place / 64] |= UINT64_C(1) << place % 64;
            place++;
        }
    }
}

static void see_gap(void *context, mmq_gap gap)
{
    walk *w = context;
    const int64_t last = w->window + (int64_t)w->extent - 1;
    const int64_t from = gap.first > w->window ? gap.first : w->window;
    const int64_t to = gap.last < last ? gap.last : last;
    mark(w->checker->seen, (size_t)(from - w->window), (size_t)(to - w->window) + 1);
}

static void count_gap(void *context, mmq_gap gap)
{
    walk *w = context;
    w->pruned += gap.last - gap.first + 1;
    if (w->metric->recorded && gap.last > w->metric->head.last_rowid) {
        mmq_check_fault(w->checker,
                        "%s: rows up to %" PRId64 " are said to be pruned, and its last is"
                        " %" PRId64,
                        w->metric->name, gap.last, w->metric->head.last_rowid);
    }
}

static mmq_err see_gaps(walk *w, mmq_why *why)
{
    mmq_store *store = w->checker->store;
    const int64_t key = w->metric->key;
    mmq_err err =
        w->first ? mmq_gaps_each(store, key, 1, MMQ_ROWID_MAX, count_gap, w, why) : MMQ_OK;
    return err == MMQ_OK && w->extent > 0
               ? mmq_gaps_each(store, key, w->window, w->window + (int64_t)w->extent - 1, see_gap,
                               w, why)
               : err;
}

static void find_gap(walk *w)
{
    const uint64_t *seen = w->checker->seen;
    size_t missing = 0, first = 0;
    for (size_t place = 0; place < w->extent; place++) {
        if (place % 64 == 0 && seen[place / 64] == UINT64_MAX) {
            place += 63;
        } else if ((seen[place / 64] >> place % 64 & 1) == 0) {
            first = missing == 0 ? place : first;
            missing++;
        }
    }
    if (missing > 0) {
        mmq_check_fault(w->checker, "%s: row %" PRId64 " is missing%s", w->metric->name,
                        w->window + (int64_t)first, missing > 1 ? ", and others" : "");
    }
}

static void compare_sums(const walk *w)
{
    const mmq_metric_check *metric = w->metric;
    mmq_checker *checker = w->checker;
    if (w->rows != metric->head.last_rowid - w->pruned) {
        mmq_check_fault(checker,
                        "%s: its record says %" PRId64 " rows, and its blocks have %" PRId64,
                        metric->name, metric->head.last_rowid - w->pruned, w->rows);
    }
    if (w->unscored != metric->unscored) {
        mmq_check_fault(checker,
                        "%s: its record says %" PRId64 " rows without a score, and its blocks have"
                        " %" PRId64,
                        metric->name, metric->unscored, w->unscored);
    }
    /* The newest row goes last in a prune; rows that came later may be older. */
    const bool fits = w->greatest == metric->last_timestamp ||
                      (w->pruned > 0 && w->greatest < metric->last_timestamp);
    if (w->rows > 0 && metric->has_rows && !fits) {
        mmq_check_fault(checker,
                        "%s: its record says that its greatest timestamp is %" PRId64
                        ", and its blocks' is %" PRId64,
                        metric->name, metric->last_timestamp, w->greatest);
    }
}

/* How many rowids from `first` on the window has. */
static size_t window_extent(const mmq_metric_check *metric, int64_t first)
{
    const int64_t left = metric->recorded ? metric->head.last_rowid - first + 1 : 0;
    return left < MMQ_CHECK_WINDOW ? (size_t)(left > 0 ? left : 0) : MMQ_CHECK_WINDOW;
}

static mmq_err walk_window(walk *w, mmq_why *why)
{
    w->extent = window_extent(w->metric, w->window);
    memset(w->checker->seen, 0, (w->extent + 63) / 64 * sizeof *w->checker->seen);
    mmq_err err = see_gaps(w, why);
    if (err == MMQ_OK) {
        err = walk_blocks(w, why);
    }
    if (err == MMQ_OK && !w->lost) {
        find_gap(w);
    }
    return err;
}

/* Where the rows do not add up, the record is no measure of how many windows there are. */
mmq_err mmq_check_blocks(mmq_checker *checker, const mmq_metric_check *metric, mmq_why *why)
{
    walk w = {
        .checker = checker,
        .metric = metric,
        .window = 1,
        .first = true,
        .end = {INT64_MIN, 0},
        .greatest = INT64_MIN,
    };
    mmq_err err = walk_window(&w, why);
    const bool summable = err == MMQ_OK && !w.lost && metric->recorded;
    if (summable) {
        compare_sums(&w);
    }
    w.first = false;
    const bool adds_up = summable && w.rows == metric->head.last_rowid - w.pruned;
    const int64_t last = adds_up ? metric->head.last_rowid : 0;
    for (w.window += MMQ_CHECK_WINDOW; err == MMQ_OK && w.window <= last;
         w.window += MMQ_CHECK_WINDOW) {
        err = walk_window(&w, why);
    }
    return err;
}
