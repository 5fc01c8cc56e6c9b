/* For tests of metric.query: a store of random metrics in a temporary folder, and beside it what it
 * holds as plain arrays, from which a slow reference tells which rows a stream must show. */
#ifndef QUERY_WORLD_H
#define QUERY_WORLD_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "workers/query_args.h"
#include "store_server.h"
#include "workers/store/store.h"

enum { WORLD_METRICS = 4096, TIME_BASE = 1376600000 };

/* A row as it is, and whether its score was changed while the stream ran. */
struct world_row {
    int64_t timestamp;
    double value, score;
    bool touched;
};

struct world_metric {
    char uid[24];
    bool alive;
    bool scored, deleted; /* while the stream ran */
    int64_t bound;        /* rows when the stream began; -1: was not there */
    int64_t count;
    struct world_row *rows; /* [rowid - 1] */
};

struct world {
    char folder[64];
    char url[512];
    mmq_store_lock *lock;
    mmq_store *writer, *reader;
    uint64_t random;
    size_t count;
    struct world_metric metrics[WORLD_METRICS];
};

static inline uint64_t world_random(struct world *world, uint64_t below)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random % below;
}

static inline void world_ok(mmq_err err, const mmq_why *why)
{
    if (err != MMQ_OK) {
        fprintf(stderr, "%s: %s\n", mmq_err_name(err), why->text);
    }
    CHECK(err == MMQ_OK);
}

static inline double world_score(struct world *world)
{
    return world_random(world, 3) == 0 ? NAN : (double)world_random(world, 11) / 10;
}

static inline void world_begin(struct world *world)
{
    mmq_why why;
    world_ok(mmq_store_begin_write(world->writer, &why), &why);
}

static inline void world_commit(struct world *world)
{
    mmq_why why;
    world_ok(mmq_store_commit(world->writer, &why), &why);
}

/* Appends rows whose times repeat and step back. */
static inline void world_append(struct world *world, struct world_metric *metric, size_t count,
                                unsigned times)
{
    int64_t *timestamp = calloc(count + 1, sizeof *timestamp);
    double *columns = calloc(3 * count + 1, sizeof *columns);
    mmq_write_rows rows = {.count = count,
                           .timestamp = timestamp,
                           .rowid = timestamp,
                           .value = columns,
                           .anomaly_score = columns + count,
                           .raw_score = columns + 2 * count};
    size_t total = (size_t)metric->count + count;
    metric->rows = realloc(metric->rows, (total + 1) * sizeof *metric->rows);
    CHECK(timestamp != NULL && columns != NULL && metric->rows != NULL);
    for (size_t i = 0; i < count; i++) {
        struct world_row *row = &metric->rows[metric->count++];
        timestamp[i] = TIME_BASE + (int64_t)world_random(world, times);
        rows.value[i] = (double)world_random(world, 100000) / 7;
        rows.anomaly_score[i] = rows.raw_score[i] = world_score(world);
        *row = (struct world_row){timestamp[i], rows.value[i], rows.anomaly_score[i], false};
    }
    mmq_why why;
    mmq_appended appended;
    world_ok(mmq_store_append(world->writer, metric->uid, 0, &rows, &appended, &why), &why);
    free(timestamp);
    free(columns);
}

/* A metric of that uid, in the writer's transaction. */
static inline struct world_metric *world_create(struct world *world, const char *uid)
{
    CHECK(world->count < WORLD_METRICS);
    struct world_metric *metric = &world->metrics[world->count++];
    *metric = (struct world_metric){.alive = true, .bound = -1};
    snprintf(metric->uid, sizeof metric->uid, "%s", uid);
    mmq_metric record = {.datasource = strdup("custom"),
                         .name = strdup(uid),
                         .description = strdup(""),
                         .server = strdup(uid),
                         .location = strdup(""),
                         .parameters = strdup("{}"),
                         .identity = strdup(uid),
                         .status = 1,
                         .poll_interval = 300};
    snprintf(record.head.uid, sizeof record.head.uid, "%s", uid);
    mmq_why why;
    world_ok(mmq_store_create(world->writer, &record, &why), &why);
    mmq_metric_clear(&record);
    return metric;
}

static inline void world_delete(struct world *world, struct world_metric *metric)
{
    mmq_why why;
    metric->alive = false;
    metric->deleted = true;
    world_ok(mmq_store_delete(world->writer, metric->uid, &why), &why);
}

static inline void world_rescore(struct world *world, struct world_metric *metric, int64_t rowid)
{
    struct world_row *row = &metric->rows[rowid - 1];
    double score = (double)world_random(world, 11) / 10;
    int64_t no_time = 0;
    double no_value = 0;
    mmq_write_rows rows = {.count = 1,
                           .timestamp = &no_time,
                           .rowid = &rowid,
                           .value = &no_value,
                           .anomaly_score = &score,
                           .raw_score = &score};
    mmq_why why;
    metric->scored = true;
    row->touched = true;
    row->score = score;
    world_ok(mmq_store_score(world->writer, metric->uid, &rows, &why), &why);
}

