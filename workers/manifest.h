/* What a job of the spool says of itself: its manifest.json. */
#ifndef MMQ_MANIFEST_H
#define MMQ_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "workers/dump.h"

typedef struct mmq_manifest {
    char key[MMQ_OBJECT_KEY_MAX + 1]; /* of the object */
    char uid[MMQ_UID_MAX + 1];
    char server_id[MMQ_SERVER_ID_MAX + 1];
    char digest[MMQ_DIGEST_HEX + 1]; /* of the request */
    char sha256[MMQ_DIGEST_HEX + 1]; /* of the archive */
    int64_t created;
    int64_t size_bytes; /* of the archive */
    int64_t attempts;   /* deliveries that failed */
} mmq_manifest;

/* Appends the manifest as one line of JSON. */
mmq_err mmq_manifest_print(const mmq_manifest *manifest, mmq_buffer *out,
                           mmq_why *why) MMQ_MUST_USE;
/* MMQ_ECORRUPT unless it is a manifest of version 1 with nothing missing or strange. */
mmq_err mmq_manifest_parse(const char *text, size_t size, mmq_manifest *out,
                           mmq_why *why) MMQ_MUST_USE;
/* Relative, of letters, digits and "-_./", no part of it empty or beginning with a dot. */
bool mmq_object_key_valid(const char *key, size_t size);

#endif
