/* `metricmq status`: what the broker and the feedback workers say of themselves. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/commands/commands.h"
#include "clients/commands/reply.h"
#include "lib/json.h"

enum { TEXT_BYTES = 4 * 1024 * 1024, WATCH_MS = 2000 };

static int64_t number_of(mmq_reader map, const char *key)
{
    mmq_value value;
    mmq_reader at;
    return mmq_map_find(map, key, &value, &at) && value.type == MMQ_INT ? value.integer : 0;
}

static void print_service(const mmq_value *name, mmq_reader map)
{
    printf("%-24.*s %8" PRId64 " %8" PRId64 " %8" PRId64 " %8" PRId64 " %10" PRId64 " %8" PRId64
           "\n",
           (int)name->text.size, name->text.data, number_of(map, "workers"),
           number_of(map, "capacity"), number_of(map, "busy"), number_of(map, "queued"),
           number_of(map, "requests"), number_of(map, "errors"));
}

static void print_services(mmq_reader stats)
{
    mmq_value services, name;
    mmq_reader at;
    printf("%-24s %8s %8s %8s %8s %10s %8s\n", "SERVICE", "WORKERS", "CAPACITY", "BUSY", "QUEUED",
           "REQUESTS", "ERRORS");
    if (!mmq_map_find(stats, "services", &services, &at) || services.type != MMQ_MAP ||
        mmq_unpack(&at, &services)) {
        return;
    }
    for (uint32_t i = 0; i < services.count; i++) {
        if (mmq_unpack(&at, &name) || name.type != MMQ_STR) {
            return;
        }
        print_service(&name, at);
        if (mmq_unpack_skip(&at)) {
            return;
        }
    }
}

static void print_spool(const mmq_result *spool)
{
    mmq_reader map;
    mmq_value error;
    mmq_reader_init(&map, mmq_frame_data(&spool->payload), mmq_frame_size(&spool->payload));
    printf("\nspool: %" PRId64 " jobs (%" PRId64 " waiting, %" PRId64 " settings, %" PRId64
           " held), %" PRId64 " bytes, oldest %" PRId64 " s, %" PRId64 " in quarantine\n",
           number_of(map, "jobs"), number_of(map, "waiting"), number_of(map, "settings"),
           number_of(map, "held"), number_of(map, "bytes"), number_of(map, "oldest_age_s"),
           number_of(map, "quarantined"));
    if (mmq_reply_find(&spool->payload, "last_error", &error) && error.type == MMQ_STR) {
        printf("last error: %.*s\n", (int)error.text.size, error.text.data);
    }
}

static int print_json(const mmq_result *stats, const mmq_result *spool)
{
    mmq_buffer text;
    mmq_why why = {""};
    mmq_buffer_init(&text, TEXT_BYTES);
    mmq_buffer_text(&text, "{\"broker\": ");
    mmq_err err = mmq_json_from_msgpack(mmq_frame_data(&stats->payload),
                                        mmq_frame_size(&stats->payload), &text, &why);
    mmq_buffer_text(&text, ", \"spool\": ");
    if (!spool) {
        mmq_buffer_text(&text, "null");
    } else if (!err) {
        err = mmq_json_from_msgpack(mmq_frame_data(&spool->payload),
                                    mmq_frame_size(&spool->payload), &text, &why);
    }
    mmq_buffer_text(&text, "}\n");
    if (!err && !text.failed) {
        fwrite(text.data, 1, text.size, stdout);
    }
    bool failed = err || text.failed;
    mmq_buffer_clear(&text);
    return failed ? mmq_failed("the status cannot be read: %s", why.text) : MMQ_EXIT_DONE;
}

static int print_status(const mmq_config *config, const mmq_result *stats, const mmq_result *spool)
{
    if (strcmp(mmq_config_text(config, "format"), "json") == 0) {
        return print_json(stats, spool);
    }
    mmq_reader map;
    mmq_reader_init(&map, mmq_frame_data(&stats->payload), mmq_frame_size(&stats->payload));
    printf("broker: up %" PRId64 " s, %" PRId64 " clients\n\n", number_of(map, "uptime_ms") / 1000,
           number_of(map, "clients"));
    print_services(map);
    if (spool) {
        print_spool(spool);
    } else {
        printf("\nspool: no feedback worker\n");
    }
    return MMQ_EXIT_DONE;
}

/* The spool's counts, if a feedback worker is there to tell them. */
static bool ask_spool(mmq_client *client, unsigned timeout_ms, mmq_result *out)
{
    mmq_why why;
    mmq_args args;
    if (mmq_wait_service(client, MMQ_SERVICE_FEEDBACK, MMQ_PING_MS, 0, &why)) {
        return false;
    }
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "spool");
    mmq_err err = mmq_reply_call(client, MMQ_SERVICE_FEEDBACK, &args, timeout_ms, out, &why);
    mmq_args_clear(&args);
    return err == MMQ_OK;
}

static int show(mmq_client *client, const mmq_config *config)
{
    mmq_why why = {""};
    mmq_result stats, spool;
    mmq_args none;
    unsigned timeout_ms = (unsigned)mmq_config_int(config, "timeout");
    mmq_args_init(&none);
    if (mmq_reply_call(client, "mmi.stats", &none, timeout_ms, &stats, &why)) {
        return mmq_failed("%s", why.text);
    }
    bool spooled = ask_spool(client, timeout_ms, &spool);
    int status = print_status(config, &stats, spooled ? &spool : NULL);
    if (spooled) {
        mmq_result_clear(&spool);
    }
    mmq_result_clear(&stats);
    return status;
}

int mmq_command_status(const mmq_config *config)
{
    const char *format = mmq_config_text(config, "format");
    if (strcmp(format, "table") != 0 && strcmp(format, "json") != 0) {
        return mmq_usage("`status` has no --format %s; it has table and json", format);
    }
    int status = MMQ_EXIT_FAILED;
    mmq_client *client = mmq_connect(config, &status);
    if (!client) {
        return status;
    }
    status = show(client, config);
    while (mmq_config_flag(config, "watch") && isatty(STDOUT_FILENO) && status == MMQ_EXIT_DONE) {
        (void)poll(NULL, 0, WATCH_MS);
        fputs("\033[H\033[J", stdout);
        status = show(client, config);
        fflush(stdout);
    }
    mmq_client_destroy(&client);
    return status;
}
