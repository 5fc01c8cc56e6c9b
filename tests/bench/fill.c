/* Makes data sets, without a bus:
 *
 *     bench_fill store  URL METRICS ROWS SEED    appends the rows to a store
 *     bench_fill csv    METRICS ROWS SEED        uid,timestamp,value,score,raw,rowid a line
 *     bench_fill influx METRICS ROWS SEED        InfluxDB's line protocol, in seconds
 *     bench_fill uids   METRICS SEED             a uid a line */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/generate.h"
#include "tests/bench/tool.h"
#include "workers/store/store.h"

enum { APPEND_ROWS = 64 * 1024, COMMIT_ROWS = 1024 * 1024, METRIC_COST = 16 };

struct plan {
    int64_t metrics, rows;
    uint64_t seed;
};

/* ---- into a store ----------------------------------------------------------------------- */

/* Text of a record that nobody else frees: mmq_store_create only reads it where the uid is new. */
static void create_metric(mmq_store *store, const char *uid, int64_t number)
{
    char name[64], server[32], empty[] = "", datasource[] = "custom", parameters[] = "{}";
    snprintf(name, sizeof name, "bench_%06" PRId64, number);
    snprintf(server, sizeof server, "bench-host-%" PRId64, number / 8);
    mmq_metric metric = {.datasource = datasource,
                         .name = name,
                         .description = empty,
                         .server = server,
                         .location = empty,
                         .parameters = parameters,
                         .identity = name,
                         .status = 1,
                         .poll_interval = 300};
    memcpy(metric.head.uid, uid, BENCH_UID_SIZE);
    mmq_why why;
    bench_must(mmq_store_create(store, &metric, &why), &why);
}

static void append(mmq_store *store, const char *uid, const bench_rows *rows)
{
    const mmq_write_rows batch = {.count = rows->count,
                                  .timestamp = rows->timestamp,
                                  .value = rows->value,
                                  .anomaly_score = rows->anomaly_score,
                                  .raw_score = rows->raw_score};
    mmq_appended appended;
    mmq_why why;
    bench_must(mmq_store_append(store, uid, 0, &batch, &appended, &why), &why);
}

/* Commits now and then, counting what was done since. */
static void commit_at(mmq_store *store, int64_t *pending, int64_t most)
{
    mmq_why why;
    if (*pending > most) {
        bench_must(mmq_store_commit(store, &why), &why);
        bench_must(mmq_store_begin_write(store, &why), &why);
        *pending = 0;
    }
}

static void fill_metric(mmq_store *store, const struct plan *plan, int64_t number, bench_rows *rows,
                        int64_t *pending)
{
    char uid[BENCH_UID_SIZE];
    bench_generator generator;
    bench_uid(plan->seed, number, uid);
    bench_generator_init(&generator, plan->seed, number);
    create_metric(store, uid, number);
    *pending += METRIC_COST;
    for (int64_t left = plan->rows; left > 0;) {
        size_t count = left < APPEND_ROWS ? (size_t)left : APPEND_ROWS;
        bench_generate(&generator, rows, count);
        append(store, uid, rows);
        left -= (int64_t)count;
        *pending += (int64_t)count;
        commit_at(store, pending, COMMIT_ROWS);
    }
}

static void fill_store(const char *url, const struct plan *plan)
{
    mmq_why why;
    mmq_store *store;
    mmq_store_lock *lock;
    bench_rows rows;
    int64_t pending = 0;
    bool more = true;
    bench_must(mmq_store_lock_try(url, &lock, &why), &why);
    bench_must(mmq_store_open(url, MMQ_STORE_WRITE, &store, &why), &why);
    bench_rows_init(&rows, APPEND_ROWS);
    bench_must(mmq_store_begin_write(store, &why), &why);
    for (int64_t i = 0; i < plan->metrics; i++) {
        fill_metric(store, plan, i, &rows, &pending);
        commit_at(store, &pending, COMMIT_ROWS);
    }
    bench_must(mmq_store_commit(store, &why), &why);
    while (more) {
        bench_must(mmq_store_tidy(store, &more, &why), &why);
    }
    bench_rows_clear(&rows);
    mmq_store_close(&store);
    mmq_store_unlock(&lock);
}

/* ---- as text, for peers ----------------------------------------------------------------- */

static void print_rows(const char *uid, const bench_rows *rows, int64_t first, bool influx)
{
    for (size_t i = 0; i < rows->count; i++) {
        if (influx) {
            printf("sample,uid=%s value=%.17g,anomaly_score=%.17g,raw_score=%.17g,rowid=%" PRId64
                   "i %" PRId64 "\n",
                   uid, rows->value[i], rows->anomaly_score[i], rows->raw_score[i],
                   first + (int64_t)i, rows->timestamp[i]);
        } else {
            printf("%s,%" PRId64 ",%.17g,%.17g,%.17g,%" PRId64 "\n", uid, rows->timestamp[i],
                   rows->value[i], rows->anomaly_score[i], rows->raw_score[i], first + (int64_t)i);
        }
    }
}

static void print_metric(const struct plan *plan, int64_t number, bench_rows *rows, bool influx)
{
    char uid[BENCH_UID_SIZE];
    bench_generator generator;
    bench_uid(plan->seed, number, uid);
    bench_generator_init(&generator, plan->seed, number);
    for (int64_t done = 0; done < plan->rows; done += (int64_t)rows->count) {
        int64_t left = plan->rows - done;
        bench_generate(&generator, rows, left < APPEND_ROWS ? (size_t)left : APPEND_ROWS);
        print_rows(uid, rows, done + 1, influx);
    }
}

static void print_all(const struct plan *plan, bool influx)
{
    bench_rows rows;
    bench_rows_init(&rows, APPEND_ROWS);
    for (int64_t i = 0; i < plan->metrics; i++) {
        print_metric(plan, i, &rows, influx);
    }
    bench_rows_clear(&rows);
}

static void print_uids(int64_t metrics, uint64_t seed)
{
    char uid[BENCH_UID_SIZE];
    for (int64_t i = 0; i < metrics; i++) {
        bench_uid(seed, i, uid);
        puts(uid);
    }
}

static struct plan read_plan(char **args)
{
    return (struct plan){bench_number(args[0]), bench_number(args[1]),
                         (uint64_t)bench_number(args[2])};
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "store") == 0 && argc == 6) {
        struct plan plan = read_plan(argv + 3);
        fill_store(argv[2], &plan);
    } else if ((strcmp(what, "csv") == 0 || strcmp(what, "influx") == 0) && argc == 5) {
        struct plan plan = read_plan(argv + 2);
        print_all(&plan, *what == 'i');
    } else if (strcmp(what, "uids") == 0 && argc == 4) {
        print_uids(bench_number(argv[2]), (uint64_t)bench_number(argv[3]));
    } else {
        fputs("usage: bench_fill store URL METRICS ROWS SEED | csv|influx METRICS ROWS SEED |"
              " uids METRICS SEED\n",
              stderr);
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
