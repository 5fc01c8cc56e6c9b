/* What our connection to PostgreSQL costs (workers/store/postgres):
 *
 *     bench_pglink trip   URL COUNT BATCH       COUNT round trips of BATCH statements each
 *     bench_pglink fill   URL BLOCKS BYTES STORAGE   makes the tables: external, plain or main
 *     bench_pglink blocks URL BATCH PASSES      reads all blocks with their heads, BATCH a
 * statement bench_pglink ahead  URL BATCH PASSES      the same, the next statement sent before it
 * is read bench_pglink cursor URL BATCH PASSES      the same by a cursor, FETCH of BATCH
 *     bench_pglink scan   URL PASSES            the same by one statement
 *     bench_pglink append URL COUNT METRIC      COUNT transactions of an append of one row each */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/splitmix.h"
#include "tests/bench/tool.h"
#include "workers/store/postgres/link.h"

#define HEADS                                                                                      \
    "SELECT h.first_timestamp, h.first_rowid, h.last_timestamp, h.last_rowid, h.least_rowid,"      \
    " h.greatest_rowid, h.rows, h.unscored, h.greatest_score, h.data_check, h.head_check, d.data"  \
    " FROM block h JOIN block_data d ON d.metric = h.metric AND d.key = h.data"                    \
    " WHERE h.metric = $1 AND (h.first_timestamp, h.first_rowid) > ($2, $3)"                       \
    " ORDER BY h.first_timestamp, h.first_rowid"

enum {
    ONE,
    BLOCKS,
    BEGIN,
    COMMIT,
    DECLARE,
    FETCH,
    CLOSE,
    SCAN,
    ADD_DATA,
    ADD_HEAD,
    APPEND_LOCK,
    APPEND_DATA,
    APPEND_HEAD,
    APPEND_COMMIT_NO,
    APPEND_GROW,
    STATEMENTS
};

static char fetch[64];
static mmq_pg_statement statements[STATEMENTS] = {
    [ONE] = {"SELECT $1 + 1", "i"},
    [BLOCKS] = {HEADS " LIMIT $4", "iiii"},
    [BEGIN] = {"BEGIN", ""},
    [COMMIT] = {"COMMIT", ""},
    [DECLARE] = {"DECLARE c BINARY NO SCROLL CURSOR FOR " HEADS, "iii"},
    [FETCH] = {fetch, ""},
    [CLOSE] = {"CLOSE c", ""},
    [SCAN] = {HEADS, "iii"},
    [ADD_DATA] = {"INSERT INTO block_data (metric, key, data) VALUES ($1, $2, $3)", "iib"},
    [ADD_HEAD] = {"INSERT INTO block VALUES ($1, $2, $3, $4, $5, $6, $7, 500, 0, $8, $9, $10, $11)",
                  "iiiiiiifiii"},
    [APPEND_LOCK] = {"SELECT last_rowid FROM metric WHERE key = $1 FOR NO KEY UPDATE", "i"},
    [APPEND_DATA] = {"UPDATE block_data SET data = $3 WHERE metric = $1 AND key = $2", "iib"},
    [APPEND_HEAD] = {"UPDATE metric SET last_rowid = last_rowid + 1 WHERE key = $1", "i"},
    [APPEND_COMMIT_NO] = {"UPDATE store SET commit_no = commit_no + 1 RETURNING commit_no", ""},
    [APPEND_GROW] = {"INSERT INTO growth VALUES ($1, (SELECT commit_no FROM store), $2)", "ii"},
};

static mmq_pg_link *db;
static mmq_why why;
static int64_t bytes, rows;
static uint64_t sum;

static void must(mmq_err err)
{
    bench_must(err, &why);
}

static void connect_to(const char *url)
{
    const mmq_pg_options options = {
        .url = url, .statements = statements, .statement_count = STATEMENTS, .schema = "bench"};
    must(mmq_pg_open(&options, &db, &why));
    must(mmq_pg_connect(db, &why));
}

