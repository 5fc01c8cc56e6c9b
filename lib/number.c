/* Doubles as text. The digits are the shortest that read back to the same double; how they are
 * laid out is Python's repr, but for whole numbers. Text is made in words of eight digits, stored
 * whole: what is beyond the number's end is written over by what comes next. Reading takes the text
 * apart and rounds by lib/decimal.c; the few texts that it leaves undecided, and long ones, go to
 * strtod, which is exact but takes far more than our grammar. */
#include "lib/number.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/decimal.h"
#include "lib/digits.h"
#include "lib/shortest.h"

enum { TEN_TO_8 = 100000000, THOUSAND = 1000 };

#define WHOLE_MAX 9007199254740992.0 /* 2^53: below, a whole number has its own digits */

/* Eight digits; returns their end. */
static char *put_eight(char *at, uint32_t number)
{
    mmq_digits_store(at, mmq_digits_of(number) + MMQ_DIGITS_ASCII);
    return at + 8;
}

/* Without zeros in front. Writes eight bytes whatever it returns. */
static char *put_first(char *at, uint32_t number)
{
    const uint64_t digits = mmq_digits_of(number);
    const int zeros = __builtin_ctzll(digits | UINT64_C(1) << 56) / 8; /* of 0 one stays */
    mmq_digits_store(at, (digits + MMQ_DIGITS_ASCII) >> 8 * zeros);
    return at + 8 - zeros;
}

static char *put_unsigned(char *at, uint64_t number)
{
    if (number < TEN_TO_8) {
        return put_first(at, (uint32_t)number);
    }
    const uint64_t high = number / TEN_TO_8;
    if (high < TEN_TO_8) {
        at = put_first(at, (uint32_t)high);
    } else {
        at = put_first(at, (uint32_t)(high / TEN_TO_8));
        at = put_eight(at, (uint32_t)(high % TEN_TO_8));
    }
    return put_eight(at, (uint32_t)(number % TEN_TO_8));
}

/* 0.FTTTTTTTTTTTTTTTT * 10^point: 17 digits as text, of which `count` are not zeros at the end. */
typedef struct layout {
    char first;
    uint64_t rest[2];
    int count;
    int point;
} layout;

static layout make_layout(mmq_shortest decimal)
{
    const uint32_t nine = (uint32_t)(decimal.digits / TEN_TO_8);
    const uint32_t low = (uint32_t)(decimal.digits - (uint64_t)nine * TEN_TO_8);
    const uint32_t first = nine / TEN_TO_8;
    const uint64_t digits[] = {mmq_digits_of(nine - first * TEN_TO_8),
                               low != 0 ? mmq_digits_of(low) : 0};
    layout made = {.first = (char)('0' + first), .count = 1, .point = decimal.point};
    made.rest[0] = digits[0] + MMQ_DIGITS_ASCII;
    made.rest[1] = digits[1] + MMQ_DIGITS_ASCII;
    if (digits[1] != 0) {
        made.count = 17 - __builtin_clzll(digits[1]) / 8;
    } else if (digits[0] != 0) {
        made.count = 9 - __builtin_clzll(digits[0]) / 8;
    }
    return made;
}

/* The 16 digits after the first, without the first `skipped` of them, 15 at most. Writes 16 bytes.
 */
__attribute__((always_inline)) static inline void put_rest(char *at, const layout *number,
                                                           int skipped)
{
    const bool far = skipped >= 8;
    const uint64_t low = far ? number->rest[1] : number->rest[0], high = far ? 0 : number->rest[1];
    const int shift = 8 * (skipped % 8);
    mmq_digits_store(at, low >> shift | high << 1 << (63 - shift));
    mmq_digits_store(at + 8, high >> shift);
}

static char *put_exponent(char *at, int exponent)
{
    *at++ = 'e';
    *at++ = exponent < 0 ? '-' : '+';
    exponent = abs(exponent);
    if (exponent >= 100) {
        *at++ = (char)('0' + exponent / 100);
    }
    *at++ = (char)('0' + exponent / 10 % 10);
    *at++ = (char)('0' + exponent % 10);
    return at;
}

static char *put_scientific(char *at, const layout *number)
{
    at[0] = number->first;
    at[1] = '.';
    put_rest(at + 2, number, 0);
    at += number->count > 1 ? number->count + 1 : 1;
    return put_exponent(at, number->point - 1);
}

