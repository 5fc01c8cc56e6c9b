/* Backups: VACUUM INTO a file of a temporary name, which is checked as any store is and then
 * renamed.
 *
 * A stepwise copy of the file (SQLite's backup calls) begins again whenever somebody writes, and
 * beside a writer never ends. VACUUM INTO reads within one transaction and writes each row once; it
 * leaves out free pages. Only the connection that does it may attach one file, and may write to
 * what it has attached; the store itself is open for reading only. */
#include "workers/store/sqlite/files.h"
#include "workers/store/sqlite/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- copying ---------------------------------------------------------------------------- */

static mmq_err read_pages(mmq_store *store, int64_t *out, mmq_why *why)
{
    mmq_prepared *statement = NULL;
    bool found;
    mmq_err err =
        mmq_sqlite_prepare_text(store,
                                "SELECT page_count - freelist_count FROM pragma_page_count,"
                                " pragma_freelist_count",
                                &statement, why);
    if (err == MMQ_OK) {
        err = mmq_read_int(store, statement, &found, out, "its count of pages", why);
    }
    mmq_finalize(&statement);
    return err;
}

/* What nothing but this may do: SQLite attaches the new file by itself, and writes to it. The store
 * is not less safe for it, since its file is open for reading only. */
static mmq_err allow_copy(mmq_store *store, mmq_why *why)
{
    (void)sqlite3_limit(mmq_sqlite_of(store)->db, SQLITE_LIMIT_ATTACHED, 1);
    const int code =
        sqlite3_exec(mmq_sqlite_of(store)->db, "PRAGMA query_only = OFF", NULL, NULL, NULL);
    return code == SQLITE_OK ? MMQ_OK
                             : mmq_sqlite_error(mmq_sqlite_of(store)->db, code, "the store", why);
}

static mmq_err copy_into(mmq_store *store, const char *path, int fd, const mmq_store_watch *watch,
                         mmq_why *why)
{
    mmq_onlooker onlooker = {.watch = watch, .doing = "copying pages", .fd = fd};
    mmq_prepared *statement = NULL;
    mmq_err err = read_pages(store, &onlooker.total, why);
    if (err == MMQ_OK) {
        err = allow_copy(store, why);
    }
    if (err == MMQ_OK) {
        err = mmq_sqlite_prepare_text(store, "VACUUM INTO ?1", &statement, why);
    }
    if (err == MMQ_OK) {
        mmq_bind_text(statement, 1, path);
        err = mmq_steps_watched(store, statement, &onlooker, NULL, NULL, why);
    }
    mmq_finalize(&statement);
    return err == MMQ_ENOSPC ? mmq_fail(why, err, "no space left for the backup %s", path) : err;
}

static mmq_err copy_store(const char *url, const char *path, int fd, const mmq_store_watch *watch,
                          mmq_why *why)
{
    mmq_store *store;
    mmq_err err = mmq_store_open(url, MMQ_STORE_READ, &store, why);
    if (err == MMQ_OK) {
        err = copy_into(store, path, fd, watch, why);
    }
    mmq_store_close(&store);
    return err;
}

/* ---- checking --------------------------------------------------------------------------- */

mmq_err mmq_kept_check(const char *path, const mmq_store_watch *watch, mmq_kept *out, mmq_why *why)
{
    const mmq_file_name url = mmq_file_named("sqlite:", path);
    mmq_snapshot snapshot;
    mmq_store *store;
    mmq_err err = mmq_store_open(url.text, MMQ_STORE_READ, &store, why);
    if (err == MMQ_OK) {
        err = mmq_store_begin_read(store, &snapshot, why);
    }
    if (err == MMQ_OK) {
        mmq_store_end_read(store);
        out->commit = snapshot.commit;
        err = mmq_store_check(store, watch, &out->sums, why);
    }
    mmq_store_close(&store);
    return err == MMQ_OK && out->sums.faults > 0
               ? mmq_fail(why, MMQ_ECORRUPT, "%s is damaged: %lld faults", path,
                          (long long)out->sums.faults)
               : err;
}

/* ---- all of it -------------------------------------------------------------------------- */

static mmq_err refuse_existing(const char *file, mmq_why *why)
{
    return mmq_fail(why, MMQ_ECONFLICT, "%s exists: a backup replaces nothing, name another file",
                    file);
}

static mmq_err place(const char *partial, const char *file, int64_t *bytes, mmq_why *why)
{
    struct stat about = {0};
    const int number = mmq_file_place(partial, file, false);
    if (number == EEXIST) {
        return refuse_existing(file, why);
    }
    *bytes = stat(file, &about) == 0 ? about.st_size : 0;
    return number == 0
               ? MMQ_OK
               : mmq_fail(why, number == ENOSPC ? MMQ_ENOSPC : MMQ_EIO,
                          "cannot put the backup in its place %s: %s", file, strerror(number));
}

static mmq_err make_backup(const char *url, const char *path, const mmq_store_watch *watch,
                           mmq_kept *out, mmq_why *why)
{
    const mmq_file_name partial = mmq_file_named(path, ".partial");
    int fd;
    mmq_err err = mmq_file_reserve(partial.text, &fd, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = copy_store(url, partial.text, fd, watch, why);
    if (err == MMQ_OK) {
        err = mmq_kept_check(partial.text, watch, out, why);
    }
    if (err == MMQ_OK) {
        err = place(partial.text, path, &out->bytes, why);
    }
    if (err != MMQ_OK) {
        mmq_file_remove_all(partial.text);
    }
    (void)close(fd);
    return err;
}

mmq_err mmq_sqlite_backup(const char *url, const char *file, const mmq_store_watch *watch,
                          mmq_kept *out, mmq_why *why)
{
    *out = (mmq_kept){.commit = 0};
    if (strlen(file) > PATH_MAX - 32) {
        return mmq_fail(why, MMQ_EINVAL, "the name of the backup is too long");
    }
    /* As stores' paths are, so that SQLite takes it for a name. */
    const mmq_file_name path = mmq_file_named(*file == '/' ? "" : "./", file);
    if (access(path.text, F_OK) == 0) {
        return refuse_existing(file, why);
    }
    return make_backup(url, path.text, watch, out, why);
}
