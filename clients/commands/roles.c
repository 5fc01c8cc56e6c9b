/* The long-running commands: up, broker, worker, http.
 *
 * A role is started, its ready line goes to stdout, and the main thread keeps it (keeper.c) until
 * it is told to stop. Signals are blocked before the first thread starts, so that only the main
 * thread takes them.
 * Roles stop in the order in which requests flow: the adapter first, the broker last, all of them
 * within one drain timeout. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/commands/commands.h"
#include "clients/commands/keeper.h"
#include "clients/commands/options.h"
#include "clients/commands/settings.h"
#include "lib/check.h"

enum { READY_MS = 30000 };

/* What `up` runs; NULL where a part is not up (yet). */
struct house {
    mmq_broker *broker;
    mmq_role *write, *query, *feedback;
    mmq_http *http;
    char *store, *upload;
};

static bool is_given(const mmq_config *config, const char *name)
{
    return mmq_config_text(config, name) != NULL;
}

/* A ready line is for whoever started us and may wait for it in a pipe. */
static void say_ready(void)
{
    fputc('\n', stdout);
    fflush(stdout);
}

/* Makes the data directory, private to its owner, if it is not there. */
static mmq_err make_data(const mmq_config *config, mmq_why *why)
{
    const char *data = mmq_config_text(config, "data");
    struct stat status;
    if (mkdir(data, 0700) != 0 && errno != EEXIST) {
        return mmq_fail(why, MMQ_EIO, "--data %s: cannot be made: %s", data, strerror(errno));
    }
    if (stat(data, &status) != 0 || !S_ISDIR(status.st_mode)) {
        return mmq_fail(why, MMQ_EIO, "--data %s is not a folder", data);
    }
    return MMQ_OK;
}

int mmq_command_broker(const mmq_config *config)
{
    mmq_keeper keeper;
    mmq_keeper_begin(&keeper, is_given(config, "curve"));
    mmq_why why = {""};
    const mmq_broker_settings settings = mmq_broker_settings_of(config, false);
    mmq_broker *broker = mmq_broker_new(&settings, &why);
    if (!broker) {
        mmq_keeper_end(&keeper);
        return mmq_usage("%s", why.text);
    }
    printf("metricmq broker ready: clients=%s workers=%s", mmq_broker_endpoint(broker),
           mmq_broker_worker_endpoint(broker));
    say_ready();
    keeper.broker = broker;
    keeper.broker_lists = is_given(config, "curve");
    int status = mmq_keeper_wait(&keeper);
    mmq_broker_destroy(&broker);
    mmq_keeper_end(&keeper);
    return status;
}

/* NULL with a sentence in why. */
static mmq_http *start_http(const mmq_config *config, mmq_why *why)
{
    mmq_curve keys;
    const mmq_curve *curve;
    if (mmq_read_curve(config, &keys, &curve, why)) {
        return NULL;
    }
    const char *connect = mmq_config_text(config, "connect");
    const mmq_http_settings settings =
        mmq_http_settings_of(config, connect ? connect : MMQ_DEFAULT_CLIENTS, curve);
    mmq_http *http = mmq_http_new(&settings, why);
    mmq_curve_wipe(&keys);
    return http;
}

int mmq_command_http(const mmq_config *config)
{
    mmq_keeper keeper;
    mmq_keeper_begin(&keeper, is_given(config, "api-keys"));
    mmq_why why = {""};
    mmq_http *http = start_http(config, &why);
    if (!http) {
        mmq_keeper_end(&keeper);
        return mmq_usage("%s", why.text);
    }
    printf("metricmq http ready: http=%s", mmq_http_url(http));
    say_ready();
    keeper.http = http;
    keeper.http_lists = is_given(config, "api-keys");
    int status = mmq_keeper_wait(&keeper);
    mmq_http_destroy(&http);
    mmq_keeper_end(&keeper);
    return status;
}

static mmq_role *new_worker(const char *kind, const mmq_worker_settings *settings, mmq_why *why)
{
    if (strcmp(kind, "query") == 0) {
        return mmq_query_worker_new(settings, why);
    }
    if (strcmp(kind, "write") == 0) {
        return mmq_write_worker_new(settings, true, why);
    }
    return mmq_feedback_worker_new(settings, why);
}

/* NULL after printing why, with the exit status in *status. */
static mmq_role *start_worker(const char *kind, const mmq_worker_settings *settings, int *status)
{
    mmq_why why = {""};
    if (mmq_worker_settings_check(settings, &why)) {
        *status = mmq_usage("%s", why.text);
        return NULL;
    }
    mmq_role *role = new_worker(kind, settings, &why);
    if (!role && mmq_keeper_told_to_stop()) {
        *status = MMQ_EXIT_DONE;
    } else if (!role) {
        *status = mmq_failed("%s", why.text);
    }
    return role;
}

/* As start_worker, with the settings of the configuration. */
static mmq_role *make_worker(const mmq_config *config, const char *kind, int *status)
{
    mmq_why why = {""};
    mmq_curve keys;
    const mmq_curve *curve;
    const bool reads_only = strcmp(kind, "query") == 0;
    if ((!reads_only && make_data(config, &why)) || mmq_read_curve(config, &keys, &curve, &why)) {
        *status = mmq_usage("%s", why.text);
        return NULL;
    }
    const char *connect = mmq_config_text(config, "connect");
    char *store = mmq_store_url(config);
    char *upload = mmq_upload_url(config);
    mmq_worker_settings settings =
        mmq_worker_settings_of(config, connect ? connect : MMQ_DEFAULT_WORKERS, store, upload);
    settings.capacity = (unsigned)mmq_config_int(config, "capacity");
    settings.curve = curve;
    mmq_role *role = start_worker(kind, &settings, status);
    mmq_curve_wipe(&keys);
    free(store);
    free(upload);
    return role;
}

