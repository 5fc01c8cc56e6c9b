/* The connection to PostgreSQL against a real server: what comes back, and errors. */
#include "pg_link_world.h"

#include <math.h>

/* ---- what comes back ------------------------------------------------------------------------ */

static void values_come_back(void **state)
{
    (void)state;
    static const int64_t numbers[] = {0, 1, -1, INT64_MAX, INT64_MIN};
    static const double doubles[] = {0.0, -0.0, 1.5, -1e300, 5e-324};
    static const char bytes[] = {0, 1, 2, (char)0xff, 0};
    mmq_pg_link *link = open_link();
    for (size_t i = 0; i < 5; i++) {
        mmq_pg_values values = {0};
        int64_t number;
        double value;
        size_t size;
        bool row;
        mmq_pg_bind_int(&values, 1, numbers[i]);
        mmq_pg_bind_double(&values, 2, doubles[i]);
        mmq_pg_bind_text(&values, 3, "Zürich");
        mmq_pg_bind_bytes(&values, 4, bytes, i);
        assert_ok(mmq_pg_queue(link, SAME, &values, &why));
        assert_ok(mmq_pg_step(link, &row, &why));
        assert_true(row);
        const mmq_pg_row *at = mmq_pg_row_at(link);
        assert_int_equal(mmq_pg_columns(at), 4);
        assert_true(mmq_pg_column_int(at, 0, INT64_MIN, INT64_MAX, &number));
        assert_true(number == numbers[i]);
        assert_false(mmq_pg_column_int(at, 0, numbers[i] == 0, -1, &number)); /* out of range */
        assert_true(mmq_pg_column_value(at, 1, &value));
        assert_memory_equal(&value, &doubles[i], sizeof value);
        assert_string_equal(mmq_pg_column_text(at, 2, &size), "Zürich");
        assert_int_equal(size, strlen("Zürich"));
        assert_memory_equal(mmq_pg_column_bytes(at, 3, &size), bytes, i);
        assert_int_equal(size, i);
        /* not what they are, or not there */
        assert_false(mmq_pg_column_int(at, 1, INT64_MIN, INT64_MAX, &number));
        assert_false(mmq_pg_column_value(at, 0, &value));
        assert_null(mmq_pg_column_text(at, 3, &size));
        assert_null(mmq_pg_column_bytes(at, 2, &size));
        assert_false(mmq_pg_column_int(at, 4, INT64_MIN, INT64_MAX, &number));
        assert_ok(mmq_pg_finish(link, &why));
        assert_int_equal(mmq_pg_changes(link), 1);
    }
    mmq_pg_close(&link);
}

static void nulls_come_back(void **state)
{
    (void)state;
    mmq_pg_link *link = open_link();
    mmq_pg_values values = {0};
    double score = 0;
    int64_t number;
    size_t size;
    bool row;
    mmq_pg_bind_score(&values, 2, NAN);
    mmq_pg_bind_text(&values, 3, NULL);
    assert_ok(mmq_pg_queue(link, SAME, &values, &why));
    assert_ok(mmq_pg_step(link, &row, &why));
    const mmq_pg_row *at = mmq_pg_row_at(link);
    for (int i = 0; i < 4; i++) {
        assert_true(mmq_pg_column_null(at, i));
    }
    assert_false(mmq_pg_column_null(at, 4));
    assert_true(mmq_pg_column_score(at, 1, &score));
    assert_true(isnan(score));
    assert_false(mmq_pg_column_score(at, 0, &score));
    assert_false(mmq_pg_column_value(at, 1, &score));
    assert_false(mmq_pg_column_int(at, 0, INT64_MIN, INT64_MAX, &number));
    assert_null(mmq_pg_column_text(at, 2, &size));
    assert_null(mmq_pg_column_bytes(at, 3, &size));
    assert_ok(mmq_pg_finish(link, &why));
    memset(&values, 0, sizeof values);
    mmq_pg_bind_double(&values, 2, INFINITY);
    assert_ok(mmq_pg_queue(link, SAME, &values, &why));
    assert_ok(mmq_pg_step(link, &row, &why));
    assert_false(mmq_pg_column_value(mmq_pg_row_at(link), 1, &score));
    mmq_pg_close(&link); /* in the middle of a statement */
}

