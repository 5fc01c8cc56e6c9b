/* Completion for zsh: a function for _arguments, with what each word means beside it. */
#include "clients/commands/options.h"
#include "clients/documents/completions.h"
#include "clients/documents/words.h"

static void print_action(FILE *out, mmq_words kind, const char *choices)
{
    switch (kind) {
    case MMQ_WORDS_CHOICES:
        fputc('(', out);
        mmq_words_print_choices(out, choices);
        fputc(')', out);
        break;
    case MMQ_WORDS_FILES:
        fputs("_files", out);
        break;
    case MMQ_WORDS_FOLDERS:
        fputs("_files -/", out);
        break;
    case MMQ_WORDS_NONE:
    case MMQ_WORDS_ANY:
        fputc(' ', out);
        break;
    }
}

static void print_option(FILE *out, const mmq_option *option)
{
    const mmq_words kind = mmq_words_of_option(option);
    fprintf(out, "                '%s--%s%s[", option->kind == MMQ_OPTION_LIST ? "*" : "",
            option->name, kind == MMQ_WORDS_NONE ? "" : "=");
    mmq_words_print_quoted(out, option->help, "[]:\\", "\\");
    fputc(']', out);
    if (kind != MMQ_WORDS_NONE) {
        fputc(':', out);
        mmq_words_print_quoted(out, option->argument ? option->argument : "VALUE", "[]:\\", "\\");
        fputc(':', out);
        print_action(out, kind, option->choices);
    }
    fputs("' \\\n", out);
}

static void print_command(FILE *out, const mmq_command *command)
{
    const mmq_words kind = mmq_words_of_operand(command);
    fprintf(out, "            %s)\n                _arguments -S \\\n", command->name);
    for (size_t i = 0; i < mmq_options_count; i++) {
        if (mmq_words_has_flag(command, &mmq_options[i])) {
            print_option(out, &mmq_options[i]);
        }
    }
    fputs("                '--config=[file of options]:FILE:_files' \\\n"
          "                '(- *)'{--help,-h}'[show help]' \\\n"
          "                '(- *)--version[show the version]'",
          out);
    if (kind == MMQ_WORDS_FILES) {
        fputs(" \\\n                '*:FILE:_files'", out);
    } else if (kind == MMQ_WORDS_CHOICES) { /* an operand that we cannot know would only be said */
        fputs(" \\\n                '1:operand:", out);
        print_action(out, kind, command->operands);
        fputc('\'', out);
    }
    fputs("\n                ;;\n", out);
}

void mmq_completions_zsh(FILE *out)
{
    fputs("#compdef metricmq\n"
          "# Completion of metricmq for zsh, made of its tables of commands and options.\n\n"
          "_metricmq() {\n"
          "    local curcontext=\"$curcontext\" state line\n"
          "    local -a commands\n"
          "    commands=(\n",
          out);
    for (size_t i = 0; i < mmq_commands_count; i++) {
        fprintf(out, "        '%s:", mmq_commands[i].name);
        mmq_words_print_quoted(out, mmq_commands[i].help, ":\\", "\\");
        fputs("'\n", out);
    }
    fputs("        'help:what there is about a command'\n"
          "    )\n"
          "    _arguments -C '(- *)'{--help,-h}'[show the commands]' \\\n"
          "        '(- *)--version[show the version]' '1: :->command' '*:: :->rest' && return\n"
          "    case $state in\n"
          "        command) _describe -t commands command commands ;;\n"
          "        rest)\n"
          "            curcontext=\"${curcontext%:*:*}:metricmq-$words[1]:\"\n"
          "            case $words[1] in\n"
          "            help) ((CURRENT > 2)) || _describe -t commands command commands ;;\n",
          out);
    for (size_t i = 0; i < mmq_commands_count; i++) {
        print_command(out, &mmq_commands[i]);
    }
    fputs("            esac\n"
          "            ;;\n"
          "    esac\n"
          "}\n\n"
          "_metricmq \"$@\"\n",
          out);
}
