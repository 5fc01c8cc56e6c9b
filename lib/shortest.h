/* The shortest decimal of a double. */
#ifndef MMQ_SHORTEST_H
#define MMQ_SHORTEST_H

#include <stdint.h>

/* digits * 10^exponent; digits has at most 17 and does not end with 0. */
typedef struct mmq_decimal {
    uint64_t digits;
    int exponent;
} mmq_decimal;

/* Of the decimals that read back as value (finite, above zero) those with the fewest digits, of
 * these the nearest. */
mmq_decimal mmq_shortest_decimal(double value);

#endif
