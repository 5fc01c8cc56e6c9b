/* Loading rows over the bus: create a metric, then append its rows in batches. Each batch names
 * its first rowid, so that loading the same rows again adds nothing. */
#ifndef MMQ_LOADER_H
#define MMQ_LOADER_H

#include "metricmq/client.h"
#include "metricmq/rows.h"

/* What `create` is told of a metric; NULL: left to the write worker. */
typedef struct mmq_new_metric {
    const char *uid, *name, *server, *location, *tag, *description, *datasource;
} mmq_new_metric;

typedef struct mmq_loader mmq_loader;

/* Begins to create the metric, or to find it: whether that succeeds is said by what waits for it
 * below. NULL with a sentence in why. */
mmq_loader *mmq_loader_new(mmq_client *client, const mmq_new_metric *metric, unsigned timeout_ms,
                           mmq_why *why);
/* Forgets what is under way. */
void mmq_loader_destroy(mmq_loader **loader);
/* The metric's uid, once it is created: after a batch was sent or all is finished; borrowed. */
const char *mmq_loader_uid(const mmq_loader *loader);
/* Adds the next row (rowids count from 1); scores NaN where absent. Sends when a batch is full,
 * once the answer to the one before has come. */
mmq_err mmq_loader_add(mmq_loader *loader, int64_t timestamp, double value, double anomaly_score,
                       double raw_score, mmq_why *why) MMQ_MUST_USE;
/* Sends the last rows; mmq_loader_finish, which waits for the answer, may come later. */
mmq_err mmq_loader_flush(mmq_loader *loader, mmq_why *why) MMQ_MUST_USE;
/* Sends what is left and waits until all is durable. rows: all that were added; added: those that
 * the store did not have. */
mmq_err mmq_loader_finish(mmq_loader *loader, int64_t *rows, int64_t *added,
                          mmq_why *why) MMQ_MUST_USE;

#endif
