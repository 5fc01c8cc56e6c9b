/* Pages of exports, and of records that are asked for by uid: whole, in order, as of the first
 * page, wherever the stream is cut and taken up again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/append_row.h"
#include "lib/buffer.h"
#include "lib/clock.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "query_world.h"
#include "workers/query_pages.h"

enum { FOREVER_S = 1000, PLACES_MAX = 8192, FRAME = 1024, PAGE = 3000 };

/* A request: an export of one uid or of all, or records by uids. */
struct ask {
    const char *uid;
    const char *const *uids; /* up to a NULL */
    size_t max_bytes, frame_bytes;
    int64_t time_ns;
};

/* A value that was shown: a record (rowid 0) or a row. */
struct value {
    char uid[24];
    int64_t rowid;
    mmq_append_row row;
};

struct stream {
    size_t count, capacity;
    struct value *values;
    size_t pages;
    size_t place_count;
    struct {
        size_t after;
        char cursor[MMQ_CURSOR_MAX];
    } * places;
    char state[MMQ_STATE_MAX];
};

static mmq_why why;

static struct value *add_value(struct stream *stream)
{
    if (stream->count == stream->capacity) {
        stream->capacity = stream->capacity > 0 ? 2 * stream->capacity : 64;
        stream->values = realloc(stream->values, stream->capacity * sizeof *stream->values);
        assert_non_null(stream->values);
    }
    struct value *value = &stream->values[stream->count++];
    memset(value, 0, sizeof *value);
    return value;
}

static void read_uid(mmq_reader record, char out[24])
{
    mmq_value uid;
    mmq_reader whole;
    assert_true(mmq_map_find(record, "uid", &uid, &whole) && uid.text.size < 24);
    memcpy(out, uid.text.data, uid.text.size);
}

static void read_payload(struct stream *stream, const uint8_t *data, size_t size)
{
    for (size_t offset = 0; offset < size;) {
        mmq_reader reader;
        mmq_reader_init(&reader, data + offset, size - offset);
        struct value *value = add_value(stream);
        if (data[offset] == 0x94) {
            assert_true(stream->count > 1);
            memcpy(value->uid, value[-1].uid, sizeof value->uid);
            value->rowid = value[-1].rowid + 1;
            assert_int_equal(mmq_append_row_take(data, size, &offset, &value->row), MMQ_OK);
        } else {
            read_uid(reader, value->uid);
            assert_int_equal(mmq_unpack_skip(&reader), MMQ_OK);
            offset = size - mmq_reader_left(&reader);
        }
    }
}

static void add_place(struct stream *stream, const char *cursor)
{
    if (stream->places != NULL) {
        assert_true(stream->place_count < PLACES_MAX);
        stream->places[stream->place_count].after = stream->count;
        (void)snprintf(stream->places[stream->place_count++].cursor, MMQ_CURSOR_MAX, "%s", cursor);
    }
}

static mmq_err take_partial(void *context, const char *cursor, mmq_frame *payload)
{
    read_payload(context, mmq_frame_data(payload), mmq_frame_size(payload));
    add_place(context, cursor);
    return MMQ_OK;
}

static mmq_err parse(const struct ask *ask, const char *cursor, const char *unless,
                     mmq_buffer *body, mmq_page_query *query)
{
    mmq_args args;
    mmq_buffer uids;
    mmq_args_init(&args);
    mmq_buffer_init(&uids, 64 * 1024);
    mmq_args_cstr(&args, "op", ask->uids != NULL ? "models" : "export");
    mmq_args_cstr(&args, "uid", ask->uid);
    mmq_args_cstr(&args, "cursor", cursor);
    mmq_args_cstr(&args, "unless", unless);
    mmq_args_int(&args, "max_bytes", (int64_t)ask->max_bytes);
    for (size_t i = 0; ask->uids != NULL && ask->uids[i] != NULL; i++) {
        mmq_pack_cstr(&uids, ask->uids[i]);
    }
    if (ask->uids != NULL) {
        mmq_args_text(&args, "uids", (const char *)uids.data, uids.size);
    }
    mmq_buffer_reset(body);
    mmq_pack_map(body, args.count);
    mmq_buffer_add(body, args.pairs.data, args.pairs.size);
    mmq_args_clear(&args);
    mmq_buffer_clear(&uids);
    return ask->uids != NULL ? mmq_query_read_models(body->data, body->size, query, &why)
                             : mmq_query_read_export(body->data, body->size, query, &why);
}

