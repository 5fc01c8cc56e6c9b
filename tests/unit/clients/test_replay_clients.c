/* Replays the corpora of the fuzzers of this side, so that what once crashed is tried by every
 * build. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define LLVMFuzzerTestOneInput fuzz_url
#include "tests/fuzz/fuzz_url.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_render
#include "tests/fuzz/fuzz_render.c"

typedef int fuzz_fn(const uint8_t *data, size_t size);

static void replay_file(fuzz_fn *fuzz, const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    static uint8_t data[1 << 20];
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    uint8_t *exact = malloc(size > 0 ? size : 1); /* so that ASan sees a byte too far */
    assert_non_null(exact);
    memcpy(exact, data, size);
    fuzz(exact, size);
    free(exact);
}

static void replay_corpus(fuzz_fn *fuzz, const char *name)
{
    char folder[4096], path[8192];
    size_t here = strlen(__FILE__) - strlen("unit/clients/test_replay_clients.c");
    snprintf(folder, sizeof folder, "%.*sfuzz/corpus/%s", (int)here, __FILE__, name);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int files = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            replay_file(fuzz, path);
            files++;
        }
    }
    closedir(dir);
    assert_true(files > 0);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url),
        cmocka_unit_test(test_render),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
