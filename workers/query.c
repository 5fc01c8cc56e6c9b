/* The query worker: metric.query, read-only. Each work thread has a store handle of its own and
 * answers one request after another from it, each from one read transaction. All that a stream
 * needs is in its cursor; merges are kept between pages too, but only because they are dear. */
#include "workers/workers.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/fields.h"
#include "lib/log.h"
#include "metricmq/pack.h"
#include "metricmq/protocol.h"
#include "workers/query_pages.h"
#include "workers/record.h"
#include "workers/role.h"
#include "workers/scan_cache.h"

enum {
    FRAME_BYTES = 256 * 1024, /* what passes fastest */
    PAGE_MS = 50,
    CAPACITY_PER_THREAD = 2, /* enough that a thread seldom waits; more would only queue here */
    SILENCE_MS = 10000,      /* of a server: clients wait 30 s for an answer */
    ROWS_SCORED_PER_S = 20,  /* `stats` reckons 0.05 s a row */
};

/* What the threads share. */
struct shared {
    char *url; /* the store's */
    mmq_scan_cache *cache;
};

struct thread {
    mmq_store *store;
    mmq_scan_cache *cache; /* borrowed from shared */
    mmq_log_pace away;     /* of queries that found no store */
};

/* One request and what its handler reads of it. */
struct job {
    mmq_store *store;
    mmq_scan_cache *cache;
    mmq_request *request;
    const void *body;
    size_t size;
    mmq_why why;
};

/* ---- pages ------------------------------------------------------------------------------ */

/* Where a page's frames go. */
struct way {
    mmq_request *request;
    const mmq_page *page;
};

static mmq_err send_partial(void *context, const char *cursor, mmq_frame *payload)
{
    const struct way *way = context;
    mmq_request_set_state(way->request, way->page->state[0] != '\0' ? way->page->state : NULL);
    return mmq_request_partial(way->request, cursor, payload);
}

/* A frame of the buffer, if it holds anything. */
static mmq_err send_final(struct job *job, const mmq_final *final, mmq_buffer *payload)
{
    if (payload->size == 0 && !payload->failed) {
        mmq_request_final(&job->request, final, NULL);
        return MMQ_OK;
    }
    mmq_frame frame;
    mmq_frame_init(&frame);
    mmq_err err = mmq_buffer_to_frame(payload, &frame);
    if (err != MMQ_OK) {
        return mmq_fail(&job->why, err, "no memory for the answer");
    }
    mmq_request_final(&job->request, final, &frame);
    return MMQ_OK;
}

static mmq_err send_page(struct job *job, mmq_page *page)
{
    const mmq_final final = {
        .status = page->unchanged ? 304 : 200,
        .rows = page->rows,
        .next = page->more ? page->next : NULL,
        .state = page->state[0] != '\0' ? page->state : NULL,
    };
    return send_final(job, &final, &page->buffer);
}

static mmq_err answer_page(struct job *job, const mmq_page_query *query,
                           mmq_err (*fill)(mmq_page *page, mmq_why *why))
{
    mmq_page page;
    struct way way = {job->request, &page};
    const mmq_page_sink sink = {send_partial, &way};
    const mmq_page_options options = {
        .frame_bytes = FRAME_BYTES,
        .time_ns = PAGE_MS * MMQ_NS_PER_MS,
        .deadline_ns = mmq_now_ns() + mmq_request_left_ns(job->request),
        .cache = job->cache,
    };
    mmq_err err = mmq_page_begin(&page, job->store, query, &options, &sink, &job->why);
    if (err == MMQ_OK) {
        err = fill(&page, &job->why);
    }
    if (err == MMQ_OK) {
        err = send_page(job, &page);
    }
    mmq_page_clear(&page);
    return err;
}

static mmq_err answer_data(struct job *job)
{
    mmq_page_query query;
    mmq_err err = mmq_query_read_data(job->body, job->size, &query, &job->why);
    return err != MMQ_OK ? err : answer_page(job, &query, mmq_page_fill_data);
}

static mmq_err answer_summary(struct job *job)
{
    mmq_page_query query;
    mmq_err err = mmq_query_read_summary(job->body, job->size, &query, &job->why);
    return err != MMQ_OK ? err : answer_page(job, &query, mmq_page_fill_summary);
}

static mmq_err answer_models(struct job *job)
{
    mmq_page_query query;
    mmq_err err = mmq_query_read_models(job->body, job->size, &query, &job->why);
    return err != MMQ_OK ? err : answer_page(job, &query, mmq_page_fill_models);
}

static mmq_err answer_export(struct job *job)
{
    mmq_page_query query;
    mmq_err err = mmq_query_read_export(job->body, job->size, &query, &job->why);
    return err != MMQ_OK ? err : answer_page(job, &query, mmq_page_fill_export);
}

