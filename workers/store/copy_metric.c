/* One metric: its record, then its blocks, then what was pruned of it, then what its rows come to.
 * Whatever of it is there already stays: both sides are walked through in the same order, and what
 * is on one side only, or differs, is written or dropped. */
#include <string.h>

#include "workers/store/copying.h"
#include "workers/store/gaps.h"
#include "workers/store/raw.h"

enum { GAPS = 64 };

typedef struct metric_copy {
    mmq_copying *copying;
    int64_t from, to; /* keys in the source and in the target */
    mmq_copy_place *place;
    mmq_raw_walk source, target;
} metric_copy;

mmq_err mmq_copy_tell(const mmq_copying *copying, const char *doing, mmq_why *why)
{
    const int64_t rows = copying->rows < copying->rows_total ? copying->rows : copying->rows_total;
    return copying->watch->at(copying->watch->context, doing, rows, copying->rows_total)
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECLOSED, "it was broken off");
}

/* ---- the record ------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool mmq_copy_same_record(const mmq_metric *a, const mmq_metric *b)
{
    return strcmp(a->head.uid, b->head.uid) == 0 && same_text(a->datasource, b->datasource) &&
           same_text(a->identity, b->identity) && same_text(a->name, b->name) &&
           same_text(a->description, b->description) && same_text(a->server, b->server) &&
           same_text(a->location, b->location) && same_text(a->parameters, b->parameters) &&
           same_text(a->message, b->message) && same_text(a->tag_name, b->tag_name) &&
           a->status == b->status && a->poll_interval == b->poll_interval;
}

/* *key 0: the target has none such, or had another one, which is gone. */
static mmq_err find_target(mmq_copying *c, const mmq_metric *record, int64_t *key, mmq_why *why)
{
    mmq_metric there;
    *key = 0;
    mmq_err err = mmq_store_metric(c->target, record->head.uid, &there, why);
    if (err != MMQ_OK) {
        return err == MMQ_ENOTFOUND ? MMQ_OK : err;
    }
    if (mmq_copy_same_record(record, &there)) {
        *key = there.head.key;
    } else {
        err = mmq_store_delete(c->target, record->head.uid, why);
        c->out->removed++;
    }
    mmq_metric_clear(&there);
    return err;
}

/* Takes the record's texts, and leaves others. */
static mmq_err make_target(mmq_copying *c, mmq_metric *record, int64_t *key, bool *again,
                           mmq_why *why)
{
    mmq_err err = mmq_store_create(c->target, record, why);
    if (err == MMQ_ECONFLICT) { /* its identity is of another uid, which is to go */
        *again = true;
        return MMQ_OK;
    }
    *key = record->head.key;
    c->out->metrics++;
    return err;
}

