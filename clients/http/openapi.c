/* GET /openapi.json. The document is made from the embedded file when it is first asked for, which
 * takes a millisecond, and kept. A file that is no such document is our bug. */
#include "clients/http/openapi.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "clients/http/routes.h"
#include "lib/check.h"
#include "metricmq/version.h"

/* cmake/embed.cmake makes them. */
extern const unsigned char mmq_openapi_source[];
extern const size_t mmq_openapi_source_size;

static cJSON *need(cJSON *item)
{
    CHECK(item != NULL);
    return item;
}

static cJSON *child(cJSON *object, const char *key)
{
    return need(cJSON_GetObjectItemCaseSensitive(object, key));
}

static bool set_text(cJSON *object, const char *key, const char *text)
{
    cJSON *value = cJSON_CreateString(text);
    bool done = value && cJSON_ReplaceItemInObjectCaseSensitive(object, key, value);
    if (!done) {
        cJSON_Delete(value);
    }
    return done;
}

/* Beside `get`: `head`, with the same parameters and answers. */
static bool add_head(cJSON *path)
{
    char name[128];
    cJSON *get = cJSON_GetObjectItemCaseSensitive(path, "get");
    if (get == NULL) {
        return true;
    }
    cJSON *head = cJSON_Duplicate(get, true);
    const char *id = child(get, "operationId")->valuestring;
    CHECK(strlen(id) + sizeof "_head" <= sizeof name);
    snprintf(name, sizeof name, "%s_head", id);
    if (head == NULL || !set_text(head, "operationId", name) ||
        !set_text(head, "summary", "As GET, without the body") ||
        !cJSON_AddItemToObject(path, "head", head)) {
        cJSON_Delete(head);
        return false;
    }
    return true;
}

static bool complete(cJSON *document)
{
    cJSON *path;
    bool done = set_text(child(document, "info"), "version", mmq_version());
    cJSON_ArrayForEach(path, child(document, "paths"))
    {
        done = done && add_head(path);
    }
    return done;
}

mmq_err mmq_openapi_print(mmq_buffer *out)
{
    const char *source = (const char *)mmq_openapi_source;
    cJSON *document = cJSON_ParseWithLength(source, mmq_openapi_source_size);
    char *text = NULL;
    if (document != NULL && complete(document)) {
        text = cJSON_PrintUnformatted(document);
    }
    if (text != NULL) {
        mmq_buffer_text(out, text);
    }
    bool failed = text == NULL || out->failed;
    cJSON_free(text);
    cJSON_Delete(document);
    return failed ? MMQ_ENOMEM : MMQ_OK;
}

void mmq_handle_openapi(mmq_exchange *exchange)
{
    mmq_buffer *text = &exchange->adapter->openapi;
    if (text->size == 0 && mmq_openapi_print(text) != MMQ_OK) {
        mmq_buffer_clear(text);
        mmq_exchange_refuse(exchange, 503, "no memory for the document");
        return;
    }
    mmq_exchange_answer(exchange, 200, mmq_render_content_type(MMQ_FORM_JSON_RECORDS), text->data,
                        text->size);
}
