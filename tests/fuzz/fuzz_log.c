/* Any bytes as what peers make us log: a call writes one line, of printable UTF-8, no longer than a
 * pipe takes at once; as JSON it is JSON. Input: two bytes for the first value's size, then the
 * values. */
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/log.h"
#include "metricmq/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is logged while standard error is a file in memory. */
static size_t log_line(const char *first, size_t first_size, const char *second, size_t second_size,
                       char line[PIPE_BUF + 1])
{
    const int kept = dup(STDERR_FILENO), file = memfd_create("log", MFD_CLOEXEC);
    CHECK(kept >= 0 && file >= 0 && dup2(file, STDERR_FILENO) == STDERR_FILENO);
    mmq_log(MMQ_ERROR, "what came", MMQ_SN("first", first, first_size), MMQ_I("size", first_size),
            MMQ_SN("second", second, second_size));
    (void)dup2(kept, STDERR_FILENO);
    const ssize_t got = pread(file, line, PIPE_BUF + 1, 0);
    (void)close(kept);
    (void)close(file);
    CHECK(got > 0 && got <= PIPE_BUF);
    return (size_t)got;
}

static void check_line(const char *line, size_t size)
{
    CHECK(line[size - 1] == '\n' && mmq_utf8_valid(line, size));
    for (size_t i = 0; i + 1 < size; i++) {
        CHECK((unsigned char)line[i] >= ' ' && line[i] != 0x7f);
        CHECK(line[i] != '\xc2' || (unsigned char)line[i + 1] >= 0xa0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[PIPE_BUF + 1];
    if (size < 2) {
        return 0;
    }
    size_t first = (size_t)data[0] << 8 | data[1];
    first = first < size - 2 ? first : size - 2;
    char *text = malloc(size);
    CHECK(text != NULL);
    memcpy(text, data + 2, size - 2);
    for (int json = 0; json <= 1; json++) {
        mmq_why why = {""};
        mmq_log_setup(MMQ_ERROR, json);
        const size_t length = log_line(text, first, text + first, size - 2 - first, line);
        check_line(line, length);
        CHECK(!json || mmq_json_check(line, length, &why) == MMQ_OK ||
              strstr(why.text, "a bad escape") != NULL); /* \u0000, which requests may not bear */
    }
    mmq_log_setup(MMQ_ERROR, false);
    free(text);
    return 0;
}
