/* Inside the SQLite engine: its connection, and what its files share. */
#ifndef MMQ_STORE_SQLITE_SQLITE_H
#define MMQ_STORE_SQLITE_SQLITE_H

#include <sqlite3.h>

#include "workers/store/handle.h"

enum {
    MMQ_SCHEMA_VERSION = 4,
    MMQ_SCHEMA_VERSION_ROWS = 1, /* rows without blocks: a writer brings it to the current one */
    MMQ_APPLICATION_ID = 0x6d6d7131,   /* "mmq1" */
    MMQ_APPLICATION_COPY = 0x6d6d716d, /* "mmqm": a copy that is not finished */
    MMQ_BUSY_MS = 5000,                /* how long a statement waits for a lock */
};

/* What a file is of. */
typedef enum mmq_form {
    MMQ_FORM_CURRENT,
    MMQ_FORM_EARLIER, /* of version 2 or 3: readers take it as it is */
    MMQ_FORM_OLD,     /* of version 1 */
    MMQ_FORM_BETWEEN, /* on the way from version 1: some rows are in blocks, others still to go */
} mmq_form;

/* Somebody who watches a statement that takes long, and may break it off. */
typedef struct mmq_onlooker {
    const mmq_store_watch *watch;
    const char *doing;
    int fd;          /* of a file that grows with what is done; -1: there is none */
    int64_t total;   /* pages that it will have; 0: who knows */
    bool broken_off; /* the watch did not want to go on */
} mmq_onlooker;

/* Statements that only this engine has. */
typedef enum mmq_sqlite_query {
    MMQ_SQLITE_BEGIN_READ,
    MMQ_SQLITE_BEGIN_WRITE,
    MMQ_SQLITE_COMMIT,
    MMQ_SQLITE_FREE_BYTES,
    MMQ_SQLITE_READERS, /* those above are enough for a reader */
    MMQ_SQLITE_SET_COMMIT = MMQ_SQLITE_READERS,
    MMQ_SQLITE_FREE_PAGES,
    MMQ_SQLITE_VACUUM,
    MMQ_SQLITE_COUNT,
} mmq_sqlite_query;

/* store->connection. */
typedef struct mmq_sqlite {
    sqlite3 *db;
    mmq_form form; /* when it was opened */
    mmq_prepared *own[MMQ_SQLITE_COUNT];
    int64_t steps;          /* of SQLite, that the statement has taken */
    mmq_onlooker *onlooker; /* of the statement; NULL: nobody */
    bool is_writer;         /* of a file that is a store of ours */
    int restart_pages;      /* the log's size from which on readers are waited for */
} mmq_sqlite;

static inline mmq_sqlite *mmq_sqlite_of(const mmq_store *store)
{
    return store->connection;
}

extern const char *const mmq_sqlite_texts[MMQ_Q_COUNT]; /* queries.c */
extern const char *const mmq_sqlite_own_texts[MMQ_SQLITE_COUNT];

/* Prepares a statement that only one task needs; mmq_finalize it. */
mmq_err mmq_sqlite_prepare_text(mmq_store *store, const char *text, mmq_prepared **out,
                                mmq_why *why) MMQ_MUST_USE;
/* One of the engine's own, reset. */
mmq_prepared *mmq_sqlite_own(const mmq_store *store, mmq_sqlite_query query);
mmq_err mmq_sqlite_prepare_own(mmq_store *store, mmq_why *why) MMQ_MUST_USE;

/* From here on a statement that takes more steps than a sound file of that size can need is broken
 * off, with SQLITE_INTERRUPT (steps.c). */
void mmq_steps_bound(mmq_store *store);
/* What follows is another statement, or the next row of one. */
void mmq_steps_anew(mmq_store *store);
/* Runs the statement to its end while somebody looks on, who is told now and then. MMQ_ECLOSED: it
 * was broken off. `each` (may be NULL) takes each row. */
mmq_err mmq_steps_watched(mmq_store *store, mmq_prepared *statement, mmq_onlooker *onlooker,
                          void (*each)(void *context, mmq_prepared *statement), void *context,
                          mmq_why *why) MMQ_MUST_USE;

/* What SQLite's result code means to us, with its sentence. */
mmq_err mmq_sqlite_error(sqlite3 *db, int code, const char *doing, mmq_why *why) MMQ_MUST_USE;
/* Opening (open.c) and making (schema.c) what the handle is for. */
mmq_err mmq_schema_make(const mmq_store *store, const char *path, mmq_why *why) MMQ_MUST_USE;
/* Is the file of its connection that, and of which form? Fills in the form. */
mmq_err mmq_schema_check(mmq_store *store, const char *path, mmq_why *why) MMQ_MUST_USE;
/* UPDATE store: its id (restore.c). In a write transaction. */
mmq_err mmq_sqlite_set_id(mmq_store *store, uint64_t id, mmq_why *why) MMQ_MUST_USE;
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
/* Sets what every connection wants; `pragmas` is the mode's own. */
mmq_err mmq_connection_set(sqlite3 *db, const char *pragmas, mmq_why *why) MMQ_MUST_USE;
/* The path of a url "sqlite:PATH", safe to hand to SQLite; free it. NULL: why says the reason, in
 * *err. */
char *mmq_store_path(const char *url, mmq_err *err, mmq_why *why);

/* Checks a copy of a store: MMQ_ECORRUPT if it has faults, which the watch was told. */
mmq_err mmq_kept_check(const char *path, const mmq_store_watch *watch, mmq_kept *out,
                       mmq_why *why) MMQ_MUST_USE;

#endif