static void results_come_in_order(void **state)
{
    (void)state;
    mmq_pg_link *link = open_link();
    bool row;
    int64_t number;
    for (int round = 0; round < 3; round++) {
        for (int64_t i = 0; i < MMQ_PG_QUEUED_MAX; i++) {
            queue_int(link, MANY, i % 5);
        }
        assert_int_equal(mmq_pg_queued(link), MMQ_PG_QUEUED_MAX);
        for (int64_t i = 0; i < MMQ_PG_QUEUED_MAX; i++) {
            for (int64_t j = 1; j <= i % 5; j++) {
                assert_ok(mmq_pg_step(link, &row, &why));
                assert_true(row);
                assert_true(mmq_pg_column_int(mmq_pg_row_at(link), 0, j, j, &number));
            }
            assert_ok(mmq_pg_step(link, &row, &why));
            assert_false(row);
            assert_int_equal(mmq_pg_changes(link), i % 5);
        }
        assert_int_equal(mmq_pg_queued(link), 0);
    }
    mmq_pg_close(&link);
}

/* The next statement is sent while the rows of the first are read, and rows are kept. */
static void sent_ahead(void **state)
{
    (void)state;
    mmq_pg_link *link = open_link();
    mmq_pg_row *kept[8] = {NULL};
    bool row;
    int64_t number;
    queue_int(link, MANY, 4);
    assert_ok(mmq_pg_send(link, &why));
    assert_ok(mmq_pg_step(link, &row, &why));
    kept[0] = mmq_pg_row_take(link);
    queue_int(link, MANY, 4);
    assert_ok(mmq_pg_send(link, &why));
    for (int i = 1; i < 8; i++) {
        assert_ok(mmq_pg_step(link, &row, &why));
        if (i == 4) {
            assert_false(row);
            assert_ok(mmq_pg_step(link, &row, &why));
        }
        kept[i] = mmq_pg_row_take(link);
    }
    assert_ok(mmq_pg_step(link, &row, &why));
    assert_false(row);
    mmq_pg_close(&link);
    for (int i = 0; i < 8; i++) {
        assert_true(mmq_pg_column_int(kept[i], 0, i % 4 + 1, i % 4 + 1, &number));
        mmq_pg_row_free(&kept[i]);
    }
}

/* More both ways at once than sockets hold: neither side may wait for the other. */
static void much_both_ways(void **state)
{
    (void)state;
    enum { SIZE = 4 << 20, TIMES = 6 };
    mmq_pg_options options = options_of(pg_url);
    options.statement_ms = options.answer_ms = 60000;
    mmq_pg_link *link;
    assert_ok(mmq_pg_open(&options, &link, &why));
    assert_ok(mmq_pg_connect(link, &why));
    char *bytes = malloc(SIZE);
    for (int i = 0; i < SIZE; i++) {
        bytes[i] = (char)(i * 7);
    }
    for (int i = 0; i < TIMES; i++) {
        mmq_pg_values values = {0};
        mmq_pg_bind_bytes(&values, 1, bytes, SIZE);
        assert_ok(mmq_pg_queue(link, ECHO, &values, &why));
    }
    for (int i = 0; i < TIMES; i++) {
        bool row;
        size_t size;
        assert_ok(mmq_pg_step(link, &row, &why));
        const void *back = mmq_pg_column_bytes(mmq_pg_row_at(link), 0, &size);
        assert_int_equal(size, SIZE);
        assert_memory_equal(back, bytes, SIZE);
        assert_ok(mmq_pg_step(link, &row, &why));
        assert_false(row);
    }
    free(bytes);
    mmq_pg_close(&link);
}

static void says_what_the_server_is(void **state)
{
    (void)state;
    mmq_pg_link *link = open_link();
    const mmq_pg_server *server = mmq_pg_server_of(link);
    assert_true(server->version >= 150000);
    assert_false(server->standby);
    assert_false(server->careless);
    assert_int_equal(mmq_pg_connection(link), 1);
    mmq_pg_close(&link);
}

/* ---- errors --------------------------------------------------------------------------------- */

static void what_follows_an_error_is_not_run(void **state)
{
    (void)state;
    mmq_pg_link *link = open_link();
    int64_t before = ask_int(link, COUNT);
    bool row;
    for (int round = 0; round < 3; round++) {
        mmq_pg_values values = {0};
        mmq_pg_bind_int(&values, 1, 1000 + round);
        mmq_pg_bind_bytes(&values, 2, "x", 1);
        assert_ok(mmq_pg_queue(link, BEGIN, NULL, &why));
        assert_ok(mmq_pg_queue(link, ADD, &values, &why));
        queue_int(link, DIVIDE, 0);
        mmq_pg_bind_int(&values, 1, 2000 + round);
        assert_ok(mmq_pg_queue(link, ADD, &values, &why));
        assert_ok(mmq_pg_queue(link, COMMIT, NULL, &why));
        assert_ok(mmq_pg_step(link, &row, &why));
        assert_ok(mmq_pg_step(link, &row, &why));
        assert_int_equal(mmq_pg_changes(link), 1);
        assert_int_equal(mmq_pg_step(link, &row, &why), MMQ_ECORRUPT);
        assert_non_null(strstr(why.text, "22012"));
        assert_int_equal(mmq_pg_queued(link), 0);
        /* the transaction is failed, and the connection as good as before */
        assert_int_equal(mmq_pg_run(link, COUNT, NULL, &why), MMQ_EIO);
        assert_ok(mmq_pg_run(link, ROLLBACK, NULL, &why));
        assert_int_equal(ask_int(link, COUNT), before);
    }
    assert_int_equal(mmq_pg_connection(link), 1);
    mmq_pg_close(&link);
}

