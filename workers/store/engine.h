/* What the store wants of the database underneath. The store's logic knows its tables by numbered
 * statements (mmq_query, handle.h), each of which an engine has in its own words, with the same
 * parameters, columns and order. So what readers see of both is the same, whatever the engine.
 *
 * An engine believes nothing that it reads: a column is handed over only as the type that was asked
 * for. Calls are the handle's thread's. */
#ifndef MMQ_STORE_ENGINE_H
#define MMQ_STORE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workers/store/store.h"

typedef struct mmq_engine mmq_engine;

/* Where in a metric a block is looked for. */
typedef struct mmq_sought {
    int64_t metric; /* key */
    int64_t timestamp, rowid;
} mmq_sought;

struct mmq_checker;

/* A statement, ready to be bound and stepped; the engine's own begins with this. */
typedef struct mmq_prepared {
    const mmq_engine *engine;
} mmq_prepared;

struct mmq_engine {
    const char *scheme; /* what its urls begin with */

    /* As mmq_store_url_check, mmq_store_place_check, mmq_store_lock_try. */
    mmq_err (*url_check)(const char *url, mmq_why *why);
    mmq_err (*place_check)(const char *url, bool writes, mmq_why *why);
    mmq_err (*lock)(const char *url, int *fd, mmq_why *why);

    /* Connects, makes what is not there (a writer) and brings it to the current form. Whatever it
     * returns, `close` ends it. A copy that is not finished is MMQ_EBUSY, and with store->fills
     * what is none is MMQ_ECONFLICT. */
    mmq_err (*open)(mmq_store *store, const char *url, const mmq_store_watch *watch, mmq_why *why);
    void (*close)(mmq_store *store);
    /* As mmq_store_hurry; NULL: nothing of it is a server's. */
    void (*hurry)(mmq_store *store, unsigned silence_ms);

    /* `undo` ends a transaction, if there is one, that is not to be. `commit` leaves none. */
    mmq_err (*begin)(mmq_store *store, bool writes, mmq_why *why);
    mmq_err (*commit)(mmq_store *store, mmq_why *why);
    void (*undo)(mmq_store *store);

    /* From here on no other writer commits before us, in a write transaction. */
    mmq_err (*alone)(mmq_store *store, mmq_why *why);
    /* *ours false: another writer does the housekeeping at the moment. In a write transaction. */
    mmq_err (*tidies)(mmq_store *store, bool *ours, mmq_why *why);

    /* Where there may be other writers (NULL: there are none). A metric was changed by the
     * transaction, whose commit is to tell all writers. */
    mmq_err (*tell)(mmq_store *store, const char *uid, int64_t last_rowid, mmq_why *why);
    /* Hands what was heard to mmq_change_heard; false: there is no connection to hear by. */
    bool (*heed)(mmq_store *store);
    /* Whether the connection that the transaction has is another one than the last time. */
    bool (*is_fresh)(mmq_store *store);

    mmq_err (*prepare)(mmq_store *store, int query, mmq_prepared **out, mmq_why *why);
    void (*finalize)(mmq_prepared *prepared);
    void (*reset)(mmq_prepared *prepared);
    mmq_err (*step)(mmq_store *store, mmq_prepared *prepared, bool *row, mmq_why *why);
    int64_t (*changes)(mmq_store *store);       /* rows that the last statement changed */
    int64_t (*total_changes)(mmq_store *store); /* and all of the connection's */

    /* In a read transaction, of MMQ_Q_BLOCK_FROM (up) or MMQ_Q_BLOCK_AT: those that are asked for
     * next, up to MMQ_STORE_EXPECT_MAX, and whether one is among them (NULL: it need not know). */
    mmq_err (*expect)(mmq_store *store, bool up, const mmq_sought *next, size_t count,
                      mmq_why *why);
    bool (*expects)(mmq_store *store, bool up, const mmq_sought *one);

    /* Parameters count from 1, columns from 0. Texts and blobs are borrowed until the reset. */
    void (*bind_int)(mmq_prepared *prepared, int index, int64_t value);
    void (*bind_text)(mmq_prepared *prepared, int index, const char *text);
    void (*bind_score)(mmq_prepared *prepared, int index, double score);
    void (*bind_blob)(mmq_prepared *prepared, int index, const void *data, size_t size);
    bool (*is_null)(mmq_prepared *prepared, int column);
    bool (*column_int)(mmq_prepared *prepared, int column, int64_t *out);
    bool (*column_double)(mmq_prepared *prepared, int column, double *out);
    const char *(*column_text)(mmq_prepared *prepared, int column, size_t *size);
    const void *(*column_blob)(mmq_prepared *prepared, int column, size_t *size);

    mmq_err (*size)(mmq_store *store, mmq_store_bytes *out, mmq_why *why);
    /* What only the engine can say of its files, and the bytes of mmq_store_sums. */
    mmq_err (*check)(struct mmq_checker *checker, mmq_why *why);
    /* Housekeeping of its own, a piece at a time: is there any, and do it (in a write transaction).
     */
    mmq_err (*has_work)(mmq_store *store, bool *work, mmq_why *why);
    mmq_err (*do_work)(mmq_store *store, bool *done, mmq_why *why);

    /* *all false: a standby, which may lack what was committed. In a read transaction. */
    mmq_err (*shows_all)(mmq_store *store, bool *all, mmq_why *why);
    /* A copy that is not finished becomes a store like others, with this id, when the write
     * transaction is committed. */
    mmq_err (*adopt)(mmq_store *store, uint64_t id, mmq_why *why);

    /* As mmq_store_backup and mmq_store_restore. */
    mmq_err (*backup)(const char *url, const char *file, const mmq_store_watch *watch,
                      mmq_kept *out, mmq_why *why);
    mmq_err (*restore)(const char *url, const char *file, bool aside, const mmq_store_watch *watch,
                       mmq_kept *out, mmq_why *why);
};

extern const mmq_engine mmq_engine_sqlite;
extern const mmq_engine mmq_engine_postgres;

#endif