/* Below 1: point is 0 to -3. */
static char *put_fraction(char *at, const layout *number)
{
    memcpy(at, "0.000", 5);
    at += 2 - number->point;
    at[0] = number->first;
    put_rest(at + 1, number, 0);
    return at + number->count;
}

/* point is 1 to 16; what comes behind it is written a second time, a byte later. */
static char *put_positional(char *at, const layout *number)
{
    at[0] = number->first;
    put_rest(at + 1, number, 0);
    if (number->count <= number->point) {
        return at + number->point;
    }
    at[number->point] = '.';
    put_rest(at + number->point + 1, number, number->point - 1);
    return at + number->count + 1;
}

/* What people measure most has up to three decimals. value * 1000, rounded, is then a whole number
 * that divided by 1000 gives value again; with up to 11 digits it is how value reads (shortest.c
 * says why). False if it is not so. */
static bool put_thousandths(char **at, double value)
{
    const uint64_t number = (uint64_t)(int64_t)(value * THOUSAND + 0.5);
    if ((double)(int64_t)number / THOUSAND != value) {
        return false;
    }
    const uint32_t whole = (uint32_t)(number / THOUSAND);
    const uint32_t part = (uint32_t)(number - (uint64_t)whole * THOUSAND);
    const uint32_t tens = part / 10, hundreds = part / 100;
    char *end = put_first(*at, whole);
    end[0] = '.';
    end[1] = (char)('0' + hundreds);
    end[2] = (char)('0' + tens - 10 * hundreds);
    end[3] = (char)('0' + part - 10 * tens);
    *at = end + 4 - (part == 10 * tens) - (part == 100 * hundreds);
    return true;
}

/* value is above zero */
static char *put_positive(char *at, double value)
{
    if (value < WHOLE_MAX && value == (double)(int64_t)value) {
        return put_unsigned(at, (uint64_t)value);
    }
    if (value < TEN_TO_8 && put_thousandths(&at, value)) {
        return at;
    }
    const layout number = make_layout(mmq_shortest_decimal(value));
    if (number.point < -3 || number.point > 16) {
        return put_scientific(at, &number);
    }
    return number.point <= 0 ? put_fraction(at, &number) : put_positional(at, &number);
}

size_t mmq_number_print(double value, char out[MMQ_NUMBER_MAX])
{
    CHECK(isfinite(value));
    const bool negative = signbit(value) != 0;
    if (value == 0) {
        memcpy(out, negative ? "-0.0" : "0...", 4);
        return negative ? 4 : 1;
    }
    *out = '-'; /* written over if it is not */
    return (size_t)(put_positive(out + negative, fabs(value)) - out);
}

