/* The file of keys on the disk. Private to this room. */
#ifndef MMQ_HTTP_KEY_FILE_H
#define MMQ_HTTP_KEY_FILE_H

#include "lib/buffer.h"
#include "metricmq/error.h"

/* Appends the file's bytes. MMQ_EINVAL with a sentence that names it, if it cannot be read, is not
 * a regular file of MMQ_KEYS_FILE_MAX bytes at most, or others could have written it or can read
 * it. */
mmq_err mmq_key_file_read(const char *path, mmq_buffer *out, mmq_why *why) MMQ_MUST_USE;

#endif
