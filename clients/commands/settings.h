/* The settings of roles, as the configuration has them. What they point to is the configuration's,
 * or the caller's. */
#ifndef MMQ_SETTINGS_H
#define MMQ_SETTINGS_H

#include "broker/broker.h"
#include "clients/http/http.h"
#include "lib/config.h"
#include "workers/workers.h"

/* `local`: other roles share the process, and its memory. */
mmq_broker_settings mmq_broker_settings_of(const mmq_config *config, bool local);
mmq_http_settings mmq_http_settings_of(const mmq_config *config, const char *connect,
                                       const mmq_curve *curve);
/* Without capacity and keys, which are for workers on their own. */
mmq_worker_settings mmq_worker_settings_of(const mmq_config *config, const char *endpoint,
                                           const char *store, const char *upload);

#endif
