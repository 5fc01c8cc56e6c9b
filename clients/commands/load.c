/* `metricmq load`: options in, report out; the work is done in clients/load. */
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clients/commands/commands.h"
#include "clients/commands/options.h"
#include "clients/load/load.h"
#include "clients/load/report.h"
#include "clients/load/workers.h"
#include "lib/clock.h"
#include "lib/digest.h"

enum {
    PING_MS = 1000,  /* a broker that knows mmi.service answers by then */
    JOIN_MS = 10000, /* workers have said READY by then */
    REPORT_MAX = 64 * 1024 * 1024,
};

/* Options that a run is made of. */
struct plan {
    mmq_load_options load;
    mmq_load_worker_options workers;
    bool json;
};

static int signals_descriptor(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static uint64_t seed_of(const mmq_config *config)
{
    uint32_t seed;
    mmq_random(&seed, sizeof seed);
    return mmq_config_given(config, "seed") ? (uint64_t)mmq_config_int(config, "seed") : seed;
}

static const char *text_or(const mmq_config *config, const char *name, const char *fallback)
{
    const char *text = mmq_config_text(config, name);
    return text ? text : fallback;
}

static void read_plan(const mmq_config *config, struct plan *plan)
{
    int64_t capacity = mmq_config_int(config, "capacity");
    plan->json = mmq_config_flag(config, "json");
    plan->load = (mmq_load_options){
        .endpoint = text_or(config, "connect", MMQ_DEFAULT_CLIENTS),
        .service = mmq_config_text(config, "service"),
        .clients = (size_t)mmq_config_int(config, "clients"),
        .rate = mmq_config_given(config, "rate") ? mmq_config_number(config, "rate") : 0,
        .warmup_ns = mmq_config_int(config, "warmup") * MMQ_NS_PER_MS,
        .duration_ns = mmq_config_int(config, "duration") * MMQ_NS_PER_MS,
        .timeout_ms = (unsigned)mmq_config_int(config, "timeout"),
        .seed = seed_of(config),
        .size = (size_t)mmq_config_int(config, "size"),
        .retry = mmq_config_flag(config, "retry"),
    };
    if (!mmq_config_given(config, "rate")) {
        plan->load.concurrency = mmq_config_given(config, "concurrency")
                                     ? (size_t)mmq_config_int(config, "concurrency")
                                     : plan->load.clients;
    }
    plan->workers = (mmq_load_worker_options){
        .endpoint = mmq_config_text(config, "connect-workers"),
        .service = mmq_config_text(config, "service"),
        .count = (size_t)mmq_config_int(config, "workers"),
        .capacity = capacity > 0 ? (unsigned)capacity : 1,
        .service_ns = mmq_config_int(config, "service-time") * MMQ_NS_PER_MS,
    };
}

static int check_plan(const mmq_config *config, const struct plan *plan)
{
    if (mmq_config_given(config, "rate") && mmq_config_given(config, "concurrency")) {
        return mmq_usage("--rate (open loop) and --concurrency (closed loop) exclude each other");
    }
    if (mmq_config_given(config, "rate") && !(plan->load.rate > 0 && plan->load.rate <= 1e7)) {
        return mmq_usage("--rate wants requests a second, more than 0 and at most 10000000");
    }
    if (plan->load.clients == 0 && plan->workers.count == 0) {
        return mmq_usage("--clients 0 wants --workers: something must be done");
    }
    return MMQ_EXIT_DONE;
}

/* ---- workers ------------------------------------------------------------------------------ */

/* Waits until each has said READY, and the broker, if it can tell, knows of one. */
static void join_workers(const mmq_load_workers *workers, const struct plan *plan)
{
    int64_t end_ns = mmq_now_ns() + JOIN_MS * MMQ_NS_PER_MS;
    while (mmq_load_workers_ready(workers) < plan->workers.count && mmq_now_ns() < end_ns) {
        (void)poll(NULL, 0, 5);
    }
}

/* A bare forwarder answers nothing: it is asked once, and the load goes on. */
static int find_service(const struct plan *plan, const char *service)
{
    mmq_why why = {""};
    mmq_client *client = mmq_client_new(plan->load.endpoint, &why);
    if (!client) {
        return mmq_usage("--connect: %s", why.text);
    }
    unsigned wait_ms = plan->workers.count > 0 ? JOIN_MS : PING_MS;
    mmq_err err = mmq_wait_service(client, service, PING_MS, wait_ms, &why);
    mmq_client_destroy(&client);
    if (err == MMQ_ENOTFOUND) {
        return mmq_failed("no worker serves %s; --workers N starts some", service);
    }
    return MMQ_EXIT_DONE;
}

/* Until a signal or the end of the duration, where one was given. */
static int run_workers(const mmq_config *config, const struct plan *plan,
                       const mmq_load_workers *workers)
{
    join_workers(workers, plan);
    printf("metricmq load ready: workers=%zu service=%s\n", mmq_load_workers_ready(workers),
           plan->workers.service);
    fflush(stdout);
    struct pollfd stop = {.fd = plan->load.stop, .events = POLLIN};
    bool bounded = mmq_config_given(config, "duration");
    (void)poll(&stop, 1, bounded ? (int)mmq_config_int(config, "duration") : -1);
    return MMQ_EXIT_DONE;
}

/* ---- the run ------------------------------------------------------------------------------ */

static int print_report(const struct plan *plan, const mmq_load_report *report)
{
    mmq_buffer text;
    mmq_buffer_init(&text, REPORT_MAX);
    if (plan->json) {
        mmq_load_report_json(report, &text);
    } else {
        mmq_load_report_text(report, &text);
    }
    bool whole = mmq_buffer_cstr(&text) != NULL;
    if (whole) {
        fwrite(text.data, 1, text.size, stdout);
    }
    mmq_buffer_clear(&text);
    return whole && mmq_load_report_good(report) ? MMQ_EXIT_DONE : MMQ_EXIT_FAILED;
}

static int run_load(const struct plan *plan, const mmq_load_workers *workers)
{
    if (workers) {
        join_workers(workers, plan);
    }
    int status = find_service(plan, plan->load.service);
    if (status) {
        return status;
    }
    mmq_why why = {""};
    mmq_load_result *result = NULL;
    if (mmq_load_run(&plan->load, &result, &why)) {
        return mmq_failed("%s", why.text);
    }
    const mmq_load_report report = {.options = &plan->load,
                                    .result = result,
                                    .workers = plan->workers.count,
                                    .capacity = plan->workers.capacity,
                                    .service_ms = plan->workers.service_ns / MMQ_NS_PER_MS,
                                    .served = workers ? mmq_load_workers_served(workers) : 0};
    status = print_report(plan, &report);
    mmq_load_result_destroy(&result);
    return status;
}

int mmq_command_load(const mmq_config *config)
{
    struct plan plan;
    read_plan(config, &plan);
    int status = check_plan(config, &plan);
    mmq_why why = {""};
    if (!status && mmq_load_reserve(plan.load.clients, plan.workers.count, &why)) {
        status = mmq_usage("%s", why.text);
    }
    if (status) {
        return status;
    }
    plan.load.stop = signals_descriptor();
    mmq_load_workers *workers = NULL;
    if (plan.workers.count > 0 && !(workers = mmq_load_workers_new(&plan.workers, &why))) {
        return mmq_failed("%s", why.text);
    }
    status = plan.load.clients > 0 ? run_load(&plan, workers) : run_workers(config, &plan, workers);
    mmq_load_workers_destroy(&workers);
    close(plan.load.stop);
    return status;
}
