/* POST /_logging/feedback: a dump request. The body's object goes to metric.feedback as `extra`,
 * without the keys that are the dump's own.
 *
 * Who takes application/x-ndjson is told how far it is, a line each time, and the end in the last
 * line; what ends before there was anything to tell is answered as for everybody. */
#include <inttypes.h>
#include <string.h>

#include "clients/http/feedback_body.h"
#include "clients/http/routes.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"

enum {
    LINE_MAX_BYTES = 32 * 1024,
    TEXT_MAX = 4096, /* of a key or a reason, in a line */
    STAGE_MAX = 32,
};

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

static bool wants_progress(const mmq_exchange *exchange)
{
    return exchange->headers.accept.named[MMQ_MEDIA_NDJSON] > 0 && !exchange->old;
}

static bool find_count(mmq_reader map, const char *key, int64_t *count)
{
    mmq_reader whole;
    mmq_value value;
    const bool found =
        mmq_map_find(map, key, &value, &whole) && value.type == MMQ_INT && value.integer >= 0;
    *count = found ? value.integer : 0;
    return found;
}

/* {"stage", "done", "total"}. What else a worker may send is left out: a reader might take it for
 * the end. */
static void tell_progress(mmq_exchange *exchange, const mmq_frame *payload)
{
    mmq_reader map, whole;
    mmq_value stage;
    int64_t done, total;
    mmq_reader_init(&map, mmq_frame_data(payload), mmq_frame_size(payload));
    if (!mmq_map_find(map, "stage", &stage, &whole) || stage.type != MMQ_STR ||
        stage.text.size > STAGE_MAX || !mmq_text_plain(stage.text.data, stage.text.size) ||
        !find_count(map, "done", &done) || !find_count(map, "total", &total)) {
        return;
    }
    mmq_buffer line;
    mmq_buffer_init(&line, LINE_MAX_BYTES);
    mmq_buffer_format(&line, "{\"stage\":\"%.*s\",\"done\":%" PRId64 ",\"total\":%" PRId64 "}",
                      (int)stage.text.size, stage.text.data, done, total);
    mmq_feed_line(exchange, mmq_render_content_type(MMQ_FORM_NDJSON), &line, false);
    mmq_buffer_clear(&line);
}

static bool is_tellable(mmq_slice text)
{
    return text.size > 0 && text.size <= TEXT_MAX && memchr(text.data, '\0', text.size) == NULL &&
           mmq_utf8_valid(text.data, text.size);
}

/* {"status": 200, "key": text}, or {"status": 503, "result": text}. */
static void tell_end(mmq_exchange *exchange, int status, const char *name, mmq_slice text)
{
    mmq_buffer line;
    mmq_buffer_init(&line, LINE_MAX_BYTES);
    mmq_buffer_format(&line, "{\"status\": %d, \"%s\": ", status, name);
    mmq_json_string(&line, text.data, text.size);
    mmq_buffer_text(&line, "}");
    mmq_feed_line(exchange, mmq_render_content_type(MMQ_FORM_NDJSON), &line, true);
    mmq_buffer_clear(&line);
}

/* The end of an answer that has begun. */
static void end_feed(mmq_exchange *exchange, const mmq_answer *answer)
{
    const mmq_header *header = answer->header;
    const int status = (int)header->status;
    const mmq_slice why = {header->error.data, header->error.size};
    mmq_slice key;
    if ((status == 200 || status == 202) && answer->payload && find_key(answer->payload, &key) &&
        is_tellable(key)) {
        tell_end(exchange, status, "key", key);
    } else if (status >= 400 && status <= 599) {
        static const char none[] = "the feedback worker gave no reason that can be read";
        tell_end(exchange, status, "result",
                 is_tellable(why) ? why : (mmq_slice){none, sizeof none - 1});
    } else {
        static const char unread[] = "the feedback worker's answer cannot be read";
        tell_end(exchange, 500, "result", (mmq_slice){unread, sizeof unread - 1});
    }
}

static void take_answer(void *context, const mmq_answer *answer)
{
    mmq_exchange_call *call = context;
    mmq_exchange *exchange = call->exchange;
    if (!answer->final) {
        if (answer->payload && wants_progress(exchange)) {
            tell_progress(exchange, answer->payload);
        }
        return;
    }
    call->handle = 0;
    const mmq_header *header = answer->header;
    mmq_slice key;
    int status = (int)header->status;
    if (exchange->feed.begun) {
        end_feed(exchange, answer);
    } else if ((status == 200 || status == 202) && answer->payload &&
               find_key(answer->payload, &key)) {
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
    if (wants_progress(exchange)) {
        mmq_args_bool(&args, "progress", true);
    }
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
