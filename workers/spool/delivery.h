/* One delivery of a job, by whoever owns it, and what is made of one that failed. */
#ifndef MMQ_DELIVERY_H
#define MMQ_DELIVERY_H

#include <stdint.h>

#include "workers/spool/spool.h"
#include "workers/targets/target.h"

#define MMQ_NEVER_NS INT64_MAX

/* Delivers the job and removes it from the spool; *job is then NULL, and also after MMQ_ECORRUPT,
 * when it was put aside. After any other error the job is the caller's as it was, and *setback says
 * what to make of it. */
mmq_err mmq_job_deliver(mmq_job **job, mmq_target *target, const mmq_watch *watch,
                        mmq_setback *setback, mmq_why *why) MMQ_MUST_USE;
/* How long to wait after so many deliveries that failed, the last one like this: random; passing:
 * up to 100 ms, doubled each time up to 5 minutes, and not less than the target asked for (5
 * minutes of it); settings: 1 to 5 minutes; refused: MMQ_NEVER_NS. */
int64_t mmq_delivery_wait_ns(const mmq_setback *setback, int64_t attempts);
/* Counts a delivery that failed in the job's manifest, logs it, and returns how long to wait. */
int64_t mmq_delivery_failed(mmq_job *job, const mmq_setback *setback, const mmq_why *reason);
/* How long a job of the spool is still to be left alone, by its manifest: at most 5 minutes,
 * whatever became of the clock since; MMQ_NEVER_NS if it is held. */
int64_t mmq_delivery_due_ns(const mmq_manifest *manifest);

#endif
