/* How a connection comes to be, is given up, and is tried again.
 *
 * Each host is tried by itself and has its share of the time that is left, so that one that is
 * silent leaves time for the others; the first is chosen at random, so that many workers spread
 * over standbys. prefer-standby is therefore ours: all hosts as standbys, then all as they come. A
 * writer takes nothing but a server that takes writes, whatever the URL wants for readers.
 *
 * Then the session is told its bounds, and the server is looked at: it must be one on which
 * "committed" means on disk. libpq makes no pipeline of that by itself: the statements are two of
 * the link's own, behind those it was opened with. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backoff.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/digest.h"
#include "workers/store/postgres/link_parts.h"
#include "workers/store/postgres/verdict.h"

enum {
    VERSION_MIN = 130000,
    NEWS_MAX = 1024, /* reads of 16 KiB and more from a connection that was idle: what other writers
                      * tell of an idle one's second is far less */
};

#define SEEK_NS (250 * MMQ_NS_PER_MS) /* that a reader has for a look at a host */

/* ---- waiting -------------------------------------------------------------------------------- */

mmq_err mmq_pg_wait(PGconn *connection, bool writing, int64_t deadline_ns, mmq_why *why)
{
    struct pollfd waiting = {.fd = PQsocket(connection),
                             .events = (short)(writing ? POLLIN | POLLOUT : POLLIN)};
    for (;;) {
        int64_t left_ns = deadline_ns - mmq_now_ns();
        int64_t left_ms = left_ns > 0 ? (left_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS : 0;
        int ready = poll(&waiting, 1, left_ms < INT32_MAX ? (int)left_ms : INT32_MAX);
        if (ready > 0) {
            return MMQ_OK;
        }
        if (ready < 0 && errno != EINTR) {
            return mmq_fail(why, MMQ_EIO, "PostgreSQL: poll: %s", strerror(errno));
        }
        if (ready == 0 && left_ns <= 0) {
            return mmq_fail(why, MMQ_ETIMEOUT, "PostgreSQL: no answer in time");
        }
    }
}

/* ---- giving up ------------------------------------------------------------------------------ */

void mmq_pg_drop(mmq_pg_link *link)
{
    mmq_pg_row_free(&link->row);
    PQfinish(link->connection);
    link->connection = NULL;
    link->owed_first = link->owed_count = link->queued = 0;
    link->unsent = link->asked = false;
    memset(link->prepared, 0,
           (link->options.statement_count + MMQ_PG_OWN) * sizeof *link->prepared);
}

mmq_err mmq_pg_lose(mmq_pg_link *link, mmq_why *why)
{
    mmq_err err = mmq_pg_verdict(NULL, PQerrorMessage(link->connection), why);
    mmq_pg_drop(link);
    return err;
}

mmq_err mmq_pg_distrust(mmq_pg_link *link, const char *what, mmq_why *why)
{
    mmq_pg_drop(link);
    return mmq_fail(why, MMQ_EUNAVAILABLE, "%s: the server %s: the connection is given up",
                    mmq_pg_url_shown(link->url), what);
}

/* ---- the session ---------------------------------------------------------------------------- */

/* Behind the statements of the options. The second sets what is of use but not in every server:
 * each statement of ours goes by a key, so that a plan that is right for all values is, and a plan
 * made when a table was empty is still right when it is large. */
const mmq_pg_statement mmq_pg_own[MMQ_PG_OWN] = {
    {"SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false),"
     " set_config('idle_in_transaction_session_timeout', $3, false),"
     " set_config('client_min_messages', 'error', false), set_config('search_path', $4, false)",
     "tttt"},
    {"SELECT set_config(s.name, v.value, false) FROM pg_catalog.pg_settings s JOIN (VALUES"
     " ('jit', 'off'), ('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', 'off'),"
     " ('enable_bitmapscan', 'off'), ('enable_sort', 'off'),"
     " ('client_connection_check_interval', '5s')) AS v (name, value) ON s.name = v.name",
     ""},
    {"SELECT current_setting('server_version_num')::bigint,"
     " CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END::bigint, current_setting('server_encoding'),"
     " current_setting('synchronous_commit'), coalesce(current_setting('fsync', true), 'on')",
     ""},
};

static bool is_text(const mmq_pg_row *row, int column, const char *wanted)
{
    size_t size;
    const char *text = mmq_pg_column_text(row, column, &size);
    return text != NULL && strcmp(text, wanted) == 0;
}

static mmq_err judge_server(mmq_pg_link *link, mmq_why *why)
{
    const mmq_pg_row *row = mmq_pg_row_at(link);
    int64_t standby;
    size_t size;
    if (!mmq_pg_column_int(row, 0, 1, INT32_MAX, &link->server.version) ||
        !mmq_pg_column_int(row, 1, 0, 1, &standby) || mmq_pg_column_text(row, 2, &size) == NULL ||
        mmq_pg_column_text(row, 3, &size) == NULL || mmq_pg_column_text(row, 4, &size) == NULL) {
        return mmq_pg_distrust(link, "does not say what it is", why);
    }
    link->server.standby = standby == 1;
    link->server.careless = !is_text(row, 4, "on");
    if (link->server.version < VERSION_MIN) {
        return mmq_pg_distrust(link, "is older than PostgreSQL 13", why);
    }
    if (!is_text(row, 2, "UTF8")) {
        return mmq_pg_distrust(
            link, "keeps texts in another encoding than UTF8: make the database with that one",
            why);
    }
    if (is_text(row, 3, "off")) {
        return mmq_pg_distrust(
            link, "has synchronous_commit=off and would lose what was acknowledged: set it to on",
            why);
    }
    return MMQ_OK;
}

static mmq_err ask_server(mmq_pg_link *link, mmq_why *why)
{
    bool row = false;
    mmq_err err;
    while ((err = mmq_pg_step(link, &row, why)) == MMQ_OK && mmq_pg_queued(link) > 0) {
        if (row && mmq_pg_queued(link) == 1 && (err = judge_server(link, why)) != MMQ_OK) {
            return err;
        }
    }
    return err == MMQ_OK && link->server.version == 0
               ? mmq_pg_distrust(link, "does not say what it is", why)
               : err;
}

mmq_err mmq_pg_session_begin(mmq_pg_link *link, mmq_why *why)
{
    const mmq_pg_options *options = &link->options;
    const unsigned times_ms[] = {options->statement_ms, options->lock_ms, options->idle_ms};
    char texts[3][16];
    mmq_pg_values values = {0};
    for (int i = 0; i < 3; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "%u", times_ms[i]);
        mmq_pg_bind_text(&values, i + 1, texts[i]);
    }
    mmq_pg_bind_text(&values, 4, options->schema != NULL ? options->schema : "pg_catalog");
    unsigned own = (unsigned)options->statement_count;
    link->server = (mmq_pg_server){0};
    mmq_err err;
    if ((err = mmq_pg_queue(link, own, &values, why)) == MMQ_OK &&
        (err = mmq_pg_queue(link, own + 1, NULL, why)) == MMQ_OK &&
        (err = mmq_pg_queue(link, own + 2, NULL, why)) == MMQ_OK) {
        err = ask_server(link, why);
    }
    return err;
}

