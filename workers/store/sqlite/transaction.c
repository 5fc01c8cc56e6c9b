/* Transactions of SQLite's: one writer at a time, so that a commit's number is known from its
 * beginning. */
#include "workers/store/sqlite/engine.h"

#include "lib/check.h"

mmq_prepared *mmq_sqlite_own(const mmq_store *store, mmq_sqlite_query query)
{
    mmq_prepared *statement = mmq_sqlite_of(store)->own[query];
    CHECK(statement != NULL);
    mmq_done(statement);
    return statement;
}

mmq_err mmq_sqlite_prepare_own(mmq_store *store, mmq_why *why)
{
    mmq_sqlite *sqlite = mmq_sqlite_of(store);
    const int count = store->mode == MMQ_STORE_READ ? MMQ_SQLITE_READERS : MMQ_SQLITE_COUNT;
    mmq_err err = MMQ_OK;
    for (int i = 0; i < count && err == MMQ_OK; i++) {
        err = mmq_sqlite_prepare_text(store, mmq_sqlite_own_texts[i], &sqlite->own[i], why);
    }
    return err;
}

mmq_err mmq_sqlite_begin(mmq_store *store, bool writes, mmq_why *why)
{
    return mmq_run(
        store, mmq_sqlite_own(store, writes ? MMQ_SQLITE_BEGIN_WRITE : MMQ_SQLITE_BEGIN_READ), why);
}

mmq_err mmq_sqlite_commit(mmq_store *store, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (store->dirty) {
        mmq_prepared *statement = mmq_sqlite_own(store, MMQ_SQLITE_SET_COMMIT);
        mmq_bind_int(statement, 1, store->commit);
        err = mmq_run(store, statement, why);
    }
    return err == MMQ_OK ? mmq_run(store, mmq_sqlite_own(store, MMQ_SQLITE_COMMIT), why) : err;
}

/* SQLite has rolled back by itself after some errors. */
void mmq_sqlite_undo(mmq_store *store)
{
    sqlite3 *db = mmq_sqlite_of(store)->db;
    if (sqlite3_get_autocommit(db) == 0) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL,
                           NULL); /* where it fails there is none left */
    }
}

/* There is no other writer. */
mmq_err mmq_sqlite_alone(mmq_store *store, mmq_why *why)
{
    (void)store, (void)why;
    return MMQ_OK;
}

mmq_err mmq_sqlite_tidies(mmq_store *store, bool *ours, mmq_why *why)
{
    (void)store, (void)why;
    *ours = true;
    return MMQ_OK;
}

mmq_err mmq_sqlite_shows_all(mmq_store *store, bool *all, mmq_why *why)
{
    (void)store, (void)why;
    *all = true;
    return MMQ_OK;
}
