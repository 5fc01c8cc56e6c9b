/* All fields of all forms stand in one table, which says where each may be; what is not in it is
 * refused, so that a misspelt field is no field that was left out. null counts as absent. The
 * record that comes out is only as right as what is checked here, and is read by the caller with
 * the write worker's own reader (workers/record.h). */
#include "clients/http/model_form.h"

#include <string.h>

#include "lib/fields.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"

enum {
    NAME_MAX_BYTES = 4096,              /* of a custom metric's name, unit, resource */
    PART_MAX_BYTES = 1024,              /* of region, namespace, metric, a dimension */
    RECORD_MAX_BYTES = 4 * 1024 * 1024, /* more than what fields can become */
    SHOWN_BYTES = 40,                   /* of a name that is quoted back */
};

/* Where a field may stand, and in metrics of which datasource. */
enum {
    TOP = 1,
    SPEC = 2,   /* metricSpec */
    PARAMS = 4, /* modelParams */
    CUSTOM = 8,
    CLOUD = 16,
    BOTH = CUSTOM | CLOUD,
};

enum {
    UID,
    DATASOURCE,
    NAME,
    DESCRIPTION,
    SERVER,
    LOCATION,
    PARAMETERS,
    STATUS,
    MESSAGE,
    LAST_TIMESTAMP,
    POLL_INTERVAL,
    TAG_NAME,
    LAST_ROWID,
    DISPLAY_NAME,
    RECORD_FIELDS, /* those before go into the record as they are */
    METRIC = RECORD_FIELDS,
    UNIT,
    RESOURCE,
    USER_INFO,
    REGION,
    NAMESPACE,
    DIMENSIONS,
    MIN,
    MAX,
    METRIC_SPEC,
    MODEL_PARAMS,
    FIELDS,
};

static const struct {
    const char *name;
    unsigned where;
} known[FIELDS] = {
    [UID] = {"uid", TOP | BOTH},
    [DATASOURCE] = {"datasource", TOP | BOTH},
    [NAME] = {"name", TOP | BOTH},
    [DESCRIPTION] = {"description", TOP | BOTH},
    [SERVER] = {"server", TOP | BOTH},
    [LOCATION] = {"location", TOP | BOTH},
    [PARAMETERS] = {"parameters", TOP | BOTH},
    [STATUS] = {"status", TOP | BOTH},
    [MESSAGE] = {"message", TOP | BOTH},
    [LAST_TIMESTAMP] = {"last_timestamp", TOP | BOTH},
    [POLL_INTERVAL] = {"poll_interval", TOP | BOTH},
    [TAG_NAME] = {"tag_name", TOP | BOTH},
    [LAST_ROWID] = {"last_rowid", TOP | BOTH},
    [DISPLAY_NAME] = {"display_name", TOP | BOTH},
    [METRIC] = {"metric", TOP | SPEC | BOTH},
    [UNIT] = {"unit", TOP | SPEC | CUSTOM},
    [RESOURCE] = {"resource", TOP | SPEC | CUSTOM},
    [USER_INFO] = {"userInfo", TOP | SPEC | CUSTOM},
    [REGION] = {"region", TOP | SPEC | CLOUD},
    [NAMESPACE] = {"namespace", TOP | SPEC | CLOUD},
    [DIMENSIONS] = {"dimensions", TOP | SPEC | CLOUD},
    [MIN] = {"min", TOP | PARAMS | BOTH},
    [MAX] = {"max", TOP | PARAMS | BOTH},
    [METRIC_SPEC] = {"metricSpec", TOP | BOTH},
    [MODEL_PARAMS] = {"modelParams", TOP | BOTH},
};

typedef struct field {
    bool given;
    mmq_value head;
    mmq_reader whole;
} field;

typedef struct form {
    field fields[FIELDS];
    mmq_args record;
} form;

/* ---- reading the fields ----------------------------------------------------------------- */

/* Bytes of UTF-8 text to show, whole characters only. */
static int shown(const mmq_value *text)
{
    size_t size = text->text.size;
    if (size > SHOWN_BYTES) {
        for (size = SHOWN_BYTES; ((unsigned char)text->text.data[size] & 0xC0) == 0x80; size--) {
        }
    }
    return (int)size;
}

static size_t find_field(const mmq_value *name, unsigned where)
{
    size_t i = 0;
    while (i < FIELDS && !((known[i].where & where) && mmq_value_is(name, known[i].name))) {
        i++;
    }
    return i;
}

