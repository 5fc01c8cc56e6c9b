/* What an archive's bytes sum up to: its size, its digests, and those of its parts, as object
 * stores want them. Those of the parts are taken while the archive is written. */
#ifndef MMQ_SUMS_H
#define MMQ_SUMS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"
#include "metricmq/error.h"

enum {
    MMQ_PART_BYTES = 8 * 1024 * 1024,   /* of each part but the last */
    MMQ_PARTS_MAX = 10000,              /* S3: "Amazon S3 multipart upload limits" */
    MMQ_WHOLE_BYTES = 64 * 1024 * 1024, /* up to here an object is sent in one piece */
};

/* Lower-case hex, NUL-terminated. */
typedef struct mmq_sum {
    char sha256[MMQ_DIGEST_HEX + 1];
    char md5[MMQ_MD5_HEX + 1]; /* what an S3 store's ETag is made of */
} mmq_sum;

typedef struct mmq_sums {
    int64_t size_bytes;
    mmq_sum whole;  /* md5 is "" beyond MMQ_WHOLE_BYTES */
    size_t count;   /* of parts; 0 up to MMQ_WHOLE_BYTES */
    mmq_sum *parts; /* owned */
} mmq_sums;

/* Room for the sums of so many bytes, none of them known yet. MMQ_ENOMEM; MMQ_ETOOBIG beyond
 * MMQ_PARTS_MAX parts. *sums is the caller's to clear. */
mmq_err mmq_sums_init(mmq_sums *sums, int64_t size_bytes, mmq_why *why) MMQ_MUST_USE;
/* Reads the file from its start to its end. MMQ_ENOMEM, MMQ_EIO, MMQ_ETOOBIG. *out is the caller's
 * to clear. */
mmq_err mmq_sums_of_file(int fd, mmq_sums *out, mmq_why *why) MMQ_MUST_USE;
void mmq_sums_clear(mmq_sums *sums);

/* The sums of a file's parts while it is written from its start to its end. One thread at a time.
 */
typedef struct mmq_part_sums mmq_part_sums;

/* NULL: no memory. */
mmq_part_sums *mmq_part_sums_new(void);
void mmq_part_sums_destroy(mmq_part_sums **sums);
/* The next bytes of the file. MMQ_ENOMEM, MMQ_ETOOBIG. */
mmq_err mmq_part_sums_add(mmq_part_sums *sums, const void *data, size_t size,
                          mmq_why *why) MMQ_MUST_USE;
/* As mmq_part_sums_add, of bytes that will change: the parts that have some of them are summed at
 * the end. */
mmq_err mmq_part_sums_skip(mmq_part_sums *sums, size_t size, mmq_why *why) MMQ_MUST_USE;
/* When all was added: the sums of the file, but for its own SHA-256, which takes a reading of all
 * of it (mmq_sha256_of_file; another thread may be at that meanwhile). What was skipped is read,
 * and up to MMQ_WHOLE_BYTES all. MMQ_ENOMEM, MMQ_EIO. *out is the caller's to clear. */
mmq_err mmq_part_sums_end(mmq_part_sums *sums, int fd, mmq_sums *out, mmq_why *why) MMQ_MUST_USE;

/* Of a file of so many bytes. MMQ_ENOMEM; MMQ_EIO: also if its size is another. */
mmq_err mmq_sha256_of_file(int fd, int64_t size_bytes, char out[MMQ_DIGEST_HEX + 1],
                           mmq_why *why) MMQ_MUST_USE;

#endif
