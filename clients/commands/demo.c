/* `metricmq demo`: generated metrics, shaped like real ones.
 *
 * Each metric has a daily and a weekly rhythm, a slow drift, noise, gaps and a few incidents; its
 * anomaly score is low but for the rows around an incident, and the newest rows have none yet. The
 * same seed makes the same rows, and more rows only go on where fewer ended. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "clients/commands/commands.h"
#include "clients/commands/loader.h"
#include "clients/commands/progress.h"
#include "lib/splitmix.h"

enum {
    INTERVAL_S = 300,
    DAY_S = 86400,
    INCIDENT_ROWS = 12,
    GROUP = 16,        /* metrics that are loaded side by side */
    UNSCORED_ROWS = 3, /* at the end: models lag behind */
    START = 1767225600 /* 2026-01-01 00:00:00 UTC */
};

static const char *const kinds[] = {"cpu_percent", "latency_ms", "requests", "disk_bytes",
                                    "queue_length"};
static const double scales[] = {40, 12.5, 1800, 3.5e9, 24};

/* One metric being generated. */
struct generator {
    mmq_splitmix random;
    double scale;
    double phase; /* of the daily rhythm, in days */
    double drift;
    int64_t timestamp;
    int incident; /* rows left of the current one */
};

/* In [0, 1). */
static double next_share(struct generator *g)
{
    return mmq_splitmix_share(&g->random);
}

static void begin_metric(struct generator *g, uint64_t seed, int64_t number)
{
    *g = (struct generator){.random = {seed * UINT64_C(1000003) + (uint64_t)number},
                            .timestamp = START,
                            .scale = scales[number % (int64_t)(sizeof scales / sizeof *scales)]};
    g->phase = next_share(g);
    g->scale *= 0.5 + next_share(g);
}

static double rhythm(const struct generator *g)
{
    double days = (double)(g->timestamp - START) / DAY_S;
    double weekend = fmod(days, 7) >= 5 ? 0.7 : 1;
    return weekend * (1 + 0.4 * sin(2 * M_PI * (days + g->phase)));
}

static mmq_err add_row(struct generator *g, mmq_loader *loader, bool scored, mmq_why *why)
{
    if (g->incident == 0 && next_share(g) < 0.0008) {
        g->incident = INCIDENT_ROWS;
    }
    double noise = next_share(g) + next_share(g) + next_share(g) - 1.5;
    double surge = g->incident > 0 ? 1.5 + next_share(g) : 1;
    double score = g->incident > 0 ? 0.9 + 0.1 * next_share(g) : 0.0301029996659;
    g->incident -= g->incident > 0;
    g->drift += (next_share(g) - 0.5) * 0.002;
    double value = g->scale * (rhythm(g) + g->drift + 0.08 * noise) * surge;
    value = round(fabs(value) * 1000) / 1000;
    int64_t gap = next_share(g) < 0.001 ? 1 + (int64_t)(next_share(g) * 20) : 1;
    mmq_err err = mmq_loader_add(loader, g->timestamp, value, scored ? score : NAN,
                                 scored ? score * score : NAN, why);
    g->timestamp += gap * INTERVAL_S;
    return err;
}

static uint64_t seed_of(const mmq_config *config)
{
    return mmq_config_given(config, "seed") ? (uint64_t)mmq_config_int(config, "seed") : 1;
}

static mmq_loader *begin_load(mmq_client *client, const mmq_config *config, int64_t number,
                              mmq_why *why)
{
    size_t kind = (size_t)number % (sizeof kinds / sizeof *kinds);
    char name[64], server[32];
    snprintf(name, sizeof name, "demo_%s_%05" PRId64, kinds[kind], number + 1);
    snprintf(server, sizeof server, "demo-host-%" PRId64, number / 5 + 1);
    const mmq_new_metric metric = {.name = name, .server = server, .location = "demo"};
    return mmq_loader_new(client, &metric, (unsigned)mmq_config_int(config, "timeout"), why);
}

static mmq_err load_rows(mmq_loader *loader, const mmq_config *config, int64_t number,
                         mmq_progress *progress, mmq_why *why)
{
    int64_t rows = mmq_config_int(config, "rows");
    struct generator generator;
    mmq_err err = MMQ_OK;
    begin_metric(&generator, seed_of(config), number);
    for (int64_t i = 0; !err && i < rows; i++) {
        err = add_row(&generator, loader, i < rows - UNSCORED_ROWS, why);
        mmq_progress_at(progress, number * rows + i);
    }
    return err ? err : mmq_loader_flush(loader, why);
}

/* Metrics side by side, so that what is written for one commit is written for all of them. */
static mmq_err load_group(mmq_client *client, const mmq_config *config, int64_t first, size_t count,
                          mmq_progress *progress, mmq_why *why)
{
    mmq_loader *loaders[GROUP] = {NULL};
    mmq_err err = MMQ_OK;
    int64_t rows, added;
    for (size_t i = 0; !err && i < count; i++) {
        loaders[i] = begin_load(client, config, first + (int64_t)i, why);
        err = loaders[i] ? MMQ_OK : MMQ_EUNAVAILABLE;
    }
    for (size_t i = 0; !err && i < count; i++) {
        err = load_rows(loaders[i], config, first + (int64_t)i, progress, why);
    }
    for (size_t i = 0; !err && i < count; i++) {
        err = mmq_loader_finish(loaders[i], &rows, &added, why);
    }
    for (size_t i = 0; i < count; i++) {
        mmq_loader_destroy(&loaders[i]);
    }
    return err;
}

int mmq_command_demo(const mmq_config *config)
{
    int64_t metrics = mmq_config_int(config, "metrics");
    int64_t rows = mmq_config_int(config, "rows");
    int status = MMQ_EXIT_FAILED;
    mmq_client *client = mmq_connect(config, &status);
    if (!client) {
        return status;
    }
    mmq_why why = {""};
    mmq_progress progress;
    mmq_progress_init(&progress, "demo data", "rows", metrics * rows);
    mmq_err err = MMQ_OK;
    for (int64_t i = 0; !err && i < metrics; i += GROUP) {
        size_t count = metrics - i < GROUP ? (size_t)(metrics - i) : GROUP;
        err = load_group(client, config, i, count, &progress, &why);
    }
    mmq_progress_end(&progress);
    mmq_client_destroy(&client);
    if (err) {
        return mmq_failed("%s", why.text);
    }
    printf("%" PRId64 " metrics of %" PRId64 " rows\n", metrics, rows);
    return MMQ_EXIT_DONE;
}
