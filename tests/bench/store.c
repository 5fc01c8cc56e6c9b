/* What reading the store costs a worker, in one process and without a bus:
 *
 *     bench_store scan  URL                  all rows by metric and time, into columns
 *     bench_store pages URL UID ORDER MORE   a whole stream, as the query worker makes it: pages of
 *                                            packed rows in frames, which are dropped. UID "-": all
 *                                            metrics; ORDER: time or metric; MORE: "-", or an
 *                                            argument of the request, anomaly=0.9 or limit=1
 *     bench_store day   URL COUNT            one day of one metric, COUNT times
 *     bench_store last  URL COUNT            the last row of one metric, COUNT times
 *     bench_store answer-day|answer-last URL COUNT   the same from a request to the frame of its
 *                                            answer, which is dropped
 *
 * day and last begin and end a read transaction and find the metric each time. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "metricmq/pack.h"
#include "lib/splitmix.h"
#include "tests/bench/tool.h"
#include "workers/query_pages.h"

enum {
    FRAME_BYTES = 256 * 1024, /* as the query worker's */
    PAGE_MS = 50,
    HEADS = 256,
    DAY_S = 86400
};

static mmq_store *store;
static mmq_columns columns;
static mmq_metric_head *metrics;
static size_t metric_count;

static void begin_read(void)
{
    mmq_snapshot snapshot;
    mmq_why why;
    bench_must(mmq_store_begin_read(store, &snapshot, &why), &why);
}

/* All metrics' heads. */
static void read_heads(void)
{
    char after[MMQ_UID_MAX + 1] = "";
    size_t count;
    mmq_why why;
    begin_read();
    do {
        metrics = reallocarray(metrics, metric_count + HEADS, sizeof *metrics);
        if (metrics == NULL) {
            bench_die("no memory for %zu metrics", metric_count);
        }
        bench_must(mmq_store_heads(store, after, metrics + metric_count, HEADS, &count, &why),
                   &why);
        metric_count += count;
        if (count > 0) {
            memcpy(after, metrics[metric_count - 1].uid, sizeof after);
        }
    } while (count == HEADS);
    mmq_store_end_read(store);
}

static mmq_range whole_range(int64_t metric)
{
    return (mmq_range){.metric = metric, .from = INT64_MIN, .to = INT64_MAX, .ascending = true};
}

static int64_t read_range(mmq_range range)
{
    int64_t rows = 0;
    mmq_why why;
    do {
        bench_must(mmq_store_read_time(store, &range, &columns, MMQ_BATCH_ROWS, &why), &why);
        rows += (int64_t)columns.count;
    } while (columns.count == MMQ_BATCH_ROWS);
    return rows;
}

static void scan(void)
{
    int64_t rows = 0;
    bench_clock start = bench_start();
    begin_read();
    for (size_t i = 0; i < metric_count; i++) {
        rows += read_range(whole_range(metrics[i].key));
    }
    mmq_store_end_read(store);
    bench_report(bench_since(start), (bench_figure[]){{"rows", (double)rows}, {NULL, 0}});
}

/* ---- single queries --------------------------------------------------------------------- */

static int64_t first_timestamp, last_timestamp; /* of the first metric */

static void read_span(void)
{
    mmq_range range = whole_range(metrics[0].key);
    mmq_why why;
    begin_read();
    bench_must(mmq_store_read_time(store, &range, &columns, 1, &why), &why);
    first_timestamp = columns.timestamp[0];
    range = whole_range(metrics[0].key);
    range.ascending = false;
    bench_must(mmq_store_read_time(store, &range, &columns, 1, &why), &why);
    last_timestamp = columns.timestamp[0];
    mmq_store_end_read(store);
}

/* Where a random day begins. */
static int64_t random_day(mmq_splitmix *random)
{
    int64_t span = last_timestamp - first_timestamp - DAY_S;
    return first_timestamp + (int64_t)mmq_splitmix_below(random, span > 0 ? (uint64_t)span : 1);
}

