/* Questions of `summary`, answers read in pages, and the plain computation from the rows that they
 * are held against. METRICMQ_SEED=n runs one seed only. */
#ifndef QUERY_SUMMARY_H
#define QUERY_SUMMARY_H

#include "query_stream.h"

#include "lib/bucket.h"
#include "lib/calendar.h"

static const char *const uids[] = {"A", "Zz", "_", "-x", ".a", "a", "b-b"};
enum { UIDS = sizeof uids / sizeof *uids };

/* ---- what is asked and shown ------------------------------------------------------------ */

struct question {
    const char *uid;
    double from, to; /* NaN: left out */
    int64_t buckets;
    size_t max_bytes, frame_bytes;
    int64_t time_ns;
    const char *cursor, *unless;
};

static const struct question all_rows = {.from = NAN,
                                         .to = NAN,
                                         .buckets = 100,
                                         .max_bytes = MMQ_PAGE_DEFAULT,
                                         .frame_bytes = 256 * 1024,
                                         .time_ns = FOREVER_S * MMQ_NS_PER_S};

struct got_bucket {
    char uid[24];
    int64_t start;
    mmq_bucket bucket;
};

struct answer {
    size_t count, pages, names, place_count;
    int64_t rows; /* of the page being read */
    struct got_bucket *buckets;
    struct place *places;
    char state[MMQ_STATE_MAX];
    bool unchanged;
};

enum { BUCKETS_MAX = 20000 };

static inline void begin_answer(struct answer *answer)
{
    *answer = (struct answer){.buckets = calloc(BUCKETS_MAX, sizeof *answer->buckets),
                              .places = calloc(PLACES_MAX, sizeof *answer->places)};
    assert_non_null(answer->buckets);
    assert_non_null(answer->places);
}

static inline void end_answer(struct answer *answer)
{
    free(answer->buckets);
    free(answer->places);
}

static inline struct got_bucket *add_got(struct answer *answer)
{
    assert_true(answer->count < BUCKETS_MAX);
    return &answer->buckets[answer->count++];
}

static inline void take_payload(struct answer *answer, const void *data, size_t size)
{
    size_t offset = 0;
    while (offset < size) {
        mmq_bucket_row row;
        mmq_err err = mmq_bucket_take(data, size, &offset, &row);
        if (err == MMQ_EAGAIN) {
            assert_int_equal(answer->count + answer->pages, 0);
            answer->names++;
            continue;
        }
        assert_int_equal(err, MMQ_OK);
        struct got_bucket *got = add_got(answer);
        assert_true(row.uid_size < sizeof got->uid);
        memset(got, 0, sizeof *got);
        memcpy(got->uid, row.uid, row.uid_size);
        got->start = row.start;
        got->bucket = row.bucket;
        answer->rows++;
    }
}

static inline void note_place(struct answer *answer, const char *cursor)
{
    if (answer->place_count < PLACES_MAX) {
        struct place *place = &answer->places[answer->place_count++];
        place->after = answer->count;
        snprintf(place->cursor, sizeof place->cursor, "%s", cursor);
    }
}

static inline mmq_err take_frame(void *context, const char *cursor, mmq_frame *payload)
{
    take_payload(context, mmq_frame_data(payload), mmq_frame_size(payload));
    note_place(context, cursor);
    return MMQ_OK;
}

static inline mmq_err parse_question(const struct question *question, const char *cursor,
                                     mmq_buffer *body, mmq_page_query *query, mmq_why *why)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "summary");
    mmq_args_cstr(&args, "uid", question->uid);
    mmq_args_cstr(&args, "unless", question->unless);
    mmq_args_cstr(&args, "cursor", cursor);
    mmq_args_int(&args, "max_bytes", (int64_t)question->max_bytes);
    mmq_args_int(&args, "buckets", question->buckets);
    add_number(&args, "from", question->from);
    add_number(&args, "to", question->to);
    mmq_pack_map(body, args.count);
    mmq_buffer_add(body, args.pairs.data, args.pairs.size);
    mmq_args_clear(&args);
    return mmq_query_read_summary(body->data, body->size, query, why);
}

