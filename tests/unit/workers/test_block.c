/* The codec of blocks: what was encoded is decoded bit by bit, whole and in parts, whatever the
 * shape of the columns. Columns are drawn from all shapes at random (SEED repeats a run, ROUNDS
 * makes it longer); a few are written out where their size matters. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "lib/calendar.h"
#include "workers/store/block.h"

enum { BOUND = MMQ_BLOCK_ROWS, ROWID_BITS = 53 };

static int64_t timestamp[BOUND], rowid[BOUND];
static double value[BOUND], score[BOUND], raw[BOUND];
static mmq_write_rows rows = {0, timestamp, rowid, value, score, raw};
static uint8_t encoded[MMQ_BLOCK_MAX];
static mmq_block block;
static mmq_block_head head;
static unsigned rounds = 2000;

/* ---- chance ----------------------------------------------------------------------------- */

static uint64_t draw(void)
{
    return (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
}

static size_t below(size_t bound)
{
    return (size_t)(draw() % bound);
}

static int64_t draw_bits(unsigned width)
{
    return width == 0 ? 0 : (int64_t)(draw() >> (64 - width));
}

static double double_of(uint64_t bits)
{
    double item;
    memcpy(&item, &bits, sizeof item);
    return item;
}

static double draw_finite(void)
{
    double item = double_of(draw());
    return isfinite(item) ? item : 1e308;
}

static double draw_odd(void)
{
    static const double odd[] = {0.0,     -0.0,     5e-324,
                                 -5e-324, 1e308,    -1.7976931348623157e308,
                                 0.1,     -1.5,     9007199254740991.0,
                                 1e-17,   1e22,     9007199254740993.0,
                                 1.0 / 3, 2.2e-308, -9223372036854775808.0};
    return odd[below(sizeof odd / sizeof *odd)];
}

/* ---- shapes of columns ------------------------------------------------------------------ */

static void set_constant(double *out, size_t count)
{
    const double item = below(2) == 0 ? draw_odd() : draw_finite();
    for (size_t i = 0; i < count; i++) {
        out[i] = item;
    }
}

static void set_decimals(double *out, size_t count)
{
    const double divisor = pow(10, (double)below(19));
    const unsigned width = (unsigned)below(54);
    for (size_t i = 0; i < count; i++) {
        out[i] = (double)draw_bits(width) / divisor * (below(2) == 0 ? 1 : -1);
    }
}

static void set_few(double *out, size_t count)
{
    double entries[600];
    const size_t few = 1 + below(600);
    for (size_t i = 0; i < few; i++) {
        entries[i] = below(9) == 0 ? draw_odd() : draw_finite();
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = entries[below(few)];
    }
}

static void set_integers(double *out, size_t count)
{
    const unsigned width = (unsigned)below(65);
    for (size_t i = 0; i < count; i++) {
        out[i] = (double)draw_bits(width);
    }
}

static void set_any(double *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = draw_finite();
    }
}

/* Bits that differ in the last few only, so that widths of every size occur. */
static void set_near(double *out, size_t count)
{
    const uint64_t base = draw() & ~(UINT64_C(1) << 62);
    const unsigned width = (unsigned)below(62);
    for (size_t i = 0; i < count; i++) {
        out[i] = double_of(base ^ (uint64_t)draw_bits(width));
        out[i] = isfinite(out[i]) ? out[i] : 0;
    }
}

static void spoil(double *out, size_t count)
{
    for (size_t i = below(5) == 0 ? below(count + 1) : below(9); i > 0; i--) {
        out[below(count)] = below(2) == 0 ? draw_odd() : draw_finite();
    }
}

static void set_doubles(double *out, size_t count)
{
    typedef void set_fn(double *, size_t);
    static set_fn *const shapes[] = {set_constant, set_decimals, set_few,
                                     set_integers, set_any,      set_near};
    shapes[below(6)](out, count);
    if (below(2) == 0) {
        spoil(out, count);
    }
}

