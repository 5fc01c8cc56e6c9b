/* Calls that answer with one map, and a look into it. */
#ifndef MMQ_REPLY_H
#define MMQ_REPLY_H

#include <stdbool.h>

#include "lib/pack.h"
#include "lib/unpack.h"
#include "metricmq/client.h"

/* Calls a service with args (which may be sent again after a loss). MMQ_OK: status 200 or 202, and
 * result is the caller's to clear; else why holds the service's sentence. */
mmq_err mmq_reply_call(mmq_client *client, const char *service, const mmq_args *args,
                       unsigned timeout_ms, mmq_result *result, mmq_why *why) MMQ_MUST_USE;
/* The value under a key of a payload that is one map; of an array or map its head. */
bool mmq_reply_find(const mmq_frame *map, const char *key, mmq_value *out);

#endif
