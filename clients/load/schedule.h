/* The open loop's clock: request k is due at start + k / rate. Each time is computed from k, never
 * from the one before, so that nothing that happens to a request moves those after it, and rounding
 * does not add up. */
#ifndef MMQ_SCHEDULE_H
#define MMQ_SCHEDULE_H

#include <stdint.h>

typedef struct mmq_schedule {
    int64_t start_ns;
    double rate;   /* requests a second, > 0 */
    uint64_t next; /* k of the next one */
} mmq_schedule;

/* When the next request is due. */
int64_t mmq_schedule_due(const mmq_schedule *schedule);

#endif
