/* Differences are of neighbours, not of differences: where steps vary at random, differences of
 * differences vary twice as much, and where they do not, packing takes no bits for either. */
#include "workers/store/sequence.h"

#include "lib/check.h"
#include "workers/store/bytes.h"

enum { CODING_LINE, CODING_STEPS };

uint8_t *mmq_sequence_write(const int64_t *items, size_t count, uint8_t *out)
{
    int64_t steps[MMQ_BLOCK_ROWS];
    CHECK(count > 0 && count <= MMQ_BLOCK_ROWS);
    bool line = true;
    for (size_t i = 1; i < count; i++) {
        steps[i - 1] = items[i] - items[i - 1];
        line &= steps[i - 1] == steps[0];
    }
    *out++ = line ? CODING_LINE : CODING_STEPS;
    out = store_64(out, (uint64_t)items[0]);
    if (line) {
        return store_64(out, count > 1 ? (uint64_t)steps[0] : 0);
    }
    const mmq_packing plan = mmq_packing_plan(steps, count - 1);
    return mmq_packed_write(&plan, steps, count - 1, out);
}

/* Sums are of what a hostile file may say: without a sign, they may wrap. */
static void draw_line(uint64_t first, uint64_t step, size_t count, int64_t *out)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (int64_t)(first + i * step);
    }
}

static bool read_steps(const uint8_t *at, const uint8_t *end, uint64_t first, size_t count,
                       int64_t *out)
{
    mmq_packed steps;
    if (!mmq_packed_read(&at, end, count - 1, &steps) || at != end) {
        return false;
    }
    mmq_packed_unpack(&steps, 0, count - 1, out + 1);
    out[0] = (int64_t)first;
    for (size_t i = 1; i < count; i++) {
        out[i] = (int64_t)(first += (uint64_t)out[i]);
    }
    return true;
}

static bool are_within(const int64_t *items, size_t count, int64_t least, int64_t most)
{
    bool outside = false;
    for (size_t i = 0; i < count; i++) {
        outside |= (items[i] < least) | (items[i] > most);
    }
    return !outside;
}

static bool ascend(const int64_t *items, size_t count)
{
    bool descend = false;
    for (size_t i = 1; i < count; i++) {
        descend |= items[i] < items[i - 1];
    }
    return !descend;
}

bool mmq_sequence_read(const uint8_t *at, const uint8_t *end, size_t count, int64_t least,
                       int64_t most, bool ascending, int64_t *out)
{
    if (end - at < 1 + 8) {
        return false;
    }
    const uint8_t coding = at[0];
    const uint64_t first = load_64(at + 1);
    at += 1 + 8;
    if (coding == CODING_LINE && end - at == 8) {
        draw_line(first, load_64(at), count, out);
    } else if (coding != CODING_STEPS || !read_steps(at, end, first, count, out)) {
        return false;
    }
    return are_within(out, count, least, most) && (!ascending || ascend(out, count));
}