static void set_scores(double *out, size_t count)
{
    const size_t absent = below(4);
    set_doubles(out, count);
    for (size_t i = 0; i < count; i++) {
        if (absent == 3 || (absent == 2 && below(2) == 0) || (absent == 1 && below(50) == 0)) {
            out[i] = NAN;
        }
    }
}

static int64_t kept_time(int64_t time)
{
    return time < MMQ_TIME_MIN ? MMQ_TIME_MIN : time > MMQ_TIME_MAX ? MMQ_TIME_MAX : time;
}

/* Regular, irregular, repeated, with gaps of any size, at either end of time. */
static void set_timestamps(size_t count)
{
    const int64_t begins[] = {MMQ_TIME_MIN, -5, 0, 1700000000, MMQ_TIME_MAX - 100000};
    int64_t at = begins[below(5)];
    const int64_t step = (int64_t)below(4) == 0 ? 0 : draw_bits((unsigned)below(12));
    const unsigned jitter = (unsigned)below(10);
    const size_t gaps = below(3) == 0 ? 1 + below(100) : 0;
    for (size_t i = 0; i < count; i++) {
        timestamp[i] = at;
        at += step + (jitter > 4 ? draw_bits(jitter - 4) : 0);
        at += gaps > 0 && below(gaps) == 0 ? draw_bits((unsigned)below(38)) : 0;
        at = kept_time(at);
    }
}

static int compare(const void *a_p, const void *b_p)
{
    const int64_t a = *(const int64_t *)a_p, b = *(const int64_t *)b_p;
    return (a > b) - (a < b);
}

/* Distinct, out of order or not; ascending where timestamps repeat. */
static void set_rowids(size_t count)
{
    const unsigned width = 11 + (unsigned)below(ROWID_BITS - 11);
    const bool consecutive = below(2) == 0;
    int64_t at = 1 + draw_bits(width);
    for (size_t i = 0; i < count; i++) {
        rowid[i] = at;
        at += consecutive ? 1 : 1 + draw_bits(width - 10);
    }
    for (size_t i = below(3) == 0 ? count - 1 : 0; i > 0; i--) {
        const size_t other = below(i + 1);
        const int64_t kept = rowid[i];
        rowid[i] = rowid[other];
        rowid[other] = kept;
    }
    for (size_t from = 0, to = 0; from < count; from = to) {
        while (to < count && timestamp[to] == timestamp[from]) {
            to++;
        }
        qsort(rowid + from, to - from, sizeof *rowid, compare);
    }
}

static size_t draw_count(void)
{
    const size_t counts[] = {1, 2, 3, 64, 1023, BOUND, 1 + below(20), 1 + below(BOUND)};
    return counts[below(8)];
}

static void set_rows(void)
{
    rows.count = draw_count();
    set_timestamps(rows.count);
    set_rowids(rows.count);
    set_doubles(value, rows.count);
    set_scores(score, rows.count);
    set_scores(raw, rows.count);
}

/* ---- what must hold --------------------------------------------------------------------- */

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static void check_doubles(const mmq_doubles *doubles, const double *wanted, size_t from, size_t to)
{
    double read[BOUND + 1];
    read[to - from] = 4711;
    assert_true(mmq_doubles_decode(doubles, from, to, read));
    for (size_t i = from; i < to; i++) {
        if (!same(read[i - from], wanted[i])) {
            fail_msg("row %zu of [%zu, %zu): %.17g, not %.17g", i, from, to, read[i - from],
                     wanted[i]);
        }
    }
    assert_true(same(read[to - from], 4711));
}

