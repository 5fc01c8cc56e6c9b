/* Every option of metricmq, in one table, and the settings that commands derive from them. */
#ifndef MMQ_OPTIONS_H
#define MMQ_OPTIONS_H

#include <stddef.h>

#include "lib/config.h"

extern const mmq_option mmq_options[];
extern const size_t mmq_options_count;

#define MMQ_DEFAULT_CLIENTS "tcp://127.0.0.1:5750"
#define MMQ_DEFAULT_WORKERS "tcp://127.0.0.1:5751"

/* Places under the data directory, unless they were given. Caller frees the result. */
char *mmq_store_url(const mmq_config *config);
char *mmq_upload_url(const mmq_config *config);

#endif
