/* Any bytes as Accept, Accept-Encoding and If-None-Match: what is read of them is some form, some
 * coding, and tags that lie within them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/negotiate.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_weight(int weight)
{
    CHECK(weight >= -1 && weight <= 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *field = malloc(size + 1);
    CHECK(field != NULL);
    if (size > 0) {
        memcpy(field, data, size);
    }
    field[size] = '\0';
    mmq_accept accept;
    mmq_codings codings;
    mmq_accept_init(&accept);
    mmq_codings_init(&codings);
    mmq_accept_add(&accept, field);
    mmq_codings_add(&codings, field);
    for (size_t i = 0; i < MMQ_MEDIA_COUNT; i++) {
        check_weight(accept.named[i]);
    }
    check_weight(accept.any);
    check_weight(codings.gzip);
    CHECK((unsigned)mmq_accept_choose(&accept) < MMQ_MEDIA_COUNT);
    (void)mmq_codings_gzip(&codings);
    const char *at = field, *end = field + strlen(field);
    mmq_slice tag;
    while (mmq_etag_next(&at, &tag)) {
        CHECK(at > field && at <= end);
        CHECK(tag.data >= field && tag.data + tag.size <= end);
    }
    free(field);
    return 0;
}
