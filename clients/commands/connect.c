/* Commands as bus clients: connect, and find out at once whether anyone is there. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "clients/commands/commands.h"
#include "clients/commands/options.h"
#include "lib/clock.h"

/* MMQ_OK: there is a worker; MMQ_ENOTFOUND: none; else the broker does not answer. */
static mmq_err ask_service(mmq_client *client, const char *service, unsigned timeout_ms,
                           mmq_why *why)
{
    mmq_call call = {.service = "mmi.service",
                     .args = service,
                     .args_size = strlen(service),
                     .timeout_ms = timeout_ms,
                     .retry = true};
    mmq_result result;
    mmq_err err = mmq_client_call(client, &call, &result, why);
    if (err) {
        return err;
    }
    if (result.status != 200) {
        err = mmq_fail(why, mmq_err_from_status(result.status), "%s", result.error);
    }
    mmq_result_clear(&result);
    return err;
}

mmq_err mmq_wait_service(mmq_client *client, const char *service, unsigned ping_ms,
                         unsigned timeout_ms, mmq_why *why)
{
    int64_t end_ns = mmq_now_ns() + timeout_ms * MMQ_NS_PER_MS;
    for (;;) {
        mmq_err err = ask_service(client, service, ping_ms, why);
        if (err != MMQ_ENOTFOUND) {
            return err;
        }
        if (mmq_now_ns() > end_ns) {
            return mmq_fail(why, MMQ_ENOTFOUND, "no worker serves %s", service);
        }
        (void)poll(NULL, 0, 5); /* the READY is under way */
    }
}

mmq_err mmq_read_curve(const mmq_config *config, mmq_curve *out, const mmq_curve **curve,
                       mmq_why *why)
{
    const char *key = mmq_config_text(config, "curve-key");
    const char *server = mmq_config_text(config, "curve-server");
    *out = (mmq_curve){0};
    *curve = NULL;
    if (key == NULL && server == NULL) {
        return MMQ_OK;
    }
    if (key == NULL || server == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "--curve-key and --curve-server want each other");
    }
    mmq_why reason = {""};
    mmq_err err = mmq_curve_load(key, server, out, &reason);
    if (err != MMQ_OK) {
        (void)mmq_fail(why, err, "--curve-key, --curve-server: %.220s", reason.text);
    }
    *curve = err == MMQ_OK ? out : NULL;
    return err;
}

static mmq_client *open_client(const mmq_config *config, const char *endpoint, int *status)
{
    mmq_why why = {""};
    mmq_curve keys;
    const mmq_curve *curve;
    if (mmq_read_curve(config, &keys, &curve, &why)) {
        *status = mmq_usage("%s", why.text);
        return NULL;
    }
    mmq_client *client = mmq_client_new_curve(endpoint, curve, &why);
    mmq_curve_wipe(&keys);
    if (!client) {
        *status = mmq_usage("--connect: %s", why.text);
    }
    return client;
}

/* What to do about a broker that does not answer as it should. */
static int explain(const mmq_client *client, const char *endpoint, mmq_err err)
{
    if (err == MMQ_EDENIED) {
        return mmq_failed("the broker at %s knows this key, and it has no rights", endpoint);
    }
    return mmq_client_denied(client)
               ? mmq_failed("the broker at %s ends the handshake: are --curve-key and "
                            "--curve-server what it wants?",
                            endpoint)
               : mmq_failed("no broker answers at %s; is `metricmq up` running there?", endpoint);
}

mmq_client *mmq_connect(const mmq_config *config, int *status)
{
    const char *endpoint = mmq_config_text(config, "connect");
    endpoint = endpoint ? endpoint : MMQ_DEFAULT_CLIENTS;
    mmq_why why = {""};
    mmq_client *client = open_client(config, endpoint, status);
    if (!client) {
        return NULL;
    }
    int64_t timeout_ms = mmq_config_int(config, "timeout");
    mmq_err err = ask_service(client, MMQ_SERVICE_QUERY,
                              timeout_ms < MMQ_PING_MS ? (unsigned)timeout_ms : MMQ_PING_MS, &why);
    if (err && err != MMQ_ENOTFOUND) {
        *status = explain(client, endpoint, err);
        mmq_client_destroy(&client);
    }
    return client;
}
