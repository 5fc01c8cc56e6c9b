/* An identity is a JSON array of texts: region, namespace, metric, then name and value of each
 * dimension, by name. */
#include "workers/cloudwatch.h"

#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/json.h"

enum {
    TEXT_MAX = 1024, /* bytes of a region, of a dimension's name, of its value */
    IDENTITY_MAX = 1024 * 1024,
};

static bool is_text(const mmq_value *value)
{
    return value->type == MMQ_STR && value->text.size > 0 && value->text.size <= TEXT_MAX;
}

/* One pair of the parameters. */
static mmq_err read_parameter(mmq_reader *reader, mmq_cloudwatch *out, mmq_why *why)
{
    mmq_value name, value;
    mmq_reader whole;
    if (mmq_unpack(reader, &name) != MMQ_OK || !is_text(&name) ||
        mmq_unpack_whole(reader, &value, &whole) != MMQ_OK || !is_text(&value)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "\"parameters\" must hold the region and the dimensions, each a text of 1 "
                        "to %d bytes",
                        TEXT_MAX);
    }
    const mmq_slice text = {value.text.data, value.text.size};
    if (mmq_value_is(&name, "region")) {
        out->region = text;
        return MMQ_OK;
    }
    if (out->count == MMQ_DIMENSIONS_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "there may be %d dimensions at most", MMQ_DIMENSIONS_MAX);
    }
    out->dimensions[out->count++] = (mmq_dimension){{name.text.data, name.text.size}, text};
    return MMQ_OK;
}

static bool starts_with(const char *text, size_t size, const mmq_slice *start)
{
    return size > start->size && memcmp(text, start->data, start->size) == 0 &&
           text[start->size] == '/';
}

/* The bytes of the name that are the namespace, as the server has it; 0: it says nothing of it. */
static size_t size_by_server(const mmq_cloudwatch *parts, const char *name, const char *server)
{
    const mmq_slice *value = &parts->dimensions[0].value;
    const size_t size = strlen(server), around = parts->region.size + value->size + 2;
    if (size <= around || !starts_with(server, size, &parts->region)) {
        return 0;
    }
    const mmq_slice namespace = {server + parts->region.size + 1, size - around};
    const char *tail = namespace.data + namespace.size;
    const bool fits = *tail == '/' && memcmp(tail + 1, value->data, value->size) == 0 &&
                      starts_with(name, strlen(name), &namespace);
    return fits ? namespace.size : 0;
}

static mmq_err split_name(const char *name, const char *server, mmq_cloudwatch *out, mmq_why *why)
{
    size_t size = server != NULL ? size_by_server(out, name, server) : 0;
    if (size == 0) {
        const char *slash = strrchr(name, '/');
        size = slash != NULL ? (size_t)(slash - name) : 0;
    }
    if (size == 0 || name[size + 1] == '\0') {
        return mmq_fail(why, MMQ_EINVAL, "\"name\" must be NAMESPACE/METRIC");
    }
    out->namespace = (mmq_slice){name, size};
    out->metric = (mmq_slice){name + size + 1, strlen(name + size + 1)};
    return MMQ_OK;
}

mmq_err mmq_cloudwatch_read(const char *name, const char *server, mmq_reader parameters,
                            mmq_cloudwatch *out, mmq_why *why)
{
    mmq_value map;
    mmq_err err = MMQ_OK;
    out->count = 0;
    out->region = (mmq_slice){NULL, 0};
    if (mmq_unpack(&parameters, &map) != MMQ_OK || map.type != MMQ_MAP) {
        return mmq_fail(why, MMQ_EINVAL, "\"parameters\" must be a map");
    }
    for (uint32_t i = 0; i < map.count && err == MMQ_OK; i++) {
        err = read_parameter(&parameters, out, why);
    }
    if (err == MMQ_OK && out->region.data == NULL) {
        err = mmq_fail(why, MMQ_EINVAL, "the region is missing");
    }
    if (err == MMQ_OK && out->count == 0) {
        err = mmq_fail(why, MMQ_EINVAL, "there must be at least one dimension");
    }
    return err == MMQ_OK ? split_name(name, server, out, why) : err;
}

/* ---- what is made ----------------------------------------------------------------------- */

static bool is_before(const mmq_slice *a, const mmq_slice *b)
{
    const int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order != 0 ? order < 0 : a->size < b->size;
}

/* Indexes of the dimensions, by name. */
static void sort_dimensions(const mmq_cloudwatch *parts, size_t order[MMQ_DIMENSIONS_MAX])
{
    for (size_t i = 0; i < parts->count; i++) {
        size_t at = i;
        for (; at > 0 &&
               is_before(&parts->dimensions[i].name, &parts->dimensions[order[at - 1]].name);
             at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

static void add_text(mmq_buffer *out, const mmq_slice *text)
{
    mmq_buffer_text(out, out->size > 0 ? "," : "[");
    mmq_json_string(out, text->data, text->size);
}

static mmq_err fill_identity(const mmq_cloudwatch *parts, mmq_metric *metric, mmq_why *why)
{
    size_t order[MMQ_DIMENSIONS_MAX];
    mmq_buffer text;
    mmq_buffer_init(&text, IDENTITY_MAX);
    add_text(&text, &parts->region);
    add_text(&text, &parts->namespace);
    add_text(&text, &parts->metric);
    sort_dimensions(parts, order);
    for (size_t i = 0; i < parts->count; i++) {
        add_text(&text, &parts->dimensions[order[i]].name);
        add_text(&text, &parts->dimensions[order[i]].value);
    }
    mmq_buffer_text(&text, "]");
    const char *identity = mmq_buffer_cstr(&text);
    metric->identity = identity != NULL ? strdup(identity) : NULL;
    mmq_buffer_clear(&text);
    return metric->identity != NULL ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "no memory for a record");
}

#define TEXT(slice_) (int)(slice_).size, (slice_).data

static int print_description(const mmq_cloudwatch *parts, char **out)
{
    const mmq_slice id = parts->dimensions[0].value;
    if (mmq_slice_is(&parts->namespace, "AWS/EC2")) {
        return asprintf(out, "%.*s on EC2 instance %.*s in %.*s region", TEXT(parts->metric),
                        TEXT(id), TEXT(parts->region));
    }
    return asprintf(out, "%.*s on %.*s %.*s in %.*s region", TEXT(parts->metric),
                    TEXT(parts->namespace), TEXT(id), TEXT(parts->region));
}

/* False without memory. */
static bool fill_texts(const mmq_cloudwatch *parts, mmq_metric *metric)
{
    bool ok = true;
    if (metric->location == NULL) {
        metric->location = strndup(parts->region.data, parts->region.size);
        ok = metric->location != NULL;
    }
    if (ok && metric->server == NULL &&
        asprintf(&metric->server, "%.*s/%.*s/%.*s", TEXT(parts->region), TEXT(parts->namespace),
                 TEXT(parts->dimensions[0].value)) < 0) {
        metric->server = NULL;
        ok = false;
    }
    if (ok && metric->description == NULL && print_description(parts, &metric->description) < 0) {
        metric->description = NULL;
        ok = false;
    }
    return ok;
}

mmq_err mmq_cloudwatch_fill(const mmq_cloudwatch *parts, mmq_metric *metric, mmq_why *why)
{
    if (!fill_texts(parts, metric)) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a record");
    }
    return fill_identity(parts, metric, why);
}