static void report(bench_clock passed, double count)
{
    bench_report(
        passed, (bench_figure[]){{"count", count},
                                 {"cpu_us_each", (double)passed.cpu_ns / 1e3 / count},
                                 {"wall_us_each", (double)passed.wall_ns / 1e3 / count},
                                 {"blocks", (double)rows},
                                 {"mb_s", (double)bytes / 1e6 / ((double)passed.wall_ns / 1e9)},
                                 {"cpu_us_mb", (double)passed.cpu_ns / 1e3 / ((double)bytes / 1e6)},
                                 {NULL, 0}});
}

static void trip(int64_t count, int64_t batch)
{
    bool row;
    int64_t out;
    bench_clock start = bench_start();
    for (int64_t i = 0; i < count + 1; i++) {
        if (i == 1) {
            start = bench_start();
        }
        for (int64_t j = 0; j < batch; j++) {
            mmq_pg_values values = {0};
            mmq_pg_bind_int(&values, 1, i);
            must(mmq_pg_queue(db, ONE, &values, &why));
        }
        while (mmq_pg_queued(db) > 0) {
            must(mmq_pg_step(db, &row, &why));
            if (row && !mmq_pg_column_int(mmq_pg_row_at(db), 0, i + 1, i + 1, &out)) {
                bench_die("a wrong answer");
            }
        }
    }
    report(bench_since(start), (double)(count * batch));
}

static void fill(int64_t blocks, int64_t size, const char *storage)
{
    char script[2048];
    (void)snprintf(
        script, sizeof script,
        "DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench;"
        "CREATE TABLE bench.block_data (metric bigint, key bigint, data bytea, PRIMARY KEY (metric,"
        " key)) %s; ALTER TABLE bench.block_data ALTER data SET STORAGE %s;"
        "CREATE TABLE bench.block (metric bigint, first_timestamp bigint, first_rowid bigint,"
        " last_timestamp bigint, last_rowid bigint, least_rowid bigint, greatest_rowid bigint,"
        " rows bigint, unscored bigint, greatest_score float8, data bigint, data_check bigint,"
        " head_check bigint, PRIMARY KEY (metric, first_timestamp, first_rowid));"
        "CREATE TABLE bench.store (one bigint PRIMARY KEY, commit_no bigint);"
        "INSERT INTO bench.store VALUES (1, 1);"
        "CREATE TABLE bench.metric (key bigint PRIMARY KEY, last_rowid bigint);"
        "INSERT INTO bench.metric SELECT i, 0 FROM generate_series(1, 100) AS i;"
        "CREATE TABLE bench.growth (metric bigint, commit_no bigint, before_rowid bigint);",
        strcmp(storage, "external") == 0 ? "" : "WITH (toast_tuple_target = 8160)", storage);
    must(mmq_pg_script(db, script, &why));
    mmq_splitmix random = {1};
    uint64_t *data = bench_alloc((size_t)size);
    must(mmq_pg_run(db, BEGIN, NULL, &why));
    for (int64_t i = 0; i < blocks; i++) {
        for (int64_t j = 0; j < size / 8; j++) {
            data[j] = mmq_splitmix_next(&random);
        }
        mmq_pg_values one = {0}, head = {0};
        mmq_pg_bind_int(&one, 1, 1);
        mmq_pg_bind_int(&one, 2, i + 1);
        mmq_pg_bind_bytes(&one, 3, data, (size_t)size);
        must(mmq_pg_queue(db, ADD_DATA, &one, &why));
        const int64_t numbers[] = {1, i * 500, i * 500, i * 500 + 499, i * 500 + 499, i * 500};
        for (int j = 0; j < 6; j++) {
            mmq_pg_bind_int(&head, j + 1, numbers[j]);
        }
        mmq_pg_bind_int(&head, 7, i * 500 + 499);
        mmq_pg_bind_double(&head, 8, 0.5);
        mmq_pg_bind_int(&head, 9, i + 1);
        mmq_pg_bind_int(&head, 10, 1);
        mmq_pg_bind_int(&head, 11, 2);
        must(mmq_pg_queue(db, ADD_HEAD, &head, &why));
        if (mmq_pg_queued(db) >= 64) {
            must(mmq_pg_finish(db, &why));
        }
    }
    must(mmq_pg_run(db, COMMIT, NULL, &why));
    must(mmq_pg_script(db, "VACUUM (ANALYZE, FREEZE) bench.block", &why));
    must(mmq_pg_script(db, "VACUUM (ANALYZE, FREEZE) bench.block_data", &why));
    must(mmq_pg_script(db, "CHECKPOINT", &why));
    free(data);
}

