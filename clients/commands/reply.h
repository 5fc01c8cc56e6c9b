/* Calls that answer with one map, and a look into it. */
#ifndef MMQ_REPLY_H
#define MMQ_REPLY_H

#include <stdbool.h>

#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "metricmq/client.h"

/* Calls a service with args (which may be sent again after a loss). MMQ_OK: status 200 or 202, and
 * result is the caller's to clear; else why holds the service's sentence. */
mmq_err mmq_reply_call(mmq_client *client, const char *service, const mmq_args *args,
                       unsigned timeout_ms, mmq_result *result, mmq_why *why) MMQ_MUST_USE;

/* As mmq_reply_call, and shows what comes before the answer: the payloads of its PARTIALs. */
typedef void mmq_partial_fn(void *context, const mmq_frame *payload);
mmq_err mmq_reply_watch(mmq_client *client, const char *service, const mmq_args *args,
                        unsigned timeout_ms, mmq_partial_fn *partial, void *context,
                        mmq_result *result, mmq_why *why) MMQ_MUST_USE;

/* mmq_reply_call in two halves, so that the caller has time for something else meanwhile. Zeroed,
 * it is none. It must not move while it is under way. */
typedef struct mmq_reply {
    uint64_t handle; /* of the call under way; 0: there is none */
    bool done;       /* its answer has come */
    mmq_partial_fn *partial;
    void *context; /* of partial */
    mmq_result result;
} mmq_reply;

/* Sends; args may be used again at once. After a failure nothing is under way. */
mmq_err mmq_reply_begin(mmq_client *client, const char *service, const mmq_args *args,
                        unsigned timeout_ms, mmq_reply *reply, mmq_why *why) MMQ_MUST_USE;
/* Waits for the answer to what was begun; the rest is as mmq_reply_call has it. */
mmq_err mmq_reply_end(mmq_client *client, mmq_reply *reply, mmq_result *result,
                      mmq_why *why) MMQ_MUST_USE;
/* Forgets what is under way, if anything is. */
void mmq_reply_cancel(mmq_client *client, mmq_reply *reply);

/* The value under a key of a payload that is one map; of an array or map its head. */
bool mmq_reply_find(const mmq_frame *map, const char *key, mmq_value *out);

#endif
