/* Two ways, tried in turn.
 *
 * Clinger's ("How to read floating point numbers accurately", 1990): up to 2^53 digits are a double
 * as they are, and so is 10^22; the one multiplication or division of two such doubles rounds once.
 *
 * Eisel's and Lemire's ("Number parsing at a gigabyte per second", 2021): the digits, shifted up to
 * 64 bits, times the 128 leading bits of the power of ten. Our table is rounded up, so the true
 * product is the computed one or less than 2^64 below it. Of the 192 bits the 53 that a double has
 * and the one that rounds them are right unless all that follow, but for the last 64, are zeros:
 * only then can what the table lacks reach up to them, or the product be just between two doubles.
 * Where the table is exact these cases are told apart; elsewhere nothing is said. */
#include "lib/decimal.h"

#include <float.h>
#include <string.h>

#include "lib/pow10.h"

enum {
    FRACTION_BITS = 52,
    EXPONENT_BIAS = 1023,
    EXACT_DOUBLE_MAX = 22, /* 10^22 = 5^22 * 2^22, and 5^22 < 2^53 */
    EXACT_TABLE_MAX = 55,  /* 5^55 < 2^128 */
};

static const double exact_powers[EXACT_DOUBLE_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* The 192 bits of a product. */
typedef struct product {
    uint64_t high, middle, low;
} product;

static product multiply(mmq_pow10 power, uint64_t factor)
{
    unsigned __int128 low = (unsigned __int128)power.low * factor;
    unsigned __int128 high = (unsigned __int128)power.high * factor + (uint64_t)(low >> 64);
    return (product){(uint64_t)(high >> 64), (uint64_t)high, (uint64_t)low};
}

/* digits is above zero, exponent one of the table's. */
static bool multiply_and_round(mmq_decimal decimal, double *out)
{
    const int zeros = __builtin_clzll(decimal.digits);
    const product all =
        multiply(mmq_pow10_table[decimal.exponent - MMQ_POW10_FIRST], decimal.digits << zeros);
    const int top = (int)(all.high >> 63);
    const int below = 64 - (FRACTION_BITS + 2) - 1 + top; /* bits of high behind the rounding bit */
    const uint64_t doubled = all.high >> below;           /* 53 bits and the one that rounds */
    const bool exact = decimal.exponent >= 0 && decimal.exponent <= EXACT_TABLE_MAX;
    const bool rest = (all.high & ((UINT64_C(1) << below) - 1)) != 0 || all.middle != 0;
    if (!rest && !exact) {
        return false;
    }
    const bool tie = !rest && all.low == 0 && doubled % 4 == 1; /* and even below: stays */
    const uint64_t significand = (doubled + !tie) >> 1;
    const int exponent = 63 + top - zeros + mmq_pow10_log2(decimal.exponent);
    /* the leading bit counts one exponent up; so does a carry out of the rounding */
    const uint64_t bits = ((uint64_t)(exponent + EXPONENT_BIAS - 1) << FRACTION_BITS) + significand;
    memcpy(out, &bits, sizeof bits);
    return exponent <= EXPONENT_BIAS && *out <= DBL_MAX;
}

bool mmq_decimal_to_double(mmq_decimal decimal, double *out)
{
    if (decimal.digits == 0) {
        *out = 0;
        return true;
    }
    if (FLT_EVAL_METHOD == 0 && decimal.digits <= UINT64_C(1) << (FRACTION_BITS + 1) &&
        decimal.exponent >= -EXACT_DOUBLE_MAX && decimal.exponent <= EXACT_DOUBLE_MAX) {
        const double digits = (double)decimal.digits;
        *out = decimal.exponent < 0 ? digits / exact_powers[-decimal.exponent]
                                    : digits * exact_powers[decimal.exponent];
        return true;
    }
    return decimal.exponent >= MMQ_POW10_FIRST && decimal.exponent <= MMQ_POW10_LAST &&
           multiply_and_round(decimal, out);
}
