/* The text is checked whole (lib/json.h), then walked once. A metric's fields are few and small, so
 * they become msgpack by way of a tree; its data may be all of the body, so rows are packed
 * straight from the text. No two metrics of one body may be the same: which of them is meant is
 * told by the identities, which are compared at the end. */
#include "clients/http/models_body.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/model_form.h"
#include "lib/append_row.h"
#include "lib/calendar.h"
#include "lib/json.h"
#include "lib/json_walk.h"
#include "lib/number.h"
#include "metricmq/pack.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"
#include "workers/record.h"

enum {
    ROW_COLUMNS_FEW = 2,
    ROW_COLUMNS = 4,
    FIRST_CAPACITY = 16,
    ESCAPED_MAX = 6 * MMQ_TIME_TEXT, /* bytes of a time of which each character is escaped */
};

/* Which metric an element is. */
typedef struct claim {
    char uid[MMQ_UID_MAX + 1];
    char identity[MMQ_UID_MAX + 1]; /* the uid that follows from its identity */
    size_t element;
} claim;

typedef struct body_reader {
    mmq_models_body *out;
    mmq_json_walk walk;
    claim *claims;     /* of all elements, capacity as out->models */
    mmq_buffer fields; /* of the element, as JSON */
    mmq_buffer packed; /* the same as msgpack */
    mmq_buffer record; /* made of them */
    mmq_time_day day;  /* of the last row */
    mmq_why why;       /* without the element's number */
} body_reader;

static mmq_err no_memory(mmq_why *why)
{
    return mmq_fail(why, MMQ_ENOMEM, "no memory for the body");
}

/* ---- rows ------------------------------------------------------------------------------- */

/* The text of a string with escapes; false if it is longer than a time can be. */
static bool unescape(const mmq_slice *quoted, char out[MMQ_TIME_TEXT])
{
    mmq_buffer packed;
    mmq_reader reader;
    mmq_value value;
    mmq_buffer_init(&packed, 2 * ESCAPED_MAX);
    bool ok = quoted->size <= ESCAPED_MAX &&
              mmq_json_to_msgpack(quoted->data, quoted->size, &packed, NULL) == MMQ_OK;
    mmq_reader_init(&reader, packed.data, packed.size);
    ok = ok && mmq_unpack(&reader, &value) == MMQ_OK && value.text.size == MMQ_TIME_TEXT;
    if (ok) {
        memcpy(out, value.text.data, MMQ_TIME_TEXT);
    }
    mmq_buffer_clear(&packed);
    return ok;
}

/* Exactly "YYYY-MM-DD HH:MM:SS". */
static bool read_time(body_reader *self, const mmq_slice *value, int64_t *out)
{
    char plain[MMQ_TIME_TEXT];
    const char *text = value->data + 1;
    if (value->size != MMQ_TIME_TEXT + 2 || memchr(text, '\\', MMQ_TIME_TEXT) != NULL) {
        if (value->size < 2 || *value->data != '"' || !unescape(value, plain)) {
            return false;
        }
        text = plain;
    } else if (*value->data != '"') {
        return false;
    }
    return text[10] == ' ' && mmq_time_parse_row(text, MMQ_TIME_TEXT, &self->day, out);
}

static bool read_score(const mmq_slice *value, double *out)
{
    return mmq_slice_is(value, "null") || mmq_number_parse(value->data, value->size, out);
}

/* What is wrong with the row that the walk stands before; NULL: nothing. */
static const char *read_row(body_reader *self, mmq_append_row *out)
{
    mmq_slice values[ROW_COLUMNS];
    size_t count = 0;
    if (mmq_json_walk_type(&self->walk) != MMQ_JSON_ARRAY) {
        return "must be an array";
    }
    mmq_json_walk_enter(&self->walk);
    while (mmq_json_walk_more(&self->walk) && count <= ROW_COLUMNS) {
        const mmq_slice value = mmq_json_walk_value(&self->walk);
        if (count < ROW_COLUMNS) {
            values[count] = value;
        }
        count++;
    }
    if (count != ROW_COLUMNS_FEW && count != ROW_COLUMNS) {
        return "must have 2 values, or 4";
    }
    out->anomaly_score = out->raw_score = NAN;
    if (!mmq_number_parse(values[0].data, values[0].size, &out->value)) {
        return "the value must be a number";
    }
    if (!read_time(self, &values[1], &out->timestamp)) {
        return "the time must be \"YYYY-MM-DD HH:MM:SS\"";
    }
    return count == ROW_COLUMNS && !(read_score(&values[2], &out->anomaly_score) &&
                                     read_score(&values[3], &out->raw_score))
               ? "a score must be a number or null"
               : NULL;
}

