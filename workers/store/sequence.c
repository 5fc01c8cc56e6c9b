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

/* Sums are of what a hostile file may say: without a sign, they may wrap. What is within
 * least..most is found by one comparison of distances. */
struct bounds {
    uint64_t least, span;
};

static bool is_within(struct bounds bounds, uint64_t item)
{
    return item - bounds.least <= bounds.span;
}

/* A line is within bounds if its ends are, and does not wrap if its step is small. */
static bool draw_line(uint64_t first, int64_t step, size_t count, struct bounds bounds,
                      int64_t *out)
{
    const uint64_t last = first + (count - 1) * (uint64_t)step;
    const uint64_t size = step < 0 ? 0 - (uint64_t)step : (uint64_t)step;
    if (size > bounds.span || !is_within(bounds, first) || !is_within(bounds, last)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = (int64_t)(first + i * (uint64_t)step);
    }
    return true;
}

/* Steps that are not below zero stay within bounds if their sum does. */
static bool climb(uint64_t first, size_t count, struct bounds bounds, int64_t *out)
{
    uint64_t item = first;
    bool bad = !is_within(bounds, first);
    out[0] = (int64_t)first;
    for (size_t i = 1; i < count; i++) {
        bad |= (uint64_t)out[i] > bounds.span;
        out[i] = (int64_t)(item += (uint64_t)out[i]);
    }
    return !bad && is_within(bounds, item);
}

static bool wander(uint64_t first, size_t count, struct bounds bounds, int64_t *out)
{
    uint64_t item = first;
    bool bad = !is_within(bounds, first);
    out[0] = (int64_t)first;
    for (size_t i = 1; i < count; i++) {
        out[i] = (int64_t)(item += (uint64_t)out[i]);
        bad |= !is_within(bounds, item);
    }
    return !bad;
}

bool mmq_sequence_read(const uint8_t *at, const uint8_t *end, size_t count, int64_t least,
                       int64_t most, bool ascending, int64_t *out)
{
    const struct bounds bounds = {(uint64_t)least, (uint64_t)most - (uint64_t)least};
    if (end - at < 1 + 8) {
        return false;
    }
    const uint8_t coding = at[0];
    const uint64_t first = load_64(at + 1);
    at += 1 + 8;
    if (coding == CODING_LINE && end - at == 8) {
        const int64_t step = (int64_t)load_64(at);
        return !(ascending && step < 0) && draw_line(first, step, count, bounds, out);
    }
    mmq_packed steps;
    if (coding != CODING_STEPS || !mmq_packed_read(&at, end, count - 1, &steps) || at != end) {
        return false;
    }
    mmq_packed_unpack(&steps, 0, count - 1, out + 1);
    return ascending ? climb(first, count, bounds, out) : wander(first, count, bounds, out);
}
