/* Completion for bash, without the functions of the package bash-completion, which may not be
 * there. Bash cuts words at `=` and `:` (COMP_WORDBREAKS), so `--format=csv` comes as three. */
#include "clients/commands/options.h"
#include "clients/documents/completions.h"
#include "clients/documents/words.h"

static void print_commands(FILE *out)
{
    for (size_t i = 0; i < mmq_commands_count; i++) {
        fprintf(out, "%s ", mmq_commands[i].name);
    }
    fputs("help", out);
}

/* "--a --b " of the command, or of all; valued: only those that have a value. */
static void print_flags(FILE *out, const mmq_command *command, bool valued)
{
    for (size_t i = 0; i < mmq_options_count; i++) {
        const mmq_option *option = &mmq_options[i];
        if (command ? !mmq_words_has_flag(command, option) : option->secret) {
            continue;
        }
        if (!valued || mmq_words_of_option(option) != MMQ_WORDS_NONE) {
            fprintf(out, "--%s ", option->name);
        }
    }
}

static void print_command(FILE *out, const mmq_command *command)
{
    fprintf(out, "    %s)\n        options='", command->name);
    print_flags(out, command, false);
    fputs("--config --help --version'\n", out);
    if (mmq_words_of_operand(command) == MMQ_WORDS_CHOICES) {
        fputs("        operands='", out);
        mmq_words_print_choices(out, command->operands);
        fputs("'\n", out);
    } else if (mmq_words_of_operand(command) == MMQ_WORDS_FILES) {
        fputs("        files=yes\n", out);
    }
    fputs("        ;;\n", out);
}

/* A branch for all options whose value is of the kind. */
static void print_values(FILE *out, mmq_words kind, const char *action)
{
    const char *between = "    ";
    for (size_t i = 0; i < mmq_options_count; i++) {
        if (mmq_words_of_option(&mmq_options[i]) == kind && !mmq_options[i].secret) {
            fprintf(out, "%s--%s", between, mmq_options[i].name);
            between = " | ";
        }
    }
    fprintf(out, "%s)\n        %s\n        ;;\n", kind == MMQ_WORDS_FILES ? " | --config" : "",
            action);
}

static void print_choices(FILE *out)
{
    for (size_t i = 0; i < mmq_options_count; i++) {
        if (mmq_words_of_option(&mmq_options[i]) == MMQ_WORDS_CHOICES) {
            fprintf(out, "    --%s)\n        _metricmq_words '", mmq_options[i].name);
            mmq_words_print_choices(out, mmq_options[i].choices);
            fputs("' \"$current\"\n        ;;\n", out);
        }
    }
}

static void print_helpers(FILE *out)
{
    fputs("# Completion of metricmq for bash, made of its tables of commands and options.\n\n"
          "_metricmq_words() { # WORDS CURRENT\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$2\")\n"
          "}\n\n"
          "_metricmq_paths() { # f or d, CURRENT\n"
          "    compopt -o filenames 2>/dev/null\n"
          "    mapfile -t COMPREPLY < <(compgen \"-$1\" -- \"$2\")\n"
          "}\n\n"
          "# The value of an option; false if it is none that has one.\n"
          "_metricmq_value() { # OPTION CURRENT\n"
          "    local current=$2\n"
          "    case $1 in\n",
          out);
    print_choices(out);
    print_values(out, MMQ_WORDS_FILES, "_metricmq_paths f \"$current\"");
    print_values(out, MMQ_WORDS_FOLDERS, "_metricmq_paths d \"$current\"");
    print_values(out, MMQ_WORDS_ANY, ":");
    fputs("    *)\n        return 1\n        ;;\n    esac\n}\n\n", out);
}

void mmq_completions_bash(FILE *out)
{
    print_helpers(out);
    fputs("_metricmq() {\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local options='' operands='' files='' count=0 i\n"
          "    COMPREPLY=()\n"
          "    if [[ $current == = ]]; then\n"
          "        current=''\n"
          "    elif [[ $before == = ]] && ((COMP_CWORD > 2)); then\n"
          "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    fi\n"
          "    if ((COMP_CWORD == 1)) || [[ ${COMP_WORDS[1]} == help ]]; then\n"
          "        ((COMP_CWORD > 2)) || _metricmq_words '",
          out);
    print_commands(out);
    fputs(" --help --version' \"$current\"\n"
          "        return\n"
          "    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          out);
    for (size_t i = 0; i < mmq_commands_count; i++) {
        print_command(out, &mmq_commands[i]);
    }
    fputs("    esac\n"
          "    if _metricmq_value \"$before\" \"$current\"; then\n"
          "        return\n"
          "    fi\n"
          "    for ((i = 2; i < COMP_CWORD; i++)); do # operands that are there already\n"
          "        if [[ ${COMP_WORDS[i]} != -* && ' ",
          out);
    print_flags(out, NULL, true);
    fputs("--config = ' != *\" ${COMP_WORDS[i - 1]} \"* && ${COMP_WORDS[i]} != = ]]; then\n"
          "            ((count++))\n"
          "        fi\n"
          "    done\n"
          "    if [[ $current == -* || -z $operands$files ]]; then\n"
          "        _metricmq_words \"$options\" \"$current\"\n"
          "    elif [[ -n $files ]]; then\n"
          "        _metricmq_paths f \"$current\"\n"
          "    elif ((count == 0)); then\n"
          "        _metricmq_words \"$operands\" \"$current\"\n"
          "    else\n"
          "        _metricmq_words \"$options\" \"$current\"\n"
          "    fi\n"
          "}\n\n"
          "complete -F _metricmq metricmq\n",
          out);
}
