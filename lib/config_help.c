/* Help of options: two columns, flags on the left, what they do on the right. */
#include <ctype.h>
#include <string.h>

#include "lib/check.h"
#include "lib/config.h"
#include "lib/wrap.h"

enum { HELP_COLUMN = 28, LEFT_MAX = 192 };

void mmq_option_variable(const char *name, char out[MMQ_VARIABLE_MAX])
{
    int size = snprintf(out, MMQ_VARIABLE_MAX, "METRICMQ_%s", name);
    CHECK(size > 0 && size < MMQ_VARIABLE_MAX);
    for (char *at = out; *at; at++) {
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    }
}

const char *mmq_option_argument(const mmq_option *option)
{
    switch (option->kind) {
    case MMQ_OPTION_FLAG:
        return NULL;
    case MMQ_OPTION_CHOICE:
        return option->choices;
    case MMQ_OPTION_TEXT:
    case MMQ_OPTION_INT:
    case MMQ_OPTION_NUMBER:
    case MMQ_OPTION_MS:
    case MMQ_OPTION_BYTES:
    case MMQ_OPTION_LIST:
        break;
    }
    return option->argument ? option->argument : "VALUE";
}

bool mmq_option_taken(const char *const *names, const char *name)
{
    while (*names && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

static void print_help_line(FILE *out, const char *left, const char *help)
{
    if (strlen(left) + 2 >= HELP_COLUMN) {
        fprintf(out, "  %s\n%*s", left, HELP_COLUMN, "");
    } else {
        fprintf(out, "  %-*s", HELP_COLUMN - 2, left);
    }
    mmq_wrap(out, help, HELP_COLUMN, HELP_COLUMN);
}

static void print_option_help(FILE *out, const mmq_option *option)
{
    char left[LEFT_MAX], help[512], variable[MMQ_VARIABLE_MAX];
    const char *argument = mmq_option_argument(option);
    mmq_option_variable(option->name, variable);
    if (option->secret) {
        snprintf(left, sizeof left, "%s", variable);
    } else {
        snprintf(left, sizeof left, "--%s%s%s", option->name, argument ? " " : "",
                 argument ? argument : "");
    }
    bool shows_default = option->fallback && option->kind != MMQ_OPTION_FLAG;
    int size =
        snprintf(help, sizeof help, "%s%s%s%s", option->help, shows_default ? " (default " : "",
                 shows_default ? option->fallback : "", shows_default ? ")" : "");
    CHECK(size > 0 && (size_t)size < sizeof help);
    print_help_line(out, left, help);
}

void mmq_config_help(const mmq_option *table, size_t count, const char *const *names, FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        if (mmq_option_taken(names, table[i].name)) {
            print_option_help(out, &table[i]);
        }
    }
    print_help_line(out, "--config FILE", "file of `name = value` lines (ZPL)");
    print_help_line(out, "--help", "show this");
    print_help_line(out, "--version", "show the version");
}