/* *key 0: it could not be made. */
static mmq_err settle_record(mmq_copying *c, const char *uid, int64_t *key, bool *again,
                             mmq_why *why)
{
    mmq_metric record;
    mmq_err err = mmq_store_metric(c->source, uid, &record, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = find_target(c, &record, key, why);
    if (err == MMQ_OK && *key == 0) {
        err = make_target(c, &record, key, again, why);
    }
    mmq_metric_clear(&record);
    return err;
}

/* ---- blocks ----------------------------------------------------------------------------- */

static mmq_err copy_block(metric_copy *m, const mmq_stored_block *from, const mmq_stored_block *old,
                          mmq_why *why)
{
    mmq_copying *c = m->copying;
    c->work -= MMQ_COPY_BLOCK;
    c->target->dirty = true;
    c->out->blocks++;
    c->out->rows += from->head.rows;
    return mmq_raw_copy(c->source, from, c->target, m->to, old, why);
}

static mmq_err drop_block(metric_copy *m, const mmq_stored_block *old, mmq_why *why)
{
    m->copying->work -= MMQ_COPY_BLOCK;
    m->copying->target->dirty = true;
    return mmq_blocks_drop(m->copying->target, old, why);
}

/* The first of both, in the order of blocks: one may be NULL. */
static mmq_err merge_block(metric_copy *m, const mmq_stored_block *from, const mmq_stored_block *to,
                           mmq_why *why)
{
    mmq_copying *c = m->copying;
    const bool source_only =
        to == NULL || (from != NULL && mmq_key_is_before(from->head.first, to->head.first));
    const bool target_only =
        from == NULL || (to != NULL && mmq_key_is_before(to->head.first, from->head.first));
    mmq_err err = MMQ_OK;
    c->work--;
    if (target_only) {
        err = drop_block(m, to, why);
        mmq_raw_next(&m->target);
        return err;
    }
    if (source_only) {
        err = copy_block(m, from, NULL, why);
    } else {
        if (!mmq_raw_same(&from->head, &to->head)) {
            err = copy_block(m, from, to, why);
        }
        mmq_raw_next(&m->target);
    }
    c->rows += from->head.rows;
    mmq_raw_next(&m->source);
    return err == MMQ_OK ? mmq_copy_tell(c, "copying rows", why) : err;
}

/* The place is where the next of both begins. */
static void note_place(metric_copy *m, const mmq_stored_block *from, const mmq_stored_block *to)
{
    const bool target_first =
        from == NULL || (to != NULL && mmq_key_is_before(to->head.first, from->head.first));
    const mmq_row_key key = target_first ? to->head.first : from->head.first;
    m->place->timestamp = key.timestamp;
    m->place->rowid = key.rowid;
}

static mmq_err copy_blocks(metric_copy *m, bool *done, mmq_why *why)
{
    const mmq_row_key start = {m->place->timestamp, m->place->rowid};
    mmq_raw_begin(&m->source, m->copying->source, m->from, start);
    mmq_raw_begin(&m->target, m->copying->target, m->to, start);
    for (;;) {
        const mmq_stored_block *from = NULL, *to = NULL;
        mmq_err err = mmq_raw_head(&m->source, &from, why);
        if (err == MMQ_OK) {
            err = mmq_raw_head(&m->target, &to, why);
        }
        *done = err == MMQ_OK && from == NULL && to == NULL;
        if (err != MMQ_OK || *done) {
            return err;
        }
        if (m->copying->work < 1) {
            note_place(m, from, to);
            return MMQ_OK;
        }
        err = merge_block(m, from, to, why);
        if (err != MMQ_OK) {
            return err;
        }
    }
}

/* ---- what was pruned -------------------------------------------------------------------- */

/* Gaps of one side, piece by piece. */
typedef struct gap_walk {
    mmq_store *store;
    int64_t metric, after;
    size_t count, at;
    bool ended;
    mmq_gap gaps[GAPS];
} gap_walk;

/* *gap NULL: there are no more. */
static mmq_err gap_at(gap_walk *walk, const mmq_gap **gap, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (walk->at == walk->count && !walk->ended) {
        err = mmq_gaps_piece(walk->store, walk->metric, walk->after, walk->gaps, GAPS, &walk->count,
                             why);
        walk->at = 0;
        walk->ended = walk->count < GAPS;
        walk->after = walk->count > 0 ? walk->gaps[walk->count - 1].first : walk->after;
    }
    *gap = err == MMQ_OK && walk->at < walk->count ? &walk->gaps[walk->at] : NULL;
    return err;
}

static mmq_err merge_gap(metric_copy *m, gap_walk *source, gap_walk *target, const mmq_gap *from,
                         const mmq_gap *to, mmq_why *why)
{
    mmq_copying *c = m->copying;
    mmq_err err = MMQ_OK;
    c->work--;
    if (from == NULL || (to != NULL && to->first < from->first)) {
        err = mmq_gap_write(c->target, MMQ_Q_DROP_GAP, m->to, *to, why);
        target->at++;
        return err;
    }
    if (to == NULL || from->first < to->first) {
        err = mmq_gap_write(c->target, MMQ_Q_ADD_GAP, m->to, *from, why);
    } else {
        if (from->last != to->last) {
            err = mmq_gap_write(c->target, MMQ_Q_SET_GAP, m->to, *from, why);
        }
        target->at++;
    }
    source->at++;
    return err;
}

static mmq_err copy_gaps(metric_copy *m, mmq_why *why)
{
    gap_walk source = {.store = m->copying->source, .metric = m->from};
    gap_walk target = {.store = m->copying->target, .metric = m->to};
    for (;;) {
        const mmq_gap *from = NULL, *to = NULL;
        mmq_err err = gap_at(&source, &from, why);
        if (err == MMQ_OK) {
            err = gap_at(&target, &to, why);
        }
        if (err != MMQ_OK || (from == NULL && to == NULL)) {
            return err;
        }
        err = merge_gap(m, &source, &target, from, to, why);
        if (err != MMQ_OK) {
            return err;
        }
    }
}

/* Who goes on with a stream of the source does not do it here: which commit it was matters little,
 * but it bears the number of one. */
static mmq_err set_pruned(metric_copy *m, int64_t before, mmq_why *why)
{
    mmq_store *target = m->copying->target;
    mmq_err err = target->engine->alone(target, why);
    if (err == MMQ_OK) {
        mmq_prepared *statement = mmq_statement(target, MMQ_Q_SET_PRUNED);
        mmq_bind_int(statement, 1, m->to);
        mmq_bind_int(statement, 2, before);
        mmq_bind_int(statement, 3, target->commit);
        err = mmq_run(target, statement, why);
    }
    return err;
}

static mmq_err copy_pruned(metric_copy *m, mmq_why *why)
{
    mmq_store *target = m->copying->target;
    int64_t from = 0, to = 0;
    bool was = false, is = false;
    mmq_err err = mmq_pruned_find(m->copying->source, m->from, &was, &from, why);
    if (err == MMQ_OK) {
        err = mmq_pruned_find(target, m->to, &is, &to, why);
    }
    if (err != MMQ_OK || (was == is && from == to)) {
        return err;
    }
    if (is) {
        mmq_prepared *statement = mmq_statement(target, MMQ_Q_UNPRUNE);
        mmq_bind_int(statement, 1, m->to);
        err = mmq_run(target, statement, why);
    }
    return err == MMQ_OK && was ? set_pruned(m, from, why) : err;
}

/* ---- what rows come to ------------------------------------------------------------------ */

static mmq_err copy_state(metric_copy *m, const mmq_metric_head *metric, mmq_why *why)
{
    mmq_store *source = m->copying->source, *target = m->copying->target;
    mmq_metric_head there = {.key = 0};
    mmq_metric_state from = {0}, to = {0};
    mmq_err err = mmq_statement_prepare(source, MMQ_Q_STATE, why);
    if (err == MMQ_OK) {
        err = mmq_state_read(source, m->from, &from, why);
    }
    if (err == MMQ_OK) {
        err = mmq_state_read(target, m->to, &to, why);
    }
    if (err == MMQ_OK) {
        err = mmq_store_find(target, metric->uid, &there, why);
    }
    if (err != MMQ_OK ||
        (there.last_rowid == metric->last_rowid && from.has_rows == to.has_rows &&
         from.last_timestamp == to.last_timestamp && from.unscored == to.unscored)) {
        return err;
    }
    return mmq_state_write(target, m->to, metric->last_rowid, &from, why);
}

static mmq_err copy_metric(mmq_copying *c, const mmq_metric_head *metric, mmq_copy_place *place,
                           bool *done, bool *again, mmq_why *why)
{
    metric_copy m = {.copying = c, .from = metric->key, .place = place};
    if (strcmp(place->uid, metric->uid) != 0) {
        *place = (mmq_copy_place){.timestamp = INT64_MIN};
        memcpy(place->uid, metric->uid, sizeof place->uid);
    }
    *done = true;
    c->work -= MMQ_COPY_METRIC;
    mmq_err err = settle_record(c, metric->uid, &m.to, again, why);
    if (err != MMQ_OK || m.to == 0) {
        return err;
    }
    err = copy_blocks(&m, done, why);
    if (err == MMQ_OK && *done) {
        err = copy_gaps(&m, why);
    }
    if (err == MMQ_OK && *done) {
        err = copy_pruned(&m, why);
    }
    return err == MMQ_OK && *done ? copy_state(&m, metric, why) : err;
}

mmq_err mmq_copy_metric(mmq_copying *c, const mmq_metric_head *metric, mmq_copy_place *place,
                        bool *done, bool *again, mmq_why *why)
{
    mmq_why damage;
    mmq_err err = copy_metric(c, metric, place, done, again, &damage);
    if (err == MMQ_ECORRUPT) {
        return mmq_fail(why, err, "metric %s, in the %s: %.300s", metric->uid,
                        c->target->phase == MMQ_PHASE_FAILED ? "copy" : "source", damage.text);
    }
    if (err != MMQ_OK) {
        *why = damage;
    }
    return err;
}
