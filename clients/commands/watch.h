/* `metricmq status --watch`. */
#ifndef MMQ_WATCH_COMMAND_H
#define MMQ_WATCH_COMMAND_H

#include "lib/config.h"
#include "metricmq/client.h"

/* Shows the bus of the client on the terminal until the user has seen enough; the exit status. */
int mmq_watch_bus(mmq_client *client, const mmq_config *config);

#endif
