/* Replays the corpora of the fuzzers of files that people give, and of feedback. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_csv
#include "tests/fuzz/fuzz_csv.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_config
#include "tests/fuzz/fuzz_config.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_feedback
#include "tests/fuzz/fuzz_feedback.c"
#undef LLVMFuzzerTestOneInput

static void test_csv(void **state)
{
    (void)state;
    replay_corpus(fuzz_csv, "csv");
}

static void test_config(void **state)
{
    (void)state;
    replay_corpus(fuzz_config, "config");
}

static void test_feedback(void **state)
{
    (void)state;
    replay_corpus(fuzz_feedback, "feedback");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_feedback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
