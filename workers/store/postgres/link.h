/* A connection to PostgreSQL, for one thread.
 *
 * Statements are numbered, prepared when they are first used, and queued; one flush sends them, and
 * their results come in the order in which they were queued, row by row, so that neither many rows
 * nor a hostile server fill memory (but one row may be as large as it likes, up to 1 GiB). A round
 * trip is therefore as many statements as one likes:
 *
 *     mmq_pg_values values = {0};
 *     mmq_pg_bind_int(&values, 1, key);
 *     err = mmq_pg_queue(link, Q_HEADS, &values, why);        any number of these
 *     while ((err = mmq_pg_step(link, &row, why)) == MMQ_OK && row) {
 *         ... mmq_pg_column_int(mmq_pg_row_at(link), 0, 1, INT64_MAX, &number) ...
 *     }
 *
 * Invariants
 *  - Every wait has a bound. What passes it is a lost connection.
 *  - After an error nothing is queued any more: what was behind the statement that failed was not
 *    run by the server (it skips to the end of what was sent together), or its results were
 * dropped. A transaction that was open is failed, and can only be rolled back.
 *  - A lost connection is closed at once. Nothing is sent again by itself: the transaction is gone,
 *    whether a commit was done is not known. mmq_pg_connect makes the next connection.
 *  - A connection is one only when the server was found to be fit: its encoding UTF-8, commits that
 *    wait for the disk.
 *
 * Errors, beside those of each function: MMQ_EUNAVAILABLE (no connection, or it is lost: see
 * mmq_pg_connected), MMQ_EBUSY (locks, deadlocks, serialization, statements that took too long: the
 * transaction may be tried again), MMQ_ENOSPC, MMQ_ENOMEM, MMQ_EIO, MMQ_ECORRUPT (not a store of
 * ours). Sentences hold no passwords. */
#ifndef MMQ_POSTGRES_LINK_H
#define MMQ_POSTGRES_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "workers/store/postgres/values.h"

enum {
    MMQ_PG_QUEUED_MAX = 256,  /* statements whose results were not read to their end */
    MMQ_PG_SPARE_ROWS = 4096, /* that are read only to be dropped; beyond it the connection is */
};

typedef struct mmq_pg_link mmq_pg_link;

/* A statement with its parameters $1, $2, ... */
typedef struct mmq_pg_statement {
    const char *text;
    const char *types; /* a letter a parameter: i bigint, f double precision, t text, b bytea */
} mmq_pg_statement;

/* Times of 0 stand for the default. */
typedef struct mmq_pg_options {
    const char *url;                    /* see url.h; copied */
    const mmq_pg_statement *statements; /* borrowed for the link's life; indexed by their numbers */
    size_t statement_count;
    const char *schema;      /* in which the tables are looked for; borrowed for the link's life */
    bool writes;             /* only a server that takes writes will do */
    unsigned connect_ms;     /* 5,000: for all hosts together. Names are looked up before, unbounded
                              * but for the resolver's own bounds. */
    unsigned statement_ms;   /* 30,000: the server breaks off a statement (MMQ_EBUSY) */
    unsigned lock_ms;        /* 5,000: the server breaks off a wait for a lock (MMQ_EBUSY) */
    unsigned idle_ms;        /* 60,000: the server breaks off a transaction that does nothing */
    unsigned answer_ms;      /* statement_ms + 5,000: a server that is silent for so long is lost */
    unsigned backoff_ms;     /* 50: before the second try; doubles */
    unsigned backoff_max_ms; /* 2,000 */
    unsigned seek_ms;        /* 30,000: between two looks for a standby of who prefers one */
} mmq_pg_options;

/* What the server is. */
typedef struct mmq_pg_server {
    int64_t version; /* 150018: 15.18 */
    bool standby;    /* when the connection was made: it may have been promoted since */
    bool careless;   /* its fsync is off: what is committed is lost when its machine goes down */
} mmq_pg_server;

