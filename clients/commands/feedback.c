/* `metricmq feedback`: have one metric dumped into an archive and print the archive's key. */
#include <stdio.h>
#include <string.h>

#include "clients/commands/commands.h"
#include "clients/commands/reply.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/pack.h"

enum { EXTRA_BYTES = 1024 * 1024 };

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
    mmq_args args;
    mmq_result result;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "dump");
    mmq_args_cstr(&args, "uid", uid);
    mmq_args_packed(&args, "extra", extra->data, extra->size);
    mmq_args_int(&args, "created", mmq_wall_s());
    mmq_err err = mmq_reply_call(client, MMQ_SERVICE_FEEDBACK, &args,
                                 (unsigned)mmq_config_int(config, "timeout"), &result, &why);
    mmq_args_clear(&args);
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