static void errors_have_their_meaning(void **state)
{
    (void)state;
    mmq_pg_link *link = open_link();
    mmq_pg_values values = {0};
    assert_int_equal(mmq_pg_run(link, NO_TABLE, NULL, &why), MMQ_ECORRUPT);
    assert_non_null(strstr(why.text, "no_such_table"));
    mmq_pg_bind_int(&values, 1, 1);
    mmq_pg_bind_bytes(&values, 2, "x", 1);
    assert_int_equal(mmq_pg_run(link, ADD, &values, &why), MMQ_EBUSY); /* made by another */
    memset(&values, 0, sizeof values);
    mmq_pg_bind_int(&values, 1, 77);
    assert_int_equal(mmq_pg_run(link, ADD, &values, &why), MMQ_ECORRUPT); /* NOT NULL */
    memset(&values, 0, sizeof values);
    mmq_pg_bind_double(&values, 1, 30.0);
    int64_t start_ns = mmq_now_ns();
    assert_int_equal(mmq_pg_run(link, SLEEP, &values, &why), MMQ_EBUSY);
    assert_true(mmq_now_ns() - start_ns < 20 * MMQ_NS_PER_S);
    assert_ok(mmq_pg_run(link, BEGIN_READ, NULL, &why));
    memset(&values, 0, sizeof values);
    mmq_pg_bind_int(&values, 1, 78);
    mmq_pg_bind_bytes(&values, 2, "x", 1);
    assert_int_equal(mmq_pg_run(link, ADD, &values, &why), MMQ_EUNAVAILABLE);
    assert_false(mmq_pg_connected(link)); /* there may be a server that takes writes */
    mmq_pg_close(&link);
}

static void transactions_in_each_others_way(void **state)
{
    (void)state;
    mmq_pg_link *one = open_link(), *two = open_link();
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, 3);
    mmq_pg_bind_bytes(&values, 2, "y", 1);
    /* a lock that does not come */
    assert_ok(mmq_pg_run(one, BEGIN, NULL, &why));
    assert_ok(run_int(one, LOCK, 3));
    assert_ok(mmq_pg_run(two, BEGIN, NULL, &why));
    assert_int_equal(run_int(two, LOCK, 3), MMQ_EBUSY);
    assert_non_null(strstr(why.text, "55P03"));
    assert_ok(mmq_pg_run(two, ROLLBACK, NULL, &why));
    assert_ok(mmq_pg_run(one, COMMIT, NULL, &why));
    /* a row that another has changed since */
    assert_ok(mmq_pg_run(one, BEGIN_REPEATABLE, NULL, &why));
    (void)ask_int(one, COUNT);
    assert_ok(mmq_pg_run(two, SET, &values, &why));
    assert_int_equal(mmq_pg_run(one, SET, &values, &why), MMQ_EBUSY);
    assert_non_null(strstr(why.text, "40001"));
    assert_ok(mmq_pg_run(one, ROLLBACK, NULL, &why));
    mmq_pg_close(&one);
    mmq_pg_close(&two);
}

static void scripts(void **state)
{
    (void)state;
    mmq_pg_link *link = open_link();
    assert_int_equal(ask_int(link, COUNT), 10);
    assert_int_equal(mmq_pg_script(link, "INSERT INTO t VALUES (500, 'x'); SELECT 1 / 0", &why),
                     MMQ_ECORRUPT);
    assert_int_equal(ask_int(link, COUNT), 10);
    assert_ok(mmq_pg_script(link, "SELECT 1; SELECT i FROM generate_series(1, 100) AS i", &why));
    assert_int_equal(mmq_pg_script(link, "COPY t TO STDOUT", &why), MMQ_EUNAVAILABLE);
    assert_false(mmq_pg_connected(link));
    assert_int_equal(mmq_pg_run(link, COUNT, NULL, &why), MMQ_EUNAVAILABLE);
    assert_ok(mmq_pg_connect(link, &why));
    assert_int_equal(ask_int(link, COUNT), 10);
    mmq_pg_close(&link);
}

