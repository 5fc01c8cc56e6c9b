/* Everything durable is made in the same order: write, fsync the file, rename, fsync the folder
 * that holds the name. A failed fsync fails the step: the kernel may have dropped the pages, so
 * that trying it again would say nothing. */
#include "lib/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/digest.h"

enum { FOLDER_MODE = 0755, FILE_MODE = 0644 };

mmq_random_name mmq_random_name_new(void)
{
    mmq_random_name name;
    uint64_t number;
    mmq_random(&number, sizeof number);
    snprintf(name.text, sizeof name.text, "%016llx", (unsigned long long)number);
    return name;
}

static mmq_err err_of(int error)
{
    switch (error) {
    case ENOENT:
        return MMQ_ENOTFOUND;
    case EEXIST:
    case ENOTEMPTY:
        return MMQ_ECONFLICT;
    case ENOTDIR:
    case ELOOP:
        return MMQ_ECORRUPT;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return MMQ_ENOSPC;
    case ENOMEM:
        return MMQ_ENOMEM;
    default:
        return MMQ_EIO;
    }
}

mmq_err mmq_files_fail(mmq_why *why, int error, const char *step, const char *name)
{
    char text[128];
    return mmq_fail(why, err_of(error), "cannot %s %s: %s", step, name,
                    strerror_r(error, text, sizeof text));
}

void mmq_fd_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

mmq_err mmq_fd_write(int fd, const void *data, size_t size, const char *name, mmq_why *why)
{
    const char *at = data;
    while (size > 0) {
        ssize_t done = write(fd, at, size);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return mmq_files_fail(why, done < 0 ? errno : ENOSPC, "write", name);
        }
        at += done;
        size -= (size_t)done;
    }
    return MMQ_OK;
}

mmq_err mmq_fd_sync(int fd, const char *name, mmq_why *why)
{
    return fsync(fd) == 0 ? MMQ_OK : mmq_files_fail(why, errno, "fsync", name);
}

/* ---- folders ---------------------------------------------------------------------------- */

static mmq_err open_folder(int folder, const char *name, int flags, int *fd, mmq_why *why)
{
    *fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    return *fd >= 0 ? MMQ_OK : mmq_files_fail(why, errno, "open the folder", name);
}

/* The new name is durable only when the folder that holds it is synced. A name that was there is
 * synced too: whoever made it may have crashed before its own fsync. */
static mmq_err make_folder(int folder, const char *name, int flags, int *fd, mmq_why *why)
{
    if (mkdirat(folder, name, FOLDER_MODE) != 0 && errno != EEXIST) {
        return mmq_files_fail(why, errno, "make the folder", name);
    }
    mmq_err err = open_folder(folder, name, flags, fd, why);
    if (err == MMQ_OK) {
        err = mmq_fd_sync(folder, name, why);
        if (err != MMQ_OK) {
            mmq_fd_close(fd);
        }
    }
    return err;
}

mmq_err mmq_folder_open_in(int folder, const char *name, int *fd, mmq_why *why)
{
    *fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *fd >= 0 ? MMQ_OK : make_folder(folder, name, O_NOFOLLOW, fd, why);
}

/* Walks down from the root or the working folder, making what is missing. */
static mmq_err make_path(const char *path, int *fd, mmq_why *why)
{
    char copy[PATH_MAX], *rest = NULL;
    if (strlen(path) >= sizeof copy) {
        return mmq_fail(why, MMQ_EINVAL, "a path is longer than %d bytes", PATH_MAX);
    }
    memcpy(copy, path, strlen(path) + 1);
    mmq_err err = open_folder(AT_FDCWD, path[0] == '/' ? "/" : ".", 0, fd, why);
    for (char *name = strtok_r(copy, "/", &rest); err == MMQ_OK && name != NULL;
         name = strtok_r(NULL, "/", &rest)) {
        int parent = *fd;
        *fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*fd < 0) {
            err = make_folder(parent, name, 0, fd, why);
        }
        mmq_fd_close(&parent);
    }
    return err;
}