static inline struct world_metric *world_alive(struct world *world, const char *uid)
{
    for (size_t i = 0; i < world->count; i++) {
        if (world->metrics[i].alive && strcmp(world->metrics[i].uid, uid) == 0) {
            return &world->metrics[i];
        }
    }
    return NULL;
}

/* A stream begins now. */
static inline void world_mark(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        struct world_metric *metric = &world->metrics[i];
        metric->scored = metric->deleted = false;
        metric->bound = metric->alive ? metric->count : -1;
        for (int64_t r = 0; r < metric->count; r++) {
            metric->rows[r].touched = false;
        }
    }
}

static inline struct world *world_new(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    CHECK(world != NULL);
    world->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    snprintf(world->folder, sizeof world->folder, "/tmp/mmq-query-XXXXXX");
    CHECK(mkdtemp(world->folder) != NULL);
    snprintf(world->url, sizeof world->url, "sqlite:%s/store.db", world->folder);
    mmq_why why;
    if (store_server() != NULL) {
        snprintf(world->url, sizeof world->url, "%s", store_server());
        (void)store_server_run("DROP SCHEMA IF EXISTS metricmq CASCADE");
    }
    world_ok(mmq_store_lock_try(world->url, &world->lock, &why), &why);
    world_ok(mmq_store_open(world->url, MMQ_STORE_WRITE, &world->writer, &why), &why);
    world_ok(mmq_store_open(world->url, MMQ_STORE_READ, &world->reader, &why), &why);
    return world;
}

static inline void world_destroy(struct world **world_p)
{
    struct world *world = *world_p;
    char command[128];
    mmq_store_close(&world->reader);
    mmq_store_close(&world->writer);
    mmq_store_unlock(&world->lock);
    snprintf(command, sizeof command, "rm -r %s", world->folder);
    CHECK(system(command) == 0);
    for (size_t i = 0; i < world->count; i++) {
        free(world->metrics[i].rows);
    }
    free(world);
    *world_p = NULL;
}

/* ---- the reference ---------------------------------------------------------------------- */

struct shown_row {
    char uid[24];
    int64_t timestamp, rowid;
    double value, score;
};

struct shown {
    size_t count, capacity;
    struct shown_row *rows;
};

static inline void shown_add(struct shown *shown, const struct shown_row *row)
{
    if (shown->count == shown->capacity) {
        shown->capacity = shown->capacity > 0 ? 2 * shown->capacity : 64;
        shown->rows = realloc(shown->rows, shown->capacity * sizeof *shown->rows);
        CHECK(shown->rows != NULL);
    }
    shown->rows[shown->count++] = *row;
}

static inline bool selects(const mmq_selection *s, const struct world_row *row, int64_t rowid)
{
    if (row->timestamp < s->from || row->timestamp > s->to || (s->has_rowid && rowid != s->rowid)) {
        return false;
    }
    return s->anomaly < 0 || (s->anomaly == 0 ? !isnan(row->score) : row->score >= s->anomaly);
}

static inline int compare_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static inline int compare_shown(const void *a_, const void *b_, void *selection)
{
    const struct shown_row *a = a_, *b = b_;
    const mmq_selection *s = selection;
    const int direction = s->ascending ? 1 : -1;
    const int uids = strcmp(a->uid, b->uid);
    const int times = direction * compare_number(a->timestamp, b->timestamp);
    const int rowids = direction * compare_number(a->rowid, b->rowid);
    if (s->by_metric) {
        return uids != 0 ? uids : times != 0 ? times : rowids;
    }
    return times != 0 ? times : uids != 0 ? uids : rowids;
}

/* What a stream that began at world_mark must show of one metric; limit < 0: without a limit. */
static inline void expect_metric(const struct world_metric *metric, const mmq_selection *s,
                                 int64_t limit, struct shown *out)
{
    const size_t first = out->count;
    for (int64_t i = 0; i < metric->bound; i++) {
        const struct world_row *row = &metric->rows[i];
        if (selects(s, row, i + 1)) {
            struct shown_row made = {"", row->timestamp, i + 1, row->value, row->score};
            memcpy(made.uid, metric->uid, sizeof made.uid);
            shown_add(out, &made);
        }
    }
    mmq_selection order = *s;
    if (out->count > first) {
        qsort_r(out->rows + first, out->count - first, sizeof *out->rows, compare_shown, &order);
    }
    if (limit > 0 && out->count - first > (size_t)limit) {
        out->count = first + (size_t)limit;
    }
}

static inline bool same_row(const struct shown_row *a, const struct shown_row *b)
{
    const bool scores = isnan(a->score) ? isnan(b->score) : a->score == b->score;
    return strcmp(a->uid, b->uid) == 0 && a->timestamp == b->timestamp && a->rowid == b->rowid &&
           a->value == b->value && scores;
}

#endif
