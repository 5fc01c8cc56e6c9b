/* Replays the corpora of the fuzzers of this side, so that what once crashed is tried by every
 * build. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_url
#include "tests/fuzz/fuzz_url.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_render
#include "tests/fuzz/fuzz_render.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_models_body
#include "tests/fuzz/fuzz_models_body.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_negotiate
#include "tests/fuzz/fuzz_negotiate.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_http_access
#include "tests/fuzz/fuzz_http_access.c"

static void test_url(void **state)
{
    (void)state;
    replay_corpus(fuzz_url, "url");
}

static void test_render(void **state)
{
    (void)state;
    replay_corpus(fuzz_render, "render");
}

static void test_negotiate(void **state)
{
    (void)state;
    replay_corpus(fuzz_negotiate, "negotiate");
}

static void test_models_body(void **state)
{
    (void)state;
    replay_corpus(fuzz_models_body, "models_body");
}

static void test_http_access(void **state)
{
    (void)state;
    replay_corpus(fuzz_http_access, "http_access");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url),         cmocka_unit_test(test_render),
        cmocka_unit_test(test_models_body), cmocka_unit_test(test_negotiate),
        cmocka_unit_test(test_http_access),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
