/* Records on the wire. One table names the keys in their order; a record that is read may leave
 * out all but datasource and name, and parameters if it is a cloudwatch metric's. What the
 * datasources make of the rest stands in one table too. */
#include "workers/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/json.h"
#include "metricmq/pack.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"
#include "workers/cloudwatch.h"

enum {
    TEXT_BYTES_MAX = 4096,        /* of one text of a record */
    PARAMETERS_BYTES_MAX = 65536, /* of its parameters, as JSON */
    POLL_INTERVAL_DEFAULT = 300,
    POLL_INTERVAL_MAX = 366 * 86400,
    STATUS_ACTIVE = 1,
};

typedef enum record_kind {
    KIND_UID,
    KIND_TEXT,
    KIND_MAP,
    KIND_INT,
    KIND_MADE, /* made by us: ignored when it is sent */
} record_kind;

static const struct record_key {
    const char *name;
    record_kind kind;
    size_t offset; /* in mmq_metric */
} record_keys[] = {
    {"uid", KIND_UID, 0},
    {"datasource", KIND_TEXT, offsetof(mmq_metric, datasource)},
    {"name", KIND_TEXT, offsetof(mmq_metric, name)},
    {"description", KIND_TEXT, offsetof(mmq_metric, description)},
    {"server", KIND_TEXT, offsetof(mmq_metric, server)},
    {"location", KIND_TEXT, offsetof(mmq_metric, location)},
    {"parameters", KIND_MAP, offsetof(mmq_metric, parameters)},
    {"status", KIND_INT, offsetof(mmq_metric, status)},
    {"message", KIND_TEXT, offsetof(mmq_metric, message)},
    {"last_timestamp", KIND_MADE, 0},
    {"poll_interval", KIND_INT, offsetof(mmq_metric, poll_interval)},
    {"tag_name", KIND_TEXT, offsetof(mmq_metric, tag_name)},
    {"last_rowid", KIND_MADE, 0},
    {"display_name", KIND_MADE, 0},
};
enum { RECORD_KEYS = sizeof record_keys / sizeof *record_keys };

/* ---- out -------------------------------------------------------------------------------- */

static void pack_last_timestamp(mmq_buffer *out, const mmq_metric *metric)
{
    if (!metric->has_rows) {
        mmq_pack_nil(out);
        return;
    }
    char text[MMQ_TIME_TEXT];
    mmq_time_print(metric->last_timestamp, text);
    mmq_pack_text(out, text, sizeof text);
}

static void pack_display_name(mmq_buffer *out, const mmq_metric *metric)
{
    if (metric->tag_name == NULL) {
        mmq_pack_cstr(out, metric->server);
        return;
    }
    char *text = NULL;
    if (asprintf(&text, "%s (%s)", metric->tag_name, metric->server) < 0) {
        out->failed = true;
        return;
    }
    mmq_pack_cstr(out, text);
    free(text);
}

mmq_err mmq_record_pack(mmq_buffer *out, const mmq_metric *metric, mmq_why *why)
{
    mmq_pack_map(out, RECORD_KEYS);
    for (size_t i = 0; i < RECORD_KEYS; i++) {
        const struct record_key *key = &record_keys[i];
        const void *field = (const char *)metric + key->offset;
        mmq_pack_cstr(out, key->name);
        switch (key->kind) {
        case KIND_UID:
            mmq_pack_cstr(out, metric->head.uid);
            break;
        case KIND_TEXT:
            mmq_pack_cstr(out, *(char *const *)field);
            break;
        case KIND_MAP:
            if (mmq_json_to_msgpack(metric->parameters, strlen(metric->parameters), out, NULL) !=
                MMQ_OK) {
                return mmq_fail(why, MMQ_ECORRUPT, "the stored parameters of %s are no JSON",
                                metric->head.uid);
            }
            break;
        case KIND_INT:
            mmq_pack_int(out, *(const int64_t *)field);
            break;
        case KIND_MADE:
            if (strcmp(key->name, "last_timestamp") == 0) {
                pack_last_timestamp(out, metric);
            } else if (strcmp(key->name, "last_rowid") == 0) {
                mmq_pack_int(out, metric->head.last_rowid);
            } else {
                pack_display_name(out, metric);
            }
            break;
        }
    }
    return out->failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for a record") : MMQ_OK;
}

/* ---- in --------------------------------------------------------------------------------- */

static mmq_err copy_text(const char *data, size_t size, char **out, mmq_why *why)
{
    *out = strndup(data, size);
    return *out != NULL ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "no memory for a record");
}

