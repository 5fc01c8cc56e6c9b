/* Any bytes as the data of a block. What a check would refuse is made right first, so that the
 * parsers of the columns are reached: the format, the size of the last column, and the head, which
 * takes its keys from the data. What opens must decode to finite numbers, the same in parts as
 * whole, and encode to a block that decodes the same. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/calendar.h"
#include "lib/check.h"
#include "workers/store/block.h"
#include "workers/store/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_keys(const uint8_t *data, size_t count, mmq_block_head *head)
{
    static int64_t keys[MMQ_BLOCK_ROWS];
    const uint8_t *at = data + MMQ_BLOCK_HEAD, *middle = at + load_16(data + 4);
    const uint8_t *end = middle + load_16(data + 6);
    if (mmq_sequence_read(at, middle, count, INT64_MIN, INT64_MAX, false, keys)) {
        head->first.timestamp = keys[0];
        head->last.timestamp = keys[count - 1];
    }
    if (mmq_sequence_read(middle, end, count, INT64_MIN, INT64_MAX, false, keys)) {
        head->first.rowid = keys[0];
        head->last.rowid = keys[count - 1];
        head->least_rowid = 1;
        head->greatest_rowid = INT64_C(1) << 53;
    }
}

/* Makes right what the bytes would be refused for at once. */
static void mend(uint8_t *data, size_t size, mmq_block_head *head)
{
    size_t columns = 0;
    data[0] = 1;
    data[1] = 0;
    memset(data + size - MMQ_PACKED_SLACK, 0, MMQ_PACKED_SLACK);
    for (size_t i = 0; i + 1 < MMQ_BLOCK_COLUMNS; i++) {
        columns += load_16(data + 4 + 2 * i);
    }
    const size_t room = size - MMQ_BLOCK_HEAD - MMQ_PACKED_SLACK, count = load_16(data + 2);
    if (columns <= room) {
        (void)store_16(data + 4 + 2 * (MMQ_BLOCK_COLUMNS - 1), room - columns);
        if (count > 0 && count <= MMQ_BLOCK_ROWS) {
            read_keys(data, count, head);
        }
    }
    head->rows = (int64_t)count;
    head->data_check = XXH3_64bits(data, size);
}

static bool decode(const mmq_doubles *column, size_t count, bool gaps, double *out)
{
    static double part[MMQ_BLOCK_ROWS];
    if (!mmq_doubles_decode(column, 0, count, out)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(isfinite(out[i]) || (gaps && isnan(out[i])));
    }
    for (size_t step = 1; step <= count; step = 3 * step + 1) {
        const size_t from = count % step, to = from + step < count ? from + step : count;
        CHECK(mmq_doubles_decode(column, from, to, part));
        CHECK(memcmp(part, out + from, (to - from) * sizeof *part) == 0);
    }
    return true;
}

/* Rows of the store are encoded to the same rows again. */
static void encode_again(mmq_block *block, double columns[3][MMQ_BLOCK_ROWS])
{
    static uint8_t encoded[MMQ_BLOCK_MAX];
    static double again[MMQ_BLOCK_ROWS];
    static mmq_block other;
    mmq_block_head head;
    const mmq_write_rows rows = {block->count, block->timestamp, block->rowid,
                                 columns[0],   columns[1],       columns[2]};
    const size_t count = block->count;
    const size_t size = mmq_block_encode(&rows, 0, count, encoded, &head);
    CHECK(size <= MMQ_BLOCK_MAX && mmq_block_open(&head, encoded, size, &other));
    CHECK(memcmp(other.timestamp, block->timestamp, count * sizeof *other.timestamp) == 0);
    CHECK(memcmp(other.rowid, block->rowid, count * sizeof *other.rowid) == 0);
    const mmq_doubles *read[] = {&other.value, &other.anomaly_score, &other.raw_score};
    for (size_t i = 0; i < 3; i++) {
        CHECK(decode(read[i], count, i > 0, again));
        CHECK(memcmp(again, columns[i], count * sizeof *again) == 0);
    }
}

/* Heads that readers refuse before they look at the data are not tried. */
static bool is_head(const mmq_block_head *head)
{
    return head->first.timestamp >= MMQ_TIME_MIN && head->last.timestamp <= MMQ_TIME_MAX &&
           head->first.timestamp <= head->last.timestamp && head->least_rowid > 0;
}

static void try_open(const mmq_block_head *head, const uint8_t *data, size_t size)
{
    static mmq_block block;
    static double columns[3][MMQ_BLOCK_ROWS];
    if (!is_head(head) || !mmq_block_open(head, data, size, &block)) {
        return;
    }
    for (size_t i = 0; i < block.count; i++) {
        CHECK(block.timestamp[i] >= block.timestamp[i > 0 ? i - 1 : 0]);
        CHECK(block.rowid[i] >= head->least_rowid && block.rowid[i] <= head->greatest_rowid);
    }
    const mmq_doubles *read[] = {&block.value, &block.anomaly_score, &block.raw_score};
    bool good = true;
    for (size_t i = 0; i < 3; i++) {
        good &= decode(read[i], block.count, i > 0, columns[i]);
    }
    if (good) {
        encode_again(&block, columns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < MMQ_BLOCK_HEAD || size > MMQ_BLOCK_MAX) {
        return 0;
    }
    mmq_block_head head = {0};
    const size_t whole = size + MMQ_PACKED_SLACK;
    uint8_t *copy = malloc(whole); /* so that ASan sees a byte too far */
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    mend(copy, whole, &head);
    try_open(&head, copy, whole);
    free(copy);
    return 0;
}
