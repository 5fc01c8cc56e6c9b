/* Restoring: what is about to be the store is made whole under PATH.restoring, a copy that is
 * brought to the current form, given an id and checked. Then names change, in an order in which no
 * log ever lies beside a file that it does not belong to:
 *
 *   1. the old store and its log get a second name each     PATH.old-N, PATH.old-N-wal
 *   2. their first names go, the store's first
 *   3. PATH.restoring becomes PATH
 *
 * After a crash before 2 the old store is there; in 2, or before 3, no store is there, but
 * PATH.restoring is: a writer refuses to make a new store beside it (schema.c), and the next
 * restore goes on. The writer's lock is held, and no other process has the old store open: SQLite
 * holds a lock on the file for each connection that has read it. */
#include "workers/store/sqlite/files.h"
#include "workers/store/sqlite/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/digest.h"

enum { OLD_MAX = 1000 };

typedef struct restoring {
    const char *path; /* of the store */
    const char *file; /* that it is made of */
    mmq_file_name url, making;
    bool aside;
    const mmq_store_watch *watch;
} restoring;

/* ---- the new store ---------------------------------------------------------------------- */

static mmq_err open_source(const restoring *r, const char *name, int *fd, mmq_why *why)
{
    struct stat about, store;
    *fd = open(name,
               O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* of a pipe nobody waits for the other end */
    if (*fd < 0) {
        return mmq_fail(why, errno == ENOENT ? MMQ_ENOTFOUND : MMQ_EIO, "cannot read %s: %s", name,
                        strerror(errno));
    }
    mmq_err err = MMQ_OK;
    if (fstat(*fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        err = mmq_fail(why, MMQ_EINVAL, "%s is no regular file", name);
    } else if (stat(r->path, &store) == 0 && store.st_ino == about.st_ino &&
               store.st_dev == about.st_dev) {
        err = mmq_fail(why, MMQ_EINVAL, "%s is the store itself", name);
    }
    if (err != MMQ_OK) {
        (void)close(*fd);
    }
    return err;
}

static mmq_err copy_file(const restoring *r, const char *from, const char *to, mmq_why *why)
{
    int source, target;
    mmq_err err = open_source(r, from, &source, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = mmq_file_reserve(to, &target, why);
    if (err == MMQ_OK) {
        err = mmq_file_copy(source, target, to, r->watch, why);
        (void)close(target);
    }
    (void)close(source);
    return err;
}

/* A store that was copied or put aside by hand may have its log beside it. */
static mmq_err copy_source(const restoring *r, mmq_why *why)
{
    const mmq_file_name log = mmq_file_named(r->file, "-wal");
    mmq_err err = copy_file(r, r->file, r->making.text, why);
    return err == MMQ_OK && mmq_file_has_bytes(log.text)
               ? copy_file(r, log.text, mmq_file_named(r->making.text, "-wal").text, why)
               : err;
}

mmq_err mmq_sqlite_set_id(mmq_store *store, uint64_t id, mmq_why *why)
{
    mmq_prepared *statement = NULL;
    mmq_err err =
        mmq_sqlite_prepare_text(store, "UPDATE store SET id = ?1 WHERE one = 1", &statement, why);
    if (err == MMQ_OK) {
        mmq_bind_int(statement, 1, (int64_t)id);
        err = mmq_run(store, statement, why);
    }
    mmq_finalize(&statement);
    return err;
}

mmq_err mmq_sqlite_adopt(mmq_store *store, uint64_t id, mmq_why *why)
{
    char text[64];
    mmq_prepared *statement = NULL;
    (void)snprintf(text, sizeof text, "PRAGMA application_id = %d", MMQ_APPLICATION_ID);
    mmq_err err = mmq_sqlite_set_id(store, id, why);
    if (err == MMQ_OK) {
        err = mmq_sqlite_prepare_text(store, text, &statement, why);
    }
    if (err == MMQ_OK) {
        err = mmq_run(store, statement, why);
    }
    mmq_finalize(&statement);
    return err;
}

/* Of an earlier form or not: the writer's way of opening does what is to be done. */
static mmq_err settle(const restoring *r, mmq_why *why)
{
    mmq_store *store;
    uint64_t id;
    mmq_random(&id, sizeof id);
    mmq_err err = mmq_store_open_writer(r->url.text, r->watch, &store, why);
    if (err == MMQ_OK) {
        err = mmq_store_begin_write(store, why);
    }
    if (err == MMQ_OK) {
        err = mmq_sqlite_set_id(store, id, why);
        if (err == MMQ_OK) {
            err = mmq_store_commit(store, why);
        } else {
            mmq_store_rollback(store);
        }
    }
    mmq_store_close(&store);
    return err;
}

/* Closed by its only connection, it has all of its log in it. */
static mmq_err check_log_is_empty(const restoring *r, mmq_why *why)
{
    return mmq_file_has_bytes(mmq_file_named(r->making.text, "-wal").text)
               ? mmq_fail(why, MMQ_EIO, "the log of %s cannot be copied into it", r->making.text)
               : MMQ_OK;
}

static mmq_err make_store(const restoring *r, mmq_kept *out, mmq_why *why)
{
    mmq_err err = copy_source(r, why);
    if (err == MMQ_OK) {
        err = settle(r, why);
    }
    if (err == MMQ_OK) {
        err = check_log_is_empty(r, why);
    }
    if (err == MMQ_OK) {
        err = mmq_kept_check(r->making.text, r->watch, out, why);
    }
    mmq_file_remove_beside(r->making.text);
    if (err == MMQ_OK && mmq_file_sync(r->making.text, O_RDWR) != 0) {
        err = mmq_fail(why, MMQ_EIO, "cannot write %s: %s", r->making.text, strerror(errno));
    }
    return err;
}

/* ---- the old one ------------------------------------------------------------------------ */

static mmq_err check_unused(const char *path, mmq_why *why)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? MMQ_OK
                               : mmq_fail(why, MMQ_EIO, "cannot open the old store %s: %s", path,
                                          strerror(errno));
    }
    /* Where SQLite's locks lie. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000};
    lock.l_len = 512;
    const int result = fcntl(fd, F_GETLK, &lock);
    (void)close(fd);
    return result == 0 && lock.l_type == F_UNLCK
               ? MMQ_OK
               : mmq_fail(why, MMQ_EBUSY,
                          "process %d has the store %s open: stop all workers and `metricmq up`"
                          " first",
                          result == 0 ? (int)lock.l_pid : 0, path);
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0 || mmq_file_has_bytes(mmq_file_named(path, "-wal").text);
}

static mmq_err find_old_name(const restoring *r, char *out, size_t size, mmq_why *why)
{
    for (int i = 1; i <= OLD_MAX; i++) {
        (void)snprintf(out, size, "%s.old-%d", r->path, i);
        if (access(out, F_OK) != 0 && access(mmq_file_named(out, "-wal").text, F_OK) != 0) {
            return MMQ_OK;
        }
    }
    return mmq_fail(why, MMQ_EIO, "there are %d old stores beside %s: remove some", OLD_MAX,
                    r->path);
}

static int link_if_there(const char *path, const char *name)
{
    return link(path, name) == 0 || errno == ENOENT ? 0 : -1;
}

static mmq_err put_aside(const restoring *r, mmq_kept *out, mmq_why *why)
{
    const mmq_file_name log = mmq_file_named(r->path, "-wal");
    mmq_err err = find_old_name(r, out->old, sizeof out->old, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (link_if_there(r->path, out->old) != 0 ||
        (mmq_file_has_bytes(log.text) &&
         link_if_there(log.text, mmq_file_named(out->old, "-wal").text) != 0) ||
        mmq_file_sync_folder_of(r->path) != 0 || (unlink(r->path) != 0 && errno != ENOENT)) {
        return mmq_fail(why, MMQ_EIO, "cannot keep the old store as %s: %s", out->old,
                        strerror(errno));
    }
    return MMQ_OK;
}

static mmq_err refuse_old(const restoring *r, mmq_why *why)
{
    return is_there(r->path) && !r->aside
               ? mmq_fail(why, MMQ_ECONFLICT,
                          "there is a store %s: --keep-old puts it aside, under another name",
                          r->path)
               : check_unused(r->path, why);
}

/* ---- all of it -------------------------------------------------------------------------- */

static mmq_err take_place(const restoring *r, mmq_kept *out, mmq_why *why)
{
    struct stat about = {0};
    mmq_err err = check_unused(r->path, why); /* a copy and a check later */
    if (err == MMQ_OK && is_there(r->path)) {
        err = put_aside(r, out, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    mmq_file_remove_beside(r->path);
    const int number = mmq_file_place(r->making.text, r->path, false);
    out->bytes = stat(r->path, &about) == 0 ? about.st_size : 0;
    return number == 0 ? MMQ_OK
                       : mmq_fail(why, MMQ_EIO, "cannot put the store in its place %s: %s", r->path,
                                  strerror(number));
}

/* Where a restore was broken off, PATH.restoring stays until one comes to its end. */
static mmq_err restore(const restoring *r, mmq_kept *out, mmq_why *why)
{
    const bool unfinished = access(r->path, F_OK) != 0 && access(r->making.text, F_OK) == 0;
    mmq_err err = refuse_old(r, why);
    if (err == MMQ_OK) {
        err = make_store(r, out, why);
        if (err != MMQ_OK && !unfinished) {
            mmq_file_remove_all(r->making.text);
        }
    }
    return err == MMQ_OK ? take_place(r, out, why) : err;
}

mmq_err mmq_sqlite_restore(const char *url, const char *file, bool aside,
                           const mmq_store_watch *watch, mmq_kept *out, mmq_why *why)
{
    *out = (mmq_kept){.commit = 0};
    mmq_err err;
    char *path = mmq_store_path(url, &err, why);
    if (path == NULL) {
        return err;
    }
    const restoring r = {
        .path = path,
        .file = file,
        .url = mmq_file_named("sqlite:", mmq_file_named(path, MMQ_RESTORING).text),
        .making = mmq_file_named(path, MMQ_RESTORING),
        .aside = aside,
        .watch = watch,
    };
    mmq_store_lock *lock;
    err = mmq_store_lock_try(url, &lock, why);
    if (err == MMQ_OK) {
        err = restore(&r, out, why);
    }
    mmq_store_unlock(&lock);
    free(path);
    return err;
}
