/* The shortest decimal of a double. */
#ifndef MMQ_SHORTEST_H
#define MMQ_SHORTEST_H

#include <stdint.h>

/* 0.DIGITS * 10^point. There are always 17 digits, as many zeros as needed at their end. */
typedef struct mmq_shortest {
    uint64_t digits;
    int point;
} mmq_shortest;

/* Of the decimals that read back as value (finite, above zero) those with the fewest digits
 * (zeros at the end do not count), of these the nearest. */
mmq_shortest mmq_shortest_decimal(double value);

#endif