/* Finds a metric and reads of it what `range` says but for its key. */
static int64_t read_one(const char *uid, mmq_range range, size_t capacity)
{
    mmq_metric_head head;
    mmq_why why;
    begin_read();
    bench_must(mmq_store_find(store, uid, &head, &why), &why);
    range.metric = head.key;
    bench_must(mmq_store_read_time(store, &range, &columns, capacity, &why), &why);
    mmq_store_end_read(store);
    return (int64_t)columns.count;
}

static int64_t read_day(const char *uid, mmq_splitmix *random)
{
    mmq_range range = whole_range(0);
    range.from = random_day(random);
    range.to = range.from + DAY_S - 1;
    return read_one(uid, range, MMQ_BATCH_ROWS);
}

static int64_t read_last(const char *uid, mmq_splitmix *random)
{
    (void)random;
    mmq_range range = whole_range(0);
    range.ascending = false;
    return read_one(uid, range, 1);
}

/* ---- pages ------------------------------------------------------------------------------ */

struct stream {
    mmq_args args; /* without a cursor */
    bool summary;
    mmq_scan_cache *cache;
    char next[MMQ_CURSOR_MAX]; /* "": the first page */
    int64_t rows, bytes, frames, pages;
};

static void drop_frame(struct stream *stream, mmq_frame *frame)
{
    stream->bytes += (int64_t)mmq_frame_size(frame);
    stream->frames++;
    mmq_frame_close(frame);
    mmq_frame_init(frame);
}

static mmq_err drop_partial(void *context, const char *cursor, mmq_frame *payload)
{
    (void)cursor;
    drop_frame(context, payload);
    return MMQ_OK;
}

static void pack_request(const struct stream *stream, mmq_buffer *out)
{
    const bool goes_on = stream->next[0] != '\0';
    mmq_pack_map(out, stream->args.count + goes_on);
    mmq_buffer_add(out, stream->args.pairs.data, stream->args.pairs.size);
    if (goes_on) {
        mmq_pack_cstr(out, "cursor");
        mmq_pack_cstr(out, stream->next);
    }
}

/* Fills and drops a page of a query; true if there is a next one. */
static bool fill_page(struct stream *stream, const mmq_page_query *query)
{
    const mmq_page_sink sink = {drop_partial, stream};
    const mmq_page_options options = {.frame_bytes = FRAME_BYTES,
                                      .time_ns = PAGE_MS * MMQ_NS_PER_MS,
                                      .deadline_ns = INT64_MAX,
                                      .cache = stream->cache};
    mmq_why why;
    mmq_page page;
    mmq_frame frame;
    bench_must(mmq_page_begin(&page, store, query, &options, &sink, &why), &why);
    bench_must(stream->summary ? mmq_page_fill_summary(&page, &why)
                               : mmq_page_fill_data(&page, &why),
               &why);
    mmq_frame_init(&frame);
    if (page.buffer.size > 0) {
        bench_must(mmq_buffer_to_frame(&page.buffer, &frame), &why);
        drop_frame(stream, &frame);
    }
    mmq_frame_close(&frame);
    stream->rows += page.rows;
    stream->pages++;
    memcpy(stream->next, page.next, sizeof stream->next);
    const bool more = page.more;
    mmq_page_clear(&page);
    return more;
}

static bool answer_request(struct stream *stream)
{
    mmq_buffer body;
    mmq_page_query query;
    mmq_why why;
    mmq_buffer_init(&body, MMQ_BODY_MAX);
    pack_request(stream, &body);
    bench_must(stream->summary ? mmq_query_read_summary(body.data, body.size, &query, &why)
                               : mmq_query_read_data(body.data, body.size, &query, &why),
               &why);
    const bool more = fill_page(stream, &query);
    mmq_buffer_clear(&body);
    return more;
}

static void add_argument(mmq_args *args, const char *argument)
{
    if (strncmp(argument, "anomaly=", 8) == 0) {
        mmq_args_double(args, "anomaly", strtod(argument + 8, NULL));
    } else if (strncmp(argument, "limit=", 6) == 0) {
        mmq_args_int(args, "limit", bench_number(argument + 6));
    } else if (strcmp(argument, "-") != 0) {
        bench_die("%s is neither anomaly=NUMBER nor limit=NUMBER", argument);
    }
}

