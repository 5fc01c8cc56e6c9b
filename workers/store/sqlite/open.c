/* Opening and closing. The file is looked at before SQLite reads it, since SQLite takes an empty
 * file for a new database and would say "no such table" of it.
 *
 * Connections are small: a few MiB of cache each, because the kernel caches the file for all of
 * them. There is no mmap: with it an I/O error or a file cut short is a SIGBUS, and not an error.
 */
#include "workers/store/sqlite/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/places.h"

enum {
    WAL_CHECKPOINT_PAGES = 1000, /* the log is copied into the file from this size on */
    WAL_GENTLE_PAGES = 16,    /* and from this size on after housekeeping, which is in no hurry */
    WAL_RESTART_PAGES = 8000, /* from here on we wait for readers to make it begin anew */
    WAL_WAIT_MS = 250,        /* for so long */
};

static const char reader_pragmas[] = "PRAGMA query_only = ON; PRAGMA cache_size = -2048;";
/* FULL: each commit is on disk when COMMIT returns. A log that grew is cut back to its limit. */
static const char writer_pragmas[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;"
    "PRAGMA journal_size_limit = 16777216; PRAGMA secure_delete = FAST;";

char *mmq_store_path(const char *url, mmq_err *err, mmq_why *why)
{
    static const char scheme[] = "sqlite:";
    const char *path = url + strlen(scheme);
    size_t room = PATH_MAX - 32; /* for what is put behind the name */
    if (strncmp(url, scheme, strlen(scheme)) != 0 || *path == '\0' || strlen(path) > room) {
        *err = mmq_fail(why, MMQ_EINVAL, "a store is named sqlite:PATH, and not \"%.100s\"", url);
        return NULL;
    }
    /* "./" keeps SQLite from reading ":memory:" and "file:" as something else than names. */
    char *copy = NULL;
    if (asprintf(&copy, "%s%s", *path == '/' ? "" : "./", path) < 0) {
        *err = mmq_fail(why, MMQ_ENOMEM, "no memory for a path");
        return NULL;
    }
    *err = MMQ_OK;
    return copy;
}

mmq_err mmq_sqlite_url_check(const char *url, mmq_why *why)
{
    mmq_err err;
    free(mmq_store_path(url, &err, why));
    return err;
}

mmq_err mmq_sqlite_place_check(const char *url, bool writes, mmq_why *why)
{
    const char *path = strchrnul(url, ':') + 1;
    mmq_err err = mmq_sqlite_url_check(url, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = mmq_place_file(path, why);
    if (writes && (err == MMQ_OK || err == MMQ_ENOTFOUND)) {
        const bool is_there = err == MMQ_OK;
        err = mmq_place_beside(path, why); /* the log and the lock are beside it */
        if (err == MMQ_OK && is_there && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0) {
            err = mmq_fail(why, MMQ_EINVAL, "%.160s cannot be written: %s", path, strerror(errno));
        }
    }
    return err;
}

/* True if the log holds pages that the file may be waiting for. */
static bool has_log(const char *path)
{
    char name[PATH_MAX + 8];
    struct stat about;
    (void)snprintf(name, sizeof name, "%s-wal", path);
    return stat(name, &about) == 0 && about.st_size > 0;
}

/* SQLite notices missing pages, but reads half a page at the end as if zeros followed. */
static mmq_err check_header(const char *path, const uint8_t *header, int64_t file_size,
                            mmq_why *why)
{
    static const char magic[16] = "SQLite format 3";
    if (memcmp(header, magic, sizeof magic) != 0) {
        return mmq_fail(why, MMQ_ECORRUPT,
                        "%s is no SQLite database or its header is damaged: restore a backup or"
                        " name another --store",
                        path);
    }
    int64_t page_size = header[16] << 8 | header[17];
    page_size = page_size == 1 ? 65536 : page_size;
    if (page_size == 0 || (file_size % page_size != 0 && !has_log(path))) {
        return mmq_fail(why, MMQ_ECORRUPT,
                        "%s is cut off in the middle of a page: restore a backup", path);
    }
    return MMQ_OK;
}

/* Through SQLite's own descriptor: to close another one of the same file would let go of all locks
 * that this process has on it (POSIX), which are those of its other connections, and a foreign
 * process that closes its last one would then take the log away from under them. */
static mmq_err check_head_of_file(sqlite3 *db, const char *path, mmq_why *why)
{
    uint8_t header[100] = {0};
    sqlite3_file *file = NULL;
    sqlite3_int64 size = 0;
    int code = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (code == SQLITE_OK) {
        code = file->pMethods->xFileSize(file, &size);
    }
    if (code == SQLITE_OK) {
        code = file->pMethods->xRead(file, header, sizeof header, 0);
    }
    return code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ
               ? check_header(path, header, size, why)
               : mmq_sqlite_error(NULL, code, "the store", why);
}

/* What is under that name? */
static mmq_err check_file(const char *path, mmq_why *why)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        mmq_err err = errno == ENOENT || errno == ENOTDIR ? MMQ_ENOTFOUND : MMQ_EIO;
        return mmq_fail(why, err, "there is no store %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(about.st_mode)) {
        return mmq_fail(why, MMQ_ECORRUPT, "%s is %s and no store: name another --store", path,
                        S_ISDIR(about.st_mode) ? "a folder" : "no regular file");
    }
    if (about.st_size == 0) {
        return mmq_fail(why, MMQ_ECORRUPT,
                        "%s is an empty file and no store: restore a backup, or remove it and a"
                        " new store is made",
                        path);
    }
    return MMQ_OK;
}

/* Keeps the log bounded. To copy many pages at once takes a CPU for milliseconds, in which readers
 * may want it: so housekeeping, which nobody waits for, copies what it wrote at once. A passive
 * checkpoint cannot begin the log anew while readers follow each other without a gap; past
 * WAL_RESTART_PAGES we wait for those that are in it, which is short: readers end their
 * transactions with each page. One that does not (a backup, somebody's shell) is waited for again
 * only when the log has grown by as much once more. Failure is none: the commit is durable.
 */
static int checkpoint_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    const mmq_store *store = context;
    mmq_sqlite *sqlite = mmq_sqlite_of(store);
    if (pages < (store->gentle ? WAL_GENTLE_PAGES : WAL_CHECKPOINT_PAGES)) {
        return SQLITE_OK;
    }
    const bool restart = pages >= sqlite->restart_pages;
    (void)sqlite3_busy_timeout(db, WAL_WAIT_MS);
    const int code = sqlite3_wal_checkpoint_v2(
        db, name, restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    (void)sqlite3_busy_timeout(db, MMQ_BUSY_MS);
    if (restart) {
        sqlite->restart_pages = WAL_RESTART_PAGES + (code == SQLITE_OK ? 0 : pages);
    }
    return SQLITE_OK;
}

static mmq_err set_writer(mmq_store *store, const char *path, mmq_why *why)
{
    mmq_sqlite *sqlite = mmq_sqlite_of(store);
    if (sqlite3_db_readonly(sqlite->db, "main") != 0) {
        return mmq_fail(why, MMQ_EIO, "the store %s cannot be written: it is read-only", path);
    }
    int keep = 1;
    (void)sqlite3_file_control(sqlite->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    sqlite->is_writer = true;
    sqlite->restart_pages = WAL_RESTART_PAGES;
    (void)sqlite3_wal_hook(sqlite->db, checkpoint_wal, store);
    return MMQ_OK;
}

/* A first look: the one row of `store`, in a transaction, so that WAL recovery happens here. */
static mmq_err read_once(mmq_store *store, mmq_why *why)
{
    mmq_snapshot snapshot;
    mmq_err err = mmq_store_begin_read(store, &snapshot, why);
    if (err == MMQ_OK) {
        mmq_store_end_read(store);
    }
    return err;
}

/* Readers cannot bring a store to its current form: they say who does. */
static mmq_err refuse_form(const char *path, mmq_form form, mmq_why *why)
{
    return form == MMQ_FORM_OLD
               ? mmq_fail(why, MMQ_EBUSY,
                          "%s is of an earlier form: start the write worker (metricmq up), which"
                          " brings it to the new one",
                          path)
               : mmq_fail(why, MMQ_EBUSY,
                          "%s is being brought to a new form by the write worker: try again when"
                          " that is done",
                          path);
}

/* What is left to do once the file is known to be a store of ours. */
static mmq_err settle(mmq_store *store, const char *path, const mmq_store_watch *watch,
                      mmq_why *why)
{
    const mmq_sqlite *sqlite = mmq_sqlite_of(store);
    const mmq_form form = sqlite->form;
    const bool moving = form == MMQ_FORM_OLD || form == MMQ_FORM_BETWEEN;
    mmq_err err = MMQ_OK;
    if (store->mode == MMQ_STORE_WRITE) {
        err = mmq_connection_set(sqlite->db, writer_pragmas, why);
        if (err == MMQ_OK) {
            err = set_writer(store, path, why);
        }
        if (err == MMQ_OK && form == MMQ_FORM_OLD) {
            err = mmq_schema_upgrade(sqlite->db, why);
        }
        if (err == MMQ_OK) {
            err = mmq_schema_complete(sqlite->db, why);
        }
    } else if (moving) {
        err = refuse_form(path, form, why);
    }
    store->is_earlier = form != MMQ_FORM_CURRENT && store->mode == MMQ_STORE_READ;
    if (err == MMQ_OK) {
        err = mmq_sqlite_prepare_own(store, why);
    }
    if (err == MMQ_OK) {
        err = mmq_statements_prepare(store, why);
    }
    if (err == MMQ_OK) {
        err = read_once(store, why);
    }
    return err == MMQ_OK && moving ? mmq_migrate(store, watch, why) : err;
}

static mmq_err connect(mmq_store *store, const char *path, const mmq_store_watch *watch,
                       mmq_why *why)
{
    mmq_sqlite *sqlite = mmq_sqlite_of(store);
    bool reader = store->mode == MMQ_STORE_READ;
    int flags = SQLITE_OPEN_NOMUTEX | (reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    int code = sqlite3_open_v2(path, &sqlite->db, flags, NULL);
    if (code != SQLITE_OK) {
        return mmq_sqlite_error(sqlite->db, code, "the store", why);
    }
    mmq_steps_bound(store);
    mmq_err err = check_head_of_file(sqlite->db, path, why);
    if (err == MMQ_OK) {
        err = mmq_connection_set(sqlite->db, reader ? reader_pragmas : "", why);
    }
    if (err == MMQ_OK) {
        err = mmq_schema_check(store, path, why);
    }
    return err == MMQ_OK ? settle(store, path, watch, why) : err;
}

static mmq_err open_path(const char *path, mmq_store *store, const mmq_store_watch *watch,
                         mmq_why *why)
{
    mmq_err err = check_file(path, why);
    if (err == MMQ_ENOTFOUND && store->mode == MMQ_STORE_WRITE) {
        err = mmq_schema_make(store, path, why);
    }
    return err == MMQ_OK ? connect(store, path, watch, why) : err;
}

mmq_err mmq_sqlite_open(mmq_store *store, const char *url, const mmq_store_watch *watch,
                        mmq_why *why)
{
    mmq_err err;
    char *path = mmq_store_path(url, &err, why);
    if (path == NULL) {
        return err;
    }
    store->connection = calloc(1, sizeof(mmq_sqlite));
    err = store->connection != NULL ? open_path(path, store, watch, why)
                                    : mmq_fail(why, MMQ_ENOMEM, "no memory for a store");
    free(path);
    return err;
}

void mmq_sqlite_close(mmq_store *store)
{
    mmq_sqlite *sqlite = mmq_sqlite_of(store);
    if (sqlite == NULL) {
        return;
    }
    for (int i = 0; i < MMQ_SQLITE_COUNT; i++) {
        mmq_finalize(&sqlite->own[i]); /* an open transaction is rolled back by the close */
    }
    if (sqlite->is_writer) {
        /* So that the file alone is the store, for who copies it. If a reader is in the way, the
         * log holds what is missing, as after a crash. */
        (void)sqlite3_wal_checkpoint_v2(sqlite->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    CHECK(sqlite3_close(sqlite->db) == SQLITE_OK);
    free(sqlite);
    store->connection = NULL;
}
