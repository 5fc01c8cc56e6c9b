/* Streams of rows against a slow reference: every form of query, in pages and frames of several
 * sizes, taken up from every cursor, with and without changes between the pages. Covers F55.
 * METRICMQ_SEED=n runs one seed only. */
#include "query_stream.h"

/* ---- random worlds and queries ---------------------------------------------------------- */

static const char *const uids[] = {"A", "Zz", "_", "-x", ".a", "a", "a.", "a0", "b", "b-b"};
enum { UIDS = sizeof uids / sizeof *uids };

static void fill_world(struct world *world, size_t rows_most)
{
    size_t metrics = world_random(world, UIDS + 1);
    world_begin(world);
    for (size_t i = 0; i < metrics; i++) {
        if (world_alive(world, uids[i]) == NULL) {
            struct world_metric *metric = world_create(world, uids[i]);
            world_append(world, metric, world_random(world, rows_most + 1),
                         1 + (unsigned)world_random(world, 30));
        }
    }
    world_commit(world);
}

static double maybe(struct world *world, unsigned chance, double value)
{
    return world_random(world, chance) == 0 ? value : NAN;
}

static struct ask random_ask(struct world *world)
{
    static const double anomalies[] = {0, 0.3, 0.5, 1, -1, -0.5};
    static const double limits[] = {0, 1, 2, 5, 17, 1000};
    static const char *const orders[] = {NULL, "time", "metric"};
    static const size_t sizes[] = {0, 1024, 1500, 3000, 10000, 100000};
    struct ask ask = everything;
    if (world_random(world, 3) == 0) {
        ask.uid = world_random(world, 8) == 0 ? "unknown" : uids[world_random(world, UIDS)];
    }
    ask.order = orders[world_random(world, 3)];
    ask.from = maybe(world, 2, TIME_BASE - 2 + (double)world_random(world, 34));
    ask.to = maybe(world, 3, TIME_BASE - 2 + (double)world_random(world, 34));
    ask.anomaly = maybe(world, 2, anomalies[world_random(world, 6)]);
    ask.limit = maybe(world, 2, limits[world_random(world, 6)]);
    ask.rowid = maybe(world, 10, (double)world_random(world, 40));
    ask.max_bytes = sizes[world_random(world, 6)];
    ask.frame_bytes = 1024 + world_random(world, 3000);
    ask.time_ns = world_random(world, 2) == 0 ? 0 : everything.time_ns;
    return ask;
}

/* The stream is right, and from each of its cursors the rest of it. */
static void check_still(struct world *world, uint64_t seed, struct ask ask)
{
    struct stream stream = {.places = calloc(PLACES_MAX, sizeof *stream.places)};
    struct shown expected = {0};
    assert_non_null(stream.places);
    world_mark(world);
    expect_all(world, &ask, &expected);
    read_stream(world, &ask, NULL, &stream);
    assert_rows(&stream.shown, 0, &expected, seed, &ask);
    const size_t step = 1 + stream.place_count / 20;
    for (size_t i = 0; i < stream.place_count; i += step) {
        struct stream rest = {0};
        struct ask again = ask;
        again.cursor = stream.places[i].cursor;
        again.max_bytes = 1024 + world_random(world, 20000);
        read_stream(world, &again, NULL, &rest);
        assert_rows(&rest.shown, stream.places[i].after, &expected, seed, &ask);
        clear_stream(&rest);
    }
    free(expected.rows);
    clear_stream(&stream);
}

static uint64_t first_seed(uint64_t *count)
{
    const char *text = getenv("METRICMQ_SEED");
    *count = text != NULL ? 1 : *count;
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)mmq_wall_s() * 1000;
    fprintf(stderr, "seeds %ju to %ju\n", (uintmax_t)seed, (uintmax_t)(seed + *count - 1));
    return seed;
}

