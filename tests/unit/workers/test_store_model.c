/* The store against a model of it (store_model.h): random writes, after which everything that can
 * be asked must be answered as the model answers it, and the blocks must be what docs/storage.md
 * says. F55: ranges are kept open across writes and prunes; their positions must stay right. SEED
 * repeats a run, STEPS makes it longer. */
#include "store_model.h"

#include <time.h>

#include "lib/calendar.h"
#include "lib/columns.h"

enum { METRICS = 4, ROWS_MAX = 3000, LENGTH_MAX = 40000, OPEN_RANGES = 6 };

/* A range that is read bit by bit, with writes between. */
typedef struct open_range {
    bool used;
    size_t metric;
    int64_t key;
    mmq_range range;
} open_range;

static model_metric metrics[METRICS];
static open_range ranges[OPEN_RANGES];
static world_rows rows;
static mmq_columns batch;
static mmq_store *writer, *reader;
static unsigned steps = 250;

static uint64_t draw(void)
{
    return (uint64_t)random() << 31 ^ (uint64_t)random();
}

static int64_t below(int64_t bound)
{
    return (int64_t)(draw() % (uint64_t)bound);
}

static bool one_in(int64_t n)
{
    return below(n) == 0;
}

/* ---- writing ---------------------------------------------------------------------------- */

static double draw_value(void)
{
    static const double odd[] = {-0.0, 5e-324, 1e308, 9007199254740993.0, 1.0 / 3, -1e-300};
    return one_in(20) ? odd[below(6)] : one_in(3) ? (double)draw() / 7 : (double)below(1000) / 10;
}

/* Scores of whole stretches, so that heads differ. */
static double draw_score(int64_t mood)
{
    return mood == 0 || (mood == 1 && one_in(2)) ? NAN
                                                 : (double)below(mood == 3 ? 1001 : 500) / 1000;
}

static int64_t draw_timestamp(const model_metric *metric)
{
    if (metric->count == 0 || one_in(50)) {
        return one_in(100) ? MMQ_TIME_MIN : one_in(100) ? MMQ_TIME_MAX : below(100000);
    }
    return metric->rows[below((int64_t)metric->count)].timestamp + below(5) - 2;
}

static int64_t kept_time(int64_t time)
{
    return time < MMQ_TIME_MIN ? MMQ_TIME_MIN : time > MMQ_TIME_MAX ? MMQ_TIME_MAX : time;
}

enum order { IN_ORDER, REPEATED, STEPPED_BACK, AT_RANDOM, MIXED, ORDERS };

static void draw_rows(model_metric *metric, size_t count)
{
    const enum order order = one_in(2) ? IN_ORDER : (enum order)below(ORDERS);
    const int64_t step = below(20), mood = below(4);
    int64_t at = order == STEPPED_BACK ? draw_timestamp(metric) : metric->newest;
    for (size_t i = 0; i < count; i++) {
        at += order == REPEATED ? 0 : one_in(10) ? below(20) : step;
        const bool late = order == AT_RANDOM || (order == MIXED && one_in(5));
        world_set(&rows, i, kept_time(late ? draw_timestamp(metric) : at), draw_value(),
                  draw_score(mood));
        rows.raw_score[i] = draw_score(mood);
    }
    metric->newest = order == STEPPED_BACK ? metric->newest : at;
}

static size_t draw_count(void)
{
    return 1 + (size_t)(one_in(8) ? below(ROWS_MAX) : one_in(2) ? below(80) : below(3));
}

static void append(size_t m)
{
    model_metric *metric = &metrics[m];
    const size_t count = draw_count();
    if (metric->count + count > LENGTH_MAX) {
        return;
    }
    draw_rows(metric, count);
    const bool numbered = one_in(4);
    mmq_appended out;
    mmq_write_rows view = world_view(&rows, 0, count);
    assert_ok(mmq_store_append(writer, metric->uid, numbered ? (int64_t)metric->count + 1 : 0,
                               &view, &out, &why));
    assert_int_equal(out.first_rowid, metric->count + 1);
    assert_int_equal(out.added, count);
    for (size_t i = 0; i < count; i++) {
        model_add(metric, (model_row){rows.timestamp[i], 0, rows.value[i], rows.anomaly_score[i],
                                      rows.raw_score[i], false});
    }
}

