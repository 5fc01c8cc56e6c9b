/* The tables name values for people ("DIR", "FILE...", "list|retry|drop [NAME]..."); those names
 * are what completions go by. */
#include "clients/documents/words.h"

#include <string.h>

static mmq_words words_of(const char *name)
{
    const size_t size = strcspn(name, " ");
    if (size == 0) {
        return MMQ_WORDS_NONE;
    }
    if (memchr(name, '|', size)) {
        return MMQ_WORDS_CHOICES;
    }
    if (strncmp(name, "FILE", 4) == 0) {
        return MMQ_WORDS_FILES;
    }
    return strncmp(name, "DIR", 3) == 0 ? MMQ_WORDS_FOLDERS : MMQ_WORDS_ANY;
}

mmq_words mmq_words_of_option(const mmq_option *option)
{
    const char *argument = mmq_option_argument(option);
    if (option->kind == MMQ_OPTION_CHOICE) {
        return MMQ_WORDS_CHOICES; /* of one, too */
    }
    return argument ? words_of(argument) : MMQ_WORDS_NONE;
}

mmq_words mmq_words_of_operand(const mmq_command *command)
{
    return words_of(command->operands + strspn(command->operands, "["));
}

void mmq_words_print_choices(FILE *out, const char *text)
{
    for (; *text && *text != ' '; text++) {
        fputc(*text == '|' ? ' ' : *text, out);
    }
}

void mmq_words_print_quoted(FILE *out, const char *text, const char *special, const char *before)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("’", out);
            continue;
        }
        fprintf(out, "%s%c", strchr(special, *text) ? before : "", *text);
    }
}

bool mmq_words_has_flag(const mmq_command *command, const mmq_option *option)
{
    return !option->secret && mmq_option_taken(command->options, option->name);
}
