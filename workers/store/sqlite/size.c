/* What the store takes: of the file system for the files, of SQLite for what is free in them. */
#include "workers/store/sqlite/engine.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* 0 for a file that is not there: SQLite removes its log now and then. */
static mmq_err read_file_bytes(const char *path, int64_t *out, mmq_why *why)
{
    struct stat seen;
    *out = 0;
    if (stat(path, &seen) != 0) {
        return errno == ENOENT
                   ? MMQ_OK
                   : mmq_fail(why, MMQ_EIO, "cannot look at %s: %s", path, strerror(errno));
    }
    *out = seen.st_size;
    return MMQ_OK;
}

static mmq_err read_disk_free(const char *path, int64_t *out, mmq_why *why)
{
    struct statvfs seen;
    if (statvfs(path, &seen) != 0) {
        return mmq_fail(why, MMQ_EIO, "cannot look at the disk of %s: %s", path, strerror(errno));
    }
    *out = (int64_t)(seen.f_bavail * seen.f_frsize);
    return MMQ_OK;
}

mmq_err mmq_sqlite_size(mmq_store *store, mmq_store_bytes *out, mmq_why *why)
{
    const char *path = sqlite3_db_filename(mmq_sqlite_of(store)->db, "main");
    bool found;
    *out = (mmq_store_bytes){0};
    mmq_err err = mmq_read_int(store, mmq_sqlite_own(store, MMQ_SQLITE_FREE_BYTES), &found,
                               &out->file_free, "a count of pages", why);
    if (err == MMQ_OK) {
        err = read_file_bytes(path, &out->file, why);
    }
    if (err == MMQ_OK) {
        err = read_file_bytes(sqlite3_filename_wal(path), &out->log, why);
    }
    return err == MMQ_OK ? read_disk_free(path, &out->disk_free, why) : err;
}
