/* How the write worker opens its store: one of an earlier form is brought to the current one first,
 * and the log says so. */
#ifndef MMQ_WRITE_STORE_H
#define MMQ_WRITE_STORE_H

#include "workers/store/store.h"

/* As mmq_store_open for MMQ_STORE_WRITE; the caller holds the writer's lock. stopped is asked every
 * fraction of a second while the store is changed: true breaks off (MMQ_ECLOSED). */
mmq_err mmq_write_store_open(const char *url, bool (*stopped)(const void *context),
                             const void *context, mmq_store **out, mmq_why *why) MMQ_MUST_USE;

#endif