/* Checks the URL; connects to nothing. MMQ_EINVAL, MMQ_ENOMEM. Caller owns the result. */
mmq_err mmq_pg_open(const mmq_pg_options *options, mmq_pg_link **out, mmq_why *why) MMQ_MUST_USE;
/* Sets answer_ms; never beyond what it was. */
void mmq_pg_hurry(mmq_pg_link *link, unsigned answer_ms);
/* NULL is nothing. */
void mmq_pg_close(mmq_pg_link **link);

/* Sees to it that there is a connection: looks whether the server has hung up since, leaves a
 * primary when a standby is there again and preferred, and if there is none makes one, within
 * connect_ms; after a failure not before the backoff has passed (fails at once). Nothing may be
 * queued. MMQ_EUNAVAILABLE. */
mmq_err mmq_pg_connect(mmq_pg_link *link, mmq_why *why) MMQ_MUST_USE;
bool mmq_pg_connected(const mmq_pg_link *link);
/* Serial number of the connection, from 1 on: another one knows nothing of what this one has begun.
 */
uint64_t mmq_pg_connection(const mmq_pg_link *link);
/* When to try again, on the monotonic clock; 0: at once. */
int64_t mmq_pg_retry_ns(const mmq_pg_link *link);
/* Of the connection that is there, or was last. */
const mmq_pg_server *mmq_pg_server_of(const mmq_pg_link *link);
/* For logs: the URL without user and password. */
const char *mmq_pg_shown(const mmq_pg_link *link);
/* Closes the connection without a word: the server rolls back. */
void mmq_pg_drop(mmq_pg_link *link);

/* Queues a statement; NULL stands for no parameters. Values were copied when it returns. */
mmq_err mmq_pg_queue(mmq_pg_link *link, unsigned statement, const mmq_pg_values *values,
                     mmq_why *why) MMQ_MUST_USE;
/* Sends what is queued without waiting for results, so that the server works on while we do
 * something else. mmq_pg_step does it by itself. */
mmq_err mmq_pg_send(mmq_pg_link *link, mmq_why *why) MMQ_MUST_USE;
/* The next row of the statement that was queued first; *row false: it is at its end, and the next
 * call is about the next statement. Something must be queued. */
mmq_err mmq_pg_step(mmq_pg_link *link, bool *row, mmq_why *why) MMQ_MUST_USE;
/* How many statements are queued whose end mmq_pg_step has not told yet. */
size_t mmq_pg_queued(const mmq_pg_link *link);
/* The row that was stepped to, until the next step. */
const mmq_pg_row *mmq_pg_row_at(const mmq_pg_link *link);
/* The same, for the caller to keep (mmq_pg_row_free). */
mmq_pg_row *mmq_pg_row_take(mmq_pg_link *link);
/* How many rows the statement that ended last has returned or changed. */
int64_t mmq_pg_changes(const mmq_pg_link *link);
/* How many rows all statements have changed, whose ends were read. */
int64_t mmq_pg_total_changes(const mmq_pg_link *link);
/* Reads all results to their end and drops them. */
mmq_err mmq_pg_finish(mmq_pg_link *link, mmq_why *why) MMQ_MUST_USE;
/* One statement that gives no row that is wanted: queued, sent, finished, and all before it too. */
mmq_err mmq_pg_run(mmq_pg_link *link, unsigned statement, const mmq_pg_values *values,
                   mmq_why *why) MMQ_MUST_USE;
/* The next text that the server has told us of a channel that we listen to (LISTEN), without
 * waiting; cut off at size - 1 bytes. Looks for new ones when nothing is queued. False: there is
 * none, or no connection. */
bool mmq_pg_heard(mmq_pg_link *link, char *text, size_t size);
/* Runs statements without parameters, parted by semicolons, as one transaction unless they say
 * otherwise: what makes tables. Nothing may be queued. */
mmq_err mmq_pg_script(mmq_pg_link *link, const char *text, mmq_why *why) MMQ_MUST_USE;

#endif
