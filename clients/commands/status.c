/* `metricmq status`: what the broker, the feedback and the query workers say of themselves. */
#include <stdio.h>
#include <string.h>

#include "clients/commands/commands.h"
#include "clients/commands/options.h"
#include "clients/commands/reply.h"
#include "clients/commands/screen.h"
#include "clients/commands/view.h"
#include "clients/commands/watch.h"
#include "lib/json.h"

enum {
    TEXT_BYTES = 16 * 1024 * 1024,
    DENIED = 403, /* the status */
};

/* What there is to say; a part that nobody answered has no payload. */
struct answers {
    mmq_result stats, spool, store;
};

static void add_json(mmq_buffer *text, const char *key, const mmq_result *result, mmq_err *err,
                     mmq_why *why)
{
    mmq_buffer_text(text, key);
    if (mmq_frame_size(&result->payload) == 0) {
        mmq_buffer_text(text, "null");
    } else if (*err == MMQ_OK) {
        *err = mmq_json_from_msgpack(mmq_frame_data(&result->payload),
                                     mmq_frame_size(&result->payload), text, why);
    }
}

static int print_json(const struct answers *answers)
{
    mmq_buffer text;
    mmq_why why = {""};
    mmq_err err = MMQ_OK;
    mmq_buffer_init(&text, TEXT_BYTES);
    add_json(&text, "{\"broker\": ", &answers->stats, &err, &why);
    add_json(&text, ", \"spool\": ", &answers->spool, &err, &why);
    add_json(&text, ", \"store\": ", &answers->store, &err, &why);
    mmq_buffer_text(&text, "}\n");
    if (!err && !text.failed) {
        fwrite(text.data, 1, text.size, stdout);
    }
    bool failed = err || text.failed;
    mmq_buffer_clear(&text);
    return failed ? mmq_failed("the status cannot be read: %s", why.text) : MMQ_EXIT_DONE;
}

static mmq_reader payload_of(const mmq_result *result)
{
    mmq_reader map;
    mmq_reader_init(&map, mmq_frame_data(&result->payload), mmq_frame_size(&result->payload));
    return map;
}

static int print_view(mmq_view *view)
{
    unsigned rows;
    mmq_buffer text;
    const bool terminal = mmq_screen_possible();
    mmq_canvas canvas = {.out = &text,
                         .utf8 = mmq_screen_has_utf8(),
                         .styles = terminal,
                         .colours = terminal && mmq_screen_has_colours()};
    if (terminal) {
        mmq_screen_size(&canvas.columns, &rows);
    }
    mmq_buffer_init(&text, TEXT_BYTES);
    mmq_err err = mmq_view_draw(view, &canvas);
    if (err == MMQ_OK) {
        fwrite(text.data, 1, text.size, stdout);
    }
    mmq_buffer_clear(&text);
    return err == MMQ_OK ? MMQ_EXIT_DONE : mmq_failed("no memory for the status");
}

static int print_tables(const mmq_config *config, const struct answers *answers)
{
    mmq_why why = {""};
    mmq_sample sample;
    mmq_spool_sample spool = {.denied = answers->spool.status == DENIED};
    mmq_store_sample store = {.denied = answers->store.status == DENIED};
    mmq_view view;
    const char *endpoint = mmq_config_text(config, "connect");
    if (mmq_sample_read(payload_of(&answers->stats), &sample, &why) != MMQ_OK) {
        return mmq_failed("the status cannot be read: %s", why.text);
    }
    if (mmq_frame_size(&answers->spool.payload) > 0) {
        mmq_spool_sample_read(payload_of(&answers->spool), &spool);
    }
    if (mmq_frame_size(&answers->store.payload) > 0) {
        mmq_store_sample_read(payload_of(&answers->store), &store);
    }
    mmq_view_init(&view, false);
    view.endpoint = endpoint != NULL ? endpoint : MMQ_DEFAULT_CLIENTS;
    view.now = &sample;
    view.spool = &spool;
    view.store = &store;
    int status = print_view(&view);
    mmq_sample_clear(&sample);
    return status;
}

/* The answer of a worker, if one is there to tell; else no payload, and a status that says whether
 * the key has no right to it. */
static void ask_worker(mmq_client *client, const char *service, const char *op, unsigned timeout_ms,
                       mmq_result *out)
{
    mmq_why why;
    mmq_args args;
    mmq_frame_init(&out->payload);
    out->status = 0;
    if (mmq_wait_service(client, service, MMQ_PING_MS, 0, &why) != MMQ_OK) {
        return;
    }
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", op);
    mmq_err err = mmq_reply_call(client, service, &args, timeout_ms, out, &why);
    if (err != MMQ_OK) {
        mmq_frame_init(&out->payload);
        out->status = err == MMQ_EDENIED ? DENIED : 0;
    }
    mmq_args_clear(&args);
}

static int show(mmq_client *client, const mmq_config *config)
{
    mmq_why why = {""};
    struct answers answers;
    mmq_args none;
    unsigned timeout_ms = (unsigned)mmq_config_int(config, "timeout");
    mmq_args_init(&none);
    if (mmq_reply_call(client, "mmi.stats", &none, timeout_ms, &answers.stats, &why)) {
        return mmq_failed("%s", why.text);
    }
    ask_worker(client, MMQ_SERVICE_FEEDBACK, "spool", timeout_ms, &answers.spool);
    ask_worker(client, MMQ_SERVICE_QUERY, "store", timeout_ms, &answers.store);
    int status = strcmp(mmq_config_text(config, "format"), "json") == 0
                     ? print_json(&answers)
                     : print_tables(config, &answers);
    mmq_result_clear(&answers.stats);
    mmq_frame_close(&answers.spool.payload);
    mmq_frame_close(&answers.store.payload);
    return status;
}

int mmq_command_status(const mmq_config *config)
{
    const char *format = mmq_config_text(config, "format");
    const bool watch = mmq_config_flag(config, "watch");
    if (strcmp(format, "table") != 0 && strcmp(format, "json") != 0) {
        return mmq_usage("`status` has no --format %s; it has table and json", format);
    }
    if (watch && strcmp(format, "json") == 0) {
        return mmq_usage("--watch draws tables; ask for --format json as often as you like");
    }
    int status = MMQ_EXIT_FAILED;
    mmq_client *client = mmq_connect(config, &status);
    if (!client) {
        return status;
    }
    status = watch && mmq_screen_possible() ? mmq_watch_bus(client, config) : show(client, config);
    mmq_client_destroy(&client);
    return status;
}
