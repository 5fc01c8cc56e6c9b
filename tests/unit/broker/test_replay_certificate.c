/* Replays the corpus of the certificates' fuzzer, so that what once crashed is tried by every
 * build.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_certificate
#include "tests/fuzz/fuzz_certificate.c"

static void test_certificate(void **state)
{
    (void)state;
    replay_corpus(fuzz_certificate, "certificate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_certificate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
