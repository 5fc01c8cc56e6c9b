/* What a job of the spool says of itself: its manifest.json. docs/feedback.md has its keys. */
#ifndef MMQ_MANIFEST_H
#define MMQ_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/digest.h"
#include "metricmq/error.h"
#include "metricmq/rows.h"
#include "workers/spool/server_id.h"
#include "workers/targets/target.h"

enum { MMQ_MANIFEST_MAX = 1024 * 1024 /* bytes: MMQ_PARTS_MAX sums, and some */ };

/* What the last delivery that failed says of the next one. */
typedef enum mmq_job_state {
    MMQ_JOB_WAITING,  /* none failed, or it may work soon */
    MMQ_JOB_SETTINGS, /* somebody has to mend something; tried now and then */
    MMQ_JOB_HELD,     /* refused for good; left alone until a start or `spool retry` */
} mmq_job_state;

typedef struct mmq_manifest {
    char key[MMQ_OBJECT_KEY_MAX + 1]; /* of the object */
    char uid[MMQ_UID_MAX + 1];
    char server_id[MMQ_SERVER_ID_MAX + 1];
    char digest[MMQ_DIGEST_HEX + 1]; /* of the request */
    int64_t created;
    int64_t attempts;        /* deliveries that failed */
    int64_t next_attempt_ms; /* since the epoch: left alone before that */
    mmq_job_state state;
    mmq_why error; /* of the last delivery that failed; "" if none did */
    mmq_sums sums; /* of the archive; owned */
} mmq_manifest;

/* "waiting", "settings", "held"; static storage. */
const char *mmq_job_state_name(mmq_job_state state);

/* False for one of version 1, which knows no sums but the whole's SHA-256. Only one that is summed
 * can be printed. */
bool mmq_manifest_is_summed(const mmq_manifest *manifest);
/* Appends the manifest as one line of JSON, of version 2. */
mmq_err mmq_manifest_print(const mmq_manifest *manifest, mmq_buffer *out,
                           mmq_why *why) MMQ_MUST_USE;
/* MMQ_ECORRUPT unless it is a manifest of version 1 or 2 with nothing missing, strange or changed.
 * *out is the caller's to clear, after MMQ_OK. */
mmq_err mmq_manifest_parse(const char *text, size_t size, mmq_manifest *out,
                           mmq_why *why) MMQ_MUST_USE;
/* Makes a store's words, which may be anything, fit for JSON and for people. */
void mmq_error_clean(mmq_why *error);
void mmq_manifest_clear(mmq_manifest *manifest);

#endif
