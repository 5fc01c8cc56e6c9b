/* Commits whose connection is lost on their way: what is said of them afterwards is so, and stays
 * so. */
#include "pg_world.h"

#include <libpq-fe.h>
#include <linux/sockios.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "workers/store/postgres/link_parts.h"
#include "workers/store/postgres/postgres.h"
#include "workers/store/store.h"

static const mmq_pg_statement statements[] = {
    {"SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = $1", "i"},
    {"SELECT coalesce(sum(last_rowid), $1)::bigint FROM metricmq.metric", "i"},
};
enum { IS_ALIVE, ROWS };

static int64_t ask(mmq_pg_link *link, unsigned statement, int64_t value)
{
    mmq_pg_values values = {0};
    int64_t number = -1;
    bool row = true;
    mmq_pg_bind_int(&values, 1, value);
    assert_ok(mmq_pg_connect(link, &why));
    assert_ok(mmq_pg_queue(link, statement, &values, &why));
    while (mmq_pg_queued(link) > 0) {
        assert_ok(mmq_pg_step(link, &row, &why));
        if (row) {
            assert_true(mmq_pg_column_int(mmq_pg_row_at(link), 0, INT64_MIN, INT64_MAX, &number));
        }
    }
    return number;
}

static mmq_store *open_writer(void)
{
    mmq_store *store;
    assert_ok(mmq_store_open(pg_url, MMQ_STORE_WRITE, &store, &why));
    return store;
}

static void create(mmq_store *store)
{
    mmq_metric metric = {.status = 1, .poll_interval = 300};
    (void)snprintf(metric.head.uid, sizeof metric.head.uid, "u");
    char **texts[] = {&metric.datasource,  &metric.identity, &metric.name,      &metric.server,
                      &metric.description, &metric.location, &metric.parameters};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        *texts[i] = strdup(i < 4 ? "u" : "");
    }
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(mmq_store_create(store, &metric, &why));
    assert_ok(mmq_store_commit(store, &why));
    mmq_metric_clear(&metric);
}

/* A row, in a transaction of which nothing is left to be done but the commit. */
static void append(mmq_store *store)
{
    int64_t timestamp = 5, rowid = 0;
    double value = 7, none = NAN;
    mmq_write_rows rows = {1, &timestamp, &rowid, &value, &none, &none};
    mmq_appended appended;
    mmq_metric_head head;
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(mmq_store_append(store, "u", 0, &rows, &appended, &why));
    assert_ok(mmq_store_find(store, "u", &head, &why)); /* an answer: all before it was done */
}

/* ---- a connection that is cut ------------------------------------------------------------ */

enum { STEADY = 30 }; /* looks, after which nothing more is expected to be sent */

typedef struct cut {
    pthread_t thread;
    int fd;
    pid_t backend;
    bool reads; /* the server's process has read what was sent */
} cut;

/* Bytes that were sent and that the other side has not read. */
static int unread(int fd)
{
    int bytes = 0;
    assert_int_equal(ioctl(fd, SIOCOUTQ, &bytes), 0);
    return bytes;
}

static void *cut_when_sent(void *context)
{
    cut *of = context;
    const int64_t end_ns = mmq_now_ns() + 20 * MMQ_NS_PER_S;
    int sent = 0;
    for (int same = 0; same < STEADY && mmq_now_ns() < end_ns;) { /* it goes out in pieces */
        (void)poll(NULL, 0, 1);
        const int now = unread(of->fd);
        same = now > 0 && now == sent ? same + 1 : 0;
        sent = now;
    }
    if (of->reads) {
        (void)kill(of->backend, SIGCONT);
    }
    while (of->reads && unread(of->fd) > 0 && mmq_now_ns() < end_ns) {
        (void)poll(NULL, 0, 1);
    }
    (void)shutdown(of->fd, SHUT_RDWR);
    return NULL;
}

/* The connection is cut when the commit is sent and nothing of it has been done. */
static void begin_cut(cut *of, const mmq_store *store, bool reads)
{
    PGconn *connection = mmq_postgres_of(store)->link->connection;
    *of = (cut){.fd = PQsocket(connection), .backend = PQbackendPID(connection), .reads = reads};
    const int64_t end_ns = mmq_now_ns() + 20 * MMQ_NS_PER_S;
    while (unread(of->fd) > 0 && mmq_now_ns() < end_ns) {
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(kill(of->backend, SIGSTOP), 0);
    assert_int_equal(pthread_create(&of->thread, NULL, cut_when_sent, of), 0);
}

static void end_cut(cut *of, mmq_pg_link *link)
{
    const int64_t end_ns = mmq_now_ns() + 20 * MMQ_NS_PER_S;
    assert_int_equal(pthread_join(of->thread, NULL), 0);
    (void)kill(of->backend, SIGCONT);
    while (ask(link, IS_ALIVE, of->backend) > 0) {
        assert_true(mmq_now_ns() < end_ns);
    }
}

/* ---- tests ------------------------------------------------------------------------------- */

/* The server's process comes to the commit long after we have asked what became of it. */
static void not_done_stays_not_done(void **state)
{
    (void)state;
    mmq_pg_link *link;
    cut connection;
    assert_ok(mmq_pg_open(
        &(mmq_pg_options){.url = pg_url, .statements = statements, .statement_count = 2}, &link,
        &why));
    mmq_store *store = open_writer();
    create(store);
    for (int64_t rows = 0; rows < 3; rows++) {
        append(store);
        begin_cut(&connection, store, false);
        assert_int_equal(mmq_store_commit(store, &why), MMQ_EUNAVAILABLE);
        end_cut(&connection, link);
        assert_int_equal(ask(link, ROWS, 0), rows);
        append(store);
        assert_ok(mmq_store_commit(store, &why));
        assert_int_equal(ask(link, ROWS, 0), rows + 1);
    }
    mmq_store_close(&store);
    mmq_pg_close(&link);
}

/* It has read the commit when the connection is cut: whatever it makes of it is said. */
static void what_is_said_is_so(void **state)
{
    (void)state;
    mmq_pg_link *link;
    cut connection;
    int64_t rows = 0;
    assert_ok(mmq_pg_open(
        &(mmq_pg_options){.url = pg_url, .statements = statements, .statement_count = 2}, &link,
        &why));
    mmq_store *store = open_writer();
    create(store);
    for (int i = 0; i < 20; i++) {
        append(store);
        begin_cut(&connection, store, true);
        const mmq_err err = mmq_store_commit(store, &why);
        assert_true(err == MMQ_OK || err == MMQ_EUNAVAILABLE);
        rows += err == MMQ_OK ? 1 : 0;
        end_cut(&connection, link);
        assert_int_equal(ask(link, ROWS, 0), rows);
    }
    print_message("%d of 20 were done\n", (int)rows);
    mmq_store_close(&store);
    mmq_pg_close(&link);
}

static int begin(void **state)
{
    (void)state;
    pg_world_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    pg_world_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(not_done_stays_not_done, begin, end),
        cmocka_unit_test_setup_teardown(what_is_said_is_so, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
