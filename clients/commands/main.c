/* The program's door: finds the command, reads its configuration, runs it.
 *
 * Exit status: 0 done; 1 the work failed; 2 wrong usage or configuration, no command at all too.
 * Results go to stdout, everything else to stderr. */
#include "clients/commands/commands.h"

#include <czmq.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clients/commands/options.h"
#include "lib/log.h"
#include "lib/process.h"
#include "metricmq/version.h"

/* Sockets of a process: `up` with 64 threads a role has 450. Connections are none, so no peer makes
 * us open one: who comes near it is a leak of ours, which then ends in an error. */
enum { SOCKETS_MAX = 1024 };

struct command {
    const char *name;
    const char *operands;
    const char *help;
    int (*run)(const mmq_config *config);
    const char *const *options;
};

#define LOGGING    "log-level", "log-format"
#define KEYS       "curve-key", "curve-server"
#define NAMES(...) ((const char *const[]){__VA_ARGS__, LOGGING, NULL})
#define UPLOADING                                                                                  \
    "upload", "server-id", "spool-max", "spool-jobs", "uploads", "archive-level", "upload-stall",  \
        "s3-endpoint", "s3-region", "s3-path-style", "s3-ca-file", "s3-insecure"
#define HTTP_NAMES                                                                                 \
    "connections-max", "connections-per-address", "idle-timeout", "header-timeout",                \
        "stall-timeout", "api-key", "api-keys", "http-host", "insecure", "tls-cert", "tls-key",    \
        "cors-origin"
#define METRIC_NAMES "uid", "name", "server", "location", "tag", "description", "datasource"

static const struct command commands[] = {
    {"up", "", "everything in one process, on one data directory", mmq_command_up,
     NAMES("data", "http", "bind", "bind-workers", "curve", "insecure", "store", UPLOADING,
           "import", "threads", "queue-max", "queue-bytes", "stray-memory", "timeout",
           "drain-timeout", HTTP_NAMES)},
    {"broker", "", "the broker alone", mmq_command_broker,
     NAMES("bind", "bind-workers", "curve", "insecure", "queue-max", "queue-bytes", "stray-memory",
           "drain-timeout")},
    {"worker", "query|write|feedback", "one worker alone", mmq_command_worker,
     NAMES("connect", KEYS, "data", "store", UPLOADING, "threads", "capacity", "drain-timeout")},
    {"http", "", "the HTTP adapter alone", mmq_command_http,
     NAMES("http", "connect", KEYS, "timeout", "drain-timeout", HTTP_NAMES)},
    {"key", "NAME", "make a key for HTTP clients", mmq_command_key, NAMES("rights", "api-keys")},
    {"import", "FILE...", "load CSV files", mmq_command_import,
     NAMES("connect", KEYS, "timeout", METRIC_NAMES)},
    {"demo", "", "fill the store with generated metrics", mmq_command_demo,
     NAMES("connect", KEYS, "timeout", "metrics", "rows", "seed")},
    {"models", "[UID]", "the metrics", mmq_command_models,
     NAMES("connect", KEYS, "timeout", "format")},
    {"query", "[UID]", "rows of one metric or of all", mmq_command_query,
     NAMES("connect", KEYS, "timeout", "format", "from", "to", "anomaly", "limit", "rowid",
           "order")},
    {"feedback", "UID", "dump a metric into the archive store", mmq_command_feedback,
     NAMES("connect", KEYS, "timeout", "format", "extra", "wait")},
    {"status", "", "services, workers, queues, spool", mmq_command_status,
     NAMES("connect", KEYS, "timeout", "format", "watch")},
    {"keygen", "server|client|worker [NAME]", "make CURVE keys: of the broker, or of a peer",
     mmq_command_keygen, NAMES("curve", "rights", "services")},
    {"spool", "list|retry|drop [NAME]...", "feedback archives that are not uploaded yet",
     mmq_command_spool, NAMES("data", "format")},
    {"check", "", "is the store whole? reads all of it, beside workers too", mmq_command_check,
     NAMES("data", "store")},
    {"migrate", "", "bring a store of an earlier form to the current one", mmq_command_migrate,
     NAMES("data", "store")},
    {"load", "", "load generator: many clients that check what they get", mmq_command_load,
     NAMES("connect", KEYS, "connect-workers", "op", "mix", "clients", "concurrency", "rate",
           "workers", "capacity", "service-time", "service", "size", "retry", "duration", "warmup",
           "timeout", "seed", "json", "plot")},
};