static void rows_that_nobody_wants(void **state)
{
    (void)state;
    mmq_pg_link *link = open_link();
    bool row;
    queue_int(link, MANY, MMQ_PG_SPARE_ROWS);
    queue_int(link, MANY, 0);
    assert_ok(mmq_pg_step(link, &row, &why));
    assert_ok(mmq_pg_finish(link, &why));
    assert_true(mmq_pg_connected(link));
    queue_int(link, MANY, INT32_MAX);
    assert_ok(mmq_pg_step(link, &row, &why));
    assert_int_equal(mmq_pg_finish(link, &why), MMQ_EUNAVAILABLE);
    assert_false(mmq_pg_connected(link));
    mmq_pg_close(&link);
}

/* ---- servers that will not do --------------------------------------------------------------- */

static mmq_err try_url(const char *url, bool writes)
{
    mmq_pg_options options = options_of(url);
    options.writes = writes;
    mmq_pg_link *link;
    assert_ok(mmq_pg_open(&options, &link, &why));
    mmq_err err = mmq_pg_connect(link, &why);
    assert_int_equal(err == MMQ_OK, mmq_pg_connected(link));
    mmq_pg_close(&link);
    return err;
}

static void unfit_servers(void **state)
{
    (void)state;
    char url[512], script[256];
    (void)snprintf(script, sizeof script, "ALTER DATABASE %s SET synchronous_commit = off",
                   pg_database);
    pg_world_script(script);
    assert_int_equal(try_url(pg_url, false), MMQ_EUNAVAILABLE);
    assert_non_null(strstr(why.text, "synchronous_commit"));
    (void)snprintf(script, sizeof script,
                   "ALTER DATABASE %s SET synchronous_commit = local;"
                   "ALTER DATABASE %s SET default_transaction_read_only = on",
                   pg_database, pg_database);
    pg_world_script(script);
    assert_ok(try_url(pg_url, false));
    assert_int_equal(try_url(pg_url, true), MMQ_EUNAVAILABLE);
    (void)snprintf(script, sizeof script, "ALTER DATABASE %s RESET ALL", pg_database);
    pg_world_script(script);
    assert_ok(try_url(pg_url, true));
    (void)snprintf(script, sizeof script,
                   "CREATE DATABASE %s_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
                   " LOCALE_PROVIDER libc",
                   pg_database);
    pg_world_script(script);
    (void)snprintf(script, sizeof script, "%s_ascii", pg_database);
    pg_world_url(script, "", url, sizeof url);
    assert_int_equal(try_url(url, false), MMQ_EUNAVAILABLE);
    assert_non_null(strstr(why.text, "UTF8"));
    (void)snprintf(script, sizeof script, "DROP DATABASE %s_ascii", pg_database);
    pg_world_script(script);
    pg_world_url("no_such_database", "", url, sizeof url);
    assert_int_equal(try_url(url, false), MMQ_EUNAVAILABLE);
    assert_non_null(strstr(why.text, "no_such_database"));
}

/* Of two hosts, one of which is not there, the other is found, whichever is tried first. */
static void other_host(void **state)
{
    (void)state;
    char url[1024];
    const char *host = strstr(pg_url, "host=");
    (void)snprintf(url, sizeof url, "%.*shost=/nowhere,%s&target_session_attrs=prefer-standby",
                   (int)(host - pg_url), pg_url, host + strlen("host="));
    for (int i = 0; i < 8; i++) {
        assert_ok(try_url(url, false));
        assert_ok(try_url(url, true));
    }
    (void)snprintf(url, sizeof url, "%s&target_session_attrs=standby", pg_url);
    assert_int_equal(try_url(url, false), MMQ_EUNAVAILABLE);
    assert_ok(try_url(url, true)); /* what readers want is nothing to a writer */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(nulls_come_back),
        cmocka_unit_test(results_come_in_order),
        cmocka_unit_test(sent_ahead),
        cmocka_unit_test(much_both_ways),
        cmocka_unit_test(says_what_the_server_is),
        cmocka_unit_test(what_follows_an_error_is_not_run),
        cmocka_unit_test(errors_have_their_meaning),
        cmocka_unit_test(transactions_in_each_others_way),
        cmocka_unit_test(scripts),
        cmocka_unit_test(rows_that_nobody_wants),
        cmocka_unit_test(unfit_servers),
        cmocka_unit_test(other_host),
    };
    return cmocka_run_group_tests(tests, make_tables, drop_tables);
}
