/* One request for a dump, on its way from the store to the target. A thread's own. */
#ifndef MMQ_DUMP_CALL_H
#define MMQ_DUMP_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "metricmq/worker.h"
#include "workers/dump.h"
#include "workers/spool/uploader.h"

/* What the work threads and the uploads of a feedback worker share. */
typedef struct mmq_feedback {
    int data_folder;
    char *store; /* url */
    mmq_spool *spool;
    mmq_target *target;
    mmq_uploader *uploader;
    int archive_level;
    char server_id[MMQ_SERVER_ID_MAX + 1];
} mmq_feedback;

typedef struct mmq_dump_call {
    mmq_feedback *feedback;
    mmq_request *request;
    mmq_dump dump;
    char key[MMQ_OBJECT_KEY_MAX + 1]; /* of the object: its manifest's, once there is one */
    mmq_job *building;                /* whose archive is being written; NULL */
    int64_t start_ns;                 /* of the work on it */
    int64_t reserve_ns;  /* of its time: with less left a delivery goes to the background */
    const char *stage;   /* that was told last; NULL: none */
    int64_t progress_ns; /* when the next PARTIAL may be sent */
    int64_t room_ns;     /* when to look at the spool's room again */
    bool broken_off;     /* a delivery by the watch, which is no failure of its */
    mmq_why why;         /* of what failed */
} mmq_dump_call;

/* The job of the call, taken from the spool or built: now it is accepted. MMQ_EEND: it was in the
 * spool, and its owner delivered it meanwhile; MMQ_EBUSY: it is in the spool, but somebody else
 * still has it, and the call's time is used up. After all else nothing was accepted. */
mmq_err mmq_dump_call_job(mmq_dump_call *call, mmq_job **out) MMQ_MUST_USE;
/* Tries to deliver until the attempts or the time are used up, or it makes no sense to go on. *job
 * is NULL when it is done. */
mmq_err mmq_dump_call_deliver(mmq_dump_call *call, mmq_job **job) MMQ_MUST_USE;

#endif
