/* Powers of ten as 128 bits, for going between doubles and decimals (shortest.c, decimal.c). */
#ifndef MMQ_POW10_H
#define MMQ_POW10_H

#include <stdint.h>

enum { MMQ_POW10_FIRST = -292, MMQ_POW10_LAST = 324 };

/* high * 2^64 + low: the 128 leading bits of a power of ten, rounded up. */
typedef struct mmq_pow10 {
    uint64_t high, low;
} mmq_pow10;

/* 10^MMQ_POW10_FIRST to 10^MMQ_POW10_LAST; 10^0 to 10^55 are exact. */
extern const mmq_pow10 mmq_pow10_table[MMQ_POW10_LAST - MMQ_POW10_FIRST + 1];

/* floor(log2(10^k)); exact for all k of the table. */
static inline int mmq_pow10_log2(int k)
{
    return (k * 1741647) >> 19;
}

#endif
