/* The table of routes. The first path that matches decides: fixed paths stand before those with a
 * uid ("data" is no uid). Routes of one path with different methods stand together. */
#include "clients/http/routes.h"

#include <stdio.h>
#include <string.h>

enum { IMPORT_MAX = 32 * 1024 * 1024 };

#define READING (MMQ_METHOD_GET | MMQ_METHOD_HEAD)

/* Rights. */
enum {
    OPEN = 0, /* to all, without a key */
    READ = MMQ_RIGHT_READ,
    WRITE = MMQ_RIGHT_WRITE,
    FEEDBACK = MMQ_RIGHT_FEEDBACK,
    ADMIN = MMQ_RIGHT_ADMIN,
    ANY = MMQ_RIGHTS_ALL, /* any key will do */
};

static const mmq_route routes[] = {
    {"/", "page", READING, OPEN, mmq_handle_page, 0},
    {"/page/*", "page_file", READING, OPEN, mmq_handle_page_file, 0},
    {"/_status", "status", READING, ADMIN, mmq_handle_status, 0},
    {"/_models", "models", READING, READ, mmq_handle_models, 0},
    {"/_models", "create", MMQ_METHOD_POST | MMQ_METHOD_PUT, WRITE, mmq_handle_create, IMPORT_MAX},
    {"/_models/data", "all_data", READING, READ, mmq_handle_all_data, 0},
    {"/_models/data/stats", "stats", READING, READ, mmq_handle_stats, 0},
    {"/_models/summary", "all_summary", READING, READ, mmq_handle_all_summary, 0},
    {"/_models/export", "all_export", READING, READ, mmq_handle_all_export, 0},
    {"/_models/*", "model", READING, READ, mmq_handle_model, 0},
    {"/_models/*", "delete", MMQ_METHOD_DELETE, WRITE, mmq_handle_delete, 0},
    {"/_models/*/data", "data", READING, READ, mmq_handle_data, 0},
    {"/_models/*/summary", "summary", READING, READ, mmq_handle_summary, 0},
    {"/_models/*/export", "export", READING, READ, mmq_handle_export, 0},
    {"/_logging/feedback", "feedback", MMQ_METHOD_POST, FEEDBACK, mmq_handle_feedback,
     MMQ_BODY_KEPT},
    {"/_watch", "watch", READING, READ, mmq_handle_watch, 0},
    {"/health/live", "live", READING, OPEN, mmq_handle_live, 0},
    {"/health/ready", "ready", READING, OPEN, mmq_handle_ready, 0},
    {"/metrics", "metrics", READING, ADMIN, mmq_handle_metrics, 0},
    {"/openapi.json", "openapi", READING, ANY, mmq_handle_openapi, 0},
};

static const struct {
    const char *name;
    unsigned bit;
} methods_known[] = {
    {"GET", MMQ_METHOD_GET}, {"HEAD", MMQ_METHOD_HEAD},     {"POST", MMQ_METHOD_POST},
    {"PUT", MMQ_METHOD_PUT}, {"DELETE", MMQ_METHOD_DELETE}, {"OPTIONS", MMQ_METHOD_OPTIONS},
};

enum {
    ROUTES = sizeof routes / sizeof *routes,
    METHODS = sizeof methods_known / sizeof *methods_known,
};

_Static_assert((int)ROUTES < (int)MMQ_METERS_ROUTES, "more routes than meters");

static unsigned method_bit(const char *name)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (strcmp(methods_known[i].name, name) == 0) {
            return methods_known[i].bit;
        }
    }
    return 0;
}

static bool path_matches(const char *path, const mmq_url *url)
{
    size_t depth = 0;
    while (*++path) {
        size_t size = strcspn(path, "/");
        if (depth >= url->depth || depth >= MMQ_URL_SEGMENTS) {
            return false;
        }
        const mmq_slice *segment = &url->segments[depth++];
        bool any = size == 1 && *path == '*';
        if (!any && (segment->size != size || memcmp(segment->data, path, size) != 0)) {
            return false;
        }
        path += size - (path[size] == '\0');
    }
    return depth == url->depth;
}

mmq_err mmq_route_find(const mmq_url *url, const char *method, const mmq_route **route,
                       unsigned *allowed)
{
    unsigned bit = method_bit(method);
    *route = NULL;
    *allowed = 0;
    for (size_t i = 0; i < ROUTES; i++) {
        bool same = *route ? strcmp((*route)->path, routes[i].path) == 0
                           : path_matches(routes[i].path, url);
        if (!same) {
            continue;
        }
        *route = *route ? *route : &routes[i];
        *allowed |= routes[i].methods;
        if (routes[i].methods & bit) {
            *route = &routes[i];
            return MMQ_OK;
        }
    }
    *allowed |= *route ? MMQ_METHOD_OPTIONS : 0;
    return *route ? MMQ_EDENIED : MMQ_ENOTFOUND;
}

const mmq_route *mmq_route_at(size_t index)
{
    return index < ROUTES ? &routes[index] : NULL;
}

size_t mmq_route_index(const mmq_route *route)
{
    return route ? (size_t)(route - routes) : ROUTES;
}

void mmq_methods_print(unsigned methods, char out[64])
{
    size_t size = 0;
    out[0] = '\0';
    for (size_t i = 0; i < METHODS; i++) {
        if (methods & methods_known[i].bit) {
            size += (size_t)snprintf(out + size, 64 - size, "%s%s", size > 0 ? ", " : "",
                                     methods_known[i].name);
        }
    }
}
