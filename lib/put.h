/* msgpack numbers put at a place, in their shortest form, for encoders of rows: no buffer, no check
 * of room. Each returns the place behind what it has put. */
#ifndef MMQ_PUT_H
#define MMQ_PUT_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "lib/bits.h"

enum { MMQ_PUT_MAX = 9 }; /* bytes of a number at most */

static inline uint8_t *mmq_put_16(uint8_t *at, uint8_t head, uint16_t number)
{
    const uint16_t big = htobe16(number);
    *at = head;
    memcpy(at + 1, &big, sizeof big);
    return at + 1 + sizeof big;
}

static inline uint8_t *mmq_put_32(uint8_t *at, uint8_t head, uint32_t number)
{
    const uint32_t big = htobe32(number);
    *at = head;
    memcpy(at + 1, &big, sizeof big);
    return at + 1 + sizeof big;
}

static inline uint8_t *mmq_put_64(uint8_t *at, uint8_t head, uint64_t number)
{
    const uint64_t big = htobe64(number);
    *at = head;
    memcpy(at + 1, &big, sizeof big);
    return at + 1 + sizeof big;
}

static inline uint8_t *mmq_put_8(uint8_t *at, uint8_t head, uint8_t number)
{
    at[0] = head;
    at[1] = number;
    return at + 2;
}

static inline uint8_t *mmq_put_negative(uint8_t *at, int64_t value)
{
    if (value >= -32) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value >= INT8_MIN) {
        return mmq_put_8(at, 0xd0, (uint8_t)value);
    }
    if (value >= INT16_MIN) {
        return mmq_put_16(at, 0xd1, (uint16_t)value);
    }
    return value >= INT32_MIN ? mmq_put_32(at, 0xd2, (uint32_t)value)
                              : mmq_put_64(at, 0xd3, (uint64_t)value);
}

static inline uint8_t *mmq_put_integer(uint8_t *at, int64_t value)
{
    if (value < 0) {
        return mmq_put_negative(at, value);
    }
    if (value <= INT8_MAX) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value <= UINT8_MAX) {
        return mmq_put_8(at, 0xcc, (uint8_t)value);
    }
    if (value <= UINT16_MAX) {
        return mmq_put_16(at, 0xcd, (uint16_t)value);
    }
    return value <= UINT32_MAX ? mmq_put_32(at, 0xce, (uint32_t)value)
                               : mmq_put_64(at, 0xcf, (uint64_t)value);
}

static inline uint8_t *mmq_put_double(uint8_t *at, double value)
{
    return mmq_put_64(at, 0xcb, mmq_bits_of(value));
}

#endif