static void *grow(void *items, size_t *capacity, size_t item_size)
{
    const size_t wanted = *capacity > 0 ? 2 * *capacity : FIRST_CAPACITY;
    void *more = reallocarray(items, wanted, item_size);
    if (more != NULL) {
        *capacity = wanted;
    }
    return more;
}

/* A batch of the model that begins with row number `rowid`; NULL without memory. */
static mmq_models_batch *begin_batch(mmq_models_body *out, mmq_new_model *model, uint32_t rowid)
{
    if (out->batch_count == out->batch_capacity) {
        void *more = grow(out->batches, &out->batch_capacity, sizeof *out->batches);
        if (more == NULL) {
            return NULL;
        }
        out->batches = more;
    }
    model->batch_count++;
    mmq_models_batch *batch = &out->batches[out->batch_count++];
    *batch = (mmq_models_batch){{(uint32_t)out->packed.size, 0}, rowid};
    return batch;
}

/* Packs the rows of the array that the walk stands before. */
static mmq_err read_rows(body_reader *self, mmq_new_model *model)
{
    mmq_models_body *out = self->out;
    mmq_models_batch *batch = NULL;
    if (mmq_json_walk_type(&self->walk) != MMQ_JSON_ARRAY) {
        return mmq_fail(&self->why, MMQ_EINVAL, "\"data\" must be an array of rows");
    }
    mmq_json_walk_enter(&self->walk);
    for (uint32_t rowid = 1; mmq_json_walk_more(&self->walk); rowid++) {
        mmq_append_row row;
        const char *wrong = read_row(self, &row);
        if (wrong != NULL) {
            return mmq_fail(&self->why, MMQ_EINVAL, "\"data\" row %u: %s", rowid, wrong);
        }
        if (batch == NULL || batch->rows.size > MMQ_MODELS_BATCH - MMQ_APPEND_ROW_MAX) {
            batch = begin_batch(out, model, rowid);
        }
        uint8_t *at = mmq_buffer_reserve(&out->packed, MMQ_APPEND_ROW_MAX);
        if (batch == NULL || at == NULL) {
            return no_memory(&self->why);
        }
        const size_t size = (size_t)(mmq_append_row_put(at, &row) - at);
        out->packed.size += size;
        batch->rows.size += (uint32_t)size;
    }
    return MMQ_OK;
}

/* ---- elements --------------------------------------------------------------------------- */

static bool is_data(const mmq_slice *key)
{
    mmq_buffer packed;
    mmq_reader reader;
    mmq_value value;
    if (memchr(key->data, '\\', key->size) == NULL) {
        return mmq_slice_is(key, "data");
    }
    mmq_buffer_init(&packed, MMQ_MODELS_FIELDS);
    bool ok = key->size <= MMQ_MODELS_FIELDS / 2 &&
              mmq_json_to_msgpack(key->data - 1, key->size + 2, &packed, NULL) == MMQ_OK;
    mmq_reader_init(&reader, packed.data, packed.size);
    ok = ok && mmq_unpack(&reader, &value) == MMQ_OK && mmq_value_is(&value, "data");
    mmq_buffer_clear(&packed);
    return ok;
}

/* Copies a field that is not data. */
static mmq_err keep_field(body_reader *self, const mmq_slice *key, const mmq_slice *value)
{
    const size_t size = (size_t)(value->data + value->size - key->data) + 1;
    if (size >= MMQ_MODELS_FIELDS - self->fields.size) { /* a comma or brace goes before it */
        return mmq_fail(&self->why, MMQ_EINVAL, "its fields without data are over %d bytes",
                        MMQ_MODELS_FIELDS);
    }
    mmq_buffer_text(&self->fields, self->fields.size > 0 ? "," : "{");
    mmq_buffer_add(&self->fields, key->data - 1, size);
    return self->fields.failed ? no_memory(&self->why) : MMQ_OK;
}

