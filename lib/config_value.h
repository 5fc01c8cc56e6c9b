/* What the text of an option means. */
#ifndef MMQ_CONFIG_VALUE_H
#define MMQ_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/config.h"

typedef struct mmq_option_value {
    int64_t integer; /* INT; MS in milliseconds; BYTES; FLAG: 0 or 1 */
    double number;
} mmq_option_value;

/* False if text is not of the option's kind or out of its range. */
bool mmq_option_value_read(const mmq_option *option, const char *text, mmq_option_value *out);
/* What it must be, for people, e.g. "a whole number from 1 to 64". */
void mmq_option_value_wanted(const mmq_option *option, char *out, size_t size);

#endif
