/* A job comes and goes by one rename of its folder each, so that a crash leaves it whole or not
 * there:
 *
 *     .new-RANDOM   being built; becomes NAME when archive and manifest are fsynced
 *     NAME          32 hex digits: accepted, to be delivered
 *     .done-RANDOM  delivered, being unlinked
 *     quarantine/   what was no good
 *
 * The owner's lock is a flock on the folder itself, which goes along with every rename and dies
 * with the process. A lock is worth something only while the locked folder still has its name, so
 * that is looked at after each lock. Nothing here is kept in memory: several processes may use one
 * spool. */
#include "workers/spool/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/files.h"

enum {
    JOBS_MAX = 1000,
    MANIFEST_MAX = 4096,
    FOLDER_MODE = 0755,
    FILE_MODE = 0644,
    BEGIN_TRIES = 8,
};

#define BYTES_MAX (INT64_C(10) << 30)

static const char archive_name[] = "archive.tar.gz";
static const char manifest_name[] = "manifest.json";
static const char quarantine_name[] = "quarantine";
static const char new_prefix[] = ".new-";
static const char done_prefix[] = ".done-";

struct mmq_spool {
    int folder;
    int quarantine;
    mmq_spool_limits limits;
};

struct mmq_job {
    mmq_spool *spool;
    int folder;    /* locked */
    int archive;   /* of a new job; -1 */
    char name[64]; /* of the folder as it is now */
    mmq_manifest manifest;
};

/* ---- entries ---------------------------------------------------------------------------- */

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_job_name(const char *name)
{
    return strlen(name) == MMQ_JOB_NAME && strspn(name, "0123456789abcdef") == MMQ_JOB_NAME;
}