/* Rows that are there already, maybe with new ones behind them. */
static void resend(size_t m)
{
    model_metric *metric = &metrics[m];
    if (metric->count == 0) {
        return;
    }
    const size_t from = (size_t)below((int64_t)metric->count), known = metric->count - from;
    const size_t repeated = known < 2000 ? known : 2000;
    const size_t fresh = known == repeated && metric->count < LENGTH_MAX ? (size_t)below(100) : 0;
    draw_rows(metric, repeated + fresh);
    for (size_t i = 0; i < repeated; i++) {
        rows.timestamp[i] = metric->rows[from + i].timestamp;
        rows.value[i] = metric->rows[from + i].value;
    }
    bool differs = one_in(3);
    const size_t odd = (size_t)below((int64_t)repeated);
    rows.timestamp[odd] += differs ? (rows.timestamp[odd] > 0 ? -1 : 1) : 0;
    if (metric->rows[from + odd].gone) { /* of those the store knows only how old they were */
        differs = rows.timestamp[odd] >= metric->before;
    }
    mmq_appended out;
    mmq_write_rows view = world_view(&rows, 0, repeated + fresh);
    mmq_err err = mmq_store_append(writer, metric->uid, (int64_t)from + 1, &view, &out, &why);
    assert_int_equal(err, differs ? MMQ_ECONFLICT : MMQ_OK);
    if (err == MMQ_OK) {
        assert_int_equal(out.added, fresh);
    }
    for (size_t i = repeated; err == MMQ_OK && i < repeated + fresh; i++) {
        model_add(metric, (model_row){rows.timestamp[i], 0, rows.value[i], rows.anomaly_score[i],
                                      rows.raw_score[i], false});
    }
}

/* In any order, some rows twice: the later one counts. */
static void score(size_t m)
{
    model_metric *metric = &metrics[m];
    if (metric->count == 0) {
        return;
    }
    const size_t count = draw_count();
    const int64_t length = (int64_t)metric->count, mood = below(4);
    const int64_t begin = below(length), spread = one_in(2) ? 1 + below(50) : length;
    const bool in_order = one_in(2);
    for (size_t i = 0; i < count; i++) {
        rows.rowid[i] = 1 + (begin + (in_order ? (int64_t)i : below(spread))) % length;
        rows.anomaly_score[i] = draw_score(mood);
        rows.raw_score[i] = draw_score(mood);
    }
    bool gone = false;
    for (size_t i = 0; i < count; i++) {
        gone |= metric->rows[rows.rowid[i] - 1].gone;
    }
    mmq_write_rows view = world_view(&rows, 0, count);
    const mmq_err err = mmq_store_score(writer, metric->uid, &view, &why);
    assert_int_equal(err, gone ? MMQ_ENOTFOUND : MMQ_OK);
    for (size_t i = 0; i < count && !gone; i++) {
        metric->rows[rows.rowid[i] - 1].anomaly_score = rows.anomaly_score[i];
        metric->rows[rows.rowid[i] - 1].raw_score = rows.raw_score[i];
    }
}