/* ---- connecting ----------------------------------------------------------------------------- */

static void drop_notice(void *context, const PGresult *notice)
{
    (void)context, (void)notice;
}

/* Up to the deadline; MMQ_EUNAVAILABLE. */
static mmq_err shake_hands(PGconn *connection, int64_t deadline_ns, mmq_why *why)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    char text[160];
    while (PQstatus(connection) != CONNECTION_BAD && next != PGRES_POLLING_OK &&
           next != PGRES_POLLING_FAILED) {
        if (mmq_pg_wait(connection, next == PGRES_POLLING_WRITING, deadline_ns, why) != MMQ_OK) {
            return mmq_fail(why, MMQ_EUNAVAILABLE, "it does not answer");
        }
        next = PQconnectPoll(connection);
    }
    if (next == PGRES_POLLING_OK) {
        return MMQ_OK;
    }
    mmq_pg_clean(PQerrorMessage(connection), text, sizeof text);
    return mmq_fail(why, MMQ_EUNAVAILABLE, "%s", text);
}

/* Makes the connection to one host, with its session. */
static mmq_err connect_host(mmq_pg_link *link, size_t host, const char *wanted, int64_t deadline_ns,
                            mmq_why *why)
{
    const char *const *keywords, *const *values;
    mmq_pg_url_parameters(link->url, host, wanted, &keywords, &values);
    PGconn *connection = PQconnectStartParams(keywords, values, 0);
    if (connection == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory left for a connection");
    }
    (void)PQsetNoticeReceiver(connection, drop_notice, NULL);
    mmq_why reason;
    mmq_err err = shake_hands(connection, deadline_ns, &reason);
    if (err == MMQ_OK &&
        (PQsetnonblocking(connection, 1) != 0 || !PQenterPipelineMode(connection))) {
        err = mmq_fail(&reason, MMQ_EUNAVAILABLE, "no pipeline can be made");
    }
    if (err != MMQ_OK) {
        PQfinish(connection);
        return mmq_fail(why, err, "%s: %s", mmq_pg_url_shown(link->url), reason.text);
    }
    link->connection = connection;
    link->serial++;
    int64_t left_ns = deadline_ns - mmq_now_ns();
    link->patience_ns = left_ns > 0 ? left_ns : 0;
    err = mmq_pg_session_begin(link, why);
    link->patience_ns = link->options.answer_ms * MMQ_NS_PER_MS;
    if (err != MMQ_OK) {
        mmq_pg_drop(link);
    }
    return err;
}

