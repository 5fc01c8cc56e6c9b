/* GET /metrics: the adapter's own counts, those of broker, spool and store (asked over the bus, and
 * left out while they are silent), and what the process uses. */
#include "clients/http/metrics.h"

#include "clients/http/exposition.h"
#include "clients/http/routes.h"
#include "lib/process.h"
#include "metricmq/version.h"

enum { TEXT_MAX = 1024 * 1024 }; /* all series there can be take less */

enum { BROKER, SPOOL, STORE, PARTS };

static const mmq_question questions[PARTS] = {
    [BROKER] = {"mmi.stats", ""},
    [SPOOL] = {MMQ_SERVICE_FEEDBACK, "spool"},
    [STORE] = {MMQ_SERVICE_QUERY, "store"},
};

static void expose_one(mmq_buffer *out, const char *name, const char *type, const char *help,
                       uint64_t value)
{
    mmq_expose_family(out, name, type, help);
    mmq_expose_count(out, name, NULL, 0, (int64_t)value);
}

static void expose_process(mmq_buffer *out, int64_t started_ns)
{
    const mmq_process_usage usage = mmq_process_usage_read();
    expose_one(out, "process_resident_memory_bytes", "gauge", "Resident memory of this process.",
               usage.resident_bytes);
    expose_one(out, "process_virtual_memory_bytes", "gauge", "Address space of this process.",
               usage.virtual_bytes);
    expose_one(out, "process_open_fds", "gauge", "Descriptors that this process has open.",
               usage.descriptors);
    expose_one(out, "process_max_fds", "gauge", "Descriptors that this process may have.",
               usage.descriptors_max);
    mmq_expose_family(out, "process_cpu_seconds_total", "counter",
                      "CPU time of this process, user and system.");
    mmq_expose_ns(out, "process_cpu_seconds_total", NULL, 0, usage.cpu_ns);
    mmq_expose_family(out, "process_start_time_seconds", "gauge",
                      "When this process was started, since the epoch.");
    mmq_expose_ns(out, "process_start_time_seconds", NULL, 0, started_ns);
}

static void expose_build(mmq_buffer *out)
{
    const mmq_label labels[] = {{"version", mmq_version()},
                                {"compiler", __VERSION__},
                                {"libmicrohttpd", MHD_get_version()}};
    mmq_expose_family(out, "metricmq_build_info", "gauge", "1; the labels tell what runs.");
    mmq_expose_count(out, "metricmq_build_info", labels, 3, 1);
}

static void expose_up(mmq_buffer *out, const bool there[PARTS])
{
    static const char *const names[PARTS] = {"broker", "spool", "store"};
    mmq_expose_family(out, "metricmq_up", "gauge", "1 if that part answered this scrape.");
    for (size_t i = 0; i < PARTS; i++) {
        mmq_expose_count(out, "metricmq_up", &(mmq_label){"part", names[i]}, 1, there[i]);
    }
}

static void answer_metrics(mmq_exchange *exchange, const mmq_inquiry *inquiry)
{
    static void (*const expose[PARTS])(mmq_buffer * out, mmq_reader map) = {
        [BROKER] = mmq_metrics_broker, [SPOOL] = mmq_metrics_spool, [STORE] = mmq_metrics_store};
    mmq_buffer text;
    mmq_reader maps[PARTS];
    bool there[PARTS];
    for (size_t i = 0; i < PARTS; i++) {
        there[i] = mmq_inquiry_payload(inquiry, i, &maps[i]);
    }
    mmq_buffer_init(&text, TEXT_MAX);
    expose_build(&text);
    expose_up(&text, there);
    mmq_meters_expose(exchange->adapter, &text);
    for (size_t i = 0; i < PARTS; i++) {
        if (there[i]) {
            expose[i](&text, maps[i]);
        }
    }
    expose_process(&text, exchange->adapter->process_started_ns);
    if (text.failed) {
        mmq_exchange_refuse(exchange, 503, "no memory for the metrics");
    } else {
        mmq_exchange_answer(exchange, 200, MMQ_EXPOSITION_TYPE, text.data, text.size);
    }
    mmq_buffer_clear(&text);
}

void mmq_handle_metrics(mmq_exchange *exchange)
{
    mmq_inquiry_ask(exchange->adapter->scrape, exchange);
}

mmq_inquiry *mmq_scrape_inquiry(mmq_client *client)
{
    return mmq_inquiry_new(client, questions, PARTS, answer_metrics);
}
