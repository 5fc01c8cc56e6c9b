/* The base is the least item, unless few items far below the others make them wide: then those are
 * patches, as are those far above. What is best is found by size, over the widths that occur. */
#include "workers/store/packed.h"

#include "lib/check.h"
#include "workers/store/bytes.h"

enum {
    WIDTH_MAX = 56, /* a byte-aligned word holds it wherever it begins */
    WIDTHS = 65,
    PATCH_BYTES = 2 + 8,
};

static size_t bit_bytes(size_t count, unsigned width)
{
    return (count * width + 7) / 8;
}

static uint64_t mask_of(unsigned width)
{
    return width == 0 ? 0 : UINT64_MAX >> (64 - width);
}

static unsigned width_of(uint64_t offset)
{
    unsigned width = offset == 0 ? 0 : 64 - (unsigned)__builtin_clzll(offset);
    return width > WIDTH_MAX ? 64 : width;
}

static uint64_t offset_of(int64_t item, int64_t base)
{
    return (uint64_t)item - (uint64_t)base;
}

/* ---- planning --------------------------------------------------------------------------- */

static int64_t least_of(const int64_t *items, size_t count)
{
    int64_t least = items[0];
    for (size_t i = 1; i < count; i++) {
        least = items[i] < least ? items[i] : least;
    }
    return least;
}

/* The best width for `count` items, of which of_width[w] need w bits and the rest are patches. */
static mmq_packing best_width(const size_t of_width[], size_t count)
{
    mmq_packing best = {.size = SIZE_MAX};
    size_t patches = count;
    for (unsigned width = 0; width < WIDTHS; width++) {
        patches -= of_width[width];
        const size_t size = MMQ_PACKED_HEAD + bit_bytes(count, width) + patches * PATCH_BYTES;
        if ((width <= WIDTH_MAX || width == 64) && size < best.size) {
            best = (mmq_packing){width, 0, patches, size};
        }
    }
    return best;
}

/* The best width for a base; items below the base are patches. */
static mmq_packing plan_for_base(const int64_t *items, size_t count, int64_t base)
{
    size_t of_width[WIDTHS] = {0};
    for (size_t i = 0; i < count; i++) {
        if (items[i] >= base) {
            of_width[width_of(offset_of(items[i], base))]++;
        }
    }
    mmq_packing best = best_width(of_width, count);
    best.base = base;
    return best;
}

/* An item of which many are near, most likely: the median of a few. */
static int64_t typical_of(const int64_t *items, size_t count)
{
    int64_t sample[9] = {0};
    for (size_t i = 0; i < 9; i++) {
        int64_t item = items[i * (count - 1) / 8];
        size_t at = i;
        for (; at > 0 && sample[at - 1] > item; at--) {
            sample[at] = sample[at - 1];
        }
        sample[at] = item;
    }
    return sample[4];
}

/* The least item that is not far below a typical one; how far is too far is found by size, too. */
static int64_t least_near(const int64_t *items, size_t count, int64_t typical)
{
    size_t of_width[WIDTHS] = {0};
    for (size_t i = 0; i < count; i++) {
        of_width[items[i] < typical ? width_of(offset_of(typical, items[i])) : 0]++;
    }
    const unsigned width = best_width(of_width, count).width;
    int64_t least = typical;
    for (size_t i = 0; i < count; i++) {
        if (items[i] < least && width_of(offset_of(typical, items[i])) <= width) {
            least = items[i];
        }
    }
    return least;
}

mmq_packing mmq_packing_plan(const int64_t *items, size_t count)
{
    CHECK(count <= MMQ_BLOCK_ROWS);
    if (count == 0) {
        return (mmq_packing){.size = MMQ_PACKED_HEAD};
    }
    const int64_t least = least_of(items, count);
    const mmq_packing plain = plan_for_base(items, count, least);
    if (plain.width == 0) {
        return plain;
    }
    const int64_t base = least_near(items, count, typical_of(items, count));
    if (base == least) {
        return plain;
    }
    const mmq_packing near = plan_for_base(items, count, base);
    return near.size < plain.size ? near : plain;
}

