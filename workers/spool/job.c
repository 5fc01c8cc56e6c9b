/* One job, from the folder that is made for it to the one that is unlinked.
 *
 * Room is counted while an archive grows: of those that are being built each counts itself and the
 * ones whose (random) names sort before its own. So the last of them sees all there is, and when
 * they outgrow the spool together it is told so first, then the next one, and never all of them at
 * once. What is taken beyond the bound is what they write between two looks. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/files.h"
#include "workers/spool/folder.h"

enum { FOLDER_MODE = 0755, FILE_MODE = 0644, BEGIN_TRIES = 8 };

struct mmq_job {
    mmq_spool *spool;
    int folder;    /* locked */
    int archive;   /* of a new job; -1 */
    char name[64]; /* of the folder as it is now */
    mmq_manifest manifest;
};

static mmq_job *job_new(mmq_spool *spool, mmq_why *why)
{
    mmq_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a job");
        return NULL;
    }
    job->spool = spool;
    job->folder = job->archive = -1;
    return job;
}

/* ---- room ------------------------------------------------------------------------------- */

struct room {
    const mmq_job *job;
    int64_t jobs, bytes; /* the job itself among them */
};

static mmq_err add_entry(void *context, const char *name)
{
    struct room *room = context;
    struct stat status;
    const mmq_entry_kind kind = mmq_entry_kind_of(name);
    if ((kind == MMQ_ENTRY_JOB || (kind == MMQ_ENTRY_NEW && strcmp(name, room->job->name) < 0)) &&
        mmq_entry_archive(room->job->spool, name, &status)) {
        room->jobs++;
        room->bytes = mmq_size_sum(room->bytes, status.st_size);
    }
    return MMQ_OK;
}

static mmq_err check_room(const mmq_job *job, int64_t *bytes_left, mmq_why *why)
{
    const mmq_spool_limits *limits = &job->spool->limits;
    struct stat own = {.st_size = 0};
    (void)mmq_entry_archive(job->spool, job->name, &own); /* at first there is none */
    struct room room = {.job = job, .jobs = 1, .bytes = own.st_size};
    mmq_err err = mmq_folder_visit(job->spool->folder, add_entry, &room, why);
    *bytes_left = limits->bytes - room.bytes;
    if (err == MMQ_OK && room.jobs > limits->jobs) {
        err = mmq_fail(why, MMQ_EBUSY,
                       "the spool is full: %lld dumps wait for their upload, and --spool-jobs is "
                       "%lld; `metricmq spool list` says what they wait for",
                       (long long)(room.jobs - 1), (long long)limits->jobs);
    } else if (err == MMQ_OK && *bytes_left < (own.st_size > 0 ? 0 : 1)) {
        err = mmq_fail(why, MMQ_EBUSY,
                       "the spool is full: %lld dumps that wait for their upload leave no room "
                       "within --spool-max, %lld bytes; `metricmq spool list` says what they wait "
                       "for",
                       (long long)(room.jobs - 1), (long long)limits->bytes);
    }
    return err;
}

mmq_err mmq_job_room(const mmq_job *job, mmq_why *why)
{
    int64_t bytes_left;
    return check_room(job, &bytes_left, why);
}

/* ---- new -------------------------------------------------------------------------------- */

/* A sweep may come between the folder's making and its lock: then another one is made. */
static mmq_err make_folder(mmq_job *job, mmq_why *why)
{
    mmq_err err = MMQ_EBUSY;
    for (int i = 0; i < BEGIN_TRIES && (err == MMQ_EBUSY || err == MMQ_ENOTFOUND); i++) {
        snprintf(job->name, sizeof job->name, MMQ_NEW_PREFIX "%s", mmq_random_name_new().text);
        if (mkdirat(job->spool->folder, job->name, FOLDER_MODE) != 0) {
            return mmq_files_fail(why, errno, "make the job", job->name);
        }
        err = mmq_folder_lock(job->spool->folder, job->name, &job->folder, why);
    }
    return err;
}

/* The archive is there before room is counted, so that of two that begin at once one sees the
 * other. */
