/* msgpack-c's packer over a buffer. Its write callback never reports failure: the buffer's own
 * sticky failure says it, and half a value in a failed buffer is never sent. */
#include "metricmq/pack.h"

#include <msgpack/pack.h>
#include <string.h>

#include "metricmq/protocol.h"

static int write_packed(void *buffer, const char *data, size_t size)
{
    mmq_buffer_add(buffer, data, size);
    return 0;
}

static msgpack_packer packer_on(mmq_buffer *out)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, write_packed);
    return packer;
}

void mmq_pack_nil(mmq_buffer *out)
{
    msgpack_packer packer = packer_on(out);
    msgpack_pack_nil(&packer);
}

void mmq_pack_bool(mmq_buffer *out, bool value)
{
    msgpack_packer packer = packer_on(out);
    value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
}

void mmq_pack_int(mmq_buffer *out, int64_t value)
{
    msgpack_packer packer = packer_on(out);
    msgpack_pack_int64(&packer, value);
}

void mmq_pack_double(mmq_buffer *out, double value)
{
    msgpack_packer packer = packer_on(out);
    msgpack_pack_double(&packer, value);
}

void mmq_pack_text(mmq_buffer *out, const char *data, size_t size)
{
    if (size > UINT32_MAX) { /* has no msgpack form */
        out->failed = true;
        return;
    }
    msgpack_packer packer = packer_on(out);
    msgpack_pack_v4raw(&packer, size);
    msgpack_pack_v4raw_body(&packer, data, size);
}

void mmq_pack_cstr(mmq_buffer *out, const char *text)
{
    if (text == NULL) {
        mmq_pack_nil(out);
    } else {
        mmq_pack_text(out, text, strlen(text));
    }
}

void mmq_pack_array(mmq_buffer *out, uint32_t count)
{
    msgpack_packer packer = packer_on(out);
    msgpack_pack_array(&packer, count);
}

void mmq_pack_map(mmq_buffer *out, uint32_t count)
{
    msgpack_packer packer = packer_on(out);
    msgpack_pack_map(&packer, count);
}

void mmq_args_init(mmq_args *args)
{
    mmq_buffer_init(&args->pairs, MMQ_BODY_MAX);
    args->count = 0;
}

void mmq_args_clear(mmq_args *args)
{
    mmq_buffer_clear(&args->pairs);
    args->count = 0;
}

static mmq_buffer *begin_pair(mmq_args *args, const char *key)
{
    mmq_pack_cstr(&args->pairs, key);
    args->count++;
    return &args->pairs;
}

void mmq_args_int(mmq_args *args, const char *key, int64_t value)
{
    mmq_pack_int(begin_pair(args, key), value);
}

void mmq_args_double(mmq_args *args, const char *key, double value)
{
    mmq_pack_double(begin_pair(args, key), value);
}

void mmq_args_bool(mmq_args *args, const char *key, bool value)
{
    mmq_pack_bool(begin_pair(args, key), value);
}

void mmq_args_cstr(mmq_args *args, const char *key, const char *text)
{
    if (text != NULL) {
        mmq_pack_cstr(begin_pair(args, key), text);
    }
}

void mmq_args_text(mmq_args *args, const char *key, const char *data, size_t size)
{
    mmq_pack_text(begin_pair(args, key), data, size);
}

void mmq_args_packed(mmq_args *args, const char *key, const void *packed, size_t size)
{
    mmq_buffer_add(begin_pair(args, key), packed, size);
}

void mmq_args_map(mmq_args *args, const char *key, const mmq_args *map)
{
    mmq_pack_map(begin_pair(args, key), map->count);
    mmq_buffer_add(&args->pairs, map->pairs.data, map->pairs.size);
    args->pairs.failed |= map->pairs.failed;
}
