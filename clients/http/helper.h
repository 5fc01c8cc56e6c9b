/* A thread beside the adapter's loop, for work that would hold the loop up. Tasks are run one after
 * another, in order. All functions are for the loop's thread. */
#ifndef MMQ_HELPER_H
#define MMQ_HELPER_H

#include <stdbool.h>
#include <stdint.h>

#include "metricmq/error.h"

typedef struct mmq_helper mmq_helper;

/* Begins a structure of the giver's, who keeps it until done is called. */
typedef struct mmq_task {
    void (*run)(struct mmq_task *task);  /* on the helper's thread */
    void (*done)(struct mmq_task *task); /* on the loop's, when it was run, or will not be */
} mmq_task;

mmq_helper *mmq_helper_new(mmq_why *why);
/* Waits for the task that is running, and calls done of all that there are. */
void mmq_helper_destroy(mmq_helper **helper);
/* False: too many tasks wait. */
bool mmq_helper_give(mmq_helper *helper, mmq_task *task) MMQ_MUST_USE;
/* When the task that is running began (mmq_now_ns); 0: none is. Any thread. */
int64_t mmq_helper_begun_ns(const mmq_helper *helper);
/* To be polled for input; then mmq_helper_step, which calls done. */
int mmq_helper_descriptor(const mmq_helper *helper);
void mmq_helper_step(mmq_helper *helper);

#endif
