/* Inside the SQLite store: the handle, its prepared statements and checked access to columns.
 * Only files of this folder include it. */
#ifndef MMQ_STORE_HANDLE_H
#define MMQ_STORE_HANDLE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workers/store/store.h"

enum {
    MMQ_SCHEMA_VERSION = 4,
    MMQ_SCHEMA_VERSION_ROWS = 1, /* rows without blocks: a writer brings it to the current one */
    MMQ_APPLICATION_ID = 0x6d6d7131, /* "mmq1" */
    MMQ_BUSY_MS = 5000,              /* how long a statement waits for a lock */
    MMQ_REMEMBER_S = 3600,           /* how long lengths at commits are remembered, at least */
};

#define MMQ_ROWID_MAX (INT64_C(1) << 53) /* readers of JSON know no greater integers */

/* Every statement there is; query_texts of statement.c has their SQL. */
typedef enum mmq_query {
    MMQ_Q_BEGIN_READ,
    MMQ_Q_BEGIN_WRITE,
    MMQ_Q_COMMIT,
    MMQ_Q_ROLLBACK,
    MMQ_Q_SNAPSHOT,
    MMQ_Q_FIND,
    MMQ_Q_HEADS,
    MMQ_Q_METRIC,
    MMQ_Q_METRIC_AFTER,
    MMQ_Q_METRIC_BY_IDENTITY,
    MMQ_Q_UNSCORED,
    MMQ_Q_FORGOTTEN,
    MMQ_Q_LENGTH,
    MMQ_Q_LENGTH_AT,
    MMQ_Q_BLOCK_AT,
    MMQ_Q_BLOCK_AFTER,
    MMQ_Q_BLOCK_BY_ROWID,
    MMQ_Q_BLOCK_DATA,
    MMQ_Q_FREE_BYTES,
    MMQ_Q_HAS_GAPS,
    MMQ_Q_HAS_VALUES,
    MMQ_Q_READERS, /* those above are enough for a reader of a store of version 2 */
    MMQ_Q_BLOCKS_EARLIER = MMQ_Q_READERS, /* a reader prepares these when they are wanted */
    MMQ_Q_BLOCKS,                         /* (blocks.c, gaps.c) */
    MMQ_Q_GAP_AT,
    MMQ_Q_GAPS_AFTER,
    MMQ_Q_PRUNED_BEFORE,
    MMQ_Q_PRUNED_SINCE,
    MMQ_Q_STATE,
    MMQ_Q_SET_STATE,
    MMQ_Q_SET_COMMIT,
    MMQ_Q_CREATE,
    MMQ_Q_GROW,
    MMQ_Q_ADD_BLOCK,
    MMQ_Q_SET_BLOCK,
    MMQ_Q_DROP_BLOCK,
    MMQ_Q_INCOMPLETE,
    MMQ_Q_BLOCK_INCOMPLETE,
    MMQ_Q_SET_VALUES,
    MMQ_Q_ADD_BLOCK_DATA,
    MMQ_Q_SET_BLOCK_DATA,
    MMQ_Q_DROP_BLOCK_DATA,
    MMQ_Q_DELETE,
    MMQ_Q_DOOM,
    MMQ_Q_DOOMED,
    MMQ_Q_SET_PRUNED,
    MMQ_Q_UNPRUNE,
    MMQ_Q_ADD_GAP,
    MMQ_Q_SET_GAP,
    MMQ_Q_DROP_GAP,
    MMQ_Q_COUNT_BLOCKS,
    MMQ_Q_DELETE_GAPS,
    MMQ_Q_DELETE_DATA,
    MMQ_Q_DELETE_BLOCKS,
    MMQ_Q_UNDOOM,
    MMQ_Q_OLD_GROWTH,
    MMQ_Q_FORGET,
    MMQ_Q_DELETE_GROWTH,
    MMQ_Q_FREE_PAGES,
    MMQ_Q_VACUUM,
    MMQ_Q_COUNT,
} mmq_query;

typedef enum mmq_phase {
    MMQ_PHASE_IDLE,
    MMQ_PHASE_READ,
    MMQ_PHASE_WRITE,
    MMQ_PHASE_FAILED, /* a write transaction in which a statement failed: rollback only */
} mmq_phase;

/* Somebody who watches a statement that takes long, and may break it off. */
typedef struct mmq_onlooker {
    const mmq_store_watch *watch;
    const char *doing;
    int fd;          /* of a file that grows with what is done; -1: there is none */
    int64_t total;   /* pages that it will have; 0: who knows */
    bool broken_off; /* the watch did not want to go on */
} mmq_onlooker;

