/* Replaying a fuzzer's corpus in a unit test, so that what once crashed is tried by every build. */
#ifndef MMQ_FUZZ_REPLAY_H
#define MMQ_FUZZ_REPLAY_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int fuzz_fn(const uint8_t *data, size_t size);

static inline void replay_file(fuzz_fn *fuzz, const char *path)
{
    enum { CASE_MAX = 1 << 20 };
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *data = malloc(CASE_MAX);
    assert_non_null(data);
    size_t size = fread(data, 1, CASE_MAX, file);
    fclose(file);
    uint8_t *exact = realloc(data, size > 0 ? size : 1); /* so that ASan sees a byte too far */
    assert_non_null(exact);
    fuzz(exact, size);
    free(exact);
}

static inline void replay_corpus(fuzz_fn *fuzz, const char *name)
{
    char folder[4096], path[8192];
    snprintf(folder, sizeof folder, "%s/fuzz/corpus/%s", MMQ_TESTS, name);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int files = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            replay_file(fuzz, path);
            files++;
        }
    }
    closedir(dir);
    assert_true(files > 0);
}

#endif
