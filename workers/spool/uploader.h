/* Deliveries of the spool's jobs: one now, by whoever owns it, and the rest in the background. */
#ifndef MMQ_UPLOADER_H
#define MMQ_UPLOADER_H

#include <stdint.h>

#include "workers/targets/target.h"
#include "workers/spool/spool.h"

typedef struct mmq_uploader mmq_uploader;

/* Delivers the job and removes it from the spool; *job is then NULL, and also after MMQ_ECORRUPT,
 * when it was put aside. After any other error the job is the caller's as it was. */
mmq_err mmq_job_deliver(mmq_job **job, mmq_target *target, const mmq_watch *watch,
                        mmq_why *why) MMQ_MUST_USE;
/* How long to wait after so many failed deliveries: from about 100 ms, doubled each time, to about
 * 5 minutes. */
int64_t mmq_delivery_wait_ns(int64_t attempts);

/* Starts a thread that delivers what is in the spool, now and whenever it is due. spool and target
 * are borrowed until destroy. NULL with a sentence in why. */
mmq_uploader *mmq_uploader_new(mmq_spool *spool, mmq_target *target, mmq_why *why);
/* There is a job that wants delivery. Any thread. */
void mmq_uploader_wake(mmq_uploader *uploader);
/* Of the last delivery in the background that failed, "" after one that did not. Any thread. */
void mmq_uploader_error(mmq_uploader *uploader, mmq_why *out);
/* Breaks off what is under way (it stays in the spool), joins, frees, nulls. */
void mmq_uploader_destroy(mmq_uploader **uploader);

#endif