/* What a file is of. */
typedef enum mmq_form {
    MMQ_FORM_CURRENT,
    MMQ_FORM_EARLIER, /* of version 2 or 3: readers take it as it is */
    MMQ_FORM_OLD,     /* of version 1 */
    MMQ_FORM_BETWEEN, /* on the way from version 1: some rows are in blocks, others still to go */
} mmq_form;

struct mmq_store {
    mmq_form form; /* when it was opened */
    sqlite3 *db;
    mmq_store_mode mode;
    mmq_phase phase;
    int64_t commit;    /* in a write transaction: the number that it will have */
    mmq_snapshot last; /* as of the last write transaction */
    mmq_store_listener listener;
    bool dirty; /* the write transaction changed something that readers see */
    sqlite3_stmt *statements[MMQ_Q_COUNT]; /* NULL beyond MMQ_Q_READERS in a reader, at first */
    uint64_t transaction;                  /* serial number of the last one, in the process */
    struct mmq_block *block;               /* the one that is open */
    int64_t open_data;                     /* key of its data; 0: none is open */
    uint64_t open_check;                   /* what its head says of the data: a key may be wrong */
    int64_t steps;                         /* of SQLite, that the statement has taken */
    mmq_onlooker *onlooker;                /* of the statement; NULL: nobody */

    /* The writer's only. */
    bool gentle;                  /* the transaction is housekeeping */
    int restart_pages;            /* the log's size from which on readers are waited for */
    uint8_t *encoded;             /* a block to be written */
    mmq_columns *existing;        /* rows that an append repeats */
    struct mmq_room *fresh, *old; /* rows that are merged */
};

/* Prepares one of them, if it is not. */
mmq_err mmq_statement_prepare(mmq_store *store, mmq_query query, mmq_why *why) MMQ_MUST_USE;
/* Prepares all statements of the mode; a statement that does not fit the file is MMQ_ECORRUPT. */
mmq_err mmq_statements_prepare(mmq_store *store, mmq_why *why) MMQ_MUST_USE;
void mmq_statements_finalize(mmq_store *store);
const char *mmq_query_text(mmq_query query);

/* From here on a statement that takes more steps than a sound file of that size can need is broken
 * off, with SQLITE_INTERRUPT (steps.c). */
void mmq_steps_bound(mmq_store *store);
/* What follows is another statement, or the next row of one. */
void mmq_steps_anew(mmq_store *store);
/* Runs the statement to its end while somebody looks on, who is told now and then. MMQ_ECLOSED: it
 * was broken off. `each` (may be NULL) takes each row. */
mmq_err mmq_steps_watched(mmq_store *store, sqlite3_stmt *statement, mmq_onlooker *onlooker,
                          void (*each)(void *context, sqlite3_stmt *statement), void *context,
                          mmq_why *why) MMQ_MUST_USE;

/* The statement, reset. Bind, then step. */
sqlite3_stmt *mmq_statement(mmq_store *store, mmq_query query);
/* One step: *row says whether there is a row; when there is none the statement has been reset. */
mmq_err mmq_step(mmq_store *store, sqlite3_stmt *statement, bool *row, mmq_why *why) MMQ_MUST_USE;
/* Steps a statement that gives no row. */
mmq_err mmq_run(mmq_store *store, sqlite3_stmt *statement, mmq_why *why) MMQ_MUST_USE;
/* The first column of the first row, a number >= 0; *found says whether there is a row. `what` is
 * damaged if it is anything else. */
mmq_err mmq_read_int(mmq_store *store, sqlite3_stmt *statement, bool *found, int64_t *out,
                     const char *what, mmq_why *why) MMQ_MUST_USE;
/* Resets, so that it holds no lock. */
void mmq_done(sqlite3_stmt *statement);

/* What SQLite's result code means to us, with its sentence. */
mmq_err mmq_sqlite_error(sqlite3 *db, int code, const char *doing, mmq_why *why) MMQ_MUST_USE;
/* MMQ_ECORRUPT: the file holds something that no writer of ours wrote. */
mmq_err mmq_damaged(mmq_store *store, const char *what, mmq_why *why) MMQ_MUST_USE;

void mmq_bind_int(sqlite3_stmt *statement, int index, int64_t value);
void mmq_bind_text(sqlite3_stmt *statement, int index, const char *text); /* NULL: null */
void mmq_bind_score(sqlite3_stmt *statement, int index, double score);    /* NaN: null */
void mmq_bind_blob(sqlite3_stmt *statement, int index, const void *data,
                   size_t size); /* borrowed */