/* Reads one page; *next is "" at the end. */
static mmq_err read_page(struct world *world, const struct ask *ask, const char *cursor,
                         struct stream *stream, char next[MMQ_CURSOR_MAX])
{
    mmq_page_query query;
    mmq_buffer body;
    mmq_buffer_init(&body, 128 * 1024);
    mmq_err err = parse(ask, cursor, NULL, &body, &query);
    const mmq_page_sink sink = {take_partial, stream};
    const mmq_page_options options = {ask->frame_bytes, ask->time_ns, INT64_MAX, NULL};
    const size_t before = stream->count;
    mmq_page page;
    if (err == MMQ_OK) {
        err = mmq_page_begin(&page, world->reader, &query, &options, &sink, &why);
        if (err == MMQ_OK) {
            err = ask->uids != NULL ? mmq_page_fill_models(&page, &why)
                                    : mmq_page_fill_export(&page, &why);
        }
        if (err == MMQ_OK) {
            read_payload(stream, page.buffer.data, page.buffer.size);
            assert_int_equal(page.rows, stream->count - before);
            (void)snprintf(next, MMQ_CURSOR_MAX, "%s", page.more ? page.next : "");
            if (cursor == NULL) {
                memcpy(stream->state, page.state, sizeof stream->state);
            }
        }
        mmq_page_clear(&page);
        stream->pages++;
    }
    mmq_buffer_clear(&body);
    return err;
}

typedef void change_fn(struct world *world);

/* Reads from the cursor (NULL: the start) to the end, with `change` between the pages. */
static void read_stream(struct world *world, const struct ask *ask, const char *cursor,
                        change_fn *change, struct stream *stream)
{
    char last[MMQ_CURSOR_MAX] = "", next[MMQ_CURSOR_MAX] = "";
    (void)snprintf(last, sizeof last, "%s", cursor != NULL ? cursor : "");
    do {
        world_ok(read_page(world, ask, last[0] != '\0' ? last : NULL, stream, next), &why);
        assert_true(next[0] == '\0' || strcmp(next, last) != 0);
        memcpy(last, next, sizeof last);
        if (next[0] != '\0') {
            add_place(stream, next);
            if (change != NULL) {
                change(world);
            }
        }
    } while (next[0] != '\0');
}

static void clear_stream(struct stream *stream)
{
    free(stream->values);
    free(stream->places);
    memset(stream, 0, sizeof *stream);
}

static bool is_equal(const struct value *a, const struct value *b)
{
    return strcmp(a->uid, b->uid) == 0 && a->rowid == b->rowid &&
           memcmp(&a->row, &b->row, sizeof a->row) == 0;
}

/* Of each metric of the world that is alive, by uid: its record and its rows up to its bound. */
static size_t compare_all(struct world *world, const struct stream *stream)
{
    size_t at = 0, metrics = 0;
    const char *last = "";
    for (;;) {
        const struct world_metric *next = NULL;
        for (size_t i = 0; i < world->count; i++) {
            const struct world_metric *metric = &world->metrics[i];
            if (metric->bound >= 0 && strcmp(metric->uid, last) > 0 &&
                (next == NULL || strcmp(metric->uid, next->uid) < 0)) {
                next = metric;
            }
        }
        if (next == NULL) {
            break;
        }
        last = next->uid;
        metrics++;
        assert_true(at < stream->count);
        assert_string_equal(stream->values[at].uid, next->uid);
        assert_int_equal(stream->values[at++].rowid, 0);
        for (int64_t r = 0; r < next->bound; r++, at++) {
            const struct world_row *row = &next->rows[r];
            const mmq_append_row expected = {row->timestamp, row->value, row->score, row->score};
            assert_true(at < stream->count);
            assert_int_equal(stream->values[at].rowid, r + 1);
            assert_true(row->touched ||
                        memcmp(&stream->values[at].row, &expected, sizeof expected) == 0);
        }
    }
    assert_int_equal(at, stream->count);
    return metrics;
}

