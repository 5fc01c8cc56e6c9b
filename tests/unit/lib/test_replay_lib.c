/* Replays the corpora of the wire's fuzzers, so that what once crashed is tried by every build. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_unpack
#include "tests/fuzz/fuzz_unpack.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_envelope
#include "tests/fuzz/fuzz_envelope.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_rows
#include "tests/fuzz/fuzz_rows.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_fields
#include "tests/fuzz/fuzz_fields.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_endpoints
#include "tests/fuzz/fuzz_endpoints.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_log
#include "tests/fuzz/fuzz_log.c"

static void test_unpack(void **state)
{
    (void)state;
    replay_corpus(fuzz_unpack, "unpack");
}

static void test_envelope(void **state)
{
    (void)state;
    replay_corpus(fuzz_envelope, "envelope");
}

static void test_rows(void **state)
{
    (void)state;
    replay_corpus(fuzz_rows, "rows");
}

static void test_fields(void **state)
{
    (void)state;
    replay_corpus(fuzz_fields, "fields");
}

static void test_endpoints(void **state)
{
    (void)state;
    replay_corpus(fuzz_endpoints, "endpoints");
}

static void test_log(void **state)
{
    (void)state;
    replay_corpus(fuzz_log, "log");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack),    cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_fields),
        cmocka_unit_test(test_endpoints), cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
