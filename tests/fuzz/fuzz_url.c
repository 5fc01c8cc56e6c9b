/* Any bytes as a request target: what is parsed borrows from the target, holds no NUL that was not
 * there raw, and a query's values are no longer than the query. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/url.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(const char *target, size_t size, const mmq_slice *slice)
{
    CHECK(slice->data >= target && slice->size <= size);
    CHECK(slice->data + slice->size <= target + size);
    CHECK(memchr(slice->data, '\0', slice->size) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"from", "to", "a"};
    char *target = malloc(size > 0 ? size : 1);
    CHECK(target != NULL);
    if (size > 0) {
        memcpy(target, data, size);
    }
    mmq_url url;
    mmq_why why;
    mmq_slice values[3];
    if (mmq_url_parse(target, size, &url, &why) == MMQ_OK) {
        CHECK(url.depth <= MMQ_URL_SEGMENTS + 1);
        for (size_t i = 0; i < url.depth && i < MMQ_URL_SEGMENTS; i++) {
            check_slice(target, size, &url.segments[i]);
        }
        if (mmq_url_query(&url, keys, 3, values, &why) == MMQ_OK) {
            for (size_t i = 0; i < 3; i++) {
                if (values[i].data != NULL) {
                    CHECK(values[i].size > 0);
                    check_slice(target, size, &values[i]);
                }
            }
        }
    }
    free(target);
    return 0;
}
