#include "clients/commands/attend.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void fill_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
}

bool mmq_attend_stopped(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) > 0 || sigismember(&pending, SIGINT) > 0);
}

bool mmq_attend_at(mmq_attend *attend, const char *doing, int64_t done, int64_t total)
{
    if (attend->doing != doing) {
        const char *unit = strrchr(doing, ' ');
        mmq_attend_end(attend);
        attend->doing = doing;
        mmq_progress_init(&attend->progress, doing, unit != NULL ? unit + 1 : "", total);
    }
    if (total > 0) {
        mmq_progress_at(&attend->progress, done < total ? done : total);
    }
    return !mmq_attend_stopped();
}

static bool watch_at(void *context, const char *doing, int64_t done, int64_t total)
{
    return mmq_attend_at(context, doing, done, total);
}

static void watch_fault(void *context, const char *what)
{
    mmq_attend_end(context);
    fprintf(stderr, "%s\n", what);
}

void mmq_attend_begin(mmq_attend *out)
{
    sigset_t signals;
    *out = (mmq_attend){.watch = {.context = out, .at = watch_at, .fault = watch_fault}};
    fill_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, NULL);
}

void mmq_attend_end(mmq_attend *attend)
{
    if (attend->doing != NULL) {
        mmq_progress_end(&attend->progress);
    }
}
