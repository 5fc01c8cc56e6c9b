/* Both clocks, with one offset that tests set so that hours pass at once. */
#include "lib/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t shift_ns;

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * MMQ_NS_PER_S + now.tv_nsec +
           atomic_load_explicit(&shift_ns, memory_order_relaxed);
}

int64_t mmq_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t mmq_wall_s(void)
{
    return read_clock(CLOCK_REALTIME) / MMQ_NS_PER_S;
}

int64_t mmq_wall_ms(void)
{
    return read_clock(CLOCK_REALTIME) / MMQ_NS_PER_MS;
}

void mmq_clock_shift(int64_t offset_ns)
{
    atomic_store_explicit(&shift_ns, offset_ns, memory_order_relaxed);
}