static mmq_err read_text(const struct record_key *key, const mmq_value *value, char **out,
                         mmq_why *why)
{
    if (value->type != MMQ_STR || value->text.size > TEXT_BYTES_MAX ||
        memchr(value->text.data, '\0', value->text.size) != NULL ||
        !mmq_utf8_valid(value->text.data, value->text.size)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "\"%s\" must be text (UTF-8 without NUL, at most %d bytes)", key->name,
                        TEXT_BYTES_MAX);
    }
    return copy_text(value->text.data, value->text.size, out, why);
}

static mmq_err read_uid(const mmq_value *value, mmq_metric *out, mmq_why *why)
{
    if (value->type != MMQ_STR || !mmq_uid_valid(value->text.data, value->text.size)) {
        return mmq_fail(why, MMQ_EINVAL, MMQ_UID_RULE);
    }
    memcpy(out->head.uid, value->text.data, value->text.size);
    out->head.uid[value->text.size] = '\0';
    return MMQ_OK;
}

/* Keeps the map as JSON; checked as such, since msgpack may repeat keys. A byte of msgpack is no
 * more than 6 of JSON, and 9 are no less than 2. */
static mmq_err read_parameters(const mmq_reader *map, char **out, mmq_why *why)
{
    const size_t size = mmq_reader_left(map);
    mmq_buffer json;
    mmq_buffer_init(&json, 8 * size);
    mmq_why reason = {""};
    mmq_err err = size > 5 * PARAMETERS_BYTES_MAX
                      ? MMQ_ETOOBIG
                      : mmq_json_from_msgpack(map->at, size, &json, &reason);
    if (err == MMQ_ETOOBIG || (err == MMQ_OK && json.size > PARAMETERS_BYTES_MAX)) {
        err = mmq_fail(&reason, MMQ_EINVAL, "more than %d bytes", PARAMETERS_BYTES_MAX);
    }
    if (err == MMQ_OK) {
        err = mmq_json_check((const char *)json.data, json.size, &reason);
    }
    if (err == MMQ_OK) {
        err = copy_text((const char *)json.data, json.size, out, why);
    } else {
        err = mmq_fail(why, err, "\"parameters\" cannot be kept as JSON: %s", reason.text);
    }
    mmq_buffer_clear(&json);
    return err;
}

/* A record being read. */
typedef struct reading {
    mmq_metric *metric;
    unsigned seen;         /* bits of the keys that were there */
    mmq_reader parameters; /* as they came; at NULL: not there */
} reading;

/* The value behind a key. */
static mmq_err read_value(reading *self, const struct record_key *key, const mmq_value *value,
                          const mmq_reader *whole, mmq_why *why)
{
    if (value->type == MMQ_NIL) {
        return MMQ_OK;
    }
    void *field = (char *)self->metric + key->offset;
    switch (key->kind) {
    case KIND_UID:
        return read_uid(value, self->metric, why);
    case KIND_TEXT:
        return read_text(key, value, field, why);
    case KIND_MAP:
        self->parameters = *whole;
        return value->type == MMQ_MAP
                   ? read_parameters(whole, field, why)
                   : mmq_fail(why, MMQ_EINVAL, "\"%s\" must be a map", key->name);
    case KIND_INT:
        if (value->type != MMQ_INT) {
            return mmq_fail(why, MMQ_EINVAL, "\"%s\" must be an integer", key->name);
        }
        *(int64_t *)field = value->integer;
        return MMQ_OK;
    case KIND_MADE:
        return MMQ_OK;
    }
    return MMQ_OK;
}

static const struct record_key *find_key(const mmq_value *name)
{
    for (size_t i = 0; i < RECORD_KEYS; i++) {
        if (mmq_value_is(name, record_keys[i].name)) {
            return &record_keys[i];
        }
    }
    return NULL;
}

static mmq_err read_pair(mmq_reader *reader, reading *self, mmq_why *why)
{
    mmq_value name, value;
    if (mmq_unpack(reader, &name) != MMQ_OK) {
        return mmq_fail(why, MMQ_EINVAL, "the record is cut off");
    }
    const struct record_key *key = find_key(&name);
    if (key == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "the record has an unknown key");
    }
    unsigned bit = 1U << (key - record_keys);
    if (self->seen & bit) {
        return mmq_fail(why, MMQ_EINVAL, "\"%s\" is there twice", key->name);
    }
    self->seen |= bit;
    mmq_reader whole;
    if (mmq_unpack_whole(reader, &value, &whole) != MMQ_OK) {
        return mmq_fail(why, MMQ_EINVAL, "\"%s\" is not well-formed msgpack", key->name);
    }
    return read_value(self, key, &value, &whole, why);
}

