/* The page at "/": what there is to ask for. */
#include "clients/http/routes.h"

static const char page[] =
    "<!doctype html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>metricmq</title></head><body>\n"
    "<h1>metricmq</h1>\n"
    "<ul>\n"
    "<li><a href=\"/_models\">GET /_models</a>: the metrics</li>\n"
    "<li>POST /_models: make metrics, with their rows or without</li>\n"
    "<li>GET /_models/{uid}: one metric; DELETE removes it</li>\n"
    "<li>GET /_models/{uid}/data?from=&amp;to=&amp;anomaly=&amp;limit=: its rows</li>\n"
    "<li><a href=\"/_models/data?limit=10\">GET /_models/data</a>: rows of all metrics</li>\n"
    "<li><a href=\"/_models/data/stats\">GET /_models/data/stats</a>: the time until all rows have "
    "a score</li>\n"
    "<li><a href=\"/_models/summary\">GET /_models/summary</a>, GET /_models/{uid}/summary: rows "
    "in "
    "buckets of time, as a chart wants them</li>\n"
    "<li><a href=\"/_models/export\">GET /_models/export</a>, GET /_models/{uid}/export: what POST "
    "/_models takes</li>\n"
    "<li>POST /_logging/feedback: dump a metric, e.g. {\"uid\": \"...\"}</li>\n"
    "<li><a href=\"/health/live\">GET /health/live</a>, "
    "<a href=\"/health/ready\">GET /health/ready</a></li>\n"
    "<li><a href=\"/metrics\">GET /metrics</a>: counts, for Prometheus</li>\n"
    "<li><a href=\"/openapi.json\">GET /openapi.json</a>: all of this, for programs</li>\n"
    "</ul>\n"
    "</body></html>\n";

void mmq_handle_page(mmq_exchange *exchange)
{
    mmq_exchange_answer(exchange, 200, "text/html; charset=UTF-8", page, sizeof page - 1);
}
