/* POST /_logging/feedback: a dump request. The body's object goes to metric.feedback as `extra`,
 * without the keys that are the dump's own. */
#include <string.h>

#include "clients/http/routes.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/uid.h"
#include "lib/unpack.h"

/* What was read of the body; borrows from the packed body. */
typedef struct dump_request {
    mmq_slice uid;
    uint32_t extra_count;
    mmq_buffer extra; /* packed pairs */
} dump_request;

static bool is_ours(const mmq_value *key)
{
    return mmq_value_is(key, "uid") || mmq_value_is(key, "metric") ||
           mmq_value_is(key, "server_id");
}

/* Reads one pair: keeps it in extra, or in uid. */
static mmq_err read_pair(mmq_reader *reader, dump_request *out)
{
    const uint8_t *start = reader->at;
    mmq_value key, value;
    mmq_reader whole;
    if (mmq_unpack(reader, &key) != MMQ_OK || mmq_unpack_whole(reader, &value, &whole) != MMQ_OK) {
        return MMQ_EINVAL;
    }
    if (!is_ours(&key)) {
        out->extra_count++;
        mmq_buffer_add(&out->extra, start, (size_t)(reader->at - start));
        return MMQ_OK;
    }
    if (mmq_value_is(&key, "uid") && value.type == MMQ_STR) {
        out->uid = (mmq_slice){value.text.data, value.text.size};
    }
    return MMQ_OK;
}

static mmq_err read_object(const mmq_buffer *packed, dump_request *out, mmq_why *why)
{
    mmq_reader reader;
    mmq_value object;
    mmq_reader_init(&reader, packed->data, packed->size);
    if (mmq_unpack(&reader, &object) != MMQ_OK || object.type != MMQ_MAP) {
        return mmq_fail(why, MMQ_EINVAL, "the body must be a JSON object");
    }
    for (uint32_t left = object.count; left > 0; left--) {
        if (read_pair(&reader, out) != MMQ_OK) {
            return mmq_fail(why, MMQ_EINVAL, "the body cannot be read");
        }
    }
    if (out->uid.data == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "the body must have a string uid");
    }
    if (!mmq_uid_valid(out->uid.data, out->uid.size)) {
        return mmq_fail(why, MMQ_EINVAL, MMQ_UID_RULE);
    }
    return MMQ_OK;
}

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

static void send_dump(mmq_exchange *exchange, dump_request *dump)
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
    if (extra.failed || dump->extra.failed || args.pairs.failed) {
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
    mmq_buffer packed;
    dump_request dump = {.uid = {NULL, 0}};
    mmq_buffer_init(&packed, MMQ_BODY_MAX);
    mmq_buffer_init(&dump.extra, MMQ_BODY_MAX);
    mmq_err err =
        mmq_json_to_msgpack((const char *)exchange->body.data, exchange->body.size, &packed, &why);
    err = err ? err : read_object(&packed, &dump, &why);
    if (err == MMQ_OK) {
        send_dump(exchange, &dump);
        mmq_buffer_reset(&exchange->body); /* from here on: the uid, for a 404 */
        mmq_buffer_add(&exchange->body, dump.uid.data, dump.uid.size);
    } else {
        mmq_exchange_refuse(exchange, mmq_err_status(err), "%s", why.text);
    }
    mmq_buffer_clear(&packed);
    mmq_buffer_clear(&dump.extra);
}