/* Reads the fields of a map that stands `where`. */
static mmq_err read_fields(form *self, mmq_reader map, unsigned where, const char *of, mmq_why *why)
{
    mmq_value head, name;
    if (mmq_unpack(&map, &head) != MMQ_OK || head.type != MMQ_MAP) {
        return mmq_fail(why, MMQ_EINVAL, "%s must be an object", of);
    }
    for (uint32_t i = 0; i < head.count; i++) {
        field value = {.given = true};
        if (mmq_unpack(&map, &name) != MMQ_OK || name.type != MMQ_STR ||
            mmq_unpack_whole(&map, &value.head, &value.whole) != MMQ_OK) {
            return mmq_fail(why, MMQ_EINVAL, "%s cannot be read", of);
        }
        const size_t at = find_field(&name, where);
        if (at == FIELDS) {
            return mmq_fail(why, MMQ_EINVAL, "\"%.*s\" is no field of %s", shown(&name),
                            name.text.data, of);
        }
        if (value.head.type == MMQ_NIL) {
            continue;
        }
        if (self->fields[at].given) {
            return mmq_fail(why, MMQ_EINVAL, "\"%s\" is there twice", known[at].name);
        }
        self->fields[at] = value;
    }
    return MMQ_OK;
}

/* A field that holds fields itself. */
static mmq_err read_nested(form *self, size_t at, unsigned where, mmq_why *why)
{
    const field *nested = &self->fields[at];
    return nested->given ? read_fields(self, nested->whole, where, known[at].name, why) : MMQ_OK;
}

static mmq_err read_form(form *self, const void *fields, size_t size, mmq_why *why)
{
    mmq_reader map;
    mmq_reader_init(&map, fields, size);
    mmq_err err = read_fields(self, map, TOP, "a metric", why);
    if (err == MMQ_OK) {
        err = read_nested(self, METRIC_SPEC, SPEC, why);
    }
    return err == MMQ_OK ? read_nested(self, MODEL_PARAMS, PARAMS, why) : err;
}

/* ---- checking them ---------------------------------------------------------------------- */

/* Absent, or text of 1 to `most` bytes. */
static mmq_err check_text(const form *self, size_t at, size_t most, mmq_why *why)
{
    const field *text = &self->fields[at];
    if (text->given &&
        (text->head.type != MMQ_STR || text->head.text.size == 0 || text->head.text.size > most)) {
        return mmq_fail(why, MMQ_EINVAL, "\"%s\" must be text of 1 to %zu bytes", known[at].name,
                        most);
    }
    return MMQ_OK;
}

static mmq_err check_given(const form *self, size_t at, mmq_why *why)
{
    return self->fields[at].given ? MMQ_OK
                                  : mmq_fail(why, MMQ_EINVAL, "\"%s\" is missing", known[at].name);
}

static mmq_err check_apart(const form *self, size_t one, size_t other, mmq_why *why)
{
    return !self->fields[one].given || !self->fields[other].given
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL, "\"%s\" and \"%s\" cannot go together", known[one].name,
                          known[other].name);
}

/* No field that metrics of another datasource have. */
static mmq_err check_fields(const form *self, unsigned datasource, mmq_why *why)
{
    for (size_t i = 0; i < FIELDS; i++) {
        if (self->fields[i].given && !(known[i].where & datasource)) {
            return mmq_fail(why, MMQ_EINVAL, "\"%s\" is no field of a %s metric", known[i].name,
                            datasource == CUSTOM ? "custom" : "cloudwatch");
        }
    }
    return MMQ_OK;
}

static bool read_number(const field *number, double *out)
{
    if (number->head.type == MMQ_INT) {
        *out = (double)number->head.integer;
    } else {
        *out = number->head.number;
    }
    return number->head.type == MMQ_INT || number->head.type == MMQ_FLOAT;
}

static mmq_err check_range(const form *self, mmq_why *why)
{
    double ends[2] = {0};
    for (size_t i = MIN; i <= MAX; i++) {
        if (self->fields[i].given && !read_number(&self->fields[i], &ends[i - MIN])) {
            return mmq_fail(why, MMQ_EINVAL, "\"%s\" must be a number", known[i].name);
        }
    }
    if (self->fields[MIN].given && self->fields[MAX].given && ends[0] > ends[1]) {
        return mmq_fail(why, MMQ_EINVAL, "\"min\" must not be greater than \"max\"");
    }
    return MMQ_OK;
}

/* ---- making the record ------------------------------------------------------------------ */

static void add_field(mmq_args *to, const char *key, const field *value)
{
    if (value->given) {
        mmq_args_packed(to, key, value->whole.at, mmq_reader_left(&value->whole));
    }
}