static struct world *make_world(uint64_t seed, size_t metrics)
{
    struct world *world = world_new(seed);
    world_begin(world);
    for (size_t i = 0; i < metrics; i++) {
        char uid[24];
        (void)snprintf(uid, sizeof uid, "m%zu", i);
        world_append(world, world_create(world, uid), i % 5 == 0 ? 0 : i * 37 % 300, 1000);
    }
    world_commit(world);
    world_mark(world);
    return world;
}

static const struct ask small_pages = {
    .max_bytes = PAGE, .frame_bytes = FRAME, .time_ns = FOREVER_S * MMQ_NS_PER_S};
static const struct ask one_page = {
    .max_bytes = MMQ_PAGE_MOST, .frame_bytes = 256 * 1024, .time_ns = FOREVER_S * MMQ_NS_PER_S};

static void all_metrics_are_whole(void **state)
{
    (void)state;
    struct world *world = make_world(1, 40);
    struct ask late = one_page;
    late.time_ns = 0;
    const struct ask *asks[] = {&one_page, &small_pages, &late};
    for (size_t i = 0; i < 3; i++) {
        struct stream stream = {0};
        read_stream(world, asks[i], NULL, NULL, &stream);
        assert_int_equal(compare_all(world, &stream), 40);
        assert_true(i == 0 ? stream.pages == 1 : stream.pages > 40);
        clear_stream(&stream);
    }
    world_destroy(&world);
}

/* From every cursor that was seen the rest is what was shown behind it. */
static void every_place_is_good(void **state)
{
    (void)state;
    static const char *const uids[] = {"m3", "m1", "nobody", "m1", "m7", "m2", "m3", NULL};
    struct world *world = make_world(2, 12);
    struct ask asks[] = {small_pages, small_pages, small_pages};
    asks[1].uid = "m7";
    asks[2].uids = uids;
    asks[2].max_bytes = MMQ_PAGE_LEAST;
    for (size_t i = 0; i < 3; i++) {
        struct stream all = {.places = calloc(PLACES_MAX, sizeof *all.places)};
        read_stream(world, &asks[i], NULL, NULL, &all);
        assert_true(all.place_count >= 1);
        for (size_t place = 0; place < all.place_count; place++) {
            struct stream rest = {0};
            const size_t after = all.places[place].after;
            *add_value(&rest) = after > 0 ? all.values[after - 1] : (struct value){"", 0, {0}};
            read_stream(world, &asks[i], all.places[place].cursor, NULL, &rest);
            assert_int_equal(rest.count - 1, all.count - after);
            for (size_t v = 1; v < rest.count; v++) {
                assert_true(is_equal(&rest.values[v], &all.values[after + v - 1]));
            }
            clear_stream(&rest);
        }
        clear_stream(&all);
    }
    world_destroy(&world);
}

static void change_things(struct world *world)
{
    world_begin(world);
    struct world_metric *metric = &world->metrics[world_random(world, world->count)];
    if (metric->alive && !metric->deleted) {
        world_append(world, metric, 1 + world_random(world, 50), 1000);
        world_rescore(world, metric, 1 + (int64_t)world_random(world, (uint64_t)metric->count));
    }
    char uid[24];
    (void)snprintf(uid, sizeof uid, "m%zu-new", world->count);
    if (world->count < 200) {
        world_append(world, world_create(world, uid), 5, 1000);
    }
    world_commit(world);
}

static void streams_are_as_of_their_first_page(void **state)
{
    (void)state;
    struct world *world = make_world(3, 30);
    struct stream stream = {0};
    read_stream(world, &small_pages, NULL, change_things, &stream);
    assert_int_equal(compare_all(world, &stream), 30);
    clear_stream(&stream);
    world_destroy(&world);
}

static void delete_m2(struct world *world)
{
    struct world_metric *metric = world_alive(world, "m2");
    if (metric != NULL && metric->bound >= 0) {
        world_begin(world);
        world_delete(world, metric);
        world_append(world, world_create(world, "m2"), 500, 1000); /* another metric */
        world_commit(world);
    }
}

