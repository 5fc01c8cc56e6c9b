/* GET /_status: what broker, spool and store say of themselves, as `metricmq status --format json`
 * prints it; null for who does not answer. */
#include "clients/http/routes.h"
#include "clients/http/status.h"
#include "lib/json.h"

enum { TEXT_MAX = 16 * 1024 * 1024 };

enum { BROKER, SPOOL, STORE, PARTS };

static const mmq_question questions[PARTS] = {
    [BROKER] = {"mmi.stats", ""},
    [SPOOL] = {MMQ_SERVICE_FEEDBACK, "spool"},
    [STORE] = {MMQ_SERVICE_QUERY, "store"},
};

/* Appends a reply's map; what makes no sense counts as no reply. */
static void add_part(mmq_buffer *out, const mmq_inquiry *inquiry, size_t part)
{
    mmq_reader map;
    mmq_why why;
    const size_t before = out->size;
    if (!mmq_inquiry_payload(inquiry, part, &map) ||
        mmq_json_from_msgpack(map.at, (size_t)(map.end - map.at), out, &why)) {
        out->size = before;
        mmq_buffer_text(out, "null");
    }
}

static void answer_status(mmq_exchange *exchange, const mmq_inquiry *inquiry)
{
    mmq_buffer text;
    mmq_buffer_init(&text, TEXT_MAX);
    mmq_buffer_text(&text, "{\"broker\": ");
    add_part(&text, inquiry, BROKER);
    mmq_buffer_text(&text, ", \"spool\": ");
    add_part(&text, inquiry, SPOOL);
    mmq_buffer_text(&text, ", \"store\": ");
    add_part(&text, inquiry, STORE);
    mmq_buffer_text(&text, "}");
    if (text.failed) {
        mmq_exchange_refuse(exchange, 503, "no memory for the status");
    } else {
        mmq_exchange_answer(exchange, 200, MMQ_JSON_TYPE, text.data, text.size);
    }
    mmq_buffer_clear(&text);
}

void mmq_handle_status(mmq_exchange *exchange)
{
    mmq_inquiry_ask(exchange->adapter->status, exchange);
}

mmq_inquiry *mmq_status_inquiry(mmq_client *client)
{
    return mmq_inquiry_new(client, questions, PARTS, answer_status);
}
