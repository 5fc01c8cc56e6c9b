/* Heads of tar entries. */
#ifndef MMQ_TAR_H
#define MMQ_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

enum {
    MMQ_TAR_BLOCK = 512,
    MMQ_TAR_NAME_MAX = 99,                 /* longer ones have blocks of their own */
    MMQ_TAR_END_BYTES = 2 * MMQ_TAR_BLOCK, /* NULs behind the last entry */
};

/* The head of a regular file that anybody may read, of nobody but root: one block, whatever the
 * size. MMQ_ENOMEM; MMQ_EIO: libarchive made something else of it. */
mmq_err mmq_tar_head(const char *name, int64_t size_bytes, int64_t mtime_s,
                     uint8_t out[MMQ_TAR_BLOCK], mmq_why *why) MMQ_MUST_USE;

/* NULs behind so many bytes of an entry. */
size_t mmq_tar_padding(int64_t size_bytes);

#endif
