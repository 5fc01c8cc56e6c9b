/* Long work on a store, as a command shows it: a progress line on a terminal, and SIGINT and
 * SIGTERM break it off between two of its steps, so that it can clean up. */
#ifndef MMQ_ATTEND_H
#define MMQ_ATTEND_H

#include "clients/commands/progress.h"
#include "workers/store/store.h"

typedef struct mmq_attend {
    const char *doing; /* NULL: nothing was drawn yet */
    mmq_progress progress;
    mmq_store_watch watch; /* what the work is given */
} mmq_attend;

/* Blocks both signals for the rest of the process. The watch borrows *out, which must not move. */
void mmq_attend_begin(mmq_attend *out);
/* Shows how far it is; false once a signal has come. `doing` ends with the unit: "copying pages".
 * Total 0: there is nothing to show. */
bool mmq_attend_at(mmq_attend *attend, const char *doing, int64_t done, int64_t total);
/* True once a signal has come. */
bool mmq_attend_stopped(void);
/* Wipes the line. */
void mmq_attend_end(mmq_attend *attend);

#endif
