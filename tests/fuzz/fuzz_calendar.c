/* Any bytes as a time, a number and an integer, and as a double's pattern: what is read prints as
 * something that reads the same. */
#include <math.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/check.h"
#include "lib/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_time(const char *text, size_t size)
{
    int64_t strict, loose;
    char printed[MMQ_TIME_TEXT];
    if (mmq_time_parse(text, size, &strict)) {
        mmq_time_print(strict, printed);
        CHECK(size == MMQ_TIME_TEXT && memcmp(text, printed, size) == 0);
        CHECK(mmq_time_parse_loose(text, size, &loose) && loose == strict);
    }
    if (mmq_time_parse_loose(text, size, &loose)) {
        mmq_time_print(loose, printed);
        CHECK(mmq_time_parse(printed, sizeof printed, &strict) && strict == loose);
    }
}

static void fuzz_double(double value)
{
    char printed[MMQ_NUMBER_MAX];
    double back;
    size_t size = mmq_number_print(value, printed);
    CHECK(size > 0 && size <= sizeof printed);
    CHECK(mmq_number_parse(printed, size, &back) && back == value);
    CHECK(value != 0 || !signbit(back) == !signbit(value));
}

static void fuzz_integer(const char *text, size_t size)
{
    int64_t value, back;
    char printed[MMQ_INTEGER_MAX];
    if (!mmq_integer_parse(text, size, &value)) {
        return;
    }
    size_t printed_size = mmq_integer_print(value, printed);
    CHECK(mmq_integer_parse(printed, printed_size, &back) && back == value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double value;
    fuzz_time((const char *)data, size);
    fuzz_integer((const char *)data, size);
    if (mmq_number_parse((const char *)data, size, &value)) {
        fuzz_double(value);
    }
    if (size >= sizeof value) {
        memcpy(&value, data, sizeof value);
        if (isfinite(value)) {
            fuzz_double(value);
        }
    }
    return 0;
}