/* Looks at a row as a reader would; *first and *rowid are its place. */
static void take(int64_t *first, int64_t *rowid)
{
    const mmq_pg_row *row = mmq_pg_row_at(db);
    int64_t number;
    double score;
    size_t size;
    bool right = mmq_pg_column_int(row, 0, 0, INT64_MAX, first) &&
                 mmq_pg_column_int(row, 1, 0, INT64_MAX, rowid);
    for (int i = 2; i < 11; i++) {
        right = right && (i == 8 ? mmq_pg_column_score(row, i, &score)
                                 : mmq_pg_column_int(row, i, 0, INT64_MAX, &number));
    }
    const char *data = mmq_pg_column_bytes(row, 11, &size);
    if (!right || data == NULL) {
        bench_die("a wrong row");
    }
    sum += (uint8_t)data[0] + (uint8_t)data[size - 1];
    bytes += (int64_t)size;
    rows++;
}

static void ask(int64_t first, int64_t rowid, int64_t batch)
{
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, 1);
    mmq_pg_bind_int(&values, 2, first);
    mmq_pg_bind_int(&values, 3, rowid);
    mmq_pg_bind_int(&values, 4, batch);
    must(mmq_pg_queue(db, BLOCKS, &values, &why));
}

/* The rows of the statement; how many. */
static int64_t take_all(int64_t *first, int64_t *rowid)
{
    bool row;
    int64_t count = 0;
    for (;; count++) {
        must(mmq_pg_step(db, &row, &why));
        if (!row) {
            return count;
        }
        take(first, rowid);
    }
}

static void blocks_once(int64_t batch)
{
    int64_t first = INT64_MIN, rowid = INT64_MIN;
    do {
        ask(first, rowid, batch);
    } while (take_all(&first, &rowid) == batch);
}

/* The last row of a batch says where the next begins: kept, and looked at once the next is sent. */
static void ahead_once(int64_t batch)
{
    int64_t first = INT64_MIN, rowid = INT64_MIN;
    bool row;
    mmq_pg_row **kept = bench_alloc((size_t)batch * sizeof *kept);
    ask(first, rowid, batch);
    for (int64_t count = batch; count == batch;) {
        count = 0;
        for (;; count++) {
            must(mmq_pg_step(db, &row, &why));
            if (!row) {
                break;
            }
            kept[count] = mmq_pg_row_take(db);
        }
        if (count == batch) {
            (void)mmq_pg_column_int(kept[count - 1], 0, 0, INT64_MAX, &first);
            (void)mmq_pg_column_int(kept[count - 1], 1, 0, INT64_MAX, &rowid);
            ask(first, rowid, batch);
            must(mmq_pg_send(db, &why));
        }
        for (int64_t i = 0; i < count; i++) {
            size_t size;
            const uint8_t *data = mmq_pg_column_bytes(kept[i], 11, &size);
            sum += data[0];
            bytes += (int64_t)size;
            rows++;
            mmq_pg_row_free(&kept[i]);
        }
    }
    free(kept);
}

