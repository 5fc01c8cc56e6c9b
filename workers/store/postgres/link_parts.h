/* Inside the connection: shared by connect.c, which makes it, and link.c, which uses it. */
#ifndef MMQ_POSTGRES_LINK_PARTS_H
#define MMQ_POSTGRES_LINK_PARTS_H

#include <libpq-fe.h>

#include "workers/store/postgres/link.h"
#include "workers/store/postgres/url.h"

typedef enum mmq_pg_kind {
    MMQ_PG_PREPARE,
    MMQ_PG_EXECUTE,
    MMQ_PG_SYNC, /* the end of what was sent together */
} mmq_pg_kind;

/* What the server owes us an answer to. */
typedef struct mmq_pg_owed {
    mmq_pg_kind kind;
    unsigned statement;
} mmq_pg_owed;

enum {
    MMQ_PG_OWED_MAX = 3 * MMQ_PG_QUEUED_MAX, /* each statement prepared and sent alone */
    MMQ_PG_OWN = 3,
};

/* The link's own statements (connect.c), whose numbers follow those of the options. */
extern const mmq_pg_statement mmq_pg_own[MMQ_PG_OWN];

struct mmq_pg_link {
    mmq_pg_options options; /* no time is 0; url is url's */
    mmq_pg_url *url;
    mmq_pg_server server;
    PGconn *connection;  /* NULL: there is none */
    uint64_t serial;     /* of the connection */
    unsigned failures;   /* tries in a row without a connection */
    int64_t retry_ns;    /* connection NULL: not before */
    int64_t seek_ns;     /* a standby is not looked for before */
    mmq_why reason;      /* for the last of them */
    int64_t patience_ns; /* how long an answer is waited for */
    bool *prepared;      /* by number */

    mmq_pg_owed owed[MMQ_PG_OWED_MAX]; /* a ring */
    size_t owed_first, owed_count;
    size_t queued; /* statements among them */
    bool unsent;   /* something is behind the last sync */
    bool asked;    /* the first that is owed is being answered */
    mmq_pg_row *row;
    int64_t changes, total_changes;
};

/* Waits until libpq wants to read (or write, if `writing`), up to the deadline. MMQ_ETIMEOUT. */
mmq_err mmq_pg_wait(PGconn *connection, bool writing, int64_t deadline_ns,
                    mmq_why *why) MMQ_MUST_USE;
/* The next result of libpq's, NULL if there is none; waits for as long as link->patience_ns. A
 * failure has lost the connection. */
mmq_err mmq_pg_result_next(mmq_pg_link *link, PGresult **out, mmq_why *why) MMQ_MUST_USE;
/* Reads what the server says unasked, without waiting. One that hangs up has lost the connection.
 */
void mmq_pg_look(mmq_pg_link *link);
/* The connection is lost: closes it, and says why as libpq sees it. MMQ_EUNAVAILABLE. */
mmq_err mmq_pg_lose(mmq_pg_link *link, mmq_why *why) MMQ_MUST_USE;
/* The server did what no server does: the connection is closed. MMQ_EUNAVAILABLE. */
mmq_err mmq_pg_distrust(mmq_pg_link *link, const char *what, mmq_why *why) MMQ_MUST_USE;
/* Makes the session of a new connection, and looks at what the server is. */
mmq_err mmq_pg_session_begin(mmq_pg_link *link, mmq_why *why) MMQ_MUST_USE;

#endif
