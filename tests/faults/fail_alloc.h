/* F29: the n-th allocation of our own code fails, for n = 1, 2, ... until a scenario runs through.
 *
 * Programs that link fail_alloc.c do so with -Wl,--wrap for each function that our code gets memory
 * by, so that calls from our objects come here and those of shared libraries do not: libzmq, czmq
 * and cJSON stop the process when memory runs out, which admission has to prevent. */
#ifndef FAIL_ALLOC_H
#define FAIL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* From now on, in any thread, the nth allocation (1: the next one) fails; with `on`, all after it,
 * too. 0: none fails. */
void fail_alloc_arm(size_t nth, bool on);
/* None fails any more. Returns how many have failed since armed. */
size_t fail_alloc_disarm(void);
/* Allocations of this thread never fail while it is set: the test's own. */
void fail_alloc_spare(bool spare);

/* Runs the scenario with the 1st, 1 + stride-th, ... allocation failing, once alone and once with
 * all after it, until none fails. Returns how many runs that took; prints them. */
size_t fail_alloc_each(const char *name, size_t stride, void (*scenario)(void));
/* The stride of this run: METRICMQ_ALLOC_STRIDE, 1 if it is not set. */
size_t fail_alloc_stride(void);

#endif
