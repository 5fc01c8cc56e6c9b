/* Three ways to write doubles, of which the shortest is taken: what was measured with a few digits
 * is a decimal; what takes few values, a dictionary; the rest is kept as it is, less the bits that
 * all have in common.
 *
 * A decimal is exact if dividing gives the double back: both numbers are whole and below 2^53, and
 * IEEE division rounds correctly. XOR with the item before (as of Facebook's Gorilla paper) is not
 * among the ways: it takes about what the first does on what is left for it, and reads one item
 * after the other. */
#include "workers/store/doubles.h"

#include <math.h>

#include "lib/bits.h"
#include "lib/check.h"
#include "workers/store/bytes.h"

enum {
    CODING_BITS,
    CODING_DECIMAL,
    CODING_DICTIONARY,
    PLACES_MAX = 17,
    SAMPLE = 32,
    TABLE_BITS = 11, /* twice as many places as there are items */
    ENTRIES_MAX = MMQ_BLOCK_ROWS / 2,
    EXCEPTION_BYTES = 2 + 8,
};

#define WHOLE_MAX 9007199254740992.0 /* 2^53 */

static const double powers[PLACES_MAX + 1] = {1e0, 1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,
                                              1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17};

static int64_t bits_of(double item)
{
    return (int64_t)mmq_bits_of(item);
}

/* ---- decimals --------------------------------------------------------------------------- */

/* m with m / divisor == item, if there is one. -0.0 has none. */
static bool as_decimal(double item, double divisor, int64_t *m)
{
    const double scaled = item * divisor;
    if (!(fabs(scaled) < WHOLE_MAX)) {
        return false;
    }
    *m = llrint(scaled);
    return bits_of((double)*m / divisor) == bits_of(item);
}

static unsigned places_of(double item)
{
    unsigned places = 0;
    int64_t m;
    while (places <= PLACES_MAX && !as_decimal(item, powers[places], &m)) {
        places++;
    }
    return places;
}

/* The most places that one of a few items needs, of those that are decimals. */
static bool guess_places(const double *items, size_t count, unsigned *places)
{
    bool found = false;
    const size_t step = count > SAMPLE ? count / SAMPLE : 1;
    *places = 0;
    for (size_t i = 0; i < count; i += step) {
        const unsigned needed = places_of(items[i]);
        found |= needed <= PLACES_MAX;
        *places = needed <= PLACES_MAX && needed > *places ? needed : *places;
    }
    return found;
}

struct decimals {
    unsigned places;
    size_t exception_count;
    int64_t m[MMQ_BLOCK_ROWS]; /* of an exception: that of the item before */
    uint16_t exceptions[MMQ_DOUBLES_EXCEPTIONS_MAX];
};

static bool scale(const double *items, size_t count, struct decimals *out)
{
    const double divisor = powers[out->places];
    int64_t last = 0;
    out->exception_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (as_decimal(items[i], divisor, &out->m[i])) {
            last = out->m[i];
        } else if (out->exception_count == MMQ_DOUBLES_EXCEPTIONS_MAX) {
            return false;
        } else {
            out->m[i] = last;
            out->exceptions[out->exception_count++] = (uint16_t)i;
        }
    }
    return true;
}

/* ---- plain doubles ---------------------------------------------------------------------- */

struct plain_plan {
    bool decimal;
    size_t size; /* with the byte of the coding */
    mmq_packing packing;
    struct decimals decimals;
    int64_t bits[MMQ_BLOCK_ROWS];
};

static void plan_plain(const double *items, size_t count, struct plain_plan *plan)
{
    for (size_t i = 0; i < count; i++) {
        plan->bits[i] = bits_of(items[i]);
    }
    plan->packing = mmq_packing_plan(plan->bits, count);
    plan->size = 1 + plan->packing.size;
    plan->decimal = false;
    if (!guess_places(items, count, &plan->decimals.places) ||
        !scale(items, count, &plan->decimals)) {
        return;
    }
    const mmq_packing packing = mmq_packing_plan(plan->decimals.m, count);
    const size_t size = 1 + 1 + packing.size + 2 + plan->decimals.exception_count * EXCEPTION_BYTES;
    if (size < plan->size) {
        plan->decimal = true;
        plan->packing = packing;
        plan->size = size;
    }
}

static uint8_t *write_plain(const struct plain_plan *plan, size_t count, uint8_t *out)
{
    if (!plan->decimal) {
        *out++ = CODING_BITS;
        return mmq_packed_write(&plan->packing, plan->bits, count, out);
    }
    const struct decimals *decimals = &plan->decimals;
    *out++ = CODING_DECIMAL;
    *out++ = (uint8_t)decimals->places;
    out = mmq_packed_write(&plan->packing, decimals->m, count, out);
    out = store_16(out, decimals->exception_count);
    for (size_t i = 0; i < decimals->exception_count; i++) {
        out = store_16(out, decimals->exceptions[i]);
    }
    for (size_t i = 0; i < decimals->exception_count; i++) {
        out = store_64(out, (uint64_t)plan->bits[decimals->exceptions[i]]);
    }
    return out;
}