/* ---- writing ---------------------------------------------------------------------------- */

static bool is_patch(const mmq_packing *plan, int64_t item)
{
    return item < plan->base || offset_of(item, plan->base) > mask_of(plan->width);
}

static uint8_t *write_bits(const mmq_packing *plan, const int64_t *items, size_t count,
                           uint8_t *out)
{
    uint64_t word = 0;
    unsigned used = 0; /* bits of word, below 8 between items unless the width is 64 */
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = is_patch(plan, items[i]) ? 0 : offset_of(items[i], plan->base);
        if (plan->width == 64) {
            out = store_64(out, offset);
            continue;
        }
        word |= offset << used;
        used += plan->width;
        for (; used >= 8; used -= 8, word >>= 8) {
            *out++ = (uint8_t)word;
        }
    }
    if (used > 0) {
        *out++ = (uint8_t)word;
    }
    return out;
}

uint8_t *mmq_packed_write(const mmq_packing *plan, const int64_t *items, size_t count, uint8_t *out)
{
    const uint8_t *begin = out;
    *out++ = (uint8_t)plan->width;
    *out++ = 0;
    out = store_16(out, plan->patch_count);
    out = store_64(out, (uint64_t)plan->base);
    out = write_bits(plan, items, count, out);
    for (size_t i = 0; i < count && plan->patch_count > 0; i++) {
        out = is_patch(plan, items[i]) ? store_16(out, i) : out;
    }
    for (size_t i = 0; i < count && plan->patch_count > 0; i++) {
        out = is_patch(plan, items[i]) ? store_64(out, (uint64_t)items[i]) : out;
    }
    CHECK((size_t)(out - begin) == plan->size);
    return out;
}

/* ---- reading ---------------------------------------------------------------------------- */

static bool positions_ascend(const mmq_packed *packed)
{
    size_t least = 0;
    for (size_t i = 0; i < packed->patch_count; i++) {
        const size_t position = load_16(packed->positions + 2 * i);
        if (position < least || position >= packed->count) {
            return false;
        }
        least = position + 1;
    }
    return true;
}

bool mmq_packed_read(const uint8_t **at, const uint8_t *end, size_t count, mmq_packed *out)
{
    const uint8_t *head = *at;
    if ((size_t)(end - head) < MMQ_PACKED_HEAD) {
        return false;
    }
    *out = (mmq_packed){
        .count = count,
        .width = head[0],
        .base = (int64_t)load_64(head + 4),
        .bits = head + MMQ_PACKED_HEAD,
        .patch_count = load_16(head + 2),
    };
    if (head[1] != 0 || (out->width > WIDTH_MAX && out->width != 64) || out->patch_count > count) {
        return false;
    }
    const size_t bits = bit_bytes(count, out->width);
    const size_t size = MMQ_PACKED_HEAD + bits + out->patch_count * PATCH_BYTES;
    if ((size_t)(end - head) < size) {
        return false;
    }
    out->positions = out->bits + bits;
    out->patches = out->positions + 2 * out->patch_count;
    *at = head + size;
    return positions_ascend(out);
}

static void unpack_bits(const mmq_packed *packed, size_t from, size_t to, int64_t *out)
{
    const uint64_t mask = mask_of(packed->width), base = (uint64_t)packed->base;
    const unsigned width = packed->width;
    size_t bit = from * width;
    for (size_t i = from; i < to; i++, bit += width) {
        *out++ = (int64_t)(base + (load_64(packed->bits + bit / 8) >> bit % 8 & mask));
    }
}

static void fill(int64_t *out, size_t count, int64_t item)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = item;
    }
}

void mmq_packed_unpack(const mmq_packed *packed, size_t from, size_t to, int64_t *out)
{
    if (packed->width == 0) {
        fill(out, to - from, packed->base);
    } else {
        unpack_bits(packed, from, to, out);
    }
    for (size_t i = 0; i < packed->patch_count; i++) {
        const size_t position = load_16(packed->positions + 2 * i);
        if (position >= from && position < to) {
            out[position - from] = (int64_t)load_64(packed->patches + 8 * i);
        }
    }
}
