/* `metricmq query` and `metricmq models`: read the store over the bus. */
#include <string.h>

#include "clients/commands/commands.h"
#include "clients/commands/output.h"
#include "clients/commands/reply.h"
#include "lib/calendar.h"

/* The one operand that both commands may have; false after a complaint. */
static bool take_uid(const mmq_config *config, const char **uid)
{
    const char *const *operands;
    size_t count = mmq_config_operands(config, &operands);
    *uid = count > 0 ? operands[0] : NULL;
    return count <= 1;
}

/* False after a complaint. */
static bool add_time(mmq_args *args, const mmq_config *config, const char *name)
{
    int64_t seconds;
    const char *text = mmq_config_text(config, name);
    if (!text) {
        return true;
    }
    if (!mmq_time_parse_loose(text, strlen(text), &seconds)) {
        mmq_usage("--%s=%.40s: want \"YYYY-MM-DD HH:MM:SS\", a date or epoch seconds", name, text);
        return false;
    }
    mmq_args_int(args, name, seconds);
    return true;
}

/* Only what was given is sent: the worker's defaults are the contract's. */
static void add_filters(mmq_args *args, const mmq_config *config)
{
    if (mmq_config_given(config, "anomaly")) {
        mmq_args_double(args, "anomaly", mmq_config_number(config, "anomaly"));
    }
    if (mmq_config_given(config, "limit")) {
        mmq_args_int(args, "limit", mmq_config_int(config, "limit"));
    }
    if (mmq_config_given(config, "rowid")) {
        mmq_args_int(args, "rowid", mmq_config_int(config, "rowid"));
    }
}

/* A stream of a metric that does not exist has no rows, which would hide a slip of the pen. False
 * after a complaint. */
static bool metric_exists(mmq_client *client, const char *uid, unsigned timeout_ms)
{
    mmq_args args;
    mmq_result result;
    mmq_why why;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "model");
    mmq_args_cstr(&args, "uid", uid);
    mmq_err err = mmq_reply_call(client, MMQ_SERVICE_QUERY, &args, timeout_ms, &result, &why);
    mmq_args_clear(&args);
    if (err != MMQ_OK) {
        (void)mmq_failed("%s", why.text);
        return false;
    }
    mmq_result_clear(&result);
    return true;
}

/* metric: one that must exist; NULL: none. */
static int run_stream(const mmq_config *config, const char *metric, mmq_args *args, mmq_form form)
{
    int status = MMQ_EXIT_FAILED;
    const unsigned timeout_ms = (unsigned)mmq_config_int(config, "timeout");
    mmq_client *client = mmq_connect(config, &status);
    if (client && (!metric || metric_exists(client, metric, timeout_ms))) {
        status = mmq_output_stream(client, args, timeout_ms, form);
    }
    mmq_args_clear(args);
    mmq_client_destroy(&client);
    return status;
}

int mmq_command_query(const mmq_config *config)
{
    const char *uid;
    if (!take_uid(config, &uid)) {
        return mmq_usage("`query` takes one uid, or none for all metrics");
    }
    mmq_form form = mmq_output_form(mmq_config_text(config, "format"),
                                    uid ? MMQ_FORM_JSON_METRIC : MMQ_FORM_JSON_METRICS,
                                    MMQ_FORM_CSV, MMQ_FORM_TABLE);
    const char *order = mmq_config_text(config, "order");
    if (form == MMQ_FORM_JSON_METRICS) {
        order = "metric"; /* the form groups by metric */
    }
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "data");
    mmq_args_cstr(&args, "uid", uid);
    mmq_args_cstr(&args, "order", order);
    add_filters(&args, config);
    if (!add_time(&args, config, "from") || !add_time(&args, config, "to")) {
        mmq_args_clear(&args);
        return MMQ_EXIT_USAGE;
    }
    return run_stream(config, uid, &args, form);
}

int mmq_command_models(const mmq_config *config)
{
    const char *uid;
    if (!take_uid(config, &uid)) {
        return mmq_usage("`models` takes one uid, or none for all metrics");
    }
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", uid ? "model" : "models");
    mmq_args_cstr(&args, "uid", uid);
    return run_stream(config, NULL, &args,
                      mmq_output_form(mmq_config_text(config, "format"), MMQ_FORM_JSON_RECORDS,
                                      MMQ_FORM_CSV_RECORDS, MMQ_FORM_TABLE_RECORDS));
}
