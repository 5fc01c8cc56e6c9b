/* Metric records as text. A record is a map with string keys; the line forms look their columns up
 * in it and show nothing for a key that is not there, so that records of later versions can be
 * read. Text in a table loses its control characters: it may have been chosen by a stranger, and a
 * terminal obeys them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clients/render/forms.h"
#include "lib/json.h"
#include "lib/number.h"
#include "metricmq/unpack.h"

const char mmq_record_csv_head[] =
    "uid,datasource,name,description,server,location,parameters,status,message,last_timestamp,"
    "poll_interval,tag_name,last_rowid,display_name\r\n";

static const char *const csv_columns[] = {
    "uid",           "datasource", "name",       "description",  "server",
    "location",      "parameters", "status",     "message",      "last_timestamp",
    "poll_interval", "tag_name",   "last_rowid", "display_name",
};

typedef struct table_column {
    const char *key;
    size_t width;
    bool right;
} table_column;

static const table_column table_columns[] = {
    {"uid", 32, false},  {"name", 40, false},      {"server", 32, false},
    {"status", 6, true}, {"last_rowid", 10, true}, {"last_timestamp", 19, false},
};

const char mmq_record_table_head[] =
    "UID                               NAME                                      "
    "SERVER                            STATUS        ROWS  LAST TIMESTAMP\n";

/* The value of a key; false if the record does not have it. */
static bool find_value(const void *packed, size_t size, const char *key, mmq_value *head,
                       mmq_reader *whole)
{
    mmq_reader record;
    mmq_reader_init(&record, packed, size);
    return mmq_map_find(record, key, head, whole);
}

/* Appends the plain text of a key's value: nothing if it is nil or not there. False if it has no
 * text. */
static bool add_value(mmq_buffer *text, const void *packed, size_t size, const char *key)
{
    mmq_reader whole;
    mmq_value value;
    if (!find_value(packed, size, key, &value, &whole) || value.type == MMQ_NIL) {
        return true;
    }
    if (value.type == MMQ_STR) {
        mmq_buffer_add(text, value.text.data, value.text.size);
        return mmq_utf8_valid(value.text.data, value.text.size);
    }
    return mmq_json_from_msgpack(whole.at, mmq_reader_left(&whole), text, NULL) == MMQ_OK;
}

static bool is_map(const void *packed, size_t size)
{
    mmq_reader reader;
    mmq_value value;
    mmq_reader_init(&reader, packed, size);
    return mmq_unpack(&reader, &value) == MMQ_OK && value.type == MMQ_MAP;
}

bool mmq_record_monitored(const void *packed, size_t size)
{
    mmq_reader whole;
    mmq_value value;
    return find_value(packed, size, "status", &value, &whole) && value.type == MMQ_INT &&
           value.integer != 0;
}

bool mmq_record_json(mmq_buffer *text, const void *packed, size_t size)
{
    return is_map(packed, size) && mmq_json_from_msgpack(packed, size, text, NULL) == MMQ_OK;
}

bool mmq_record_export(mmq_buffer *text, const void *packed, size_t size)
{
    const size_t start = text->size;
    if (!mmq_record_json(text, packed, size) || text->failed || text->size - start <= 2) {
        return false;
    }
    text->size--; /* the brace that would end it */
    mmq_buffer_text(text, ",\"data\":[");
    return true;
}

/* RFC 4180: quotes where there is a separator, a quote or a line end. */
static void add_csv_field(mmq_buffer *text, const char *data, size_t size)
{
    bool quoted = false;
    for (size_t i = 0; i < size && !quoted; i++) {
        quoted = strchr(",\"\r\n", data[i]) != NULL;
    }
    if (!quoted) {
        mmq_buffer_add(text, data, size);
        return;
    }
    mmq_buffer_text(text, "\"");
    for (size_t i = 0; i < size; i++) {
        mmq_buffer_add(text, &data[i], 1);
        if (data[i] == '"') {
            mmq_buffer_text(text, "\"");
        }
    }
    mmq_buffer_text(text, "\"");
}

bool mmq_record_csv(mmq_buffer *text, const void *packed, size_t size)
{
    mmq_buffer field;
    mmq_buffer_init(&field, text->limit);
    bool ok = is_map(packed, size);
    for (size_t i = 0; ok && i < sizeof csv_columns / sizeof *csv_columns; i++) {
        mmq_buffer_reset(&field);
        ok = add_value(&field, packed, size, csv_columns[i]) && !field.failed;
        mmq_buffer_text(text, i > 0 ? "," : "");
        add_csv_field(text, (const char *)field.data, field.size);
    }
    mmq_buffer_text(text, "\r\n");
    mmq_buffer_clear(&field);
    return ok;
}

/* Bytes of `data` (valid UTF-8) that fill at most `width` columns; *columns: how many they fill. */
static size_t fit_columns(const char *data, size_t size, size_t width, size_t *columns)
{
    size_t i = 0;
    *columns = 0;
    while (i < size && *columns < width) {
        i++;
        while (i < size && ((unsigned char)data[i] & 0xC0) == 0x80) {
            i++;
        }
        ++*columns;
    }
    return i;
}

static void replace_controls(char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)data[i];
        if (byte < 0x20 || byte == 0x7F) {
            data[i] = '?';
        } else if (byte == 0xC2 && i + 1 < size && (unsigned char)data[i + 1] < 0xA0) {
            data[i] = '?'; /* C1 controls are two bytes in UTF-8 */
            data[i + 1] = '?';
        }
    }
}

static void add_cell(mmq_buffer *text, const table_column *column, const mmq_buffer *field)
{
    size_t columns = 0;
    char *data = (char *)field->data;
    replace_controls(data, field->size);
    size_t size = fit_columns(data, field->size, column->width, &columns);
    int padding = (int)(column->width - columns);
    mmq_buffer_format(text, "%*s", column->right ? padding : 0, "");
    mmq_buffer_add(text, data, size);
    mmq_buffer_format(text, "%*s", column->right ? 0 : padding, "");
}

bool mmq_record_table(mmq_buffer *text, const void *packed, size_t size)
{
    mmq_buffer field;
    mmq_buffer_init(&field, text->limit);
    bool ok = is_map(packed, size);
    for (size_t i = 0; ok && i < sizeof table_columns / sizeof *table_columns; i++) {
        mmq_buffer_reset(&field);
        ok = add_value(&field, packed, size, table_columns[i].key) && !field.failed;
        mmq_buffer_text(text, i > 0 ? "  " : "");
        add_cell(text, &table_columns[i], &field);
    }
    mmq_buffer_text(text, "\n");
    mmq_buffer_clear(&field);
    return ok;
}
