/* CHECK's end: one line on stderr, then abort, so that a core shows the state. */
#include "lib/check.h"

#include <stdio.h>
#include <stdlib.h>

void mmq_check_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "metricmq: CHECK failed: %s (%s:%d, %s)\n", condition, file, line, function);
    abort();
}
