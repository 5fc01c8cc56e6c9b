/* Doubles as text. The digits are the shortest that read back to the same double; how they are
 * laid out is Python's repr, but for whole numbers. Reading takes the text apart and rounds by
 * lib/decimal.c; the few texts that it leaves undecided, and long ones, go to strtod, which is
 * exact but takes far more than our grammar. */
#include "lib/number.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/decimal.h"
#include "lib/shortest.h"

#define WHOLE_MAX 9007199254740992.0 /* 2^53: below, a whole number has its own digits */

/* The digits of 00 to 99, two by two. */
static const char pairs[] = "0001020304050607080910111213141516171819"
                            "2021222324252627282930313233343536373839"
                            "4041424344454647484950515253545556575859"
                            "6061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

/* Writes number's digits so that they end before `end`; returns where they begin. */
static char *put_unsigned_before(char *end, uint64_t number)
{
    char *at = end;
    for (; number >= 100; number /= 100) {
        memcpy(at -= 2, pairs + 2 * (number % 100), 2);
    }
    if (number >= 10) {
        memcpy(at -= 2, pairs + 2 * number, 2);
    } else {
        *--at = (char)('0' + number);
    }
    return at;
}

/* 0.DIGITS * 10^point */
typedef struct layout {
    const char *digits;
    int count;
    int point;
} layout;

static char *put_zeros(char *at, int count)
{
    memset(at, '0', (size_t)count);
    return at + count;
}

static char *put_digits(char *at, const char *digits, int count)
{
    memcpy(at, digits, (size_t)count);
    return at + count;
}

static char *put_scientific(char *at, const layout *number)
{
    int exponent = number->point - 1;
    *at++ = number->digits[0];
    if (number->count > 1) {
        *at++ = '.';
        at = put_digits(at, number->digits + 1, number->count - 1);
    }
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

static char *put_positional(char *at, const layout *number)
{
    if (number->point <= 0) {
        at = put_digits(at, "0.", 2);
        at = put_zeros(at, -number->point);
        return put_digits(at, number->digits, number->count);
    }
    if (number->count <= number->point) {
        at = put_digits(at, number->digits, number->count);
        return put_zeros(at, number->point - number->count);
    }
    at = put_digits(at, number->digits, number->point);
    *at++ = '.';
    return put_digits(at, number->digits + number->point, number->count - number->point);
}

/* value is above zero */
static char *put_positive(char *at, double value)
{
    char digits[MMQ_INTEGER_MAX];
    char *end = digits + sizeof digits;
    if (value < WHOLE_MAX && value == trunc(value)) {
        const char *first = put_unsigned_before(end, (uint64_t)value);
        return put_digits(at, first, (int)(end - first));
    }
    mmq_decimal decimal = mmq_shortest_decimal(value);
    const char *first = put_unsigned_before(end, decimal.digits);
    const int count = (int)(end - first);
    const layout number = {.digits = first, .count = count, .point = decimal.exponent + count};
    bool scientific = number.point < -3 || number.point > 16;
    return scientific ? put_scientific(at, &number) : put_positional(at, &number);
}

size_t mmq_number_print(double value, char out[MMQ_NUMBER_MAX])
{
    CHECK(isfinite(value));
    char *at = out;
    if (value < 0) {
        *at++ = '-';
    }
    if (value == 0) {
        at = signbit(value) ? put_digits(at, "-0.0", 4) : put_digits(at, "0", 1);
    } else {
        at = put_positive(at, fabs(value));
    }
    return (size_t)(at - out);
}

size_t mmq_integer_print(int64_t value, char out[MMQ_INTEGER_MAX])
{
    char text[MMQ_INTEGER_MAX];
    char *end = text + sizeof text;
    char *at = put_unsigned_before(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (value < 0) {
        *--at = '-';
    }
    size_t size = (size_t)(end - at);
    memcpy(out, at, size);
    return size;
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