/* What is left before `before` goes, in pieces of any size, of which the last may never come. */
static void prune(size_t m)
{
    model_metric *metric = &metrics[m];
    const int64_t before = one_in(8) ? MMQ_TIME_MAX : kept_time(draw_timestamp(metric));
    mmq_metric_head head;
    mmq_pruned said = {0}, out = {0};
    int work = MMQ_PRUNE_WORK;
    bool done = false;
    int64_t rows_before = 0, rows_gone = 0;
    assert_ok(mmq_store_find(writer, metric->uid, &head, &why));
    assert_ok(mmq_store_prunable(writer, &head, before, &work, &said, &why));
    while (!done && !one_in(10)) {
        work = one_in(2) ? 1 : MMQ_PRUNE_WORK;
        assert_ok(mmq_store_prune(writer, &head, before, &work, &done, &out, &why));
        assert_true(done || work <= 0);
    }
    metric->before = out.rows > 0 && before > metric->before ? before : metric->before;
    model_row *wanted =
        model_read(metric, &(mmq_range){.from = MMQ_TIME_MIN, .to = before - 1, .ascending = true},
                   (size_t *)&rows_before);
    assert_int_equal(said.rows, rows_before);
    assert_true(out.blocks <= said.blocks && out.rows <= said.rows &&
                (!done || out.rows == said.rows));
    for (; rows_gone < out.rows; rows_gone++) { /* the oldest first */
        metric->rows[wanted[rows_gone].rowid - 1].gone = true;
    }
    free(wanted);
}

static void make(size_t m)
{
    mmq_metric record;
    world_metric(&record, metrics[m].uid, metrics[m].uid);
    assert_ok(mmq_store_create(writer, &record, &why));
    assert_true(record.head.key > metrics[m].key);
    metrics[m].key = record.head.key;
    metrics[m].exists = true;
    metrics[m].count = 0;
    metrics[m].newest = below(1000);
    metrics[m].before = INT64_MIN;
    mmq_metric_clear(&record);
}

static void delete (size_t m)
{
    assert_ok(mmq_store_delete(writer, metrics[m].uid, &why));
    metrics[m].exists = false;
    metrics[m].count = 0;
}

static void write_step(size_t m)
{
    const int64_t what = below(120);
    if (!metrics[m].exists) {
        make(m);
    } else if (what == 0) {
        delete (m);
    } else if (what < 6) {
        prune(m);
    } else if (what < 15) {
        resend(m);
    } else if (what < 42) {
        score(m);
    } else {
        append(m);
    }
}

static void write_some(void)
{
    assert_ok(mmq_store_begin_write(writer, &why));
    for (int64_t i = 1 + below(8); i > 0; i--) {
        write_step((size_t)below(METRICS));
    }
    assert_ok(mmq_store_commit(writer, &why));
    if (one_in(4)) {
        bool more;
        assert_ok(mmq_store_tidy(writer, &more, &why));
    }
}

/* ---- reading by time -------------------------------------------------------------------- */

static void draw_range(size_t m, mmq_range *out)
{
    const model_metric *metric = &metrics[m];
    const int64_t a = draw_timestamp(metric), b = draw_timestamp(metric);
    *out = (mmq_range){
        .metric = metric->key,
        .from = one_in(3)             ? MMQ_TIME_MIN
                : a < b || one_in(10) ? a
                                      : b,
        .to = one_in(3) ? MMQ_TIME_MAX
              : a < b   ? b
                        : a,
        .ascending = one_in(2),
        .scores = (mmq_score_filter)below(3),
        .least_score = (double)below(1100) / 1000,
        .rowid_most = one_in(2) ? 0 : below(one_in(4) ? 4 : (int64_t)metric->count + 10),
    };
    if (metric->count > 0 && one_in(4)) { /* what is yet to come, too */
        const int64_t late = below(metric->count < 100 ? (int64_t)metric->count : 100);
        out->from = metric->rows[metric->count - 1 - (size_t)late].timestamp;
        out->to = MMQ_TIME_MAX;
        out->ascending = true;
        out->rowid_most = 0;
    }
    if (one_in(3)) {
        out->positioned = true;
        out->timestamp = draw_timestamp(metric);
        out->rowid = below((int64_t)metric->count + 2);
    }
}

/* `left` rows are to come: to stop at the last of them is to stop at the end of a block. */
static size_t draw_capacity(size_t left)
{
    if (left > 0 && left <= MMQ_BATCH_ROWS && one_in(2)) {
        return left;
    }
    return 1 + (size_t)(one_in(2) ? below(MMQ_BATCH_ROWS) : one_in(2) ? below(10) : 1023);
}