/* *next is "" at the end. */
static inline mmq_err read_one(mmq_store *store, const struct question *question,
                               const char *cursor, struct answer *answer, char next[MMQ_CURSOR_MAX],
                               mmq_why *why)
{
    mmq_page_query query;
    mmq_buffer body;
    mmq_buffer_init(&body, 64 * 1024);
    const mmq_page_sink sink = {take_frame, answer};
    const mmq_page_options options = {question->frame_bytes, question->time_ns, INT64_MAX, NULL};
    mmq_page page;
    mmq_err err = parse_question(question, cursor, &body, &query, why);
    if (err == MMQ_OK) {
        answer->rows = 0;
        err = mmq_page_begin(&page, store, &query, &options, &sink, why);
        if (err == MMQ_OK) {
            err = mmq_page_fill_summary(&page, why);
        }
        if (err == MMQ_OK) {
            assert_true(page.buffer.size <= question->frame_bytes);
            assert_true(page.sent + page.buffer.size <= query.max_bytes);
            take_payload(answer, page.buffer.data, page.buffer.size);
            assert_int_equal(page.rows, answer->rows);
            snprintf(next, MMQ_CURSOR_MAX, "%s", page.more ? page.next : "");
            memcpy(answer->state, page.state, sizeof answer->state);
            answer->unchanged = page.unchanged;
        }
        mmq_page_clear(&page);
        answer->pages++;
    }
    mmq_buffer_clear(&body);
    return err;
}

static inline void read_all(struct world *world, const struct question *question, change_fn *change,
                            struct answer *answer)
{
    char next[MMQ_CURSOR_MAX] = "", last[MMQ_CURSOR_MAX] = "";
    snprintf(last, sizeof last, "%s", question->cursor != NULL ? question->cursor : "");
    do {
        mmq_why why;
        world_ok(
            read_one(world->reader, question, last[0] != '\0' ? last : NULL, answer, next, &why),
            &why);
        assert_true(strcmp(next, last) != 0 || next[0] == '\0'); /* it gets ahead */
        assert_true(answer->pages < PAGES_MAX);
        memcpy(last, next, sizeof last);
        if (next[0] != '\0') {
            note_place(answer, next);
            if (change != NULL) {
                change(world);
            }
        }
    } while (next[0] != '\0');
    assert_int_equal(answer->names, question->cursor == NULL);
}

/* ---- the reference ---------------------------------------------------------------------- */

struct order {
    int64_t timestamp, rowid;
    const struct world_row *row;
};

static inline int compare_order(const void *a_p, const void *b_p)
{
    const struct order *a = a_p, *b = b_p;
    const int times = compare_number(a->timestamp, b->timestamp);
    return times != 0 ? times : compare_number(a->rowid, b->rowid);
}

static inline void expect_bucket(const struct order *rows, size_t count, struct got_bucket *out)
{
    mmq_bucket *bucket = &out->bucket;
    long double sum = 0;
    *bucket = (mmq_bucket){.rows = (int64_t)count,
                           .least = INFINITY,
                           .greatest = -INFINITY,
                           .first = rows[0].row->value,
                           .last = rows[count - 1].row->value,
                           .greatest_score = NAN};
    for (size_t i = 0; i < count; i++) {
        bucket->least = fmin(bucket->least, rows[i].row->value);
        bucket->greatest = fmax(bucket->greatest, rows[i].row->value);
        bucket->greatest_score = fmax(bucket->greatest_score, rows[i].row->score);
        bucket->unscored += isnan(rows[i].row->score);
        sum += rows[i].row->value;
    }
    bucket->mean = (double)(sum / (long double)count);
}