/* Columns as they must be: false if the file holds anything else. */
bool mmq_column_int(sqlite3_stmt *statement, int index, int64_t least, int64_t most, int64_t *out);
bool mmq_column_value(sqlite3_stmt *statement, int index, double *out);
bool mmq_column_score(sqlite3_stmt *statement, int index, double *out); /* null: NaN */

/* Begins and reads the snapshot; undone on failure. The phase is the caller's to set. */
mmq_err mmq_transaction_begin(mmq_store *store, mmq_query query, mmq_snapshot *out,
                              mmq_why *why) MMQ_MUST_USE;
/* Rolls back, if there is something to roll back. */
void mmq_transaction_undo(mmq_store *store);

/* Opening (open.c) and making (schema.c). */
mmq_err mmq_schema_make(const char *path, mmq_why *why) MMQ_MUST_USE;
/* Is it a store, and of which form? */
mmq_err mmq_schema_check(sqlite3 *db, const char *path, mmq_form *form, mmq_why *why) MMQ_MUST_USE;
/* MMQ_ECORRUPT if a table of ours, or what hangs on one, is another than the statements of
 * `schemas`, up to NULL, make (objects.c). */
mmq_err mmq_objects_check(sqlite3 *db, const char *path, const char *const *schemas,
                          mmq_why *why) MMQ_MUST_USE;
/* The first step away from version 1, a transaction: MMQ_FORM_OLD becomes MMQ_FORM_BETWEEN. */
mmq_err mmq_schema_upgrade(sqlite3 *db, mmq_why *why) MMQ_MUST_USE;
/* MMQ_FORM_EARLIER becomes MMQ_FORM_CURRENT, in a transaction. */
mmq_err mmq_schema_complete(sqlite3 *db, mmq_why *why) MMQ_MUST_USE;
/* From MMQ_FORM_BETWEEN on. The watch may be NULL. */
mmq_err mmq_migrate(mmq_store *store, const mmq_store_watch *watch, mmq_why *why) MMQ_MUST_USE;
/* Prepares a statement that only one task needs; sqlite3_finalize it. */
mmq_err mmq_prepare(mmq_store *store, const char *sql, sqlite3_stmt **out,
                    mmq_why *why) MMQ_MUST_USE;
/* Sets what every connection wants; `pragmas` is the mode's own. */
mmq_err mmq_connection_set(sqlite3 *db, const char *pragmas, mmq_why *why) MMQ_MUST_USE;
/* The path of a url "sqlite:PATH", safe to hand to SQLite; free it. NULL: why says the reason, in
 * *err. */
char *mmq_store_path(const char *url, mmq_err *err, mmq_why *why);

/* What changes of a metric with its rows. */
typedef struct mmq_metric_state {
    bool has_rows; /* or had: they may have been pruned */
    int64_t last_timestamp;
    int64_t unscored;
} mmq_metric_state;
mmq_err mmq_state_read(mmq_store *store, int64_t metric, mmq_metric_state *out,
                       mmq_why *why) MMQ_MUST_USE;
/* Within a write transaction, whose commit then has changed the metric. */
mmq_err mmq_state_write(mmq_store *store, int64_t metric, int64_t last_rowid,
                        const mmq_metric_state *state, mmq_why *why) MMQ_MUST_USE;

/* Tells the listener, if there is one, of a metric that this transaction changed. -1: it is gone.
 */
void mmq_change_tell(const mmq_store *store, const char *uid, int64_t last_rowid);

/* Checks a copy of a store: MMQ_ECORRUPT if it has faults, which the watch was told. */
mmq_err mmq_kept_check(const char *path, const mmq_store_watch *watch, mmq_kept *out,
                       mmq_why *why) MMQ_MUST_USE;

/* The metric's row as a head, from a statement whose first columns are key, uid, made, changed,
 * last_rowid. */
mmq_err mmq_column_head(mmq_store *store, sqlite3_stmt *statement, mmq_metric_head *out,
                        mmq_why *why) MMQ_MUST_USE;
/* Steps a statement of MMQ_Q_METRIC's columns; *found says whether there is a record, which is then
 * the caller's to clear. */
mmq_err mmq_metric_step(mmq_store *store, sqlite3_stmt *statement, bool *found, mmq_metric *out,
                        mmq_why *why) MMQ_MUST_USE;

#endif
