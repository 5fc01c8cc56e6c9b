/* A store is copied in passes. Each goes through the metrics of both sides in the order of their
 * uids and writes what differs, a bounded number of blocks in a transaction; nothing notes how far
 * it is, since what is there already is found by comparing heads. So whatever ends it, the next run
 * goes on.
 *
 * Invariants
 *  - Until it is finished the target is marked as a copy, with the source's id as its own: nobody
 *    else opens it, and it is filled from that source only. What is not so marked is never changed.
 *  - A metric whose last commit is not behind the source's commit at the beginning of a pass is in
 *    the target, as it is in the source, after that pass; but for those that could not be made,
 *    for which `seen` stays where it was.
 *  - The copy becomes a store only if the source has the same commit before and after both were
 *    compared and the copy was checked.
 *
 * The source is only read, in short transactions; its writer's lock is taken to finish, where there
 * is one. */
#include "workers/store/copy.h"

#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/digest.h"
#include "workers/store/copying.h"

enum {
    HEADS = 64,
    PASSES_MAX = 20,
    FINISH_PASSES_MAX =
        5, /* that a source may be written in, when nobody is to write it any more */
};

/* A run. */
typedef struct run {
    const char *from, *to;
    bool finish;
    mmq_copying copying;
    mmq_store_lock *source_lock, *target_lock;
    uint64_t source_id;
    int64_t seen; /* metrics that were changed by this commit, or before, are the same */
    mmq_metric_head heads[HEADS], others[HEADS];
} run;

/* ---- transactions ----------------------------------------------------------------------- */

/* *commit: of the source now. */
static mmq_err begin(run *r, int64_t *commit, mmq_why *why)
{
    mmq_snapshot snapshot;
    bool ours = false;
    mmq_store *source = r->copying.source, *target = r->copying.target;
    mmq_err err = mmq_store_begin_read(source, &snapshot, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (snapshot.store != r->source_id) {
        err = mmq_fail(why, MMQ_EBUSY, "the source is another store than it was: run it again");
    }
    *commit = snapshot.commit;
    r->copying.work = MMQ_COPY_WORK;
    if (err == MMQ_OK) {
        err = mmq_store_begin_write(target, why);
    }
    if (err != MMQ_OK) {
        mmq_store_end_read(source);
        return err;
    }
    err = target->engine->tidies(target, &ours, why);
    if (err == MMQ_OK && !ours) {
        err = mmq_fail(why, MMQ_EBUSY, "another `metricmq migrate` fills the copy");
    }
    if (err != MMQ_OK) {
        mmq_store_rollback(target);
        mmq_store_end_read(source);
    }
    return err;
}

/* Commits, if all went well. */
static mmq_err end(run *r, mmq_err err, mmq_why *why)
{
    if (err == MMQ_OK) {
        err = mmq_store_commit(r->copying.target, why);
    } else {
        mmq_store_rollback(r->copying.target);
    }
    mmq_store_end_read(r->copying.source);
    return err;
}

static mmq_err read_commit(run *r, int64_t *commit, mmq_why *why)
{
    mmq_snapshot snapshot;
    mmq_err err = mmq_store_begin_read(r->copying.source, &snapshot, why);
    if (err == MMQ_OK) {
        *commit = snapshot.commit;
        mmq_store_end_read(r->copying.source);
    }
    return err;
}

/* ---- what is gone ----------------------------------------------------------------------- */

/* Removes those of `count` metrics of the target that the source has not. */
static mmq_err remove_others(run *r, const char *after, size_t count, mmq_why *why)
{
    mmq_copying *c = &r->copying;
    char behind[MMQ_UID_MAX + 1];
    size_t have = 0, at = 0;
    bool more = true; /* the source may have more behind those at hand */
    mmq_err err = MMQ_OK;
    memcpy(behind, after, sizeof behind);
    for (size_t i = 0; i < count && err == MMQ_OK;) {
        if (at == have && more) {
            err = mmq_store_heads(c->source, behind, r->heads, HEADS, &have, why);
            at = 0;
            more = err == MMQ_OK && have == HEADS;
            if (have > 0) {
                memcpy(behind, r->heads[have - 1].uid, sizeof behind);
            }
            continue;
        }
        const int order = at == have ? 1 : strcmp(r->heads[at].uid, r->others[i].uid);
        if (order > 0) {
            err = mmq_store_delete(c->target, r->others[i].uid, why);
            c->out->removed++;
        }
        at += order <= 0 ? 1 : 0;
        i += order >= 0 ? 1 : 0;
    }
    return err;
}

static mmq_err remove_gone(run *r, int64_t *commit, mmq_why *why)
{
    char after[MMQ_UID_MAX + 1] = "";
    size_t count = HEADS;
    int64_t now;
    for (bool first = true; count == HEADS; first = false) {
        mmq_err err = begin(r, &now, why);
        if (err != MMQ_OK) {
            return err;
        }
        *commit = first ? now : *commit;
        err = mmq_store_heads(r->copying.target, after, r->others, HEADS, &count, why);
        if (err == MMQ_OK) {
            err = remove_others(r, after, count, why);
        }
        if (err == MMQ_OK) {
            err = mmq_copy_tell(&r->copying, "copying rows", why);
        }
        err = end(r, err, why);
        if (err != MMQ_OK) {
            return err;
        }
        if (count > 0) {
            memcpy(after, r->others[count - 1].uid, sizeof after);
        }
    }
    return MMQ_OK;
}

/* ---- what is new, or was changed -------------------------------------------------------- */

/* Where a pass is. */
typedef struct pass {
    char after[MMQ_UID_MAX + 1]; /* metrics up to this one are done */
    mmq_copy_place place;        /* in the next */
    bool ended, again;
} pass;

/* Those of a transaction: until its work is done, or there are no more. */
static mmq_err copy_some(run *r, pass *p, mmq_why *why)
{
    mmq_copying *c = &r->copying;
    size_t count = HEADS;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && c->work > 0 && !p->ended) {
        err = mmq_store_heads(c->source, p->after, r->heads, HEADS, &count, why);
        bool done = true;
        for (size_t i = 0; err == MMQ_OK && i < count && done && c->work > 0; i++) {
            const mmq_metric_head *head = &r->heads[i];
            if (head->changed > r->seen) {
                err = mmq_copy_metric(c, head, &p->place, &done, &p->again, why);
            }
            if (done) {
                memcpy(p->after, head->uid, sizeof p->after);
                p->ended = count < HEADS && i + 1 == count;
            }
        }
        p->ended |= err == MMQ_OK && count == 0;
        c->work -= MMQ_COPY_METRIC; /* of many that are the same, too, a transaction is short */
        if (err == MMQ_OK) {
            err = mmq_copy_tell(c, "copying rows", why);
        }
    }
    return err;
}