/* ---- single records --------------------------------------------------------------------- */

/* An answer of one frame, read within one transaction. */
struct single {
    const char *uid; /* NULL: of no metric */
    mmq_slice unless;
    mmq_snapshot snapshot;
    char state[MMQ_STATE_MAX]; /* "": it has none */
    mmq_buffer payload;
};

static bool is_unchanged(const struct single *single)
{
    return single->state[0] != '\0' && mmq_slice_is(&single->unless, single->state);
}

static mmq_err pack_model(struct job *job, struct single *single)
{
    mmq_metric metric;
    mmq_err err = mmq_store_metric(job->store, single->uid, &metric, &job->why);
    if (err == MMQ_ENOTFOUND) {
        return mmq_fail(&job->why, err, "Metric not found: %s", single->uid);
    }
    if (err == MMQ_OK) {
        snprintf(single->state, sizeof single->state, "%016" PRIx64 "-%" PRId64 "-%" PRId64,
                 single->snapshot.store, metric.head.key, metric.head.changed);
        err = is_unchanged(single) ? MMQ_OK : mmq_record_pack(&single->payload, &metric, &job->why);
        mmq_metric_clear(&metric);
    }
    return err;
}

static mmq_err pack_stats(struct job *job, struct single *single)
{
    int64_t rows;
    mmq_err err = mmq_store_unscored(job->store, &rows, &job->why);
    if (err == MMQ_OK) {
        mmq_pack_map(&single->payload, 1);
        mmq_pack_cstr(&single->payload, "processing_time_remaining");
        mmq_pack_int(&single->payload, rows / ROWS_SCORED_PER_S + (rows % ROWS_SCORED_PER_S != 0));
    }
    return err;
}

/* What is not known is not told. */
static void pack_sizes(mmq_buffer *out, const mmq_store_bytes *size)
{
    const struct {
        const char *key;
        int64_t bytes;
    } sizes[] = {{"bytes", size->file},
                 {"log_bytes", size->log},
                 {"free_bytes", size->file_free},
                 {"disk_free_bytes", size->disk_free}};
    const size_t count = sizeof sizes / sizeof *sizes;
    uint32_t known = 0;
    for (size_t i = 0; i < count; i++) {
        known += sizes[i].bytes != MMQ_BYTES_UNKNOWN;
    }
    mmq_pack_map(out, known);
    for (size_t i = 0; i < count; i++) {
        if (sizes[i].bytes != MMQ_BYTES_UNKNOWN) {
            mmq_pack_cstr(out, sizes[i].key);
            mmq_pack_int(out, sizes[i].bytes);
        }
    }
}

static mmq_err pack_store(struct job *job, struct single *single)
{
    mmq_store_bytes size;
    mmq_err err = mmq_store_size(job->store, &size, &job->why);
    if (err == MMQ_OK) {
        pack_sizes(&single->payload, &size);
    }
    return err;
}

static mmq_err answer_single(struct job *job, struct single *single,
                             mmq_err (*pack)(struct job *job, struct single *single))
{
    mmq_err err = mmq_store_begin_read(job->store, &single->snapshot, &job->why);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_buffer_init(&single->payload, MMQ_PAGE_MOST);
    err = pack(job, single);
    mmq_store_end_read(job->store);
    if (err == MMQ_OK) {
        const bool unchanged = is_unchanged(single);
        const mmq_final final = {
            .status = unchanged ? 304 : 200,
            .rows = !unchanged,
            .state = single->state[0] != '\0' ? single->state : NULL,
        };
        err = send_final(job, &final, &single->payload);
    }
    mmq_buffer_clear(&single->payload);
    return err;
}

static mmq_err answer_model(struct job *job)
{
    char uid[MMQ_UID_MAX + 1];
    struct single single = {.uid = uid};
    mmq_err err = mmq_query_read_model(job->body, job->size, uid, &single.unless, &job->why);
    return err != MMQ_OK ? err : answer_single(job, &single, pack_model);
}

/* An op without arguments. */
static mmq_err answer_plain(struct job *job,
                            mmq_err (*pack)(struct job *job, struct single *single))
{
    struct single single = {.uid = NULL};
    mmq_err err = mmq_query_read_none(job->body, job->size, &job->why);
    return err != MMQ_OK ? err : answer_single(job, &single, pack);
}

static mmq_err answer_stats(struct job *job)
{
    return answer_plain(job, pack_stats);
}

static mmq_err answer_store(struct job *job)
{
    return answer_plain(job, pack_store);
}

/* ---- requests --------------------------------------------------------------------------- */

static const struct {
    const char *name;
    mmq_err (*answer)(struct job *job);
} ops[] = {
    {"data", answer_data},     {"summary", answer_summary}, {"models", answer_models},
    {"export", answer_export}, {"model", answer_model},     {"stats", answer_stats},
    {"store", answer_store},
};

