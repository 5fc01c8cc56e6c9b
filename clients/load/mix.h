/* Which kinds of requests are sent, and how often. */
#ifndef MMQ_MIX_H
#define MMQ_MIX_H

#include "clients/load/tally.h"
#include "lib/splitmix.h"

typedef struct mmq_mix {
    uint64_t weights[MMQ_LOAD_KINDS];
    uint64_t total;
} mmq_mix;

/* One kind alone. */
mmq_mix mmq_mix_only(mmq_load_kind kind);
/* "small=90,day=9,dump=1": each kind at most once, weights 0 to 1,000,000, not all of them 0. */
mmq_err mmq_mix_parse(const char *text, mmq_mix *mix, mmq_why *why) MMQ_MUST_USE;
mmq_load_kind mmq_mix_pick(const mmq_mix *mix, mmq_splitmix *random);

#endif
