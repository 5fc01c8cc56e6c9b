/* Statements and their results, over a connection that is always in libpq's pipeline mode.
 *
 * What the server owes is in a ring, in the order in which it was sent: for each statement the
 * answer to its preparing, if it was not prepared, and that to its execution; a sync at each flush.
 * libpq answers with results that a NULL parts, but for those of syncs. Rows come one by one
 * ("single row mode", which is chosen when the first of them is due).
 *
 * After an error the server skips to the next sync. All that is owed is then read and dropped, so
 * that the connection is at rest again; if that takes too long the connection is given up. */
#include "workers/store/postgres/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "workers/store/postgres/link_parts.h"
#include "workers/store/postgres/types.h"
#include "workers/store/postgres/verdict.h"

enum {
    NAME_MAX_BYTES = 16,
    TLS_READS = 3, /* libpq has room for 8 KiB at least; a record holds 16 KiB at most */
};

static const int binary[MMQ_PG_VALUES_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                              1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* ---- opening -------------------------------------------------------------------------------- */

static void set_default(unsigned *time_ms, unsigned value)
{
    if (*time_ms == 0) {
        *time_ms = value;
    }
}

static void set_defaults(mmq_pg_options *options)
{
    set_default(&options->connect_ms, 5000);
    set_default(&options->statement_ms, 30000);
    set_default(&options->lock_ms, 5000);
    set_default(&options->idle_ms, 60000);
    set_default(&options->answer_ms, options->statement_ms + 5000);
    set_default(&options->backoff_ms, 50);
    set_default(&options->backoff_max_ms, 2000);
    set_default(&options->seek_ms, 30000);
}

void mmq_pg_hurry(mmq_pg_link *link, unsigned answer_ms)
{
    if (answer_ms < link->options.answer_ms) {
        link->options.answer_ms = answer_ms;
        link->patience_ns = answer_ms * MMQ_NS_PER_MS;
    }
}

mmq_err mmq_pg_open(const mmq_pg_options *options, mmq_pg_link **out, mmq_why *why)
{
    *out = NULL;
    mmq_pg_link *link = calloc(1, sizeof *link);
    if (link == NULL || (link->prepared = calloc(options->statement_count + MMQ_PG_OWN,
                                                 sizeof *link->prepared)) == NULL) {
        free(link);
        return mmq_fail(why, MMQ_ENOMEM, "no memory left for a connection");
    }
    link->options = *options;
    link->options.url = NULL;
    set_defaults(&link->options);
    link->patience_ns = link->options.answer_ms * MMQ_NS_PER_MS;
    mmq_err err = mmq_pg_url_parse(options->url, &link->url, why);
    if (err != MMQ_OK) {
        mmq_pg_close(&link);
        return err;
    }
    *out = link;
    return MMQ_OK;
}

void mmq_pg_close(mmq_pg_link **link)
{
    if (*link == NULL) {
        return;
    }
    mmq_pg_drop(*link);
    mmq_pg_url_free(&(*link)->url);
    free((*link)->prepared);
    free(*link);
    *link = NULL;
}

bool mmq_pg_connected(const mmq_pg_link *link)
{
    return link->connection != NULL;
}

uint64_t mmq_pg_connection(const mmq_pg_link *link)
{
    return link->serial;
}

int64_t mmq_pg_retry_ns(const mmq_pg_link *link)
{
    return link->retry_ns;
}

const mmq_pg_server *mmq_pg_server_of(const mmq_pg_link *link)
{
    return &link->server;
}

const char *mmq_pg_shown(const mmq_pg_link *link)
{
    return mmq_pg_url_shown(link->url);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void owe(mmq_pg_link *link, mmq_pg_kind kind, unsigned statement)
{
    CHECK(link->owed_count < MMQ_PG_OWED_MAX);
    size_t at = (link->owed_first + link->owed_count++) % MMQ_PG_OWED_MAX;
    link->owed[at] = (mmq_pg_owed){kind, statement};
    link->unsent = kind != MMQ_PG_SYNC;
}

static mmq_pg_owed *first_owed(mmq_pg_link *link)
{
    CHECK(link->owed_count > 0);
    return &link->owed[link->owed_first];
}

static void pay(mmq_pg_link *link)
{
    link->queued -= link->owed[link->owed_first].kind == MMQ_PG_EXECUTE;
    link->owed_first = (link->owed_first + 1) % MMQ_PG_OWED_MAX;
    link->owed_count--;
    link->asked = false;
}

static const mmq_pg_statement *statement_of(const mmq_pg_link *link, unsigned number)
{
    size_t count = link->options.statement_count;
    CHECK(number < count + MMQ_PG_OWN);
    return number < count ? &link->options.statements[number] : &mmq_pg_own[number - count];
}

static Oid type_of(char letter)
{
    switch (letter) {
    case 'i':
        return MMQ_PG_BIGINT;
    case 'f':
        return MMQ_PG_DOUBLE;
    case 't':
        return MMQ_PG_TEXT;
    default:
        CHECK(letter == 'b');
        return MMQ_PG_BYTEA;
    }
}

static bool send_prepare(mmq_pg_link *link, unsigned number, const char *name, int count)
{
    const mmq_pg_statement *statement = statement_of(link, number);
    Oid types[MMQ_PG_VALUES_MAX];
    for (int i = 0; i < count; i++) {
        types[i] = type_of(statement->types[i]);
    }
    if (PQsendPrepare(link->connection, name, statement->text, count, types) == 0) {
        return false;
    }
    owe(link, MMQ_PG_PREPARE, number);
    /* not again behind it; if it fails, what is behind it fails too, and this is taken back */
    link->prepared[number] = true;
    return true;
}

mmq_err mmq_pg_queue(mmq_pg_link *link, unsigned number, const mmq_pg_values *values, mmq_why *why)
{
    CHECK(link->queued < MMQ_PG_QUEUED_MAX);
    if (link->connection == NULL) {
        return mmq_fail(why, MMQ_EUNAVAILABLE, "%s: the connection is lost",
                        mmq_pg_url_shown(link->url));
    }
    static const mmq_pg_values none = {0};
    values = values != NULL ? values : &none;
    int count = (int)strlen(statement_of(link, number)->types);
    CHECK(count <= MMQ_PG_VALUES_MAX);
    char name[NAME_MAX_BYTES];
    (void)snprintf(name, sizeof name, "s%u", number);
    if ((!link->prepared[number] && !send_prepare(link, number, name, count)) ||
        PQsendQueryPrepared(link->connection, name, count, values->at, values->sizes, binary, 1) ==
            0) {
        return mmq_pg_lose(link, why);
    }
    owe(link, MMQ_PG_EXECUTE, number);
    link->queued++;
    return MMQ_OK;
}

mmq_err mmq_pg_send(mmq_pg_link *link, mmq_why *why)
{
    if (link->connection == NULL) {
        return mmq_fail(why, MMQ_EUNAVAILABLE, "%s: the connection is lost",
                        mmq_pg_url_shown(link->url));
    }
    if (!link->unsent) {
        return MMQ_OK;
    }
    if (PQpipelineSync(link->connection) == 0) {
        return mmq_pg_lose(link, why);
    }
    owe(link, MMQ_PG_SYNC, 0);
    return MMQ_OK;
}

/* ---- results -------------------------------------------------------------------------------- */

/* Takes what has come. Under TLS a record may be larger than the room that libpq had for it: then
 * the rest is not in the socket any more, which would be waited for in vain, but in the library. */
static bool take_input(PGconn *connection)
{
    int reads = PQsslInUse(connection) ? TLS_READS : 1;
    while (reads-- > 0) {
        if (PQconsumeInput(connection) == 0) {
            return false;
        }
    }
    return true;
}

mmq_err mmq_pg_result_next(mmq_pg_link *link, PGresult **out, mmq_why *why)
{
    int64_t deadline_ns = 0; /* not looked at the clock yet: often the result is there */
    *out = NULL;
    while (PQisBusy(link->connection)) {
        int flushed = PQflush(link->connection);
        deadline_ns = deadline_ns != 0 ? deadline_ns : mmq_now_ns() + link->patience_ns;
        if (flushed < 0) {
            return mmq_pg_lose(link, why);
        }
        mmq_err err = mmq_pg_wait(link->connection, flushed > 0, deadline_ns, why);
        if (err != MMQ_OK) {
            return mmq_pg_distrust(link, "does not answer", why);
        }
        if (!take_input(link->connection)) {
            return mmq_pg_lose(link, why);
        }
    }
    *out = PQgetResult(link->connection);
    return MMQ_OK;
}

/* Reads what is still to come for the first that is owed, and drops it: rows up to `spare`. */
static mmq_err drop_owed(mmq_pg_link *link, int *spare, mmq_why *why)
{
    bool sync = first_owed(link)->kind == MMQ_PG_SYNC;
    for (;;) {
        PGresult *result;
        (void)PQsetSingleRowMode(link->connection); /* in vain when it has begun, or is skipped */
        mmq_err err = mmq_pg_result_next(link, &result, why);
        if (err != MMQ_OK) {
            return err;
        }
        ExecStatusType status = PQresultStatus(result);
        bool end = result == NULL || status == PGRES_PIPELINE_SYNC;
        *spare -= result != NULL && (status == PGRES_SINGLE_TUPLE || status == PGRES_FATAL_ERROR);
        PQclear(result);
        if (PQstatus(link->connection) == CONNECTION_BAD) {
            return mmq_pg_lose(link, why);
        }
        if (*spare < 0 || (end && sync != (result != NULL))) {
            return mmq_pg_distrust(link, "sends what nobody asked for", why);
        }
        if (end) {
            pay(link);
            return MMQ_OK;
        }
    }
}

/* After a failure: the connection is at rest afterwards, or given up. What was to be prepared is
 * prepared again, unless it surely was. */
static void drop_all(mmq_pg_link *link)
{
    mmq_why ignored;
    int spare = MMQ_PG_SPARE_ROWS;
    int64_t deadline_ns = mmq_now_ns() + link->patience_ns;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && link->owed_count > 0) {
        const mmq_pg_owed *first = first_owed(link);
        if (first->kind == MMQ_PG_PREPARE) {
            link->prepared[first->statement] = false;
        }
        err = drop_owed(link, &spare, &ignored);
        if (err == MMQ_OK && mmq_now_ns() > deadline_ns && link->owed_count > 0) {
            mmq_pg_drop(link);
        }
    }
}

/* The server says that something failed. */
static mmq_err fail_owed(mmq_pg_link *link, PGresult *result, mmq_why *why)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE),
               *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
               *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    text = text != NULL ? text : PQresultErrorMessage(result);
    mmq_err err = mmq_pg_verdict(state, text, why);
    /* of its kind no other statement will do better on this connection; 25006: a writer's, whose
     * server takes no writes any more */
    bool useless = state == NULL || strcmp(state, "26000") == 0 || strcmp(state, "0A000") == 0 ||
                   strcmp(state, "25006") == 0 ||
                   (severity != NULL && strcmp(severity, "ERROR") != 0) ||
                   PQstatus(link->connection) == CONNECTION_BAD;
    PQclear(result);
    if (useless) {
        mmq_pg_drop(link);
    } else {
        drop_all(link);
    }
    return err;
}

