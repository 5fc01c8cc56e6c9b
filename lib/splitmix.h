/* Seeded random numbers: the same seed gives the same run. SplitMix64 (Steele, Lea, Flood: Fast
 * Splittable Pseudorandom Number Generators, 2014). Not for secrets: mmq_random (lib/digest.h). */
#ifndef MMQ_SPLITMIX_H
#define MMQ_SPLITMIX_H

#include <stdint.h>

typedef struct mmq_splitmix {
    uint64_t state; /* the seed, at first */
} mmq_splitmix;

uint64_t mmq_splitmix_next(mmq_splitmix *random);
/* In [0, 1). */
double mmq_splitmix_share(mmq_splitmix *random);
/* In [0, bound); bound > 0. Uneven by at most bound / 2^64. */
uint64_t mmq_splitmix_below(mmq_splitmix *random, uint64_t bound);

#endif
