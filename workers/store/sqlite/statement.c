/* Steps, parameters and columns of SQLite's statements, and what its result codes mean to us. */
#include "workers/store/sqlite/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

/* Begins with what all engines' begin with. */
typedef struct statement {
    mmq_prepared base;
    sqlite3_stmt *at;
} statement;

static sqlite3_stmt *at_of(mmq_prepared *prepared)
{
    return ((statement *)(void *)prepared)->at;
}

mmq_err mmq_sqlite_prepare_text(mmq_store *store, const char *text, mmq_prepared **out,
                                mmq_why *why)
{
    sqlite3 *db = mmq_sqlite_of(store)->db;
    statement *made = malloc(sizeof *made);
    *out = NULL;
    if (made == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a statement");
    }
    made->base.engine = &mmq_engine_sqlite;
    mmq_steps_anew(store);
    const int code = sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &made->at, NULL);
    if (code != SQLITE_OK) {
        free(made);
        return mmq_sqlite_error(db, code, "the store's tables", why);
    }
    *out = &made->base;
    return MMQ_OK;
}

mmq_err mmq_sqlite_prepare(mmq_store *store, int query, mmq_prepared **out, mmq_why *why)
{
    return mmq_sqlite_prepare_text(store, mmq_sqlite_texts[query], out, why);
}

void mmq_sqlite_finalize(mmq_prepared *prepared)
{
    (void)sqlite3_finalize(at_of(prepared));
    free(prepared);
}

void mmq_sqlite_reset(mmq_prepared *prepared)
{
    (void)sqlite3_reset(at_of(prepared));
}

mmq_err mmq_sqlite_step(mmq_store *store, mmq_prepared *prepared, bool *row, mmq_why *why)
{
    mmq_steps_anew(store);
    const int code = sqlite3_step(at_of(prepared));
    *row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? MMQ_OK
               : mmq_sqlite_error(mmq_sqlite_of(store)->db, code, "the store", why);
}

int64_t mmq_sqlite_changes(mmq_store *store)
{
    return sqlite3_changes64(mmq_sqlite_of(store)->db);
}

int64_t mmq_sqlite_total_changes(mmq_store *store)
{
    return sqlite3_total_changes64(mmq_sqlite_of(store)->db);
}

mmq_err mmq_sqlite_error(sqlite3 *db, int code, const char *doing, mmq_why *why)
{
    const char *text = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return mmq_fail(why, MMQ_EBUSY, "%s is locked by another process: %s", doing, text);
    case SQLITE_FULL:
        return mmq_fail(why, MMQ_ENOSPC, "no space left for %s", doing);
    case SQLITE_NOMEM:
        return mmq_fail(why, MMQ_ENOMEM, "no memory left for %s", doing);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY: {
        int number = db != NULL ? sqlite3_system_errno(db) : 0;
        mmq_err err = number == ENOSPC || number == EDQUOT ? MMQ_ENOSPC : MMQ_EIO;
        return mmq_fail(why, err, "%s cannot be read or written: %s%s%s", doing, text,
                        number != 0 ? ": " : "", number != 0 ? strerror(number) : "");
    }
    case SQLITE_INTERRUPT:
        return mmq_fail(why, MMQ_ECORRUPT,
                        "%s: damaged: its tables take more steps than a sound file's; restore a"
                        " backup",
                        doing);
    default:
        return mmq_fail(why, MMQ_ECORRUPT, "%s: damaged: %s; restore a backup", doing, text);
    }
}

/* ---- parameters and columns ------------------------------------------------------------- */

/* Binding fails for a wrong index (our bug) or for want of memory, which the copy-free binds below
 * do not need. */
static void check_bound(int code)
{
    CHECK(code == SQLITE_OK);
}

void mmq_sqlite_bind_int(mmq_prepared *prepared, int index, int64_t value)
{
    check_bound(sqlite3_bind_int64(at_of(prepared), index, value));
}

void mmq_sqlite_bind_text(mmq_prepared *prepared, int index, const char *text)
{
    check_bound(text == NULL ? sqlite3_bind_null(at_of(prepared), index)
                             : sqlite3_bind_text(at_of(prepared), index, text, -1, SQLITE_STATIC));
}

void mmq_sqlite_bind_score(mmq_prepared *prepared, int index, double score)
{
    check_bound(sqlite3_bind_double(at_of(prepared), index, score)); /* NaN becomes NULL */
}

void mmq_sqlite_bind_blob(mmq_prepared *prepared, int index, const void *data, size_t size)
{
    check_bound(sqlite3_bind_blob(at_of(prepared), index, data, (int)size, SQLITE_STATIC));
}

bool mmq_sqlite_is_null(mmq_prepared *prepared, int column)
{
    return sqlite3_column_type(at_of(prepared), column) == SQLITE_NULL;
}

bool mmq_sqlite_column_int(mmq_prepared *prepared, int column, int64_t *out)
{
    if (sqlite3_column_type(at_of(prepared), column) != SQLITE_INTEGER) {
        return false;
    }
    *out = sqlite3_column_int64(at_of(prepared), column);
    return true;
}

bool mmq_sqlite_column_double(mmq_prepared *prepared, int column, double *out)
{
    if (sqlite3_column_type(at_of(prepared), column) != SQLITE_FLOAT) {
        return false;
    }
    *out = sqlite3_column_double(at_of(prepared), column);
    return true;
}

const char *mmq_sqlite_column_text(mmq_prepared *prepared, int column, size_t *size)
{
    sqlite3_stmt *at = at_of(prepared);
    const char *text = sqlite3_column_type(at, column) == SQLITE_TEXT
                           ? (const char *)sqlite3_column_text(at, column)
                           : NULL;
    *size = text != NULL ? (size_t)sqlite3_column_bytes(at, column) : 0;
    return text;
}

const void *mmq_sqlite_column_blob(mmq_prepared *prepared, int column, size_t *size)
{
    sqlite3_stmt *at = at_of(prepared);
    const void *blob =
        sqlite3_column_type(at, column) == SQLITE_BLOB ? sqlite3_column_blob(at, column) : NULL;
    *size = blob != NULL ? (size_t)sqlite3_column_bytes(at, column) : 0;
    return blob;
}
