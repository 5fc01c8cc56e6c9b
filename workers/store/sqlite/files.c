#include "workers/store/sqlite/files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 1024 * 1024, PAGE = 4096 };

mmq_file_name mmq_file_named(const char *path, const char *ending)
{
    mmq_file_name name;
    (void)snprintf(name.text, sizeof name.text, "%.*s%s", PATH_MAX, path, ending);
    return name;
}

bool mmq_file_has_bytes(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && about.st_size > 0;
}

int mmq_file_sync(const char *path, int flags)
{
    const int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    const int result = fsync(fd);
    const int number = errno;
    (void)close(fd);
    errno = number;
    return result;
}

int mmq_file_sync_folder_of(const char *path)
{
    mmq_file_name folder = mmq_file_named(path, "");
    return mmq_file_sync(dirname(folder.text), O_RDONLY | O_DIRECTORY);
}

/* Where the file system cannot refuse by itself to replace a file, we look first. */
static int rename_new(const char *from, const char *path)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    if (access(path, F_OK) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, path);
}

int mmq_file_place(const char *from, const char *path, bool replace)
{
    if (mmq_file_sync(from, O_RDWR) != 0 ||
        (replace ? rename(from, path) : rename_new(from, path)) != 0 ||
        mmq_file_sync_folder_of(path) != 0) {
        return errno;
    }
    return 0;
}

void mmq_file_remove_beside(const char *path)
{
    static const char *const endings[] = {"-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        (void)unlink(mmq_file_named(path, endings[i]).text);
    }
}

void mmq_file_remove_all(const char *path)
{
    mmq_file_remove_beside(path);
    (void)unlink(path);
}

/* ---- making ----------------------------------------------------------------------------- */

static bool is_at(int fd, const char *path)
{
    struct stat here, there;
    return fstat(fd, &here) == 0 && lstat(path, &there) == 0 && here.st_ino == there.st_ino &&
           here.st_dev == there.st_dev;
}

/* The lock is on the file, and the name may have gone to another file meanwhile. */
static int lock_new(const char *path, int *out)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    int number = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fchmod(fd, 0600) != 0) {
        number = errno;
    } else if (!is_at(fd, path)) {
        number = EWOULDBLOCK;
    }
    if (number != 0) {
        (void)close(fd);
        return number;
    }
    *out = fd;
    return 0;
}

mmq_err mmq_file_reserve(const char *path, int *fd, mmq_why *why)
{
    *fd = -1;
    int number = lock_new(path, fd);
    if (number == EWOULDBLOCK) {
        return mmq_fail(why, MMQ_EBUSY, "another process is writing %s", path);
    }
    if (number == 0) {
        mmq_file_remove_beside(path);
        number = ftruncate(*fd, 0) == 0 ? 0 : errno;
    }
    if (number == 0) {
        return MMQ_OK;
    }
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return mmq_fail(why, number == ENOSPC || number == EDQUOT ? MMQ_ENOSPC : MMQ_EIO,
                    "cannot make %s: %s", path, strerror(number));
}

/* ---- copying ---------------------------------------------------------------------------- */

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t done = write(fd, bytes, size);
        if (done < 0 && errno != EINTR) {
            return false;
        }
        bytes += done > 0 ? done : 0;
        size -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

static mmq_err copy_piece(int from, int to, const char *name, char *piece, size_t *size,
                          mmq_why *why)
{
    ssize_t got;
    do {
        got = read(from, piece, COPY_BYTES);
    } while (got < 0 && errno == EINTR);
    *size = got > 0 ? (size_t)got : 0;
    if (got < 0) {
        return mmq_fail(why, MMQ_EIO, "cannot read what goes into %s: %s", name, strerror(errno));
    }
    if (write_all(to, piece, *size)) {
        return MMQ_OK;
    }
    return errno == ENOSPC || errno == EDQUOT
               ? mmq_fail(why, MMQ_ENOSPC, "no space left for %s", name)
               : mmq_fail(why, MMQ_EIO, "cannot write %s: %s", name, strerror(errno));
}

mmq_err mmq_file_copy(int from, int to, const char *name, const mmq_store_watch *watch,
                      mmq_why *why)
{
    struct stat about = {0};
    char *piece = malloc(COPY_BYTES);
    mmq_err err = piece != NULL ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "no memory to copy a file");
    size_t size = 1;
    (void)fstat(from, &about);
    for (int64_t done = 0; err == MMQ_OK && size > 0; done += (int64_t)size) {
        err = watch->at(watch->context, "copying pages", done / PAGE, about.st_size / PAGE)
                  ? copy_piece(from, to, name, piece, &size, why)
                  : mmq_fail(why, MMQ_ECLOSED, "broken off");
    }
    free(piece);
    return err;
}
