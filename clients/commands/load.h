/* Loading rows over the bus: create a metric, then append its rows in batches. Each batch names
 * its first rowid, so that loading the same rows again adds nothing. */
#ifndef MMQ_LOAD_H
#define MMQ_LOAD_H

#include "metricmq/client.h"
#include "metricmq/rows.h"

/* What `create` is told of a metric; NULL: left to the write worker. */
typedef struct mmq_new_metric {
    const char *uid, *name, *server, *location, *tag, *description, *datasource;
} mmq_new_metric;

typedef struct mmq_load mmq_load;

/* Creates the metric, or finds it. NULL with a sentence in why. */
mmq_load *mmq_load_new(mmq_client *client, const mmq_new_metric *metric, unsigned timeout_ms,
                       mmq_why *why);
void mmq_load_destroy(mmq_load **load);
/* The metric's uid; borrowed. */
const char *mmq_load_uid(const mmq_load *load);
/* Adds the next row (rowids count from 1); scores NaN where absent. Sends when a batch is full. */
mmq_err mmq_load_add(mmq_load *load, int64_t timestamp, double value, double anomaly_score,
                     double raw_score, mmq_why *why) MMQ_MUST_USE;
/* Sends what is left. rows: all that were added; added: those that the store did not have. */
mmq_err mmq_load_finish(mmq_load *load, int64_t *rows, int64_t *added, mmq_why *why) MMQ_MUST_USE;

#endif
