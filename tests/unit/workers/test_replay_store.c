/* Replays the corpora of the fuzzers of blocks, of store files, of writes and of the spool. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_block
#include "tests/fuzz/fuzz_block.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_manifest
#include "tests/fuzz/fuzz_manifest.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_store
#include "tests/fuzz/fuzz_store.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_write
#include "tests/fuzz/fuzz_write.c"
#undef LLVMFuzzerTestOneInput

static void test_block(void **state)
{
    (void)state;
    replay_corpus(fuzz_block, "block");
}

static void test_manifest(void **state)
{
    (void)state;
    replay_corpus(fuzz_manifest, "manifest");
}

static void test_store(void **state)
{
    (void)state;
    replay_corpus(fuzz_store, "store");
}

static void test_write(void **state)
{
    (void)state;
    replay_corpus(fuzz_write, "write");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
