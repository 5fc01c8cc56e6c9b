/* Time: monotonic for intervals, wall clock only for what people read. */
#ifndef MMQ_CLOCK_H
#define MMQ_CLOCK_H

#include <stdint.h>

#define MMQ_NS_PER_MS INT64_C(1000000)
#define MMQ_NS_PER_S  INT64_C(1000000000)

/* Nanoseconds on the monotonic clock. */
int64_t mmq_now_ns(void);
/* Seconds since the epoch, UTC. */
int64_t mmq_wall_s(void);
/* The same in milliseconds. */
int64_t mmq_wall_ms(void);
/* For tests: both clocks run `offset_ns` ahead from now on. */
void mmq_clock_shift(int64_t offset_ns);

#endif
