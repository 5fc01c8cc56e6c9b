/* Prunes of one metric or of all, in bounded pieces: for the op `prune`, and for --retain. */
#ifndef MMQ_PRUNE_H
#define MMQ_PRUNE_H

#include <stdbool.h>

#include "workers/store/store.h"

typedef struct mmq_prune {
    int64_t before;              /* rows with a timestamp below it go */
    bool count_only;             /* they stay, and are counted */
    const char *uid;             /* the one metric; NULL: all */
    char after[MMQ_UID_MAX + 1]; /* all: up to this uid it is done; "": none is */
    int64_t metrics;             /* that the last piece was done with */
    bool done;                   /* nothing is left */
} mmq_prune;

/* Does a piece, as a step of the write transaction that is open, and adds what it removed to *out.
 * MMQ_ENOTFOUND: there is no such uid. */
mmq_err mmq_prune_piece(mmq_store *store, mmq_prune *prune, mmq_pruned *out,
                        mmq_why *why) MMQ_MUST_USE;

/* ---- --retain --------------------------------------------------------------------------- */

/* Rows go that are from before the day that was `days` days ago (UTC), so that a block is cut once
 * a day at most. Looked at every ten minutes. Whoever has rows that are older and come late sees
 * them until then. */
typedef struct mmq_retention {
    int64_t days; /* 0: none go */
    mmq_prune prune;
    bool under_way;
    mmq_pruned pruned;      /* by the look that is under way */
    int64_t next_ns;        /* when to look again */
    int64_t wall_s, now_ns; /* of the last look */
} mmq_retention;

mmq_retention mmq_retention_begin(int64_t days);
/* Does a piece, in a transaction of its own, if it is time to. *more: there is another. */
mmq_err mmq_retention_step(mmq_retention *retention, mmq_store *store, bool *more,
                           mmq_why *why) MMQ_MUST_USE;

#endif
