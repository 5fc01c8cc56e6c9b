/* Exponential backoff with jitter; it keeps no state. */
#include "lib/backoff.h"

#include "lib/clock.h"
#include "lib/digest.h"

int64_t mmq_backoff_ns(unsigned failures, unsigned least_ms, unsigned most_ms)
{
    int64_t ms = least_ms;
    while (failures-- > 0 && ms < most_ms) {
        ms *= 2;
    }
    ms = ms < most_ms ? ms : most_ms;
    uint32_t random;
    mmq_random(&random, sizeof random);
    return (ms + random % (ms + 1)) * MMQ_NS_PER_MS / 2;
}