static inline void expect_metric_buckets(const struct world_metric *metric, int64_t from,
                                         int64_t to, int64_t buckets, struct answer *out)
{
    struct order *rows = calloc((size_t)metric->bound + 1, sizeof *rows);
    const int64_t width = (to - from + 1 + buckets - 1) / buckets;
    size_t count = 0;
    assert_non_null(rows);
    for (int64_t i = 0; i < metric->bound; i++) {
        const struct world_row *row = &metric->rows[i];
        if (row->timestamp >= from && row->timestamp <= to) {
            rows[count++] = (struct order){row->timestamp, i + 1, row};
        }
    }
    qsort(rows, count, sizeof *rows, compare_order);
    for (size_t begin = 0, end; begin < count; begin = end) {
        const int64_t index = (rows[begin].timestamp - from) / width;
        for (end = begin; end < count && (rows[end].timestamp - from) / width == index; end++) {
        }
        struct got_bucket *made = add_got(out);
        memset(made, 0, sizeof *made);
        memcpy(made->uid, metric->uid, sizeof made->uid);
        made->start = from + index * width;
        expect_bucket(rows + begin, end - begin, made);
    }
    free(rows);
}

static inline int by_uid(const void *a_p, const void *b_p)
{
    const struct world_metric *const *a = a_p, *const *b = b_p;
    return strcmp((*a)->uid, (*b)->uid);
}

/* As of world_mark. */
static inline void expect_answer(const struct world *world, const struct question *question,
                                 struct answer *out)
{
    const struct world_metric *asked[WORLD_METRICS];
    size_t count = 0;
    int64_t from = INT64_MAX, to = INT64_MIN;
    for (size_t i = 0; i < world->count; i++) {
        const struct world_metric *metric = &world->metrics[i];
        if (metric->bound >= 0 &&
            (question->uid == NULL || strcmp(question->uid, metric->uid) == 0)) {
            asked[count++] = metric;
            for (int64_t r = 0; r < metric->bound; r++) {
                from = metric->rows[r].timestamp < from ? metric->rows[r].timestamp : from;
                to = metric->rows[r].timestamp > to ? metric->rows[r].timestamp : to;
            }
        }
    }
    qsort(asked, count, sizeof *asked, by_uid);
    from = isnan(question->from) ? from : (int64_t)question->from;
    to = isnan(question->to) ? to : (int64_t)question->to;
    for (size_t i = 0; i < count && from <= to; i++) {
        expect_metric_buckets(asked[i], from, to, question->buckets, out);
    }
}

static inline bool same_bucket(const struct got_bucket *a, const struct got_bucket *b, bool scores)
{
    const mmq_bucket *x = &a->bucket, *y = &b->bucket;
    const double size = fmax(fabs(y->least), fabs(y->greatest));
    const bool numbers = x->rows == y->rows && x->least == y->least && x->greatest == y->greatest &&
                         x->first == y->first && x->last == y->last &&
                         fabs(x->mean / 4 - y->mean / 4) <= ldexp(size, -52);
    return strcmp(a->uid, b->uid) == 0 && a->start == b->start && numbers &&
           (!scores || (x->unscored == y->unscored &&
                        (isnan(x->greatest_score) ? isnan(y->greatest_score)
                                                  : x->greatest_score == y->greatest_score)));
}

static inline void assert_answer(const struct answer *got, size_t after,
                                 const struct answer *expected, bool scores, uint64_t seed,
                                 const struct question *question)
{
    bool same = after + got->count == expected->count;
    size_t at = 0;
    while (same && at < got->count) {
        same = same_bucket(&got->buckets[at], &expected->buckets[after + at], scores);
        at += same;
    }
    if (!same) {
        fail_msg("METRICMQ_SEED=%ju: uid %s from %f to %f buckets %jd: %zu buckets, expected %zu;"
                 " the first to differ: %zu",
                 (uintmax_t)seed, question->uid != NULL ? question->uid : "-", question->from,
                 question->to, (intmax_t)question->buckets, got->count, expected->count - after,
                 at);
    }
}

/* ---- random worlds and questions -------------------------------------------------------- */

