/* F51: single flipped bits over a whole store. Whatever is flipped, a row that is answered is a row
 * as it was written: timestamp, rowid, value, scores and whose it is; the rest is refused as
 * damaged. SEED repeats a run, FLIPS makes it longer. */
#include "store_world.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/calendar.h"
#include "lib/columns.h"

enum { METRICS = 80, BIG = 4, BIG_ROWS = 3000, SMALL_ROWS = 30 };

static world_rows rows[METRICS];
static size_t lengths[METRICS];
static mmq_columns batch;
static unsigned flips = 800;

/* What became of the flipped copies. */
static struct {
    unsigned opened, refused, right, damaged;
    unsigned metric_missing; /* a uid is not found */
    unsigned list_short;     /* a list of metrics lacks some */
    unsigned rows_missing_up, rows_missing_down, rows_missing_rowids;
} counts;

static void name_of(size_t m, char uid[8])
{
    (void)snprintf(uid, 8, "m%02zu", m);
}

/* ---- the store -------------------------------------------------------------------------- */

static void draw_rows(size_t m)
{
    lengths[m] = m < BIG ? BIG_ROWS : 1 + (size_t)random() % SMALL_ROWS;
    for (size_t i = 0; i < lengths[m]; i++) {
        const int64_t late = m % 2 == 1 && random() % 5 == 0 ? random() % 10000 : 0;
        world_set(&rows[m], i, 1700000000 + 60 * (int64_t)i - late,
                  (double)(random() % 1000) / (m % 3 == 0 ? 7 : 10),
                  random() % 2 == 0 ? NAN : (double)(random() % 100) / 100);
        rows[m].raw_score[i] = (double)(random() % 100) / 7;
    }
}

static void make_store(void)
{
    char uid[8];
    mmq_appended out;
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    for (size_t m = 0; m < METRICS; m++) {
        draw_rows(m);
        name_of(m, uid);
        assert_ok(mmq_store_begin_write(store, &why));
        assert_ok(world_create(store, uid, uid));
        assert_ok(mmq_store_commit(store, &why));
    }
    for (size_t done = 0; done < BIG_ROWS; done += 300) {
        for (size_t m = 0; m < METRICS; m++) {
            const size_t left = done < lengths[m] ? lengths[m] - done : 0;
            name_of(m, uid);
            if (left > 0) {
                assert_ok(
                    world_append(store, uid, 0, &rows[m], done, left < 300 ? left : 300, &out));
            }
        }
    }
    mmq_store_close(&store);
}

/* ---- what is answered ------------------------------------------------------------------- */

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static void check_rows(size_t m, bool raw)
{
    for (size_t i = 0; i < batch.count; i++) {
        const size_t at = (size_t)batch.rowid[i] - 1;
        if (at >= lengths[m] || batch.timestamp[i] != rows[m].timestamp[at] ||
            !same(batch.value[i], rows[m].value[at]) ||
            !same(batch.anomaly_score[i], rows[m].anomaly_score[at]) ||
            (raw && !same(batch.raw_score[i], rows[m].raw_score[at]))) {
            fail_msg("metric %zu, rowid %lld: nobody wrote this", m, (long long)batch.rowid[i]);
        }
    }
}

/* The number of rows; each is as it was written, and none comes twice. */
static mmq_err read_by_time(mmq_store *store, size_t m, int64_t key, bool up, size_t *count)
{
    mmq_range range = {.metric = key, .from = MMQ_TIME_MIN, .to = MMQ_TIME_MAX, .ascending = up};
    int64_t timestamp = 0, rowid = 0;
    *count = 0;
    while (!range.ended) {
        mmq_err err = mmq_store_read_time(store, &range, &batch, 1000, &why);
        if (err != MMQ_OK) {
            return err;
        }
        check_rows(m, false);
        for (size_t i = 0; i < batch.count; i++, (*count)++) {
            const int64_t step = batch.timestamp[i] != timestamp ? batch.timestamp[i] - timestamp
                                                                 : batch.rowid[i] - rowid;
            assert_true(*count == 0 || (up ? step > 0 : step < 0));
            timestamp = batch.timestamp[i];
            rowid = batch.rowid[i];
        }
    }
    return MMQ_OK;
}

