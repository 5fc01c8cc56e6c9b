/* Decimals of up to 15 digits, which is what people measure, are found by one multiplication and
 * proved by one division (try_short). For all others the algorithm is Raffaello Giulietti's
 * Schubfach ("The Schubfach way to render doubles", 2020).
 *
 * A double c * 2^q stands for all reals between the midpoints to its neighbours. With the power of
 * ten 10^k just below that interval's width, the interval holds at least one multiple of 10^k and
 * at most one of 10^(k+1): the pigeonholes ("Schubfach") of which we take the one that is occupied.
 *
 * Everything is counted in quarters of 10^k, so that the value, 4c, and its midpoints, 4c - 2 (or
 * 4c - 1 below a power of two) and 4c + 2, are whole before they are scaled by 2^q / 10^k. The
 * scaling multiplies by a 128-bit power of ten that is rounded up; what it loses cannot change a
 * comparison with a whole number as long as the last bit remembers that something was lost
 * (rounding to odd). */
#include "lib/shortest.h"

#include <stdbool.h>
#include <string.h>

#include "lib/bits.h"
#include "lib/pow10.h"

enum {
    FRACTION_BITS = 52,
    EXPONENT_BIAS = 1075, /* of a double whose fraction counts as a whole number */
    EXPONENT_MASK = 0x7ff,
    DIGITS = 17,
    SHORT_DIGITS = 15,
    EXACT_TENS = 22, /* up to 10^22 a double is exact */
    ONE_EXPONENT = 1023,
};

static const double exact_tens[EXACT_TENS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#define LEAST_DIGITS UINT64_C(10000000000000000) /* the least number that has 17 digits */

/* floor(log10(2^q)), or of 3/4 * 2^q; exact for all q of doubles. */
static int floor_log10(int q, bool three_quarters)
{
    return (q * 1262611 - (three_quarters ? 524031 : 0)) >> 22;
}

/* floor(power * factor / 2^128), with the last bit set if that was not all. */
static uint64_t scale_to_odd(mmq_pow10 power, uint64_t factor)
{
    unsigned __int128 low = (unsigned __int128)power.low * factor;
    unsigned __int128 high = (unsigned __int128)power.high * factor + (uint64_t)(low >> 64);
    bool inexact = (uint64_t)high > 1; /* 1 is what the table's rounding up may add */
    return (uint64_t)(high >> 64) | inexact;
}

/* In quarters of 10^exponent: the value and the bounds within which a decimal reads back. */
typedef struct interval {
    uint64_t lower, value, upper;
    int exponent;
} interval;

static interval make_interval(double value)
{
    const uint64_t bits = mmq_bits_of(value);
    const uint64_t fraction = bits & ((UINT64_C(1) << FRACTION_BITS) - 1);
    const int biased = (int)(bits >> FRACTION_BITS) & EXPONENT_MASK;
    const bool normal = biased != 0;
    const uint64_t c = normal ? fraction | UINT64_C(1) << FRACTION_BITS : fraction;
    const int q = (normal ? biased : 1) - EXPONENT_BIAS;
    const bool power_of_two = fraction == 0 && biased > 1; /* its lower neighbour is nearer */
    const bool open = c % 2 != 0; /* reading rounds a midpoint to even: not to us */
    const int k = floor_log10(q, power_of_two);
    const int shift = q + mmq_pow10_log2(-k) + 1;
    const mmq_pow10 power = mmq_pow10_table[-k - MMQ_POW10_FIRST];
    const uint64_t middle = (4 * c) << shift, half = UINT64_C(2) << shift;
    return (interval){
        .lower = scale_to_odd(power, middle - (power_of_two ? half / 2 : half)) + open,
        .value = scale_to_odd(power, middle),
        .upper = scale_to_odd(power, middle + half) - open,
        .exponent = k,
    };
}

static bool holds(const interval *within, uint64_t quarters)
{
    return (within->lower <= quarters) & (quarters <= within->upper);
}

/* As a ? b : c, which compilers make branches of; these here could not be foretold. */
static uint64_t choose(bool a, uint64_t b, uint64_t c)
{
    return c ^ ((b ^ c) & -(uint64_t)a);
}

/* In units of 10^exponent. */
static uint64_t pick_digits(const interval *within)
{
    const uint64_t floor = within->value / 4, tens = floor - floor % 10;
    /* one digit less: at most one of the two neighbours is inside */
    const bool tens_low = holds(within, 4 * tens), tens_high = holds(within, 4 * tens + 40);
    const bool low = holds(within, 4 * floor), high = holds(within, 4 * floor + 4);
    /* if both are inside: the nearer one, at the same distance the even one */
    const uint64_t middle = 4 * floor + 2;
    const bool nearer = (within->value > middle) | ((within->value == middle) & (floor % 2 != 0));
    const uint64_t longer = floor + choose(low != high, high, nearer);
    return choose((tens > 0) & (tens_low != tens_high), tens + 10 * tens_high, longer);
}

/* digits is above zero. Only those of subnormals lack more than one. */
static mmq_shortest fill_up(uint64_t digits, int exponent)
{
    const bool lacks = digits < LEAST_DIGITS;
    digits = choose(lacks, 10 * digits, digits);
    exponent -= lacks;
    while (digits < LEAST_DIGITS) {
        digits *= 10;
        exponent--;
    }
    return (mmq_shortest){digits, exponent + DIGITS};
}

/* What people measure has few digits. value * 10^exponent, rounded, is a whole number of 14 or 15
 * digits, and if that divided by 10^exponent, both of which doubles hold exactly, gives value
 * again, it is how value reads; and since no two decimals of up to 15 digits read as the same
 * double, it is the only one so short. */
static bool try_short(double value, mmq_shortest *out)
{
    const uint64_t bits = mmq_bits_of(value);
    const int log2 = (int)(bits >> FRACTION_BITS) - ONE_EXPONENT + 1; /* value is below 2^log2 */
    const int exponent = SHORT_DIGITS - 1 - floor_log10(log2, false);
    if (exponent < 0 || exponent > EXACT_TENS) {
        return false;
    }
    const double ten = exact_tens[exponent];
    const int64_t digits = (int64_t)(value * ten + 0.5);
    if ((double)digits / ten != value) {
        return false;
    }
    *out = fill_up(100 * (uint64_t)digits, -exponent - 2);
    return true;
}

mmq_shortest mmq_shortest_decimal(double value)
{
    mmq_shortest decimal;
    if (try_short(value, &decimal)) {
        return decimal;
    }
    const interval within = make_interval(value);
    return fill_up(pick_digits(&within), within.exponent);
}
