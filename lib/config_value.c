/* Kinds of options: reading their texts and saying what they must be. */
#include "lib/config_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/number.h"

typedef struct unit {
    const char *suffix;
    int64_t factor;
} unit;

static const unit time_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"", 1}};
static const unit byte_units[] = {{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"", 1}};

static bool read_integer(const mmq_option *option, const char *text, size_t size, int64_t factor,
                         int64_t *out)
{
    int64_t value;
    if (!mmq_integer_parse(text, size, &value) || __builtin_mul_overflow(value, factor, &value)) {
        return false;
    }
    *out = value;
    return value >= option->least && value <= option->most;
}

/* units ends with the empty suffix, which every text has */
static bool read_quantity(const mmq_option *option, const char *text, const unit *units,
                          int64_t *out)
{
    size_t size = strlen(text);
    for (;; units++) {
        size_t suffix = strlen(units->suffix);
        if (suffix <= size && strcmp(text + size - suffix, units->suffix) == 0) {
            return read_integer(option, text, size - suffix, units->factor, out);
        }
    }
}

static bool read_flag(const char *text, int64_t *out)
{
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t size = strlen(text);
    while (*choices) {
        const char *end = strchrnul(choices, '|');
        if (size == (size_t)(end - choices) && memcmp(choices, text, size) == 0) {
            return true;
        }
        choices = *end ? end + 1 : end;
    }
    return false;
}

bool mmq_option_value_read(const mmq_option *option, const char *text, mmq_option_value *out)
{
    *out = (mmq_option_value){0};
    switch (option->kind) {
    case MMQ_OPTION_INT:
        return read_integer(option, text, strlen(text), 1, &out->integer);
    case MMQ_OPTION_NUMBER:
        return mmq_number_parse(text, strlen(text), &out->number);
    case MMQ_OPTION_MS:
        return read_quantity(option, text, time_units, &out->integer);
    case MMQ_OPTION_BYTES:
        return read_quantity(option, text, byte_units, &out->integer);
    case MMQ_OPTION_FLAG:
        return read_flag(text, &out->integer);
    case MMQ_OPTION_CHOICE:
        return is_choice(option->choices, text);
    case MMQ_OPTION_TEXT:
    case MMQ_OPTION_LIST:
        break;
    }
    return true;
}

static void describe_range(const mmq_option *option, const char *what, const char *unit_name,
                           char *out, size_t size)
{
    if (option->most == INT64_MAX) {
        snprintf(out, size, "%s at least %" PRId64 "%s", what, option->least, unit_name);
    } else {
        snprintf(out, size, "%s from %" PRId64 " to %" PRId64 "%s", what, option->least,
                 option->most, unit_name);
    }
}

void mmq_option_value_wanted(const mmq_option *option, char *out, size_t size)
{
    switch (option->kind) {
    case MMQ_OPTION_INT:
        describe_range(option, "a whole number", "", out, size);
        break;
    case MMQ_OPTION_NUMBER:
        snprintf(out, size, "a number");
        break;
    case MMQ_OPTION_MS:
        describe_range(option, "a time such as 500ms, 10s or 5m,", " ms", out, size);
        break;
    case MMQ_OPTION_BYTES:
        describe_range(option, "a size such as 64K, 8M or 1G,", " bytes", out, size);
        break;
    case MMQ_OPTION_FLAG:
        snprintf(out, size, "true or false");
        break;
    case MMQ_OPTION_CHOICE:
        snprintf(out, size, "one of %s", option->choices);
        break;
    case MMQ_OPTION_TEXT:
    case MMQ_OPTION_LIST:
        snprintf(out, size, "a text");
        break;
    }
}