static void read_pages(struct stream *stream)
{
    bench_clock start = bench_start();
    while (answer_request(stream)) {
    }
    bench_report(bench_since(start), (bench_figure[]){{"rows", (double)stream->rows},
                                                      {"bytes", (double)stream->bytes},
                                                      {"frames", (double)stream->frames},
                                                      {"pages", (double)stream->pages},
                                                      {NULL, 0}});
}

static void read_stream(const char *uid, const char *order, const char *argument)
{
    struct stream stream = {.cache = mmq_scan_cache_new()};
    mmq_args_init(&stream.args);
    mmq_args_cstr(&stream.args, "op", "data");
    mmq_args_cstr(&stream.args, "uid", strcmp(uid, "-") == 0 ? NULL : uid);
    mmq_args_cstr(&stream.args, "order", order);
    add_argument(&stream.args, argument);
    read_pages(&stream);
    mmq_args_clear(&stream.args);
    mmq_scan_cache_destroy(&stream.cache);
}

static void read_summary(const char *uid, const char *buckets)
{
    struct stream stream = {.summary = true};
    mmq_args_init(&stream.args);
    mmq_args_cstr(&stream.args, "op", "summary");
    mmq_args_cstr(&stream.args, "uid", strcmp(uid, "-") == 0 ? NULL : uid);
    mmq_args_int(&stream.args, "buckets", bench_number(buckets));
    read_pages(&stream);
    mmq_args_clear(&stream.args);
}

/* ---- single requests -------------------------------------------------------------------- */

static int64_t answer_one(const char *uid, const int64_t *from)
{
    struct stream stream = {0};
    mmq_args_init(&stream.args);
    mmq_args_cstr(&stream.args, "op", "data");
    mmq_args_cstr(&stream.args, "uid", uid);
    if (from != NULL) {
        mmq_args_int(&stream.args, "from", *from);
        mmq_args_int(&stream.args, "to", *from + DAY_S - 1);
    } else {
        mmq_args_int(&stream.args, "limit", 1);
    }
    answer_request(&stream);
    mmq_args_clear(&stream.args);
    return stream.rows;
}

static int64_t answer_day(const char *uid, mmq_splitmix *random)
{
    const int64_t from = random_day(random);
    return answer_one(uid, &from);
}

static int64_t answer_last(const char *uid, mmq_splitmix *random)
{
    (void)random;
    return answer_one(uid, NULL);
}

/* What may be asked for, of a metric at random; returns the rows that it brought. */
static const struct query {
    const char *name;
    int64_t (*run)(const char *uid, mmq_splitmix *random);
} queries[] = {
    {"day", read_day},
    {"last", read_last},
    {"answer-day", answer_day},
    {"answer-last", answer_last},
};

static const struct query *find_query(const char *name)
{
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        if (strcmp(queries[i].name, name) == 0) {
            return &queries[i];
        }
    }
    return NULL;
}

static void ask(int64_t count, const struct query *query)
{
    mmq_splitmix random = {1};
    int64_t rows = 0;
    read_span();
    bench_clock start = bench_start();
    for (int64_t i = 0; i < count; i++) {
        rows += query->run(metrics[mmq_splitmix_below(&random, metric_count)].uid, &random);
    }
    bench_report(bench_since(start), (bench_figure[]){{"rows", (double)rows}, {NULL, 0}});
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    mmq_why why;
    if (argc > 2) {
        bench_must(mmq_store_open(argv[2], MMQ_STORE_READ, &store, &why), &why);
        read_heads();
    }
    if (strcmp(what, "scan") == 0 && argc == 3) {
        scan();
    } else if (find_query(what) != NULL && argc == 4 && metric_count > 0) {
        ask(bench_number(argv[3]), find_query(what));
    } else if (strcmp(what, "summary") == 0 && argc == 5) {
        read_summary(argv[3], argv[4]);
    } else if (strcmp(what, "pages") == 0 && argc == 6) {
        read_stream(argv[3], argv[4], argv[5]);
    } else {
        fputs("usage: bench_store scan URL | pages URL UID ORDER MORE | summary URL UID BUCKETS |"
              " day|last|answer-day|answer-last URL COUNT\n",
              stderr);
        return 2;
    }
    free(metrics);
    mmq_store_close(&store);
    return 0;
}
