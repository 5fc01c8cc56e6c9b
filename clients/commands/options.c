/* The options table: flag, environment variable and file key come from the name. */
#include "clients/commands/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "clients/load/load.h"
#include "lib/check.h"
#include "metricmq/protocol.h"

#define HOUR_MS 3600000
#define GIB     (INT64_C(1) << 30)

const mmq_option mmq_options[] = {
    {"data", MMQ_OPTION_TEXT, "./metricmq-data", "DIR", "data directory", NULL, 0, 0, false},
    {"store", MMQ_OPTION_TEXT, NULL, "URL", "the store (default sqlite:<data>/metricmq.db)", NULL,
     0, 0, false},
    {"upload", MMQ_OPTION_TEXT, NULL, "URL",
     "where feedback archives go: file:DIR or s3://BUCKET[/PREFIX] (default file:<data>/uploads)",
     NULL, 0, 0, false},
    {"spool-max", MMQ_OPTION_BYTES, "10G", "BYTES",
     "archives that wait for their upload: bytes at most; a full spool takes no dumps", NULL, 1024,
     INT64_MAX, false},
    {"spool-jobs", MMQ_OPTION_INT, "1000", "N", "archives that wait for their upload at most", NULL,
     1, 100000, false},
    {"uploads", MMQ_OPTION_INT, "4", "N", "uploads in the background at once", NULL, 1, 32, false},
    {"archive-level", MMQ_OPTION_INT, "1", "N", "compression of archives, from fast to small", NULL,
     1, 9, false},
    {"upload-stall", MMQ_OPTION_MS, "20s", "TIME",
     "an upload that gets nowhere for so long is broken off and tried again", NULL, 1000, HOUR_MS,
     false},
    {"s3-endpoint", MMQ_OPTION_TEXT, NULL, "URL",
     "the object store (default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or AWS's of the region)",
     NULL, 0, 0, false},
    {"s3-region", MMQ_OPTION_TEXT, NULL, "NAME",
     "its region (default: AWS_REGION, AWS_DEFAULT_REGION, or us-east-1)", NULL, 0, 0, false},
    {"s3-path-style", MMQ_OPTION_FLAG, "false", NULL,
     "the bucket is part of the path, not of the host's name", NULL, 0, 0, false},
    {"s3-ca-file", MMQ_OPTION_TEXT, NULL, "FILE",
     "PEM file of the authorities that may vouch for it (default: AWS_CA_BUNDLE, or the machine's)",
     NULL, 0, 0, false},
    {"s3-insecure", MMQ_OPTION_FLAG, "false", NULL,
     "plain http:// to another machine is allowed: whoever listens reads all", NULL, 0, 0, false},
    {"server-id", MMQ_OPTION_TEXT, NULL, "ID",
     "names this server in feedback archives (default: made once, kept in the data directory)",
     NULL, 0, 0, false},
    {"http", MMQ_OPTION_TEXT, "127.0.0.1:8080", "ADDRESS",
     "the HTTP adapter listens here: HOST:PORT, [IPv6]:PORT or unix:PATH", NULL, 0, 0, false},
    {"bind", MMQ_OPTION_TEXT, MMQ_DEFAULT_CLIENTS, "ENDPOINT", "the broker's endpoint for clients",
     NULL, 0, 0, false},
    {"bind-workers", MMQ_OPTION_TEXT, MMQ_DEFAULT_WORKERS, "ENDPOINT",
     "the broker's endpoint for workers", NULL, 0, 0, false},
    {"connect", MMQ_OPTION_TEXT, NULL, "ENDPOINT[,ENDPOINT]...",
     "the broker, or several, to connect to (default " MMQ_DEFAULT_CLIENTS "; workers: port 5751)",
     NULL, 0, 0, false},
    {"curve", MMQ_OPTION_TEXT, NULL, "DIR",
     "keys of the broker and of who may connect (`metricmq keygen`): TCP speaks CURVE only", NULL,
     0, 0, false},
    {"curve-key", MMQ_OPTION_TEXT, NULL, "FILE",
     "CURVE: our own secret certificate (NAME.cert_secret)", NULL, 0, 0, false},
    {"curve-server", MMQ_OPTION_TEXT, NULL, "FILE",
     "CURVE: the broker's public certificate (server.cert)", NULL, 0, 0, false},
    {"insecure", MMQ_OPTION_FLAG, "false", NULL,
     "other machines may reach what has neither keys nor encryption", NULL, 0, 0, false},
    {"rights", MMQ_OPTION_TEXT, NULL, "RIGHT[,RIGHT]...",
     "what a client may do: read, write, feedback, admin (default: read)", NULL, 0, 0, false},
    {"services", MMQ_OPTION_TEXT, NULL, "NAME[,NAME]...",
     "services a worker may serve (default: metric.query,metric.write,metric.feedback), or further "
     "ones a client may ask",
     NULL, 0, 0, false},
    {"threads", MMQ_OPTION_INT, "3", "N", "work threads of a query or feedback worker", NULL, 1, 64,
     false},
    {"capacity", MMQ_OPTION_INT, "0", "N",
     "requests a worker holds at once (0: as its role sees fit; 1: a plain MDP/0.2 worker)", NULL,
     0, 1000, false},
    {"queue-max", MMQ_OPTION_INT, "10000", "N", "requests that may wait for one service", NULL, 1,
     1000000, false},
    {"queue-bytes", MMQ_OPTION_BYTES, "64M", "BYTES", "bytes that may wait for one service", NULL,
     1024, 16 * GIB, false},
    {"stray-memory", MMQ_OPTION_BYTES, NULL, "BYTES",
     "memory beyond what requests account for, past which the broker cuts all its connections "
     "(default 64M; up: 1G, since all roles share it)",
     NULL, 1024 * 1024, INT64_MAX, false},
    {"connections-max", MMQ_OPTION_INT, "4096", "N", "HTTP connections at once", NULL, 1, 65536,
     false},
    {"connections-per-address", MMQ_OPTION_INT, "256", "N",
     "of one address, or IPv6 network; 127.0.0.1, ::1 and unix sockets are exempt (0: no limit)",
     NULL, 0, 65536, false},
    {"idle-timeout", MMQ_OPTION_MS, "60s", "TIME", "an HTTP connection without a request is closed",
     NULL, 100, 24 * HOUR_MS, false},
    {"header-timeout", MMQ_OPTION_MS, "10s", "TIME", "the head of an HTTP request is whole by then",
     NULL, 100, 24 * HOUR_MS, false},
    {"stall-timeout", MMQ_OPTION_MS, "20s", "TIME",
     "an HTTP body or reader slower than 1 KiB/s over this time is cut", NULL, 100, 24 * HOUR_MS,
     false},
    {"tls-cert", MMQ_OPTION_TEXT, NULL, "FILE", "HTTPS: the certificate and its chain (PEM)", NULL,
     0, 0, false},
    {"tls-key", MMQ_OPTION_TEXT, NULL, "FILE", "HTTPS: the certificate's key (PEM)", NULL, 0, 0,
     false},
    {"cors-origin", MMQ_OPTION_LIST, NULL, "URL",
     "pages of this origin may ask from a browser (may be repeated; * for any)", NULL, 0, 0, false},
    {"timeout", MMQ_OPTION_MS, "30s", "TIME", "a request on the bus ends by then", NULL, 1, 300000,
     false},
    {"drain-timeout", MMQ_OPTION_MS, "10s", "TIME",
     "on SIGTERM, how long what is in flight may take to finish", NULL, 0, HOUR_MS, false},
    {"api-key", MMQ_OPTION_TEXT, NULL, "KEY", "the key that HTTP clients must send", NULL, 0, 0,
     true},
    {"log-level", MMQ_OPTION_CHOICE, "info", "LEVEL", "least level of log lines",
     "debug|info|warn|error", 0, 0, false},
    {"log-format", MMQ_OPTION_CHOICE, "logfmt", "FORM", "form of log lines", "logfmt|json", 0, 0,
     false},
    {"import", MMQ_OPTION_LIST, NULL, "FILE", "a CSV file to import at start (may be repeated)",
     NULL, 0, 0, false},
    {"uid", MMQ_OPTION_TEXT, NULL, "UID", "the metric's uid (default: derived from the name)", NULL,
     0, 0, false},
    {"name", MMQ_OPTION_TEXT, NULL, "NAME",
     "the metric's name (default: the file's, without folder and .csv)", NULL, 0, 0, false},
    {"server", MMQ_OPTION_TEXT, NULL, "NAME", "the server it comes from (default: its name)", NULL,
     0, 0, false},
    {"location", MMQ_OPTION_TEXT, NULL, "TEXT", "where that server is", NULL, 0, 0, false},
    {"tag", MMQ_OPTION_TEXT, NULL, "TEXT", "a tag, shown before the server", NULL, 0, 0, false},
    {"description", MMQ_OPTION_TEXT, NULL, "TEXT", "what it measures", NULL, 0, 0, false},
    {"datasource", MMQ_OPTION_CHOICE, "custom", "KIND", "the kind of metric", "custom", 0, 0,
     false},
    {"metrics", MMQ_OPTION_INT, "10", "N", "metrics to make", NULL, 1, 1000000, false},
    {"rows", MMQ_OPTION_INT, "4032", "N", "rows of each (4032: two weeks of five minutes)", NULL, 0,
     1000000000, false},
    {"seed", MMQ_OPTION_INT, NULL, "S",
     "the same seed makes the same rows (default 1) and the same load (default: random)", NULL, 0,
     INT64_MAX, false},
    {"format", MMQ_OPTION_CHOICE, "table", "FORM",
     "form of the result (`status` has table and json only)", "table|csv|json|msgpack", 0, 0,
     false},
    {"from", MMQ_OPTION_TEXT, NULL, "TIME",
     "first time, \"YYYY-MM-DD HH:MM:SS\" UTC or epoch seconds; rows then ascend", NULL, 0, 0,
     false},
    {"to", MMQ_OPTION_TEXT, NULL, "TIME", "last time, inclusive", NULL, 0, 0, false},
    {"anomaly", MMQ_OPTION_NUMBER, NULL, "SCORE",
     "least anomaly score (0: rows that have one; negative: all rows)", NULL, 0, 0, false},
    {"limit", MMQ_OPTION_INT, "0", "N", "rows of a metric at most (0: all)", NULL, 0, INT64_MAX,
     false},
    {"rowid", MMQ_OPTION_INT, NULL, "N", "only the row with this number", NULL, 1, INT64_MAX,
     false},
    {"order", MMQ_OPTION_CHOICE, NULL, "ORDER", "order of the rows of all metrics", "time|metric",
     0, 0, false},
    {"extra", MMQ_OPTION_LIST, NULL, "KEY=VALUE", "sent along with the dump (may be repeated)",
     NULL, 0, 0, false},
    {"wait", MMQ_OPTION_FLAG, "false", NULL, "wait until the archive is uploaded, however long",
     NULL, 0, 0, false},
    {"connect-workers", MMQ_OPTION_TEXT, MMQ_DEFAULT_WORKERS, "ENDPOINT",
     "the broker's endpoint for the workers of the load", NULL, 0, 0, false},
    {"op", MMQ_OPTION_CHOICE, "mix", "OP", "what is asked: metrics, or echoes of --service",
     "mix|echo", 0, 0, false},
    {"mix", MMQ_OPTION_TEXT, "small=90,day=9,dump=1", "MIX",
     "shares: last value of a metric, one day of it, all its rows", NULL, 0, 0, false},
    {"clients", MMQ_OPTION_INT, "10", "N", "clients (0: workers only)", NULL, 0,
     MMQ_LOAD_CLIENTS_MAX, false},
    {"concurrency", MMQ_OPTION_INT, NULL, "N",
     "closed loop: requests under way in all (default: one a client)", NULL, 1, 1000000, false},
    {"rate", MMQ_OPTION_NUMBER, NULL, "R", "open loop: requests a second, on a schedule", NULL, 0,
     0, false},
    {"workers", MMQ_OPTION_INT, "0", "N", "echo workers of our own", NULL, 0, MMQ_LOAD_WORKERS_MAX,
     false},
    {"service-time", MMQ_OPTION_MS, "0", "TIME", "that a worker takes for each request", NULL, 0,
     300000, false},
    {"service", MMQ_OPTION_TEXT, "load.echo", "NAME", "the service of echoes", NULL, 0, 0, false},
    {"size", MMQ_OPTION_BYTES, "64", "BYTES", "of an echo", NULL, 0, MMQ_BODY_MAX, false},
    {"retry", MMQ_OPTION_FLAG, "false", NULL, "echoes that fail are sent again", NULL, 0, 0, false},
    {"duration", MMQ_OPTION_MS, "10s", "TIME", "that counts", NULL, 1, 24 * HOUR_MS, false},
    {"warmup", MMQ_OPTION_MS, "1s", "TIME", "before that, not counted", NULL, 0, HOUR_MS, false},
    {"json", MMQ_OPTION_FLAG, "false", NULL, "the report as JSON", NULL, 0, 0, false},
    {"plot", MMQ_OPTION_TEXT, NULL, "FILE", "draw latency and throughput into an SVG file", NULL, 0,
     0, false},
    {"watch", MMQ_OPTION_FLAG, "false", NULL, "draw it again every two seconds", NULL, 0, 0, false},
};

const size_t mmq_options_count = sizeof mmq_options / sizeof *mmq_options;

static char *under_data(const mmq_config *config, const char *option, const char *scheme,
                        const char *name)
{
    char *url = NULL;
    const char *given = mmq_config_text(config, option);
    int size = given ? asprintf(&url, "%s", given)
                     : asprintf(&url, "%s%s/%s", scheme, mmq_config_text(config, "data"), name);
    CHECK(size >= 0);
    return url;
}

char *mmq_store_url(const mmq_config *config)
{
    return under_data(config, "store", "sqlite:", "metricmq.db");
}

char *mmq_upload_url(const mmq_config *config)
{
    return under_data(config, "upload", "file:", "uploads");
}
