/* What /health/ready asks the bus. */
#ifndef MMQ_HEALTH_H
#define MMQ_HEALTH_H

#include "clients/http/inquiry.h"

/* Is there a worker for each service? NULL without memory. */
mmq_inquiry *mmq_ready_inquiry(mmq_client *client);

#endif
