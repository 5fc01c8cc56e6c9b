/* What the manual says of each command, beyond the line that its table has: `--help` and the man
 * pages are made of it. Every command has an entry; a test sees to that, and runs the examples. */
#ifndef MMQ_MANUAL_H
#define MMQ_MANUAL_H

#include <stddef.h>

enum { MMQ_EXAMPLES_MAX = 4 };

typedef struct mmq_example {
    const char *line; /* of a shell; NULL: no more examples. UID stands for a metric's uid */
    const char *what; /* it does: a few words */
} mmq_example;

typedef struct mmq_manual {
    const char *command;
    const char *text; /* paragraphs, apart by "\n\n"; `code` stands between backticks */
    mmq_example examples[MMQ_EXAMPLES_MAX + 1];
    const char *see; /* other commands, apart by spaces */
} mmq_manual;

extern const mmq_manual mmq_manuals[];
extern const size_t mmq_manuals_count;

/* NULL: there is none. */
const mmq_manual *mmq_manual_find(const char *command);

#endif