static bool read_exceptions(const uint8_t **at, const uint8_t *end, mmq_plain_doubles *out)
{
    if (end - *at < 2) {
        return false;
    }
    out->exception_count = load_16(*at);
    out->positions = *at + 2;
    out->exceptions = out->positions + 2 * out->exception_count;
    if (out->exception_count > MMQ_DOUBLES_EXCEPTIONS_MAX ||
        (size_t)(end - *at) < 2 + out->exception_count * EXCEPTION_BYTES) {
        return false;
    }
    *at += 2 + out->exception_count * EXCEPTION_BYTES;
    for (size_t i = 0; i < out->exception_count; i++) {
        if (load_16(out->positions + 2 * i) >= out->packed.count) {
            return false;
        }
    }
    return true;
}

static bool read_plain(unsigned coding, const uint8_t **at, const uint8_t *end, size_t count,
                       mmq_plain_doubles *out)
{
    out->decimal = coding == CODING_DECIMAL;
    out->exception_count = 0;
    if (!out->decimal) {
        return coding == CODING_BITS && mmq_packed_read(at, end, count, &out->packed);
    }
    if (*at == end || **at > PLACES_MAX) {
        return false;
    }
    out->divisor = powers[*(*at)++];
    return mmq_packed_read(at, end, count, &out->packed) && read_exceptions(at, end, out);
}

static void divide(const mmq_plain_doubles *plain, int64_t *m, double *out, size_t count)
{
    const double divisor = plain->divisor;
    for (size_t i = 0; i < count; i++) {
        out[i] = (double)m[i] / divisor;
    }
}

static void decode_plain(const mmq_plain_doubles *plain, size_t from, size_t to, double *out)
{
    int64_t integers[MMQ_BLOCK_ROWS];
    mmq_packed_unpack(&plain->packed, from, to, integers);
    if (!plain->decimal) {
        memcpy(out, integers, (to - from) * sizeof *out);
        return;
    }
    divide(plain, integers, out, to - from);
    for (size_t i = 0; i < plain->exception_count; i++) {
        const size_t position = load_16(plain->positions + 2 * i);
        if (position >= from && position < to) {
            out[position - from] = mmq_double_of(load_64(plain->exceptions + 8 * i));
        }
    }
}

/* ---- dictionary ------------------------------------------------------------------------- */

struct dictionary {
    size_t count;
    double entries[ENTRIES_MAX];
    int64_t indexes[MMQ_BLOCK_ROWS];
    uint16_t places[1 << TABLE_BITS]; /* of the hash table: an entry's index + 1; 0: free */
};

static size_t hash_of(double item)
{
    return (size_t)((uint64_t)bits_of(item) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TABLE_BITS));
}

/* False if there are too many to be worth it. */
static bool collect(const double *items, size_t count, struct dictionary *out)
{
    memset(out->places, 0, sizeof out->places);
    out->count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = hash_of(items[i]);
        while (out->places[at] != 0 &&
               bits_of(out->entries[out->places[at] - 1]) != bits_of(items[i])) {
            at = (at + 1) % (1 << TABLE_BITS);
        }
        if (out->places[at] == 0) {
            if (out->count == ENTRIES_MAX || out->count > count / 2) {
                return false;
            }
            out->entries[out->count++] = items[i];
            out->places[at] = (uint16_t)out->count;
        }
        out->indexes[i] = out->places[at] - 1;
    }
    return true;
}

static bool read_dictionary(const uint8_t **at, const uint8_t *end, size_t count, mmq_doubles *out)
{
    if (end - *at < 2) {
        return false;
    }
    out->entry_count = load_16(*at);
    *at += 2;
    if (out->entry_count == 0 || out->entry_count > ENTRIES_MAX ||
        !mmq_packed_read(at, end, count, &out->indexes) || *at == end) {
        return false;
    }
    const uint8_t coding = *(*at)++;
    return read_plain(coding, at, end, out->entry_count, &out->plain);
}

/* Without decoding the other entries. */
static bool look_up_one(const mmq_doubles *doubles, size_t item, double *out)
{
    int64_t index;
    mmq_packed_unpack(&doubles->indexes, item, item + 1, &index);
    if ((uint64_t)index >= doubles->entry_count) {
        return false;
    }
    decode_plain(&doubles->plain, (size_t)index, (size_t)index + 1, out);
    return true;
}

static bool look_up(const mmq_doubles *doubles, size_t from, size_t to, double *out)
{
    double entries[ENTRIES_MAX];
    int64_t indexes[MMQ_BLOCK_ROWS];
    CHECK(doubles->entry_count > 0);
    if (to - from == 1) {
        return look_up_one(doubles, from, out);
    }
    decode_plain(&doubles->plain, 0, doubles->entry_count, entries);
    mmq_packed_unpack(&doubles->indexes, from, to, indexes);
    bool beyond = false;
    for (size_t i = 0; i < to - from; i++) {
        const bool is_beyond = (uint64_t)indexes[i] >= doubles->entry_count;
        beyond |= is_beyond;
        out[i] = entries[is_beyond ? 0 : indexes[i]];
    }
    return !beyond;
}

