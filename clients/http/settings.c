/* Who starts the adapter and who looks at its settings only ask the same questions. */
#include "clients/http/settings.h"

#include <microhttpd.h>
#include <string.h>

#include "clients/http/hosts.h"
#include "clients/http/listen.h"
#include "lib/endpoints.h"

enum { KEY_LEAST = 16 /* bytes of a key that is not laughed at */ };

bool mmq_http_settings_keyed(const mmq_http_settings *settings)
{
    return (settings->api_key && *settings->api_key) || settings->api_keys;
}

/* A key that can be found by trying words should be seen to be one. */
const char *mmq_http_settings_weakness(const mmq_http_settings *settings, const mmq_keys *keys)
{
    if (settings->api_key && *settings->api_key && strlen(settings->api_key) < KEY_LEAST) {
        return "api-key is so short that it can be guessed: `metricmq key` makes better";
    }
    return keys->count > 0 ? NULL
                           : "there are no keys: every request that wants one will be refused";
}

/* As a browser sends it: scheme and host, no path. */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    return strcmp(text, "*") == 0 ||
           ((strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0) &&
            host[3] != '\0' && strpbrk(host + 3, "/?#@ *") == NULL);
}

mmq_err mmq_http_origins_check(const mmq_http_settings *settings, mmq_why *why)
{
    for (size_t i = 0; i < settings->cors_count; i++) {
        if (!is_origin(settings->cors_origins[i])) {
            return mmq_fail(why, MMQ_EINVAL, "--cors-origin %s: want https://HOST[:PORT] or *",
                            settings->cors_origins[i]);
        }
    }
    return MMQ_OK;
}

mmq_err mmq_http_tls_load(const mmq_http_settings *settings, mmq_tls *tls, mmq_why *why)
{
    *tls = (mmq_tls){NULL, NULL};
    if (settings->tls_certificate == NULL && settings->tls_key == NULL) {
        return MMQ_OK;
    }
    if (settings->tls_certificate == NULL || settings->tls_key == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "--tls-cert and --tls-key go together");
    }
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
        return mmq_fail(why, MMQ_EINVAL, "this libmicrohttpd was built without TLS");
    }
    return mmq_tls_load(tls, settings->tls_certificate, settings->tls_key, why);
}

mmq_err mmq_http_open_check(const mmq_http_settings *settings, const struct sockaddr_storage *bound,
                            mmq_why *why)
{
    if (mmq_http_settings_keyed(settings) || settings->insecure || mmq_address_is_local(bound)) {
        return MMQ_OK;
    }
    return mmq_fail(why, MMQ_EINVAL,
                    "--http %.64s: other machines can reach it and no key is wanted: set "
                    "METRICMQ_API_KEY or --api-keys FILE, or give --insecure",
                    settings->listen);
}

/* ---- a look from outside ----------------------------------------------------------------- */

static void look_at_address(const mmq_http_settings *settings, mmq_faults *faults)
{
    mmq_why why = {""};
    mmq_hosts hosts;
    struct sockaddr_storage bound;
    if (mmq_faults_none(faults, mmq_listen_check(settings->listen, &bound, &why), &why)) {
        mmq_faults_none(faults, mmq_http_open_check(settings, &bound, &why), &why);
        mmq_faults_none(faults,
                        mmq_hosts_init(&hosts, settings->listen, &bound, settings->hosts,
                                       settings->host_count, &why),
                        &why);
    }
}

static void look_at_keys(const mmq_http_settings *settings, mmq_faults *faults)
{
    mmq_why why = {""};
    mmq_keys *keys = mmq_keys_new(settings->api_key, settings->api_keys, &why);
    const char *weakness = keys ? mmq_http_settings_weakness(settings, keys) : NULL;
    if (!keys) {
        mmq_faults_add(faults, "%s", why.text);
    } else if (weakness) {
        mmq_faults_warn(faults, "%s", weakness);
    }
    mmq_keys_destroy(&keys);
}

void mmq_http_settings_check(const mmq_http_settings *settings, mmq_faults *faults)
{
    mmq_why why = {""};
    mmq_tls tls;
    look_at_address(settings, faults);
    if (mmq_http_settings_keyed(settings)) {
        look_at_keys(settings, faults);
    }
    mmq_faults_none(faults, mmq_http_origins_check(settings, &why), &why);
    mmq_faults_none(faults, mmq_http_tls_load(settings, &tls, &why), &why);
    mmq_tls_clear(&tls);
    mmq_faults_none(faults, mmq_endpoints_list_check(settings->connect, &why), &why);
}