static void check_head(size_t from)
{
    int64_t least = INT64_MAX, greatest = 0, unscored = 0;
    double greatest_score = -INFINITY;
    for (size_t i = from; i < from + block.count; i++) {
        least = rowid[i] < least ? rowid[i] : least;
        greatest = rowid[i] > greatest ? rowid[i] : greatest;
        unscored += isnan(score[i]) ? 1 : 0;
        greatest_score = score[i] > greatest_score ? score[i] : greatest_score;
    }
    const size_t last = from + block.count - 1;
    assert_int_equal(head.rows, block.count);
    assert_int_equal(head.first.timestamp, timestamp[from]);
    assert_int_equal(head.first.rowid, rowid[from]);
    assert_int_equal(head.last.timestamp, timestamp[last]);
    assert_int_equal(head.last.rowid, rowid[last]);
    assert_int_equal(head.least_rowid, least);
    assert_int_equal(head.greatest_rowid, greatest);
    assert_int_equal(head.unscored, unscored);
    assert_true(isinf(greatest_score) ? isnan(head.greatest_score)
                                      : head.greatest_score == greatest_score);
}

/* Encodes rows [from, from + count), and opens them from memory of just that size. */
static size_t round_trip(size_t from, size_t count)
{
    const size_t size = mmq_block_encode(&rows, from, count, encoded, &head);
    assert_true(size <= MMQ_BLOCK_MAX);
    uint8_t *exact = malloc(size);
    assert_non_null(exact);
    memcpy(exact, encoded, size);
    memset(&block, 0xa5, sizeof block);
    assert_true(mmq_block_open(&head, exact, size, &block));
    assert_int_equal(block.count, count);
    assert_memory_equal(block.timestamp, timestamp + from, count * sizeof *timestamp);
    assert_memory_equal(block.rowid, rowid + from, count * sizeof *rowid);
    check_head(from);
    for (size_t part = 0; part < 6; part++) {
        const size_t begin = part == 0 ? 0 : below(count);
        const size_t end = part == 0 ? count : begin + 1 + below(part == 1 ? 1 : count - begin);
        check_doubles(&block.value, value + from, begin, end);
        check_doubles(&block.anomaly_score, score + from, begin, end);
        check_doubles(&block.raw_score, raw + from, begin, end);
    }
    free(exact);
    return size;
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        set_rows();
        (void)round_trip(0, rows.count);
        const size_t from = below(rows.count);
        (void)round_trip(from, 1 + below(rows.count - from));
    }
}

/* ---- sizes ------------------------------------------------------------------------------ */

/* Rows that take as little as rows can. */
static void set_plain_rows(size_t count)
{
    rows.count = count;
    for (size_t i = 0; i < count; i++) {
        timestamp[i] = 1700000000 + 300 * (int64_t)i;
        rowid[i] = 1 + (int64_t)i;
        value[i] = 1;
        score[i] = raw[i] = NAN;
    }
}

enum { LEAST_BYTES = MMQ_BLOCK_HEAD + 2 * 17 + 2 + MMQ_PACKED_HEAD + 2 + MMQ_PACKED_SLACK };

static void test_sizes(void **state)
{
    (void)state;
    for (size_t count = 1; count <= BOUND; count += 341) {
        set_plain_rows(count);
        assert_int_equal(round_trip(0, count), LEAST_BYTES);
    }
    set_plain_rows(BOUND);
    const size_t least = round_trip(0, BOUND);
    for (size_t i = 0; i < BOUND; i++) {
        value[i] = (double)(i * 37 % 1000) / 10; /* one decimal place: 10 bits */
    }
    assert_in_range(round_trip(0, BOUND) - least, BOUND * 10 / 8, BOUND * 10 / 8 + 8);
    timestamp[500] += 7; /* two odd steps: two patches */
    assert_in_range(round_trip(0, BOUND) - least, BOUND * 10 / 8, BOUND * 10 / 8 + 8 + 50);
    set_plain_rows(BOUND);
    for (size_t i = 0; i < BOUND; i++) {
        value[i] = i % 2 == 0 ? 1.0 / 3 : 1e300 / 7; /* two values that are no decimals: a bit */
        score[i] = i % 3 == 0 ? 0.5 : NAN;           /* a bit, whether it is there */
    }
    assert_in_range(round_trip(0, BOUND) - least, BOUND * 2 / 8, BOUND * 2 / 8 + 64);
}

