/* Doubles as text. The digits are the shortest that read back to the same double; how they are
 * laid out is Python's repr, but for whole numbers. Reading leaves the rounding to strtod, which
 * is exact; the grammar is checked first, since strtod takes far more than we do. */
#include "lib/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
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

static bool is_number(const char *text, size_t size)
{
    const char *end = text + size, *whole = skip_sign(text, end), *at = skip_digits(whole, end);
    ptrdiff_t digits = at - whole;
    if (digits > 1 && *whole == '0') {
        return false;
    }
    if (at < end && *at == '.') {
        const char *fraction = at + 1;
        at = skip_digits(fraction, end);
        digits += at - fraction;
    }
    if (digits == 0) {
        return false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *exponent = skip_sign(at + 1, end);
        at = skip_digits(exponent, end);
        if (at == exponent) {
            return false;
        }
    }
    return at == end;
}

bool mmq_number_parse(const char *text, size_t size, double *out)
{
    char stack[128], *copy = stack; /* strtod wants a NUL */
    if (!is_number(text, size)) {
        return false;
    }
    if (size >= sizeof stack && !(copy = malloc(size + 1))) {
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
