/* What /metrics says of the parts behind the adapter. */
#ifndef MMQ_METRICS_H
#define MMQ_METRICS_H

#include "clients/http/inquiry.h"
#include "lib/buffer.h"

/* Asks the broker for its counts, a feedback worker for the spool's and a query worker for the
 * store's size. NULL without memory. */
mmq_inquiry *mmq_scrape_inquiry(mmq_client *client);

/* ---- metrics_bus.c ------------------------------------------------------------------------ */

/* Families of the broker and its services, from the map that mmi.stats answers. Services are those
 * of metricmq, and "other" for the sum of all others: any peer may register a name. */
void mmq_metrics_broker(mmq_buffer *out, mmq_reader stats);
/* Families of the spool, from the map that the op `spool` answers. */
void mmq_metrics_spool(mmq_buffer *out, mmq_reader counts);
/* Families of the store, from the map that the op `store` answers. */
void mmq_metrics_store(mmq_buffer *out, mmq_reader sizes);

#endif