/* Takes a result that is no row: the end of the first that is owed, or its failure. */
static mmq_err end_owed(mmq_pg_link *link, PGresult *result, mmq_why *why)
{
    mmq_pg_kind kind = first_owed(link)->kind;
    ExecStatusType status = PQresultStatus(result);
    if (result != NULL && status == PGRES_FATAL_ERROR) {
        return fail_owed(link, result, why);
    }
    bool right = result != NULL && (kind == MMQ_PG_SYNC ? status == PGRES_PIPELINE_SYNC
                                    : kind == MMQ_PG_PREPARE
                                        ? status == PGRES_COMMAND_OK
                                        : status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
    if (right && kind == MMQ_PG_EXECUTE) {
        link->changes = strtoll(PQcmdTuples(result), NULL, 10); /* "": 0 */
        link->total_changes += status == PGRES_COMMAND_OK ? link->changes : 0;
    }
    PQclear(result);
    if (!right) {
        return mmq_pg_distrust(link, "answers out of order", why);
    }
    if (kind != MMQ_PG_SYNC) {
        int spare = 0;
        return drop_owed(link, &spare, why);
    }
    pay(link);
    return MMQ_OK;
}

/* The next result of the first that is owed: a row, or its end. */
static mmq_err take_owed(mmq_pg_link *link, bool *row, mmq_why *why)
{
    PGresult *result;
    *row = false;
    if (!link->asked && first_owed(link)->kind == MMQ_PG_EXECUTE) {
        CHECK(PQsetSingleRowMode(link->connection) == 1);
    }
    link->asked = true;
    mmq_err err = mmq_pg_result_next(link, &result, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (PQresultStatus(result) == PGRES_SINGLE_TUPLE && first_owed(link)->kind == MMQ_PG_EXECUTE) {
        link->row = result;
        *row = true;
        return MMQ_OK;
    }
    return end_owed(link, result, why);
}

mmq_err mmq_pg_step(mmq_pg_link *link, bool *row, mmq_why *why)
{
    *row = false;
    mmq_pg_row_free(&link->row);
    mmq_err err = mmq_pg_send(link, why);
    if (err != MMQ_OK) {
        return err;
    }
    CHECK(link->queued > 0);
    size_t queued = link->queued;
    while (err == MMQ_OK && !*row && link->queued == queued) {
        err = take_owed(link, row, why);
    }
    /* what comes with the end is taken with it, so that the connection is at rest */
    bool none;
    while (err == MMQ_OK && !*row && link->owed_count > 0 &&
           first_owed(link)->kind == MMQ_PG_SYNC) {
        err = take_owed(link, &none, why);
    }
    return err;
}

size_t mmq_pg_queued(const mmq_pg_link *link)
{
    return link->queued;
}

const mmq_pg_row *mmq_pg_row_at(const mmq_pg_link *link)
{
    CHECK(link->row != NULL);
    return link->row;
}

mmq_pg_row *mmq_pg_row_take(mmq_pg_link *link)
{
    mmq_pg_row *row = link->row;
    CHECK(row != NULL);
    link->row = NULL;
    return row;
}

int64_t mmq_pg_changes(const mmq_pg_link *link)
{
    return link->changes;
}

int64_t mmq_pg_total_changes(const mmq_pg_link *link)
{
    return link->total_changes;
}

mmq_err mmq_pg_finish(mmq_pg_link *link, mmq_why *why)
{
    int spare = MMQ_PG_SPARE_ROWS;
    int64_t deadline_ns = mmq_now_ns() + 2 * link->patience_ns;
    bool row;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && link->queued > 0) {
        err = mmq_pg_step(link, &row, why);
        if (err == MMQ_OK && row && (--spare < 0 || mmq_now_ns() > deadline_ns)) {
            err = mmq_pg_distrust(link, "sends more rows than can be dropped", why);
        }
    }
    return err;
}

mmq_err mmq_pg_run(mmq_pg_link *link, unsigned statement, const mmq_pg_values *values, mmq_why *why)
{
    mmq_err err = mmq_pg_queue(link, statement, values, why);
    return err == MMQ_OK ? mmq_pg_finish(link, why) : err;
}

/* ---- scripts -------------------------------------------------------------------------------- */

/* Results of a simple query, up to the NULL behind the last; the first failure counts. */
static mmq_err read_script(mmq_pg_link *link, mmq_why *why)
{
    mmq_err failed = MMQ_OK;
    for (int left = MMQ_PG_SPARE_ROWS; left > 0; left--) {
        PGresult *result;
        (void)PQsetSingleRowMode(link->connection);
        mmq_err err = mmq_pg_result_next(link, &result, why);
        if (err != MMQ_OK || result == NULL) {
            return err != MMQ_OK ? err : failed;
        }
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_FATAL_ERROR && failed == MMQ_OK) {
            const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
            failed = mmq_pg_verdict(PQresultErrorField(result, PG_DIAG_SQLSTATE),
                                    text != NULL ? text : PQresultErrorMessage(result), why);
        }
        PQclear(result);
        if (PQstatus(link->connection) == CONNECTION_BAD) {
            mmq_pg_drop(link);
            return failed != MMQ_OK ? failed : mmq_fail(why, MMQ_EUNAVAILABLE, "it is lost");
        }
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            break;
        }
    }
    return mmq_pg_distrust(link, "answers without end", why);
}

