/* A double holds whole nanoseconds exactly for 104 days. */
#include "clients/load/schedule.h"

#include "lib/clock.h"

int64_t mmq_schedule_due(const mmq_schedule *schedule)
{
    double after_s = (double)schedule->next / schedule->rate;
    return schedule->start_ns + (int64_t)(after_s * (double)MMQ_NS_PER_S);
}