/* The most that a block can take is what is promised. */
static void test_most(void **state)
{
    (void)state;
    size_t most = 0;
    for (unsigned i = 0; i < 50; i++) {
        set_rows();
        rows.count = BOUND;
        set_timestamps(BOUND);
        set_rowids(BOUND);
        set_any(value, BOUND);
        set_any(score, BOUND);
        set_any(raw, BOUND);
        score[below(BOUND)] = raw[below(BOUND)] = NAN;
        const size_t size = round_trip(0, BOUND);
        most = size > most ? size : most;
    }
    assert_true(most > 3 * 8 * (size_t)BOUND);
    assert_true(most <= MMQ_BLOCK_MAX);
}

/* ---- packed integers and sequences ------------------------------------------------------ */

static void check_packed(const int64_t *items, size_t count)
{
    int64_t read[BOUND];
    const mmq_packing plan = mmq_packing_plan(items, count);
    uint8_t *out = malloc(plan.size + MMQ_PACKED_SLACK);
    assert_non_null(out);
    assert_true(plan.size <= MMQ_PACKED_MAX);
    assert_ptr_equal(mmq_packed_write(&plan, items, count, out), out + plan.size);
    memset(out + plan.size, 0, MMQ_PACKED_SLACK);
    const uint8_t *at = out;
    mmq_packed packed;
    assert_true(mmq_packed_read(&at, out + plan.size, count, &packed));
    assert_ptr_equal(at, out + plan.size);
    at = out;
    assert_false(mmq_packed_read(&at, out + plan.size - 1, count, &packed));
    assert_true(mmq_packed_read(&at, out + plan.size, count, &packed));
    const size_t from = count > 0 ? below(count) : 0;
    const size_t to = from + below(count - from + 1);
    mmq_packed_unpack(&packed, 0, count, read);
    assert_memory_equal(read, items, count * sizeof *items);
    mmq_packed_unpack(&packed, from, to, read);
    assert_memory_equal(read, items + from, (to - from) * sizeof *items);
    free(out);
}

/* Every width, about any base, with patches far below and above. */
static void test_packed(void **state)
{
    (void)state;
    int64_t items[BOUND];
    for (unsigned round = 0; round < rounds / 20; round++) {
        for (unsigned width = 0; width <= 64; width++) {
            const size_t count = draw_count() % (round % 7 == 0 ? 4 : BOUND + 1);
            const uint64_t base = draw();
            for (size_t i = 0; i < count; i++) {
                items[i] = (int64_t)(base + (uint64_t)draw_bits(width));
            }
            for (size_t i = count > 0 ? below(40) : 0; i > 0; i--) {
                const int64_t far[] = {INT64_MIN, INT64_MAX, (int64_t)draw(), 0};
                items[below(count)] = far[below(4)];
            }
            check_packed(items, count);
        }
    }
}

static void test_packed_patches(void **state)
{
    (void)state;
    int64_t items[BOUND];
    for (size_t i = 0; i < BOUND; i++) {
        items[i] = 1000000 + (int64_t)(i % 4);
    }
    assert_int_equal(mmq_packing_plan(items, BOUND).size, MMQ_PACKED_HEAD + BOUND / 4);
    items[1] = INT64_MIN;
    items[BOUND - 2] = INT64_MAX;
    const mmq_packing plan = mmq_packing_plan(items, BOUND);
    assert_int_equal(plan.patch_count, 2);
    assert_int_equal(plan.size, MMQ_PACKED_HEAD + BOUND / 4 + 2 * 10);
    check_packed(items, BOUND);
}

