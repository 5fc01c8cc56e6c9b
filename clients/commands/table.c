/* The table of commands: which options each takes. */
#include "clients/commands/table.h"

#include "clients/commands/commands.h"

#define LOGGING    "log-level", "log-format"
#define KEYS       "curve-key", "curve-server"
#define NAMES(...) ((const char *const[]){__VA_ARGS__, LOGGING, NULL})
#define UPLOADING                                                                                  \
    "upload", "server-id", "spool-max", "spool-jobs", "uploads", "archive-level", "upload-stall",  \
        "s3-endpoint", "s3-region", "s3-path-style", "s3-ca-file", "s3-insecure"
#define HTTP_NAMES                                                                                 \
    "connections-max", "connections-per-address", "idle-timeout", "header-timeout",                \
        "stall-timeout", "api-key", "api-keys", "http-host", "insecure", "tls-cert", "tls-key",    \
        "cors-origin"
#define METRIC_NAMES "uid", "name", "server", "location", "tag", "description", "datasource"

#define UP_NAMES                                                                                   \
    "data", "http", "bind", "bind-workers", "curve", "store", "retain", UPLOADING, "import",       \
        "threads", "queue-max", "queue-bytes", "stray-memory", "timeout", "drain-timeout",         \
        HTTP_NAMES

const mmq_command mmq_commands[] = {
    {"up", "", "everything in one process, on one data directory", mmq_command_up, NAMES(UP_NAMES)},
    {"broker", "", "the broker alone", mmq_command_broker,
     NAMES("bind", "bind-workers", "curve", "insecure", "queue-max", "queue-bytes", "stray-memory",
           "drain-timeout")},
    {"worker", "query|write|feedback", "one worker alone", mmq_command_worker,
     NAMES("connect", KEYS, "data", "store", "retain", UPLOADING, "threads", "capacity",
           "drain-timeout")},
    {"http", "", "the HTTP adapter alone", mmq_command_http,
     NAMES("http", "connect", KEYS, "timeout", "drain-timeout", HTTP_NAMES)},
    {"check-config", "up|broker|worker|http [KIND]",
     "would it start? its configuration, value by value, and all that is wrong with it",
     mmq_command_check_config, NAMES(UP_NAMES, "connect", KEYS, "capacity")},
    {"key", "NAME", "make a key for HTTP clients", mmq_command_key, NAMES("rights", "api-keys")},
    {"import", "FILE...", "load CSV files", mmq_command_import,
     NAMES("connect", KEYS, "timeout", METRIC_NAMES)},
    {"demo", "", "fill the store with generated metrics", mmq_command_demo,
     NAMES("connect", KEYS, "timeout", "metrics", "rows", "seed")},
    {"models", "[UID]", "the metrics", mmq_command_models,
     NAMES("connect", KEYS, "timeout", "format")},
    {"query", "[UID]", "rows of one metric or of all", mmq_command_query,
     NAMES("connect", KEYS, "timeout", "format", "from", "to", "anomaly", "limit", "rowid",
           "order")},
    {"watch", "[UID]", "rows as they come, of one metric or of all", mmq_command_watch,
     NAMES("connect", KEYS, "timeout", "format", "anomaly")},
    {"feedback", "UID", "dump a metric into the archive store", mmq_command_feedback,
     NAMES("connect", KEYS, "timeout", "format", "extra", "wait")},
    {"status", "", "services, workers, queues, spool", mmq_command_status,
     NAMES("connect", KEYS, "timeout", "format", "watch", "interval")},
    {"keygen", "server|client|worker [NAME]", "make CURVE keys: of the broker, or of a peer",
     mmq_command_keygen, NAMES("curve", "rights", "services")},
    {"spool", "list|retry|drop [NAME]...", "feedback archives that are not uploaded yet",
     mmq_command_spool, NAMES("data", "format")},
    {"check", "", "is the store whole? reads all of it, beside workers too", mmq_command_check,
     NAMES("data", "store")},
    {"migrate", "",
     "copy the store into another one, beside workers too; or bring one of an earlier form to the "
     "current one",
     mmq_command_migrate, NAMES("from", "to", "finish", "data", "store")},
    {"backup", "FILE", "copy the store into a new file, beside workers too, and check the copy",
     mmq_command_backup, NAMES("data", "store")},
    {"restore", "FILE", "make a backup the store; workers must be stopped", mmq_command_restore,
     NAMES("data", "store", "keep-old")},
    {"prune", "[UID]", "remove old rows, of one metric or of all", mmq_command_prune,
     NAMES("connect", KEYS, "timeout", "before", "dry-run", "fast")},
    {"load", "", "load generator: many clients that check what they get", mmq_command_load,
     NAMES("connect", KEYS, "connect-workers", "op", "mix", "clients", "concurrency", "rate",
           "workers", "capacity", "service-time", "service", "size", "retry", "duration", "warmup",
           "timeout", "seed", "json", "plot")},
};

const size_t mmq_commands_count = sizeof mmq_commands / sizeof *mmq_commands;
