/* Replays the corpora of the fuzzers of what the s3:// target reads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_s3_xml
#include "tests/fuzz/fuzz_s3_xml.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_s3_keys
#include "tests/fuzz/fuzz_s3_keys.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_s3_text
#include "tests/fuzz/fuzz_s3_text.c"
#undef LLVMFuzzerTestOneInput

static void test_xml(void **state)
{
    (void)state;
    replay_corpus(fuzz_s3_xml, "s3_xml");
}

static void test_keys(void **state)
{
    (void)state;
    replay_corpus(fuzz_s3_keys, "s3_keys");
}

static void test_text(void **state)
{
    (void)state;
    replay_corpus(fuzz_s3_text, "s3_text");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