/* Reads one batch, which must be what comes next; the position must be behind it. */
static void read_batch(const model_metric *metric, mmq_range *range)
{
    size_t count, left;
    const mmq_range before = *range;
    model_row *wanted = model_read(metric, range, &count);
    const size_t capacity = draw_capacity(count);
    assert_ok(mmq_store_read_time(reader, range, &batch, capacity, &why));
    assert_true(batch.count <= capacity && batch.count <= count);
    for (size_t i = 0; i < batch.count; i++) {
        if (!model_is(&batch, i, &wanted[i])) {
            fail_msg("row %zu of %zu is (%lld, %lld), not (%lld, %lld)", i, batch.count,
                     (long long)batch.timestamp[i], (long long)batch.rowid[i],
                     (long long)wanted[i].timestamp, (long long)wanted[i].rowid);
        }
    }
    free(wanted);
    free(model_read(metric, range, &left));
    assert_int_equal(left, count - batch.count);
    assert_true(!range->ended || left == 0);
    assert_true(range->ended || !before.positioned || range->timestamp != before.timestamp ||
                range->rowid != before.rowid || batch.count > 0);
}

static void read_range(size_t m)
{
    mmq_range range;
    draw_range(m, &range);
    for (int i = 0; !range.ended && i < 50; i++) {
        read_batch(&metrics[m], &range);
    }
}

/* A range that goes on after writes. Of a metric that is gone nothing may be read. */
static void read_open_range(open_range *at)
{
    if (!at->used || at->range.ended) {
        at->used = true;
        at->metric = (size_t)below(METRICS);
        at->key = metrics[at->metric].key;
        draw_range(at->metric, &at->range);
    }
    const model_metric *metric = &metrics[at->metric];
    if (at->key == metric->key && metric->exists) {
        read_batch(metric, &at->range);
    } else {
        at->range.ended = true;
    }
}

/* ---- reading by rowid ------------------------------------------------------------------- */

static void read_window(size_t m)
{
    const model_metric *metric = &metrics[m];
    const int64_t length = (int64_t)metric->count;
    const int64_t first = below(length + 3), last = first + below(one_in(2) ? 2000 : 5) - 1;
    const size_t capacity = draw_capacity(0);
    int64_t begin = first < 1 ? 1 : first, end = last < length ? last : length;
    while (begin <= end && metric->rows[begin - 1].gone) {
        begin++;
    }
    end = end - begin >= (int64_t)capacity ? begin + (int64_t)capacity - 1 : end;
    assert_ok(mmq_store_read_rowids(reader, metric->key, first, last, &batch, capacity, &why));
    size_t count = 0;
    for (int64_t rowid = begin; rowid <= end; rowid++) {
        const model_row *row = &metric->rows[rowid - 1];
        if (!row->gone) {
            assert_true(count < batch.count && model_is(&batch, count, row));
            assert_true(model_same(batch.raw_score[count], row->raw_score));
            count++;
        }
    }
    assert_int_equal(batch.count, count);
}

/* All rows of a metric and more, in one window. */
static void read_wide(size_t m)
{
    const model_metric *metric = &metrics[m];
    const size_t capacity = metric->count + 10;
    mmq_rowid_window window = {.capacity = capacity};
    window.timestamp = calloc(capacity, sizeof *window.timestamp);
    window.value = calloc(3 * capacity, sizeof *window.value);
    window.there = calloc(capacity, sizeof *window.there);
    assert_true(window.timestamp != NULL && window.value != NULL && window.there != NULL);
    window.anomaly_score = window.value + capacity;
    window.raw_score = window.anomaly_score + capacity;
    assert_ok(mmq_store_read_window(reader, metric->key, 1, INT64_MAX, &window, &why));
    assert_int_equal(window.count, metric->count);
    assert_true(window.blocks <= metric->count);
    for (size_t i = 0; i < window.count; i++) {
        const model_row *row = &metric->rows[i];
        assert_int_equal(window.there[i], !row->gone);
        if (row->gone) {
            continue;
        }
        assert_int_equal(window.timestamp[i], row->timestamp);
        assert_true(model_same(window.value[i], row->value));
        assert_true(model_same(window.anomaly_score[i], row->anomaly_score));
        assert_true(model_same(window.raw_score[i], row->raw_score));
    }
    free(window.timestamp);
    free(window.value);
    free(window.there);
}

