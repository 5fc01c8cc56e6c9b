/* `metricmq load`: options in, report out; the work is done in clients/load. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clients/commands/commands.h"
#include "clients/commands/options.h"
#include "clients/load/load.h"
#include "clients/load/plot.h"
#include "clients/load/report.h"
#include "clients/load/workers.h"
#include "lib/clock.h"
#include "lib/dealer.h"
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
    mmq_curve keys;  /* of all of them, if there are any */
    const char *mix; /* as text; NULL: echo */
    const char *plot;
    bool json;
};

/* From now on SIGTERM and SIGINT are for whoever reads plan->load.stop. Before the first of our own
 * threads starts; else as late as can be, since until then they just end the process. */
static void catch_signals(struct plan *plan)
{
    if (plan->load.stop >= 0) {
        return;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    plan->load.stop = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
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
    bool echo = strcmp(mmq_config_text(config, "op"), "echo") == 0;
    plan->mix = echo ? NULL : mmq_config_text(config, "mix");
    plan->plot = mmq_config_text(config, "plot");
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
        .mix = mmq_mix_only(MMQ_LOAD_ECHO),
        .stop = -1,
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

/* A minute of load must not end in a path that was mistyped. What is there already stays. */
static int check_plot(const char *path)
{
    FILE *file = fopen(path, "ae");
    if (!file) {
        return mmq_usage("--plot: cannot write %s: %s", path, strerror(errno));
    }
    (void)fclose(file); /* nothing was written */
    return MMQ_EXIT_DONE;
}

static int check_plan(const mmq_config *config, struct plan *plan)
{
    mmq_why why = {""};
    if (plan->mix && mmq_mix_parse(plan->mix, &plan->load.mix, &why)) {
        return mmq_usage("%s", why.text);
    }
    if (!plan->mix && mmq_config_given(config, "mix")) {
        return mmq_usage("--op echo takes no --mix");
    }
    if (mmq_config_given(config, "rate") && mmq_config_given(config, "concurrency")) {
        return mmq_usage("--rate (open loop) and --concurrency (closed loop) exclude each other");
    }
    if (mmq_config_given(config, "rate") && !(plan->load.rate > 0 && plan->load.rate <= 1e7)) {
        return mmq_usage("--rate wants requests a second, more than 0 and at most 10000000");
    }
    if (plan->load.clients == 0 && plan->workers.count == 0) {
        return mmq_usage("--clients 0 wants --workers: something must be done");
    }
    if (plan->load.clients > 0 && plan->workers.count > 0 && plan->mix) {
        return mmq_usage("--workers answer echoes: they want --op echo, or --clients 0");
    }
    return plan->plot ? check_plot(plan->plot) : MMQ_EXIT_DONE;
}

/* libzmq is asked, so the limits must stand by then. */
static int check_endpoints(const struct plan *plan)
{
    mmq_why why = {""};
    if (mmq_endpoint_check(plan->load.endpoint, &why)) {
        return mmq_usage("--connect: %s", why.text);
    }
    if (plan->workers.count > 0 && mmq_endpoint_check(plan->workers.endpoint, &why)) {
        return mmq_usage("--connect-workers: %s", why.text);
    }
    return MMQ_EXIT_DONE;
}

/* ---- workers ------------------------------------------------------------------------------ */

/* Waits until each has said READY, or a signal comes; at most wait_ms, -1: no bound. False if some
 * have not. */
static bool join_workers(const mmq_load_workers *workers, const struct plan *plan, int wait_ms)
{
    struct pollfd stop = {.fd = plan->load.stop, .events = POLLIN};
    int64_t end_ns = wait_ms < 0 ? INT64_MAX : mmq_now_ns() + wait_ms * MMQ_NS_PER_MS;
    while (mmq_load_workers_ready(workers) < plan->workers.count && mmq_now_ns() < end_ns &&
           poll(&stop, 1, 5) == 0) {
    }
    return mmq_load_workers_ready(workers) == plan->workers.count;
}

/* A bare forwarder answers nothing: it is asked once, and the load goes on. */
static int find_service(const struct plan *plan)
{
    mmq_why why = {""};
    mmq_client *client = mmq_client_new_curve(plan->load.endpoint, plan->load.curve, &why);
    if (!client) {
        return mmq_failed("%s", why.text);
    }
    unsigned wait_ms = plan->workers.count > 0 ? JOIN_MS : PING_MS;
    mmq_err err = mmq_wait_service(client, plan->load.service, PING_MS, wait_ms, &why);
    mmq_client_destroy(&client);
    if (err == MMQ_ENOTFOUND) {
        return mmq_failed("no worker serves %s; --workers N starts some", plan->load.service);
    }
    return MMQ_EXIT_DONE;
}

/* Until a signal or the end of the duration, where one was given. */
static int run_workers(const mmq_config *config, const struct plan *plan,
                       const mmq_load_workers *workers)
{
    if (join_workers(workers, plan, -1)) {
        printf("metricmq load ready: workers=%zu service=%s\n", plan->workers.count,
               plan->workers.service);
        fflush(stdout);
    }
    struct pollfd stop = {.fd = plan->load.stop, .events = POLLIN};
    bool bounded = mmq_config_given(config, "duration");
    (void)poll(&stop, 1, bounded ? (int)mmq_config_int(config, "duration") : -1);
    return MMQ_EXIT_DONE;
}

/* ---- progress ----------------------------------------------------------------------------- */

/* A line on a terminal, drawn over itself. */
struct progress {
    bool terminal, drawn;
    int64_t seen_ns; /* when it was drawn, and how many good answers there were */
    uint64_t seen;
};

static void draw_figures(struct progress *progress, const mmq_load_result *result, int64_t now_ns)
{
    mmq_tally total;
    mmq_buffer times;
    mmq_load_total(result, &total);
    mmq_buffer_init(&times, 256);
    mmq_buffer_text(&times, "p50 ");
    mmq_load_report_time(&times, mmq_histogram_percentile(&total.latency, 50));
    mmq_buffer_text(&times, "  p99 ");
    mmq_load_report_time(&times, mmq_histogram_percentile(&total.latency, 99));
    double passed_s = (double)(now_ns - progress->seen_ns) / (double)MMQ_NS_PER_S;
    double rate = passed_s > 0 ? (double)(total.good - progress->seen) / passed_s : 0;
    const char *text = mmq_buffer_cstr(&times);
    fprintf(stderr, "  %.0f/s  %s  errors %" PRIu64, rate, text ? text : "",
            mmq_tally_errors(&total));
    mmq_buffer_clear(&times);
    progress->seen = total.good;
    progress->seen_ns = now_ns;
}

static void draw_progress(void *context, const mmq_load_result *result, int64_t now_ns)
{
    struct progress *progress = context;
    if (!progress->terminal) {
        return;
    }
    progress->drawn = true;
    fprintf(stderr, "\r\033[K%.0f s", (double)now_ns / (double)MMQ_NS_PER_S);
    if (result->elapsed_ns > 0) {
        draw_figures(progress, result, now_ns);
    } else {
        fputs("  warming up", stderr);
    }
}

static void wipe_progress(const struct progress *progress)
{
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
    }
}

/* ---- the run ------------------------------------------------------------------------------ */

static int write_plot(const char *path, const mmq_buffer *svg)
{
    FILE *file = fopen(path, "we");
    if (!file) {
        return mmq_failed("--plot: cannot write %s: %s", path, strerror(errno));
    }
    bool written = fwrite(svg->data, 1, svg->size, file) == svg->size;
    written &= fclose(file) == 0;
    return written ? MMQ_EXIT_DONE : mmq_failed("--plot: cannot write %s", path);
}

static int print_report(const struct plan *plan, const mmq_load_report *report)
{
    mmq_buffer text, svg;
    mmq_buffer_init(&text, REPORT_MAX);
    mmq_buffer_init(&svg, REPORT_MAX);
    if (plan->json) {
        mmq_load_report_json(report, &text);
    } else {
        mmq_load_report_text(report, &text);
    }
    mmq_load_plot(report, &svg);
    int status = mmq_load_report_good(report) ? MMQ_EXIT_DONE : MMQ_EXIT_FAILED;
    if (text.failed || svg.failed) {
        status = mmq_failed("no memory for the report");
    } else {
        fwrite(text.data, 1, text.size, stdout);
        if (plan->plot && write_plot(plan->plot, &svg)) {
            status = MMQ_EXIT_FAILED;
        }
    }
    mmq_buffer_clear(&text);
    mmq_buffer_clear(&svg);
    return status;
}

static int run_load(struct plan *plan, const mmq_load_workers *workers)
{
    mmq_why why = {""};
    mmq_load_result *result = NULL;
    struct progress progress = {.terminal = isatty(STDERR_FILENO)};
    catch_signals(plan);
    mmq_load_options options = plan->load;
    options.progress = draw_progress;
    options.context = &progress;
    mmq_err err = mmq_load_run(&options, &result, &why);
    wipe_progress(&progress);
    if (err) {
        return mmq_failed("%s", why.text);
    }
    const mmq_load_report report = {.options = &options,
                                    .result = result,
                                    .mix = plan->mix,
                                    .workers = plan->workers.count,
                                    .capacity = plan->workers.capacity,
                                    .service_ms = plan->workers.service_ns / MMQ_NS_PER_MS,
                                    .served = workers ? mmq_load_workers_served(workers) : 0};
    int status = print_report(plan, &report);
    mmq_load_result_destroy(&result);
    return status;
}

static int run_echo(struct plan *plan, const mmq_load_workers *workers)
{
    if (workers) {
        (void)join_workers(workers, plan, JOIN_MS);
    }
    int status = find_service(plan);
    return status ? status : run_load(plan, workers);
}

static int run_mix(const mmq_config *config, struct plan *plan, const mmq_load_workers *workers)
{
    int status = MMQ_EXIT_FAILED;
    mmq_client *client = mmq_connect(config, &status);
    if (!client) {
        return status;
    }
    mmq_why why = {""};
    mmq_catalog catalog = {0};
    mmq_err err = mmq_catalog_read(&catalog, client, plan->load.timeout_ms, &why);
    mmq_client_destroy(&client);
    plan->load.catalog = &catalog;
    status = err ? mmq_failed("%s", why.text) : run_load(plan, workers);
    mmq_catalog_clear(&catalog);
    plan->load.catalog = NULL;
    return status;
}

static int run_plan(const mmq_config *config, struct plan *plan, const mmq_load_workers *workers)
{
    if (plan->load.clients == 0) {
        return run_workers(config, plan, workers);
    }
    return plan->mix ? run_mix(config, plan, workers) : run_echo(plan, workers);
}

static int run_all(const mmq_config *config, struct plan *plan)
{
    mmq_why why = {""};
    mmq_load_workers *workers = NULL;
    if (plan->workers.count > 0) {
        catch_signals(plan);
        workers = mmq_load_workers_new(&plan->workers, &why);
        if (!workers) {
            return mmq_failed("%s", why.text);
        }
    }
    int status = run_plan(config, plan, workers);
    mmq_load_workers_destroy(&workers);
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
    if (!status) {
        status = check_endpoints(&plan);
    }
    if (!status && mmq_read_curve(config, &plan.keys, &plan.load.curve, &why)) {
        status = mmq_usage("%s", why.text);
    }
    if (!status) {
        plan.workers.curve = plan.load.curve;
        status = run_all(config, &plan);
    }
    mmq_curve_wipe(&plan.keys);
    return status;
}
