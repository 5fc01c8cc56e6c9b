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
 * that is looked at after each lock. What jobs there are is not kept in memory: several processes
 * may use one spool. */
#include "workers/spool/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/files.h"
#include "lib/log.h"

enum { KEY_DIGITS = 8 };

/* ---- the spool -------------------------------------------------------------------------- */

static mmq_spool *spool_new(mmq_why *why)
{
    mmq_spool *spool = calloc(1, sizeof *spool);
    if (spool == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the spool");
        return NULL;
    }
    pthread_mutex_init(&spool->mutex, NULL);
    spool->folder = spool->quarantine = -1;
    spool->limits = (mmq_spool_limits){MMQ_SPOOL_JOBS, MMQ_SPOOL_BYTES};
    return spool;
}

mmq_spool *mmq_spool_new(int data_folder, const mmq_spool_limits *limits, mmq_why *why)
{
    mmq_spool *spool = spool_new(why);
    if (spool == NULL) {
        return NULL;
    }
    if (limits != NULL) {
        spool->limits = *limits;
    }
    mmq_err err = mmq_folder_open_in(data_folder, "spool", &spool->folder, why);
    if (err == MMQ_OK) {
        err = mmq_folder_open_in(spool->folder, MMQ_QUARANTINE_NAME, &spool->quarantine, why);
    }
    if (err != MMQ_OK) {
        mmq_spool_destroy(&spool);
    }
    return spool;
}

