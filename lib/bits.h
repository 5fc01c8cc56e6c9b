/* A double as the 64 bits of its IEEE 754 form, and back: so are 0 and -0, which are equal, told
 * apart, and NaNs kept. */
#ifndef MMQ_BITS_H
#define MMQ_BITS_H

#include <stdint.h>
#include <string.h>

static inline uint64_t mmq_bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static inline double mmq_double_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

#endif
