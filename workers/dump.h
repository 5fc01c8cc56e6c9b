/* A request for a dump: what it asks for and the names that follow from it. */
#ifndef MMQ_DUMP_H
#define MMQ_DUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/digest.h"
#include "metricmq/error.h"
#include "metricmq/rows.h"
#include "workers/spool/spool.h"
#include "workers/targets/target.h"

typedef struct mmq_dump {
    char uid[MMQ_UID_MAX + 1];
    int64_t created;  /* epoch seconds */
    mmq_buffer extra; /* packed map; keys sorted at every level: their order means nothing */
    char digest[MMQ_DIGEST_HEX + 1]; /* of uid, created and extra */
    char name[MMQ_JOB_NAME + 1];     /* of its job: the digest's beginning */
    bool progress;                   /* PARTIALs are wanted */
} mmq_dump;

/* Reads the body of a `dump` request. *out is the caller's to clear, also after a failure. */
mmq_err mmq_dump_read(const void *body, size_t size, mmq_dump *out, mmq_why *why) MMQ_MUST_USE;
void mmq_dump_clear(mmq_dump *dump);
/* The key under `prefix` that its archive gets. */
void mmq_dump_key(const mmq_dump *dump, const char *prefix, const char *server_id,
                  char out[MMQ_OBJECT_KEY_MAX + 1]);
/* What the keys of all dumps of that server begin with. */
void mmq_dump_key_prefix(const char *prefix, const char *server_id,
                         char out[MMQ_OBJECT_KEY_MAX + 1]);

/* Appends a packed map with all keys sorted by bytes and every value in its one form. Keys must be
 * UTF-8 strings, none twice in a map; no bin, no ext, floats finite, 32 deep: else MMQ_EINVAL. */
mmq_err mmq_canonical_map(const void *packed, size_t size, mmq_buffer *out,
                          mmq_why *why) MMQ_MUST_USE;

#endif