mmq_spool *mmq_spool_find(int data_folder, mmq_why *why)
{
    mmq_spool *spool = spool_new(why);
    if (spool == NULL) {
        return NULL;
    }
    mmq_err err = MMQ_OK;
    spool->folder = openat(data_folder, "spool", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (spool->folder < 0) {
        err = mmq_files_fail(why, errno, "open the folder", "spool");
    } else {
        err = mmq_folder_open_in(spool->folder, MMQ_QUARANTINE_NAME, &spool->quarantine, why);
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
        pthread_mutex_destroy(&(*spool)->mutex);
        free(*spool);
        *spool = NULL;
    }
}

int mmq_spool_folder(const mmq_spool *spool)
{
    return spool->folder;
}

/* ---- counts ----------------------------------------------------------------------------- */

struct counting {
    mmq_spool *spool;
    mmq_spool_counts *counts;
    int64_t now_s;
    struct timespec failed; /* when the job failed whose error it is */
};

static bool is_before(const struct timespec *time, const struct timespec *other)
{
    return time->tv_sec != other->tv_sec ? time->tv_sec < other->tv_sec
                                         : time->tv_nsec < other->tv_nsec;
}

static void count_state(struct counting *counting, const char *name, const mmq_manifest *manifest)
{
    char path[NAME_MAX + sizeof MMQ_MANIFEST_NAME + 1];
    struct stat status;
    mmq_spool_counts *counts = counting->counts;
    int64_t *const by_state[] = {
        [MMQ_JOB_WAITING] = &counts->waiting,
        [MMQ_JOB_SETTINGS] = &counts->settings,
        [MMQ_JOB_HELD] = &counts->held,
    };
    ++*by_state[manifest->state];
    snprintf(path, sizeof path, "%s/" MMQ_MANIFEST_NAME, name);
    if (manifest->error.text[0] != '\0' &&
        fstatat(counting->spool->folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        !is_before(&status.st_mtim, &counting->failed)) {
        counting->failed = status.st_mtim;
        counts->last_error = manifest->error;
    }
}

static mmq_err count_job(void *context, const char *name)
{
    struct counting *counting = context;
    mmq_spool_counts *counts = counting->counts;
    mmq_manifest manifest;
    struct stat status;
    mmq_why why;
    if (mmq_entry_kind_of(name) != MMQ_ENTRY_JOB ||
        !mmq_entry_archive(counting->spool, name, &status)) {
        return MMQ_OK;
    }
    const int64_t age_s = status.st_mtime > 0 ? counting->now_s - status.st_mtime : 0;
    counts->jobs++;
    counts->bytes = mmq_size_sum(counts->bytes, status.st_size);
    if (age_s > counts->oldest_age_s) {
        counts->oldest_age_s = age_s;
    }
    if (mmq_spool_peek(counting->spool, name, &manifest, &why) == MMQ_OK) {
        count_state(counting, name, &manifest);
        mmq_manifest_clear(&manifest);
    }
    return MMQ_OK;
}

mmq_err mmq_spool_count(mmq_spool *spool, mmq_spool_counts *out, mmq_why *why)
{
    *out = (mmq_spool_counts){.jobs = 0};
    struct counting counting = {.spool = spool, .counts = out, .now_s = mmq_wall_s()};
    mmq_err err = mmq_folder_visit(spool->folder, count_job, &counting, why);
    return err != MMQ_OK ? err : mmq_folder_count(spool->quarantine, &out->quarantined, why);
}

/* ---- sweeping --------------------------------------------------------------------------- */

struct sweeping {
    mmq_spool *spool;
    int64_t room;   /* in quarantine */
    int64_t strays; /* that found no room */
};

static void put_aside(struct sweeping *sweeping, const char *name, const mmq_why *reason)
{
    if (mmq_spool_put_aside(sweeping->spool, name, reason, &sweeping->room) == MMQ_EBUSY) {
        sweeping->strays++;
    }
}

/* A leftover that still has an owner is none. */
static void sweep_leftover(struct sweeping *sweeping, const char *name)
{
    const int folder = sweeping->spool->folder;
    mmq_why why = {""};
    int fd;
    mmq_err err = mmq_folder_lock(folder, name, &fd, &why);
    if (err == MMQ_OK) {
        err = mmq_folder_remove(folder, name, &why);
        mmq_fd_close(&fd);
    }
    if (err != MMQ_OK && err != MMQ_EBUSY && err != MMQ_ENOTFOUND) {
        put_aside(sweeping, name, &why);
    }
}

/* Looked at once more under its lock: between a look and a rename it may be delivered, and another
 * made in its place. */
static void sweep_torn(struct sweeping *sweeping, const char *name)
{
    const int folder = sweeping->spool->folder;
    mmq_why why = {""};
    struct stat status;
    int fd = -1;
    if (sweeping->room <= 0) {
        sweeping->strays++;
        return;
    }
    mmq_err err = mmq_folder_lock(folder, name, &fd, &why);
    if (err == MMQ_ECORRUPT) {
        put_aside(sweeping, name, &why);
    } else if (err == MMQ_OK && !mmq_entry_archive(sweeping->spool, name, &status)) {
        put_aside(sweeping, name, &(mmq_why){"the job has no archive"});
    }
    mmq_fd_close(&fd);
}

static mmq_err sweep_entry(void *context, const char *name)
{
    struct sweeping *sweeping = context;
    struct stat status;
    switch (mmq_entry_kind_of(name)) {
    case MMQ_ENTRY_NEW:
    case MMQ_ENTRY_LEFT:
        sweep_leftover(sweeping, name);
        break;
    case MMQ_ENTRY_JOB:
        if (!mmq_entry_archive(sweeping->spool, name, &status)) {
            sweep_torn(sweeping, name);
        }
        break;
    case MMQ_ENTRY_STRAY:
        put_aside(sweeping, name, &(mmq_why){"its name is no job's"});
        break;
    case MMQ_ENTRY_QUARANTINE:
        break;
    }
    return MMQ_OK;
}

/* Once for a number of strays, not at every sweep. */
static void log_strays(mmq_spool *spool, int64_t strays)
{
    pthread_mutex_lock(&spool->mutex);
    const bool changed = spool->strays != strays;
    spool->strays = strays;
    pthread_mutex_unlock(&spool->mutex);
    if (changed && strays > 0) {
        mmq_log(MMQ_WARN, "the quarantine is full: things that are no jobs stay in the spool",
                MMQ_I("things", strays));
    }
}

mmq_err mmq_spool_sweep(mmq_spool *spool, mmq_why *why)
{
    struct sweeping sweeping = {.spool = spool, .room = mmq_spool_aside_room(spool)};
    mmq_err err = mmq_folder_visit(spool->folder, sweep_entry, &sweeping, why);
    log_strays(spool, sweeping.strays);
    return err;
}

/* ---- names ------------------------------------------------------------------------------ */

struct listing {
    mmq_spool *spool;
    mmq_job_name *names;
    size_t count, capacity;
};

static mmq_err list_entry(void *context, const char *name)
{
    struct listing *listing = context;
    struct stat status;
    if (mmq_entry_kind_of(name) != MMQ_ENTRY_JOB ||
        !mmq_entry_archive(listing->spool, name, &status)) {
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
    mmq_err err = mmq_folder_visit(spool->folder, list_entry, &listing, why);
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

/* ---- keys ------------------------------------------------------------------------------- */

struct search {
    mmq_spool *spool;
    const char *key;
    const char *digits; /* with which its job's name begins; NULL: any */
};

/* Keys of dumps end in the first digits of the digest that their job is named after. */
static const char *find_digits(const char *key)
{
    static const char suffix[] = ".tar.gz";
    const size_t size = strlen(key), tail = KEY_DIGITS + sizeof suffix - 1;
    const char *digits = key + size - (size > tail ? tail : 0);
    return size > tail && digits[-1] == '-' && strcmp(digits + KEY_DIGITS, suffix) == 0 &&
                   strspn(digits, "0123456789abcdef") == KEY_DIGITS
               ? digits
               : NULL;
}

static mmq_err compare_key(void *context, const char *name)
{
    const struct search *search = context;
    mmq_manifest manifest;
    mmq_why why;
    if (mmq_entry_kind_of(name) != MMQ_ENTRY_JOB ||
        (search->digits != NULL && memcmp(name, search->digits, KEY_DIGITS) != 0)) {
        return MMQ_OK;
    }
    mmq_err err = mmq_spool_peek(search->spool, name, &manifest, &why);
    if (err != MMQ_OK) {
        return err == MMQ_ENOTFOUND || err == MMQ_ECORRUPT ? MMQ_OK : err;
    }
    const bool same = strcmp(manifest.key, search->key) == 0;
    mmq_manifest_clear(&manifest);
    return same ? MMQ_EEND : MMQ_OK;
}

bool mmq_spool_has_key(mmq_spool *spool, const char *key)
{
    struct search search = {spool, key, find_digits(key)};
    mmq_why why;
    /* Where it cannot be found out, somebody may be at it. */
    return mmq_folder_visit(spool->folder, compare_key, &search, &why) != MMQ_OK;
}

bool mmq_spool_was_delivered(mmq_spool *spool, const char *name, int64_t since_ns)
{
    bool found = false;
    pthread_mutex_lock(&spool->mutex);
    for (size_t i = 0; i < MMQ_DELIVERED_KEPT && !found; i++) {
        found = strcmp(spool->delivered[i].name.text, name) == 0 &&
                spool->delivered[i].at_ns >= since_ns;
    }
    pthread_mutex_unlock(&spool->mutex);
    return found;
}
