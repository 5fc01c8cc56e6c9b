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

#include "clients/commands/help.h"
#include "clients/commands/options.h"
#include "clients/commands/table.h"
#include "lib/log.h"
#include "lib/process.h"
#include "metricmq/version.h"

/* Sockets of a process: `up` with 64 threads a role has 450. Connections are none, so no peer makes
 * us open one: who comes near it is a leak of ours, which then ends in an error. */
enum { SOCKETS_MAX = 1024 };

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

/* Operands that a command does not name are a mistake of the user's, found before it starts. */
static bool takes_operands(const mmq_command *command, const mmq_config *config)
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

static int run_command(const mmq_command *command, const mmq_config *config)
{
    if (mmq_config_wants_help(config)) {
        mmq_help_command(command, stdout);
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
    if (!mmq_operand_check(command, config)) {
        return MMQ_EXIT_USAGE;
    }
    set_up_process(config);
    int status = command->run(config);
    const bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (!written && status == MMQ_EXIT_DONE) { /* else the command has said why */
        status = mmq_failed("cannot write to standard output");
    }
    return status;
}

/* `help`, `help COMMAND`, `--help`. */
static int run_help(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "";
    if (name[0] == '\0' || name[0] == '-' || strcmp(name, "help") == 0) {
        mmq_help_commands(stdout);
        return MMQ_EXIT_DONE;
    }
    const mmq_command *command = mmq_command_find(name);
    if (!command) {
        return MMQ_EXIT_USAGE;
    }
    mmq_help_command(command, stdout);
    return MMQ_EXIT_DONE;
}

int mmq_main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        return run_help(argc, argv);
    }
    if (strcmp(name, "--version") == 0) {
        printf("metricmq %s\n", mmq_version());
        return MMQ_EXIT_DONE;
    }
    if (name[0] == '\0') {
        mmq_help_commands(stderr);
        return MMQ_EXIT_USAGE;
    }
    const mmq_command *command = mmq_command_find(name);
    if (!command) {
        return MMQ_EXIT_USAGE;
    }
    mmq_why why = {""};
    mmq_faults ignored = {.count = 0};
    const bool looks_itself = command->run == mmq_command_check_config;
    mmq_config *config =
        mmq_config_new_faults(mmq_options, mmq_options_count, command->options, argc - 2, argv + 2,
                              looks_itself ? &ignored : NULL, &why);
    if (!config) {
        return mmq_usage("%s", why.text);
    }
    int status = run_command(command, config);
    mmq_config_destroy(&config);
    return status;
}
