/* The spool's folder: what its entries are, and what is done to each. Within workers/spool. */
#ifndef MMQ_SPOOL_FOLDER_H
#define MMQ_SPOOL_FOLDER_H

#include <pthread.h>
#include <sys/stat.h>

#include "workers/spool/spool.h"

#define MMQ_ARCHIVE_NAME    "archive.tar.gz"
#define MMQ_MANIFEST_NAME   "manifest.json"
#define MMQ_QUARANTINE_NAME "quarantine"
#define MMQ_REASON_NAME     "reason" /* of what is in quarantine: a sentence */
#define MMQ_NEW_PREFIX      ".new-"
#define MMQ_DONE_PREFIX     ".done-"

enum { MMQ_DELIVERED_KEPT = 64 };

struct mmq_spool {
    int folder;
    int quarantine;
    mmq_spool_limits limits;
    int64_t strays; /* that found no room in quarantine, as it was logged last; see the mutex */
    /* Guards strays and the ring of what was delivered, which work threads and deliveries share. */
    pthread_mutex_t mutex;
    struct {
        mmq_job_name name;
        int64_t at_ns;
    } delivered[MMQ_DELIVERED_KEPT];
    size_t next_delivered;
};

/* What an entry of the spool is, by its name. */
typedef enum mmq_entry_kind {
    MMQ_ENTRY_JOB,
    MMQ_ENTRY_NEW,        /* being built, as mmq_job_begin names it */
    MMQ_ENTRY_LEFT,       /* begins as what is being built or removed does */
    MMQ_ENTRY_QUARANTINE, /* the folder itself */
    MMQ_ENTRY_STRAY,
} mmq_entry_kind;

mmq_entry_kind mmq_entry_kind_of(const char *name);
/* The archive of a job or of one that is being built. False if there is none, so that whatever
 * bears the name is no job; true with a size of 0 where that cannot be found out. */
bool mmq_entry_archive(const mmq_spool *spool, const char *name, struct stat *out);
/* Of sizes of files: INT64_MAX where the sum would be more. */
int64_t mmq_size_sum(int64_t sum, int64_t size);

/* Calls `visit` for each entry of a folder, "." and ".." left out, until it returns an error. */
mmq_err mmq_folder_visit(int folder, mmq_err (*visit)(void *context, const char *name),
                         void *context, mmq_why *why) MMQ_MUST_USE;
/* Counts the entries of a folder. */
mmq_err mmq_folder_count(int folder, int64_t *out, mmq_why *why) MMQ_MUST_USE;
/* Locks a folder of the spool: MMQ_EBUSY if it has an owner, MMQ_ENOTFOUND if it is gone,
 * MMQ_ECORRUPT if it is no folder. */
mmq_err mmq_folder_lock(int parent, const char *name, int *fd, mmq_why *why) MMQ_MUST_USE;
/* Removes a folder of `parent` (the spool or its quarantine) for good, whose owner is the caller.
 */
mmq_err mmq_entry_remove(mmq_spool *spool, int parent, const char *name, mmq_why *why) MMQ_MUST_USE;

/* Moves an entry into quarantine, where *room is left (which it counts down), with the reason. What
 * cannot be put aside stays where it is: nothing is ever thrown away unread. */
mmq_err mmq_spool_put_aside(mmq_spool *spool, const char *name, const mmq_why *reason,
                            int64_t *room) MMQ_MUST_USE;
/* Room in quarantine; 0 if it cannot be counted. */
int64_t mmq_spool_aside_room(mmq_spool *spool);
/* Both in one, for one entry. */
void mmq_spool_quarantine(mmq_spool *spool, const char *name, const mmq_why *reason);

/* Reads the manifest in a job's folder. MMQ_ECORRUPT if there is none, or it is no good. */
mmq_err mmq_folder_manifest(int folder, mmq_manifest *out, mmq_why *why) MMQ_MUST_USE;

#endif
