/* Decimal digits eight at a time: by arithmetic on all lanes of a word at once. In a word of digits
 * the first one is in the lowest byte. */
#ifndef MMQ_DIGITS_H
#define MMQ_DIGITS_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define MMQ_DIGITS_ASCII UINT64_C(0x3030303030303030) /* "00000000" */

/* Of the two-digit numbers in each 16 bits of a word. */
static inline uint64_t mmq_digits_of_pairs(uint64_t pairs)
{
    const uint64_t tens = pairs * 103 >> 10 & UINT64_C(0x000f000f000f000f);
    return tens | (pairs - 10 * tens) << 8;
}

/* Of a number below 10^8, with zeros in front. */
static inline uint64_t mmq_digits_of(uint32_t number)
{
    const uint64_t fours = number / 10000 | (uint64_t)(number % 10000) << 32;
    const uint64_t hundreds = fours * 10486 >> 20 & UINT64_C(0x0000007f0000007f);
    return mmq_digits_of_pairs(hundreds | (fours - 100 * hundreds) << 16);
}

/* Stores eight bytes of text, the lowest first. */
static inline void mmq_digits_store(char *at, uint64_t word)
{
    const uint64_t little = htole64(word);
    memcpy(at, &little, sizeof little);
}

#endif
