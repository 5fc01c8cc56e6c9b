/* Metrics as a whole: deleted, exported, and how long their scores will take. */
#include "clients/http/routes.h"
#include "lib/json.h"

static const char *json_type(void)
{
    return mmq_render_content_type(MMQ_FORM_JSON_RECORDS);
}

/* Answers what a FINAL with an error says; false: it has none. */
static bool refuse_error(mmq_exchange *exchange, const mmq_header *header)
{
    const int status = (int)header->status;
    const mmq_slice *uid = &exchange->url.segments[1];
    if (status == 200) {
        return false;
    }
    if (status == 404) {
        mmq_exchange_no_metric(exchange, uid->data, uid->size);
    } else {
        mmq_exchange_refuse(exchange, status >= 400 && status <= 599 ? status : 500, "%.*s",
                            (int)header->error.size, header->error.size ? header->error.data : "");
    }
    return true;
}

/* Sends a call of one op; clears args. */
static void call_op(mmq_exchange *exchange, const char *service, mmq_args *args,
                    mmq_answer_fn *answer)
{
    mmq_args_cstr(args, "trace", exchange->trace);
    mmq_call call = {.service = service,
                     .args = args->pairs.data,
                     .args_size = args->pairs.size,
                     .args_count = args->count,
                     .timeout_ms = exchange->adapter->timeout_ms,
                     .retry = true,
                     .party = exchange->seat->party,
                     .answer = answer};
    if (args->pairs.failed) {
        mmq_exchange_refuse(exchange, 503, "no memory for the request");
    } else {
        (void)mmq_exchange_call_start(exchange, 0, &call);
    }
    mmq_args_clear(args);
}

/* ---- DELETE /_models/{uid} -------------------------------------------------------------- */

static void take_deleted(void *context, const mmq_answer *answer)
{
    static const char success[] = "{\"result\": \"success\"}";
    mmq_exchange_call *call = context;
    if (!answer->final) {
        return;
    }
    call->handle = 0;
    if (!refuse_error(call->exchange, answer->header)) {
        mmq_exchange_answer(call->exchange, 200, json_type(), success, sizeof success - 1);
    }
}

void mmq_handle_delete(mmq_exchange *exchange)
{
    mmq_slice uid;
    if (mmq_exchange_uid(exchange, &uid)) {
        mmq_args args;
        mmq_args_init(&args);
        mmq_args_cstr(&args, "op", "delete");
        mmq_args_text(&args, "uid", uid.data, uid.size);
        call_op(exchange, MMQ_SERVICE_WRITE, &args, take_deleted);
    }
}

/* ---- GET /_models/data/stats ------------------------------------------------------------ */

static void take_stats(void *context, const mmq_answer *answer)
{
    enum { STATS_MAX = 64 * 1024 };
    mmq_exchange_call *call = context;
    if (!answer->final) {
        return;
    }
    call->handle = 0;
    if (refuse_error(call->exchange, answer->header)) {
        return;
    }
    mmq_buffer text;
    mmq_buffer_init(&text, STATS_MAX);
    if (answer->payload != NULL &&
        mmq_json_from_msgpack(mmq_frame_data(answer->payload), mmq_frame_size(answer->payload),
                              &text, NULL) == MMQ_OK) {
        mmq_exchange_answer(call->exchange, 200, json_type(), text.data, text.size);
    } else {
        mmq_exchange_refuse(call->exchange, 500, "the query worker's answer cannot be read");
    }
    mmq_buffer_clear(&text);
}

void mmq_handle_stats(mmq_exchange *exchange)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "stats");
    call_op(exchange, MMQ_SERVICE_QUERY, &args, take_stats);
}

/* ---- GET /_models/export, GET /_models/{uid}/export ------------------------------------- */

static void export(mmq_exchange *exchange, const mmq_slice *uid)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "export");
    if (uid != NULL) {
        mmq_args_text(&args, "uid", uid->data, uid->size);
    }
    mmq_exchange_stream_tagged(exchange, &args, MMQ_FORM_JSON_EXPORT, false, true);
}

void mmq_handle_export(mmq_exchange *exchange)
{
    mmq_slice uid;
    if (mmq_exchange_uid(exchange, &uid)) {
        export(exchange, &uid);
    }
}

void mmq_handle_all_export(mmq_exchange *exchange)
{
    export(exchange, NULL);
}
