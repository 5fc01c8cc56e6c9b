/* Arguments by table. Each pair of the body is looked up among the common names and the handler's
 * specs, checked for its kind and stored at the spec's offset; at the end the required ones must
 * have come. A bit a name remembers what came, so that a repeated name is refused: readers disagree
 * on which of two counts. Nothing is stored from a value that was refused. */
#include "lib/fields.h"

#include <math.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/check.h"
#include "metricmq/unpack.h"

enum { SPECS_MAX = 64, NAME_SHOWN = 40 };

/* What every request may bear. The broker and the worker's loop have read these by themselves; here
 * they are only known and checked. */
typedef struct common_values {
    mmq_slice op;
    mmq_slice trace;
    int64_t timeout;
} common_values;

static const mmq_field_spec common_specs[] = {
    {"op", MMQ_KIND_TEXT, true, offsetof(common_values, op), MMQ_NO_GIVEN},
    {"trace", MMQ_KIND_TEXT, false, offsetof(common_values, trace), MMQ_NO_GIVEN},
    {"timeout", MMQ_KIND_INT, false, offsetof(common_values, timeout), MMQ_NO_GIVEN},
};

/* A table of names, where their values go and which of them came. */
typedef struct field_table {
    const mmq_field_spec *specs;
    size_t count;
    char *out;
    uint64_t seen; /* bit i: specs[i] was there, be it nil */
    uint64_t set;  /* bit i: it had a value */
} field_table;

/* One value as it stands in the body. */
typedef struct packed_value {
    mmq_value value;  /* of a map or array its head */
    mmq_reader whole; /* all of it */
} packed_value;

/* A peer's name for a sentence: printable and cut. */
typedef struct shown_name {
    char text[NAME_SHOWN + 1];
} shown_name;

static shown_name show_name(const mmq_value *name)
{
    shown_name shown = {""};
    for (size_t i = 0; i < name->text.size && i < NAME_SHOWN; i++) {
        char byte = name->text.data[i];
        shown.text[i] = byte >= ' ' && byte <= '~' ? byte : '?';
    }
    return shown;
}

bool mmq_slice_is(const mmq_slice *slice, const char *text)
{
    return slice->size == strlen(text) && memcmp(slice->data, text, slice->size) == 0;
}

static bool convert_integer(const mmq_value *value, int64_t *out)
{
    if (value->type == MMQ_INT) {
        *out = value->integer;
        return true;
    }
    /* -2^63 is a double, 2^63 - 1 is not; NaN fails the first comparison. */
    const double bound = 9223372036854775808.0;
    if (value->type == MMQ_FLOAT && value->number >= -bound && value->number < bound &&
        value->number == trunc(value->number)) {
        *out = (int64_t)value->number;
        return true;
    }
    return false;
}

static bool convert_number(const mmq_value *value, double *out)
{
    if (value->type == MMQ_INT) {
        *out = (double)value->integer;
    } else if (value->type == MMQ_UINT) {
        *out = (double)value->unsigned_integer;
    } else if (value->type == MMQ_FLOAT && isfinite(value->number)) {
        *out = value->number;
    } else {
        return false;
    }
    return true;
}

static bool convert_time(const mmq_value *value, int64_t *out)
{
    if (value->type == MMQ_STR) {
        return mmq_time_parse(value->text.data, value->text.size, out);
    }
    return convert_integer(value, out) && *out >= MMQ_TIME_MIN && *out <= MMQ_TIME_MAX;
}

static bool is_text(const mmq_value *value)
{
    return value->type == MMQ_STR && mmq_utf8_valid(value->text.data, value->text.size) &&
           memchr(value->text.data, '\0', value->text.size) == NULL;
}

/* Stores the value as its kind asks; false, with nothing stored, if it is none. */
static bool store_value(const packed_value *packed, mmq_kind kind, char *out)
{
    union {
        int64_t integer;
        double number;
        bool boolean;
        mmq_slice slice;
    } made = {0};
    const mmq_value *value = &packed->value;
    bool good = false;
    size_t size = 0;
    switch (kind) {
    case MMQ_KIND_TEXT:
        good = is_text(value);
        made.slice = (mmq_slice){value->text.data, value->text.size};
        size = sizeof made.slice;
        break;
    case MMQ_KIND_BYTES:
        good = value->type == MMQ_STR || value->type == MMQ_BIN;
        made.slice = (mmq_slice){value->text.data, value->text.size};
        size = sizeof made.slice;
        break;
    case MMQ_KIND_INT:
        good = convert_integer(value, &made.integer);
        size = sizeof made.integer;
        break;
    case MMQ_KIND_NUMBER:
        good = convert_number(value, &made.number);
        size = sizeof made.number;
        break;
    case MMQ_KIND_BOOL:
        good = value->type == MMQ_BOOL;
        made.boolean = good && value->boolean;
        size = sizeof made.boolean;
        break;
    case MMQ_KIND_TIME:
        good = convert_time(value, &made.integer);
        size = sizeof made.integer;
        break;
    case MMQ_KIND_MAP:
        good = value->type == MMQ_MAP;
        made.slice = (mmq_slice){(const char *)packed->whole.at, mmq_reader_left(&packed->whole)};
        size = sizeof made.slice;
        break;
    }
    if (good) {
        memcpy(out, &made, size);
    }
    return good;
}

static const char *describe_kind(mmq_kind kind)
{
    static const char *const descriptions[] = {
        [MMQ_KIND_TEXT] = "text (UTF-8 without NUL)",
        [MMQ_KIND_BYTES] = "bytes",
        [MMQ_KIND_INT] = "an integer",
        [MMQ_KIND_NUMBER] = "a finite number",
        [MMQ_KIND_BOOL] = "true or false",
        [MMQ_KIND_TIME] = "a time: epoch seconds or \"YYYY-MM-DD HH:MM:SS\"",
        [MMQ_KIND_MAP] = "a map",
    };
    return descriptions[kind];
}

