/* Inside the store, whatever the engine: the handle, its prepared statements and checked access to
 * columns. Only files of this folder and of the engines' include it. */
#ifndef MMQ_STORE_HANDLE_H
#define MMQ_STORE_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workers/store/engine.h"
#include "workers/store/store.h"

enum { MMQ_REMEMBER_S = 3600 }; /* how long lengths at commits are remembered, at least */

#define MMQ_ROWID_MAX (INT64_C(1) << 53) /* readers of JSON know no greater integers */

/* Every statement there is; each engine has their texts (queries.c). */
typedef enum mmq_query {
    MMQ_Q_SNAPSHOT,
    MMQ_Q_FIND,
    MMQ_Q_HEADS,
    MMQ_Q_METRIC,
    MMQ_Q_METRICS_AFTER,
    MMQ_Q_METRIC_BY_IDENTITY,
    MMQ_Q_UNSCORED,
    MMQ_Q_FORGOTTEN,
    MMQ_Q_LENGTH,
    MMQ_Q_LENGTH_AT,
    MMQ_Q_BLOCK_AT,
    MMQ_Q_BLOCK_AFTER,
    MMQ_Q_BLOCK_FROM, /* as _AT, or if there is none as _AFTER; whoever asks goes on upwards */
    MMQ_Q_BLOCK_BY_ROWID,
    MMQ_Q_BLOCK_DATA,
    MMQ_Q_HAS_GAPS,
    MMQ_Q_HAS_VALUES,
    MMQ_Q_READERS, /* those above are enough for a reader of a store of version 2 */
    MMQ_Q_BLOCKS_EARLIER = MMQ_Q_READERS, /* a reader prepares these when they are wanted */
    MMQ_Q_BLOCKS,                         /* (blocks.c, gaps.c) */
    MMQ_Q_GAP_AT,
    MMQ_Q_GAPS_AFTER,
    MMQ_Q_GAPS_PIECE,
    MMQ_Q_PRUNED_BEFORE,
    MMQ_Q_PRUNED_SINCE,
    MMQ_Q_FIND_LOCKED, /* no other writer changes the metric until we have committed */
    MMQ_Q_STATE,
    MMQ_Q_SET_STATE,
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
    MMQ_Q_WRITERS,                     /* and those above for a writer */
    MMQ_Q_CHECK_TOTAL = MMQ_Q_WRITERS, /* mmq_store_check's (check.c) */
    MMQ_Q_CHECK_PRUNED,
    MMQ_Q_CHECK_METRIC,
    MMQ_Q_CHECK_GROWTH,
    MMQ_Q_CHECK_BLOCK_OF_NONE,
    MMQ_Q_CHECK_BOTH,
    MMQ_Q_CHECK_DATA_OF_NONE,
    MMQ_Q_CHECK_DATA_OF_SEVERAL,
    MMQ_Q_CHECK_GAP_OF_NONE,
    MMQ_Q_CHECK_PRUNED_OF_NONE,
    MMQ_Q_CHECK_GAP_UNPRUNED,
    MMQ_Q_COUNT,
} mmq_query;

typedef enum mmq_phase {
    MMQ_PHASE_IDLE,
    MMQ_PHASE_READ,
    MMQ_PHASE_WRITE,
    MMQ_PHASE_FAILED, /* a write transaction in which a statement failed: rollback only */
} mmq_phase;

struct mmq_store {
    const mmq_engine *engine;
    void *connection; /* the engine's; NULL until it has one */
    bool is_earlier;  /* a reader's, of an earlier form */
    mmq_store_mode mode;
    bool fills;       /* it is the copy of another store, which is not finished (copy.c) */
    uint64_t fill_of; /* that store's id */
    mmq_phase phase;
    int64_t commit;    /* in a write transaction: the number that it will have */
    mmq_snapshot last; /* as of the last write transaction */
    mmq_store_listener listener;
    bool contended; /* a metric was not locked, since another writer has it */
    bool dirty;     /* the write transaction changed something that readers see */
    mmq_prepared *statements[MMQ_Q_COUNT]; /* NULL beyond MMQ_Q_READERS in a reader, at first */
    uint64_t transaction;                  /* serial number of the last one, in the process */
    struct mmq_block *block;               /* the one that is open */
    int64_t open_data;                     /* key of its data; 0: none is open */
    uint64_t open_check;                   /* what its head says of the data: a key may be wrong */

    /* The writer's only. */
    bool gentle;                  /* the transaction is housekeeping */
    uint8_t *encoded;             /* a block to be written */
    mmq_columns *existing;        /* rows that an append repeats */
    struct mmq_room *fresh, *old; /* rows that are merged */
};

/* Opens a copy that is not finished, or makes one that bears the id of the store which it is of.
 * For writing, under the writer's lock. MMQ_ECONFLICT: it is a store like others. */