int mmq_command_worker(const mmq_config *config)
{
    const char *const *kinds;
    if (mmq_config_operands(config, &kinds) != 1) {
        return mmq_usage("`worker` runs one of query, write, feedback; start each by its own");
    }
    mmq_keeper keeper;
    mmq_keeper_begin(&keeper, false);
    int status = MMQ_EXIT_FAILED;
    mmq_role *role = make_worker(config, kinds[0], &status);
    if (role) {
        printf("metricmq worker ready: service=metric.%s", kinds[0]);
        say_ready();
        keeper.roles[0] = role;
        status = mmq_keeper_wait(&keeper);
        mmq_role_destroy(&role);
    }
    mmq_keeper_end(&keeper);
    return status;
}

/* ---- up ---------------------------------------------------------------------------------- */

static mmq_err start_roles(struct house *house, const mmq_config *config, mmq_why *why)
{
    const mmq_broker_settings broker = mmq_broker_settings_of(config, true);
    const mmq_worker_settings worker =
        mmq_worker_settings_of(config, MMQ_INPROC_WORKERS, house->store, house->upload);
    const mmq_http_settings http = mmq_http_settings_of(config, MMQ_INPROC_CLIENTS, NULL);
    if (mmq_worker_settings_check(&worker, why)) {
        return MMQ_EINVAL;
    }
    /* The adapter listens last: what it lets in is served. */
    if (!(house->broker = mmq_broker_new(&broker, why))) {
        return MMQ_EINVAL;
    }
    if (!(house->write = mmq_write_worker_new(&worker, false, why)) ||
        !(house->query = mmq_query_worker_new(&worker, why)) ||
        !(house->feedback = mmq_feedback_worker_new(&worker, why))) {
        return MMQ_EUNAVAILABLE;
    }
    return (house->http = mmq_http_new(&http, why)) ? MMQ_OK : MMQ_EINVAL;
}

static mmq_err wait_for_services(mmq_client *client, mmq_why *why)
{
    static const char *const services[] = {MMQ_SERVICE_WRITE, MMQ_SERVICE_QUERY,
                                           MMQ_SERVICE_FEEDBACK};
    for (size_t i = 0; i < sizeof services / sizeof *services; i++) {
        mmq_err err = mmq_wait_service(client, services[i], MMQ_PING_MS, READY_MS, why);
        if (err) {
            return err;
        }
    }
    return MMQ_OK;
}

/* Waits for the workers and imports the files of --import. */
static int settle_in(const mmq_config *config)
{
    mmq_why why = {""};
    mmq_client *client = mmq_client_new(MMQ_INPROC_CLIENTS, &why);
    int status = MMQ_EXIT_DONE;
    if (!client || wait_for_services(client, &why)) {
        status = mmq_failed("%s", why.text);
    } else {
        const char *const *files;
        size_t count = mmq_config_list(config, "import", &files);
        status = mmq_import_files(client, config, files, count, mmq_keeper_told_to_stop, true);
    }
    mmq_client_destroy(&client);
    return status;
}

static void stop_roles(struct house *house)
{
    mmq_http_destroy(&house->http);
    mmq_role_destroy(&house->feedback);
    mmq_role_destroy(&house->write);
    mmq_role_destroy(&house->query);
    mmq_broker_destroy(&house->broker);
}

static int run_house(struct house *house, const mmq_config *config, mmq_keeper *keeper)
{
    mmq_why why = {""};
    mmq_err err = start_roles(house, config, &why);
    if (err && mmq_keeper_told_to_stop()) {
        return MMQ_EXIT_DONE;
    }
    if (err) {
        return err == MMQ_EINVAL ? mmq_usage("%s", why.text) : mmq_failed("%s", why.text);
    }
    int status = settle_in(config);
    if (mmq_keeper_told_to_stop()) {
        return MMQ_EXIT_DONE;
    }
    if (status != MMQ_EXIT_DONE) {
        return status;
    }
    printf("metricmq up ready: http=%s clients=%s workers=%s data=%s", mmq_http_url(house->http),
           mmq_broker_endpoint(house->broker), mmq_broker_worker_endpoint(house->broker),
           mmq_config_text(config, "data"));
    say_ready();
    keeper->broker = house->broker;
    keeper->http = house->http;
    keeper->roles[0] = house->write;
    keeper->roles[1] = house->query;
    keeper->roles[2] = house->feedback;
    keeper->broker_lists = is_given(config, "curve");
    keeper->http_lists = is_given(config, "api-keys");
    return mmq_keeper_wait(keeper);
}

int mmq_command_up(const mmq_config *config)
{
    mmq_keeper keeper;
    mmq_keeper_begin(&keeper, is_given(config, "curve") || is_given(config, "api-keys"));
    mmq_why why = {""};
    int status = MMQ_EXIT_USAGE;
    if (make_data(config, &why)) {
        (void)mmq_usage("%s", why.text);
    } else {
        struct house house = {.store = mmq_store_url(config), .upload = mmq_upload_url(config)};
        status = run_house(&house, config, &keeper);
        stop_roles(&house);
        free(house.store);
        free(house.upload);
    }
    mmq_keeper_end(&keeper);
    return status;
}
