/* The server whose database is to hold the store, if METRICMQ_TEST_POSTGRES names one: it is of one
 * test program alone (tests/postgres.py starts it). */
#ifndef MMQ_TEST_STORE_SERVER_H
#define MMQ_TEST_STORE_SERVER_H

#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

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

#endif