/* MMQ_ENOTFOUND if the table does not have the name. */
static mmq_err take_argument(field_table *table, const mmq_value *name, const packed_value *packed,
                             mmq_why *why)
{
    size_t i = 0;
    while (i < table->count && !mmq_value_is(name, table->specs[i].name)) {
        i++;
    }
    if (i == table->count) {
        return MMQ_ENOTFOUND;
    }
    const mmq_field_spec *spec = &table->specs[i];
    uint64_t bit = UINT64_C(1) << i;
    if (table->seen & bit) {
        return mmq_fail(why, MMQ_EINVAL, "argument \"%s\" is there twice", spec->name);
    }
    table->seen |= bit;
    if (packed->value.type == MMQ_NIL) {
        return MMQ_OK;
    }
    if (!store_value(packed, spec->kind, table->out + spec->offset)) {
        return mmq_fail(why, MMQ_EINVAL, "argument \"%s\" must be %s", spec->name,
                        describe_kind(spec->kind));
    }
    table->set |= bit;
    if (spec->given != MMQ_NO_GIVEN) {
        memcpy(table->out + spec->given, &(bool){true}, sizeof(bool));
    }
    return MMQ_OK;
}

/* The next pair; MMQ_EINVAL if it is cut off or its name is no string. */
static mmq_err read_pair(mmq_reader *reader, mmq_value *name, packed_value *packed, mmq_why *why)
{
    if (mmq_unpack(reader, name) != MMQ_OK || name->type != MMQ_STR) {
        return mmq_fail(why, MMQ_EINVAL, "the request's argument names must be strings");
    }
    if (mmq_unpack_whole(reader, &packed->value, &packed->whole) != MMQ_OK) {
        return mmq_fail(why, MMQ_EINVAL, "argument \"%s\" is not well-formed msgpack",
                        show_name(name).text);
    }
    return MMQ_OK;
}

static mmq_err open_body(mmq_reader *reader, const void *body, size_t size, uint32_t *count,
                         mmq_why *why)
{
    mmq_value map;
    *count = 0;
    mmq_reader_init(reader, body, size);
    if (mmq_unpack(reader, &map) != MMQ_OK || map.type != MMQ_MAP) {
        return mmq_fail(why, MMQ_EINVAL, "the request's body must be one msgpack map");
    }
    *count = map.count;
    return MMQ_OK;
}

mmq_err mmq_fields_op(const void *body, size_t size, mmq_slice *op, mmq_why *why)
{
    mmq_reader reader;
    uint32_t count;
    mmq_err err = open_body(&reader, body, size, &count, why);
    for (uint32_t i = 0; i < count && err == MMQ_OK; i++) {
        mmq_value name;
        packed_value packed;
        err = read_pair(&reader, &name, &packed, why);
        if (err == MMQ_OK && mmq_value_is(&name, "op")) {
            return store_value(&packed, MMQ_KIND_TEXT, (char *)op)
                       ? MMQ_OK
                       : mmq_fail(why, MMQ_EINVAL, "argument \"op\" must be text");
        }
    }
    return err != MMQ_OK ? err : mmq_fail(why, MMQ_EINVAL, "argument \"op\" is missing");
}

static mmq_err require_arguments(const field_table *table, mmq_why *why)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->specs[i].required && !(table->set & UINT64_C(1) << i)) {
            return mmq_fail(why, MMQ_EINVAL, "argument \"%s\" is missing", table->specs[i].name);
        }
    }
    return MMQ_OK;
}

/* Finds the argument's place: the common ones first, `id` (any value) aside. */
static mmq_err take_pair(field_table *common, field_table *own, bool *has_id, const mmq_value *name,
                         const packed_value *packed, mmq_why *why)
{
    if (mmq_value_is(name, "id")) {
        bool twice = *has_id;
        *has_id = true;
        return twice ? mmq_fail(why, MMQ_EINVAL, "argument \"id\" is there twice") : MMQ_OK;
    }
    mmq_err err = take_argument(common, name, packed, why);
    if (err == MMQ_ENOTFOUND) {
        err = take_argument(own, name, packed, why);
    }
    if (err == MMQ_ENOTFOUND) {
        err = mmq_fail(why, MMQ_EINVAL, "unknown argument \"%s\"", show_name(name).text);
    }
    return err;
}

mmq_err mmq_fields_read(const void *body, size_t size, const mmq_field_spec *specs, size_t count,
                        void *out, mmq_why *why)
{
    CHECK(count <= SPECS_MAX);
    common_values ignored;
    field_table common = {.specs = common_specs,
                          .count = sizeof common_specs / sizeof *common_specs,
                          .out = (char *)&ignored};
    field_table own = {.specs = specs, .count = count, .out = out};
    bool has_id = false;
    mmq_reader reader;
    uint32_t pairs;
    mmq_err err = open_body(&reader, body, size, &pairs, why);
    if (err != MMQ_OK) {
        return err;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        mmq_value name;
        packed_value packed;
        err = read_pair(&reader, &name, &packed, why);
        if (err == MMQ_OK) {
            err = take_pair(&common, &own, &has_id, &name, &packed, why);
        }
        if (err != MMQ_OK) {
            return err;
        }
    }
    if (!mmq_reader_done(&reader)) {
        return mmq_fail(why, MMQ_EINVAL, "the request's body has bytes after its map");
    }
    err = require_arguments(&common, why);
    return err != MMQ_OK ? err : require_arguments(&own, why);
}
