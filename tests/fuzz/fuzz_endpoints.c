/* Any text as a list of endpoints: what is taken, put together again, is the list; and its elements
 * are neither empty nor there twice. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/check.h"
#include "lib/dealer.h"
#include "lib/endpoints.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_items(const mmq_endpoints *endpoints, const char *text)
{
    mmq_buffer again;
    mmq_buffer_init(&again, 1 << 20);
    CHECK(endpoints->count >= 1 && endpoints->count <= MMQ_ENDPOINTS_MAX);
    for (size_t i = 0; i < endpoints->count; i++) {
        const char *item = endpoints->items[i];
        CHECK(item[0] != '\0' && strchr(item, ',') == NULL);
        for (size_t j = 0; j < i; j++) {
            CHECK(strcmp(item, endpoints->items[j]) != 0);
        }
        mmq_buffer_text(&again, i > 0 ? "," : "");
        mmq_buffer_text(&again, item);
        (void)mmq_endpoint_port_fits(item);
    }
    CHECK(strcmp(mmq_buffer_cstr(&again), text) == 0);
    mmq_buffer_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);
    CHECK(text != NULL);
    memcpy(text, data, size);
    mmq_endpoints endpoints;
    mmq_why why = {""};
    mmq_err err = mmq_endpoints_split(text, &endpoints, &why);
    CHECK((err == MMQ_OK) == (why.text[0] == '\0'));
    if (err == MMQ_OK) {
        check_items(&endpoints, text);
    } else {
        CHECK(err == MMQ_EINVAL && endpoints.count == 0);
    }
    mmq_endpoints_clear(&endpoints);
    free(text);
    return 0;
}
