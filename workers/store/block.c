#include "workers/store/block.h"

#include <float.h>
#include <math.h>
#include <xxhash.h>

#include "lib/bits.h"
#include "lib/calendar.h"
#include "lib/check.h"
#include "workers/store/bytes.h"

enum { FORMAT = 1 };

/* ---- heads ------------------------------------------------------------------------------ */

uint64_t mmq_block_head_check(int64_t metric, const mmq_block_head *head)
{
    const uint64_t fields[] = {
        (uint64_t)metric,
        (uint64_t)head->first.timestamp,
        (uint64_t)head->first.rowid,
        (uint64_t)head->last.timestamp,
        (uint64_t)head->last.rowid,
        (uint64_t)head->least_rowid,
        (uint64_t)head->greatest_rowid,
        (uint64_t)head->rows,
        (uint64_t)head->unscored,
        isnan(head->greatest_score) ? UINT64_MAX : mmq_bits_of(head->greatest_score),
        head->data_check,
    };
    uint8_t bytes[sizeof fields], *at = bytes;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        at = store_64(at, fields[i]);
    }
    return XXH3_64bits(bytes, sizeof bytes);
}

static void note_rowids(const int64_t *rowid, size_t count, mmq_block_head *head)
{
    head->least_rowid = head->greatest_rowid = rowid[0];
    for (size_t i = 1; i < count; i++) {
        head->least_rowid = rowid[i] < head->least_rowid ? rowid[i] : head->least_rowid;
        head->greatest_rowid = rowid[i] > head->greatest_rowid ? rowid[i] : head->greatest_rowid;
    }
}

static void note_scores(const double *score, size_t count, mmq_block_head *head)
{
    head->unscored = 0;
    head->greatest_score = NAN;
    for (size_t i = 0; i < count; i++) {
        head->unscored += isnan(score[i]) ? 1 : 0;
        if (!(score[i] <= head->greatest_score) && !isnan(score[i])) {
            head->greatest_score = score[i];
        }
    }
}

/* ---- what values come to ---------------------------------------------------------------- */

_Static_assert(LDBL_MAX_EXP >= DBL_MAX_EXP + 53, "a sum of doubles must fit a long double");

mmq_block_values mmq_block_values_of(const double *value, size_t count)
{
    CHECK(count > 0);
    double least = value[0], greatest = value[0];
    long double sum = value[0];
    for (size_t i = 1; i < count; i++) {
        least = value[i] < least ? value[i] : least;
        greatest = value[i] > greatest ? value[i] : greatest;
        sum += value[i];
    }
    const double mean = (double)(sum / (long double)count);
    return (mmq_block_values){
        .least = least,
        .greatest = greatest,
        .first = value[0],
        .last = value[count - 1],
        .mean = mean < least      ? least
                : mean > greatest ? greatest
                                  : mean,
    };
}

static uint64_t values_check(const uint8_t *numbers, int64_t metric, const mmq_block_head *head)
{
    uint8_t bytes[MMQ_BLOCK_VALUES];
    (void)store_64(bytes, mmq_block_head_check(metric, head));
    memcpy(bytes + 8, numbers, MMQ_BLOCK_VALUES - 8);
    return XXH3_64bits(bytes, sizeof bytes);
}

void mmq_block_values_write(const mmq_block_values *values, int64_t metric,
                            const mmq_block_head *head, uint8_t out[MMQ_BLOCK_VALUES])
{
    const double numbers[] = {values->least, values->greatest, values->first, values->last,
                              values->mean};
    uint8_t *at = out;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        at = store_64(at, mmq_bits_of(numbers[i]));
    }
    (void)store_64(at, values_check(out, metric, head));
}

static bool lies_in(const mmq_block_values *values, double value)
{
    return values->least <= value && value <= values->greatest;
}

bool mmq_block_values_read(const void *data, size_t size, int64_t metric,
                           const mmq_block_head *head, mmq_block_values *out)
{
    const uint8_t *bytes = data;
    if (size != MMQ_BLOCK_VALUES ||
        load_64(bytes + MMQ_BLOCK_VALUES - 8) != values_check(bytes, metric, head)) {
        return false;
    }
    double *const numbers[] = {&out->least, &out->greatest, &out->first, &out->last, &out->mean};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        *numbers[i] = mmq_double_of(load_64(bytes + 8 * i));
    }
    return isfinite(out->least) && isfinite(out->greatest) && lies_in(out, out->first) &&
           lies_in(out, out->last) && lies_in(out, out->mean);
}

