/* A decimal of few digits as the nearest double. */
#ifndef MMQ_DECIMAL_H
#define MMQ_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

/* digits * 10^exponent */
typedef struct mmq_decimal {
    uint64_t digits;
    int exponent;
} mmq_decimal;

/* The double nearest to decimal, the even one of two as near. digits may be any. False if that is
 * left to a slower way: the result is subnormal, not finite, or too near to the middle between two
 * doubles for 128 bits to tell. */
bool mmq_decimal_to_double(mmq_decimal decimal, double *out);

#endif
