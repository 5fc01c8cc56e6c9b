/* For tests of metric.query: asks for streams of rows page by page, as the worker does but without
 * a bus, and keeps what was shown and every place where the stream may be taken up. */
#ifndef QUERY_STREAM_H
#define QUERY_STREAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "metricmq/pack.h"
#include "query_world.h"
#include "workers/query_pages.h"

enum { FOREVER_S = 1000, PAGES_MAX = 100000 };

/* A query as a client writes it; NULL and NaN: the argument is left out. */
struct ask {
    const char *uid, *order;
    double from, to, anomaly, limit, rowid;
    size_t max_bytes;
    size_t frame_bytes;
    int64_t time_ns;
    const char *cursor; /* where to take the stream up */
    const char *unless;
    mmq_scan_cache *cache;
};

static const struct ask everything = {.from = NAN,
                                      .to = NAN,
                                      .anomaly = NAN,
                                      .limit = NAN,
                                      .rowid = NAN,
                                      .max_bytes = MMQ_PAGE_DEFAULT,
                                      .frame_bytes = 256 * 1024,
                                      .time_ns = FOREVER_S * MMQ_NS_PER_S};

/* A place where the stream may be taken up: `after` rows were shown before it. */
struct place {
    size_t after;
    char cursor[MMQ_CURSOR_MAX];
};

struct stream {
    struct shown shown;
    size_t page_rows; /* of the page being read */
    size_t names;     /* arrays of names */
    size_t pages;
    size_t place_count;
    struct place *places; /* NULL: not wanted */
    char state[MMQ_STATE_MAX];
};

enum { PLACES_MAX = 4096 };

static inline void add_place(struct stream *stream, const char *cursor)
{
    if (stream->places != NULL && stream->place_count < PLACES_MAX) {
        struct place *place = &stream->places[stream->place_count++];
        place->after = stream->shown.count;
        snprintf(place->cursor, sizeof place->cursor, "%s", cursor);
    }
}

static inline void read_payload(struct stream *stream, const void *data, size_t size)
{
    size_t offset = 0;
    mmq_row row;
    for (;;) {
        mmq_err err = mmq_rows_decode(data, size, &offset, &row);
        if (err == MMQ_EEND) {
            return;
        }
        if (err == MMQ_EAGAIN) {
            assert_int_equal(stream->shown.count + stream->pages, 0);
            stream->names++;
            continue;
        }
        assert_int_equal(err, MMQ_OK);
        struct shown_row shown = {"", row.timestamp, row.rowid, row.value, row.anomaly_score};
        assert_true(row.uid_size < sizeof shown.uid);
        memcpy(shown.uid, row.uid, row.uid_size);
        shown_add(&stream->shown, &shown);
        stream->page_rows++;
    }
}

static inline mmq_err take_partial(void *context, const char *cursor, mmq_frame *payload)
{
    read_payload(context, mmq_frame_data(payload), mmq_frame_size(payload));
    add_place(context, cursor);
    return MMQ_OK;
}

static inline void add_number(mmq_args *args, const char *name, double value)
{
    if (!isnan(value)) {
        mmq_args_double(args, name, value);
    }
}

static inline mmq_err parse_ask(const struct ask *ask, const char *cursor, mmq_buffer *body,
                                mmq_page_query *query, mmq_why *why)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "data");
    mmq_args_cstr(&args, "uid", ask->uid);
    mmq_args_cstr(&args, "order", ask->order);
    mmq_args_cstr(&args, "unless", ask->unless);
    mmq_args_cstr(&args, "cursor", cursor);
    mmq_args_int(&args, "max_bytes", (int64_t)ask->max_bytes);
    add_number(&args, "from", ask->from);
    add_number(&args, "to", ask->to);
    add_number(&args, "anomaly", ask->anomaly);
    add_number(&args, "limit", ask->limit);
    add_number(&args, "rowid", ask->rowid);
    mmq_buffer_reset(body);
    mmq_pack_map(body, args.count);
    mmq_buffer_add(body, args.pairs.data, args.pairs.size);
    mmq_args_clear(&args);
    return mmq_query_read_data(body->data, body->size, query, why);
}

