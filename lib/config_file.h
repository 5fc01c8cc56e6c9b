/* The configuration file: ZPL (ZeroMQ RFC 4), of which we use `key = value` lines and comments. */
#ifndef MMQ_CONFIG_FILE_H
#define MMQ_CONFIG_FILE_H

#include "lib/faults.h"
#include "metricmq/error.h"

/* Called for each pair in the file's order; both texts are borrowed for the call. */
typedef mmq_err mmq_config_pair_fn(void *context, const char *key, const char *value, mmq_why *why);

/* Reads the file and calls `pair` until it returns an error, which ends the reading. Reasons name
 * the file, and never quote a value. A line that is none fails before any pair is read, or, with
 * `faults`, is told there and passed over. */
mmq_err mmq_config_file_read(const char *path, mmq_config_pair_fn *pair, void *context,
                             mmq_faults *faults, mmq_why *why) MMQ_MUST_USE;

#endif