__attribute__((format(printf, 2, 0))) static int complain(int status, const char *format,
                                                          va_list list)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, list);
    fprintf(stderr, "metricmq: %s\n", text); /* at once: roles may be writing their log */
    return status;
}

int mmq_usage(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int status = complain(MMQ_EXIT_USAGE, format, list);
    va_end(list);
    return status;
}

int mmq_failed(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int status = complain(MMQ_EXIT_FAILED, format, list);
    va_end(list);
    return status;
}

static void print_commands(FILE *out)
{
    fputs("usage: metricmq COMMAND [OPTION]...\n\n"
          "Serves metric time series and their anomaly scores over ZeroMQ and HTTP.\n\n"
          "commands:\n",
          out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char synopsis[64];
        snprintf(synopsis, sizeof synopsis, "%s %s", commands[i].name, commands[i].operands);
        fprintf(out, "  %-28s %s\n", synopsis, commands[i].help);
    }
    fputs("\n`metricmq COMMAND --help` lists a command's options; `metricmq --version`.\n", out);
}

static void print_command(const struct command *command)
{
    printf("usage: metricmq %s%s%s [OPTION]...\n\n%s\n\noptions:\n", command->name,
           command->operands[0] ? " " : "", command->operands, command->help);
    mmq_config_help(mmq_options, mmq_options_count, command->options, stdout);
    fputs("\nEach option is also an environment variable (--log-level: METRICMQ_LOG_LEVEL) and a "
          "key of\n"
          "the file; flags win over the environment, the environment over the file.\n",
          stdout);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Operands that a command does not name are a mistake of the user's, found before it starts. */
static bool takes_operands(const struct command *command, const mmq_config *config)
{
    const char *const *operands;
    return command->operands[0] || mmq_config_operands(config, &operands) == 0;
}

static void set_up_process(const mmq_config *config)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const char *level = mmq_config_text(config, "log-level");
    size_t i = 0;
    while (strcmp(levels[i], level) != 0) {
        i++;
    }
    mmq_log_setup((mmq_level)i, strcmp(mmq_config_text(config, "log-format"), "json") == 0);
    if (!mmq_process_confine()) {
        mmq_log(MMQ_WARN, "this process keeps rights that it does not need");
    }
    /* Signals are ours: czmq's handler would end loops behind our back. */
    zsys_handler_set(NULL);
    zsys_init();
    zsys_set_max_sockets(SOCKETS_MAX);
    signal(SIGPIPE, SIG_IGN);
}

static int run_command(const struct command *command, const mmq_config *config)
{
    if (mmq_config_wants_help(config)) {
        print_command(command);
        return MMQ_EXIT_DONE;
    }
    if (mmq_config_wants_version(config)) {
        printf("metricmq %s\n", mmq_version());
        return MMQ_EXIT_DONE;
    }
    if (!takes_operands(command, config)) {
        return mmq_usage("`%s` takes options only; see `metricmq %s --help`", command->name,
                         command->name);
    }
    set_up_process(config);
    int status = command->run(config);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        status = mmq_failed("cannot write to standard output");
    }
    return status;
}

int mmq_main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_commands(stdout);
        return MMQ_EXIT_DONE;
    }
    if (strcmp(name, "--version") == 0) {
        printf("metricmq %s\n", mmq_version());
        return MMQ_EXIT_DONE;
    }
    const struct command *command = find_command(name);
    if (!command) {
        print_commands(stderr);
        return name[0] ? mmq_usage("there is no command `%s`", name) : MMQ_EXIT_USAGE;
    }
    mmq_why why = {""};
    mmq_config *config =
        mmq_config_new(mmq_options, mmq_options_count, command->options, argc - 2, argv + 2, &why);
    if (!config) {
        return mmq_usage("%s", why.text);
    }
    int status = run_command(command, config);
    mmq_config_destroy(&config);
    return status;
}
