/* The reference for the store: rows in SQLite as anyone would cluster them, a row a sample, keyed
 * by (metric, timestamp, rowid) WITHOUT ROWID.
 *
 *     bench_clustered fill FILE METRICS ROWS SEED    the rows that bench_fill puts into a store
 *     bench_clustered copy FILE URL                  the rows that are in a store
 *     bench_clustered scan FILE METRICS              reads all by metric and time into arrays
 *     bench_clustered day  FILE METRICS COUNT        a day of one metric, COUNT times */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/generate.h"
#include "tests/bench/tool.h"
#include "workers/store/store.h"

enum { ROWS = 1024, DAY_S = 86400 };

static sqlite3 *db;
static sqlite3_stmt *statement;

static void check(int code)
{
    if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW) {
        bench_die("%s", sqlite3_errmsg(db));
    }
}

static void run(const char *script)
{
    check(sqlite3_exec(db, script, NULL, NULL, NULL));
}

/* The page cache is as small as that of the store's readers. */
static void open_file(const char *path, const char *script, const char *query)
{
    check(sqlite3_open(path, &db));
    run("PRAGMA mmap_size = 0; PRAGMA cache_size = -2048;");
    run(script);
    check(sqlite3_prepare_v3(db, query, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL));
}

static void close_file(void)
{
    sqlite3_finalize(statement);
    check(sqlite3_close(db));
}

/* ---- writing ---------------------------------------------------------------------------- */

static void open_new(const char *path)
{
    open_file(path,
              "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
              "CREATE TABLE row (metric INTEGER NOT NULL, timestamp INTEGER NOT NULL,"
              " rowid INTEGER NOT NULL, value REAL NOT NULL, anomaly_score REAL, raw_score REAL,"
              " PRIMARY KEY (metric, timestamp, rowid)) WITHOUT ROWID; BEGIN;",
              "INSERT INTO row VALUES (?, ?, ?, ?, ?, ?)");
}

static void bind_score(int column, double score)
{
    if (score == score) {
        sqlite3_bind_double(statement, column, score);
    } else {
        sqlite3_bind_null(statement, column);
    }
}

static void insert(int64_t metric, int64_t timestamp, int64_t rowid, const double numbers[3])
{
    sqlite3_bind_int64(statement, 1, metric);
    sqlite3_bind_int64(statement, 2, timestamp);
    sqlite3_bind_int64(statement, 3, rowid);
    sqlite3_bind_double(statement, 4, numbers[0]);
    bind_score(5, numbers[1]);
    bind_score(6, numbers[2]);
    check(sqlite3_step(statement));
    check(sqlite3_reset(statement));
}

static void fill_metric(int64_t metric, int64_t wanted, uint64_t seed, bench_rows *rows)
{
    bench_generator generator;
    bench_generator_init(&generator, seed, metric);
    for (int64_t done = 0; done < wanted; done += (int64_t)rows->count) {
        bench_generate(&generator, rows, wanted - done < ROWS ? (size_t)(wanted - done) : ROWS);
        for (size_t i = 0; i < rows->count; i++) {
            const double numbers[] = {rows->value[i], rows->anomaly_score[i], rows->raw_score[i]};
            insert(metric, rows->timestamp[i], done + 1 + (int64_t)i, numbers);
        }
    }
}

static void fill(const char *path, int64_t metrics, int64_t wanted, uint64_t seed)
{
    bench_rows rows;
    bench_rows_init(&rows, ROWS);
    open_new(path);
    for (int64_t metric = 0; metric < metrics; metric++) {
        fill_metric(metric, wanted, seed, &rows);
    }
    run("COMMIT");
    close_file();
    bench_rows_clear(&rows);
}

static void copy_metric(mmq_store *store, const mmq_metric_head *head, mmq_columns *columns)
{
    mmq_why why;
    for (int64_t first = 1; first <= head->last_rowid; first += (int64_t)columns->count) {
        bench_must(mmq_store_read_rowids(store, head->key, first, head->last_rowid, columns,
                                         MMQ_BATCH_ROWS, &why),
                   &why);
        for (size_t i = 0; i < columns->count; i++) {
            const double numbers[] = {columns->value[i], columns->anomaly_score[i],
                                      columns->raw_score[i]};
            insert(head->key, columns->timestamp[i], columns->rowid[i], numbers);
        }
    }
}

static void copy(const char *path, const char *url)
{
    static mmq_columns columns;
    mmq_why why;
    mmq_store *store;
    mmq_snapshot snapshot;
    mmq_metric_head head = {0};
    size_t count = 1;
    bench_must(mmq_store_open(url, MMQ_STORE_READ, &store, &why), &why);
    bench_must(mmq_store_begin_read(store, &snapshot, &why), &why);
    open_new(path);
    while (count > 0) {
        char after[MMQ_UID_MAX + 1];
        memcpy(after, head.uid, sizeof after);
        bench_must(mmq_store_heads(store, after, &head, 1, &count, &why), &why);
        if (count > 0) {
            copy_metric(store, &head, &columns);
        }
    }
    run("COMMIT");
    close_file();
    mmq_store_end_read(store);
    mmq_store_close(&store);
}

