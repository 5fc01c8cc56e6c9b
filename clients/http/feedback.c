/* POST /_logging/feedback: a dump request. The body's object goes to metric.feedback as `extra`,
 * without the keys that are the dump's own. */
#include <string.h>

#include "clients/http/feedback_body.h"
#include "clients/http/routes.h"
#include "lib/clock.h"
#include "metricmq/unpack.h"

/* The key of a {key: ...} payload. */
static bool find_key(const mmq_frame *payload, mmq_slice *key)
{
    mmq_reader map, whole;
    mmq_value value;
    mmq_reader_init(&map, mmq_frame_data(payload), mmq_frame_size(payload));
    if (!mmq_map_find(map, "key", &value, &whole) || value.type != MMQ_STR) {
        return false;
    }
    *key = (mmq_slice){value.text.data, value.text.size};
    return true;
}

static void take_answer(void *context, const mmq_answer *answer)
{
    mmq_exchange_call *call = context;
    mmq_exchange *exchange = call->exchange;
    if (!answer->final) {
        return;
    }
    call->handle = 0;
    const mmq_header *header = answer->header;
    mmq_slice key;
    int status = (int)header->status;
    if ((status == 200 || status == 202) && answer->payload && find_key(answer->payload, &key)) {
        mmq_exchange_answer(exchange, status, "text/plain", key.data, key.size);
    } else if (status == 404) {
        mmq_exchange_no_metric(exchange, (const char *)exchange->body.data, exchange->body.size);
    } else if (status >= 400 && status <= 599) {
        mmq_exchange_refuse(exchange, status, "%.*s", (int)header->error.size,
                            header->error.size ? header->error.data : "");
    } else {
        mmq_exchange_refuse(exchange, 500, "the feedback worker's answer cannot be read");
    }
}

static void send_dump(mmq_exchange *exchange, const mmq_feedback_body *dump)
{
    mmq_buffer extra;
    mmq_args args;
    mmq_buffer_init(&extra, MMQ_BODY_MAX);
    mmq_args_init(&args);
    mmq_pack_map(&extra, dump->extra_count);
    mmq_buffer_add(&extra, dump->extra.data, dump->extra.size);
    mmq_args_cstr(&args, "op", "dump");
    mmq_args_text(&args, "uid", dump->uid.data, dump->uid.size);
    mmq_args_packed(&args, "extra", extra.data, extra.size);
    mmq_args_int(&args, "created", mmq_wall_s());
    mmq_args_cstr(&args, "trace", exchange->trace);
    if (extra.failed || args.pairs.failed) {
        mmq_exchange_refuse(exchange, 503, "no memory for the request");
    } else {
        mmq_call call = {.service = MMQ_SERVICE_FEEDBACK,
                         .args = args.pairs.data,
                         .args_size = args.pairs.size,
                         .args_count = args.count,
                         .timeout_ms = exchange->adapter->timeout_ms,
                         .retry = true,
                         .answer = take_answer};
        (void)mmq_exchange_call_start(exchange, 0, &call);
    }
    mmq_args_clear(&args);
    mmq_buffer_clear(&extra);
}

void mmq_handle_feedback(mmq_exchange *exchange)
{
    mmq_why why = {""};
    mmq_feedback_body dump;
    mmq_err err =
        mmq_feedback_body_read((const char *)exchange->body.data, exchange->body.size, &dump, &why);
    if (err == MMQ_OK) {
        send_dump(exchange, &dump);
        mmq_buffer_reset(&exchange->body); /* from here on: the uid, for a 404 */
        mmq_buffer_add(&exchange->body, dump.uid.data, dump.uid.size);
    } else {
        mmq_exchange_refuse(exchange, mmq_err_status(err), "%s", why.text);
    }
    mmq_feedback_body_clear(&dump);
}