size_t mmq_integer_print(int64_t value, char out[MMQ_INTEGER_MAX])
{
    char *at = out;
    if (value < 0) {
        *at++ = '-';
    }
    at = put_unsigned(at, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    return (size_t)(at - out);
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

static const char *skip_sign(const char *at, const char *end)
{
    return at < end && (*at == '+' || *at == '-') ? at + 1 : at;
}

/* Eight digits at once, the first in the lowest byte: neighbours are joined to pairs, these to
 * fours, these to one. False if one is no digit. */
static bool read_eight(const char *at, uint64_t *out)
{
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    bytes = le64toh(bytes) ^ UINT64_C(0x3030303030303030);
    if (((bytes + UINT64_C(0x7676767676767676)) | bytes) & UINT64_C(0x8080808080808080)) {
        return false;
    }
    bytes = (bytes * 10 + (bytes >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    bytes = (bytes * 100 + (bytes >> 16)) & UINT64_C(0x0000ffff0000ffff);
    *out = (bytes * 10000 + (bytes >> 32)) & UINT64_C(0xffffffff);
    return true;
}

/* Appends the digits at `at` to *number, which overflows silently; returns where they end. */
static const char *take_digits(const char *at, const char *end, uint64_t *number)
{
    uint64_t eight;
    while (end - at >= 8 && read_eight(at, &eight)) {
        *number = *number * 100000000 + eight;
        at += 8;
    }
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        *number = *number * 10 + (uint64_t)(*at - '0');
    }
    return at;
}

/* A number's text taken apart: digits * 10^(exponent - length of the fraction). */
typedef struct parts {
    bool negative;
    const char *whole, *whole_end;
    const char *fraction, *fraction_end;
    uint64_t digits; /* of both; right if they are at most DIGITS_FIT */
    int exponent;    /* cut off behind EXPONENT_CUT, where a short text has no finite value but 0 */
} parts;

enum {
    DIGITS_FIT = 19, /* in 64 bits */
    EXPONENT_CUT = 100000,
    TEXT_SHORT = 127, /* bytes */
};

/* The exponent of a text from its e on; at `end` there is none. */
static bool take_exponent(const char *at, const char *end, int *out)
{
    *out = 0;
    if (at == end) {
        return true;
    }
    const char *first = skip_sign(at + 1, end);
    bool negative = first - at == 2 && at[1] == '-';
    if ((*at != 'e' && *at != 'E') || first == end || skip_digits(first, end) != end) {
        return false;
    }
    for (at = first; at < end && *out < EXPONENT_CUT; at++) {
        *out = *out * 10 + (*at - '0');
    }
    *out = negative ? -*out : *out;
    return true;
}

/* False if the text is no number. */
static bool take_apart(const char *text, const char *end, parts *out)
{
    out->negative = text < end && *text == '-';
    out->digits = 0;
    out->whole = skip_sign(text, end);
    const char *at = out->whole_end = take_digits(out->whole, end, &out->digits);
    if (at - out->whole > 1 && *out->whole == '0') {
        return false;
    }
    out->fraction = out->fraction_end = at;
    if (at < end && *at == '.') {
        out->fraction = at + 1;
        at = out->fraction_end = take_digits(out->fraction, end, &out->digits);
    }
    return (out->whole < out->whole_end || out->fraction < out->fraction_end) &&
           take_exponent(at, end, &out->exponent);
}

/* Takes the first digits that count for one number and counts those that follow in *dropped. */
static mmq_decimal cut_digits(const parts *of, int *dropped)
{
    mmq_decimal decimal = {0, of->exponent};
    const char *const runs[2][2] = {{of->whole, of->whole_end}, {of->fraction, of->fraction_end}};
    int count = 0;
    *dropped = 0;
    for (int run = 0; run < 2; run++) {
        for (const char *at = runs[run][0]; at < runs[run][1]; at++) {
            const bool taken = count < DIGITS_FIT;
            if (taken) {
                decimal.digits = decimal.digits * 10 + (uint64_t)(*at - '0');
                count += decimal.digits > 0;
            }
            *dropped += !taken;
            decimal.exponent += (run == 0 ? !taken : 0) - (run == 1 ? taken : 0);
        }
    }
    return decimal;
}

/* False if it must be done another way. Digits that were dropped lie between none and one of the
 * last that was taken. */
static bool round_parts(const parts *of, double *out)
{
    const ptrdiff_t fraction = of->fraction_end - of->fraction;
    if (of->whole_end - of->whole + fraction <= DIGITS_FIT) {
        return mmq_decimal_to_double((mmq_decimal){of->digits, of->exponent - (int)fraction}, out);
    }
    int dropped;
    double above;
    mmq_decimal decimal = cut_digits(of, &dropped);
    if (!mmq_decimal_to_double(decimal, out)) {
        return false;
    }
    decimal.digits++;
    return dropped == 0 || (mmq_decimal_to_double(decimal, &above) && *out == above);
}

/* The long way: exact, for any text. False if there is no memory or the value is not finite. */
static bool round_text(const char *text, size_t size, double *out)
{
    char stack[TEXT_SHORT + 1], *copy = stack; /* strtod wants a NUL */
    if (size > TEXT_SHORT && !(copy = malloc(size + 1))) {
        return false;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    double value = strtod(copy, NULL);
    if (copy != stack) {
        free(copy);
    }
    if (!isfinite(value)) {
        return false;
    }
    *out = value;
    return true;
}

bool mmq_number_parse(const char *text, size_t size, double *out)
{
    parts number;
    double value;
    if (!take_apart(text, text + size, &number)) {
        return false;
    }
    if (size > TEXT_SHORT || !round_parts(&number, &value)) {
        return round_text(text, size, out);
    }
    *out = number.negative ? -value : value;
    return true;
}

bool mmq_integer_parse(const char *text, size_t size, int64_t *out)
{
    const char *at = text, *end = text + size;
    bool negative = size > 0 && *at == '-';
    int64_t value = 0;
    if (negative) {
        at++;
    }
    if (at == end || skip_digits(at, end) != end) {
        return false;
    }
    for (; at < end; at++) { /* downwards, since INT64_MIN has no positive */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, *at - '0', &value)) {
            return false;
        }
    }
    if (!negative && value == INT64_MIN) {
        return false;
    }
    *out = negative ? value : -value;
    return true;
}