mmq_err mmq_store_open_to_fill(const char *url, uint64_t id, mmq_store **out,
                               mmq_why *why) MMQ_MUST_USE;

/* Prepares one of them, if it is not. */
mmq_err mmq_statement_prepare(mmq_store *store, mmq_query query, mmq_why *why) MMQ_MUST_USE;
/* Prepares all statements of the mode; a statement that does not fit the tables is MMQ_ECORRUPT. */
mmq_err mmq_statements_prepare(mmq_store *store, mmq_why *why) MMQ_MUST_USE;
void mmq_statements_finalize(mmq_store *store);
void mmq_finalize(mmq_prepared **statement);

/* The statement, reset. Bind, then step. */
mmq_prepared *mmq_statement(mmq_store *store, mmq_query query);
/* One step: *row says whether there is a row; when there is none the statement has been reset. */
mmq_err mmq_step(mmq_store *store, mmq_prepared *statement, bool *row, mmq_why *why) MMQ_MUST_USE;
/* Steps a statement to its end. */
mmq_err mmq_run(mmq_store *store, mmq_prepared *statement, mmq_why *why) MMQ_MUST_USE;
/* Rows that the statement that was run last has changed. */
int64_t mmq_changes(mmq_store *store);
/* The first column of the first row, a number >= 0; *found says whether there is a row. `what` is
 * damaged if it is anything else. */
mmq_err mmq_read_int(mmq_store *store, mmq_prepared *statement, bool *found, int64_t *out,
                     const char *what, mmq_why *why) MMQ_MUST_USE;
/* Runs a statement whose one row says which key it has given. */
mmq_err mmq_read_key(mmq_store *store, mmq_prepared *statement, int64_t *key,
                     mmq_why *why) MMQ_MUST_USE;
/* Resets, so that it holds no lock. */
void mmq_done(mmq_prepared *statement);

/* MMQ_ECORRUPT: the store holds something that no writer of ours wrote. */
mmq_err mmq_damaged(mmq_store *store, const char *what, mmq_why *why) MMQ_MUST_USE;

void mmq_bind_int(mmq_prepared *statement, int index, int64_t value);
void mmq_bind_text(mmq_prepared *statement, int index, const char *text); /* NULL: null */
void mmq_bind_score(mmq_prepared *statement, int index, double score);    /* NaN: null */
void mmq_bind_blob(mmq_prepared *statement, int index, const void *data,
                   size_t size); /* borrowed */

/* Columns as they must be: false, or NULL, if the store holds anything else. */
bool mmq_column_int(mmq_prepared *statement, int index, int64_t least, int64_t most, int64_t *out);
bool mmq_column_value(mmq_prepared *statement, int index, double *out);
bool mmq_column_score(mmq_prepared *statement, int index, double *out); /* null: NaN */
bool mmq_column_is_null(mmq_prepared *statement, int index);
/* Borrowed until the next step; the text has no terminator within its size. */
const char *mmq_column_text(mmq_prepared *statement, int index, size_t *size);
const void *mmq_column_blob(mmq_prepared *statement, int index, size_t *size);
/* Any integer, for sentences; 0 if it is none. */
int64_t mmq_column_number(mmq_prepared *statement, int index);

/* Begins and reads the snapshot; undone on failure. The phase is the caller's to set. */
mmq_err mmq_transaction_begin(mmq_store *store, bool writes, mmq_snapshot *out,
                              mmq_why *why) MMQ_MUST_USE;
/* Rolls back, if there is something to roll back. */
void mmq_transaction_undo(mmq_store *store);

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

/* Tells the listener, if there is one, of a metric that this transaction changes. -1: it is gone.
 */
mmq_err mmq_change_tell(mmq_store *store, const char *uid, int64_t last_rowid,
                        mmq_why *why) MMQ_MUST_USE;
/* A commit has changed the metric. Commits that are known already are passed over. */
void mmq_change_heard(const mmq_store *store, int64_t commit, const char *uid, int64_t last_rowid);
/* All of the commit was heard. */
void mmq_commit_heard(mmq_store *store, int64_t commit);

/* The metric's row as a head, from a statement whose first columns are key, uid, made, changed,
 * last_rowid. */
mmq_err mmq_column_head(mmq_store *store, mmq_prepared *statement, mmq_metric_head *out,
                        mmq_why *why) MMQ_MUST_USE;
/* Steps a statement of MMQ_Q_METRIC's columns; *found says whether there is a record, which is then
 * the caller's to clear. */
mmq_err mmq_metric_step(mmq_store *store, mmq_prepared *statement, bool *found, mmq_metric *out,
                        mmq_why *why) MMQ_MUST_USE;

#endif