static mmq_err run_pass(run *r, int64_t *commit, mmq_why *why)
{
    pass p = {.ended = false};
    r->copying.rows = 0;
    mmq_err err = remove_gone(r, commit, why);
    while (err == MMQ_OK && !p.ended) {
        int64_t now;
        err = begin(r, &now, why);
        if (err == MMQ_OK) {
            err = end(r, copy_some(r, &p, why), why);
        }
    }
    if (err == MMQ_OK && !p.again) {
        r->seen = *commit;
    }
    r->copying.rows_total = 0; /* the next passes are about few */
    return err;
}

/* Passes, as long as they get shorter. *settled: the source was not changed during the last one. */
static mmq_err run_passes(run *r, bool *settled, mmq_why *why)
{
    const int most = r->finish ? FINISH_PASSES_MAX : PASSES_MAX;
    int64_t last_ns = INT64_MAX, commit = 0, now = 0;
    mmq_err err = MMQ_OK;
    *settled = false;
    for (int i = 0; i < most && err == MMQ_OK && !*settled; i++) {
        const int64_t start_ns = mmq_now_ns();
        err = run_pass(r, &commit, why);
        if (err == MMQ_OK) {
            err = read_commit(r, &now, why);
        }
        *settled = err == MMQ_OK && now == r->seen;
        const int64_t took_ns = mmq_now_ns() - start_ns;
        if (!r->finish && took_ns > last_ns / 2 && r->seen == commit) {
            break;
        }
        last_ns = took_ns;
    }
    return err;
}

static mmq_err count_changed(run *r, mmq_why *why)
{
    char after[MMQ_UID_MAX + 1] = "";
    mmq_snapshot snapshot;
    size_t count = HEADS;
    mmq_err err = mmq_store_begin_read(r->copying.source, &snapshot, why);
    if (err != MMQ_OK) {
        return err;
    }
    while (err == MMQ_OK && count == HEADS) {
        err = mmq_store_heads(r->copying.source, after, r->heads, HEADS, &count, why);
        for (size_t i = 0; err == MMQ_OK && i < count; i++) {
            r->copying.out->changed += r->heads[i].changed > r->seen ? 1 : 0;
            memcpy(after, r->heads[i].uid, sizeof after);
        }
    }
    mmq_store_end_read(r->copying.source);
    return err;
}

/* ---- finishing -------------------------------------------------------------------------- */

/* Rows of metrics that were removed, and pages that became free. */
static mmq_err tidy(run *r, mmq_why *why)
{
    bool more = true;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && more) {
        err = mmq_store_tidy(r->copying.target, &more, why);
        if (err == MMQ_OK) {
            err = mmq_copy_tell(&r->copying, "copying rows", why);
        }
    }
    return err;
}