static mmq_err read_by_rowid(mmq_store *store, size_t m, int64_t key, size_t *count)
{
    for (*count = 0;; *count += batch.count) {
        mmq_err err = mmq_store_read_rowids(store, key, (int64_t)*count + 1, (int64_t)lengths[m],
                                            &batch, 1000, &why);
        if (err != MMQ_OK || batch.count == 0) {
            return err;
        }
        check_rows(m, true);
    }
}

static bool note(mmq_err err, bool is_short, unsigned *missing, bool *damaged)
{
    assert_true(err == MMQ_OK || err == MMQ_ECORRUPT);
    *damaged |= err != MMQ_OK;
    *missing += err == MMQ_OK && is_short ? 1 : 0;
    return err == MMQ_OK && is_short;
}

/* True if something is missing that nobody was told of. */
static bool read_metric(mmq_store *store, size_t m, bool *damaged)
{
    char uid[8];
    mmq_metric_head head;
    size_t count;
    name_of(m, uid);
    mmq_err err = mmq_store_find(store, uid, &head, &why);
    if (err != MMQ_OK) {
        assert_true(err == MMQ_ECORRUPT || err == MMQ_ENOTFOUND);
        *damaged |= err == MMQ_ECORRUPT;
        counts.metric_missing += err == MMQ_ENOTFOUND ? 1 : 0;
        return err == MMQ_ENOTFOUND;
    }
    bool missing = false;
    err = read_by_time(store, m, head.key, true, &count);
    missing |= note(err, count < lengths[m], &counts.rows_missing_up, damaged);
    err = read_by_time(store, m, head.key, false, &count);
    missing |= note(err, count < lengths[m], &counts.rows_missing_down, damaged);
    err = read_by_rowid(store, m, head.key, &count);
    missing |= note(err, count < lengths[m], &counts.rows_missing_rowids, damaged);
    return missing;
}

static void read_store(mmq_store *store)
{
    static mmq_metric_head heads[METRICS + 1];
    mmq_snapshot snapshot;
    size_t count = 0;
    bool damaged = false, missing = false;
    mmq_err err = mmq_store_begin_read(store, &snapshot, &why);
    if (err != MMQ_OK) {
        counts.refused++;
        return;
    }
    err = mmq_store_heads(store, "", heads, METRICS + 1, &count, &why);
    missing |= note(err, count != METRICS, &counts.list_short, &damaged);
    for (size_t m = 0; m < METRICS; m++) {
        missing |= read_metric(store, m, &damaged);
    }
    mmq_store_end_read(store);
    counts.damaged += damaged ? 1 : 0;
    counts.right += !damaged && !missing ? 1 : 0;
    counts.opened++;
}

/* ---- flips ------------------------------------------------------------------------------ */

static void flip(int file, off_t at, unsigned bit)
{
    uint8_t byte;
    assert_int_equal(pread(file, &byte, 1, at), 1);
    byte ^= (uint8_t)(1U << bit);
    assert_int_equal(pwrite(file, &byte, 1, at), 1);
}

static void test_flips(void **state)
{
    (void)state;
    world_begin();
    make_store();
    const int file = open(world_path, O_RDWR | O_CLOEXEC);
    struct stat about;
    assert_true(file >= 0 && fstat(file, &about) == 0);
    for (unsigned i = 0; i < flips; i++) {
        const off_t at = random() % about.st_size;
        const unsigned bit = (unsigned)random() % 8;
        mmq_store *store;
        flip(file, at, bit);
        if (mmq_store_open(world_url, MMQ_STORE_READ, &store, &why) == MMQ_OK) {
            read_store(store);
        } else {
            counts.refused++;
        }
        mmq_store_close(&store);
        flip(file, at, bit);
    }
    (void)close(file);
    world_end();
    printf("%u flips: %u refused whole, %u opened: %u all right, %u with something damaged;\n"
           "unnoticed: %u metrics not found, %u short lists, rows missing %u up, %u down, %u by "
           "rowid\n",
           flips, counts.refused, counts.opened, counts.right, counts.damaged,
           counts.metric_missing, counts.list_short, counts.rows_missing_up,
           counts.rows_missing_down, counts.rows_missing_rowids);
}

int main(void)
{
    const char *given = getenv("SEED"), *longer = getenv("FLIPS");
    const unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    flips = longer != NULL ? (unsigned)strtoul(longer, NULL, 10) : flips;
    printf("SEED=%u\n", seed);
    (void)fflush(stdout);
    srandom(seed);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_flips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
