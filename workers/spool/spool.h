/* The spool: finished archives that are still to be delivered. docs/feedback.md has its layout and
 * why it survives a crash at any point.
 *
 * A job is a folder of the spool, named after the request's digest, which holds archive.tar.gz and
 * manifest.json. Whoever holds a mmq_job owns it: the folder is locked, for every thread and
 * process, until the job is closed or its owner dies. A spool may be used from any thread. */
#ifndef MMQ_SPOOL_H
#define MMQ_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workers/spool/manifest.h"

enum {
    MMQ_JOB_NAME = 32,              /* hex digits that name a job */
    MMQ_SPOOL_QUARANTINE_MAX = 100, /* things kept aside */
    MMQ_SPOOL_JOBS = 1000,          /* at most, unless the limits say otherwise */
};

#define MMQ_SPOOL_BYTES (INT64_C(10) << 30)

typedef struct mmq_spool mmq_spool;
typedef struct mmq_job mmq_job;

typedef struct mmq_spool_limits {
    int64_t jobs;
    int64_t bytes; /* of all archives */
} mmq_spool_limits;

typedef struct mmq_job_name {
    char text[MMQ_JOB_NAME + 1];
} mmq_job_name;

typedef struct mmq_spool_counts {
    int64_t jobs, bytes, oldest_age_s, quarantined;
    int64_t waiting, settings, held; /* of the jobs, by state */
    mmq_why last_error;              /* of the job that failed last; "" if none of them did */
} mmq_spool_counts;

/* Opens `spool` in the data folder, made where it is missing; limits NULL: the defaults. NULL with
 * a sentence in why. */
mmq_spool *mmq_spool_new(int data_folder, const mmq_spool_limits *limits, mmq_why *why);
/* As mmq_spool_new, but makes nothing: NULL where there is no spool. */
mmq_spool *mmq_spool_find(int data_folder, mmq_why *why);
void mmq_spool_destroy(mmq_spool **spool);
/* The spool's folder, to be watched. Borrowed. */
int mmq_spool_folder(const mmq_spool *spool);