static mmq_err refuse_writers(mmq_why *why)
{
    return mmq_fail(why, MMQ_EBUSY,
                    "the source was written meanwhile: stop its write workers, and run it again"
                    " (or without --finish, while they run)");
}

static mmq_err check_copy(run *r, mmq_why *why)
{
    mmq_store_sums sums;
    mmq_copied *out = r->copying.out;
    mmq_err err = mmq_store_check(r->copying.target, r->copying.watch, &sums, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (sums.faults > 0 || sums.metrics != out->sums.metrics || sums.rows != out->sums.rows ||
        sums.blocks != out->sums.blocks) {
        return mmq_fail(why, MMQ_ECORRUPT,
                        "the copy is not whole, and so the source may not be: `metricmq check` it;"
                        " then remove the copy, and begin anew");
    }
    out->sums = sums;
    return MMQ_OK;
}

/* In a transaction. A standby may be behind, and its commit says nothing of who writes. */
static mmq_err check_source(run *r, mmq_why *why)
{
    bool all = false;
    mmq_store *source = r->copying.source;
    mmq_err err = source->engine->shows_all(source, &all, why);
    return err == MMQ_OK && !all
               ? mmq_fail(
                     why, MMQ_EBUSY,
                     "the source is a standby, which may be behind: name its primary to finish")
               : err;
}

static mmq_err adopt(run *r, mmq_why *why)
{
    int64_t now = 0;
    uint64_t id;
    mmq_random(&id, sizeof id);
    mmq_err err = begin(r, &now, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = check_source(r, why);
    if (err == MMQ_OK && now != r->copying.out->commit) {
        err = refuse_writers(why);
    }
    if (err == MMQ_OK) {
        err = r->copying.target->engine->adopt(r->copying.target, id, why);
    }
    r->copying.target->dirty = true;
    return end(r, err, why);
}

static mmq_err compare(run *r, mmq_why *difference, mmq_why *why)
{
    mmq_copied *out = r->copying.out;
    return mmq_copy_compare(&r->copying, &out->commit, &out->sum, &out->sums, difference, why);
}

static mmq_err finish(run *r, int64_t rows, mmq_why *why)
{
    mmq_why difference = {""};
    r->copying.rows_total = rows;
    mmq_err err = tidy(r, why);
    if (err == MMQ_OK) {
        err = compare(r, &difference, why);
    }
    if (err == MMQ_OK && r->copying.out->commit != r->seen) {
        err = refuse_writers(why);
    } else if (err == MMQ_OK && difference.text[0] != '\0') {
        err = mmq_fail(why, MMQ_ECORRUPT,
                       "the copy is not what it should be: %.300s: remove it, and"
                       " begin anew",
                       difference.text);
    }
    if (err == MMQ_OK) {
        err = check_copy(r, why);
    }
    if (err == MMQ_OK) {
        err = adopt(r, why);
    }
    r->copying.out->finished = err == MMQ_OK;
    return err;
}

/* ---- a run ------------------------------------------------------------------------------ */

/* The target is a store of its own. */
static mmq_err compare_only(run *r, mmq_why *why)
{
    mmq_copied *out = r->copying.out;
    mmq_why difference = {""};
    mmq_snapshot snapshot;
    mmq_err err = mmq_store_begin_read(r->copying.target, &snapshot, why);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_store_end_read(r->copying.target);
    if (snapshot.store == r->source_id) {
        return mmq_fail(why, MMQ_EINVAL, "both are the same store, or one is a copy of its file");
    }
    err = compare(r, &difference, why);
    if (err == MMQ_OK && out->commit < 0) {
        return mmq_fail(why, MMQ_ECONFLICT,
                        "the target is a store like others already, and the source was written"
                        " while they were compared; nothing was changed");
    }
    out->was_store = err == MMQ_OK;
    return err == MMQ_OK && difference.text[0] != '\0'
               ? mmq_fail(why, MMQ_ECONFLICT,
                          "the target is a store like others already, and does not hold the same:"
                          " %.300s; nothing was changed",
                          difference.text)
               : err;
}

/* Two numbers of the source: how many rows there are. */
static mmq_err count_rows(run *r, int64_t *rows, mmq_why *why)
{
    static const mmq_query queries[] = {MMQ_Q_CHECK_TOTAL, MMQ_Q_CHECK_PRUNED};
    mmq_store *source = r->copying.source;
    const size_t count =
        mmq_store_is_current(source) ? 2 : 1; /* earlier ones may lack the tables */
    int64_t numbers[2] = {0};
    mmq_snapshot snapshot;
    mmq_err err = mmq_store_begin_read(source, &snapshot, why);
    if (err != MMQ_OK) {
        return err;
    }
    r->source_id = snapshot.store;
    for (size_t i = 0; err == MMQ_OK && i < count; i++) {
        bool found;
        err = mmq_statement_prepare(source, queries[i], why);
        if (err == MMQ_OK) {
            err = mmq_read_int(source, mmq_statement(source, queries[i]), &found, &numbers[i],
                               "a count of rows", why);
        }
    }
    mmq_store_end_read(source);
    *rows = numbers[1] < numbers[0] ? numbers[0] - numbers[1] : 0;
    return err;
}

/* For filling: only what is not there, or no store yet. */
static mmq_err open_copy(run *r, mmq_why *why)
{
    mmq_why locked;
    mmq_err err = mmq_store_lock_try(r->to, &r->target_lock, &locked);
    if (err == MMQ_OK) {
        return mmq_store_open_to_fill(r->to, r->source_id, &r->copying.target, why);
    }
    if (err == MMQ_EBUSY) {
        return mmq_fail(why, err, "another `metricmq migrate` fills the copy: %.200s", locked.text);
    }
    *why = locked;
    return err;
}

/* A store like others is opened for reading, so that not even its log is touched. */
static mmq_err open_target(run *r, bool *is_store, mmq_why *why)
{
    mmq_why read_why;
    const mmq_err read_err = mmq_store_open(r->to, MMQ_STORE_READ, &r->copying.target, &read_why);
    *is_store = read_err == MMQ_OK;
    mmq_err err = read_err;
    if (read_err == MMQ_ENOTFOUND || read_err == MMQ_EBUSY) {
        err = open_copy(r, why);
    } else {
        *why = read_why;
    }
    if (err == MMQ_ECONFLICT && read_err == MMQ_EBUSY) { /* a store of an earlier form */
        *why = read_why;
    }
    return err;
}

/* Of which store is the copy? */
static mmq_err check_target(run *r, mmq_why *why)
{
    mmq_snapshot snapshot;
    mmq_err err = mmq_store_begin_read(r->copying.target, &snapshot, why);
    if (err == MMQ_OK) {
        mmq_store_end_read(r->copying.target);
    }
    return err == MMQ_OK && snapshot.store != r->source_id
               ? mmq_fail(why, MMQ_ECONFLICT,
                          "the target is a copy of another store, which is not finished: remove it,"
                          " or name another target")
               : err;
}

/* To finish, nobody else may write to the source. */
static mmq_err lock_source(run *r, mmq_why *why)
{
    mmq_snapshot snapshot;
    mmq_err err = mmq_store_begin_read(r->copying.source, &snapshot, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = check_source(r, why);
    mmq_store_end_read(r->copying.source);
    if (err != MMQ_OK) {
        return err;
    }
    err = mmq_store_lock_try(r->from, &r->source_lock, why);
    return err == MMQ_EBUSY ? mmq_fail(why, MMQ_EBUSY,
                                       "a write worker has the source: stop it, and run it again"
                                       " (or without --finish, while it runs)")
                            : err;
}

static mmq_err copy(run *r, int64_t rows, mmq_why *why)
{
    bool settled = false;
    mmq_err err = check_target(r, why);
    if (err == MMQ_OK && r->finish) {
        err = lock_source(r, why);
    }
    if (err == MMQ_OK) {
        err = run_passes(r, &settled, why);
    }
    r->copying.out->commit = r->seen;
    if (err == MMQ_OK && r->finish) {
        return settled ? finish(r, rows, why) : refuse_writers(why);
    }
    return err == MMQ_OK && !settled ? count_changed(r, why) : err;
}

static mmq_err open_and_copy(run *r, mmq_why *why)
{
    bool is_store = false;
    int64_t rows = 0;
    mmq_err err = mmq_store_open(r->from, MMQ_STORE_READ, &r->copying.source, why);
    if (err == MMQ_OK) {
        err = count_rows(r, &rows, why);
    }
    if (err == MMQ_OK) {
        err = open_target(r, &is_store, why);
    }
    r->copying.rows_total = rows;
    if (err != MMQ_OK) {
        return err;
    }
    return is_store ? compare_only(r, why) : copy(r, rows, why);
}

mmq_err mmq_store_copy(const char *from, const char *to, bool finish_it,
                       const mmq_store_watch *watch, mmq_copied *out, mmq_why *why)
{
    *out = (mmq_copied){.commit = 0};
    if (strcmp(from, to) == 0) {
        return mmq_fail(why, MMQ_EINVAL, "both are the same store");
    }
    run r = {.from = from, .to = to, .finish = finish_it};
    r.copying = (mmq_copying){.watch = watch, .out = out};
    mmq_err err = open_and_copy(&r, why);
    mmq_store_close(&r.copying.target);
    mmq_store_close(&r.copying.source);
    mmq_store_unlock(&r.source_lock);
    mmq_store_unlock(&r.target_lock);
    return err;
}
