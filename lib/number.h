/* Doubles as text: the shortest decimal that reads back to the same double, in the form of
 * Python's repr, but whole numbers without ".0" ("222", "1e+16", "-0.0", "0.025", "5e-324"). */
#ifndef MMQ_NUMBER_H
#define MMQ_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MMQ_NUMBER_TEXT = 24, /* bytes of a number at most */
    MMQ_NUMBER_MAX = 40,  /* room that it wants */
    MMQ_INTEGER_MAX = 20,
};

/* Both write without NUL and return the bytes of the text; all of the room may be written to. value
 * must be finite. */
size_t mmq_number_print(double value, char out[MMQ_NUMBER_MAX]);
size_t mmq_integer_print(int64_t value, char out[MMQ_INTEGER_MAX]);

/* Whole text as a finite double (correctly rounded): JSON's number grammar plus a leading '+',
 * ".5" and "5."; no hex, inf, nan, spaces. */
bool mmq_number_parse(const char *text, size_t size, double *out);
/* Whole text as a decimal integer that fits: optional '-', digits. */
bool mmq_integer_parse(const char *text, size_t size, int64_t *out);

#endif
