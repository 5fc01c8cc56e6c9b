/* Here a new option of a role becomes a setting; whoever starts roles and `check-config` see the
 * same. */
#include "clients/commands/settings.h"

#include "clients/commands/keeper.h"

mmq_broker_settings mmq_broker_settings_of(const mmq_config *config, bool local)
{
    const size_t stray_max = local ? (size_t)1 << 30 : (size_t)64 << 20;
    return (mmq_broker_settings){
        .bind = mmq_config_text(config, "bind"),
        .bind_workers = mmq_config_text(config, "bind-workers"),
        .queue_max = (size_t)mmq_config_int(config, "queue-max"),
        .queue_bytes_max = (size_t)mmq_config_int(config, "queue-bytes"),
        .stray_bytes_max = mmq_config_given(config, "stray-memory")
                               ? (size_t)mmq_config_int(config, "stray-memory")
                               : stray_max,
        .curve = mmq_config_text(config, "curve"),
        .insecure = mmq_config_flag(config, "insecure"),
        .local = local,
        .drain_ms = (unsigned)mmq_config_int(config, "drain-timeout"),
    };
}

mmq_http_settings mmq_http_settings_of(const mmq_config *config, const char *connect,
                                       const mmq_curve *curve)
{
    const char *const *origins, *const *hosts;
    const size_t origin_count = mmq_config_list(config, "cors-origin", &origins);
    const size_t host_count = mmq_config_list(config, "http-host", &hosts);
    return (mmq_http_settings){
        .listen = mmq_config_text(config, "http"),
        .connect = connect,
        .curve = curve,
        .api_key = mmq_config_text(config, "api-key"),
        .api_keys = mmq_config_text(config, "api-keys"),
        .insecure = mmq_config_flag(config, "insecure"),
        .hosts = hosts,
        .host_count = host_count,
        .tls_certificate = mmq_config_text(config, "tls-cert"),
        .tls_key = mmq_config_text(config, "tls-key"),
        .cors_origins = origins,
        .cors_count = origin_count,
        .connections_max = (unsigned)mmq_config_int(config, "connections-max"),
        .connections_per_address = (unsigned)mmq_config_int(config, "connections-per-address"),
        .timeout_ms = (unsigned)mmq_config_int(config, "timeout"),
        .idle_ms = (unsigned)mmq_config_int(config, "idle-timeout"),
        .header_ms = (unsigned)mmq_config_int(config, "header-timeout"),
        .stall_ms = (unsigned)mmq_config_int(config, "stall-timeout"),
        .drain_ms = (unsigned)mmq_config_int(config, "drain-timeout"),
    };
}

static mmq_s3_settings s3_settings(const mmq_config *config)
{
    return (mmq_s3_settings){
        .endpoint = mmq_config_text(config, "s3-endpoint"),
        .region = mmq_config_text(config, "s3-region"),
        .ca_file = mmq_config_text(config, "s3-ca-file"),
        .path_style = mmq_config_flag(config, "s3-path-style"),
        .insecure = mmq_config_flag(config, "s3-insecure"),
        .stall_ms = (unsigned)mmq_config_int(config, "upload-stall"),
    };
}

mmq_worker_settings mmq_worker_settings_of(const mmq_config *config, const char *endpoint,
                                           const char *store, const char *upload)
{
    return (mmq_worker_settings){
        .endpoint = endpoint,
        .store = store,
        .retain_days = mmq_config_int(config, "retain"),
        .threads = (unsigned)mmq_config_int(config, "threads"),
        .drain_ms = (unsigned)mmq_config_int(config, "drain-timeout"),
        .stopped = mmq_keeper_told_to_stop,
        .data = mmq_config_text(config, "data"),
        .upload = upload,
        .s3 = s3_settings(config),
        .spool_bytes = mmq_config_int(config, "spool-max"),
        .spool_jobs = mmq_config_int(config, "spool-jobs"),
        .uploads = (unsigned)mmq_config_int(config, "uploads"),
        .archive_level = (int)mmq_config_int(config, "archive-level"),
        .server_id = mmq_config_text(config, "server-id"),
    };
}
