/* One form for equal values: maps sorted, numbers and strings re-packed. It recurses, at most
 * MMQ_UNPACK_DEPTH deep, which mmq_unpack_skip has checked of the whole value before. */
#include "workers/dump.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metricmq/pack.h"
#include "metricmq/unpack.h"

struct entry {
    mmq_value key;
    mmq_reader value; /* at the value */
};

static mmq_err pack_value(mmq_reader *reader, mmq_buffer *out, mmq_why *why);

static int compare_entries(const void *a_, const void *b_)
{
    const struct entry *a = a_, *b = b_;
    const size_t least = a->key.text.size < b->key.text.size ? a->key.text.size : b->key.text.size;
    const int order = memcmp(a->key.text.data, b->key.text.data, least);
    return order != 0
               ? order
               : (a->key.text.size > b->key.text.size) - (a->key.text.size < b->key.text.size);
}

static mmq_err read_entries(mmq_reader *reader, struct entry *entries, uint32_t count, mmq_why *why)
{
    for (uint32_t i = 0; i < count; i++) {
        mmq_value *key = &entries[i].key;
        if (mmq_unpack(reader, key) != MMQ_OK || key->type != MMQ_STR ||
            !mmq_utf8_valid(key->text.data, key->text.size)) {
            return mmq_fail(why, MMQ_EINVAL, "extra holds a key that is no UTF-8 string");
        }
        entries[i].value = *reader;
        if (mmq_unpack_skip(reader) != MMQ_OK) {
            return mmq_fail(why, MMQ_EINVAL, "extra is cut off or nested too deep");
        }
    }
    qsort(entries, count, sizeof *entries, compare_entries);
    for (uint32_t i = 1; i < count; i++) {
        if (compare_entries(&entries[i - 1], &entries[i]) == 0) {
            return mmq_fail(why, MMQ_EINVAL, "extra holds a key twice");
        }
    }
    return MMQ_OK;
}

static mmq_err pack_map(mmq_reader *reader, uint32_t count, mmq_buffer *out, mmq_why *why)
{
    struct entry *entries = calloc((size_t)count + 1, sizeof *entries);
    if (entries == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a map of extra");
    }
    mmq_pack_map(out, count);
    mmq_err err = read_entries(reader, entries, count, why);
    for (uint32_t i = 0; i < count && err == MMQ_OK; i++) {
        mmq_pack_text(out, entries[i].key.text.data, entries[i].key.text.size);
        err = pack_value(&entries[i].value, out, why);
    }
    free(entries);
    return err;
}

static mmq_err pack_array(mmq_reader *reader, uint32_t count, mmq_buffer *out, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    mmq_pack_array(out, count);
    for (uint32_t i = 0; i < count && err == MMQ_OK; i++) {
        err = pack_value(reader, out, why);
    }
    return err;
}

/* Above INT64_MAX there is one form. */
static void pack_unsigned(mmq_buffer *out, uint64_t number)
{
    uint8_t packed[9] = {0xcf};
    for (size_t i = 0; i < 8; i++) {
        packed[1 + i] = (uint8_t)(number >> (56 - 8 * i));
    }
    mmq_buffer_add(out, packed, sizeof packed);
}

static mmq_err pack_scalar(const mmq_value *value, mmq_buffer *out, mmq_why *why)
{
    switch (value->type) {
    case MMQ_NIL:
        mmq_pack_nil(out);
        return MMQ_OK;
    case MMQ_BOOL:
        mmq_pack_bool(out, value->boolean);
        return MMQ_OK;
    case MMQ_INT:
        mmq_pack_int(out, value->integer);
        return MMQ_OK;
    case MMQ_UINT:
        pack_unsigned(out, value->unsigned_integer);
        return MMQ_OK;
    case MMQ_FLOAT:
        mmq_pack_double(out, value->number);
        return isfinite(value->number)
                   ? MMQ_OK
                   : mmq_fail(why, MMQ_EINVAL, "extra holds a number that is not finite");
    case MMQ_STR:
        mmq_pack_text(out, value->text.data, value->text.size);
        return mmq_utf8_valid(value->text.data, value->text.size)
                   ? MMQ_OK
                   : mmq_fail(why, MMQ_EINVAL, "extra holds a string that is no UTF-8");
    case MMQ_BIN:
    case MMQ_EXT:
    case MMQ_ARRAY:
    case MMQ_MAP:
        break;
    }
    return mmq_fail(why, MMQ_EINVAL, "extra holds a value that JSON does not know");
}

static mmq_err pack_value(mmq_reader *reader, mmq_buffer *out, mmq_why *why)
{
    mmq_value value;
    if (mmq_unpack(reader, &value) != MMQ_OK) {
        return mmq_fail(why, MMQ_EINVAL, "extra is cut off");
    }
    if (value.type == MMQ_MAP) {
        return pack_map(reader, value.count, out, why);
    }
    return value.type == MMQ_ARRAY ? pack_array(reader, value.count, out, why)
                                   : pack_scalar(&value, out, why);
}

mmq_err mmq_canonical_map(const void *packed, size_t size, mmq_buffer *out, mmq_why *why)
{
    mmq_reader reader, whole;
    mmq_value head;
    mmq_reader_init(&reader, packed, size);
    whole = reader;
    if (mmq_unpack_skip(&whole) != MMQ_OK || !mmq_reader_done(&whole)) {
        return mmq_fail(why, MMQ_EINVAL, "extra is cut off or nested too deep");
    }
    whole = reader;
    if (mmq_unpack(&whole, &head) != MMQ_OK || head.type != MMQ_MAP) {
        return mmq_fail(why, MMQ_EINVAL, "extra must be a map");
    }
    mmq_err err = pack_value(&reader, out, why);
    return err == MMQ_OK && out->failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for extra") : err;
}