static void cursor_once(int64_t batch)
{
    int64_t first = INT64_MIN, rowid = INT64_MIN;
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, 1);
    mmq_pg_bind_int(&values, 2, first);
    mmq_pg_bind_int(&values, 3, rowid);
    must(mmq_pg_run(db, BEGIN, NULL, &why));
    must(mmq_pg_run(db, DECLARE, &values, &why));
    do {
        must(mmq_pg_queue(db, FETCH, NULL, &why));
    } while (take_all(&first, &rowid) == batch);
    must(mmq_pg_run(db, CLOSE, NULL, &why));
    must(mmq_pg_run(db, COMMIT, NULL, &why));
}

static void scan_once(void)
{
    int64_t first = INT64_MIN, rowid = INT64_MIN;
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, 1);
    mmq_pg_bind_int(&values, 2, first);
    mmq_pg_bind_int(&values, 3, rowid);
    must(mmq_pg_queue(db, SCAN, &values, &why));
    (void)take_all(&first, &rowid);
}

static void read_blocks(const char *way, int64_t batch, int64_t passes)
{
    (void)snprintf(fetch, sizeof fetch, "FETCH %lld FROM c", (long long)batch);
    bench_clock start = bench_start();
    for (int64_t i = 0; i <= passes; i++) {
        if (i == 1) {
            start = bench_start();
            rows = bytes = 0;
        }
        if (strcmp(way, "blocks") == 0) {
            blocks_once(batch);
        } else if (strcmp(way, "ahead") == 0) {
            ahead_once(batch);
        } else if (strcmp(way, "cursor") == 0) {
            cursor_once(batch);
        } else {
            scan_once();
        }
    }
    report(bench_since(start), (double)rows);
}

static void append(int64_t count, int64_t metric)
{
    static const char data[600];
    bench_clock start = bench_start();
    for (int64_t i = 0; i < count; i++) {
        mmq_pg_values key = {0}, set = {0}, grow = {0};
        mmq_pg_bind_int(&key, 1, metric);
        mmq_pg_bind_int(&set, 1, 1);
        mmq_pg_bind_int(&set, 2, metric);
        mmq_pg_bind_bytes(&set, 3, data, sizeof data);
        mmq_pg_bind_int(&grow, 1, metric);
        mmq_pg_bind_int(&grow, 2, i);
        must(mmq_pg_queue(db, BEGIN, NULL, &why));
        must(mmq_pg_queue(db, APPEND_LOCK, &key, &why));
        must(mmq_pg_finish(db, &why));
        must(mmq_pg_queue(db, APPEND_DATA, &set, &why));
        must(mmq_pg_queue(db, APPEND_HEAD, &key, &why));
        must(mmq_pg_queue(db, APPEND_COMMIT_NO, NULL, &why));
        must(mmq_pg_queue(db, APPEND_GROW, &grow, &why));
        must(mmq_pg_queue(db, COMMIT, NULL, &why));
        must(mmq_pg_finish(db, &why));
    }
    bench_clock passed = bench_since(start);
    bench_report(passed,
                 (bench_figure[]){{"count", (double)count},
                                  {"cpu_us_each", (double)passed.cpu_ns / 1e3 / (double)count},
                                  {"wall_us_each", (double)passed.wall_ns / 1e3 / (double)count},
                                  {NULL, 0}});
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[1] : "";
    if (argc > 3) {
        connect_to(argv[2]);
    }
    int64_t number = argc > 3 ? bench_number(argv[3]) : 0;
    if (strcmp(what, "trip") == 0 && argc == 5) {
        trip(number, bench_number(argv[4]));
    } else if (strcmp(what, "fill") == 0 && argc == 6) {
        fill(number, bench_number(argv[4]), argv[5]);
    } else if (strcmp(what, "append") == 0 && argc == 5) {
        append(number, bench_number(argv[4]));
    } else if (strcmp(what, "scan") == 0 && argc == 4) {
        read_blocks(what, 0, number);
    } else if (argc == 5) {
        read_blocks(what, number, bench_number(argv[4]));
    } else {
        fputs("usage: see the head of tests/bench/pglink.c\n", stderr);
        return 2;
    }
    mmq_pg_close(&db);
    return sum == 1;
}