/* ---- reading ---------------------------------------------------------------------------- */

/* Reads up to `capacity` rows of the running statement. */
static void read_rows(mmq_columns *out, size_t capacity)
{
    size_t count = 0;
    int code = SQLITE_ROW;
    while (count < capacity && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        out->timestamp[count] = sqlite3_column_int64(statement, 0);
        out->rowid[count] = sqlite3_column_int64(statement, 1);
        out->value[count] = sqlite3_column_double(statement, 2);
        out->anomaly_score[count] = sqlite3_column_type(statement, 3) == SQLITE_NULL
                                        ? __builtin_nan("")
                                        : sqlite3_column_double(statement, 3);
        count++;
    }
    check(code);
    out->count = count;
}

static int64_t scan_metric(int64_t metric, mmq_columns *columns)
{
    int64_t rows = 0;
    check(sqlite3_bind_int64(statement, 1, metric));
    do {
        read_rows(columns, ROWS);
        rows += (int64_t)columns->count;
    } while (columns->count == ROWS);
    check(sqlite3_reset(statement));
    return rows;
}

static void scan(const char *path, int64_t metrics)
{
    static mmq_columns columns;
    open_file(path, "BEGIN",
              "SELECT timestamp, rowid, value, anomaly_score FROM row WHERE metric = ?"
              " ORDER BY timestamp, rowid");
    bench_clock start = bench_start();
    int64_t rows = 0;
    for (int64_t metric = 0; metric < metrics; metric++) {
        rows += scan_metric(metric, &columns);
    }
    bench_report(bench_since(start), (bench_figure[]){{"rows", (double)rows}, {NULL, 0}});
    close_file();
}

/* First and last time of all rows. */
static void time_span(int64_t *first, int64_t *last)
{
    sqlite3_stmt *span;
    check(sqlite3_prepare_v2(db, "SELECT min(timestamp), max(timestamp) FROM row WHERE metric = 0",
                             -1, &span, NULL));
    check(sqlite3_step(span));
    *first = sqlite3_column_int64(span, 0);
    *last = sqlite3_column_int64(span, 1);
    sqlite3_finalize(span);
}

static int64_t read_day(int64_t metric, int64_t from, mmq_columns *columns)
{
    run("BEGIN");
    check(sqlite3_bind_int64(statement, 1, metric));
    check(sqlite3_bind_int64(statement, 2, from));
    check(sqlite3_bind_int64(statement, 3, from + DAY_S - 1));
    read_rows(columns, ROWS);
    check(sqlite3_reset(statement));
    run("COMMIT");
    return (int64_t)columns->count;
}

static void read_days(const char *path, int64_t metrics, int64_t count)
{
    static mmq_columns columns;
    mmq_splitmix random = {1};
    int64_t first, last, rows = 0;
    open_file(path, "",
              "SELECT timestamp, rowid, value, anomaly_score FROM row WHERE metric = ?"
              " AND timestamp BETWEEN ? AND ? ORDER BY timestamp, rowid");
    time_span(&first, &last);
    uint64_t span = last - first > DAY_S ? (uint64_t)(last - first - DAY_S) : 1;
    bench_clock start = bench_start();
    for (int64_t i = 0; i < count; i++) {
        int64_t metric = (int64_t)mmq_splitmix_below(&random, (uint64_t)metrics);
        rows += read_day(metric, first + (int64_t)mmq_splitmix_below(&random, span), &columns);
    }
    bench_report(bench_since(start), (bench_figure[]){{"rows", (double)rows}, {NULL, 0}});
    close_file();
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "fill") == 0 && argc == 6) {
        fill(argv[2], bench_number(argv[3]), bench_number(argv[4]),
             (uint64_t)bench_number(argv[5]));
    } else if (strcmp(what, "copy") == 0 && argc == 4) {
        copy(argv[2], argv[3]);
    } else if (strcmp(what, "scan") == 0 && argc == 4) {
        scan(argv[2], bench_number(argv[3]));
    } else if (strcmp(what, "day") == 0 && argc == 5) {
        read_days(argv[2], bench_number(argv[3]), bench_number(argv[4]));
    } else {
        fputs("usage: bench_clustered fill FILE METRICS ROWS SEED | copy FILE URL |"
              " scan FILE METRICS | day FILE METRICS COUNT\n",
              stderr);
        return 2;
    }
    return 0;
}