static mmq_err answer(struct job *job)
{
    mmq_slice op;
    if (mmq_request_left_ns(job->request) <= 0) {
        return mmq_fail(&job->why, MMQ_ETIMEOUT, "the request came to a worker too late");
    }
    mmq_err err = mmq_fields_op(job->body, job->size, &op, &job->why);
    if (err != MMQ_OK) {
        return err;
    }
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (mmq_slice_is(&op, ops[i].name)) {
            return ops[i].answer(job);
        }
    }
    return mmq_fail(&job->why, MMQ_EINVAL,
                    "op must be data, summary, models, model, export, stats or store");
}

/* A fault of the store is not the request's: 503, so that it is tried elsewhere or later. */
static void refuse(struct job *job, mmq_err err, mmq_log_pace *away)
{
    int64_t count = mmq_err_status(err) >= 500 ? 1 : 0;
    if (err == MMQ_EUNAVAILABLE) { /* there may be very many */
        count = mmq_log_due(away, mmq_now_ns(), MMQ_NS_PER_S);
    }
    if (count > 0) {
        mmq_log(MMQ_WARN, "query failed", MMQ_S("error", mmq_err_name(err)),
                MMQ_S("reason", job->why.text), MMQ_S("trace", mmq_request_trace(job->request)),
                MMQ_I("count", count));
    }
    mmq_err said = mmq_err_status(err) == 500 ? MMQ_EUNAVAILABLE : err;
    mmq_request_refuse(&job->request, said, &job->why);
}

static void handle(void *context, mmq_request **requests, size_t count)
{
    struct thread *thread = context;
    for (size_t i = 0; i < count; i++) {
        struct job job = {.store = thread->store, .cache = thread->cache, .request = requests[i]};
        requests[i] = NULL;
        job.body = mmq_request_body(job.request, &job.size);
        mmq_err err = answer(&job);
        if (err != MMQ_OK) {
            refuse(&job, err, &thread->away);
        }
    }
}

/* ---- the worker ------------------------------------------------------------------------- */

static void thread_destroy(void **context)
{
    struct thread *thread = *context;
    if (thread == NULL) {
        return;
    }
    mmq_store_close(&thread->store);
    free(thread);
    *context = NULL;
}

static void *thread_new(void *shared, mmq_why *why)
{
    const struct shared *parts = shared;
    struct thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a query thread");
        return NULL;
    }
    if (mmq_store_open(parts->url, MMQ_STORE_READ, &thread->store, why) != MMQ_OK) {
        free(thread);
        return NULL;
    }
    mmq_store_hurry(thread->store, SILENCE_MS);
    thread->cache = parts->cache;
    return thread;
}

static bool idle(void *context)
{
    const struct thread *thread = context;
    mmq_scan_cache_expire(thread->cache);
    return false;
}

static void shared_destroy(void **shared_p)
{
    struct shared *shared = *shared_p;
    if (shared == NULL) {
        return;
    }
    mmq_scan_cache_destroy(&shared->cache);
    free(shared->url);
    free(shared);
    *shared_p = NULL;
}

static struct shared *shared_new(const char *url, mmq_why *why)
{
    struct shared *shared = calloc(1, sizeof *shared);
    if (shared != NULL) {
        shared->url = strdup(url);
        shared->cache = mmq_scan_cache_new();
    }
    if (shared == NULL || shared->url == NULL || shared->cache == NULL) {
        void *made = shared;
        shared_destroy(&made);
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a worker");
        return NULL;
    }
    return shared;
}

static unsigned default_capacity(unsigned threads)
{
    unsigned capacity = threads * CAPACITY_PER_THREAD;
    return capacity < MMQ_CAPACITY_MAX ? capacity : MMQ_CAPACITY_MAX;
}

mmq_role *mmq_query_worker_new(const mmq_worker_settings *settings, mmq_why *why)
{
    const mmq_role_parts parts = {
        .worker =
            {
                .endpoint = settings->endpoint,
                .curve = settings->curve,
                .service = MMQ_SERVICE_QUERY,
                .threads = settings->threads,
                .capacity = settings->capacity > 0 ? settings->capacity
                                                   : default_capacity(settings->threads),
                .drain_ms = settings->drain_ms,
                .thread_new = thread_new,
                .thread_destroy = thread_destroy,
                .handle = handle,
                .idle = idle,
            },
        .shared_destroy = shared_destroy,
    };
    void *shared = shared_new(settings->store, why);
    if (shared == NULL) {
        return NULL;
    }
    mmq_role *role = mmq_role_new(&parts, &shared, why);
    shared_destroy(&shared);
    return role;
}
