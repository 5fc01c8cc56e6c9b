/* The archive of a dump: a gzipped tar of metric.json and metric_data.csv (docs/feedback.md). */
#ifndef MMQ_DUMP_ARCHIVE_H
#define MMQ_DUMP_ARCHIVE_H

#include <stdint.h>

#include "workers/archive/sums.h"
#include "workers/dump.h"
#include "workers/store/store.h"
#include "lib/watch.h"

typedef struct mmq_archive_order {
    mmq_store *store; /* not within a transaction */
    const mmq_dump *dump;
    const char *server_id;
    int level;         /* of compression, 1 to 9; 0: the default */
    int64_t bytes_max; /* MMQ_EBUSY if the archive gets longer */
    mmq_watch watch;   /* stage "build", done and total in rows */
} mmq_archive_order;

/* Writes the archive to fd, an empty file that is open for reading and writing, and fsyncs it, in
 * constant memory. The same dump of the same data gives the same bytes at the same level. *out is
 * the caller's to clear. MMQ_ENOTFOUND: there is no such metric; MMQ_EBUSY: it is longer than
 * bytes_max; MMQ_ENOSPC, MMQ_EIO, MMQ_ENOMEM, MMQ_ETOOBIG, what the store says, what the watch
 * says: the file is good for nothing. */
mmq_err mmq_archive_build(const mmq_archive_order *order, int fd, mmq_sums *out,
                          mmq_why *why) MMQ_MUST_USE;

#endif
