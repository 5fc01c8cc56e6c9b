/* Replays the corpora of the fuzzers of texts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_json
#include "tests/fuzz/fuzz_json.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_cursor
#include "tests/fuzz/fuzz_cursor.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_calendar
#include "tests/fuzz/fuzz_calendar.c"

static void json(void **state)
{
    (void)state;
    replay_corpus(fuzz_json, "json");
}

static void cursor(void **state)
{
    (void)state;
    replay_corpus(fuzz_cursor, "cursor");
}

static void calendar(void **state)
{
    (void)state;
    replay_corpus(fuzz_calendar, "calendar");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json),
        cmocka_unit_test(cursor),
        cmocka_unit_test(calendar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
