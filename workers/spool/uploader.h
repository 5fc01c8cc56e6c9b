/* Deliveries of the spool's jobs in the background, several at once. */
#ifndef MMQ_UPLOADER_H
#define MMQ_UPLOADER_H

#include "workers/spool/delivery.h"
#include "workers/spool/spool.h"
#include "workers/targets/target.h"

enum { MMQ_UPLOADS = 4 /* at once, unless told otherwise */, MMQ_UPLOADS_MAX = 32 };

typedef struct mmq_uploader mmq_uploader;

typedef struct mmq_uploader_options {
    mmq_spool *spool; /* borrowed until destroy, as is the target */
    mmq_target *target;
    unsigned uploads; /* at once, 1..MMQ_UPLOADS_MAX; 0: MMQ_UPLOADS */
    const char *ours; /* what the keys of this server's dumps begin with: deliveries under them
                         that a crash left half done are aborted at the start; copied. NULL: none
                         are looked for */
} mmq_uploader_options;

/* Starts threads that deliver what is in the spool, now and whenever it is due. NULL with a
 * sentence in why. */
mmq_uploader *mmq_uploader_new(const mmq_uploader_options *options, mmq_why *why);
/* The job of that name may want delivery: it is looked at now. NULL: so may all jobs, and there may
 * be others than before. Any thread. */
void mmq_uploader_wake(mmq_uploader *uploader, const char *name);
/* Of the last delivery in the background that failed, "" after one that did not. Any thread. */
void mmq_uploader_error(mmq_uploader *uploader, mmq_why *out);
/* Breaks off what is under way (it stays in the spool), joins, frees, nulls. */
void mmq_uploader_destroy(mmq_uploader **uploader);

#endif
