/* All rows of one metric as CSV (RFC 4180), by rowid: metric_data.csv of a dump. */
#ifndef MMQ_METRIC_CSV_H
#define MMQ_METRIC_CSV_H

#include "lib/watch.h"
#include "metricmq/error.h"
#include "workers/archive/archive.h"
#include "workers/store/store.h"

/* Adds the text to the archive's open entry, within the store's read transaction: one pass over the
 * rows. Nothing at all where the metric has no rows. The watch hears of stage "build", in rows. */
mmq_err mmq_metric_csv_write(mmq_store *store, const mmq_metric_head *metric,
                             const mmq_watch *watch, mmq_archive *archive,
                             mmq_why *why) MMQ_MUST_USE;

#endif
