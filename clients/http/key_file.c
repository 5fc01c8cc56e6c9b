/* Who can write the file has all rights, so it is looked at before it is believed: a regular file,
 * of root's or our own, that its group cannot write and others can neither read nor write. It is
 * judged by its descriptor: nobody can put another in its place meanwhile. Links are followed; they
 * are the operator's.
 *
 * A line is appended under a lock, by one write behind which the file is cut to what it was if that
 * failed: a reader that is told to read again sees whole lines. */
#include "clients/http/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clients/http/keys.h"
#include "lib/files.h"

/* A file of keys, open. */
struct key_file {
    const char *path;
    int fd; /* -1: closed */
};

static mmq_err check(const struct key_file *file, mmq_why *why)
{
    struct stat status;
    if (fstat(file->fd, &status) != 0) {
        return mmq_fail(why, MMQ_EINVAL, "cannot look at %.96s: %s", file->path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return mmq_fail(why, MMQ_EINVAL, "%.96s is not a regular file", file->path);
    }
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
        return mmq_fail(why, MMQ_EINVAL, "%.96s belongs to another user: it must be ours or root's",
                        file->path);
    }
    if (status.st_mode & (S_IWGRP | S_IRWXO)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "%.96s is open to others (mode %03o): `chmod 600`, or 640 for a group that "
                        "may read it",
                        file->path, (unsigned)(status.st_mode & 0777));
    }
    if (status.st_size > MMQ_KEYS_FILE_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "%.96s is over %d bytes", file->path, MMQ_KEYS_FILE_MAX);
    }
    return MMQ_OK;
}

/* Not to be waited for: what looks like the file may be a pipe. */
static mmq_err open_file(struct key_file *file, const char *path, int flags, mmq_why *why)
{
    *file = (struct key_file){.path = path};
    file->fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, S_IRUSR | S_IWUSR);
    if (file->fd < 0) {
        return mmq_fail(why, MMQ_EINVAL, "--api-keys: cannot open %.96s: %s", path,
                        strerror(errno));
    }
    return check(file, why);
}

/* What is there of it when it is read; it may be growing. */
static mmq_err read_all(const struct key_file *file, mmq_buffer *out, mmq_why *why)
{
    size_t left = MMQ_KEYS_FILE_MAX;
    ssize_t size = 1;
    while (left > 0 && size > 0) {
        char block[4096];
        size = read(file->fd, block, left < sizeof block ? left : sizeof block);
        if (size < 0) {
            return mmq_fail(why, MMQ_EINVAL, "cannot read %.96s: %s", file->path, strerror(errno));
        }
        mmq_buffer_add(out, block, (size_t)size);
        left -= (size_t)size;
    }
    return out->failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for the keys") : MMQ_OK;
}

mmq_err mmq_key_file_read(const char *path, mmq_buffer *out, mmq_why *why)
{
    struct key_file file;
    mmq_err err = open_file(&file, path, O_RDONLY, why);
    if (err == MMQ_OK) {
        err = read_all(&file, out, why);
    }
    mmq_fd_close(&file.fd);
    return err;
}

/* What is there already must be whole, and the name free. */
static mmq_err check_name(const struct key_file *file, const mmq_buffer *text, const mmq_key *key,
                          mmq_why *why)
{
    mmq_keys *keys = mmq_keys_new(NULL, NULL, why);
    if (keys == NULL) {
        return MMQ_ENOMEM;
    }
    mmq_err err = mmq_keys_parse(keys, file->path, (const char *)text->data, text->size, why);
    for (size_t i = 0; err == MMQ_OK && i < keys->count; i++) {
        if (strcmp(keys->list[i].name, key->name) == 0) {
            err = mmq_fail(why, MMQ_ECONFLICT, "%.96s has a key %s already", file->path, key->name);
        }
    }
    if (err == MMQ_OK && keys->count == MMQ_KEYS_MAX) {
        err = mmq_fail(why, MMQ_EINVAL, "%.96s has %d keys already", file->path, MMQ_KEYS_MAX);
    }
    mmq_keys_destroy(&keys);
    return err;
}

static mmq_err write_line(const struct key_file *file, const mmq_buffer *text, const mmq_key *key,
                          mmq_why *why)
{
    char line[1 + MMQ_KEY_LINE_MAX] = "\n";
    const bool torn = text->size > 0 && text->data[text->size - 1] != '\n';
    mmq_key_print(key, line + torn);
    const size_t size = strlen(line);
    if (text->size + size > MMQ_KEYS_FILE_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "%.96s would be over %d bytes", file->path,
                        MMQ_KEYS_FILE_MAX);
    }
    const ssize_t written = write(file->fd, line, size);
    if (written == (ssize_t)size && fsync(file->fd) == 0) {
        return MMQ_OK;
    }
    const int error = written >= 0 && written < (ssize_t)size ? ENOSPC : errno;
    (void)!ftruncate(file->fd, (off_t)text->size);
    return mmq_fail(why, MMQ_EIO, "cannot write %.96s: %s", file->path, strerror(error));
}

mmq_err mmq_key_append(const char *path, const mmq_key *key, mmq_why *why)
{
    struct key_file file;
    mmq_buffer text;
    mmq_buffer_init(&text, MMQ_KEYS_FILE_MAX);
    mmq_err err = open_file(&file, path, O_RDWR | O_CREAT | O_APPEND, why);
    if (err == MMQ_OK && flock(file.fd, LOCK_EX) != 0) {
        err = mmq_fail(why, MMQ_EIO, "cannot lock %.96s: %s", path, strerror(errno));
    }
    if (err == MMQ_OK) {
        err = read_all(&file, &text, why);
    }
    if (err == MMQ_OK) {
        err = check_name(&file, &text, key, why);
    }
    if (err == MMQ_OK) {
        err = write_line(&file, &text, key, why);
    }
    mmq_buffer_clear(&text);
    mmq_fd_close(&file.fd);
    return err;
}
