/* CORS (the Fetch standard): pages of origins that the operator names may ask from a browser. An
 * origin that was named may send the key that a browser remembers; "*" stands for any, without.
 * Others are refused (access.c), but for our own, whose pages need no leave. */
#include <string.h>

#include "clients/http/exchange.h"
#include "clients/http/routes.h"

#define MAX_AGE "600" /* seconds that a browser need not ask again */

/* What to answer as the allowed origin; NULL: nothing. */
static const char *allowed_origin(const mmq_exchange *exchange)
{
    const mmq_adapter *adapter = exchange->adapter;
    const char *origin = exchange->headers.origin, *allowed = NULL;
    for (size_t i = 0; origin != NULL && i < adapter->origin_count; i++) {
        if (strcmp(adapter->origins[i], origin) == 0) {
            return origin;
        }
        if (strcmp(adapter->origins[i], "*") == 0) {
            allowed = "*";
        }
    }
    return allowed;
}

bool mmq_cors_allows(const mmq_exchange *exchange)
{
    return allowed_origin(exchange) != NULL;
}

bool mmq_cors_preflight(const mmq_exchange *exchange, const char *method)
{
    return strcmp(method, "OPTIONS") == 0 && exchange->headers.wanted_method != NULL &&
           allowed_origin(exchange) != NULL;
}

void mmq_cors_add_headers(mmq_exchange *exchange)
{
    if (exchange->adapter->origin_count == 0) {
        return;
    }
    const char *allowed = allowed_origin(exchange);
    if (allowed == NULL) {
        return;
    }
    mmq_exchange_header(exchange, "Access-Control-Allow-Origin", allowed);
    mmq_exchange_header(exchange, "Access-Control-Expose-Headers",
                        "ETag, Retry-After, X-Request-Id");
    if (strcmp(allowed, "*") != 0) {
        mmq_exchange_header(exchange, "Access-Control-Allow-Credentials", "true");
    }
}

void mmq_exchange_answer_options(mmq_exchange *exchange, unsigned methods)
{
    char names[64];
    mmq_methods_print(methods, names);
    const bool preflight = mmq_cors_preflight(exchange, "OPTIONS");
    mmq_exchange_answer(exchange, 204, NULL, NULL, 0);
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_ALLOW, names);
    if (preflight) {
        mmq_exchange_header(exchange, "Access-Control-Allow-Methods", names);
        mmq_exchange_header(exchange, "Access-Control-Allow-Headers",
                            "Accept, Authorization, Content-Type, If-None-Match, X-Request-Id");
        mmq_exchange_header(exchange, "Access-Control-Max-Age", MAX_AGE);
    }
}
