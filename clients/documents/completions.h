/* Completions for shells, made of the tables of commands and options. */
#ifndef MMQ_COMPLETIONS_H
#define MMQ_COMPLETIONS_H

#include <stdio.h>

void mmq_completions_bash(FILE *out);
void mmq_completions_zsh(FILE *out);
void mmq_completions_fish(FILE *out);

#endif
