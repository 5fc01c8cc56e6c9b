/* The archive of a dump: a gzipped tar of metric.json and metric_data.csv (docs/feedback.md). */
#ifndef MMQ_ARCHIVE_H
#define MMQ_ARCHIVE_H

#include <stdint.h>

#include "workers/archive/sums.h"
#include "workers/dump.h"
#include "workers/store/store.h"
#include "lib/watch.h"

typedef struct mmq_archive_order {
    mmq_store *store; /* not within a transaction */
    const mmq_dump *dump;
    const char *server_id;
    int64_t bytes_max; /* MMQ_EBUSY if the archive gets longer */
    mmq_watch watch;
} mmq_archive_order;

/* Writes the archive to fd and fsyncs it, in constant memory. The same dump of the same data gives
 * the same bytes. MMQ_ENOTFOUND: there is no such metric. */
mmq_err mmq_archive_build(const mmq_archive_order *order, int fd, mmq_sums *out,
                          mmq_why *why) MMQ_MUST_USE;

#endif
