/* A store for the tests of the store, and short ways to write to it: a file of SQLite's in a
 * temporary folder, or the tables in the server that METRICMQ_TEST_POSTGRES names
 * (tests/postgres.py starts it, one for each program). */
#ifndef MMQ_TEST_STORE_WORLD_H
#define MMQ_TEST_STORE_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_server.h"
#include "workers/store/store.h"

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        mmq_err err_ = (call);                                                                     \
        if (err_ != MMQ_OK) {                                                                      \
            fail_msg("%s: %s: %s", #call, mmq_err_name(err_), why.text);                           \
        }                                                                                          \
    } while (0)

static mmq_why why;
static char world_folder[64];
static char world_path[96];
static char world_url[512];

/* ---- behind the store's back --------------------------------------------------------------- */

static inline int64_t world_sql(const char *sql)
{
    return store_sql(world_path, sql);
}

/* ---- the store ------------------------------------------------------------------------------ */

static inline void world_begin(void)
{
    (void)snprintf(world_folder, sizeof world_folder, "/tmp/mmq-store-XXXXXX");
    assert_non_null(mkdtemp(world_folder));
    (void)snprintf(world_path, sizeof world_path, "%s/m.db", world_folder);
    (void)snprintf(world_url, sizeof world_url, "sqlite:%s", world_path);
    if (store_server() != NULL) {
        (void)snprintf(world_url, sizeof world_url, "%s", store_server());
        (void)store_server_run("DROP SCHEMA IF EXISTS metricmq CASCADE");
    }
}

static inline int world_unlink(const char *path, const struct stat *about, int kind, struct FTW *at)
{
    (void)about, (void)kind, (void)at;
    return remove(path);
}

static inline void world_end(void)
{
    assert_int_equal(nftw(world_folder, world_unlink, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static inline mmq_store *world_open(mmq_store_mode mode)
{
    mmq_store *store;
    assert_ok(mmq_store_open(world_url, mode, &store, &why));
    return store;
}

static inline void world_metric(mmq_metric *metric, const char *uid, const char *name)
{
    *metric = (mmq_metric){.status = 1, .poll_interval = 300};
    (void)snprintf(metric->head.uid, sizeof metric->head.uid, "%s", uid);
    metric->datasource = strdup("custom");
    metric->identity = strdup(name);
    metric->name = strdup(name);
    metric->description = strdup("");
    metric->server = strdup(name);
    metric->location = strdup("");
    metric->parameters = strdup("{}");
}

/* Creates within a write transaction. */
static inline mmq_err world_create(mmq_store *store, const char *uid, const char *name)
{
    mmq_metric metric;
    world_metric(&metric, uid, name);
    mmq_err err = mmq_store_create(store, &metric, &why);
    mmq_metric_clear(&metric);
    return err;
}

enum { WORLD_ROWS = 4096 };

/* Columns on the stack of nobody: static, so that tests may have many rows. */
typedef struct world_rows {
    int64_t timestamp[WORLD_ROWS], rowid[WORLD_ROWS];
    double value[WORLD_ROWS], anomaly_score[WORLD_ROWS], raw_score[WORLD_ROWS];
} world_rows;

static inline mmq_write_rows world_view(world_rows *rows, size_t from, size_t count)
{
    return (mmq_write_rows){.count = count,
                            .timestamp = rows->timestamp + from,
                            .rowid = rows->rowid + from,
                            .value = rows->value + from,
                            .anomaly_score = rows->anomaly_score + from,
                            .raw_score = rows->raw_score + from};
}

static inline void world_set(world_rows *rows, size_t i, int64_t timestamp, double value,
                             double score)
{
    rows->timestamp[i] = timestamp;
    rows->rowid[i] = (int64_t)i + 1;
    rows->value[i] = value;
    rows->anomaly_score[i] = score;
    rows->raw_score[i] = score;
}

/* Appends rows [from, from + count) in a transaction of its own. */
static inline mmq_err world_append(mmq_store *store, const char *uid, int64_t first_rowid,
                                   world_rows *rows, size_t from, size_t count, mmq_appended *out)
{
    mmq_write_rows view = world_view(rows, from, count);
    assert_ok(mmq_store_begin_write(store, &why));
    mmq_err err = mmq_store_append(store, uid, first_rowid, &view, out, &why);
    mmq_why ignored;
    assert_int_equal(mmq_store_commit(store, &ignored), MMQ_OK);
    return err;
}

#endif
