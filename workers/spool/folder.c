/* Names decide what an entry is, and only then what it holds: whatever was planted, nothing is
 * followed, waited for or thrown away. */
#include "workers/spool/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/files.h"
#include "lib/log.h"

enum { FILE_MODE = 0644 };

static const char hex_digits[] = "0123456789abcdef";

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_hex_name(const char *name, size_t size)
{
    return strlen(name) == size && strspn(name, hex_digits) == size;
}

int64_t mmq_size_sum(int64_t sum, int64_t size)
{
    const int64_t more = size > 0 ? size : 0;
    return sum > INT64_MAX - more ? INT64_MAX : sum + more;
}

mmq_entry_kind mmq_entry_kind_of(const char *name)
{
    if (is_hex_name(name, MMQ_JOB_NAME)) {
        return MMQ_ENTRY_JOB;
    }
    if (begins_with(name, MMQ_NEW_PREFIX)) {
        return is_hex_name(name + strlen(MMQ_NEW_PREFIX), MMQ_RANDOM_HEX) ? MMQ_ENTRY_NEW
                                                                          : MMQ_ENTRY_LEFT;
    }
    if (begins_with(name, MMQ_DONE_PREFIX)) {
        return MMQ_ENTRY_LEFT;
    }
    return strcmp(name, MMQ_QUARANTINE_NAME) == 0 ? MMQ_ENTRY_QUARANTINE : MMQ_ENTRY_STRAY;
}

bool mmq_entry_archive(const mmq_spool *spool, const char *name, struct stat *out)
{
    char path[NAME_MAX + sizeof MMQ_ARCHIVE_NAME + 1];
    snprintf(path, sizeof path, "%s/" MMQ_ARCHIVE_NAME, name);
    if (fstatat(spool->folder, path, out, AT_SYMLINK_NOFOLLOW) == 0) {
        /* The folder itself may be a symlink, which fstatat has followed. */
        struct stat folder;
        return S_ISREG(out->st_mode) &&
               fstatat(spool->folder, name, &folder, AT_SYMLINK_NOFOLLOW) == 0 &&
               S_ISDIR(folder.st_mode);
    }
    const bool absent = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
    *out = (struct stat){.st_size = 0};
    return !absent;
}

mmq_err mmq_folder_visit(int folder, mmq_err (*visit)(void *context, const char *name),
                         void *context, mmq_why *why)
{
    const int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        mmq_err err = mmq_files_fail(why, errno, "read", "the spool");
        if (fd >= 0) {
            (void)close(fd);
        }
        return err;
    }
    mmq_err err = MMQ_OK;
    const struct dirent *entry;
    while (err == MMQ_OK && (errno = 0, entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            err = visit(context, entry->d_name);
        }
    }
    if (err == MMQ_OK && errno != 0) {
        err = mmq_files_fail(why, errno, "read", "the spool");
    }
    closedir(stream);
    return err;
}

static mmq_err count_entry(void *context, const char *name)
{
    (void)name;
    ++*(int64_t *)context;
    return MMQ_OK;
}

mmq_err mmq_folder_count(int folder, int64_t *out, mmq_why *why)
{
    *out = 0;
    return mmq_folder_visit(folder, count_entry, out, why);
}

mmq_err mmq_folder_lock(int parent, const char *name, int *fd, mmq_why *why)
{
    struct stat locked, named;
    *fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0) {
        return mmq_files_fail(why, errno, "open the job", name);
    }
    mmq_err err = MMQ_OK;
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? mmq_fail(why, MMQ_EBUSY, "job %s has another owner", name)
                                   : mmq_files_fail(why, errno, "lock the job", name);
    } else if (fstat(*fd, &locked) != 0 ||
               fstatat(parent, name, &named, AT_SYMLINK_NOFOLLOW) != 0) {
        err = mmq_files_fail(why, errno, "look at the job", name);
    } else if (locked.st_ino != named.st_ino || locked.st_dev != named.st_dev) {
        err = mmq_fail(why, MMQ_ENOTFOUND, "job %s is gone", name);
    }
    if (err != MMQ_OK) {
        mmq_fd_close(fd);
    }
    return err;
}