/* So that blocks lie in buckets as well as across: some metrics have many rows a second. */
static inline void fill_world(struct world *world, size_t rows_most)
{
    static const unsigned spans[] = {1, 7, 300, 86400, 10000000};
    world_begin(world);
    for (size_t i = 0; i < UIDS; i++) {
        if (world_random(world, 4) > 0) {
            struct world_metric *metric = world_create(world, uids[i]);
            const unsigned span = spans[world_random(world, 5)];
            for (int j = 0; j < 3; j++) {
                world_append(world, metric, world_random(world, rows_most + 1), span);
            }
        }
    }
    world_commit(world);
}

static inline double some_time(struct world *world)
{
    static const unsigned spans[] = {10, 400, 100000, 10000000};
    const double step = (double)world_random(world, spans[world_random(world, 4)]);
    return TIME_BASE - 3 + step;
}

static inline struct question random_question(struct world *world)
{
    static const int64_t few[] = {1, 2, 3, 7, 40, 400};
    static const size_t sizes[] = {0, 1024, 3000, 100000, 10000000};
    struct question question = all_rows;
    question.buckets = few[world_random(world, 6)];
    if (world_random(world, 2) == 0) {
        question.uid = world_random(world, 8) == 0 ? "unknown" : uids[world_random(world, UIDS)];
        question.buckets = world_random(world, 3) == 0 ? 10000 : question.buckets;
    }
    question.from = world_random(world, 2) == 0 ? some_time(world) : NAN;
    question.to = world_random(world, 2) == 0 ? some_time(world) : NAN;
    question.max_bytes = sizes[world_random(world, 5)];
    question.frame_bytes = 1024 + world_random(world, 3000);
    question.time_ns = world_random(world, 2) == 0 ? 0 : all_rows.time_ns;
    return question;
}

/* The answer is right, and from each of its cursors the rest of it. */
static inline void check_still(struct world *world, uint64_t seed, struct question question)
{
    struct answer answer, expected;
    begin_answer(&answer);
    begin_answer(&expected);
    world_mark(world);
    expect_answer(world, &question, &expected);
    read_all(world, &question, NULL, &answer);
    assert_answer(&answer, 0, &expected, true, seed, &question);
    const size_t step = 1 + answer.place_count / 8;
    for (size_t i = 0; i < answer.place_count; i += step) {
        struct answer rest;
        struct question again = question;
        begin_answer(&rest);
        again.cursor = answer.places[i].cursor;
        again.max_bytes = 1024 + world_random(world, 20000);
        read_all(world, &again, NULL, &rest);
        assert_answer(&rest, answer.places[i].after, &expected, true, seed, &question);
        end_answer(&rest);
    }
    end_answer(&expected);
    end_answer(&answer);
}

static inline uint64_t first_seed(uint64_t *count)
{
    const char *text = getenv("METRICMQ_SEED");
    *count = text != NULL ? 1 : *count;
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)mmq_wall_s() * 1000;
    fprintf(stderr, "seeds %ju to %ju\n", (uintmax_t)seed, (uintmax_t)(seed + *count - 1));
    return seed;
}

static inline int64_t run_sql(const struct world *world, const char *sql)
{
    return store_sql(strchr(world->url, ':') + 1, sql);
}

static const char forget_half[] =
    "UPDATE block SET value_summary = NULL WHERE first_rowid % 2 = 0 OR rows % 3 = 0";

static inline void change_world(struct world *world)
{
    struct world_metric *metric;
    world_begin(world);
    for (int i = 0; i < 3; i++) {
        const char *uid = uids[world_random(world, UIDS)];
        metric = world_alive(world, uid);
        if (metric == NULL) {
            metric = world_create(world, uid);
        }
        world_append(world, metric, world_random(world, 20), 100000);
    }
    metric = world_alive(world, uids[world_random(world, 4)]);
    if (metric != NULL && metric->count > 0) {
        world_rescore(world, metric, 1 + (int64_t)world_random(world, (uint64_t)metric->count));
    }
    world_commit(world);
    mmq_why why;
    bool more;
    world_ok(mmq_store_tidy(world->writer, &more, &why), &why);
}

#endif
