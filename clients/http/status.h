/* What /_status asks the bus. */
#ifndef MMQ_HTTP_STATUS_H
#define MMQ_HTTP_STATUS_H

#include "clients/http/inquiry.h"

/* Asks the broker for its counts, a feedback worker for the spool's and a query worker for the
 * store's. NULL without memory. */
mmq_inquiry *mmq_status_inquiry(mmq_client *client);

#endif