static mmq_scan_cache *new_cache(void)
{
    mmq_scan_cache *cache = mmq_scan_cache_new();
    assert_non_null(cache);
    return cache;
}

static void each_query_shows_what_the_reference_shows(void **state)
{
    (void)state;
    uint64_t count = store_rounds(12);
    const uint64_t first = first_seed(&count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world *world = world_new(seed);
        mmq_scan_cache *cache = new_cache();
        fill_world(world, seed % 4 == 0 ? 1000 : 60);
        for (int i = 0; i < 40; i++) {
            struct ask ask = random_ask(world);
            ask.cache = world_random(world, 2) == 0 ? cache : NULL;
            check_still(world, seed, ask);
        }
        mmq_scan_cache_destroy(&cache);
        world_destroy(&world);
    }
}

/* ---- changes between pages -------------------------------------------------------------- */

/* Appends everywhere; scores and deletes only where the uid is of a kind of its own, so that the
 * others must stay exactly as they were. */
static void change_world(struct world *world)
{
    struct world_metric *metric;
    world_begin(world);
    for (int i = 0; i < 3; i++) {
        const char *uid = uids[world_random(world, UIDS)];
        metric = world_alive(world, uid);
        if (metric == NULL) {
            metric = world_create(world, uid);
        }
        world_append(world, metric, world_random(world, 5), 30);
    }
    metric = world_alive(world, uids[world_random(world, 4)]);
    if (metric != NULL && metric->count > 0) {
        world_rescore(world, metric, 1 + (int64_t)world_random(world, (uint64_t)metric->count));
    }
    metric = world_alive(world, uids[4 + world_random(world, 3)]);
    if (metric != NULL && world_random(world, 5) == 0) {
        world_delete(world, metric);
    }
    world_commit(world);
    mmq_why why;
    bool more;
    world_ok(mmq_store_tidy(world->writer, &more, &why), &why);
}

static bool contains(const struct shown *shown, const struct shown_row *row, bool with_score)
{
    for (size_t i = 0; i < shown->count; i++) {
        struct shown_row other = shown->rows[i];
        other.score = with_score ? other.score : row->score;
        if (same_row(&other, row)) {
            return true;
        }
    }
    return false;
}

/* Rows of the one uid. */
static struct shown only(const struct shown *shown, const char *uid)
{
    struct shown out = {0};
    for (size_t i = 0; i < shown->count; i++) {
        if (strcmp(shown->rows[i].uid, uid) == 0) {
            shown_add(&out, &shown->rows[i]);
        }
    }
    return out;
}

/* What may be said of a metric whose rows were scored or that was deleted: nothing is shown that
 * was not there, and all is shown that stayed. */
static bool is_plausible(const struct world_metric *metric, const struct shown *got,
                         const mmq_selection *selection)
{
    mmq_selection any = *selection;
    any.anomaly = -1;
    struct shown all = {0}, now = {0};
    size_t touched = 0;
    expect_metric(metric, &any, 0, &all);
    expect_metric(metric, selection, 0, &now);
    bool plausible = true;
    for (size_t i = 0; i < got->count; i++) {
        plausible = plausible && contains(&all, &got->rows[i], false);
        touched += metric->rows[got->rows[i].rowid - 1].touched;
    }
    if (selection->limit > 0) {
        plausible = plausible && got->count <= (size_t)selection->limit + touched;
    } else if (!metric->deleted) {
        for (size_t i = 0; i < now.count; i++) {
            plausible = plausible && (metric->rows[now.rows[i].rowid - 1].touched ||
                                      contains(got, &now.rows[i], true));
        }
    }
    free(all.rows);
    free(now.rows);
    return plausible;
}

static bool is_right(const struct world_metric *metric, const struct shown *got,
                     const mmq_selection *selection)
{
    struct shown expected = {0};
    if (metric->scored || metric->deleted) {
        return is_plausible(metric, got, selection);
    }
    expect_metric(metric, selection, selection->limit, &expected);
    bool right = got->count == expected.count;
    for (size_t i = 0; right && i < got->count; i++) {
        right = same_row(&got->rows[i], &expected.rows[i]);
    }
    free(expected.rows);
    return right;
}