/* Calls `visit` for each entry of a folder, "." and ".." left out, until it returns an error. */
static mmq_err visit_folder(int folder, mmq_err (*visit)(void *context, const char *name),
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

/* Locks a folder of the spool: MMQ_EBUSY if it has an owner, MMQ_ENOTFOUND if it is gone. */
static mmq_err lock_folder(int parent, const char *name, int *fd, mmq_why *why)
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

/* ---- counts ----------------------------------------------------------------------------- */

struct counting {
    const mmq_spool *spool;
    mmq_spool_counts *counts;
    int64_t now_s;
};

static mmq_err count_job(void *context, const char *name)
{
    const struct counting *counting = context;
    mmq_spool_counts *counts = counting->counts;
    char path[NAME_MAX + sizeof archive_name + 1];
    struct stat status;
    if (strcmp(name, quarantine_name) == 0 || begins_with(name, done_prefix)) {
        return MMQ_OK;
    }
    counts->jobs++;
    snprintf(path, sizeof path, "%s/%s", name, archive_name);
    if (fstatat(counting->spool->folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        const int64_t age_s = counting->now_s - status.st_mtime;
        counts->bytes += status.st_size;
        counts->oldest_age_s = age_s > counts->oldest_age_s ? age_s : counts->oldest_age_s;
    }
    return MMQ_OK;
}

static mmq_err count_entry(void *context, const char *name)
{
    (void)name;
    ++*(int64_t *)context;
    return MMQ_OK;
}

mmq_err mmq_spool_count(mmq_spool *spool, mmq_spool_counts *out, mmq_why *why)
{
    *out = (mmq_spool_counts){.jobs = 0};
    struct counting counting = {spool, out, mmq_wall_s()};
    mmq_err err = visit_folder(spool->folder, count_job, &counting, why);
    return err != MMQ_OK ? err
                         : visit_folder(spool->quarantine, count_entry, &out->quarantined, why);
}

/* ---- quarantine ------------------------------------------------------------------------- */

/* What cannot be put aside stays where it is: nothing is ever thrown away unread. */
static void put_aside(mmq_spool *spool, const char *name, const mmq_why *reason)
{
    char kept[NAME_MAX + 1];
    int64_t count = 0;
    mmq_why why = {""};
    mmq_err err = visit_folder(spool->quarantine, count_entry, &count, &why);
    if (err == MMQ_OK && count >= MMQ_SPOOL_QUARANTINE_MAX) {
        err = mmq_fail(&why, MMQ_EBUSY, "the quarantine is full");
    }
    snprintf(kept, sizeof kept, "%.200s-%s", name, mmq_random_name_new().text);
    if (err == MMQ_OK && renameat(spool->folder, name, spool->quarantine, kept) != 0) {
        err = mmq_files_fail(&why, errno, "put aside", name);
    }
    mmq_log(err == MMQ_EBUSY ? MMQ_DEBUG : MMQ_WARN,
            err == MMQ_OK ? "spool job put aside" : "spool job cannot be put aside",
            MMQ_S("job", name), MMQ_S("reason", reason->text), MMQ_S("error", why.text));
}

/* ---- the spool -------------------------------------------------------------------------- */

mmq_spool *mmq_spool_new(int data_folder, const mmq_spool_limits *limits, mmq_why *why)
{
    mmq_spool *spool = calloc(1, sizeof *spool);
    if (spool == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the spool");
        return NULL;
    }
    spool->folder = spool->quarantine = -1;
    spool->limits = limits != NULL ? *limits : (mmq_spool_limits){JOBS_MAX, BYTES_MAX};
    mmq_err err = mmq_folder_open_in(data_folder, "spool", &spool->folder, why);
    if (err == MMQ_OK) {
        err = mmq_folder_open_in(spool->folder, quarantine_name, &spool->quarantine, why);
    }
    if (err != MMQ_OK) {
        mmq_spool_destroy(&spool);
    }
    return spool;
}

void mmq_spool_destroy(mmq_spool **spool)
{
    if (*spool != NULL) {
        mmq_fd_close(&(*spool)->quarantine);
        mmq_fd_close(&(*spool)->folder);
        free(*spool);
        *spool = NULL;
    }
}

/* A leftover that still has an owner is none. */
static mmq_err sweep_entry(void *context, const char *name)
{
    mmq_spool *spool = context;
    mmq_why why = {""};
    int fd;
    if (!begins_with(name, new_prefix) && !begins_with(name, done_prefix)) {
        return MMQ_OK;
    }
    mmq_err err = lock_folder(spool->folder, name, &fd, &why);
    if (err == MMQ_OK) {
        err = mmq_folder_remove(spool->folder, name, &why);
        mmq_fd_close(&fd);
    }
    if (err != MMQ_OK && err != MMQ_EBUSY && err != MMQ_ENOTFOUND) {
        put_aside(spool, name, &why);
    }
    return MMQ_OK;
}

mmq_err mmq_spool_sweep(mmq_spool *spool, mmq_why *why)
{
    return visit_folder(spool->folder, sweep_entry, spool, why);
}

struct listing {
    mmq_spool *spool;
    mmq_job_name *names;
    size_t count, capacity;
};

static mmq_err list_entry(void *context, const char *name)
{
    struct listing *listing = context;
    if (strcmp(name, quarantine_name) == 0 || begins_with(name, new_prefix) ||
        begins_with(name, done_prefix)) {
        return MMQ_OK;
    }
    if (!is_job_name(name)) {
        put_aside(listing->spool, name, &(mmq_why){"its name is no job's"});
        return MMQ_OK;
    }
    if (listing->count == listing->capacity) {
        const size_t capacity = listing->capacity > 0 ? 2 * listing->capacity : 64;
        mmq_job_name *grown = reallocarray(listing->names, capacity, sizeof *grown);
        if (grown == NULL) {
            return MMQ_ENOMEM;
        }
        listing->names = grown;
        listing->capacity = capacity;
    }
    memcpy(listing->names[listing->count++].text, name, MMQ_JOB_NAME + 1);
    return MMQ_OK;
}

static int compare_names(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(mmq_job_name));
}

mmq_err mmq_spool_list(mmq_spool *spool, mmq_job_name **names, size_t *count, mmq_why *why)
{
    struct listing listing = {.spool = spool};
    mmq_err err = visit_folder(spool->folder, list_entry, &listing, why);
    if (err != MMQ_OK) {
        free(listing.names);
        return err == MMQ_ENOMEM ? mmq_fail(why, err, "no memory for the spool's names") : err;
    }
    if (listing.count > 0) {
        qsort(listing.names, listing.count, sizeof *listing.names, compare_names);
    }
    *names = listing.names;
    *count = listing.count;
    return MMQ_OK;
}

/* ---- jobs: new -------------------------------------------------------------------------- */

static mmq_err check_room(mmq_spool *spool, int64_t *bytes_left, mmq_why *why)
{
    mmq_spool_counts counts;
    mmq_err err = mmq_spool_count(spool, &counts, why);
    if (err != MMQ_OK) {
        return err;
    }
    *bytes_left = spool->limits.bytes - counts.bytes;
    if (counts.jobs >= spool->limits.jobs || *bytes_left <= 0) {
        return mmq_fail(why, MMQ_EBUSY, "the spool is full: %lld dumps wait for their upload",
                        (long long)counts.jobs);
    }
    return MMQ_OK;
}

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

/* A sweep may come between the folder's making and its lock: then another one is made. */
static mmq_err make_folder(mmq_job *job, mmq_why *why)
{
    mmq_err err = MMQ_EBUSY;
    for (int i = 0; i < BEGIN_TRIES && (err == MMQ_EBUSY || err == MMQ_ENOTFOUND); i++) {
        snprintf(job->name, sizeof job->name, "%s%s", new_prefix, mmq_random_name_new().text);
        if (mkdirat(job->spool->folder, job->name, FOLDER_MODE) != 0) {
            return mmq_files_fail(why, errno, "make the job", job->name);
        }
        err = lock_folder(job->spool->folder, job->name, &job->folder, why);
    }
    return err;
}

mmq_err mmq_job_begin(mmq_spool *spool, mmq_job **out, int64_t *bytes_left, mmq_why *why)
{
    mmq_err err = check_room(spool, bytes_left, why);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_job *job = job_new(spool, why);
    if (job == NULL) {
        return MMQ_ENOMEM;
    }
    err = make_folder(job, why);
    if (err != MMQ_OK) {
        mmq_job_close(&job);
        return err;
    }
    job->archive =
        openat(job->folder, archive_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (job->archive < 0) {
        err = mmq_files_fail(why, errno, "make", archive_name);
        mmq_job_close(&job); /* the next sweep removes it */
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
    mmq_buffer_init(&text, MANIFEST_MAX);
    mmq_err err = mmq_manifest_print(&job->manifest, &text, why);
    if (err == MMQ_OK) {
        err = write(job->folder, manifest_name, text.data, text.size, why);
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

mmq_err mmq_job_commit(mmq_job *job, const mmq_manifest *manifest, mmq_why *why)
{
    char name[MMQ_JOB_NAME + 1];
    snprintf(name, sizeof name, "%.*s", MMQ_JOB_NAME, manifest->digest);
    job->manifest = *manifest;
    mmq_fd_close(&job->archive);
    mmq_err err = write_manifest(job, mmq_file_write, why);
    if (err == MMQ_OK) {
        err = mmq_fd_sync(job->folder, job->name, why);
    }
    if (err == MMQ_OK) {
        err = rename_to(job, name, why);
    }
    return err != MMQ_OK ? err : mmq_fd_sync(job->spool->folder, "the spool", why);
}

/* ---- jobs: taken ------------------------------------------------------------------------ */

static mmq_err read_manifest(mmq_job *job, mmq_why *why)
{
    mmq_buffer text;
    mmq_buffer_init(&text, MANIFEST_MAX);
    mmq_err err = mmq_file_read(job->folder, manifest_name, &text, why);
    if (err == MMQ_ENOTFOUND) {
        err = mmq_fail(why, MMQ_ECORRUPT, "the job has no manifest");
    }
    if (err == MMQ_OK) {
        err = mmq_manifest_parse((const char *)text.data, text.size, &job->manifest, why);
    }
    if (err == MMQ_OK && strncmp(job->manifest.digest, job->name, MMQ_JOB_NAME) != 0) {
        err = mmq_fail(why, MMQ_ECORRUPT, "the manifest is another job's");
    }
    mmq_buffer_clear(&text);
    return err;
}

mmq_err mmq_job_take(mmq_spool *spool, const char *name, mmq_job **out, mmq_why *why)
{
    CHECK(is_job_name(name));
    mmq_job *job = job_new(spool, why);
    if (job == NULL) {
        return MMQ_ENOMEM;
    }
    snprintf(job->name, sizeof job->name, "%s", name);
    mmq_err err = lock_folder(spool->folder, name, &job->folder, why);
    if (err == MMQ_ECORRUPT) {
        put_aside(spool, name, why); /* a file or a symlink in a job's place */
    }
    if (err == MMQ_OK) {
        err = read_manifest(job, why);
        if (err == MMQ_ECORRUPT) {
            put_aside(spool, name, why);
        }
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

mmq_err mmq_job_open(mmq_job *job, int *fd, mmq_why *why)
{
    int64_t size_bytes;
    mmq_err err = mmq_file_open(job->folder, archive_name, fd, &size_bytes, why);
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

mmq_err mmq_job_failed(mmq_job *job, mmq_why *why)
{
    job->manifest.attempts++;
    return write_manifest(job, mmq_file_replace, why);
}

/* ---- jobs: ends ------------------------------------------------------------------------- */

void mmq_job_close(mmq_job **job)
{
    mmq_fd_close(&(*job)->archive);
    mmq_fd_close(&(*job)->folder);
    free(*job);
    *job = NULL;
}

/* The rename is made durable first: else a crash could bring back a job that lost files. */
mmq_err mmq_job_remove(mmq_job **job_p, mmq_why *why)
{
    mmq_job *job = *job_p;
    char name[sizeof done_prefix + MMQ_RANDOM_HEX];
    snprintf(name, sizeof name, "%s%s", done_prefix, mmq_random_name_new().text);
    mmq_err err = rename_to(job, name, why);
    if (err == MMQ_OK) {
        err = mmq_fd_sync(job->spool->folder, "the spool", why);
    }
    if (err == MMQ_OK) {
        err = mmq_folder_remove(job->spool->folder, job->name, why);
    }
    mmq_job_close(job_p);
    return err;
}

void mmq_job_quarantine(mmq_job **job, const mmq_why *reason)
{
    put_aside((*job)->spool, (*job)->name, reason);
    mmq_job_close(job);
}
