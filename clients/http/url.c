/* Request targets. libmicrohttpd decodes leniently and cuts at NUL, so it is not asked: the raw
 * target is decoded here, each part once and in place, after it was split (a decoded part is never
 * longer than it was). */
#include "clients/http/url.h"

#include <stdbool.h>
#include <string.h>

#include "lib/check.h"

enum { KEYS_MAX = 8 };

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Decodes in place. False at a '%' without two hex digits and at %00. */
static bool decode(char *data, size_t *size, bool plus)
{
    size_t to = 0;
    for (size_t from = 0; from < *size; from++) {
        char byte = data[from];
        if (byte == '+' && plus) {
            byte = ' ';
        } else if (byte == '%') {
            int high = from + 2 < *size ? hex_digit(data[from + 1]) : -1;
            int low = high >= 0 ? hex_digit(data[from + 2]) : -1;
            if (low < 0 || high + low == 0) {
                return false;
            }
            byte = (char)(high * 16 + low);
            from += 2;
        }
        data[to++] = byte;
    }
    *size = to;
    return true;
}

static bool has_raw_control(const char *target, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)target[i];
        if (byte <= 0x20 || byte == 0x7F) {
            return true;
        }
    }
    return false;
}

/* path begins with '/'. */
static mmq_err split_path(char *path, size_t size, mmq_url *out, mmq_why *why)
{
    if (path[size - 1] == '/') {
        size--;
    }
    size_t at = 0;
    while (at < size && out->depth <= MMQ_URL_SEGMENTS) {
        char *segment = path + at + 1;
        const char *slash = memchr(segment, '/', size - at - 1);
        size_t length = slash ? (size_t)(slash - segment) : size - at - 1;
        at += 1 + length;
        if (!decode(segment, &length, false)) {
            return mmq_fail(why, MMQ_EINVAL, "the path has a bad percent sequence");
        }
        if (out->depth < MMQ_URL_SEGMENTS) {
            out->segments[out->depth] = (mmq_slice){segment, length};
        }
        out->depth++;
    }
    return MMQ_OK;
}

mmq_err mmq_url_parse(char *target, size_t size, mmq_url *out, mmq_why *why)
{
    *out = (mmq_url){0};
    if (size == 0 || target[0] != '/') {
        return mmq_fail(why, MMQ_EINVAL, "the request target must be a path");
    }
    if (has_raw_control(target, size)) {
        return mmq_fail(why, MMQ_EINVAL, "the request target holds a space or a control byte");
    }
    const char *mark = memchr(target, '?', size);
    size_t path_size = mark ? (size_t)(mark - target) : size;
    if (mark) {
        out->query = target + path_size + 1;
        out->query_size = size - path_size - 1;
    }
    return split_path(target, path_size, out, why);
}

/* A value before it is decoded. */
typedef struct raw_value {
    char *data; /* NULL: absent or empty */
    size_t size;
} raw_value;

/* Notes the raw value of `key=value` (or `key`) if it is one of the keys. */
static void note_pair(char *pair, size_t size, const char *const *keys, size_t count,
                      raw_value *values)
{
    const char *equals = memchr(pair, '=', size);
    size_t key_size = equals ? (size_t)(equals - pair) : size;
    raw_value value = {NULL, 0};
    if (equals && key_size + 1 < size) {
        value = (raw_value){pair + key_size + 1, size - key_size - 1};
    }
    if (!decode(pair, &key_size, true)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (strlen(keys[i]) == key_size && memcmp(keys[i], pair, key_size) == 0) {
            values[i] = value;
        }
    }
}

mmq_err mmq_url_query(mmq_url *url, const char *const *keys, size_t count, mmq_slice *values,
                      mmq_why *why)
{
    CHECK(count <= KEYS_MAX);
    raw_value found[KEYS_MAX] = {0};
    char *at = url->query;
    size_t left = url->query_size;
    while (left > 0) {
        const char *end = memchr(at, '&', left);
        size_t size = end ? (size_t)(end - at) : left;
        note_pair(at, size, keys, count, found);
        size_t step = end ? size + 1 : size;
        at += step;
        left -= step;
    }
    for (size_t i = 0; i < count; i++) {
        if (!decode(found[i].data, &found[i].size, true)) {
            return mmq_fail(why, MMQ_EINVAL, "%s has a bad percent sequence", keys[i]);
        }
        values[i] = (mmq_slice){found[i].data, found[i].size};
    }
    return MMQ_OK;
}
