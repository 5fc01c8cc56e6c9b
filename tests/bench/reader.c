/* A client of the bus, as lean as the library allows:
 *
 *     bench_reader drop   ENDPOINT UID       reads a whole stream and drops its payloads
 *     bench_reader decode ENDPOINT UID       ... and reads each row of them. UID "-": all metrics
 *     bench_reader day    ENDPOINT COUNT FROM TO UID...  days between two times, one after another
 *     bench_reader last   ENDPOINT COUNT UID...          last rows
 *     bench_reader echo   ENDPOINT COUNT SIZE            echoes (service load.echo)
 *
 * With METRICMQ_CURVE_KEY and METRICMQ_CURVE_SERVER in the environment it speaks CURVE.
 *
 * The single requests go one at a time; the first hundred do not count. Metrics are taken in
 * turn, days at random. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metricmq/pack.h"
#include "lib/splitmix.h"
#include "metricmq/client.h"
#include "metricmq/rows.h"
#include "tests/bench/tool.h"

enum { TIMEOUT_MS = 60000, WARMUP = 100, DAY_S = 86400 };

/* What is asked, one request after another. */
struct plan {
    const char *what;
    int64_t count;
    int64_t from, to;
    char **uids;
    size_t uid_count;
    size_t echo_size;
};

static mmq_client *client;
static int64_t rows, bytes;

static mmq_client *connect_to(const char *endpoint, mmq_why *why)
{
    const char *key = getenv("METRICMQ_CURVE_KEY"), *server = getenv("METRICMQ_CURVE_SERVER");
    mmq_curve curve;
    if (key == NULL || server == NULL) {
        return mmq_client_new(endpoint, why);
    }
    bench_must(mmq_curve_load(key, server, &curve, why), why);
    mmq_client *made = mmq_client_new_curve(endpoint, &curve, why);
    mmq_curve_wipe(&curve);
    return made;
}

/* ---- streams ---------------------------------------------------------------------------- */

static void decode(const mmq_frame *payload)
{
    const void *data = mmq_frame_data(payload);
    size_t size = mmq_frame_size(payload), at = 0;
    mmq_row row;
    mmq_err err;
    while ((err = mmq_rows_decode(data, size, &at, &row)) == MMQ_OK || err == MMQ_EAGAIN) {
        rows += err == MMQ_OK;
    }
    if (err != MMQ_EEND) {
        bench_die("a payload that is no rows");
    }
}

static void read_stream(const char *uid, bool decoded)
{
    mmq_why why;
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "data");
    mmq_args_cstr(&args, "uid", strcmp(uid, "-") == 0 ? NULL : uid);
    const mmq_stream_options options = {.call = {.service = MMQ_SERVICE_QUERY,
                                                 .args = args.pairs.data,
                                                 .args_size = args.pairs.size,
                                                 .args_count = args.count,
                                                 .timeout_ms = TIMEOUT_MS,
                                                 .retry = true}};
    mmq_stream *stream = mmq_stream_new(client, &options, &why);
    mmq_frame payload;
    mmq_err err;
    if (stream == NULL) {
        bench_die("%s", why.text);
    }
    mmq_frame_init(&payload);
    while ((err = mmq_stream_next(stream, &payload, &why)) == MMQ_OK) {
        bytes += (int64_t)mmq_frame_size(&payload);
        if (decoded) {
            decode(&payload);
        }
    }
    bench_must(err == MMQ_EEND ? MMQ_OK : err, &why);
    mmq_frame_close(&payload);
    mmq_stream_destroy(&stream);
    mmq_args_clear(&args);
}

static void run_stream(const char *uid, bool decoded)
{
    bench_clock start = bench_start();
    read_stream(uid, decoded);
    bench_report(bench_since(start), (bench_figure[]){{"bytes", (double)bytes},
                                                      {decoded ? "rows" : NULL, (double)rows},
                                                      {NULL, 0}});
}

/* ---- single requests -------------------------------------------------------------------- */

