/* Health. Live: this thread answers. Ready: the broker answers, and has a worker for each service;
 * the three questions are asked at once. */
#include <stdio.h>
#include <string.h>

#include "clients/http/routes.h"

enum { READY_TIMEOUT_MS = 1000 };

static const char *const services[MMQ_EXCHANGE_CALLS] = {MMQ_SERVICE_QUERY, MMQ_SERVICE_WRITE,
                                                         MMQ_SERVICE_FEEDBACK};

static const char ok[] = "{\"status\": \"ok\"}";

static void answer_ok(mmq_exchange *exchange)
{
    mmq_exchange_answer(exchange, 200, mmq_render_content_type(MMQ_FORM_JSON_RECORDS), ok,
                        sizeof ok - 1);
}

void mmq_handle_live(mmq_exchange *exchange)
{
    answer_ok(exchange);
}

/* All three have answered. */
static void answer_ready(mmq_exchange *exchange)
{
    char missing[128] = "";
    bool silent = false;
    for (size_t i = 0; i < MMQ_EXCHANGE_CALLS; i++) {
        int status = exchange->calls[i].status;
        silent |= status != 200 && status != 404;
        if (status == 404) {
            size_t size = strlen(missing);
            snprintf(missing + size, sizeof missing - size, "%s%s", size > 0 ? ", " : "",
                     services[i]);
        }
    }
    if (silent) {
        mmq_exchange_refuse(exchange, 503, "the broker does not answer");
    } else if (*missing) {
        mmq_exchange_refuse(exchange, 503, "no worker for %s", missing);
    } else {
        answer_ok(exchange);
    }
}

static void take_status(void *context, const mmq_answer *answer)
{
    mmq_exchange_call *call = context;
    if (!answer->final) {
        return;
    }
    call->handle = 0;
    call->status = (int)answer->header->status;
    for (size_t i = 0; i < MMQ_EXCHANGE_CALLS; i++) {
        if (call->exchange->calls[i].status == 0) {
            return;
        }
    }
    answer_ready(call->exchange);
}

void mmq_handle_ready(mmq_exchange *exchange)
{
    for (size_t i = 0; i < MMQ_EXCHANGE_CALLS; i++) {
        mmq_call call = {.service = "mmi.service",
                         .args = services[i],
                         .args_size = strlen(services[i]),
                         .timeout_ms = READY_TIMEOUT_MS,
                         .answer = take_status};
        if (!mmq_exchange_call_start(exchange, i, &call)) {
            return;
        }
    }
}