/* ---- presence --------------------------------------------------------------------------- */

/* Puts a neighbour in the place of what is absent. */
static mmq_presence fill_gaps(const double *items, size_t count, double *filled, uint8_t *bitmap)
{
    size_t present = 0, first = 0;
    double last = 0;
    memset(bitmap, 0, (count + 7) / 8);
    for (size_t i = 0; i < count; i++) {
        if (!isnan(items[i])) {
            first = present++ == 0 ? i : first;
            last = items[i];
            bitmap[i / 8] |= (uint8_t)(1 << i % 8);
        }
        filled[i] = last;
    }
    for (size_t i = 0; i < first; i++) {
        filled[i] = items[first];
    }
    return present == count ? MMQ_PRESENT_ALL : present == 0 ? MMQ_PRESENT_NONE : MMQ_PRESENT_SOME;
}

static void make_gaps(const uint8_t *bitmap, size_t from, size_t to, double *out)
{
    for (size_t i = from; i < to; i++) {
        if ((bitmap[i / 8] >> i % 8 & 1) == 0) {
            out[i - from] = NAN;
        }
    }
}

/* ---- the column ------------------------------------------------------------------------- */

/* All are there. */
static uint8_t *write_items(const double *items, size_t count, uint8_t *out)
{
    struct plain_plan plain, entries;
    struct dictionary dictionary;
    plan_plain(items, count, &plain);
    if (!collect(items, count, &dictionary)) {
        return write_plain(&plain, count, out);
    }
    plan_plain(dictionary.entries, dictionary.count, &entries);
    const mmq_packing packing = mmq_packing_plan(dictionary.indexes, count);
    if (1 + 2 + packing.size + entries.size >= plain.size) {
        return write_plain(&plain, count, out);
    }
    *out++ = CODING_DICTIONARY;
    out = store_16(out, dictionary.count);
    out = mmq_packed_write(&packing, dictionary.indexes, count, out);
    return write_plain(&entries, dictionary.count, out);
}

uint8_t *mmq_doubles_write(const double *items, size_t count, uint8_t *out)
{
    double filled[MMQ_BLOCK_ROWS];
    uint8_t bitmap[MMQ_BLOCK_ROWS / 8];
    CHECK(count > 0 && count <= MMQ_BLOCK_ROWS);
    const mmq_presence presence = fill_gaps(items, count, filled, bitmap);
    *out++ = (uint8_t)presence;
    if (presence == MMQ_PRESENT_NONE) {
        return out;
    }
    if (presence == MMQ_PRESENT_SOME) {
        memcpy(out, bitmap, (count + 7) / 8);
        out += (count + 7) / 8;
    }
    return write_items(filled, count, out);
}

static bool read_items(const uint8_t *at, const uint8_t *end, size_t count, mmq_doubles *out)
{
    if (at == end) {
        return false;
    }
    const uint8_t coding = *at++;
    out->dictionary = coding == CODING_DICTIONARY;
    return (out->dictionary ? read_dictionary(&at, end, count, out)
                            : read_plain(coding, &at, end, count, &out->plain)) &&
           at == end;
}

bool mmq_doubles_read(const uint8_t *at, const uint8_t *end, size_t count, mmq_doubles *out)
{
    if (at == end || *at > MMQ_PRESENT_SOME) {
        return false;
    }
    out->presence = (mmq_presence)*at++;
    if (out->presence == MMQ_PRESENT_NONE) {
        return at == end;
    }
    if (out->presence == MMQ_PRESENT_SOME) {
        out->bitmap = at;
        if ((size_t)(end - at) < (count + 7) / 8) {
            return false;
        }
        at += (count + 7) / 8;
    }
    return read_items(at, end, count, out);
}

static bool are_finite(const double *items, size_t count)
{
    const uint64_t exponent = UINT64_C(0x7ff) << 52;
    bool other = false;
    for (size_t i = 0; i < count; i++) {
        other |= ((uint64_t)bits_of(items[i]) & exponent) == exponent;
    }
    return !other;
}

bool mmq_doubles_decode(const mmq_doubles *doubles, size_t from, size_t to, double *out)
{
    if (doubles->presence == MMQ_PRESENT_NONE) {
        for (size_t i = from; i < to; i++) {
            *out++ = NAN;
        }
        return true;
    }
    if (!doubles->dictionary) {
        decode_plain(&doubles->plain, from, to, out);
    } else if (!look_up(doubles, from, to, out)) {
        return false;
    }
    if (!are_finite(out, to - from)) {
        return false;
    }
    if (doubles->presence == MMQ_PRESENT_SOME) {
        make_gaps(doubles->bitmap, from, to, out);
    }
    return true;
}
