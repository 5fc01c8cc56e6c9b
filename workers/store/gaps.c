#include "workers/store/gaps.h"

#include "lib/calendar.h"
#include "lib/check.h"

/* Readers prepare their statements here when they first need them, in the transaction that does:
 * a writer may have made the tables meanwhile. */
static mmq_err want_statement(mmq_store *store, mmq_query query, bool *there, mmq_why *why)
{
    int64_t exists = 0;
    bool row;
    *there = store->statements[query] != NULL;
    if (*there) {
        return MMQ_OK;
    }
    mmq_err err =
        mmq_read_int(store, mmq_statement(store, MMQ_Q_HAS_GAPS), &row, &exists, "its schema", why);
    if (err == MMQ_OK && exists != 0) {
        err = mmq_statement_prepare(store, query, why);
        *there = err == MMQ_OK;
    }
    return err;
}

static bool take_columns(mmq_prepared *statement, mmq_gap *out)
{
    return mmq_column_int(statement, 0, 1, MMQ_ROWID_MAX, &out->first) &&
           mmq_column_int(statement, 1, out->first, MMQ_ROWID_MAX, &out->last);
}

/* The next gap of a statement of the two that find some. */
static mmq_err step_gap(mmq_store *store, mmq_prepared *statement, bool *found, mmq_gap *out,
                        mmq_why *why)
{
    mmq_err err = mmq_step(store, statement, found, why);
    return err == MMQ_OK && *found && !take_columns(statement, out)
               ? mmq_damaged(store, "a list of pruned rows", why)
               : err;
}

mmq_err mmq_gap_at(mmq_store *store, int64_t metric, int64_t rowid, bool *found, mmq_gap *out,
                   mmq_why *why)
{
    mmq_err err = want_statement(store, MMQ_Q_GAP_AT, found, why);
    if (err != MMQ_OK || !*found) {
        return err;
    }
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_GAP_AT);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_int(statement, 2, rowid);
    err = step_gap(store, statement, found, out, why);
    if (err == MMQ_OK && *found && out->first > rowid) {
        err = mmq_damaged(store, "the order of its pruned rows", why);
    }
    mmq_done(statement);
    return err;
}

static mmq_err walk_after(mmq_store *store, int64_t metric, int64_t first, int64_t last,
                          void (*take)(void *context, mmq_gap gap), void *context, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_GAPS_AFTER);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_int(statement, 2, first);
    mmq_bind_int(statement, 3, last);
    int64_t end = first;
    bool found = true;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && found) {
        mmq_gap gap;
        err = step_gap(store, statement, &found, &gap, why);
        if (err == MMQ_OK && found && (gap.first <= end || gap.first > last)) {
            err = mmq_damaged(store, "the order of its pruned rows", why);
        } else if (err == MMQ_OK && found) {
            take(context, gap);
            end = gap.last;
        }
    }
    mmq_done(statement);
    return err;
}

mmq_err mmq_gaps_each(mmq_store *store, int64_t metric, int64_t first, int64_t last,
                      void (*take)(void *context, mmq_gap gap), void *context, mmq_why *why)
{
    mmq_gap gap;
    bool found, there = false;
    mmq_err err = mmq_gap_at(store, metric, first, &found, &gap, why);
    if (err == MMQ_OK && found && gap.last >= first) {
        take(context, gap);
        first = gap.last;
    }
    if (err == MMQ_OK) {
        err = want_statement(store, MMQ_Q_GAPS_AFTER, &there, why);
    }
    return err == MMQ_OK && there && first < last
               ? walk_after(store, metric, first, last, take, context, why)
               : err;
}

