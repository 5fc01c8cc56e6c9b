/* A client of PostgreSQL, as fast as libpq allows:
 *
 *     bench_postgres copy CONNECTION STATEMENT       reads a whole COPY ... TO STDOUT and drops it
 *     bench_postgres day  CONNECTION COUNT WARMUP FROM TO UID...   days of one metric at random
 *                         between two times, by a prepared statement with binary results */
#include <libpq-fe.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "lib/splitmix.h"
#include "tests/bench/tool.h"

enum { DAY_S = 86400 };

static PGconn *connection;

static void check(PGresult *result, ExecStatusType wanted)
{
    if (PQresultStatus(result) != wanted) {
        bench_die("%s", PQerrorMessage(connection));
    }
    PQclear(result);
}

static void copy(const char *statement)
{
    int64_t rows = 0, bytes = 0;
    char *row;
    int size;
    bench_clock start = bench_start();
    check(PQexec(connection, statement), PGRES_COPY_OUT);
    while ((size = PQgetCopyData(connection, &row, 0)) > 0) {
        bytes += size;
        rows++;
        PQfreemem(row);
    }
    check(PQgetResult(connection), PGRES_COMMAND_OK);
    bench_report(bench_since(start),
                 (bench_figure[]){{"rows", (double)rows}, {"bytes", (double)bytes}, {NULL, 0}});
}

static int ask_day(const char *uid, int64_t from)
{
    const uint64_t first = htobe64((uint64_t)from), last = htobe64((uint64_t)(from + DAY_S - 1));
    const char *const values[] = {uid, (const char *)&first, (const char *)&last};
    const int sizes[] = {(int)strlen(uid), sizeof first, sizeof last}, formats[] = {1, 1, 1};
    PGresult *result = PQexecPrepared(connection, "day", 3, values, sizes, formats, 1);
    int rows = PQntuples(result);
    check(result, PGRES_TUPLES_OK);
    return rows;
}

static void read_days(int64_t count, int64_t warmup, int64_t from, int64_t to, char **uids,
                      size_t uid_count)
{
    mmq_splitmix random = {1};
    uint64_t span = to - from > DAY_S ? (uint64_t)(to - from - DAY_S) : 1;
    int64_t rows = 0;
    bench_times times;
    bench_times_init(&times, count);
    check(PQprepare(connection, "day",
                    "SELECT uid, timestamp, value, anomaly_score, rowid FROM large"
                    " WHERE uid = $1::text AND timestamp BETWEEN $2::bigint AND $3::bigint"
                    " ORDER BY timestamp, rowid",
                    3, NULL),
          PGRES_COMMAND_OK);
    bench_clock start = bench_start();
    for (int64_t i = 0; i < count + warmup; i++) {
        if (i == warmup) {
            rows = 0;
            start = bench_start();
        }
        bench_clock began = bench_start();
        rows +=
            ask_day(uids[(size_t)i % uid_count], from + (int64_t)mmq_splitmix_below(&random, span));
        if (i >= warmup) {
            bench_times_add(&times, bench_since(began));
        }
    }
    bench_clock passed = bench_since(start);
    bench_report(passed, (bench_figure[]){{"rows", (double)rows},
                                          {"p50_us", bench_times_us(&times, 0.5)},
                                          {"p99_us", bench_times_us(&times, 0.99)},
                                          {NULL, 0}});
    bench_times_clear(&times);
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[1] : "";
    if (argc > 3) {
        connection = PQconnectdb(argv[2]);
        if (PQstatus(connection) != CONNECTION_OK) {
            bench_die("%s", PQerrorMessage(connection));
        }
    }
    if (strcmp(what, "copy") == 0 && argc == 4) {
        copy(argv[3]);
    } else if (strcmp(what, "day") == 0 && argc > 7) {
        read_days(bench_number(argv[3]), bench_number(argv[4]), bench_number(argv[5]),
                  bench_number(argv[6]), argv + 7, (size_t)(argc - 7));
    } else {
        fputs("usage: bench_postgres copy CONNECTION STATEMENT |"
              " day CONNECTION COUNT WARMUP FROM TO UID...\n",
              stderr);
        return 2;
    }
    PQfinish(connection);
    return 0;
}
