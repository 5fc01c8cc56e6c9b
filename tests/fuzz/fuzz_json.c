/* Any bytes as JSON, and as msgpack: what is taken comes back as the same value, and all that is
 * printed is taken again (but for what our check refuses and msgpack can hold: NUL in strings and
 * repeated keys). */
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { JSON_LIMIT = 16 * 1024 * 1024 };

static void fuzz_json_text(const char *text, size_t size)
{
    mmq_buffer packed, printed, again;
    mmq_why why = {""};
    mmq_err err = mmq_json_check(text, size, &why);
    CHECK(err == MMQ_OK || why.text[0]);
    mmq_buffer_init(&packed, JSON_LIMIT);
    mmq_buffer_init(&printed, JSON_LIMIT);
    mmq_buffer_init(&again, JSON_LIMIT);
    CHECK(mmq_json_to_msgpack(text, size, &packed, &why) == err);
    if (!err) {
        CHECK(mmq_json_from_msgpack(packed.data, packed.size, &printed, &why) == MMQ_OK);
        CHECK(mmq_json_to_msgpack((const char *)printed.data, printed.size, &again, &why) ==
              MMQ_OK);
        CHECK(again.size == packed.size && memcmp(again.data, packed.data, packed.size) == 0);
    }
    mmq_buffer_clear(&packed);
    mmq_buffer_clear(&printed);
    mmq_buffer_clear(&again);
}

static void fuzz_packed(const uint8_t *data, size_t size)
{
    mmq_buffer printed;
    mmq_why why = {""};
    mmq_buffer_init(&printed, JSON_LIMIT);
    if (mmq_json_from_msgpack(data, size, &printed, &why) == MMQ_OK) {
        mmq_err err = mmq_json_check((const char *)printed.data, printed.size, &why);
        CHECK(err == MMQ_OK || strstr(why.text, "a bad escape") || strstr(why.text, "a key that"));
    }
    mmq_buffer_clear(&printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_json_text((const char *)data, size);
    fuzz_packed(data, size);
    return 0;
}
