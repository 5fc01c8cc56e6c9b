/* `metricmq feedback`: have one metric dumped into an archive and print the archive's key.
 *
 * With --wait a dump that is accepted but not uploaded is asked for again, with the same `created`
 * and extra, so that it stays one dump, until it is. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/commands/commands.h"
#include "clients/commands/progress.h"
#include "clients/commands/reply.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "metricmq/pack.h"

enum {
    EXTRA_BYTES = 1024 * 1024,
    PAUSE_LEAST_MS = 200, /* before it is asked for again; doubled each time */
    PAUSE_MOST_MS = 30 * 1000,
};

/* One dump that is asked for. */
struct run {
    mmq_client *client;
    const mmq_config *config;
    mmq_args args;
    mmq_progress progress;
    const char *stage; /* that the progress shows; NULL: none */
    mmq_why told;      /* what it waits for, as it was said last */
};

/* --extra KEY=VALUE ...: a map of texts. False after a complaint. */
static bool pack_extra(mmq_buffer *out, const mmq_config *config)
{
    const char *const *pairs;
    size_t count = mmq_config_list(config, "extra", &pairs);
    mmq_pack_map(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(pairs[i], '=');
        if (!equals || equals == pairs[i]) {
            mmq_usage("--extra wants KEY=VALUE, not \"%s\"", pairs[i]);
            return false;
        }
        mmq_pack_text(out, pairs[i], (size_t)(equals - pairs[i]));
        mmq_pack_cstr(out, equals + 1);
    }
    return true;
}

/* {"key": ...}, whatever bytes the answer's key has. */
static bool print_json(const mmq_frame *payload)
{
    mmq_buffer text;
    mmq_why why;
    mmq_buffer_init(&text, EXTRA_BYTES);
    bool good = mmq_json_from_msgpack(mmq_frame_data(payload), mmq_frame_size(payload), &text,
                                      &why) == MMQ_OK &&
                !text.failed;
    if (good) {
        printf("%.*s\n", (int)text.size, (const char *)text.data);
    }
    mmq_buffer_clear(&text);
    return good;
}

static bool print_key(const char *format, const mmq_frame *payload)
{
    mmq_value key;
    if (!mmq_reply_find(payload, "key", &key) || key.type != MMQ_STR) {
        return false;
    }
    switch (format[0]) {
    case 'j':
        return print_json(payload);
    case 'm':
        fwrite(mmq_frame_data(payload), 1, mmq_frame_size(payload), stdout);
        return true;
    case 'c':
        printf("key\r\n%.*s\r\n", (int)key.text.size, key.text.data);
        return true;
    default:
        printf("%.*s\n", (int)key.text.size, key.text.data);
        return true;
    }
}

/* ---- progress --------------------------------------------------------------------------- */

static void end_progress(struct run *run)
{
    if (run->stage != NULL) {
        mmq_progress_end(&run->progress);
    }
    run->stage = NULL;
}

static int64_t number_of(const mmq_frame *map, const char *key)
{
    mmq_value value;
    return mmq_reply_find(map, key, &value) && value.type == MMQ_INT ? value.integer : 0;
}

/* {stage, done, total} */
static void show_progress(void *context, const mmq_frame *payload)
{
    static const char *const stages[][3] = {{"build", "building the archive", "rows"},
                                            {"upload", "uploading", "bytes"}};
    struct run *run = context;
    mmq_value value;
    if (!mmq_reply_find(payload, "stage", &value) || value.type != MMQ_STR) {
        return;
    }
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        if (mmq_value_is(&value, stages[i][0])) {
            if (run->stage != stages[i][0]) {
                end_progress(run);
                mmq_progress_init(&run->progress, stages[i][1], stages[i][2], 0);
                run->stage = stages[i][0];
            }
            run->progress.total = number_of(payload, "total");
            mmq_progress_at(&run->progress, number_of(payload, "done"));
        }
    }
}

/* ---- waiting ---------------------------------------------------------------------------- */

/* Says what it waits for, when that is something else than before. */
static void tell(struct run *run, const char *state, const char *reason)
{
    mmq_why now;
    mmq_why_set(&now, "%s%s%s", state, reason[0] != '\0' ? ": " : "", reason);
    if (strcmp(now.text, run->told.text) != 0) {
        run->told = now;
        fprintf(stderr, "metricmq: not uploaded yet, waiting (%s)\n", now.text);
    }
}