mmq_err mmq_folder_open(const char *path, int *fd, mmq_why *why)
{
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0) {
        return MMQ_OK;
    }
    return errno == ENOENT ? make_path(path, fd, why)
                           : mmq_files_fail(why, errno, "open the folder", path);
}

/* Takes ownership of fd. */
static mmq_err unlink_files(int fd, const char *name, mmq_why *why)
{
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int error = errno;
        mmq_fd_close(&fd);
        return mmq_files_fail(why, error, "read the folder", name);
    }
    mmq_err err = MMQ_OK;
    const struct dirent *entry;
    while (err == MMQ_OK && (errno = 0, entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dirfd(stream), entry->d_name, 0) != 0 && errno != ENOENT) {
            err = mmq_files_fail(why, errno, "remove a file of", name);
        }
    }
    closedir(stream);
    return err;
}

mmq_err mmq_folder_remove(int folder, const char *name, mmq_why *why)
{
    int fd;
    mmq_err err = open_folder(folder, name, O_NOFOLLOW, &fd, why);
    if (err == MMQ_OK) {
        err = unlink_files(fd, name, why);
    }
    if (err == MMQ_OK && unlinkat(folder, name, AT_REMOVEDIR) != 0) {
        err = mmq_files_fail(why, errno, "remove the folder", name);
    }
    return err == MMQ_ENOTFOUND ? MMQ_OK : err;
}

/* ---- files ------------------------------------------------------------------------------ */

mmq_err mmq_file_write(int folder, const char *name, const void *data, size_t size, mmq_why *why)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0) {
        return mmq_files_fail(why, errno, "make", name);
    }
    mmq_err err = mmq_fd_write(fd, data, size, name, why);
    if (err == MMQ_OK) {
        err = mmq_fd_sync(fd, name, why);
    }
    mmq_fd_close(&fd);
    return err;
}

mmq_err mmq_file_replace(int folder, const char *name, const void *data, size_t size, mmq_why *why)
{
    char part[NAME_MAX + 1];
    snprintf(part, sizeof part, ".new-%s-%s", name, mmq_random_name_new().text);
    mmq_err err = mmq_file_write(folder, part, data, size, why);
    if (err == MMQ_OK && renameat(folder, part, folder, name) != 0) {
        err = mmq_files_fail(why, errno, "rename", name);
    }
    if (err != MMQ_OK) {
        (void)unlinkat(folder, part, 0);
        return err;
    }
    return mmq_fd_sync(folder, name, why);
}

mmq_err mmq_file_open(int folder, const char *name, int *fd, int64_t *size_bytes, mmq_why *why)
{
    struct stat status;
    *fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0) {
        return mmq_files_fail(why, errno, "open", name);
    }
    mmq_err err = MMQ_OK;
    if (fstat(*fd, &status) != 0) {
        err = mmq_files_fail(why, errno, "look at", name);
    } else if (!S_ISREG(status.st_mode)) {
        err = mmq_fail(why, MMQ_ECORRUPT, "%s is no file", name);
    } else {
        *size_bytes = status.st_size;
    }
    if (err != MMQ_OK) {
        mmq_fd_close(fd);
    }
    return err;
}

/* Reads until the end, whatever fstat said. */
static mmq_err read_to_end(int fd, const char *name, mmq_buffer *out, mmq_why *why)
{
    for (;;) {
        char piece[4096];
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return mmq_files_fail(why, errno, "read", name);
        }
        if (got == 0) {
            return MMQ_OK;
        }
        mmq_buffer_add(out, piece, (size_t)got);
        if (out->failed) {
            return (size_t)got > out->limit - out->size
                       ? mmq_fail(why, MMQ_ECORRUPT, "%s is too long", name)
                       : mmq_fail(why, MMQ_ENOMEM, "no memory for %s", name);
        }
    }
}

mmq_err mmq_file_read(int folder, const char *name, mmq_buffer *out, mmq_why *why)
{
    int fd;
    int64_t size_bytes;
    mmq_err err = mmq_file_open(folder, name, &fd, &size_bytes, why);
    if (err == MMQ_OK) {
        err = read_to_end(fd, name, out, why);
        mmq_fd_close(&fd);
    }
    return err;
}
