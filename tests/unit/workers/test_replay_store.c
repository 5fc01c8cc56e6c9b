/* Replays the corpus of the fuzzer of blocks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_block
#include "tests/fuzz/fuzz_block.c"
#undef LLVMFuzzerTestOneInput

static void test_block(void **state)
{
    (void)state;
    replay_corpus(fuzz_block, "block");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_block)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
