/* Where a test's store is: a file of SQLite's, or the database that METRICMQ_TEST_POSTGRES names,
 * whose server is of one test program alone (tests/postgres.py starts it). */
#ifndef MMQ_TEST_STORE_SERVER_H
#define MMQ_TEST_STORE_SERVER_H

#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/check.h"

/* NULL: the store is a file of SQLite's. */
static inline const char *store_server(void)
{
    return getenv("METRICMQ_TEST_POSTGRES");
}

static inline void store_server_keep_quiet(void *context, const char *notice)
{
    (void)context, (void)notice;
}

/* The first number that the script's last statement gives; 0: none. */
static inline int64_t store_server_run(const char *script)
{
    PGconn *server = PQconnectdb(store_server());
    (void)PQsetNoticeProcessor(server, store_server_keep_quiet, NULL);
    PGresult *result = PQexec(server, script);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s: %s\n", script, PQerrorMessage(server));
        abort();
    }
    const int64_t number = PQntuples(result) > 0 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    PQfinish(server);
    return number;
}

/* ---- behind the store's back --------------------------------------------------------------- */

static inline int64_t store_file_run(const char *path, const char *script)
{
    sqlite3 *db;
    sqlite3_stmt *statement = NULL;
    int64_t number = 0;
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    for (const char *rest = script; *rest != '\0';) {
        if (sqlite3_prepare_v2(db, rest, -1, &statement, &rest) != SQLITE_OK) {
            fprintf(stderr, "%s: %s\n", script, sqlite3_errmsg(db));
            abort();
        }
        int code = sqlite3_step(statement);
        number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
        CHECK(code == SQLITE_ROW || code == SQLITE_DONE);
        CHECK(sqlite3_finalize(statement) == SQLITE_OK);
    }
    CHECK(sqlite3_close(db) == SQLITE_OK);
    return number;
}

/* The first number of the last statement's first row, 0 if there is none; path: of SQLite's file.
 * Both engines know the same tables, and the SQL that tests need. */
static inline int64_t store_sql(const char *path, const char *sql)
{
    char script[1024];
    if (store_server() == NULL) {
        return store_file_run(path, sql);
    }
    CHECK(snprintf(script, sizeof script, "SET search_path = metricmq; %s", sql) <
          (int)sizeof script);
    return store_server_run(script);
}

/* How many rounds of many there are to be: in PostgreSQL, where each costs round trips, fewer. */
static inline unsigned store_rounds(unsigned rounds)
{
    return store_server() == NULL || rounds < 4 ? rounds : rounds / 4;
}

/* Ends a test that is only about a store in a file, and says why there is none like it. */
#define SQLITE_ONLY(why_)                                                                          \
    do {                                                                                           \
        if (store_server() != NULL) {                                                              \
            fprintf(stderr, "only with SQLite: %s\n", why_);                                       \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

#endif