/* Adds a map, whose pairs it clears. */
static void add_map(mmq_args *to, const char *key, mmq_args *pairs)
{
    mmq_buffer map;
    mmq_buffer_init(&map, RECORD_MAX_BYTES);
    mmq_pack_map(&map, pairs->count);
    mmq_buffer_add(&map, pairs->pairs.data, pairs->pairs.size);
    to->pairs.failed |= map.failed || pairs->pairs.failed;
    mmq_args_packed(to, key, map.data, map.size);
    mmq_buffer_clear(&map);
    mmq_args_clear(pairs);
}

static void add_custom_parameters(form *self)
{
    mmq_args parameters, spec, params;
    mmq_args_init(&parameters);
    mmq_args_init(&spec);
    mmq_args_init(&params);
    const field *metric = &self->fields[self->fields[METRIC].given ? METRIC : NAME];
    add_field(&spec, known[METRIC].name, metric);
    for (size_t i = UNIT; i <= USER_INFO; i++) {
        add_field(&spec, known[i].name, &self->fields[i]);
    }
    add_field(&params, known[MIN].name, &self->fields[MIN]);
    add_field(&params, known[MAX].name, &self->fields[MAX]);
    mmq_args_cstr(&parameters, known[DATASOURCE].name, "custom");
    add_map(&parameters, known[METRIC_SPEC].name, &spec);
    add_map(&parameters, known[MODEL_PARAMS].name, &params);
    add_map(&self->record, known[PARAMETERS].name, &parameters);
}

static bool is_same_text(const field *a, const field *b)
{
    return b->head.type == MMQ_STR && a->head.text.size == b->head.text.size &&
           memcmp(a->head.text.data, b->head.text.data, a->head.text.size) == 0;
}

static mmq_err check_custom(const form *self, mmq_why *why)
{
    mmq_err err = check_text(self, METRIC, NAME_MAX_BYTES, why);
    for (size_t i = UNIT; i <= RESOURCE && err == MMQ_OK; i++) {
        err = check_text(self, i, NAME_MAX_BYTES, why);
    }
    for (size_t i = UNIT; i <= MAX && err == MMQ_OK; i++) {
        err = check_apart(self, PARAMETERS, i, why);
    }
    const field *metric = &self->fields[METRIC], *name = &self->fields[NAME];
    if (err == MMQ_OK && !metric->given && !name->given) {
        err = check_given(self, METRIC, why);
    }
    if (err == MMQ_OK && metric->given && name->given && !is_same_text(metric, name)) {
        err = mmq_fail(why, MMQ_EINVAL, "\"metric\" and \"name\" differ");
    }
    return err;
}

static mmq_err make_custom(form *self, mmq_why *why)
{
    field *fields = self->fields;
    mmq_err err = check_custom(self, why);
    if (err != MMQ_OK) {
        return err;
    }
    bool has_parts = false;
    for (size_t i = UNIT; i <= MAX; i++) {
        has_parts |= fields[i].given;
    }
    if (!fields[NAME].given) {
        add_field(&self->record, known[NAME].name, &fields[METRIC]);
    }
    if (!fields[SERVER].given) {
        add_field(&self->record, known[SERVER].name, &fields[RESOURCE]);
    }
    if (has_parts) {
        add_custom_parameters(self);
    }
    return MMQ_OK;
}

/* Joins texts with slashes. */
static void add_joined(form *self, const char *key, const mmq_value *const *texts, size_t count)
{
    mmq_buffer text;
    mmq_buffer_init(&text, count * (PART_MAX_BYTES + 1));
    for (size_t i = 0; i < count; i++) {
        mmq_buffer_text(&text, i > 0 ? "/" : "");
        mmq_buffer_add(&text, texts[i]->text.data, texts[i]->text.size);
    }
    self->record.pairs.failed |= text.failed;
    mmq_args_text(&self->record, key, (const char *)text.data, text.size);
    mmq_buffer_clear(&text);
}

