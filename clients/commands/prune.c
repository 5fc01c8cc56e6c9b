/* `metricmq prune`: asks the write worker for one bounded piece after the other, so that it serves
 * others in between and we see how far it is. A piece is a millisecond or two of a CPU that readers
 * may want, so it pauses for PAUSE_TIMES as long: then fewer than one request in a hundred meets
 * one (ops/bench prune). A signal ends it between two pieces; what is gone is gone, and the same
 * command goes on. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "clients/commands/attend.h"
#include "clients/commands/commands.h"
#include "clients/commands/reply.h"
#include "lib/calendar.h"
#include "lib/clock.h"
#include "metricmq/pack.h"

enum { PAUSE_TIMES = 40, PAUSE_MAX_MS = 1000 };

/* One walk over what is to go: counting it, or removing it. */
struct walk {
    mmq_client *client;
    const mmq_config *config;
    mmq_attend *attend;
    const char *uid; /* NULL: all metrics */
    int64_t before;
    bool count;
    int64_t total; /* rows there will be; 0: not known */
    char after[MMQ_UID_MAX + 1];
    int64_t rows, metrics;
};

static bool take_number(const mmq_frame *payload, const char *key, int64_t *sum)
{
    mmq_value value;
    if (!mmq_reply_find(payload, key, &value) || value.type != MMQ_INT) {
        return false;
    }
    *sum += value.integer;
    return true;
}

static mmq_err take_piece(struct walk *walk, const mmq_frame *payload, bool *more, mmq_why *why)
{
    mmq_value after, value;
    if (!take_number(payload, "rows", &walk->rows) ||
        !take_number(payload, "metrics", &walk->metrics) ||
        !mmq_reply_find(payload, "more", &value) || value.type != MMQ_BOOL ||
        !mmq_reply_find(payload, "after", &after) || after.type != MMQ_STR ||
        after.text.size > MMQ_UID_MAX) {
        return mmq_fail(why, MMQ_EPROTO, "the write worker's answer cannot be read");
    }
    *more = value.boolean;
    if (after.text.size > 0) {
        memcpy(walk->after, after.text.data, after.text.size);
    }
    walk->after[after.text.size] = '\0';
    return MMQ_OK;
}

static void pack_piece(const struct walk *walk, mmq_args *args)
{
    mmq_args_init(args);
    mmq_args_cstr(args, "op", "prune");
    mmq_args_int(args, "before", walk->before);
    mmq_args_bool(args, "count", walk->count);
    if (walk->uid != NULL) {
        mmq_args_cstr(args, "uid", walk->uid);
    } else if (walk->after[0] != '\0') {
        mmq_args_cstr(args, "after", walk->after);
    }
}

static mmq_err ask_piece(struct walk *walk, bool *more, mmq_why *why)
{
    mmq_args args;
    mmq_result result;
    pack_piece(walk, &args);
    mmq_err err = mmq_reply_call(walk->client, MMQ_SERVICE_WRITE, &args,
                                 (unsigned)mmq_config_int(walk->config, "timeout"), &result, why);
    mmq_args_clear(&args);
    if (err == MMQ_OK) {
        err = take_piece(walk, &result.payload, more, why);
        mmq_result_clear(&result);
    }
    return err;
}

/* After a piece that took so long. */
static void pause_after(const struct walk *walk, int64_t took_ns)
{
    const int64_t pause_ms = took_ns * PAUSE_TIMES / MMQ_NS_PER_MS;
    if (!walk->count && !mmq_config_flag(walk->config, "fast")) {
        (void)poll(NULL, 0, pause_ms < PAUSE_MAX_MS ? (int)pause_ms : PAUSE_MAX_MS);
    }
}

/* MMQ_ECLOSED: a signal has come. */
static mmq_err run_walk(struct walk *walk, mmq_why *why)
{
    bool more = true;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && more) {
        const int64_t start_ns = mmq_now_ns();
        err = ask_piece(walk, &more, why);
        if (err == MMQ_OK && more) {
            pause_after(walk, mmq_now_ns() - start_ns);
        }
        if (err == MMQ_OK &&
            !mmq_attend_at(walk->attend, walk->count ? "counting rows" : "pruning rows", walk->rows,
                           walk->total) &&
            more) {
            err = mmq_fail(why, MMQ_ECLOSED, "stopped");
        }
    }
    return err;
}

static int print_outcome(const struct walk *walk, mmq_err err, const mmq_why *why)
{
    char before[MMQ_TIME_TEXT];
    mmq_time_print(walk->before, before);
    if (err != MMQ_OK && err != MMQ_ECLOSED) {
        return mmq_failed("%s%s", why->text,
                          walk->rows > 0 && !walk->count ? "; some rows are gone already" : "");
    }
    printf("%s %" PRId64 " rows from before %.*s UTC, in %" PRId64 " metrics%s\n",
           walk->count ? "would prune" : "pruned", walk->rows, MMQ_TIME_TEXT, before, walk->metrics,
           err == MMQ_ECLOSED ? "; stopped before the end" : "");
    return err == MMQ_OK ? MMQ_EXIT_DONE : MMQ_EXIT_FAILED;
}

/* Counts first: it is quick, and a dry run is all that some want. */
static int prune(struct walk *walk)
{
    mmq_why why = {""};
    struct walk counting = *walk;
    counting.count = true;
    mmq_err err = run_walk(&counting, &why);
    if (err != MMQ_OK || mmq_config_flag(walk->config, "dry-run")) {
        mmq_attend_end(walk->attend);
        return print_outcome(&counting, err, &why);
    }
    walk->total = counting.rows;
    err = run_walk(walk, &why);
    mmq_attend_end(walk->attend);
    return print_outcome(walk, err, &why);
}

int mmq_command_prune(const mmq_config *config)
{
    const char *const *uids;
    const size_t count = mmq_config_operands(config, &uids);
    const char *before = mmq_config_text(config, "before");
    mmq_attend attend;
    struct walk walk = {.config = config, .attend = &attend, .uid = count > 0 ? uids[0] : NULL};
    if (count > 1) {
        return mmq_usage("`prune` wants one uid, or none for all metrics");
    }
    if (before == NULL || !mmq_time_parse_loose(before, strlen(before), &walk.before)) {
        return mmq_usage("--before wants a time, such as 2026-01-31 or \"2026-01-31 12:00:00\"");
    }
    int status = MMQ_EXIT_FAILED;
    walk.client = mmq_connect(config, &status);
    if (walk.client == NULL) {
        return status;
    }
    mmq_attend_begin(&attend);
    status = prune(&walk);
    mmq_client_destroy(&walk.client);
    return status;
}