static void deleted_metrics_end_where_they_are(void **state)
{
    (void)state;
    struct world *world = world_new(4);
    world_begin(world);
    for (int i = 0; i < 4; i++) {
        char uid[24];
        (void)snprintf(uid, sizeof uid, "m%d", i);
        world_append(world, world_create(world, uid), 300, 1000);
    }
    world_commit(world);
    world_mark(world);
    for (int one = 0; one < 2; one++) {
        struct stream stream = {0};
        struct ask ask = small_pages;
        ask.uid = one ? "m2" : NULL;
        world_mark(world);
        read_stream(world, &ask, NULL, delete_m2, &stream);
        size_t shown = 0;
        for (size_t i = 0; i < stream.count; i++) {
            shown += strcmp(stream.values[i].uid, "m2") == 0;
        }
        assert_true(shown < 301);
        if (!one) {
            assert_int_equal(shown, 0); /* it was deleted before its turn */
            assert_int_equal(stream.count, 3 * 301);
        } else {
            assert_true(shown > 1);
        }
        clear_stream(&stream);
    }
    world_destroy(&world);
}

static void make_unmonitored(struct world *world, const char *uid)
{
    mmq_metric record = {.datasource = strdup("custom"),
                         .name = strdup(uid),
                         .description = strdup(""),
                         .server = strdup(uid),
                         .location = strdup(""),
                         .parameters = strdup("{}"),
                         .identity = strdup(uid),
                         .status = 0,
                         .poll_interval = 300};
    (void)snprintf(record.head.uid, sizeof record.head.uid, "%s", uid);
    world_ok(mmq_store_create(world->writer, &record, &why), &why);
    mmq_metric_clear(&record);
}

static void unmonitored_metrics_are_shown_alone_only(void **state)
{
    (void)state;
    struct world *world = make_world(5, 3);
    world_begin(world);
    make_unmonitored(world, "m1-off");
    world_commit(world);
    struct stream stream = {0};
    read_stream(world, &one_page, NULL, NULL, &stream);
    assert_int_equal(compare_all(world, &stream), 3);
    clear_stream(&stream);
    struct ask ask = one_page;
    ask.uid = "m1-off";
    read_stream(world, &ask, NULL, NULL, &stream);
    assert_int_equal(stream.count, 1);
    assert_string_equal(stream.values[0].uid, "m1-off");
    clear_stream(&stream);
    world_destroy(&world);
}

static void unknown_uids_and_no_news(void **state)
{
    (void)state;
    struct world *world = make_world(6, 3);
    char next[MMQ_CURSOR_MAX];
    struct stream stream = {0};
    struct ask ask = one_page;
    ask.uid = "nobody";
    assert_int_equal(read_page(world, &ask, NULL, &stream, next), MMQ_ENOTFOUND);
    ask.uid = "a/b";
    assert_int_equal(read_page(world, &ask, NULL, &stream, next), MMQ_EINVAL);
    static const char *const bad[] = {"m1", "a/b", NULL};
    ask = one_page;
    ask.uids = bad;
    assert_int_equal(read_page(world, &ask, NULL, &stream, next), MMQ_EINVAL);
    for (int one = 0; one < 2; one++) {
        ask = one_page;
        ask.uid = one ? "m2" : NULL;
        read_stream(world, &ask, NULL, NULL, &stream);
        mmq_page_query query;
        mmq_buffer body;
        mmq_page page;
        mmq_buffer_init(&body, 4096);
        const mmq_page_sink sink = {take_partial, &stream};
        const mmq_page_options options = {FRAME, 0, INT64_MAX, NULL};
        for (int changed = 0; changed < 2; changed++) {
            world_ok(parse(&ask, NULL, stream.state, &body, &query), &why);
            world_ok(mmq_page_begin(&page, world->reader, &query, &options, &sink, &why), &why);
            world_ok(mmq_page_fill_export(&page, &why), &why);
            assert_int_equal(page.unchanged, !changed);
            mmq_page_clear(&page);
            world_begin(world);
            world_append(world, world_alive(world, "m2"), 1, 10);
            world_commit(world);
        }
        mmq_buffer_clear(&body);
        clear_stream(&stream);
    }
    world_destroy(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_metrics_are_whole),
        cmocka_unit_test(every_place_is_good),
        cmocka_unit_test(streams_are_as_of_their_first_page),
        cmocka_unit_test(deleted_metrics_end_where_they_are),
        cmocka_unit_test(unmonitored_metrics_are_shown_alone_only),
        cmocka_unit_test(unknown_uids_and_no_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
