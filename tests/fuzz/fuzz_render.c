/* Any bytes as payloads, in every form: the text keeps within its room, ends, and in the JSON forms
 * of rows and exports is JSON (but for keys that a record repeats). Input: a byte that picks the
 * form, a byte that picks the room, then the payload, fed whole. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clients/render/render.h"
#include "lib/buffer.h"
#include "lib/check.h"
#include "lib/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Adds all text that there is; false if the payload made no sense. */
static bool read_all(mmq_render *render, mmq_buffer *text, size_t room)
{
    bool failed = false;
    char *out = malloc(room); /* exact, so that ASan sees a byte too far */
    CHECK(out != NULL);
    size_t got;
    while ((got = mmq_render_read(render, out, room, &failed)) > 0) {
        CHECK(got <= room && !failed);
        mmq_buffer_add(text, out, got);
    }
    free(out);
    return !failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    mmq_form form = (mmq_form)((data[0] & 15) % MMQ_FORM_COUNT);
    size_t room = 1024 + (size_t)data[1] * 8;
    mmq_render *render = mmq_render_new(form);
    CHECK(render != NULL);
    mmq_buffer text;
    mmq_buffer_init(&text, 64 * 1024 * 1024);
    if (data[0] & 0x80) {
        mmq_render_monitored_only(render);
    }
    mmq_render_feed(render, data + 2, size - 2);
    if (read_all(render, &text, room)) {
        mmq_render_finish(render);
        CHECK(read_all(render, &text, room));
        mmq_why why;
        bool json = form == MMQ_FORM_JSON_METRIC || form == MMQ_FORM_JSON_METRICS ||
                    form == MMQ_FORM_JSON_SUMMARY || form == MMQ_FORM_JSON_SUMMARIES;
        if (form == MMQ_FORM_JSON_EXPORT) {
            CHECK(mmq_json_check((const char *)text.data, text.size, &why) == MMQ_OK ||
                  strstr(why.text, "a bad escape") || strstr(why.text, "a key that"));
        }
        CHECK(!json || mmq_json_check((const char *)text.data, text.size, &why) == MMQ_OK);
    }
    mmq_buffer_clear(&text);
    mmq_render_destroy(&render);
    return 0;
}
