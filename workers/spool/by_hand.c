/* What people do with a spool, beside workers that use it or without any. A worker learns of a job
 * that was made due from the new times of its folder, which are set when nobody holds it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/files.h"
#include "metricmq/unpack.h"
#include "workers/spool/folder.h"

enum { NAMES_MAX = 10 * MMQ_SPOOL_QUARANTINE_MAX };

mmq_err mmq_spool_peek(mmq_spool *spool, const char *name, mmq_manifest *out, mmq_why *why)
{
    int fd = openat(spool->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return mmq_files_fail(why, errno, "open the job", name);
    }
    mmq_err err = mmq_folder_manifest(fd, out, why);
    mmq_fd_close(&fd);
    return err;
}

/* ---- looking ---------------------------------------------------------------------------- */

static void read_reason(int folder, mmq_why *out)
{
    mmq_buffer text;
    mmq_why why;
    mmq_buffer_init(&text, sizeof out->text - 1);
    if (mmq_file_read(folder, MMQ_REASON_NAME, &text, &why) == MMQ_OK &&
        mmq_utf8_valid((const char *)text.data, text.size)) {
        memcpy(out->text, text.data, text.size);
        out->text[text.size] = '\0';
    }
    mmq_buffer_clear(&text);
}

/* Fills in what the folder says of itself. */
static void look_into(int parent, mmq_spool_entry *entry)
{
    struct stat status;
    int fd = openat(parent, entry->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        (void)mmq_files_fail(&entry->reason, errno, "open", "it");
        return;
    }
    if (fstatat(fd, MMQ_ARCHIVE_NAME, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        entry->made_s = status.st_mtime;
    }
    mmq_why why = {""};
    entry->known = mmq_folder_manifest(fd, &entry->manifest, &why) == MMQ_OK;
    /* A shared lock, so that those who only look do not take each other for an owner. */
    entry->owned = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (entry->quarantined) {
        read_reason(fd, &entry->reason);
    }
    if (!entry->known && entry->reason.text[0] == '\0') {
        entry->reason = why;
    }
    mmq_fd_close(&fd);
}

struct visit {
    mmq_spool *spool;
    mmq_err (*visit)(void *context, const mmq_spool_entry *entry);
    void *context;
};

static mmq_err visit_entry(const struct visit *visit, const char *name, bool quarantined)
{
    mmq_spool_entry entry = {.quarantined = quarantined};
    snprintf(entry.name, sizeof entry.name, "%s", name);
    look_into(quarantined ? visit->spool->quarantine : visit->spool->folder, &entry);
    mmq_err err = visit->visit(visit->context, &entry);
    mmq_manifest_clear(&entry.manifest);
    return err;
}

struct kept_name {
    char text[sizeof((mmq_spool_entry *)NULL)->name];
};

/* Names of what is in quarantine, taken before anything is done to it. Who planted more of it than
 * that has to look for himself. */
struct names {
    struct kept_name *names;
    size_t count;
};

static mmq_err keep_name(void *context, const char *name)
{
    struct names *kept = context;
    if (kept->count == NAMES_MAX) {
        return MMQ_EEND;
    }
    if (kept->names == NULL && (kept->names = calloc(NAMES_MAX, sizeof *kept->names)) == NULL) {
        return MMQ_ENOMEM;
    }
    snprintf(kept->names[kept->count++].text, sizeof kept->names[0].text, "%s", name);
    return MMQ_OK;
}

static mmq_err visit_quarantine(const struct visit *visit, mmq_why *why)
{
    struct names kept = {.names = NULL};
    mmq_err err = mmq_folder_visit(visit->spool->quarantine, keep_name, &kept, why);
    if (err == MMQ_ENOMEM) {
        (void)mmq_fail(why, err, "no memory for the quarantine's names");
    } else if (err == MMQ_EEND) {
        err = MMQ_OK;
    }
    for (size_t i = 0; i < kept.count && err == MMQ_OK; i++) {
        err = visit_entry(visit, kept.names[i].text, true);
    }
    free(kept.names);
    return err;
}

mmq_err mmq_spool_each(mmq_spool *spool,
                       mmq_err (*visit)(void *context, const mmq_spool_entry *entry), void *context,
                       mmq_why *why)
{
    struct visit each = {spool, visit, context};
    mmq_job_name *names = NULL;
    size_t count = 0;
    mmq_err err = mmq_spool_list(spool, &names, &count, why);
    for (size_t i = 0; i < count && err == MMQ_OK; i++) {
        err = visit_entry(&each, names[i].text, false);
    }
    free(names);
    return err == MMQ_OK ? visit_quarantine(&each, why) : err;
}

/* ---- retry ------------------------------------------------------------------------------ */

/* NAME-RANDOM becomes NAME again. */
static mmq_err put_back(mmq_spool *spool, const mmq_spool_entry *entry, const char *name,
                        mmq_why *why)
{
    if (mmq_entry_kind_of(name) != MMQ_ENTRY_JOB || entry->name[MMQ_JOB_NAME] != '-') {
        return mmq_fail(why, MMQ_EINVAL, "it never was a job: it can only be dropped");
    }
    if (renameat2(spool->quarantine, entry->name, spool->folder, name, RENAME_NOREPLACE) != 0) {
        return mmq_files_fail(why, errno, "put back the job", name);
    }
    int fd = openat(spool->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        (void)unlinkat(fd, MMQ_REASON_NAME, 0);
        mmq_fd_close(&fd);
    }
    return mmq_fd_sync(spool->folder, "the spool", why);
}

static mmq_err hurry(mmq_spool *spool, const char *name, mmq_why *why)
{
    mmq_job *job;
    mmq_err err = mmq_job_take(spool, name, &job, why);
    if (err == MMQ_OK) {
        err = mmq_job_hurry(job, why);
        mmq_job_close(&job);
    }
    if (err == MMQ_OK && utimensat(spool->folder, name, NULL, AT_SYMLINK_NOFOLLOW) != 0 &&
        errno != ENOENT) {
        err = mmq_files_fail(why, errno, "touch the job", name);
    }
    return err;
}

mmq_err mmq_spool_retry(mmq_spool *spool, const mmq_spool_entry *entry, mmq_why *why)
{
    char name[MMQ_JOB_NAME + 1];
    snprintf(name, sizeof name, "%.*s", MMQ_JOB_NAME, entry->name);
    if (!entry->quarantined) {
        return hurry(spool, name, why);
    }
    mmq_err err = put_back(spool, entry, name, why);
    if (err == MMQ_OK) {
        err = hurry(spool, name, why);
        if (err == MMQ_EBUSY || err == MMQ_ENOTFOUND) { /* a worker was quicker */
            err = MMQ_OK;
        }
    }
    return err;
}

/* ---- drop ------------------------------------------------------------------------------- */

static mmq_err drop_quarantined(mmq_spool *spool, const char *name, mmq_why *why)
{
    struct stat status;
    if (fstatat(spool->quarantine, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return mmq_files_fail(why, errno, "look at", name);
    }
    if (S_ISDIR(status.st_mode)) {
        return mmq_entry_remove(spool, spool->quarantine, name, why);
    }
    return unlinkat(spool->quarantine, name, 0) == 0 ? MMQ_OK
                                                     : mmq_files_fail(why, errno, "remove", name);
}

mmq_err mmq_spool_drop(mmq_spool *spool, const mmq_spool_entry *entry, mmq_why *why)
{
    int fd;
    if (entry->quarantined) {
        return drop_quarantined(spool, entry->name, why);
    }
    mmq_err err = mmq_folder_lock(spool->folder, entry->name, &fd, why);
    if (err == MMQ_OK) {
        err = mmq_entry_remove(spool, spool->folder, entry->name, why);
        mmq_fd_close(&fd);
    }
    return err;
}
