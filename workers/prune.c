/* A wall clock that is wrong by years would have all rows pruned. It is believed at the start;
 * after that a step forward of more than a day is waited out: the rows go when it has been so for a
 * look. */
#include "workers/prune.h"

#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"

enum {
    HEADS = 64,
    DAY_S = 86400,
    LOOK_S = 600,
};

/* ---- pieces ----------------------------------------------------------------------------- */

/* One metric. *done false: the work was used up before. */
static mmq_err prune_metric(mmq_store *store, const mmq_prune *prune, const mmq_metric_head *metric,
                            int *work, bool *done, mmq_pruned *out, mmq_why *why)
{
    *done = true;
    if (prune->count_only) {
        return mmq_store_prunable(store, metric, prune->before, work, out, why);
    }
    mmq_err err = mmq_store_prune(store, metric, prune->before, work, done, out, why);
    if (err == MMQ_EBUSY && mmq_store_contended(store)) {
        *work = 0; /* the next piece begins with it, and waits for who has it */
        return MMQ_OK;
    }
    return err;
}

static mmq_err prune_one(mmq_store *store, mmq_prune *prune, mmq_pruned *out, mmq_why *why)
{
    int work = MMQ_PRUNE_WORK;
    mmq_metric_head metric;
    mmq_err err = mmq_store_find(store, prune->uid, &metric, why);
    if (err == MMQ_OK) {
        err = prune_metric(store, prune, &metric, &work, &prune->done, out, why);
    }
    prune->metrics = err == MMQ_OK && prune->done ? 1 : 0;
    return err;
}

static mmq_err prune_heads(mmq_store *store, mmq_prune *prune, const mmq_metric_head *heads,
                           size_t count, int *work, mmq_pruned *out, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    for (size_t i = 0; i < count && err == MMQ_OK && *work > 0; i++) {
        bool done;
        err = prune_metric(store, prune, &heads[i], work, &done, out, why);
        if (err == MMQ_OK && done) {
            memcpy(prune->after, heads[i].uid, sizeof prune->after);
            prune->metrics++;
        }
    }
    return err;
}

static mmq_err prune_all(mmq_store *store, mmq_prune *prune, mmq_pruned *out, mmq_why *why)
{
    mmq_metric_head heads[HEADS];
    int work = MMQ_PRUNE_WORK;
    mmq_err err = MMQ_OK;
    prune->metrics = 0;
    while (err == MMQ_OK && work > 0 && !prune->done) {
        size_t count;
        err = mmq_store_heads(store, prune->after, heads, HEADS, &count, why);
        prune->done = err == MMQ_OK && count == 0;
        if (err == MMQ_OK) {
            err = prune_heads(store, prune, heads, count, &work, out, why);
        }
    }
    return err;
}

mmq_err mmq_prune_piece(mmq_store *store, mmq_prune *prune, mmq_pruned *out, mmq_why *why)
{
    return prune->uid != NULL ? prune_one(store, prune, out, why)
                              : prune_all(store, prune, out, why);
}

/* ---- --retain --------------------------------------------------------------------------- */

mmq_retention mmq_retention_begin(int64_t days)
{
    return (mmq_retention){
        .days = days, .next_ns = mmq_now_ns(), .wall_s = mmq_wall_s(), .now_ns = mmq_now_ns()};
}

/* Whether the wall clock has gone on as the monotonic one has, but for a day. */
static bool is_steady(const mmq_retention *retention, int64_t wall_s, int64_t now_ns)
{
    return wall_s - retention->wall_s - (now_ns - retention->now_ns) / MMQ_NS_PER_S <= DAY_S;
}

/* Begins to look for rows that are too old. */
static void begin_look(mmq_retention *retention, int64_t now_ns)
{
    const int64_t wall_s = mmq_wall_s();
    const bool steady = is_steady(retention, wall_s, now_ns);
    retention->wall_s = wall_s;
    retention->now_ns = now_ns;
    if (!steady) {
        retention->next_ns = now_ns + LOOK_S * MMQ_NS_PER_S;
        mmq_log(MMQ_WARN, "the clock was set forward: --retain waits whether it stays so",
                MMQ_I("seconds", LOOK_S));
        return;
    }
    const int64_t midnight = wall_s - (wall_s % DAY_S + DAY_S) % DAY_S;
    retention->prune = (mmq_prune){.before = midnight - retention->days * DAY_S};
    retention->pruned = (mmq_pruned){0};
    retention->under_way = true;
}

static void end_look(mmq_retention *retention, int64_t now_ns)
{
    retention->under_way = false;
    retention->next_ns = now_ns + LOOK_S * MMQ_NS_PER_S;
    if (retention->pruned.rows > 0) {
        mmq_log(MMQ_INFO, "rows older than --retain were pruned",
                MMQ_I("rows", retention->pruned.rows), MMQ_I("blocks", retention->pruned.blocks),
                MMQ_I("before", retention->prune.before));
    }
}

/* *ours false: another writer does the housekeeping at the moment, and nothing was done. */
static mmq_err prune_in_transaction(mmq_retention *retention, mmq_store *store, bool *ours,
                                    mmq_why *why)
{
    mmq_err err = mmq_store_begin_write(store, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = mmq_store_tidies(store, ours, why);
    if (err == MMQ_OK && *ours) {
        err = mmq_prune_piece(store, &retention->prune, &retention->pruned, why);
    }
    if (err == MMQ_OK && *ours) {
        return mmq_store_commit(store, why);
    }
    mmq_store_rollback(store);
    return err;
}

mmq_err mmq_retention_step(mmq_retention *retention, mmq_store *store, bool *more, mmq_why *why)
{
    const int64_t now_ns = mmq_now_ns();
    *more = false;
    if (!retention->under_way && retention->days > 0 && now_ns >= retention->next_ns) {
        begin_look(retention, now_ns);
    }
    if (!retention->under_way) {
        return MMQ_OK;
    }
    bool ours = false;
    mmq_err err = prune_in_transaction(retention, store, &ours, why);
    if (err != MMQ_OK || retention->prune.done) {
        end_look(retention, now_ns);
    }
    *more = retention->under_way && ours;
    return err;
}