static void check_record(const model_metric *metric)
{
    mmq_metric record;
    mmq_err err = mmq_store_metric(reader, metric->uid, &record, &why);
    assert_int_equal(err, metric->exists ? MMQ_OK : MMQ_ENOTFOUND);
    if (err != MMQ_OK) {
        return;
    }
    int64_t newest = INT64_MIN;
    for (size_t i = 0; i < metric->count; i++) {
        newest = metric->rows[i].timestamp > newest ? metric->rows[i].timestamp : newest;
    }
    assert_int_equal(record.head.key, metric->key);
    assert_int_equal(record.head.last_rowid, metric->count);
    assert_int_equal(record.has_rows, metric->count > 0);
    assert_true(!record.has_rows || record.last_timestamp == newest);
    mmq_metric_clear(&record);
}

static void read_some(void)
{
    mmq_snapshot snapshot;
    int64_t unscored, wanted = 0;
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    for (size_t m = 0; m < METRICS; m++) {
        check_record(&metrics[m]);
        wanted += model_unscored(&metrics[m]);
        if (metrics[m].exists) {
            read_range(m);
            read_window(m);
            read_wide(m);
        }
    }
    for (size_t i = 0; i < OPEN_RANGES; i++) {
        read_open_range(&ranges[i]);
    }
    assert_ok(mmq_store_unscored(reader, &unscored, &why));
    assert_int_equal(unscored, wanted);
    mmq_store_end_read(reader);
}

/* ---- blocks ----------------------------------------------------------------------------- */

static const struct {
    const char *what, *sql; /* counts what is wrong */
} invariants[] = {
    {"blocks of a metric are disjoint and in order",
     "SELECT count(*) FROM (SELECT metric, first_timestamp AS t, first_rowid AS r,"
     " lag(last_timestamp) OVER m AS before_t, lag(last_rowid) OVER m AS before_r FROM block"
     " WINDOW m AS (PARTITION BY metric ORDER BY first_timestamp, first_rowid)) AS x"
     " WHERE (before_t, before_r) >= (t, r)"},
    {"a block is in order, and no greater than it may be",
     "SELECT count(*) FROM block WHERE (first_timestamp, first_rowid) > (last_timestamp, "
     "last_rowid)"
     " OR rows NOT BETWEEN 1 AND 1024 OR unscored NOT BETWEEN 0 AND rows"
     " OR first_rowid NOT BETWEEN least_rowid AND greatest_rowid"
     " OR greatest_rowid - least_rowid + 1 < rows"
     " OR (greatest_score IS NULL) <> (unscored = rows)"},
    {"a metric's record is the sum of its blocks",
     "SELECT count(*) FROM (SELECT last_rowid, unscored, last_timestamp,"
     " coalesce((SELECT sum(rows) FROM block WHERE metric = key), 0) AS there,"
     " coalesce((SELECT sum(gap.last_rowid - first_rowid + 1) FROM gap WHERE metric = key), 0)"
     " AS gone,"
     " coalesce((SELECT sum(unscored) FROM block WHERE metric = key), 0) AS without,"
     " (SELECT max(last_timestamp) FROM block WHERE metric = key) AS newest FROM metric) AS x"
     " WHERE there + gone <> last_rowid OR unscored <> without OR newest > last_timestamp"
     " OR (gone = 0 AND last_timestamp IS DISTINCT FROM newest)"},
    {"gaps are apart, and each is of a metric that was pruned",
     "SELECT count(*) FROM (SELECT metric, first_rowid, last_rowid, lag(last_rowid) OVER m AS "
     "before"
     " FROM gap WINDOW m AS (PARTITION BY metric ORDER BY first_rowid)) AS x WHERE before + 1 >= "
     "first_rowid"
     " OR last_rowid < first_rowid OR (metric NOT IN (SELECT metric FROM pruned)"
     " AND metric NOT IN (SELECT metric FROM doomed))"},
    {"a block has data",
     "SELECT count(*) FROM block WHERE data NOT IN (SELECT key FROM block_data)"},
    {"data has a block",
     "SELECT count(*) FROM block_data WHERE key NOT IN (SELECT data FROM block)"},
    {"data has one block", "SELECT count(*) - count(DISTINCT data) FROM block"},
    {"a block has a metric, or will be removed",
     "SELECT count(*) FROM block WHERE metric NOT IN (SELECT key FROM metric)"
     " AND metric NOT IN (SELECT metric FROM doomed)"},
    {"blocks are not many more than rows want: the last two of a metric may be small, and the "
     "first,"
     " if it was cut",
     "SELECT count(*) FROM (SELECT metric, sum(rows) AS rows, count(*) AS blocks FROM block"
     " GROUP BY metric) AS sums WHERE blocks > 3 + rows / 512.0"},
};