/* Walks over an element: its rows are packed, its other fields are copied. */
static mmq_err walk_element(body_reader *self, mmq_new_model *model)
{
    mmq_err err = MMQ_OK;
    mmq_buffer_reset(&self->fields);
    mmq_json_walk_enter(&self->walk);
    while (err == MMQ_OK && mmq_json_walk_more(&self->walk)) {
        const mmq_slice key = mmq_json_walk_key(&self->walk);
        const bool data = is_data(&key);
        if (data && mmq_json_walk_type(&self->walk) != MMQ_JSON_NULL) {
            err = read_rows(self, model);
            continue;
        }
        const mmq_slice value = mmq_json_walk_value(&self->walk);
        err = data ? MMQ_OK : keep_field(self, &key, &value);
    }
    mmq_buffer_text(&self->fields, self->fields.size > 0 ? "}" : "{}");
    return err == MMQ_OK && self->fields.failed ? no_memory(&self->why) : err;
}

/* Reads the record as the write worker will. */
static mmq_err check_record(body_reader *self, mmq_new_model *model, claim *of)
{
    mmq_models_body *out = self->out;
    mmq_metric metric;
    mmq_err err = mmq_record_read(self->record.data, self->record.size, &metric, &self->why);
    if (err == MMQ_OK) {
        const size_t size = strlen(metric.head.uid);
        memcpy(of->uid, metric.head.uid, sizeof of->uid);
        mmq_uid_derive(metric.datasource, metric.identity, of->identity);
        mmq_pack_text(&out->uids, metric.head.uid, size);
        model->uid = (mmq_span){(uint32_t)(out->uids.size - size), (uint32_t)size};
        model->record = (mmq_span){(uint32_t)out->packed.size, (uint32_t)self->record.size};
        mmq_buffer_add(&out->packed, self->record.data, self->record.size);
        if (out->uids.failed || out->packed.failed) {
            err = no_memory(&self->why);
        }
    }
    mmq_metric_clear(&metric);
    return err;
}

static mmq_err read_model(body_reader *self, mmq_new_model *model, claim *of)
{
    if (mmq_json_walk_type(&self->walk) != MMQ_JSON_OBJECT) {
        return mmq_fail(&self->why, MMQ_EINVAL, "a metric must be an object");
    }
    mmq_err err = walk_element(self, model);
    if (err == MMQ_OK && self->fields.size == 2 && model->batch_count == 0) {
        err = mmq_fail(&self->why, MMQ_EINVAL, MMQ_MODELS_MISSING);
    }
    mmq_buffer_reset(&self->packed);
    mmq_buffer_reset(&self->record);
    if (err == MMQ_OK) {
        err = mmq_json_to_msgpack((const char *)self->fields.data, self->fields.size, &self->packed,
                                  &self->why);
    }
    if (err == MMQ_OK) {
        err = mmq_model_form_read(self->packed.data, self->packed.size, &self->record, &self->why);
    }
    return err == MMQ_OK ? check_record(self, model, of) : err;
}

/* Room for one more element; false without memory. */
static bool make_room(body_reader *self)
{
    mmq_models_body *out = self->out;
    size_t capacity = out->capacity;
    if (out->count < capacity) {
        return true;
    }
    void *claims = grow(self->claims, &capacity, sizeof *self->claims);
    if (claims == NULL) {
        return false;
    }
    self->claims = claims;
    void *models = grow(out->models, &out->capacity, sizeof *out->models);
    if (models == NULL) {
        return false;
    }
    out->models = models;
    return true;
}

static mmq_err read_element(body_reader *self)
{
    mmq_models_body *out = self->out;
    if (out->count == MMQ_MODELS_MAX) {
        return mmq_fail(&self->why, MMQ_ETOOBIG, "there may be %d metrics at once at most",
                        MMQ_MODELS_MAX);
    }
    if (!make_room(self)) {
        return no_memory(&self->why);
    }
    mmq_new_model *model = &out->models[out->count];
    claim *of = &self->claims[out->count++];
    *model = (mmq_new_model){.first_batch = (uint32_t)out->batch_count};
    of->element = out->count;
    return read_model(self, model, of);
}

/* ---- the body --------------------------------------------------------------------------- */

static int by_uid(const void *a, const void *b)
{
    return strcmp(((const claim *)a)->uid, ((const claim *)b)->uid);
}

