/* Inside the PostgreSQL engine: its connection, and what its files share. docs/postgres.md has the
 * tables and the rules; link.h is the connection.
 *
 * A statement that gives rows waits for them; one that only writes is queued, and its failure is
 * told by the next that waits, at the latest by the commit. Either way the transaction is lost. */
#ifndef MMQ_STORE_POSTGRES_POSTGRES_H
#define MMQ_STORE_POSTGRES_POSTGRES_H

#include "lib/buffer.h"
#include "workers/store/handle.h"
#include "workers/store/postgres/link.h"

enum {
    MMQ_POSTGRES_VERSION = 1,                  /* of the tables */
    MMQ_POSTGRES_COPY = -MMQ_POSTGRES_VERSION, /* of those of a copy that is not finished */
};

#define MMQ_POSTGRES_SCHEMA "metricmq"

/* Statements that only this engine has; they follow those of mmq_query. */
enum {
    MMQ_P_BEGIN_READ = MMQ_Q_COUNT,
    MMQ_P_BEGIN_WRITE,
    MMQ_P_COMMIT,
    MMQ_P_ROLLBACK,
    MMQ_P_IS_STORE,
    MMQ_P_VERSION,
    MMQ_P_FIND_FREE,   /* as MMQ_Q_FIND_LOCKED, but passes over a metric that somebody has */
    MMQ_P_ALONE,       /* the lock of the row in `store`, and its number */
    MMQ_P_DRAW,        /* the commit's number, under that lock until the commit is done */
    MMQ_P_SET_CHANGED, /* of metrics, a list of keys */
    MMQ_P_ADD_GROWTH,  /* lists of keys and rowids */
    MMQ_P_MAKE_WRITER,
    MMQ_P_SET_WRITER,
    MMQ_P_END_WRITER,  /* whether a transaction of its was done; if not, it cannot be any more */
    MMQ_P_OLD_WRITERS, /* are there any? */
    MMQ_P_DROP_WRITERS,
    MMQ_P_TIDIES,
    MMQ_P_LISTEN,
    MMQ_P_NOTIFY, /* of a commit, what it has changed (news.c) */
    MMQ_P_DATA_KEYS,
    MMQ_P_AHEAD_AT, /* as MMQ_Q_BLOCK_AT, but several, and with their data */
    MMQ_P_AHEAD_AFTER,
    MMQ_P_AHEAD_FROM,
    MMQ_P_EXPECT_AT, /* lists of metrics, timestamps, rowids: the first block of each, which it is
                        of */
    MMQ_P_EXPECT_FROM,
    MMQ_P_IS_STANDBY,
    MMQ_P_ADOPT,
    MMQ_P_SIZE,
    MMQ_P_COUNT,
};

/* A statement: what is bound, and where its rows are. */
typedef struct mmq_pg_prepared {
    mmq_prepared base;
    struct mmq_postgres *postgres;
    unsigned query;
    enum { MMQ_PG_READY, MMQ_PG_FLOWING, MMQ_PG_KEPT } state; /* KEPT: rows lie in `kept` */
    const mmq_pg_row *row; /* the one it is at; NULL: none, or `number` */
    int64_t number;        /* the one column of a row that no server sent */
    mmq_pg_row **kept;
    size_t kept_count, kept_at;
    bool borrows; /* the row is of postgres->ahead, and to be given back */
    mmq_pg_values values;
} mmq_pg_prepared;

/* A metric that the write transaction has changed. */
typedef struct mmq_pg_touched {
    int64_t key;
    int64_t before_rowid; /* how long it was; -1: it did not grow */
} mmq_pg_touched;

enum { MMQ_PG_NEWS_MAX = 160 * 1024 }; /* bytes of what a commit tells of its changes */

enum { MMQ_PG_DATA_KEYS = 64, MMQ_PG_AHEAD_MAX = 32 };

typedef struct mmq_pg_place {
    int64_t timestamp, rowid;
} mmq_pg_place;

/* A run of neighbouring blocks of a metric, read before they were asked for (ahead.c). */
typedef struct mmq_pg_ahead {
    uint64_t transaction;
    int64_t metric;
    mmq_query seek; /* which of the three it answers, for `asked` */
    mmq_pg_place asked;
    bool ends;          /* there are no more in that direction */
    size_t wanted;      /* how many */
    size_t count, used; /* how many there were, and were asked for, from the beginning */
    mmq_pg_place given; /* the block that was asked for last */
    mmq_pg_place first[MMQ_PG_AHEAD_MAX + 1]; /* row of each; ascending */
    mmq_pg_row *rows[MMQ_PG_AHEAD_MAX + 1];
    mmq_pg_row *lent; /* whose data somebody has at hand; NULL: none */
    bool lent_alone;  /* and it is not among the rows any more */
} mmq_pg_ahead;