static void check_blocks(void)
{
    for (size_t i = 0; i < sizeof invariants / sizeof *invariants; i++) {
        const int64_t wrong = world_sql(invariants[i].sql);
        if (wrong != 0) {
            fail_msg("%s: %lld are not", invariants[i].what, (long long)wrong);
        }
    }
}

/* ---- all of it -------------------------------------------------------------------------- */

static bool go_on(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context, (void)doing, (void)total;
    return done >= 0;
}

static void tell_fault(void *context, const char *what)
{
    (void)context;
    print_error("%s\n", what);
}

/* The store's own check agrees. */
static void check_store(void)
{
    mmq_store_sums sums;
    int64_t there = 0;
    const mmq_store_watch watch = {.at = go_on, .fault = tell_fault};
    assert_ok(mmq_store_check(reader, &watch, &sums, &why));
    assert_int_equal(sums.faults, 0);
    for (size_t m = 0; m < METRICS; m++) {
        for (size_t i = 0; i < metrics[m].count; i++) {
            there += metrics[m].rows[i].gone ? 0 : 1;
        }
    }
    assert_int_equal(sums.rows, there);
}

static void test_model(void **state)
{
    (void)state;
    world_begin();
    writer = world_open(MMQ_STORE_WRITE);
    reader = world_open(MMQ_STORE_READ);
    for (size_t m = 0; m < METRICS; m++) {
        (void)snprintf(metrics[m].uid, sizeof metrics[m].uid, "m%zu", m);
    }
    for (unsigned step = 0; step < steps; step++) {
        write_some();
        read_some();
        if (one_in(5)) {
            check_blocks();
        }
        if (one_in(25)) {
            check_store();
        }
    }
    check_blocks();
    for (bool more = true; more;) {
        assert_ok(mmq_store_tidy(writer, &more, &why));
    }
    check_blocks();
    check_store();
    assert_int_equal(world_sql("SELECT count(*) FROM doomed"), 0);
    assert_int_equal(
        world_sql("SELECT count(*) FROM gap WHERE metric NOT IN (SELECT key FROM metric)"), 0);
    for (size_t m = 0; m < METRICS; m++) {
        free(metrics[m].rows);
    }
    mmq_store_close(&reader);
    mmq_store_close(&writer);
    world_end();
}

int main(void)
{
    const char *given = getenv("SEED"), *longer = getenv("STEPS");
    const unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    steps = longer != NULL ? (unsigned)strtoul(longer, NULL, 10) : store_rounds(steps);
    printf("SEED=%u\n", seed);
    (void)fflush(stdout);
    srandom(seed);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
