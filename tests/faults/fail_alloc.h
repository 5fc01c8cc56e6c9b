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
/* How many have failed since armed. */
size_t fail_alloc_failed(void);
/* Allocations of this thread never fail while it is set: the test's own. */
void fail_alloc_spare(bool spare);

/* Arms at the moment that it likes, and ends disarmed. */
typedef void fail_alloc_scenario(size_t nth, bool on);

/* Runs the scenario with nth = 1, 1 + stride, ..., once without and once with `on`, until none
 * failed. Returns how many runs that took; prints them. */
size_t fail_alloc_each(const char *name, size_t stride, fail_alloc_scenario *scenario);
/* The stride of this run: METRICMQ_ALLOC_STRIDE, 1 if it is not set. */
size_t fail_alloc_stride(void);

#endif