/* The texts of a 202: it is in the spool, in that state, since that failed. */
static void tell_answer(struct run *run, const mmq_frame *payload)
{
    mmq_value state, error;
    mmq_why reason = {""};
    char text[32] = "waiting";
    if (mmq_reply_find(payload, "state", &state) && state.type == MMQ_STR) {
        snprintf(text, sizeof text, "%.*s", (int)state.text.size, state.text.data);
    }
    if (mmq_reply_find(payload, "error", &error) && error.type == MMQ_STR) {
        mmq_why_set(&reason, "%.*s", (int)error.text.size, error.text.data);
    }
    tell(run, text, reason.text);
}

static mmq_err ask(struct run *run, mmq_result *result, mmq_why *why)
{
    mmq_err err = mmq_reply_watch(run->client, MMQ_SERVICE_FEEDBACK, &run->args,
                                  (unsigned)mmq_config_int(run->config, "timeout"), show_progress,
                                  run, result, why);
    end_progress(run);
    return err;
}

/* The service may come back: what it has accepted is safe meanwhile. */
static bool may_pass(mmq_err err)
{
    return mmq_err_status(err) == 503 || mmq_err_status(err) == 504;
}

static mmq_err ask_until_uploaded(struct run *run, mmq_result *result, mmq_why *why)
{
    bool accepted = false;
    for (int pause_ms = PAUSE_LEAST_MS;; pause_ms *= 2) {
        mmq_err err = ask(run, result, why);
        if ((err != MMQ_OK && (!accepted || !may_pass(err))) ||
            (err == MMQ_OK && result->status != 202)) {
            return err;
        }
        if (err == MMQ_OK) {
            accepted = true;
            tell_answer(run, &result->payload);
            mmq_result_clear(result);
        } else {
            tell(run, "no answer", why->text);
        }
        pause_ms = pause_ms < PAUSE_MOST_MS ? pause_ms : PAUSE_MOST_MS;
        (void)poll(NULL, 0, pause_ms);
    }
}

static int print_result(const char *format, const mmq_result *result)
{
    if (!print_key(format, &result->payload)) {
        return mmq_failed("the answer holds no key");
    }
    if (result->status == 202) {
        fputs("metricmq: not uploaded yet: it is kept and tried again in the background\n", stderr);
    }
    return MMQ_EXIT_DONE;
}

static int call_dump(mmq_client *client, const mmq_config *config, const char *uid,
                     const mmq_buffer *extra)
{
    mmq_why why = {""};
    mmq_result result;
    struct run run = {.client = client, .config = config};
    mmq_args_init(&run.args);
    mmq_args_cstr(&run.args, "op", "dump");
    mmq_args_cstr(&run.args, "uid", uid);
    mmq_args_packed(&run.args, "extra", extra->data, extra->size);
    mmq_args_int(&run.args, "created", mmq_wall_s());
    if (isatty(STDERR_FILENO)) {
        mmq_args_bool(&run.args, "progress", true);
    }
    mmq_err err = mmq_config_flag(config, "wait") ? ask_until_uploaded(&run, &result, &why)
                                                  : ask(&run, &result, &why);
    mmq_args_clear(&run.args);
    if (err) {
        return mmq_failed("%s", why.text);
    }
    int status = print_result(mmq_config_text(config, "format"), &result);
    mmq_result_clear(&result);
    return status;
}

int mmq_command_feedback(const mmq_config *config)
{
    const char *const *operands;
    if (mmq_config_operands(config, &operands) != 1) {
        return mmq_usage("`feedback` wants the uid of one metric");
    }
    mmq_buffer extra;
    mmq_buffer_init(&extra, EXTRA_BYTES);
    int status = MMQ_EXIT_USAGE;
    if (pack_extra(&extra, config)) {
        mmq_client *client = mmq_connect(config, &status);
        status = client ? call_dump(client, config, operands[0], &extra) : status;
        mmq_client_destroy(&client);
    }
    mmq_buffer_clear(&extra);
    return status;
}
