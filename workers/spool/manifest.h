/* What a job of the spool says of itself: its manifest.json. */
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

typedef struct mmq_manifest {
    char key[MMQ_OBJECT_KEY_MAX + 1]; /* of the object */
    char uid[MMQ_UID_MAX + 1];
    char server_id[MMQ_SERVER_ID_MAX + 1];
    char digest[MMQ_DIGEST_HEX + 1]; /* of the request */
    int64_t created;
    int64_t attempts; /* deliveries that failed */
    mmq_sums sums;    /* of the archive; owned */
} mmq_manifest;

/* Appends the manifest as one line of JSON. */
mmq_err mmq_manifest_print(const mmq_manifest *manifest, mmq_buffer *out,
                           mmq_why *why) MMQ_MUST_USE;
/* MMQ_ECORRUPT unless it is a manifest of version 1 with nothing missing or strange. */
mmq_err mmq_manifest_parse(const char *text, size_t size, mmq_manifest *out,
                           mmq_why *why) MMQ_MUST_USE;
#endif
