/* Any bytes as the body of a feedback over HTTP, and as a dump request on the bus. What HTTP takes
 * makes a request that the worker takes; what the worker takes has names that keep within their
 * bounds and a digest that does not depend on the order of keys. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "clients/http/feedback_body.h"
#include "lib/check.h"
#include "lib/json.h"
#include "metricmq/pack.h"
#include "lib/uid.h"
#include "metricmq/protocol.h"
#include "workers/dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The whole body of a dump request. */
static void pack_request(const char *uid, size_t uid_size, int64_t created, const mmq_buffer *extra,
                         mmq_buffer *out)
{
    mmq_pack_map(out, 4);
    mmq_pack_cstr(out, "op");
    mmq_pack_cstr(out, "dump");
    mmq_pack_cstr(out, "uid");
    mmq_pack_text(out, uid, uid_size);
    mmq_pack_cstr(out, "created");
    mmq_pack_int(out, created);
    mmq_pack_cstr(out, "extra");
    mmq_buffer_add(out, extra->data, extra->size);
}

/* What was made canonical stays as it is, and so does its digest. */
static void check_canonical(const mmq_dump *dump)
{
    mmq_buffer body, json;
    mmq_dump again;
    mmq_why why = {""};
    mmq_buffer_init(&body, 16 << 20);
    mmq_buffer_init(&json, 64 << 20);
    pack_request(dump->uid, strlen(dump->uid), dump->created, &dump->extra, &body);
    CHECK(!body.failed && mmq_dump_read(body.data, body.size, &again, &why) == MMQ_OK);
    CHECK(strcmp(again.digest, dump->digest) == 0 && again.extra.size == dump->extra.size);
    CHECK(memcmp(again.extra.data, dump->extra.data, dump->extra.size) == 0);
    CHECK(mmq_json_from_msgpack(dump->extra.data, dump->extra.size, &json, &why) == MMQ_OK);
    mmq_dump_clear(&again);
    mmq_buffer_clear(&body);
    mmq_buffer_clear(&json);
}

static mmq_err try_dump(const void *body, size_t size)
{
    mmq_dump dump;
    mmq_why why = {""};
    char key[MMQ_OBJECT_KEY_MAX + 1];
    mmq_err err = mmq_dump_read(body, size, &dump, &why);
    CHECK((err == MMQ_OK) == (why.text[0] == '\0'));
    if (err == MMQ_OK) {
        CHECK(mmq_uid_valid(dump.uid, strlen(dump.uid)));
        mmq_dump_key(&dump, "prefix/", "0123456789abcdef", key);
        CHECK(mmq_object_key_valid(key, strlen(key)));
        check_canonical(&dump);
    }
    mmq_dump_clear(&dump);
    return err;
}

static void try_http(const char *text, size_t size)
{
    mmq_feedback_body read;
    mmq_why why = {""};
    mmq_buffer extra, body;
    mmq_err err = mmq_feedback_body_read(text, size, &read, &why);
    CHECK((err == MMQ_OK) == (why.text[0] == '\0'));
    mmq_buffer_init(&extra, MMQ_BODY_MAX);
    mmq_buffer_init(&body, MMQ_BODY_MAX);
    if (err == MMQ_OK) {
        mmq_pack_map(&extra, read.extra_count);
        mmq_buffer_add(&extra, read.extra.data, read.extra.size);
        pack_request(read.uid.data, read.uid.size, 1400000000, &extra, &body);
        CHECK(!extra.failed && !body.failed && try_dump(body.data, body.size) == MMQ_OK);
    }
    mmq_buffer_clear(&extra);
    mmq_buffer_clear(&body);
    mmq_feedback_body_clear(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_http((const char *)data, size);
    (void)try_dump(data, size);
    return 0;
}