static void check_moving(struct world *world, uint64_t seed, const struct ask *ask)
{
    struct stream stream = {0};
    mmq_selection selection = selection_of(ask);
    size_t of_the_start = 0;
    world_mark(world);
    read_stream(world, ask, change_world, &stream);
    bool right = true;
    for (size_t i = 1; i < stream.shown.count; i++) {
        right = right &&
                compare_shown(&stream.shown.rows[i - 1], &stream.shown.rows[i], &selection) < 0;
    }
    for (size_t i = 0; i < world->count; i++) {
        if (is_asked(ask, &world->metrics[i])) {
            struct shown got = only(&stream.shown, world->metrics[i].uid);
            right = right && is_right(&world->metrics[i], &got, &selection);
            of_the_start += got.count;
            free(got.rows);
        }
    }
    right = right && of_the_start == stream.shown.count;
    if (!right) {
        print_ask("wrong", seed, ask);
    }
    assert_true(right);
    clear_stream(&stream);
}

static void a_stream_is_as_of_its_first_page(void **state)
{
    (void)state;
    uint64_t count = store_rounds(12);
    const uint64_t first = first_seed(&count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world *world = world_new(seed);
        mmq_scan_cache *cache = new_cache();
        fill_world(world, 100);
        for (int i = 0; i < 25 && world->count < WORLD_METRICS - 300; i++) {
            struct ask ask = random_ask(world);
            ask.max_bytes = 1024 + world_random(world, 1000);
            ask.cache = world_random(world, 2) == 0 ? cache : NULL;
            check_moving(world, seed, &ask);
        }
        mmq_scan_cache_destroy(&cache);
        world_destroy(&world);
    }
}

/* ---- sizes ------------------------------------------------------------------------------ */

static void thousands_of_metrics_are_merged(void **state)
{
    (void)state;
    struct world *world = world_new(7);
    char uid[24];
    const int count = store_server() == NULL ? 3000 : 600; /* statements take longer there */
    world_begin(world);
    for (int i = 0; i < count; i++) {
        snprintf(uid, sizeof uid, "m%d", i * 7919 % count);
        world_append(world, world_create(world, uid), world_random(world, 6), 4);
    }
    world_commit(world);
    struct ask ask = everything;
    ask.max_bytes = 64 * 1024;
    ask.frame_bytes = 16 * 1024;
    check_still(world, 7, ask);
    ask.from = 0;
    ask.limit = 2;
    check_still(world, 7, ask);
    ask.order = "metric";
    ask.time_ns = 0;
    check_still(world, 7, ask);
    world_destroy(&world);
}

/* Matches are rare: pages without rows get ahead all the same. */
static void long_metrics_are_read_batch_by_batch(void **state)
{
    (void)state;
    struct world *world = world_new(8);
    world_begin(world);
    for (int i = 0; i < 3; i++) {
        world_append(world, world_create(world, uids[i]), 6000, 2000);
    }
    world_commit(world);
    struct ask ask = everything;
    check_still(world, 8, ask);
    ask.anomaly = 1;
    ask.time_ns = 0;
    check_still(world, 8, ask);
    ask.limit = 5;
    check_still(world, 8, ask);
    ask.anomaly = 1.5;
    ask.from = 0;
    ask.order = "metric";
    check_still(world, 8, ask);
    ask.order = NULL;
    ask.uid = uids[1];
    check_still(world, 8, ask);
    world_destroy(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_query_shows_what_the_reference_shows),
        cmocka_unit_test(a_stream_is_as_of_its_first_page),
        cmocka_unit_test(thousands_of_metrics_are_merged),
        cmocka_unit_test(long_metrics_are_read_batch_by_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
