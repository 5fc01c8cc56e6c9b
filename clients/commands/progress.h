/* A progress line on stderr, drawn on a terminal only and at most ten times a second. */
#ifndef MMQ_PROGRESS_H
#define MMQ_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mmq_progress {
    const char *label; /* borrowed */
    const char *unit;  /* e.g. "rows" */
    int64_t total;
    int64_t drawn_ns;
    int64_t start_ns;
    bool terminal;
} mmq_progress;

void mmq_progress_init(mmq_progress *progress, const char *label, const char *unit, int64_t total);
void mmq_progress_at(mmq_progress *progress, int64_t done);
/* Wipes the line. */
void mmq_progress_end(mmq_progress *progress);

#endif
