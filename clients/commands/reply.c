/* Calls of commands: each may be sent again, and an answer that is an error becomes a sentence. */
#include "clients/commands/reply.h"

mmq_err mmq_reply_call(mmq_client *client, const char *service, const mmq_args *args,
                       unsigned timeout_ms, mmq_result *result, mmq_why *why)
{
    const mmq_call call = {.service = service,
                           .args = args->pairs.data,
                           .args_size = args->pairs.size,
                           .args_count = args->count,
                           .timeout_ms = timeout_ms,
                           .retry = true};
    if (args->pairs.failed) {
        return mmq_fail(why, MMQ_ETOOBIG, "the request is too big");
    }
    mmq_err err = mmq_client_call(client, &call, result, why);
    if (err || result->status == 200 || result->status == 202) {
        return err;
    }
    err = mmq_fail(why, mmq_err_from_status(result->status), "%s", result->error);
    mmq_result_clear(result);
    return err ? err : mmq_fail(why, MMQ_EPROTO, "%s answered an unknown status", service);
}

bool mmq_reply_find(const mmq_frame *map, const char *key, mmq_value *out)
{
    mmq_reader reader, whole;
    mmq_reader_init(&reader, mmq_frame_data(map), mmq_frame_size(map));
    return mmq_map_find(reader, key, out, &whole);
}
