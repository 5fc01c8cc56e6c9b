/* Replays the corpus of the fuzzer of feedback's lines; it stands in for all around them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_feed
#include "tests/fuzz/fuzz_feed.c"

static void test_feed(void **unused)
{
    (void)unused;
    replay_corpus(fuzz_feed, "feed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_feed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
