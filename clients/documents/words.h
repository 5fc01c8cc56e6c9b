/* What may stand where on a command line, as completions want to know it. */
#ifndef MMQ_WORDS_H
#define MMQ_WORDS_H

#include <stdbool.h>
#include <stdio.h>

#include "clients/commands/table.h"

typedef enum mmq_words {
    MMQ_WORDS_NONE,    /* nothing follows: a flag, a command without operands */
    MMQ_WORDS_ANY,     /* something that we cannot know */
    MMQ_WORDS_CHOICES, /* one of a few */
    MMQ_WORDS_FILES,
    MMQ_WORDS_FOLDERS,
} mmq_words;

/* What an option's value is. */
mmq_words mmq_words_of_option(const mmq_option *option);
/* What a command's first operand is. */
mmq_words mmq_words_of_operand(const mmq_command *command);
/* Prints "a b c" of the "a|b|c" that the text begins with. */
void mmq_words_print_choices(FILE *out, const char *text);
/* Prints text for between quotes of a shell: each of the signs in `special` gets `before` in front
 * of it; a quote ' becomes one of typography's, which no shell knows. */
void mmq_words_print_quoted(FILE *out, const char *text, const char *special, const char *before);
/* Is the option one that a flag sets, for this command? */
bool mmq_words_has_flag(const mmq_command *command, const mmq_option *option);

#endif
