/* Which handler answers which path. */
#ifndef MMQ_ROUTES_H
#define MMQ_ROUTES_H

#include <stdbool.h>

#include "clients/http/exchange.h"

enum {
    MMQ_METHOD_GET = 1,
    MMQ_METHOD_HEAD = 2,
    MMQ_METHOD_POST = 4,
    MMQ_METHOD_PUT = 8,
    MMQ_METHOD_DELETE = 16,
    MMQ_METHOD_OPTIONS = 32, /* every path has it */
};

struct mmq_route {
    const char *path; /* "*" stands for any one segment */
    const char *name; /* in metrics and /openapi.json; no two have the same */
    unsigned methods; /* set of MMQ_METHOD_* */
    unsigned rights;  /* set of MMQ_RIGHT_*: a key must have one of them; 0: it needs no key */
    void (*handle)(mmq_exchange *exchange);
    size_t body_max; /* bytes of a request's body that are kept; 0: it is thrown away */
};

/* MMQ_OK; MMQ_ENOTFOUND: no such path; MMQ_EDENIED: not with this method, *allowed says which
 * (a set). *route is the path's first route in both other cases. */
mmq_err mmq_route_find(const mmq_url *url, const char *method, const mmq_route **route,
                       unsigned *allowed) MMQ_MUST_USE;
/* "GET, HEAD" */
void mmq_methods_print(unsigned methods, char out[64]);

/* The route of that place in the table; NULL behind the last one. */
const mmq_route *mmq_route_at(size_t index);
/* Its place; of NULL the one behind the last. */
size_t mmq_route_index(const mmq_route *route);

/* The handlers. */
void mmq_handle_data(mmq_exchange *exchange);        /* data.c */
void mmq_handle_all_data(mmq_exchange *exchange);    /* data.c */
void mmq_handle_summary(mmq_exchange *exchange);     /* data.c */
void mmq_handle_all_summary(mmq_exchange *exchange); /* data.c */
void mmq_handle_models(mmq_exchange *exchange);      /* data.c */
void mmq_handle_model(mmq_exchange *exchange);       /* data.c */
void mmq_handle_create(mmq_exchange *exchange);      /* create.c */
void mmq_handle_delete(mmq_exchange *exchange);      /* models.c */
void mmq_handle_export(mmq_exchange *exchange);      /* models.c */
void mmq_handle_all_export(mmq_exchange *exchange);  /* models.c */
void mmq_handle_stats(mmq_exchange *exchange);       /* models.c */
void mmq_handle_watch(mmq_exchange *exchange);       /* viewers.c */
void mmq_handle_feedback(mmq_exchange *exchange);    /* feedback.c */
void mmq_handle_live(mmq_exchange *exchange);        /* health.c */
void mmq_handle_ready(mmq_exchange *exchange);       /* health.c */
void mmq_handle_page(mmq_exchange *exchange);        /* page.c */
void mmq_handle_page_file(mmq_exchange *exchange);   /* page.c */
void mmq_handle_status(mmq_exchange *exchange);      /* status.c */
void mmq_handle_metrics(mmq_exchange *exchange);     /* metrics.c */
void mmq_handle_openapi(mmq_exchange *exchange);     /* openapi.c */

#endif