/* Adds the dimensions to `parameters`; *first is the value of the first. */
static mmq_err read_dimensions(const form *self, mmq_args *parameters, mmq_value *first,
                               mmq_why *why)
{
    mmq_reader map = self->fields[DIMENSIONS].whole;
    mmq_value head, name, value;
    if (mmq_unpack(&map, &head) != MMQ_OK || head.type != MMQ_MAP || head.count == 0) {
        return mmq_fail(why, MMQ_EINVAL, "\"dimensions\" must be an object with at least one");
    }
    for (uint32_t i = 0; i < head.count; i++) {
        if (mmq_unpack(&map, &name) != MMQ_OK || mmq_unpack(&map, &value) != MMQ_OK ||
            name.type != MMQ_STR || name.text.size == 0 || name.text.size > PART_MAX_BYTES ||
            value.type != MMQ_STR || value.text.size == 0 || value.text.size > PART_MAX_BYTES) {
            return mmq_fail(why, MMQ_EINVAL,
                            "\"dimensions\" must have names and values that are text of 1 to %d "
                            "bytes",
                            PART_MAX_BYTES);
        }
        if (mmq_value_is(&name, known[REGION].name)) {
            return mmq_fail(why, MMQ_EINVAL, "\"dimensions\" cannot have one named \"region\"");
        }
        *first = i == 0 ? value : *first;
        mmq_pack_text(&parameters->pairs, name.text.data, name.text.size);
        mmq_pack_text(&parameters->pairs, value.text.data, value.text.size);
        parameters->count++;
    }
    return MMQ_OK;
}

/* The server is told too: where the name has several slashes, it says where the namespace ends. */
static mmq_err add_cloud_parts(form *self, mmq_why *why)
{
    const field *fields = self->fields;
    mmq_value first = {.type = MMQ_NIL};
    mmq_args parameters;
    mmq_args_init(&parameters);
    mmq_err err = read_dimensions(self, &parameters, &first, why);
    if (err == MMQ_OK) {
        const mmq_value *name[] = {&fields[NAMESPACE].head, &fields[METRIC].head};
        const mmq_value *server[] = {&fields[REGION].head, &fields[NAMESPACE].head, &first};
        add_field(&parameters, known[REGION].name, &fields[REGION]);
        add_joined(self, known[NAME].name, name, 2);
        add_joined(self, known[SERVER].name, server, 3);
        add_map(&self->record, known[PARAMETERS].name, &parameters);
    }
    mmq_args_clear(&parameters);
    return err;
}

static mmq_err make_cloud(form *self, mmq_why *why)
{
    static const size_t parts[] = {REGION, NAMESPACE, METRIC, DIMENSIONS};
    static const size_t made[] = {PARAMETERS, NAME, SERVER};
    enum { PARTS = sizeof parts / sizeof *parts, MADE = sizeof made / sizeof *made };
    mmq_err err = MMQ_OK;
    bool has_parts = false;
    for (size_t i = 0; i < PARTS && err == MMQ_OK; i++) {
        has_parts |= self->fields[parts[i]].given;
        for (size_t j = 0; j < MADE && err == MMQ_OK; j++) {
            err = check_apart(self, parts[i], made[j], why);
        }
        if (err == MMQ_OK && parts[i] != DIMENSIONS) {
            err = check_text(self, parts[i], PART_MAX_BYTES, why);
        }
    }
    has_parts |= !self->fields[PARAMETERS].given;
    for (size_t i = 0; i < PARTS && has_parts && err == MMQ_OK; i++) {
        err = check_given(self, parts[i], why);
    }
    return has_parts && err == MMQ_OK ? add_cloud_parts(self, why) : err;
}

static mmq_err make_record(form *self, mmq_why *why)
{
    const mmq_value *datasource = &self->fields[DATASOURCE].head;
    const bool given = self->fields[DATASOURCE].given;
    unsigned bit = given && mmq_value_is(datasource, "custom")       ? CUSTOM
                   : given && mmq_value_is(datasource, "cloudwatch") ? CLOUD
                                                                     : 0;
    if (bit == 0) {
        return mmq_fail(why, MMQ_EINVAL, "\"datasource\" must be \"custom\" or \"cloudwatch\"");
    }
    mmq_err err = check_fields(self, bit, why);
    if (err == MMQ_OK) {
        err = check_range(self, why);
    }
    for (size_t i = 0; i < RECORD_FIELDS && err == MMQ_OK; i++) {
        add_field(&self->record, known[i].name, &self->fields[i]);
    }
    return err != MMQ_OK ? err : bit == CUSTOM ? make_custom(self, why) : make_cloud(self, why);
}

mmq_err mmq_model_form_read(const void *fields, size_t size, mmq_buffer *record, mmq_why *why)
{
    form self = {.fields = {{.given = false}}};
    mmq_args_init(&self.record);
    mmq_err err = read_form(&self, fields, size, why);
    if (err == MMQ_OK) {
        err = make_record(&self, why);
    }
    if (err == MMQ_OK) {
        mmq_pack_map(record, self.record.count);
        mmq_buffer_add(record, self.record.pairs.data, self.record.pairs.size);
        if (self.record.pairs.failed || record->failed) {
            err = mmq_fail(why, MMQ_ENOMEM, "no memory for a record");
        }
    }
    mmq_args_clear(&self.record);
    return err;
}