/* ---- encoding --------------------------------------------------------------------------- */

size_t mmq_block_encode(const mmq_write_rows *rows, size_t from, size_t count,
                        uint8_t out[MMQ_BLOCK_MAX], mmq_block_head *head)
{
    CHECK(count > 0 && count <= MMQ_BLOCK_ROWS && count <= rows->count - from);
    uint8_t *at = out + MMQ_BLOCK_HEAD, *sizes = out + 4, *begin = at;
    const int64_t *keys[] = {rows->timestamp + from, rows->rowid + from};
    const double *numbers[] = {rows->value + from, rows->anomaly_score + from,
                               rows->raw_score + from};
    out[0] = FORMAT;
    out[1] = 0;
    (void)store_16(out + 2, count);
    for (size_t i = 0; i < MMQ_BLOCK_COLUMNS; i++, begin = at) {
        at = i < 2 ? mmq_sequence_write(keys[i], count, at)
                   : mmq_doubles_write(numbers[i - 2], count, at);
        sizes = store_16(sizes, (size_t)(at - begin));
    }
    memset(at, 0, MMQ_PACKED_SLACK);
    const size_t size = (size_t)(at - out) + MMQ_PACKED_SLACK;
    head->first = (mmq_row_key){keys[0][0], keys[1][0]};
    head->last = (mmq_row_key){keys[0][count - 1], keys[1][count - 1]};
    head->rows = (int64_t)count;
    note_rowids(keys[1], count, head);
    note_scores(numbers[1], count, head);
    head->data_check = XXH3_64bits(out, size);
    return size;
}

/* ---- opening ---------------------------------------------------------------------------- */

/* Where each column begins; the last item is where the slack does. */
static bool find_columns(const uint8_t *data, size_t size, const uint8_t *columns[])
{
    const uint8_t *at = data + MMQ_BLOCK_HEAD, *end = data + size - MMQ_PACKED_SLACK;
    for (size_t i = 0; i < MMQ_BLOCK_COLUMNS; i++) {
        const size_t column = load_16(data + 4 + 2 * i);
        if (column > (size_t)(end - at)) {
            return false;
        }
        columns[i] = at;
        at += column;
    }
    columns[MMQ_BLOCK_COLUMNS] = at;
    return at == end;
}

/* Rows at the same time stand in the order of their rowids. */
static bool ties_ascend(const mmq_block *block)
{
    bool bad = false;
    for (size_t i = 1; i < block->count; i++) {
        bad |= (block->timestamp[i] == block->timestamp[i - 1]) &
               (block->rowid[i] <= block->rowid[i - 1]);
    }
    return !bad;
}

static bool read_keys(const mmq_block_head *head, const uint8_t *columns[], mmq_block *out)
{
    const size_t last = out->count - 1;
    return mmq_sequence_read(columns[0], columns[1], out->count, head->first.timestamp,
                             head->last.timestamp, true, out->timestamp) &&
           mmq_sequence_read(columns[1], columns[2], out->count, head->least_rowid,
                             head->greatest_rowid, false, out->rowid) &&
           out->timestamp[0] == head->first.timestamp && out->rowid[0] == head->first.rowid &&
           out->timestamp[last] == head->last.timestamp && out->rowid[last] == head->last.rowid &&
           ties_ascend(out);
}

bool mmq_block_open(const mmq_block_head *head, const void *data, size_t size, mmq_block *out)
{
    const uint8_t *columns[MMQ_BLOCK_COLUMNS + 1], *bytes = data;
    if (size < MMQ_BLOCK_HEAD + MMQ_PACKED_SLACK || size > MMQ_BLOCK_MAX ||
        XXH3_64bits(data, size) != head->data_check || bytes[0] != FORMAT || bytes[1] != 0) {
        return false;
    }
    out->count = load_16(bytes + 2);
    return out->count > 0 && out->count <= MMQ_BLOCK_ROWS && (int64_t)out->count == head->rows &&
           find_columns(bytes, size, columns) && read_keys(head, columns, out) &&
           mmq_doubles_read(columns[2], columns[3], out->count, &out->value) &&
           out->value.presence == MMQ_PRESENT_ALL &&
           mmq_doubles_read(columns[3], columns[4], out->count, &out->anomaly_score) &&
           mmq_doubles_read(columns[4], columns[5], out->count, &out->raw_score);
}
