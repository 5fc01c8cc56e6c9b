/* Replays the lives of brokers that the fuzzer of the core has in its corpus. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_broker
#include "tests/fuzz/fuzz_broker.c"
#undef LLVMFuzzerTestOneInput

static void test_broker(void **state)
{
    (void)state;
    replay_corpus(fuzz_broker, "broker");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
