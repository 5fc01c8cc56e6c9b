/* Completion for fish: a line for each word that may come, with the condition when. */
#include "clients/commands/options.h"
#include "clients/documents/completions.h"
#include "clients/documents/words.h"

static void print_description(FILE *out, const char *text)
{
    fputs(" -d '", out);
    mmq_words_print_quoted(out, text, "\\", "\\");
    fputs("'\n", out);
}

static void print_values(FILE *out, mmq_words kind, const char *choices)
{
    switch (kind) {
    case MMQ_WORDS_CHOICES:
        fputs(" -x -a '", out);
        mmq_words_print_choices(out, choices);
        fputc('\'', out);
        break;
    case MMQ_WORDS_FILES:
        fputs(" -r -F", out);
        break;
    case MMQ_WORDS_FOLDERS:
        fputs(" -x -a '(__fish_complete_directories)'", out);
        break;
    case MMQ_WORDS_ANY:
        fputs(" -x", out);
        break;
    case MMQ_WORDS_NONE:
        break;
    }
}

static void print_command(FILE *out, const mmq_command *command)
{
    const char *name = command->name;
    const mmq_words kind = mmq_words_of_operand(command);
    fprintf(out, "\ncomplete -c metricmq -n __metricmq_begins -a %s", name);
    print_description(out, command->help);
    fprintf(out, "complete -c metricmq -n '__metricmq_begins help' -a %s", name);
    print_description(out, command->help);
    if (kind == MMQ_WORDS_CHOICES) {
        fprintf(out, "complete -c metricmq -n '__metricmq_begins %s'", name);
        print_values(out, kind, command->operands);
        fputc('\n', out);
    } else if (kind == MMQ_WORDS_FILES) {
        fprintf(out, "complete -c metricmq -n '__metricmq_is %s' -F\n", name);
    }
    for (size_t i = 0; i < mmq_options_count; i++) {
        const mmq_option *option = &mmq_options[i];
        if (mmq_words_has_flag(command, option)) {
            fprintf(out, "complete -c metricmq -n '__metricmq_is %s' -l %s", name, option->name);
            print_values(out, mmq_words_of_option(option), option->choices);
            print_description(out, option->help);
        }
    }
    fprintf(out, "complete -c metricmq -n '__metricmq_is %s' -l config -r -F", name);
    print_description(out, "file of options");
    fprintf(out, "complete -c metricmq -n '__metricmq_is %s' -l version", name);
    print_description(out, "show the version");
}

void mmq_completions_fish(FILE *out)
{
    fputs("# Completion of metricmq for fish, made of its tables of commands and options.\n\n"
          "function __metricmq_is # COMMAND: is it the one of this line?\n"
          "    set -l words (commandline -opc)\n"
          "    test (count $words) -ge 2; and test \"$words[2]\" = \"$argv[1]\"\n"
          "end\n\n"
          "function __metricmq_begins # [COMMAND]: nothing stands behind it yet\n"
          "    set -l words (commandline -opc)\n"
          "    test (count $words) -eq (math 1 + (count $argv)); or return 1\n"
          "    test -z \"$argv[1]\"; or test \"$words[2]\" = \"$argv[1]\"\n"
          "end\n\n"
          "complete -c metricmq -f\n"
          "complete -c metricmq -l help -s h -d 'show help'\n"
          "complete -c metricmq -n __metricmq_begins -l version -d 'show the version'\n"
          "complete -c metricmq -n __metricmq_begins -a help -d 'what there is about a command'\n",
          out);
    for (size_t i = 0; i < mmq_commands_count; i++) {
        print_command(out, &mmq_commands[i]);
    }
}
