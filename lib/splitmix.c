/* Every operation wraps, as the paper has it. */
#include "lib/splitmix.h"

#include "lib/check.h"

uint64_t mmq_splitmix_next(mmq_splitmix *random)
{
    uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double mmq_splitmix_share(mmq_splitmix *random)
{
    return (double)(mmq_splitmix_next(random) >> 11) * 0x1p-53;
}

uint64_t mmq_splitmix_below(mmq_splitmix *random, uint64_t bound)
{
    CHECK(bound > 0);
    return mmq_splitmix_next(random) % bound;
}
