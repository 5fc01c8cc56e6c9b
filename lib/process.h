/* What threads of ours ask of the process they live in. */
#ifndef MMQ_PROCESS_H
#define MMQ_PROCESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts a thread that takes no signals: those are for the program's own threads. False if there is
 * no memory or no thread left. */
bool mmq_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);
/* Raises the limit of descriptors as far as the process may; returns it. */
size_t mmq_descriptors_raise(void);

#endif