static mmq_err make_archive(mmq_job *job, int64_t *bytes_left, mmq_why *why)
{
    job->archive =
        openat(job->folder, MMQ_ARCHIVE_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    return job->archive >= 0 ? check_room(job, bytes_left, why)
                             : mmq_files_fail(why, errno, "make", MMQ_ARCHIVE_NAME);
}

mmq_err mmq_job_begin(mmq_spool *spool, mmq_job **out, int64_t *bytes_left, mmq_why *why)
{
    mmq_job *job = job_new(spool, why);
    if (job == NULL) {
        return MMQ_ENOMEM;
    }
    mmq_err err = make_folder(job, why);
    if (err == MMQ_OK) {
        err = make_archive(job, bytes_left, why);
        if (err != MMQ_OK) {
            mmq_why left; /* for the next sweep */
            (void)!mmq_folder_remove(spool->folder, job->name, &left);
        }
    }
    if (err != MMQ_OK) {
        mmq_job_close(&job);
        return err;
    }
    *out = job;
    return MMQ_OK;
}

int mmq_job_archive(const mmq_job *job)
{
    CHECK(job->archive >= 0);
    return job->archive;
}

static mmq_err write_manifest(mmq_job *job,
                              mmq_err (*write)(int folder, const char *name, const void *data,
                                               size_t size, mmq_why *why),
                              mmq_why *why)
{
    mmq_buffer text;
    mmq_buffer_init(&text, MMQ_MANIFEST_MAX);
    mmq_err err = mmq_manifest_print(&job->manifest, &text, why);
    if (err == MMQ_OK) {
        err = write(job->folder, MMQ_MANIFEST_NAME, text.data, text.size, why);
    }
    mmq_buffer_clear(&text);
    return err;
}

/* Gives the folder its job's name, unless that is taken. */
static mmq_err rename_to(mmq_job *job, const char *name, mmq_why *why)
{
    const int folder = job->spool->folder;
    if (renameat2(folder, job->name, folder, name, RENAME_NOREPLACE) != 0) {
        return mmq_files_fail(why, errno, "rename the job to", name);
    }
    snprintf(job->name, sizeof job->name, "%s", name);
    return MMQ_OK;
}

mmq_err mmq_job_commit(mmq_job *job, mmq_manifest *manifest, mmq_why *why)
{
    char name[MMQ_JOB_NAME + 1];
    snprintf(name, sizeof name, "%.*s", MMQ_JOB_NAME, manifest->digest);
    job->manifest = *manifest;
    *manifest = (mmq_manifest){.created = 0};
    mmq_fd_close(&job->archive);
    mmq_err err = mmq_job_room(job, why);
    if (err == MMQ_OK) {
        err = write_manifest(job, mmq_file_write, why);
    }
    if (err == MMQ_OK) {
        err = mmq_fd_sync(job->folder, job->name, why);
    }
    if (err == MMQ_OK) {
        err = rename_to(job, name, why);
    }
    return err != MMQ_OK ? err : mmq_fd_sync(job->spool->folder, "the spool", why);
}

/* ---- taken ------------------------------------------------------------------------------ */

static mmq_err read_manifest(mmq_job *job, mmq_why *why)
{
    mmq_err err = mmq_folder_manifest(job->folder, &job->manifest, why);
    if (err == MMQ_OK && strncmp(job->manifest.digest, job->name, MMQ_JOB_NAME) != 0) {
        err = mmq_fail(why, MMQ_ECORRUPT, "the manifest is another job's");
    }
    return err;
}

mmq_err mmq_job_take(mmq_spool *spool, const char *name, mmq_job **out, mmq_why *why)
{
    CHECK(mmq_entry_kind_of(name) == MMQ_ENTRY_JOB);
    mmq_job *job = job_new(spool, why);
    if (job == NULL) {
        return MMQ_ENOMEM;
    }
    snprintf(job->name, sizeof job->name, "%s", name);
    mmq_err err = mmq_folder_lock(spool->folder, name, &job->folder, why);
    if (err == MMQ_OK) {
        err = read_manifest(job, why);
    }
    if (err == MMQ_ECORRUPT) { /* or a file or a symlink in a job's place */
        mmq_spool_quarantine(spool, name, why);
    }
    if (err != MMQ_OK) {
        mmq_job_close(&job);
        return err;
    }
    *out = job;
    return MMQ_OK;
}

const mmq_manifest *mmq_job_manifest(const mmq_job *job)
{
    return &job->manifest;
}

static mmq_err open_archive(mmq_job *job, int *fd, mmq_why *why)
{
    int64_t size_bytes;
    mmq_err err = mmq_file_open(job->folder, MMQ_ARCHIVE_NAME, fd, &size_bytes, why);
    if (err == MMQ_ENOTFOUND) {
        return mmq_fail(why, MMQ_ECORRUPT, "the job has no archive");
    }
    if (err == MMQ_OK && size_bytes != job->manifest.sums.size_bytes) {
        mmq_fd_close(fd);
        return mmq_fail(why, MMQ_ECORRUPT, "the archive has %lld bytes, not %lld",
                        (long long)size_bytes, (long long)job->manifest.sums.size_bytes);
    }
    return err;
}

/* Of a job of version 1, whose manifest knows but one sum. */
static mmq_err take_sums(mmq_job *job, int fd, mmq_why *why)
{
    mmq_sums sums;
    mmq_err err = mmq_sums_of_file(fd, &sums, why);
    if (err == MMQ_OK && strcmp(sums.whole.sha256, job->manifest.sums.whole.sha256) != 0) {
        err = mmq_fail(why, MMQ_ECORRUPT, "an archive's bytes changed in the spool");
    }
    if (err != MMQ_OK) {
        mmq_sums_clear(&sums);
        return err;
    }
    mmq_sums_clear(&job->manifest.sums);
    job->manifest.sums = sums;
    return MMQ_OK;
}

mmq_err mmq_job_open(mmq_job *job, int *fd, mmq_why *why)
{
    mmq_err err = open_archive(job, fd, why);
    if (err == MMQ_OK && !mmq_manifest_is_summed(&job->manifest)) {
        err = take_sums(job, *fd, why);
        if (err != MMQ_OK) {
            mmq_fd_close(fd);
        }
    }
    return err;
}

static mmq_err replace_manifest(mmq_job *job, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (!mmq_manifest_is_summed(&job->manifest)) {
        int fd = -1;
        err = mmq_job_open(job, &fd, why);
        mmq_fd_close(&fd);
    }
    return err == MMQ_OK ? write_manifest(job, mmq_file_replace, why) : err;
}

mmq_err mmq_job_failed(mmq_job *job, mmq_job_state state, int64_t wait_ns, const mmq_why *reason,
                       mmq_why *why)
{
    mmq_manifest *manifest = &job->manifest;
    manifest->attempts++;
    manifest->state = state;
    manifest->next_attempt_ms = state == MMQ_JOB_HELD ? 0 : mmq_wall_ms() + wait_ns / MMQ_NS_PER_MS;
    manifest->error = *reason;
    return replace_manifest(job, why);
}

mmq_err mmq_job_hurry(mmq_job *job, mmq_why *why)
{
    mmq_manifest *manifest = &job->manifest;
    if (manifest->state == MMQ_JOB_WAITING && manifest->next_attempt_ms == 0) {
        return MMQ_OK;
    }
    manifest->state = MMQ_JOB_WAITING;
    manifest->next_attempt_ms = 0;
    return replace_manifest(job, why);
}

/* ---- ends ------------------------------------------------------------------------------- */

void mmq_job_close(mmq_job **job)
{
    mmq_manifest_clear(&(*job)->manifest);
    mmq_fd_close(&(*job)->archive);
    mmq_fd_close(&(*job)->folder);
    free(*job);
    *job = NULL;
}

void mmq_job_note_delivered(const mmq_job *job)
{
    mmq_spool *spool = job->spool;
    pthread_mutex_lock(&spool->mutex);
    const size_t i = spool->next_delivered++ % MMQ_DELIVERED_KEPT;
    snprintf(spool->delivered[i].name.text, sizeof spool->delivered[i].name.text, "%.*s",
             MMQ_JOB_NAME, job->name);
    spool->delivered[i].at_ns = mmq_now_ns();
    pthread_mutex_unlock(&spool->mutex);
}

mmq_err mmq_job_remove(mmq_job **job, mmq_why *why)
{
    mmq_err err = mmq_entry_remove((*job)->spool, (*job)->spool->folder, (*job)->name, why);
    mmq_job_close(job);
    return err;
}

void mmq_job_quarantine(mmq_job **job, const mmq_why *reason)
{
    mmq_spool_quarantine((*job)->spool, (*job)->name, reason);
    mmq_job_close(job);
}
