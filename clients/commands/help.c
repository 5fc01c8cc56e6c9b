/* Help, for a terminal of 80 columns, and what is said to who gets a name wrong. */
#include "clients/commands/help.h"

#include <stdlib.h>
#include <string.h>

#include "clients/commands/commands.h"
#include "clients/commands/manual.h"
#include "clients/commands/options.h"
#include "lib/buffer.h"
#include "lib/nearest.h"
#include "lib/wrap.h"

enum { COMMAND_COLUMN = 32 };

static void print_command_line(const mmq_command *command, FILE *out)
{
    char synopsis[64];
    snprintf(synopsis, sizeof synopsis, "%s %s", command->name, command->operands);
    fprintf(out, "  %-*s", COMMAND_COLUMN - 2, synopsis);
    if (strlen(synopsis) + 2 >= COMMAND_COLUMN) {
        fprintf(out, "\n%*s", COMMAND_COLUMN, "");
    }
    mmq_wrap(out, command->help, COMMAND_COLUMN, COMMAND_COLUMN);
}

void mmq_help_commands(FILE *out)
{
    static const mmq_command help = {
        .name = "help", .operands = "[COMMAND]", .help = "this, or what `COMMAND --help` prints"};
    fputs("usage: metricmq COMMAND [OPTION]...\n\n"
          "Serves metric time series and their anomaly scores over ZeroMQ and HTTP.\n\n"
          "commands:\n",
          out);
    for (size_t i = 0; i < mmq_commands_count; i++) {
        print_command_line(&mmq_commands[i], out);
    }
    print_command_line(&help, out);
    fputs("\n`metricmq COMMAND --help` lists a command's options; `metricmq --version`.\n", out);
}

static void print_examples(const mmq_example *examples, FILE *out)
{
    if (examples->line) {
        fputs("\nexamples:\n", out);
    }
    for (; examples->line; examples++) {
        fprintf(out, "  %s\n      ", examples->line);
        mmq_wrap(out, examples->what, 6, 6);
    }
}

void mmq_help_command(const mmq_command *command, FILE *out)
{
    const mmq_manual *manual = mmq_manual_find(command->name);
    fprintf(out, "usage: metricmq %s%s%s [OPTION]...\n\n", command->name,
            command->operands[0] ? " " : "", command->operands);
    mmq_wrap(out, command->help, 0, 0);
    if (manual) {
        fputc('\n', out);
        mmq_wrap(out, manual->text, 0, 0);
    }
    fputs("\noptions:\n", out);
    mmq_config_help(mmq_options, mmq_options_count, command->options, out);
    if (manual) {
        print_examples(manual->examples, out);
    }
    fputc('\n', out);
    mmq_wrap(out,
             "Each option is also an environment variable (--log-level: METRICMQ_LOG_LEVEL) and a "
             "key of the file; flags win over the environment, the environment over the file.",
             0, 0);
}

/* ---- names that are wrong ------------------------------------------------------------------ */

const mmq_command *mmq_command_find(const char *name)
{
    mmq_nearest search;
    mmq_nearest_begin(&search, name, strlen(name));
    for (size_t i = 0; i < mmq_commands_count; i++) {
        if (strcmp(mmq_commands[i].name, name) == 0) {
            return &mmq_commands[i];
        }
        mmq_nearest_offer(&search, mmq_commands[i].name);
    }
    mmq_nearest_offer(&search, "help");
    if (search.nearest) {
        mmq_usage("there is no command `%.64s`; did you mean `%s`?", name, search.nearest);
    } else {
        mmq_usage("there is no command `%.64s`; `metricmq help` lists them", name);
    }
    return NULL;
}

/* choices: "a|b|c", cut into pieces here; "a, b, c" goes to shown. */
static bool find_choice(char *choices, const char *given, mmq_nearest *search, mmq_buffer *shown)
{
    char *rest = NULL;
    bool found = false;
    for (char *at = strtok_r(choices, "|", &rest); at; at = strtok_r(NULL, "|", &rest)) {
        found = found || strcmp(at, given) == 0;
        mmq_nearest_offer(search, at);
        mmq_buffer_text(shown, shown->size > 0 ? ", " : "");
        mmq_buffer_text(shown, at);
    }
    return found;
}

static void complain_of_operand(const char *command, const char *shown, const char *nearest)
{
    if (nearest) {
        mmq_usage("`%s` wants one of %s; did you mean `%s`?", command, shown, nearest);
    } else {
        mmq_usage("`%s` wants one of %s; see `metricmq %s --help`", command, shown, command);
    }
}

bool mmq_operand_check(const mmq_command *command, const mmq_config *config)
{
    enum { SHOWN_MAX = 1024 };
    const char *const *operands;
    const char *given = mmq_config_operands(config, &operands) > 0 ? operands[0] : "";
    const size_t size = strcspn(command->operands, " ");
    if (!memchr(command->operands, '|', size)) {
        return true;
    }
    mmq_nearest search;
    mmq_buffer shown;
    mmq_nearest_begin(&search, given, strlen(given));
    mmq_buffer_init(&shown, SHOWN_MAX);
    char *choices = strndup(command->operands, size);
    bool good = choices && find_choice(choices, given, &search, &shown);
    const char *text = mmq_buffer_cstr(&shown);
    if (!choices || !text) {
        mmq_failed("out of memory");
        good = false;
    } else if (!good) {
        complain_of_operand(command->name, text, search.nearest);
    }
    mmq_buffer_clear(&shown);
    free(choices);
    return good;
}
