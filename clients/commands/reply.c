/* Calls of commands: each may be sent again, and an answer that is an error becomes a sentence. */
#include "clients/commands/reply.h"

#include <poll.h>
#include <stdio.h>

#include "lib/clock.h"

static void keep_answer(void *context, const mmq_answer *answer)
{
    mmq_reply *reply = context;
    if (!answer->final) {
        if (reply->partial && answer->payload) {
            reply->partial(reply->context, answer->payload);
        }
        return;
    }
    const mmq_header *header = answer->header;
    const bool readable = mmq_utf8_valid(header->error.data, header->error.size);
    reply->result.status = (int)header->status;
    snprintf(reply->result.error, sizeof reply->result.error, "%.*s",
             readable ? (int)header->error.size : 0, header->error.data);
    if (answer->payload) {
        mmq_frame_move(&reply->result.payload, answer->payload);
    }
    reply->done = true;
}

/* Begins what *reply says; whom to tell of PARTIALs is in it already. */
static mmq_err begin(mmq_client *client, const char *service, const mmq_args *args,
                     unsigned timeout_ms, mmq_reply *reply, mmq_why *why)
{
    const mmq_call call = {.service = service,
                           .args = args->pairs.data,
                           .args_size = args->pairs.size,
                           .args_count = args->count,
                           .timeout_ms = timeout_ms,
                           .retry = true,
                           .answer = keep_answer,
                           .context = reply};
    if (args->pairs.failed) {
        return mmq_fail(why, MMQ_ETOOBIG, "the request is too big");
    }
    mmq_frame_init(&reply->result.payload);
    reply->handle = mmq_client_send(client, &call, why);
    if (reply->handle == 0) {
        return MMQ_EBUSY;
    }
    (void)mmq_client_step(client);
    return MMQ_OK;
}

mmq_err mmq_reply_begin(mmq_client *client, const char *service, const mmq_args *args,
                        unsigned timeout_ms, mmq_reply *reply, mmq_why *why)
{
    *reply = (mmq_reply){.done = false};
    return begin(client, service, args, timeout_ms, reply, why);
}

static void wait_for_input(const mmq_client *client, int64_t wait_ns)
{
    struct pollfd input = {.fd = mmq_client_descriptor(client), .events = POLLIN};
    const int64_t wait_ms = wait_ns < 0 ? -1 : (wait_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS;
    (void)poll(&input, 1, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
}

mmq_err mmq_reply_end(mmq_client *client, mmq_reply *reply, mmq_result *result, mmq_why *why)
{
    int64_t wait_ns = mmq_client_step(client);
    while (!reply->done) {
        wait_for_input(client, wait_ns);
        wait_ns = mmq_client_step(client);
    }
    reply->handle = 0;
    if (reply->result.status == 200 || reply->result.status == 202) {
        *result = reply->result;
        return MMQ_OK;
    }
    mmq_err err =
        mmq_fail(why, mmq_err_from_status(reply->result.status), "%s", reply->result.error);
    mmq_result_clear(&reply->result);
    return err ? err : mmq_fail(why, MMQ_EPROTO, "the service answered an unknown status");
}

void mmq_reply_cancel(mmq_client *client, mmq_reply *reply)
{
    if (reply->handle != 0) {
        mmq_client_cancel(client, reply->handle);
        mmq_result_clear(&reply->result);
        reply->handle = 0;
    }
}

mmq_err mmq_reply_watch(mmq_client *client, const char *service, const mmq_args *args,
                        unsigned timeout_ms, mmq_partial_fn *partial, void *context,
                        mmq_result *result, mmq_why *why)
{
    mmq_reply reply = {.partial = partial, .context = context};
    mmq_err err = begin(client, service, args, timeout_ms, &reply, why);
    return err ? err : mmq_reply_end(client, &reply, result, why);
}

mmq_err mmq_reply_call(mmq_client *client, const char *service, const mmq_args *args,
                       unsigned timeout_ms, mmq_result *result, mmq_why *why)
{
    return mmq_reply_watch(client, service, args, timeout_ms, NULL, NULL, result, why);
}

bool mmq_reply_find(const mmq_frame *map, const char *key, mmq_value *out)
{
    mmq_reader reader, whole;
    mmq_reader_init(&reader, mmq_frame_data(map), mmq_frame_size(map));
    return mmq_map_find(reader, key, out, &whole);
}
