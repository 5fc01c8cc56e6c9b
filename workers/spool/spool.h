/* The spool: finished archives that are still to be delivered. docs/feedback.md has its layout and
 * why it survives a crash at any point.
 *
 * A job is a folder of the spool, named after the request's digest, which holds archive.tar.gz and
 * manifest.json. Whoever holds a mmq_job owns it: the folder is locked, for every thread and
 * process, until the job is closed or its owner dies. A spool may be used from any thread. */
#ifndef MMQ_SPOOL_H
#define MMQ_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "workers/spool/manifest.h"

enum {
    MMQ_JOB_NAME = 32,             /* hex digits that name a job */
    MMQ_SPOOL_QUARANTINE_MAX = 100 /* things kept aside */
};

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
} mmq_spool_counts;

/* Opens `spool` in the data folder, made where it is missing; limits NULL: the defaults. NULL with
 * a sentence in why. */
mmq_spool *mmq_spool_new(int data_folder, const mmq_spool_limits *limits, mmq_why *why);
void mmq_spool_destroy(mmq_spool **spool);

/* Removes what crashed owners left half made or half removed. */
mmq_err mmq_spool_sweep(mmq_spool *spool, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_spool_count(mmq_spool *spool, mmq_spool_counts *out, mmq_why *why) MMQ_MUST_USE;
/* Names of all jobs, ascending; *names is the caller's to free. Puts aside what is no job. */
mmq_err mmq_spool_list(mmq_spool *spool, mmq_job_name **names, size_t *count,
                       mmq_why *why) MMQ_MUST_USE;

/* Begins a job: an empty folder that does not count yet. *bytes_left: what its archive may take at
 * most. MMQ_EBUSY if the spool is full. */
mmq_err mmq_job_begin(mmq_spool *spool, mmq_job **out, int64_t *bytes_left,
                      mmq_why *why) MMQ_MUST_USE;
/* Descriptor of the new job's archive.tar.gz, which the caller writes and fsyncs. Borrowed. */
int mmq_job_archive(const mmq_job *job);
/* The archive is written: writes the manifest and makes it a job, durably. MMQ_ECONFLICT if there
 * is one of that name already. After a failure only mmq_job_remove makes sense. */
mmq_err mmq_job_commit(mmq_job *job, const mmq_manifest *manifest, mmq_why *why) MMQ_MUST_USE;

/* Takes a job of the spool. MMQ_ENOTFOUND: there is none (any more); MMQ_EBUSY: somebody else owns
 * it; MMQ_ECORRUPT: it was no good and is in quarantine, or stays where that is full. */
mmq_err mmq_job_take(mmq_spool *spool, const char *name, mmq_job **out, mmq_why *why) MMQ_MUST_USE;
const mmq_manifest *mmq_job_manifest(const mmq_job *job);
/* A descriptor of its archive for reading; the caller owns *fd. MMQ_ECORRUPT if its size is not
 * the manifest's. */
mmq_err mmq_job_open(mmq_job *job, int *fd, mmq_why *why) MMQ_MUST_USE;
/* Counts a delivery that failed, in the manifest. */
mmq_err mmq_job_failed(mmq_job *job, mmq_why *why) MMQ_MUST_USE;

/* Ends of a job, each of which frees *job, nulls it and gives up the lock. Close: it stays in the
 * spool. Remove: it is delivered, or was never made; after an error it may be found again.
 * Quarantine: it is put aside. */
void mmq_job_close(mmq_job **job);
mmq_err mmq_job_remove(mmq_job **job, mmq_why *why) MMQ_MUST_USE;
void mmq_job_quarantine(mmq_job **job, const mmq_why *reason);

#endif