mmq_err mmq_pg_script(mmq_pg_link *link, const char *text, mmq_why *why)
{
    CHECK(link->owed_count == 0);
    if (link->connection == NULL) {
        return mmq_fail(why, MMQ_EUNAVAILABLE, "%s: the connection is lost",
                        mmq_pg_url_shown(link->url));
    }
    mmq_pg_row_free(&link->row);
    if (PQexitPipelineMode(link->connection) == 0 || PQsendQuery(link->connection, text) == 0) {
        return mmq_pg_lose(link, why);
    }
    mmq_err err = read_script(link, why);
    if (link->connection != NULL && PQenterPipelineMode(link->connection) == 0) {
        return mmq_pg_lose(link, why);
    }
    return err;
}

/* ---- what is told by others ----------------------------------------------------------------- */

bool mmq_pg_heard(mmq_pg_link *link, char *text, size_t size)
{
    if (link->connection == NULL) {
        return false;
    }
    PGnotify *told = PQnotifies(link->connection);
    if (told == NULL && link->queued == 0) {
        mmq_pg_look(link);
        told = link->connection != NULL ? PQnotifies(link->connection) : NULL;
    }
    if (told == NULL) {
        return false;
    }
    (void)snprintf(text, size, "%s", told->extra != NULL ? told->extra : "");
    PQfreemem(told);
    return true;
}