enum { MMQ_PG_EXPECTED_ROWS = 2 }; /* one that ends at the place, and the next */

/* Blocks at places that are asked for next (expect.c), each with its data. */
typedef struct mmq_pg_expected {
    uint64_t transaction;
    bool up; /* MMQ_Q_BLOCK_FROM; else _AT */
    size_t count;
    mmq_sought places[MMQ_STORE_EXPECT_MAX];
    bool there[MMQ_STORE_EXPECT_MAX]; /* the answer is, and was not taken */
    mmq_pg_row *rows[MMQ_STORE_EXPECT_MAX][MMQ_PG_EXPECTED_ROWS]; /* ascending; NULL: no more */
} mmq_pg_expected;

/* store->connection. */
typedef struct mmq_postgres {
    mmq_pg_link *link;
    mmq_pg_prepared *flowing; /* whose rows come at the moment; NULL: nobody's */
    bool open;                /* a transaction is */
    int64_t changes;
    mmq_pg_ahead ahead;
    mmq_pg_expected expected;

    /* The writer's only. */
    int64_t writer, serial; /* which it is, and its transactions */
    unsigned locks;         /* that the transaction holds */
    mmq_pg_touched *touched;
    size_t touched_count, touched_room;
    int64_t data_keys[MMQ_PG_DATA_KEYS]; /* of block data, given to us */
    size_t data_keys_left;
    mmq_buffer news;    /* what the transaction changes, for all writers */
    uint64_t listening; /* on which connection; 0: on none */
    bool fresh;         /* and nobody was told yet that it is another one */
} mmq_postgres;

static inline mmq_postgres *mmq_postgres_of(const mmq_store *store)
{
    return store->connection;
}

extern const mmq_pg_statement mmq_postgres_statements[MMQ_P_COUNT]; /* queries.c */

/* Runs one of the engine's own to its end; *number (may be NULL) is the first column of the last
 * row, *found whether there was a row. */
mmq_err mmq_postgres_ask(mmq_postgres *postgres, unsigned query, const mmq_pg_values *values,
                         bool *found, int64_t *number, mmq_why *why) MMQ_MUST_USE;
/* The next row of the statement that was queued last; those before it only write. */
mmq_err mmq_postgres_next_row(mmq_postgres *postgres, bool *row, mmq_why *why) MMQ_MUST_USE;
/* Takes the rows that still come for a statement out of the way. */
mmq_err mmq_postgres_settle(mmq_postgres *postgres, mmq_why *why) MMQ_MUST_USE;

/* Notes that the transaction changes a metric, whose length was before_rowid (-1: stays). */
mmq_err mmq_postgres_touch(mmq_postgres *postgres, int64_t key, int64_t before_rowid,
                           mmq_why *why) MMQ_MUST_USE;

/* Adds to a list as statements take one: numbers, separated by commas. */
void mmq_postgres_add_number(mmq_buffer *list, int64_t number);

/* Listens on the connection that there is. */
mmq_err mmq_postgres_listen(mmq_postgres *postgres, mmq_why *why) MMQ_MUST_USE;
/* Queues what the transaction changes, behind MMQ_P_DRAW. */
mmq_err mmq_postgres_queue_news(mmq_postgres *postgres, mmq_why *why) MMQ_MUST_USE;

/* What MMQ_Q_BLOCK_AT, _AFTER or _FROM asks for, which was read ahead, or is read now with what
 * comes next in that direction (ahead.c). *row: borrowed until the next; NULL: there is none. */
mmq_err mmq_postgres_block(mmq_store *store, mmq_query seek, const mmq_pg_values *values,
                           const mmq_pg_row **row, mmq_why *why) MMQ_MUST_USE;
/* The row of which MMQ_Q_BLOCK_DATA asks for the data, if it was read so: to be given back. */
const mmq_pg_row *mmq_postgres_block_data(mmq_store *store, const mmq_pg_values *values);
void mmq_postgres_give_back(mmq_postgres *postgres);
void mmq_postgres_forget_ahead(mmq_postgres *postgres);
/* Hands over the answer for the place, if it is there: rows are the caller's; NULL: no more. */
bool mmq_postgres_take_expected(mmq_store *store, bool up, const mmq_sought *place,
                                mmq_pg_row *rows[MMQ_PG_EXPECTED_ROWS]);
void mmq_postgres_forget_expected(mmq_postgres *postgres);

/* Makes the tables if there are none; checks whether they are ours (schema.c). */
mmq_err mmq_postgres_schema(mmq_store *store, mmq_why *why) MMQ_MUST_USE;

#endif
