/* `metricmq migrate --from URL --to URL`. */
#ifndef MMQ_MIGRATE_BETWEEN_H
#define MMQ_MIGRATE_BETWEEN_H

#include "lib/config.h"

/* Copies a store into another one; the exit status. */
int mmq_migrate_between(const mmq_config *config);

#endif
