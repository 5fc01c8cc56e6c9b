/* A table of ten rows in a database of the test program's own, and statements about it. */
#ifndef MMQ_TEST_PG_LINK_WORLD_H
#define MMQ_TEST_PG_LINK_WORLD_H

#include "pg_world.h"

enum {
    SAME,
    MANY,
    ADD,
    COUNT,
    NO_TABLE,
    DIVIDE,
    SLEEP,
    BEGIN,
    BEGIN_READ,
    BEGIN_REPEATABLE,
    COMMIT,
    ROLLBACK,
    LOCK,
    MY_PID,
    END,
    SET,
    READ,
    ECHO,
    STATEMENTS
};

static const mmq_pg_statement statements[STATEMENTS] = {
    [SAME] = {"SELECT $1, $2, $3, $4", "iftb"},
    [MANY] = {"SELECT generate_series(1, $1), 'row'", "i"},
    [ADD] = {"INSERT INTO t (key, data) VALUES ($1, $2)", "ib"},
    [COUNT] = {"SELECT count(*) FROM t", ""},
    [NO_TABLE] = {"SELECT key FROM no_such_table", ""},
    [DIVIDE] = {"SELECT 1 / $1", "i"},
    [SLEEP] = {"SELECT pg_sleep($1)", "f"},
    [BEGIN] = {"BEGIN", ""},
    [BEGIN_READ] = {"BEGIN READ ONLY", ""},
    [BEGIN_REPEATABLE] = {"BEGIN ISOLATION LEVEL REPEATABLE READ", ""},
    [COMMIT] = {"COMMIT", ""},
    [ROLLBACK] = {"ROLLBACK", ""},
    [LOCK] = {"SELECT key FROM t WHERE key = $1 FOR UPDATE", "i"},
    [MY_PID] = {"SELECT pg_backend_pid()::bigint", ""},
    [END] = {"SELECT pg_terminate_backend($1::int)", "i"},
    [SET] = {"UPDATE t SET data = $2 WHERE key = $1", "ib"},
    [READ] = {"SELECT data FROM t WHERE key = $1", "i"},
    [ECHO] = {"SELECT $1", "b"},
};

static inline mmq_pg_options options_of(const char *url)
{
    return (mmq_pg_options){.url = url,
                            .statements = statements,
                            .statement_count = STATEMENTS,
                            .schema = "public",
                            .lock_ms = 200,
                            .statement_ms = 1000};
}

static inline mmq_pg_link *open_link(void)
{
    mmq_pg_options options = options_of(pg_url);
    mmq_pg_link *link;
    assert_ok(mmq_pg_open(&options, &link, &why));
    assert_ok(mmq_pg_connect(link, &why));
    return link;
}

static inline mmq_err run_int(mmq_pg_link *link, unsigned statement, int64_t value)
{
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, value);
    return mmq_pg_run(link, statement, &values, &why);
}

static inline void queue_int(mmq_pg_link *link, unsigned statement, int64_t value)
{
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, value);
    assert_ok(mmq_pg_queue(link, statement, &values, &why));
}

/* The one number of the one row that comes next. */
static inline int64_t next_int(mmq_pg_link *link)
{
    bool row;
    int64_t number = -1;
    assert_ok(mmq_pg_step(link, &row, &why));
    assert_true(row);
    assert_true(mmq_pg_column_int(mmq_pg_row_at(link), 0, INT64_MIN, INT64_MAX, &number));
    assert_ok(mmq_pg_step(link, &row, &why));
    assert_false(row);
    return number;
}

static inline int64_t ask_int(mmq_pg_link *link, unsigned statement)
{
    assert_ok(mmq_pg_queue(link, statement, NULL, &why));
    return next_int(link);
}

static inline int make_tables(void **state)
{
    (void)state;
    pg_world_begin();
    mmq_pg_link *link = open_link();
    assert_ok(mmq_pg_script(link,
                            "CREATE TABLE t (key bigint PRIMARY KEY, data bytea NOT NULL);"
                            "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) AS i",
                            &why));
    mmq_pg_close(&link);
    return 0;
}

static inline int drop_tables(void **state)
{
    (void)state;
    pg_world_end();
    return 0;
}

#endif