/* Reads one page; *next is "" at the end of the stream. */
static inline mmq_err read_page(struct world *world, const struct ask *ask, const char *cursor,
                                struct stream *stream, char next[MMQ_CURSOR_MAX], mmq_why *why)
{
    mmq_page_query query;
    mmq_buffer body;
    mmq_buffer_init(&body, 64 * 1024);
    mmq_err err = parse_ask(ask, cursor, &body, &query, why);
    const mmq_page_sink sink = {take_partial, stream};
    const mmq_page_options options = {ask->frame_bytes, ask->time_ns, INT64_MAX, ask->cache};
    mmq_page page;
    if (err == MMQ_OK) {
        stream->page_rows = 0;
        err = mmq_page_begin(&page, world->reader, &query, &options, &sink, why);
        if (err == MMQ_OK) {
            err = mmq_page_fill_data(&page, why);
        }
        if (err == MMQ_OK) {
            assert_true(page.buffer.size <= ask->frame_bytes);
            assert_true(page.sent + page.buffer.size <= query.max_bytes);
            read_payload(stream, page.buffer.data, page.buffer.size);
            assert_int_equal(page.rows, stream->page_rows);
            snprintf(next, MMQ_CURSOR_MAX, "%s", page.more ? page.next : "");
            snprintf(stream->state, sizeof stream->state, "%s", page.state);
        }
        mmq_page_clear(&page);
        stream->pages++;
    }
    mmq_buffer_clear(&body);
    return err;
}

typedef void change_fn(struct world *world);

/* Reads the stream to its end, with `change` between the pages. */
static inline void read_stream(struct world *world, const struct ask *ask, change_fn *change,
                               struct stream *stream)
{
    char next[MMQ_CURSOR_MAX] = "", last[MMQ_CURSOR_MAX] = "";
    snprintf(last, sizeof last, "%s", ask->cursor != NULL ? ask->cursor : "");
    do {
        mmq_why why;
        world_ok(read_page(world, ask, last[0] != '\0' ? last : NULL, stream, next, &why), &why);
        assert_true(strcmp(next, last) != 0 || next[0] == '\0'); /* it gets ahead */
        assert_true(stream->pages < PAGES_MAX);
        memcpy(last, next, sizeof last);
        if (next[0] != '\0') {
            add_place(stream, next);
            if (change != NULL) {
                change(world);
            }
        }
    } while (next[0] != '\0');
    assert_int_equal(stream->names, ask->cursor == NULL);
}

static inline void clear_stream(struct stream *stream)
{
    free(stream->shown.rows);
    free(stream->places);
    memset(stream, 0, sizeof *stream);
}

static inline mmq_selection selection_of(const struct ask *ask)
{
    mmq_page_query query;
    mmq_buffer body;
    mmq_why why;
    mmq_buffer_init(&body, 64 * 1024);
    world_ok(parse_ask(ask, NULL, &body, &query, &why), &why);
    mmq_buffer_clear(&body);
    return query.selection;
}

static inline bool is_asked(const struct ask *ask, const struct world_metric *metric)
{
    return metric->bound >= 0 && (ask->uid == NULL || strcmp(ask->uid, metric->uid) == 0);
}

static inline void expect_all(struct world *world, const struct ask *ask, struct shown *out)
{
    mmq_selection selection = selection_of(ask);
    for (size_t i = 0; i < world->count; i++) {
        if (is_asked(ask, &world->metrics[i])) {
            expect_metric(&world->metrics[i], &selection, selection.limit, out);
        }
    }
    if (out->count > 0) {
        qsort_r(out->rows, out->count, sizeof *out->rows, compare_shown, &selection);
    }
}

static inline void print_ask(const char *what, uint64_t seed, const struct ask *ask)
{
    fprintf(stderr,
            "%s: seed=%ju uid=%s order=%s from=%g to=%g anomaly=%g limit=%g rowid=%g "
            "max_bytes=%zu frame=%zu time=%jd\n",
            what, (uintmax_t)seed, ask->uid != NULL ? ask->uid : "*",
            ask->order != NULL ? ask->order : "-", ask->from - TIME_BASE, ask->to - TIME_BASE,
            ask->anomaly, ask->limit, ask->rowid, ask->max_bytes, ask->frame_bytes,
            (intmax_t)ask->time_ns);
}

static inline void assert_rows(const struct shown *got, size_t offset, const struct shown *expected,
                               uint64_t seed, const struct ask *ask)
{
    bool same = got->count + offset == expected->count;
    for (size_t i = 0; same && i < got->count; i++) {
        same = same_row(&got->rows[i], &expected->rows[i + offset]);
    }
    if (!same) {
        print_ask("differs", seed, ask);
        fprintf(stderr, "got %zu rows, expected %zu\n", got->count, expected->count - offset);
    }
    assert_true(same);
}

#endif
