/* JSON to msgpack and back. On the way in the text is checked whole (json_check.c), then cJSON
 * builds its tree, which is walked along its lists; on the way out msgpack is read value by value.
 * Both walks recurse, at most MMQ_JSON_DEPTH deep. What a failure has written is taken back. */
#include "lib/json.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "lib/number.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"

#define WHOLE_MAX 9007199254740992.0 /* 2^53: from here on doubles skip whole numbers */

/* ---- in --------------------------------------------------------------------------------- */

static void pack_number(mmq_buffer *out, double value)
{
    bool negative_zero = value == 0 && signbit(value);
    if (fabs(value) < WHOLE_MAX && value == trunc(value) && !negative_zero) {
        mmq_pack_int(out, (int64_t)value);
    } else {
        mmq_pack_double(out, value);
    }
}

static uint32_t count_children(const cJSON *item)
{
    uint32_t count = 0;
    for (const cJSON *child = item->child; child; child = child->next) {
        count++;
    }
    return count;
}

static void pack_item(mmq_buffer *out, const cJSON *item)
{
    if (cJSON_IsBool(item)) {
        mmq_pack_bool(out, cJSON_IsTrue(item));
    } else if (cJSON_IsNumber(item)) {
        pack_number(out, item->valuedouble);
    } else if (cJSON_IsString(item)) {
        mmq_pack_cstr(out, item->valuestring);
    } else if (cJSON_IsArray(item)) {
        mmq_pack_array(out, count_children(item));
    } else if (cJSON_IsObject(item)) {
        mmq_pack_map(out, count_children(item));
    } else {
        mmq_pack_nil(out);
    }
    for (const cJSON *child = item->child; child; child = child->next) {
        if (child->string) {
            mmq_pack_cstr(out, child->string);
        }
        pack_item(out, child);
    }
}

mmq_err mmq_json_to_msgpack(const char *text, size_t size, mmq_buffer *out, mmq_why *why)
{
    const size_t start = out->size;
    mmq_err err = mmq_json_check(text, size, why);
    if (err) {
        return err;
    }
    cJSON *root = cJSON_ParseWithLengthOpts(text, size, NULL, false);
    if (!root) { /* the text is sound: only memory can be wanting */
        return mmq_fail(why, MMQ_ENOMEM, "JSON: no memory");
    }
    pack_item(out, root);
    cJSON_Delete(root);
    if (!out->failed) {
        return MMQ_OK;
    }
    out->size = start;
    return mmq_fail(why, MMQ_ENOMEM, "JSON: no memory");
}

/* ---- out -------------------------------------------------------------------------------- */

static void add_escape(mmq_buffer *out, char c)
{
    static const char escaped[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    const char *found = c ? strchr(escaped, c) : NULL;
    if (found) {
        mmq_buffer_format(out, "\\%c", names[found - escaped]);
    } else {
        mmq_buffer_format(out, "\\u%04x", (unsigned)c);
    }
}

void mmq_json_string(mmq_buffer *out, const char *text, size_t size)
{
    const char *end = text + size;
    mmq_buffer_add(out, "\"", 1);
    while (text < end) {
        const char *run = text;
        while (text < end && (unsigned char)*text >= 0x20 && *text != '"' && *text != '\\') {
            text++;
        }
        mmq_buffer_add(out, run, (size_t)(text - run));
        if (text < end) {
            add_escape(out, *text++);
        }
    }
    mmq_buffer_add(out, "\"", 1);
}

static mmq_err add_text(mmq_buffer *out, const mmq_value *value, mmq_why *why)
{
    if (!mmq_utf8_valid(value->text.data, value->text.size)) {
        return mmq_fail(why, MMQ_EINVAL, "a string that is not UTF-8");
    }
    mmq_json_string(out, value->text.data, value->text.size);
    return MMQ_OK;
}

static mmq_err add_float(mmq_buffer *out, double number, mmq_why *why)
{
    char digits[MMQ_NUMBER_MAX];
    if (!isfinite(number)) {
        return mmq_fail(why, MMQ_EINVAL, "a number that is not finite");
    }
    mmq_buffer_add(out, digits, mmq_number_print(number, digits));
    return MMQ_OK;
}

static void add_integer(mmq_buffer *out, int64_t number)
{
    char digits[MMQ_INTEGER_MAX];
    mmq_buffer_add(out, digits, mmq_integer_print(number, digits));
}

static mmq_err add_next(mmq_buffer *out, mmq_reader *reader, unsigned depth, mmq_why *why);

static mmq_err add_key(mmq_buffer *out, mmq_reader *reader, mmq_why *why)
{
    mmq_value key;
    if (mmq_unpack(reader, &key) != MMQ_OK || key.type != MMQ_STR) {
        return mmq_fail(why, MMQ_EINVAL, "a map with a key that is no string");
    }
    mmq_err err = add_text(out, &key, why);
    mmq_buffer_add(out, ":", 1);
    return err;
}

static mmq_err add_container(mmq_buffer *out, mmq_reader *reader, const mmq_value *head,
                             unsigned depth, mmq_why *why)
{
    const bool map = head->type == MMQ_MAP;
    if (depth == MMQ_JSON_DEPTH) {
        return mmq_fail(why, MMQ_EINVAL, "nested too deep");
    }
    mmq_buffer_add(out, map ? "{" : "[", 1);
    for (uint32_t i = 0; i < head->count; i++) {
        if (i > 0) {
            mmq_buffer_add(out, ",", 1);
        }
        mmq_err err = map ? add_key(out, reader, why) : MMQ_OK;
        if (!err) {
            err = add_next(out, reader, depth + 1, why);
        }
        if (err) {
            return err;
        }
    }
    mmq_buffer_add(out, map ? "}" : "]", 1);
    return MMQ_OK;
}

static mmq_err add_next(mmq_buffer *out, mmq_reader *reader, unsigned depth, mmq_why *why)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK) {
        return mmq_fail(why, MMQ_EINVAL, "not msgpack, or cut off");
    }
    switch (value.type) {
    case MMQ_NIL:
        mmq_buffer_text(out, "null");
        return MMQ_OK;
    case MMQ_BOOL:
        mmq_buffer_text(out, value.boolean ? "true" : "false");
        return MMQ_OK;
    case MMQ_INT:
        add_integer(out, value.integer);
        return MMQ_OK;
    case MMQ_UINT:
        mmq_buffer_format(out, "%" PRIu64, value.unsigned_integer);
        return MMQ_OK;
    case MMQ_FLOAT:
        return add_float(out, value.number, why);
    case MMQ_STR:
        return add_text(out, &value, why);
    case MMQ_ARRAY:
    case MMQ_MAP:
        return add_container(out, reader, &value, depth, why);
    case MMQ_BIN:
    case MMQ_EXT:
        break;
    }
    return mmq_fail(why, MMQ_EINVAL, "bytes that JSON has no form for");
}

mmq_err mmq_json_from_msgpack(const void *data, size_t size, mmq_buffer *out, mmq_why *why)
{
    const size_t start = out->size;
    mmq_reader reader;
    mmq_reader_init(&reader, data, size);
    mmq_err err = add_next(out, &reader, 0, why);
    if (!err && !mmq_reader_done(&reader)) {
        err = mmq_fail(why, MMQ_EINVAL, "bytes after the value");
    }
    if (!err && out->failed) {
        err = mmq_fail(why, MMQ_ENOMEM, "no memory for JSON");
    }
    if (err) {
        out->size = start;
    }
    return err;
}
