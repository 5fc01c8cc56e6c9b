/* The document and the table of routes say the same: each path and method of one is in the other,
 * under the same name. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

#include "clients/http/openapi.h"
#include "clients/http/routes.h"

static cJSON *document;

static int set_up(void **state)
{
    mmq_buffer text;
    (void)state;
    mmq_buffer_init(&text, MMQ_OPENAPI_MAX);
    assert_int_equal(mmq_openapi_print(&text), MMQ_OK);
    document = cJSON_ParseWithLength((const char *)text.data, text.size);
    assert_non_null(document);
    mmq_buffer_clear(&text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cJSON_Delete(document);
    return 0;
}

/* The document has {uid}, or the {file} of a page, where the table has a star. */
static const char *path_of(const mmq_route *route, char out[128])
{
    const char *star = strchr(route->path, '*');
    if (!star) {
        return route->path;
    }
    const char *name = strncmp(route->path, "/page/", 6) == 0 ? "{file}" : "{uid}";
    snprintf(out, 128, "%.*s%s%s", (int)(star - route->path), route->path, name, star + 1);
    return out;
}

/* Of "security": [] for none, [{"key": ["read"]}] for a right, and nothing where any key will do.
 */
static unsigned described_rights(const cJSON *operation)
{
    unsigned rights = MMQ_RIGHTS_ALL;
    const cJSON *security = cJSON_GetObjectItemCaseSensitive(operation, "security");
    if (security == NULL) {
        return rights;
    }
    if (cJSON_GetArraySize(security) == 0) {
        return 0;
    }
    const cJSON *key = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(security, 0), "key");
    assert_int_equal(cJSON_GetArraySize(key), 1);
    const char *name = cJSON_GetArrayItem(key, 0)->valuestring;
    assert_int_equal(mmq_rights_parse(name, strlen(name), &rights, NULL), MMQ_OK);
    return rights;
}

/* Walks the methods of a route in the document: how many are there; they bear its name. */
static int count_described(const mmq_route *route)
{
    char room[128], methods[64];
    int count = 0;
    const cJSON *paths = cJSON_GetObjectItemCaseSensitive(document, "paths");
    const cJSON *path = cJSON_GetObjectItemCaseSensitive(paths, path_of(route, room));
    assert_non_null(path);
    mmq_methods_print(route->methods, methods);
    for (char *save, *name = strtok_r(methods, ", ", &save); name;
         name = strtok_r(NULL, ", ", &save)) {
        for (char *at = name; *at; at++) {
            *at = (char)tolower((unsigned char)*at);
        }
        const cJSON *operation = cJSON_GetObjectItemCaseSensitive(path, name);
        assert_non_null(operation);
        const char *id = cJSON_GetObjectItemCaseSensitive(operation, "operationId")->valuestring;
        size_t size = strlen(route->name);
        assert_memory_equal(id, route->name, size);
        assert_true(id[size] == '\0' || id[size] == '_');
        assert_int_equal(described_rights(operation), route->rights);
        count++;
    }
    return count;
}

static void test_same_as_the_table(void **state)
{
    (void)state;
    int routed = 0, described = 0;
    const mmq_route *route;
    for (size_t i = 0; (route = mmq_route_at(i)); i++) {
        assert_int_equal(mmq_route_index(route), i);
        routed += count_described(route);
    }
    const cJSON *path, *item;
    cJSON_ArrayForEach(path, cJSON_GetObjectItemCaseSensitive(document, "paths"))
    {
        cJSON_ArrayForEach(item, path)
        {
            described += cJSON_HasObjectItem(item, "operationId");
        }
    }
    assert_int_equal(routed, described);
}

/* Names are labels: of a kind that needs no escape, and no two the same. */
static void test_names(void **state)
{
    (void)state;
    const mmq_route *route, *other;
    for (size_t i = 0; (route = mmq_route_at(i)); i++) {
        assert_true(*route->name &&
                    strspn(route->name, "abcdefghijklmnopqrstuvwxyz_") == strlen(route->name));
        assert_string_not_equal(route->name, "none");
        for (size_t j = 0; (other = mmq_route_at(j)) && j < i; j++) {
            assert_string_not_equal(route->name, other->name);
        }
    }
}

static void test_no_room(void **state)
{
    (void)state;
    mmq_buffer text;
    mmq_buffer_init(&text, 1000);
    assert_int_equal(mmq_openapi_print(&text), MMQ_ENOMEM);
    mmq_buffer_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_the_table),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