mmq_err mmq_folder_manifest(int folder, mmq_manifest *out, mmq_why *why)
{
    mmq_buffer text;
    mmq_buffer_init(&text, MMQ_MANIFEST_MAX);
    mmq_err err = mmq_file_read(folder, MMQ_MANIFEST_NAME, &text, why);
    if (err == MMQ_ENOTFOUND) {
        err = mmq_fail(why, MMQ_ECORRUPT, "the job has no manifest");
    }
    if (err == MMQ_OK) {
        err = mmq_manifest_parse((const char *)text.data, text.size, out, why);
    }
    mmq_buffer_clear(&text);
    return err;
}

/* The rename is made durable first: else a crash could bring back a job that lost files. */
mmq_err mmq_entry_remove(mmq_spool *spool, int parent, const char *name, mmq_why *why)
{
    char done[sizeof MMQ_DONE_PREFIX + MMQ_RANDOM_HEX];
    snprintf(done, sizeof done, MMQ_DONE_PREFIX "%s", mmq_random_name_new().text);
    mmq_err err = MMQ_OK;
    if (renameat2(parent, name, spool->folder, done, RENAME_NOREPLACE) != 0) {
        err = mmq_files_fail(why, errno, "remove", name);
    }
    if (err == MMQ_OK) {
        err = mmq_fd_sync(parent, "the spool", why);
    }
    return err == MMQ_OK ? mmq_folder_remove(spool->folder, done, why) : err;
}

/* ---- quarantine ------------------------------------------------------------------------- */

int64_t mmq_spool_aside_room(mmq_spool *spool)
{
    int64_t count;
    mmq_why why = {""};
    return mmq_folder_count(spool->quarantine, &count, &why) == MMQ_OK &&
                   count < MMQ_SPOOL_QUARANTINE_MAX
               ? MMQ_SPOOL_QUARANTINE_MAX - count
               : 0;
}

/* For people: where it cannot be written, as into what is no folder, there is the log; and it is
 * not worth an fsync. */
static void write_reason(const mmq_spool *spool, const char *name, const mmq_why *reason)
{
    mmq_why why;
    int folder = openat(spool->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    (void)(folder >= 0 && unlinkat(folder, MMQ_REASON_NAME, 0)); /* of an earlier time */
    int fd = folder >= 0 ? openat(folder, MMQ_REASON_NAME,
                                  O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE)
                         : -1;
    if (fd >= 0 &&
        mmq_fd_write(fd, reason->text, strlen(reason->text), MMQ_REASON_NAME, &why) != MMQ_OK) {
        mmq_log(MMQ_DEBUG, "no reason is kept", MMQ_S("job", name), MMQ_S("error", why.text));
    }
    mmq_fd_close(&fd);
    mmq_fd_close(&folder);
}

mmq_err mmq_spool_put_aside(mmq_spool *spool, const char *name, const mmq_why *reason,
                            int64_t *room)
{
    char kept[NAME_MAX + 1];
    mmq_why why = {""};
    if (*room <= 0) {
        mmq_log(MMQ_DEBUG, "no room in quarantine", MMQ_S("job", name),
                MMQ_S("reason", reason->text));
        return MMQ_EBUSY;
    }
    write_reason(spool, name, reason);
    snprintf(kept, sizeof kept, "%.200s-%s", name, mmq_random_name_new().text);
    if (renameat(spool->folder, name, spool->quarantine, kept) != 0) {
        mmq_err err = mmq_files_fail(&why, errno, "put aside", name);
        mmq_log(err == MMQ_ENOTFOUND ? MMQ_DEBUG : MMQ_WARN, "spool job cannot be put aside",
                MMQ_S("job", name), MMQ_S("reason", reason->text), MMQ_S("error", why.text));
        return err;
    }
    --*room;
    mmq_log(MMQ_WARN, "spool job put aside", MMQ_S("job", name), MMQ_S("reason", reason->text));
    return MMQ_OK;
}

void mmq_spool_quarantine(mmq_spool *spool, const char *name, const mmq_why *reason)
{
    int64_t room = mmq_spool_aside_room(spool);
    if (mmq_spool_put_aside(spool, name, reason, &room) == MMQ_EBUSY) {
        mmq_log(MMQ_WARN, "the quarantine is full: a spool job stays", MMQ_S("job", name),
                MMQ_S("reason", reason->text));
    }
}
