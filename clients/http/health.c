/* Health. Live: this thread answers. Ready: the broker answers, and has a worker for each service.
 *
 * The spool is not asked: where it is full, feedback is refused with 503, and reading goes on; who
 * took this adapter away for it would take the readers' service away too. And a worker busy with
 * dumps answers too late for a probe. Its state is in /metrics. */
#include "clients/http/health.h"

#include <stdio.h>
#include <string.h>

#include "clients/http/routes.h"

static const mmq_question questions[] = {
    {"mmi.service", MMQ_SERVICE_QUERY},
    {"mmi.service", MMQ_SERVICE_WRITE},
    {"mmi.service", MMQ_SERVICE_FEEDBACK},
};

enum { QUESTIONS = sizeof questions / sizeof *questions };

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

static void answer_ready(mmq_exchange *exchange, const mmq_inquiry *inquiry)
{
    char missing[128] = "";
    bool silent = false;
    for (size_t i = 0; i < QUESTIONS; i++) {
        int status = mmq_inquiry_status(inquiry, i);
        silent |= status != 200 && status != 404;
        if (status == 404) {
            size_t size = strlen(missing);
            snprintf(missing + size, sizeof missing - size, "%s%s", size > 0 ? ", " : "",
                     questions[i].text);
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

void mmq_handle_ready(mmq_exchange *exchange)
{
    mmq_inquiry_ask(exchange->adapter->ready, exchange);
}

mmq_inquiry *mmq_ready_inquiry(mmq_client *client)
{
    return mmq_inquiry_new(client, questions, QUESTIONS, answer_ready);
}
