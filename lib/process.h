/* What threads of ours ask of the process they live in. */
#ifndef MMQ_PROCESS_H
#define MMQ_PROCESS_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Starts a thread that takes no signals: those are for the program's own threads. False if there is
 * no memory or no thread left. */
bool mmq_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);
/* Lets this thread, and the threads that it starts meanwhile, take no signals; returns what
 * mmq_signals_restore wants. */
sigset_t mmq_signals_block(void);
void mmq_signals_restore(const sigset_t *before);
/* Gives up what the process does not need: neither it nor a program that it might start can gain
 * rights, and what is in its memory (keys, requests) goes into no core file, nor to a program that
 * keeps them. For a core all the same: prlimit --core=unlimited --pid PID. False if something could
 * not be given up. Call it before the first thread starts. */
bool mmq_process_confine(void);
/* Raises the limit of descriptors as far as the process may; returns it. The kernel's table has
 * then room for `wanted` of them (8 bytes each; at least 1, at most INT_MAX), or for as many as may
 * be. */
size_t mmq_descriptors_raise(size_t wanted);

/* What the process uses now; 0 where it cannot be read. */
typedef struct mmq_process_usage {
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t descriptors;
    uint64_t descriptors_max;
    int64_t cpu_ns; /* of all threads, user and system */
} mmq_process_usage;

/* Takes 20 us; on kernels before 6.2, where descriptors must be counted, 0.2 us more for each. */
mmq_process_usage mmq_process_usage_read(void);
/* When the process was started, as nanoseconds since the epoch; 0 if it cannot be read. The same
 * to 10 ms whenever it is asked, unless the wall clock was set meanwhile. */
int64_t mmq_process_started_ns(void);

#endif
