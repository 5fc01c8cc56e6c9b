/* How long to wait before another try. */
#ifndef MMQ_BACKOFF_H
#define MMQ_BACKOFF_H

#include <stdint.h>

/* Nanoseconds: least_ms, doubled with each failure before up to most_ms, and of that a random part
 * between half and all, so that those who failed together do not come back together. */
int64_t mmq_backoff_ns(unsigned failures, unsigned least_ms, unsigned most_ms);

#endif