static void test_sequences(void **state)
{
    (void)state;
    int64_t read[BOUND];
    uint8_t out[MMQ_SEQUENCE_MAX + MMQ_PACKED_SLACK];
    for (unsigned i = 0; i < rounds; i++) {
        set_rows();
        const int64_t *items = below(2) == 0 ? timestamp : rowid;
        const uint8_t *end = mmq_sequence_write(items, rows.count, out);
        assert_true(end <= out + MMQ_SEQUENCE_MAX);
        assert_true(mmq_sequence_read(out, end, rows.count, INT64_MIN, INT64_MAX,
                                      items == timestamp, read));
        assert_memory_equal(read, items, rows.count * sizeof *items);
        assert_false(
            mmq_sequence_read(out, end - 1, rows.count, INT64_MIN, INT64_MAX, false, read));
        assert_false(mmq_sequence_read(out, end, rows.count, items[0] + 1, INT64_MAX, false, read));
        assert_false(mmq_sequence_read(out, end, rows.count, INT64_MIN, items[0] - 1, false, read));
    }
}

/* ---- damage ----------------------------------------------------------------------------- */

/* Any change of head or data is noticed. */
static void test_damage(void **state)
{
    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        set_rows();
        const size_t size = mmq_block_encode(&rows, 0, rows.count, encoded, &head);
        const size_t at = below(size);
        const uint8_t bit = (uint8_t)(1U << below(8));
        encoded[at] ^= bit;
        assert_false(mmq_block_open(&head, encoded, size, &block));
        encoded[at] ^= bit;
        assert_false(mmq_block_open(&head, encoded, size - 1, &block));
        const uint64_t check = mmq_block_head_check(7, &head);
        assert_int_not_equal(mmq_block_head_check(8, &head), check);
        head.greatest_score = isnan(head.greatest_score) ? 0.5 : NAN;
        assert_int_not_equal(mmq_block_head_check(7, &head), check);
        head.rows ^= 1;
        assert_false(mmq_block_open(&head, encoded, size, &block));
        head.rows ^= 1;
        head.last.timestamp++;
        assert_false(mmq_block_open(&head, encoded, size, &block));
    }
}

/* What opens, though it was forged, decodes to numbers that a store may hold, or to nothing. */
static void open_forged(const uint8_t *data, size_t size)
{
    static double numbers[BOUND];
    uint8_t *exact = malloc(size); /* so that ASan sees a byte too far */
    assert_non_null(exact);
    memcpy(exact, data, size);
    head.data_check = XXH3_64bits(exact, size);
    if (mmq_block_open(&head, exact, size, &block)) {
        const mmq_doubles *columns[] = {&block.value, &block.anomaly_score, &block.raw_score};
        for (size_t i = 0; i < 3; i++) {
            const bool good = mmq_doubles_decode(columns[i], 0, block.count, numbers);
            for (size_t row = 0; row < block.count && good; row++) {
                assert_true(isfinite(numbers[row]) || (i > 0 && isnan(numbers[row])));
            }
        }
    }
    free(exact);
}

/* F51: somebody made the check right behind a change. Every byte of small blocks is changed, and
 * each is cut at every place. */
static void test_forged(void **state)
{
    (void)state;
    static const uint8_t changes[] = {0x01, 0x02, 0x04, 0x10, 0x40, 0x80, 0xff};
    for (unsigned i = 0; i < rounds / 100; i++) {
        do {
            set_rows();
        } while (rows.count > 64);
        const size_t size = mmq_block_encode(&rows, 0, rows.count, encoded, &head);
        for (size_t at = 0; at < size; at++) {
            for (size_t c = 0; c < sizeof changes; c++) {
                encoded[at] ^= changes[c];
                open_forged(encoded, size);
                encoded[at] ^= changes[c];
            }
            open_forged(encoded, at + 1);
        }
    }
}

int main(void)
{
    const char *given = getenv("SEED"), *longer = getenv("ROUNDS");
    const unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    rounds = longer != NULL ? (unsigned)strtoul(longer, NULL, 10) : rounds;
    printf("SEED=%u\n", seed);
    srandom(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),         cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_most),           cmocka_unit_test(test_packed),
        cmocka_unit_test(test_packed_patches), cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_damage),         cmocka_unit_test(test_forged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
