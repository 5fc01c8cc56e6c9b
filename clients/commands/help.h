/* What `--help` and `help` print, made of the tables. */
#ifndef MMQ_HELP_H
#define MMQ_HELP_H

#include <stdio.h>

#include "clients/commands/table.h"

/* All commands, a line each. */
void mmq_help_commands(FILE *out);
/* One command: what it does, its options, examples. */
void mmq_help_command(const mmq_command *command, FILE *out);

/* NULL after printing that there is none, and which it may be. */
const mmq_command *mmq_command_find(const char *name);
/* The first operand, where a command knows what it may be ("list|retry|drop [NAME]..."): false
 * after a complaint if it is none of those. */
bool mmq_operand_check(const mmq_command *command, const mmq_config *config);

#endif
