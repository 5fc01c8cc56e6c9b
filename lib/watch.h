/* What long work asks now and then: may it go on? And what it tells: how far it is. */
#ifndef MMQ_WATCH_H
#define MMQ_WATCH_H

#include <stdint.h>

#include "metricmq/error.h"

typedef struct mmq_watch {
    /* An error ends the work with it. total is 0 where it is not known yet. */
    mmq_err (*tick)(void *context, const char *stage, int64_t done, int64_t total, mmq_why *why);
    void *context;
} mmq_watch;

#endif