static void fill_query(mmq_args *args, const struct plan *plan, int64_t number,
                       mmq_splitmix *random)
{
    mmq_args_cstr(args, "op", "data");
    mmq_args_cstr(args, "uid", plan->uids[(size_t)number % plan->uid_count]);
    if (strcmp(plan->what, "last") == 0) {
        mmq_args_int(args, "limit", 1);
        return;
    }
    int64_t span = plan->to - plan->from - DAY_S;
    int64_t from = plan->from + (int64_t)mmq_splitmix_below(random, span > 0 ? (uint64_t)span : 1);
    mmq_args_int(args, "from", from);
    mmq_args_int(args, "to", from + DAY_S - 1);
}

static void fill_echo(mmq_args *args, size_t size)
{
    char *data = bench_alloc(size + 1);
    memset(data, 'x', size);
    mmq_args_cstr(args, "op", "echo");
    mmq_args_text(args, "data", data, size);
    free(data);
}

static void ask(const mmq_args *args, const char *service)
{
    const mmq_call call = {.service = service,
                           .args = args->pairs.data,
                           .args_size = args->pairs.size,
                           .args_count = args->count,
                           .timeout_ms = TIMEOUT_MS};
    mmq_result result;
    mmq_why why;
    bench_must(mmq_client_call(client, &call, &result, &why), &why);
    if (result.status != 200) {
        bench_die("%d %s", result.status, result.error);
    }
    bytes += (int64_t)mmq_frame_size(&result.payload);
    mmq_result_clear(&result);
}

static void run_plan(const struct plan *plan)
{
    bench_times times;
    bench_times_init(&times, plan->count);
    mmq_splitmix random = {1};
    bench_clock start = bench_start();
    const bool echo = strcmp(plan->what, "echo") == 0;
    mmq_args args;
    mmq_args_init(&args);
    if (echo) {
        fill_echo(&args, plan->echo_size);
    }
    for (int64_t i = 0; i < plan->count + WARMUP; i++) {
        if (i == WARMUP) {
            bytes = 0;
            start = bench_start();
        }
        bench_clock began = bench_start();
        if (!echo) {
            mmq_args_clear(&args);
            mmq_args_init(&args);
            fill_query(&args, plan, i, &random);
        }
        ask(&args, echo ? "load.echo" : MMQ_SERVICE_QUERY);
        if (i >= WARMUP) {
            bench_times_add(&times, bench_since(began));
        }
    }
    bench_clock passed = bench_since(start);
    bench_report(passed, (bench_figure[]){{"bytes", (double)bytes},
                                          {"p50_us", bench_times_us(&times, 0.5)},
                                          {"p99_us", bench_times_us(&times, 0.99)},
                                          {NULL, 0}});
    bench_times_clear(&times);
    mmq_args_clear(&args);
}

/* ---- arguments -------------------------------------------------------------------------- */

static bool read_plan(int argc, char **argv, struct plan *plan)
{
    *plan = (struct plan){.what = argv[1], .count = bench_number(argv[3])};
    int uids = 0; /* where they begin */
    if (strcmp(plan->what, "echo") == 0 && argc == 5) {
        plan->echo_size = (size_t)bench_number(argv[4]);
        return true;
    }
    if (strcmp(plan->what, "day") == 0 && argc > 6) {
        plan->from = bench_number(argv[4]);
        plan->to = bench_number(argv[5]);
        uids = 6;
    } else if (strcmp(plan->what, "last") == 0 && argc > 4) {
        uids = 4;
    }
    plan->uids = argv + uids;
    plan->uid_count = (size_t)(argc - uids);
    return uids > 0;
}

static int run(int argc, char **argv)
{
    struct plan plan;
    bool decoded = strcmp(argv[1], "decode") == 0;
    if ((decoded || strcmp(argv[1], "drop") == 0) && argc == 4) {
        run_stream(argv[3], decoded);
        return 0;
    }
    if (!read_plan(argc, argv, &plan)) {
        return 2;
    }
    run_plan(&plan);
    return 0;
}

int main(int argc, char **argv)
{
    mmq_why why;
    int status = 2;
    if (argc >= 4) {
        client = connect_to(argv[2], &why);
        if (client == NULL) {
            bench_die("%s", why.text);
        }
        status = run(argc, argv);
        mmq_client_destroy(&client);
    }
    if (status == 2) {
        fputs("usage: bench_reader drop|decode ENDPOINT UID | day ENDPOINT COUNT FROM TO UID... |"
              " last ENDPOINT COUNT UID... | echo ENDPOINT COUNT SIZE\n",
              stderr);
    }
    return status;
}