mmq_err mmq_gaps_piece(mmq_store *store, int64_t metric, int64_t after, mmq_gap *out,
                       size_t capacity, size_t *count, mmq_why *why)
{
    bool found;
    *count = 0;
    mmq_err err = want_statement(store, MMQ_Q_GAPS_PIECE, &found, why);
    if (err != MMQ_OK || !found) {
        return err;
    }
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_GAPS_PIECE);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_int(statement, 2, after);
    mmq_bind_int(statement, 3, (int64_t)capacity);
    while (err == MMQ_OK && found && *count < capacity) {
        err = step_gap(store, statement, &found, &out[*count], why);
        if (err == MMQ_OK && found && out[*count].first <= after) {
            err = mmq_damaged(store, "the order of its pruned rows", why);
        } else if (err == MMQ_OK && found) {
            after = out[(*count)++].last;
        }
    }
    mmq_done(statement);
    return err;
}

/* ---- writing ---------------------------------------------------------------------------- */

mmq_err mmq_gap_write(mmq_store *store, mmq_query query, int64_t metric, mmq_gap gap, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, query);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_int(statement, 2, gap.first);
    if (query != MMQ_Q_DROP_GAP) {
        mmq_bind_int(statement, 3, gap.last);
    }
    mmq_err err = mmq_run(store, statement, why);
    return err == MMQ_OK && mmq_changes(store) != 1
               ? mmq_damaged(store, "a list of pruned rows", why)
               : err;
}

mmq_err mmq_gap_add(mmq_store *store, int64_t metric, mmq_gap gap, mmq_why *why)
{
    mmq_gap before, behind;
    bool has_before, has_behind;
    mmq_err err = mmq_gap_at(store, metric, gap.first, &has_before, &before, why);
    if (err == MMQ_OK) {
        err = mmq_gap_at(store, metric, gap.last + 1, &has_behind, &behind, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    has_behind = has_behind && behind.first > gap.first;
    if ((has_before && before.last >= gap.first) || (has_behind && behind.first <= gap.last)) {
        return mmq_damaged(store, "a row was pruned before, and is there", why);
    }
    if (has_behind) {
        gap.last = behind.last;
        err = mmq_gap_write(store, MMQ_Q_DROP_GAP, metric, behind, why);
    }
    const bool joins = has_before && before.last == gap.first - 1;
    gap.first = joins ? before.first : gap.first;
    return err == MMQ_OK
               ? mmq_gap_write(store, joins ? MMQ_Q_SET_GAP : MMQ_Q_ADD_GAP, metric, gap, why)
               : err;
}

/* ---- what was pruned -------------------------------------------------------------------- */

mmq_err mmq_pruned_find(mmq_store *store, int64_t metric, bool *found, int64_t *out, mmq_why *why)
{
    mmq_err err = want_statement(store, MMQ_Q_PRUNED_BEFORE, found, why);
    if (err == MMQ_OK && *found) {
        mmq_prepared *statement = mmq_statement(store, MMQ_Q_PRUNED_BEFORE);
        mmq_bind_int(statement, 1, metric);
        err = mmq_step(store, statement, found, why);
        if (err == MMQ_OK && *found &&
            !mmq_column_int(statement, 0, MMQ_TIME_MIN, INT64_MAX, out)) {
            err = mmq_damaged(store, "the time of a prune", why);
        }
        mmq_done(statement);
    }
    return err;
}

mmq_err mmq_pruned_before(mmq_store *store, int64_t metric, int64_t *out, mmq_why *why)
{
    bool found;
    mmq_err err = mmq_pruned_find(store, metric, &found, out, why);
    return err == MMQ_OK && !found ? mmq_damaged(store, "rows are missing", why) : err;
}

mmq_err mmq_store_pruned_since(mmq_store *store, int64_t commit, int64_t from, int64_t metric,
                               const char *uid, bool *pruned, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE);
    int64_t exists = 0;
    mmq_err err = want_statement(store, MMQ_Q_PRUNED_SINCE, pruned, why);
    if (err != MMQ_OK || !*pruned) {
        return err;
    }
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_PRUNED_SINCE);
    mmq_bind_int(statement, 1, commit);
    mmq_bind_int(statement, 2, from);
    mmq_bind_int(statement, 3, metric);
    mmq_bind_text(statement, 4, uid);
    err = mmq_read_int(store, statement, pruned, &exists, "the list of prunes", why);
    *pruned = err == MMQ_OK && exists != 0;
    return err;
}