/* Removes what crashed owners left half made or half removed, and puts aside what is no job. */
mmq_err mmq_spool_sweep(mmq_spool *spool, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_spool_count(mmq_spool *spool, mmq_spool_counts *out, mmq_why *why) MMQ_MUST_USE;
/* Names of all jobs, ascending; *names is the caller's to free. */
mmq_err mmq_spool_list(mmq_spool *spool, mmq_job_name **names, size_t *count,
                       mmq_why *why) MMQ_MUST_USE;
/* True if some job's archive goes under that key. */
bool mmq_spool_has_key(mmq_spool *spool, const char *key);

/* Begins a job: an empty folder. *bytes_left: what its archive may take at most. MMQ_EBUSY if the
 * spool is full. */
mmq_err mmq_job_begin(mmq_spool *spool, mmq_job **out, int64_t *bytes_left,
                      mmq_why *why) MMQ_MUST_USE;
/* Descriptor of the new job's archive.tar.gz, which the caller writes and fsyncs. Borrowed. */
int mmq_job_archive(const mmq_job *job);
/* Is there still room for the new job, as far as it is written, beside all others? To be asked now
 * and then while it is written: MMQ_EBUSY means that it has to be given up. Of several that
 * outgrow the spool together only as many as it takes are told so. */
mmq_err mmq_job_room(const mmq_job *job, mmq_why *why) MMQ_MUST_USE;
/* The archive is written: writes the manifest and makes it a job, durably. Takes ownership of
 * *manifest's content. MMQ_ECONFLICT if there is one of that name already; MMQ_EBUSY if the spool
 * is full. After a failure only mmq_job_remove makes sense. */
mmq_err mmq_job_commit(mmq_job *job, mmq_manifest *manifest, mmq_why *why) MMQ_MUST_USE;

/* Takes a job of the spool. MMQ_ENOTFOUND: there is none (any more); MMQ_EBUSY: somebody else owns
 * it; MMQ_ECORRUPT: it was no good and is in quarantine, or stays where that is full. */
mmq_err mmq_job_take(mmq_spool *spool, const char *name, mmq_job **out, mmq_why *why) MMQ_MUST_USE;
const mmq_manifest *mmq_job_manifest(const mmq_job *job);
/* A descriptor of its archive for reading; the caller owns *fd. One of version 1 gets its sums,
 * which takes a pass over it. MMQ_ECORRUPT if its size, or what was summed, is not the manifest's.
 */
mmq_err mmq_job_open(mmq_job *job, int *fd, mmq_why *why) MMQ_MUST_USE;
/* Counts a delivery that failed, in the manifest: its sentence, and that it is to be left alone for
 * so long. */
mmq_err mmq_job_failed(mmq_job *job, mmq_job_state state, int64_t wait_ns, const mmq_why *reason,
                       mmq_why *why) MMQ_MUST_USE;
/* Makes it due at once. */
mmq_err mmq_job_hurry(mmq_job *job, mmq_why *why) MMQ_MUST_USE;

/* Ends of a job, each of which frees *job, nulls it and gives up the lock. Close: it stays in the
 * spool. Remove: it is delivered, or was never made, or is not wanted; after an error it may be
 * found again. Quarantine: it is put aside. */
void mmq_job_close(mmq_job **job);
mmq_err mmq_job_remove(mmq_job **job, mmq_why *why) MMQ_MUST_USE;
void mmq_job_quarantine(mmq_job **job, const mmq_why *reason);

/* The job was delivered. The last few that were, by anyone in this process, are remembered for
 * those who waited for them: was one of that name, at or after that time (mmq_now_ns)? */
void mmq_job_note_delivered(const mmq_job *job);
bool mmq_spool_was_delivered(mmq_spool *spool, const char *name, int64_t since_ns);

/* ---- by hand (workers/spool/by_hand.c) ---------------------------------------------------- */

/* Something in the spool, as people see it. */
typedef struct mmq_spool_entry {
    char name[256];   /* within the spool or the quarantine, whatever bytes it has */
    bool quarantined; /* else it is a job */
    bool owned;       /* somebody is at it: it is being delivered */
    bool known;       /* the manifest could be read */
    int64_t made_s;   /* epoch seconds; 0: not known */
    mmq_manifest manifest;
    mmq_why reason; /* why it is in quarantine, or its manifest is not known; "" if nobody said */
} mmq_spool_entry;

/* The manifest of a job that may have another owner. MMQ_ENOTFOUND, MMQ_ECORRUPT; nothing is put
 * aside. *out is the caller's to clear, after MMQ_OK. */
mmq_err mmq_spool_peek(mmq_spool *spool, const char *name, mmq_manifest *out,
                       mmq_why *why) MMQ_MUST_USE;
/* Calls `visit` for each job, ascending by name, and then for all that is in quarantine, until it
 * returns an error. The entry is borrowed for the call. */
mmq_err mmq_spool_each(mmq_spool *spool,
                       mmq_err (*visit)(void *context, const mmq_spool_entry *entry), void *context,
                       mmq_why *why) MMQ_MUST_USE;
/* Makes a job due at once, and lets running workers know; one in quarantine is put back first.
 * MMQ_EBUSY: it is being delivered right now; MMQ_EINVAL: it never was a job; MMQ_ECORRUPT: it is
 * still no good, and is in quarantine again. */
mmq_err mmq_spool_retry(mmq_spool *spool, const mmq_spool_entry *entry, mmq_why *why) MMQ_MUST_USE;
/* Removes it for good. MMQ_EBUSY: it is being delivered right now. */
mmq_err mmq_spool_drop(mmq_spool *spool, const mmq_spool_entry *entry, mmq_why *why) MMQ_MUST_USE;

#endif
