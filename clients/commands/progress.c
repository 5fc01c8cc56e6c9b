/* The line is drawn over itself; nothing is drawn where stderr goes to a file or a pipe. */
#include "clients/commands/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/clock.h"

enum { WIDTH = 30, PERIOD_MS = 100 };

void mmq_progress_init(mmq_progress *progress, const char *label, const char *unit, int64_t total)
{
    *progress = (mmq_progress){.label = label,
                               .unit = unit,
                               .total = total,
                               .start_ns = mmq_now_ns(),
                               .terminal = isatty(STDERR_FILENO)};
}

void mmq_progress_at(mmq_progress *progress, int64_t done)
{
    if (!progress->terminal || mmq_now_ns() - progress->drawn_ns < PERIOD_MS * MMQ_NS_PER_MS) {
        return;
    }
    progress->drawn_ns = mmq_now_ns();
    double seconds = (double)(progress->drawn_ns - progress->start_ns) / (double)MMQ_NS_PER_S;
    double share = progress->total > 0 ? (double)done / (double)progress->total : 0;
    int bars = (int)(share * WIDTH);
    bars = bars > WIDTH ? WIDTH : bars;
    fprintf(stderr, "\r%-24.24s [%.*s%*s] %3.0f%% %.0f %s/s ", progress->label, bars,
            "##############################", WIDTH - bars, "", share * 100,
            seconds > 0 ? (double)done / seconds : 0, progress->unit);
}

void mmq_progress_end(mmq_progress *progress)
{
    if (progress->terminal && progress->drawn_ns > 0) {
        fputs("\r\033[K", stderr);
    }
}