static bool prefers_standby(const mmq_pg_link *link)
{
    return !link->options.writes && strcmp(mmq_pg_url_wanted(link->url), "prefer-standby") == 0;
}

static mmq_err connect_any(mmq_pg_link *link, mmq_why *why)
{
    const char *wanted = link->options.writes ? "read-write" : mmq_pg_url_wanted(link->url);
    bool picky = prefers_standby(link);
    size_t hosts = mmq_pg_url_hosts(link->url), tries = picky ? 2 * hosts : hosts;
    uint32_t random;
    CHECK(hosts > 0);
    mmq_random(&random, sizeof random);
    int64_t deadline_ns = mmq_now_ns() + link->options.connect_ms * MMQ_NS_PER_MS;
    mmq_err err = MMQ_EUNAVAILABLE;
    for (size_t i = 0; i < tries && err != MMQ_OK; i++) {
        int64_t now_ns = mmq_now_ns(), share_ns = (deadline_ns - now_ns) / (int64_t)(tries - i);
        const char *as = !picky ? wanted : i < hosts ? "standby" : "any";
        err = connect_host(link, (random + i) % hosts, as, now_ns + share_ns, why);
    }
    return err;
}

void mmq_pg_look(mmq_pg_link *link)
{
    for (int i = 0; i < NEWS_MAX && link->connection != NULL; i++) {
        struct pollfd news = {.fd = PQsocket(link->connection), .events = POLLIN};
        if (poll(&news, 1, 0) == 0) {
            return;
        }
        if (PQconsumeInput(link->connection) == 0 || PQisBusy(link->connection) != 0 ||
            PQstatus(link->connection) == CONNECTION_BAD) {
            break;
        }
    }
    mmq_pg_drop(link); /* that, or it does not stop talking */
}

/* Is the host a standby that lets us in? */
static bool is_standby(mmq_pg_link *link, size_t host)
{
    const char *const *keywords, *const *values;
    mmq_why why;
    mmq_pg_url_parameters(link->url, host, "standby", &keywords, &values);
    PGconn *connection = PQconnectStartParams(keywords, values, 0);
    if (connection == NULL) {
        return false;
    }
    (void)PQsetNoticeReceiver(connection, drop_notice, NULL);
    bool is = shake_hands(connection, mmq_now_ns() + SEEK_NS, &why) == MMQ_OK;
    PQfinish(connection);
    return is;
}

/* A reader that prefers a standby and has none, because it was away, looks now and then whether it
 * is there again: the primary would have all readers for ever. Then it leaves the primary. */
static void look_for_standby(mmq_pg_link *link)
{
    if (link->server.standby || !prefers_standby(link) || mmq_now_ns() < link->seek_ns) {
        return;
    }
    link->seek_ns = mmq_now_ns() + link->options.seek_ms * MMQ_NS_PER_MS;
    for (size_t i = 0; i < mmq_pg_url_hosts(link->url); i++) {
        if (is_standby(link, i)) {
            mmq_pg_drop(link);
            return;
        }
    }
}

mmq_err mmq_pg_connect(mmq_pg_link *link, mmq_why *why)
{
    CHECK(link->queued == 0);
    if (link->connection != NULL) {
        mmq_pg_look(link);
    }
    if (link->connection != NULL) {
        look_for_standby(link);
    }
    if (link->connection != NULL) {
        return MMQ_OK;
    }
    int64_t left_ns = link->retry_ns - mmq_now_ns();
    if (left_ns > 0) {
        return mmq_fail(why, MMQ_EUNAVAILABLE, "%.200s (the next try is in %lld ms)",
                        link->reason.text, (long long)(left_ns / MMQ_NS_PER_MS + 1));
    }
    mmq_err err = connect_any(link, why);
    if (err == MMQ_OK) {
        link->failures = 0;
        link->retry_ns = 0;
        link->seek_ns = mmq_now_ns() + link->options.seek_ms * MMQ_NS_PER_MS;
        return MMQ_OK;
    }
    link->reason = *why;
    link->retry_ns = mmq_now_ns() + mmq_backoff_ns(link->failures++, link->options.backoff_ms,
                                                   link->options.backoff_max_ms);
    return err;
}
