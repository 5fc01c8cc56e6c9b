/* JSON to msgpack, whose pairs are then sorted: the dump's own keys, and all others as they came.
 */
#include "clients/http/feedback_body.h"

#include "lib/json.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"
#include "metricmq/protocol.h"

static bool is_ours(const mmq_value *key)
{
    return mmq_value_is(key, "uid") || mmq_value_is(key, "metric") ||
           mmq_value_is(key, "server_id");
}

/* Reads one pair: keeps it in extra, or in uid. */
static mmq_err read_pair(mmq_reader *reader, mmq_feedback_body *out)
{
    const uint8_t *start = reader->at;
    mmq_value key, value;
    mmq_reader whole;
    if (mmq_unpack(reader, &key) != MMQ_OK || mmq_unpack_whole(reader, &value, &whole) != MMQ_OK) {
        return MMQ_EINVAL;
    }
    if (!is_ours(&key)) {
        out->extra_count++;
        mmq_buffer_add(&out->extra, start, (size_t)(reader->at - start));
        return MMQ_OK;
    }
    if (mmq_value_is(&key, "uid") && value.type == MMQ_STR) {
        out->uid = (mmq_slice){value.text.data, value.text.size};
    }
    return MMQ_OK;
}

static mmq_err read_object(const mmq_buffer *packed, mmq_feedback_body *out, mmq_why *why)
{
    mmq_reader reader;
    mmq_value object;
    mmq_reader_init(&reader, packed->data, packed->size);
    if (mmq_unpack(&reader, &object) != MMQ_OK || object.type != MMQ_MAP) {
        return mmq_fail(why, MMQ_EINVAL, "the body must be a JSON object");
    }
    for (uint32_t left = object.count; left > 0; left--) {
        if (read_pair(&reader, out) != MMQ_OK) {
            return mmq_fail(why, MMQ_EINVAL, "the body cannot be read");
        }
    }
    if (out->uid.data == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "the body must have a string uid");
    }
    if (!mmq_uid_valid(out->uid.data, out->uid.size)) {
        return mmq_fail(why, MMQ_EINVAL, MMQ_UID_RULE);
    }
    return MMQ_OK;
}

mmq_err mmq_feedback_body_read(const char *text, size_t size, mmq_feedback_body *out, mmq_why *why)
{
    *out = (mmq_feedback_body){.extra_count = 0};
    mmq_buffer_init(&out->packed, MMQ_BODY_MAX);
    mmq_buffer_init(&out->extra, MMQ_BODY_MAX);
    mmq_err err = mmq_json_to_msgpack(text, size, &out->packed, why);
    err = err ? err : read_object(&out->packed, out, why);
    return err == MMQ_OK && out->extra.failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for the body")
                                              : err;
}

void mmq_feedback_body_clear(mmq_feedback_body *body)
{
    mmq_buffer_clear(&body->packed);
    mmq_buffer_clear(&body->extra);
}
