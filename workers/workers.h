/* The three workers, each a role of the program. */
#ifndef MMQ_WORKERS_H
#define MMQ_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/faults.h"
#include "lib/vitals.h"
#include "metricmq/error.h"
#include "metricmq/worker.h"
#include "workers/targets/target.h"

typedef struct mmq_worker_settings {
    const char *endpoint;   /* the broker's, for workers; or a list: see metricmq/worker.h */
    const char *store;      /* url */
    const mmq_curve *curve; /* keys for the bus; copied; NULL: plain text */
    unsigned threads;       /* query and feedback; the write worker has one */
    unsigned capacity;      /* 0: the role's default */
    unsigned drain_ms;
    int64_t retain_days;   /* write: rows that are older go; 0: none do */
    bool (*stopped)(void); /* write: asked while it starts, if that takes long; NULL: never true */
    /* feedback only */
    const char *data;      /* data directory: spool/ and server_id live there */
    const char *upload;    /* target url: "file:DIR", "s3://BUCKET[/PREFIX]" */
    mmq_s3_settings s3;    /* how to reach the latter */
    const char *server_id; /* NULL: made once at random and kept in the data directory */
    int64_t spool_bytes;   /* of all archives in the spool at most; 0: the default */
    int64_t spool_jobs;    /* dumps in the spool at most; 0: the default */
    unsigned uploads;      /* in the background at once; 0: the default */
    int archive_level;     /* of compression, 1..9; 0: 1 */
} mmq_worker_settings;

/* MMQ_EINVAL for settings that are wrong whatever the machine is like, so that a mistake of the
 * user's is told apart from a fault. The upload may be NULL: the role has no use for it. */
mmq_err mmq_worker_settings_check(const mmq_worker_settings *settings, mmq_why *why) MMQ_MUST_USE;
/* What mmq_worker_settings_check finds, all of it. */
void mmq_worker_settings_look(const mmq_worker_settings *settings, mmq_faults *faults);
/* Tells what would keep a role from an upload target, or from the files of a store, as far as can
 * be seen without making anything or asking anybody. `writes`: it makes and writes the store. Urls
 * that are none are the other functions' to tell. */
void mmq_worker_upload_look(const char *url, mmq_faults *faults);
void mmq_worker_store_look(const char *url, bool writes, mmq_faults *faults);
/* Each starts and returns; the settings' strings are copied. NULL with a
 * sentence in why. Query: refuses to start on a store that is missing, empty, foreign, newer, of an
 * earlier form or damaged. Write: makes a store that is missing; brings one of an earlier form to
 * the current one, which may take minutes, before it returns (a standby: before it serves); waits
 * in the background for the writer's lock if another process has it (and logs that it is a standby)
 * unless `wait` is false.
 */
typedef struct mmq_role mmq_role;
mmq_role *mmq_query_worker_new(const mmq_worker_settings *settings, mmq_why *why);
mmq_role *mmq_write_worker_new(const mmq_worker_settings *settings, bool wait, mmq_why *why);
mmq_role *mmq_feedback_worker_new(const mmq_worker_settings *settings, mmq_why *why);
/* False once the role has given up (e.g. a standby that could not open the store). */
bool mmq_role_healthy(mmq_role *role, mmq_why *why);
/* How it is, at mmq_now_ns. Any thread, while the role lives. */
void mmq_role_vitals(const mmq_role *role, int64_t now_ns, mmq_vitals *out);
/* Stops within drain_ms, frees, nulls. */
void mmq_role_destroy(mmq_role **role);

#endif
