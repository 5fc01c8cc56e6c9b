/* Little endian numbers at any address. */
#ifndef MMQ_STORE_BYTES_H
#define MMQ_STORE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t load_64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return le64toh(word);
}

static inline uint8_t *store_64(uint8_t *at, uint64_t word)
{
    word = htole64(word);
    memcpy(at, &word, sizeof word);
    return at + sizeof word;
}

static inline unsigned load_16(const uint8_t *at)
{
    return at[0] | (unsigned)at[1] << 8;
}

static inline uint8_t *store_16(uint8_t *at, size_t number)
{
    at[0] = (uint8_t)number;
    at[1] = (uint8_t)(number >> 8);
    return at + 2;
}

#endif
