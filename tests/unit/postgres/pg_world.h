/* A database of its own for each test program, in the server that tests/postgres.py has started. */
#ifndef MMQ_TEST_PG_WORLD_H
#define MMQ_TEST_PG_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "workers/store/postgres/link.h"

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        mmq_err err_ = (call);                                                                     \
        if (err_ != MMQ_OK) {                                                                      \
            fail_msg("%s: %s: %s", #call, mmq_err_name(err_), why.text);                           \
        }                                                                                          \
    } while (0)

static mmq_why why;
static char pg_database[64];
static char pg_url[512];

/* The URL of one of the server's databases. */
static inline void pg_world_url(const char *database, const char *more, char *out, size_t size)
{
    const char *server = getenv("METRICMQ_TEST_POSTGRES");
    if (server == NULL) {
        fail_msg("METRICMQ_TEST_POSTGRES is not set: run this by tests/postgres.py");
        return;
    }
    const char *name = strstr(server, "/postgres?");
    assert_non_null(name);
    int written = snprintf(out, size, "%.*s/%s%s%s", (int)(name - server), server, database,
                           name + strlen("/postgres"), more);
    assert_in_range(written, 1, size - 1);
}

/* Runs a script in the server's first database. */
static inline void pg_world_script(const char *script)
{
    char url[512];
    pg_world_url("postgres", "", url, sizeof url);
    mmq_pg_link *link;
    assert_ok(mmq_pg_open(&(mmq_pg_options){.url = url}, &link, &why));
    assert_ok(mmq_pg_connect(link, &why));
    assert_ok(mmq_pg_script(link, script, &why));
    mmq_pg_close(&link);
}

static inline void pg_world_begin(void)
{
    char script[128];
    (void)snprintf(pg_database, sizeof pg_database, "test_%ld", (long)getpid());
    (void)snprintf(script, sizeof script, "CREATE DATABASE %s", pg_database);
    pg_world_script(script);
    pg_world_url(pg_database, "", pg_url, sizeof pg_url);
}

static inline void pg_world_end(void)
{
    char script[128];
    (void)snprintf(script, sizeof script, "DROP DATABASE %s WITH (FORCE)", pg_database);
    pg_world_script(script);
}

/* The server's first process. */
static inline pid_t pg_world_pid(void)
{
    const char *path = getenv("METRICMQ_TEST_POSTGRES_PID");
    assert_non_null(path);
    FILE *file = fopen(path, "re");
    char line[32] = "";
    if (file != NULL) {
        char *read = fgets(line, sizeof line, file);
        (void)fclose(file);
        assert_non_null(read);
    }
    return (pid_t)strtol(line, NULL, 10);
}

#endif