static int by_identity(const void *a, const void *b)
{
    return strcmp(((const claim *)a)->identity, ((const claim *)b)->identity);
}

/* Refuses claims of which two are equal. */
static mmq_err check_claims(claim *claims, size_t count, int (*order)(const void *, const void *),
                            mmq_why *why)
{
    qsort(claims, count, sizeof *claims, order);
    for (size_t i = 1; i < count; i++) {
        const size_t a = claims[i - 1].element, b = claims[i].element;
        if (order(&claims[i - 1], &claims[i]) == 0) {
            return mmq_fail(why, MMQ_EINVAL, "elements %zu and %zu are the same metric",
                            a < b ? a : b, a < b ? b : a);
        }
    }
    return MMQ_OK;
}

static mmq_err read_array(body_reader *self, mmq_why *why)
{
    mmq_models_body *out = self->out;
    mmq_err err = MMQ_OK;
    mmq_json_walk_enter(&self->walk);
    while (err == MMQ_OK && mmq_json_walk_more(&self->walk)) {
        err = read_element(self);
    }
    if (err != MMQ_OK) {
        return mmq_fail(why, err, "element %zu: %s", out->count, self->why.text);
    }
    if (out->count == 0) {
        return mmq_fail(why, MMQ_EINVAL, MMQ_MODELS_MISSING);
    }
    err = check_claims(self->claims, out->count, by_uid, why);
    return err == MMQ_OK ? check_claims(self->claims, out->count, by_identity, why) : err;
}

static mmq_err read_body(body_reader *self, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    switch (mmq_json_walk_type(&self->walk)) {
    case MMQ_JSON_ARRAY:
        self->out->array = true;
        return read_array(self, why);
    case MMQ_JSON_OBJECT:
        err = read_element(self);
        return err == MMQ_OK ? err : mmq_fail(why, err, "%s", self->why.text);
    case MMQ_JSON_NULL:
        return mmq_fail(why, MMQ_EINVAL, MMQ_MODELS_MISSING);
    case MMQ_JSON_BOOL:
    case MMQ_JSON_NUMBER:
    case MMQ_JSON_STRING:
        break;
    }
    return mmq_fail(why, MMQ_EINVAL, "the body must be an object or an array of objects");
}

static bool is_blank(const char *text, size_t size)
{
    size_t i = 0;
    while (i < size && strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0') {
        i++;
    }
    return i == size;
}

mmq_err mmq_models_body_read(const char *text, size_t size, mmq_models_body *out, mmq_why *why)
{
    /* A row may be longer packed than as text, by less than half; a record is made of its fields.
     */
    const size_t limit = 4 * size + MMQ_MODELS_FIELDS;
    *out = (mmq_models_body){.array = false};
    mmq_buffer_init(&out->packed, limit);
    mmq_buffer_init(&out->uids, limit);
    if (is_blank(text, size)) {
        return mmq_fail(why, MMQ_EINVAL, MMQ_MODELS_MISSING);
    }
    mmq_err err = mmq_json_check(text, size, why);
    if (err != MMQ_OK) {
        return err;
    }
    body_reader self = {.out = out};
    mmq_json_walk_init(&self.walk, text, size);
    mmq_buffer_init(&self.fields, 2 * MMQ_MODELS_FIELDS);
    mmq_buffer_init(&self.packed, 4 * MMQ_MODELS_FIELDS); /* 1.5 takes nine bytes */
    mmq_buffer_init(&self.record, 16 * MMQ_MODELS_FIELDS);
    err = read_body(&self, why);
    mmq_buffer_clear(&self.fields);
    mmq_buffer_clear(&self.packed);
    mmq_buffer_clear(&self.record);
    free(self.claims);
    return err;
}

void mmq_models_body_clear(mmq_models_body *body)
{
    free(body->models);
    free(body->batches);
    mmq_buffer_clear(&body->packed);
    mmq_buffer_clear(&body->uids);
    body->models = NULL;
    body->batches = NULL;
    body->count = body->capacity = body->batch_count = body->batch_capacity = 0;
}

size_t mmq_models_body_bytes(const mmq_models_body *body)
{
    return body->count * sizeof *body->models + body->batch_count * sizeof *body->batches +
           body->packed.size + body->uids.size;
}
