/* All rows of one metric as CSV (RFC 4180), by rowid: metric_data.csv of a dump. */
#ifndef MMQ_METRIC_CSV_H
#define MMQ_METRIC_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "workers/store/store.h"
#include "lib/watch.h"

typedef struct mmq_csv_sink {
    mmq_err (*write)(void *context, const void *data, size_t size, mmq_why *why);
    void *context;
} mmq_csv_sink;

/* Hands the text to the sink batch by batch, within the store's read transaction: each pass of one
 * transaction gives the same bytes. `stage` names the pass to the watch. Nothing at all where the
 * metric has no rows. */
mmq_err mmq_metric_csv_write(mmq_store *store, const mmq_metric_head *metric, const char *stage,
                             const mmq_watch *watch, const mmq_csv_sink *sink,
                             mmq_why *why) MMQ_MUST_USE;

#endif
