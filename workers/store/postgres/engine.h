/* The functions that stand in the table of the engine (postgres.c), as engine.h of the store wants
 * them. */
#ifndef MMQ_STORE_POSTGRES_ENGINE_H
#define MMQ_STORE_POSTGRES_ENGINE_H

#include "workers/store/postgres/postgres.h"

enum { MMQ_PG_AHEAD_DATA = 12 }; /* column of MMQ_P_AHEAD_* and MMQ_P_EXPECT_* */

/* open.c */
mmq_err mmq_postgres_url_check(const char *url, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_place_check(const char *url, bool writes, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_lock(const char *url, int *fd, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_open(mmq_store *store, const char *url, const mmq_store_watch *watch,
                          mmq_why *why) MMQ_MUST_USE;
void mmq_postgres_close(mmq_store *store);
void mmq_postgres_hurry(mmq_store *store, unsigned silence_ms);

/* transaction.c */
mmq_err mmq_postgres_begin(mmq_store *store, bool writes, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_commit(mmq_store *store, mmq_why *why) MMQ_MUST_USE;
void mmq_postgres_undo(mmq_store *store);
mmq_err mmq_postgres_alone(mmq_store *store, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_tidies(mmq_store *store, bool *ours, mmq_why *why) MMQ_MUST_USE;

/* news.c */
mmq_err mmq_postgres_tell(mmq_store *store, const char *uid, int64_t last_rowid,
                          mmq_why *why) MMQ_MUST_USE;
bool mmq_postgres_heed(mmq_store *store);
bool mmq_postgres_is_fresh(mmq_store *store);

/* statement.c */
mmq_err mmq_postgres_prepare(mmq_store *store, int query, mmq_prepared **out,
                             mmq_why *why) MMQ_MUST_USE;
void mmq_postgres_finalize(mmq_prepared *prepared);
void mmq_postgres_reset(mmq_prepared *prepared);
mmq_err mmq_postgres_step(mmq_store *store, mmq_prepared *prepared, bool *row,
                          mmq_why *why) MMQ_MUST_USE;
int64_t mmq_postgres_changes(mmq_store *store);
int64_t mmq_postgres_total_changes(mmq_store *store);
void mmq_postgres_bind_int(mmq_prepared *prepared, int index, int64_t value);
void mmq_postgres_bind_text(mmq_prepared *prepared, int index, const char *text);
void mmq_postgres_bind_score(mmq_prepared *prepared, int index, double score);
void mmq_postgres_bind_blob(mmq_prepared *prepared, int index, const void *data, size_t size);
bool mmq_postgres_is_null(mmq_prepared *prepared, int column);
bool mmq_postgres_column_int(mmq_prepared *prepared, int column, int64_t *out);
bool mmq_postgres_column_double(mmq_prepared *prepared, int column, double *out);
const char *mmq_postgres_column_text(mmq_prepared *prepared, int column, size_t *size);
const void *mmq_postgres_column_blob(mmq_prepared *prepared, int column, size_t *size);

/* expect.c */
mmq_err mmq_postgres_expect(mmq_store *store, bool up, const mmq_sought *next, size_t count,
                            mmq_why *why) MMQ_MUST_USE;
bool mmq_postgres_expects(mmq_store *store, bool up, const mmq_sought *one);

/* keep.c */
mmq_err mmq_postgres_size(mmq_store *store, mmq_store_bytes *out, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_check(struct mmq_checker *checker, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_has_work(mmq_store *store, bool *work, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_do_work(mmq_store *store, bool *done, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_shows_all(mmq_store *store, bool *all, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_adopt(mmq_store *store, uint64_t id, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_backup(const char *url, const char *file, const mmq_store_watch *watch,
                            mmq_kept *out, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_postgres_restore(const char *url, const char *file, bool aside,
                             const mmq_store_watch *watch, mmq_kept *out,
                             mmq_why *why) MMQ_MUST_USE;

#endif