/* {"datasource":"custom","metricSpec":{"metric":NAME},"modelParams":{}} */
static mmq_err fill_parameters(mmq_metric *metric, mmq_why *why)
{
    mmq_buffer json;
    mmq_buffer_init(&json, PARAMETERS_BYTES_MAX);
    mmq_buffer_text(&json, "{\"datasource\":\"custom\",\"metricSpec\":{\"metric\":");
    mmq_json_string(&json, metric->name, strlen(metric->name));
    mmq_buffer_text(&json, "},\"modelParams\":{}}");
    mmq_err err = json.failed
                      ? mmq_fail(why, MMQ_ENOMEM, "no memory for a record")
                      : copy_text((const char *)json.data, json.size, &metric->parameters, why);
    mmq_buffer_clear(&json);
    return err;
}

static mmq_err fill_custom(const reading *self, mmq_why *why)
{
    mmq_metric *metric = self->metric;
    mmq_err err = copy_text(metric->name, strlen(metric->name), &metric->identity, why);
    if (err == MMQ_OK && metric->server == NULL) {
        err = copy_text(metric->name, strlen(metric->name), &metric->server, why);
    }
    if (err == MMQ_OK && metric->location == NULL) {
        err = copy_text("", 0, &metric->location, why);
    }
    if (err == MMQ_OK && metric->parameters == NULL) {
        err = fill_parameters(metric, why);
    }
    if (err == MMQ_OK && metric->description == NULL &&
        asprintf(&metric->description, "Custom metric %s", metric->name) < 0) {
        metric->description = NULL;
        err = mmq_fail(why, MMQ_ENOMEM, "no memory for a record");
    }
    return err;
}

static mmq_err fill_cloudwatch(const reading *self, mmq_why *why)
{
    mmq_metric *metric = self->metric;
    if (self->parameters.at == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "\"parameters\" is missing");
    }
    mmq_cloudwatch parts;
    mmq_err err = mmq_cloudwatch_read(metric->name, metric->server, self->parameters, &parts, why);
    return err == MMQ_OK ? mmq_cloudwatch_fill(&parts, metric, why) : err;
}

/* What follows from a metric's name and parameters: its identity and the fields not given. */
static const struct datasource {
    const char *name;
    mmq_err (*fill)(const reading *self, mmq_why *why);
} datasources[] = {
    {"custom", fill_custom},
    {"cloudwatch", fill_cloudwatch},
};

static mmq_err fill_fields(const reading *self, mmq_why *why)
{
    mmq_metric *metric = self->metric;
    const struct datasource *found = NULL;
    for (size_t i = 0; i < sizeof datasources / sizeof *datasources; i++) {
        if (metric->datasource != NULL && strcmp(metric->datasource, datasources[i].name) == 0) {
            found = &datasources[i];
        }
    }
    if (found == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "\"datasource\" must be \"custom\" or \"cloudwatch\"");
    }
    if (metric->name == NULL || *metric->name == '\0') {
        return mmq_fail(why, MMQ_EINVAL, "\"name\" is missing");
    }
    mmq_err err = found->fill(self, why);
    if (err == MMQ_OK && metric->head.uid[0] == '\0') {
        mmq_uid_derive(metric->datasource, metric->identity, metric->head.uid);
    }
    return err;
}

static mmq_err check_numbers(const mmq_metric *metric, mmq_why *why)
{
    int64_t status = metric->status;
    if (status != 0 && status != 1 && status != 2 && status != 4 && status != 8) {
        return mmq_fail(why, MMQ_EINVAL, "\"status\" must be 0, 1, 2, 4 or 8");
    }
    if (metric->poll_interval < 1 || metric->poll_interval > POLL_INTERVAL_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "\"poll_interval\" must be 1 to %d seconds",
                        POLL_INTERVAL_MAX);
    }
    return MMQ_OK;
}

mmq_err mmq_record_read(const void *packed, size_t size, mmq_metric *out, mmq_why *why)
{
    memset(out, 0, sizeof *out);
    out->status = STATUS_ACTIVE;
    out->poll_interval = POLL_INTERVAL_DEFAULT;
    reading self = {.metric = out};
    mmq_reader reader;
    mmq_reader_init(&reader, packed, size);
    mmq_value map;
    if (mmq_unpack(&reader, &map) != MMQ_OK || map.type != MMQ_MAP) {
        return mmq_fail(why, MMQ_EINVAL, "the record must be a map");
    }
    mmq_err err = MMQ_OK;
    for (uint32_t i = 0; i < map.count && err == MMQ_OK; i++) {
        err = read_pair(&reader, &self, why);
    }
    if (err == MMQ_OK && !mmq_reader_done(&reader)) {
        err = mmq_fail(why, MMQ_EINVAL, "the record has bytes after its map");
    }
    if (err == MMQ_OK) {
        err = check_numbers(out, why);
    }
    return err == MMQ_OK ? fill_fields(&self, why) : err;
}
