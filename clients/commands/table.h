/* Every command of metricmq, in one table, which `--help` is made of. */
#ifndef MMQ_TABLE_H
#define MMQ_TABLE_H

#include <stddef.h>

#include "lib/config.h"

typedef struct mmq_command {
    const char *name;
    const char *operands; /* as help shows them; "": none */
    const char *help;
    int (*run)(const mmq_config *config);
    const char *const *options; /* names of options.c's, NULL-ended */
} mmq_command;

extern const mmq_command mmq_commands[];
extern const size_t mmq_commands_count;

#endif
