/* The functions that stand in the table of the engine (sqlite.c), as engine.h wants them. */
#ifndef MMQ_STORE_SQLITE_ENGINE_H
#define MMQ_STORE_SQLITE_ENGINE_H

#include "workers/store/sqlite/sqlite.h"

/* open.c */
mmq_err mmq_sqlite_url_check(const char *url, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_place_check(const char *url, bool writes, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_open(mmq_store *store, const char *url, const mmq_store_watch *watch,
                        mmq_why *why) MMQ_MUST_USE;
void mmq_sqlite_close(mmq_store *store);

/* lock.c */
mmq_err mmq_sqlite_lock(const char *url, int *fd, mmq_why *why) MMQ_MUST_USE;

/* transaction.c */
mmq_err mmq_sqlite_begin(mmq_store *store, bool writes, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_commit(mmq_store *store, mmq_why *why) MMQ_MUST_USE;
void mmq_sqlite_undo(mmq_store *store);
mmq_err mmq_sqlite_alone(mmq_store *store, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_shows_all(mmq_store *store, bool *all, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_tidies(mmq_store *store, bool *ours, mmq_why *why) MMQ_MUST_USE;

/* statement.c */
mmq_err mmq_sqlite_prepare(mmq_store *store, int query, mmq_prepared **out,
                           mmq_why *why) MMQ_MUST_USE;
void mmq_sqlite_finalize(mmq_prepared *prepared);
void mmq_sqlite_reset(mmq_prepared *prepared);
mmq_err mmq_sqlite_step(mmq_store *store, mmq_prepared *prepared, bool *row,
                        mmq_why *why) MMQ_MUST_USE;
int64_t mmq_sqlite_changes(mmq_store *store);
int64_t mmq_sqlite_total_changes(mmq_store *store);
void mmq_sqlite_bind_int(mmq_prepared *prepared, int index, int64_t value);
void mmq_sqlite_bind_text(mmq_prepared *prepared, int index, const char *text);
void mmq_sqlite_bind_score(mmq_prepared *prepared, int index, double score);
void mmq_sqlite_bind_blob(mmq_prepared *prepared, int index, const void *data, size_t size);
bool mmq_sqlite_is_null(mmq_prepared *prepared, int column);
bool mmq_sqlite_column_int(mmq_prepared *prepared, int column, int64_t *out);
bool mmq_sqlite_column_double(mmq_prepared *prepared, int column, double *out);
const char *mmq_sqlite_column_text(mmq_prepared *prepared, int column, size_t *size);
const void *mmq_sqlite_column_blob(mmq_prepared *prepared, int column, size_t *size);

/* size.c, check.c, pages.c */
mmq_err mmq_sqlite_size(mmq_store *store, mmq_store_bytes *out, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_check(struct mmq_checker *checker, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_has_work(mmq_store *store, bool *work, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_do_work(mmq_store *store, bool *done, mmq_why *why) MMQ_MUST_USE;

/* restore.c, backup.c */
mmq_err mmq_sqlite_adopt(mmq_store *store, uint64_t id, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_backup(const char *url, const char *file, const mmq_store_watch *watch,
                          mmq_kept *out, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_sqlite_restore(const char *url, const char *file, bool aside,
                           const mmq_store_watch *watch, mmq_kept *out, mmq_why *why) MMQ_MUST_USE;

#endif
