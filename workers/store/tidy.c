/* Housekeeping, in pieces so small that requests hardly wait for one. Readers see nothing of it but
 * that lengths of long ago are forgotten: the commit number stays. */
#include "workers/store/blocks.h"

#include "lib/check.h"
#include "lib/clock.h"

enum {
    PIECE_BLOCKS = 16, /* of a deleted metric */
    PIECE_GAPS = 1000,
    PIECE_GROWTH = 1000,
    PIECE_VALUES = 64, /* blocks whose heads are completed */
};

static mmq_err read_first(mmq_store *store, mmq_prepared *statement, bool *found, int64_t *out,
                          mmq_why *why)
{
    return mmq_read_int(store, statement, found, out, "a list of work to do", why);
}

/* *left false: nothing of the metric was there any more. */
static mmq_err delete_piece(mmq_store *store, int64_t metric, bool *left, mmq_why *why)
{
    static const struct {
        mmq_query query;
        int most;
    } parts[] = {{MMQ_Q_DELETE_DATA, PIECE_BLOCKS},
                 {MMQ_Q_DELETE_BLOCKS, PIECE_BLOCKS},
                 {MMQ_Q_DELETE_GAPS, PIECE_GAPS}};
    mmq_err err = MMQ_OK;
    *left = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && err == MMQ_OK; i++) {
        mmq_prepared *statement = mmq_statement(store, parts[i].query);
        mmq_bind_int(statement, 1, metric);
        mmq_bind_int(statement, 2, parts[i].most);
        err = mmq_run(store, statement, why);
        *left |= mmq_changes(store) > 0;
    }
    return err;
}

static mmq_err delete_rows(mmq_store *store, mmq_why *why)
{
    int64_t metric;
    bool found;
    mmq_err err = read_first(store, mmq_statement(store, MMQ_Q_DOOMED), &found, &metric, why);
    if (err != MMQ_OK || !found) {
        return err;
    }
    bool left;
    err = delete_piece(store, metric, &left, why);
    if (err != MMQ_OK || left) {
        return err;
    }
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_UNDOOM);
    mmq_bind_int(statement, 1, metric);
    return mmq_run(store, statement, why);
}

static mmq_prepared *old_growth(mmq_store *store, int64_t limit)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_OLD_GROWTH);
    mmq_bind_int(statement, 1, mmq_wall_s() - MMQ_REMEMBER_S);
    mmq_bind_int(statement, 2, limit);
    return statement;
}

typedef struct length_list {
    int64_t metrics[PIECE_GROWTH], commits[PIECE_GROWTH];
    size_t count;
} length_list;

/* Of the metric's entries in the list none is of a later commit. */
static bool is_latest(const length_list *list, size_t at)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->metrics[i] == list->metrics[at] && list->commits[i] > list->commits[at]) {
            return false;
        }
    }
    return true;
}

/* A metric's record is written once, and not once an entry. */
static mmq_err forget_entry(mmq_store *store, const length_list *list, size_t at, mmq_why *why)
{
    const mmq_query queries[] = {MMQ_Q_DELETE_GROWTH, MMQ_Q_FORGET};
    const size_t count = is_latest(list, at) ? 2 : 1;
    mmq_err err = MMQ_OK;
    for (size_t i = 0; i < count && err == MMQ_OK; i++) {
        mmq_prepared *statement = mmq_statement(store, queries[i]);
        mmq_bind_int(statement, 1, list->metrics[at]);
        mmq_bind_int(statement, 2, list->commits[at]);
        err = mmq_run(store, statement, why);
    }
    return err;
}

static mmq_err forget_growth(mmq_store *store, mmq_why *why)
{
    length_list list;
    size_t count = 0;
    mmq_prepared *statement = old_growth(store, PIECE_GROWTH);
    bool row = true;
    while (row && count < PIECE_GROWTH) {
        mmq_err err = mmq_step(store, statement, &row, why);
        if (err != MMQ_OK) {
            return err;
        }
        if (row && (!mmq_column_int(statement, 0, 1, INT64_MAX, &list.metrics[count]) ||
                    !mmq_column_int(statement, 1, 1, INT64_MAX, &list.commits[count]))) {
            mmq_done(statement);
            return mmq_damaged(store, "a metric's length", why);
        }
        count += row ? 1 : 0;
    }
    mmq_done(statement);
    list.count = count;
    mmq_err err = MMQ_OK;
    for (size_t i = 0; i < count && err == MMQ_OK; i++) {
        err = forget_entry(store, &list, i, why);
    }
    return err;
}

static mmq_err look_for_work(mmq_store *store, bool *work, mmq_why *why)
{
    int64_t number;
    mmq_err err = read_first(store, mmq_statement(store, MMQ_Q_DOOMED), work, &number, why);
    if (err == MMQ_OK && !*work) {
        err = read_first(store, old_growth(store, 1), work, &number, why);
    }
    if (err == MMQ_OK && !*work) {
        err = read_first(store, mmq_statement(store, MMQ_Q_INCOMPLETE), work, &number, why);
    }
    return err == MMQ_OK && !*work ? store->engine->has_work(store, work, why) : err;
}

/* Does a piece, in a write transaction. Work that is found and cannot be done, since an index or a
 * page says otherwise than what it leads to, would be found again for ever. */
static mmq_err do_work(mmq_store *store, mmq_why *why)
{
    const int64_t changes = store->engine->total_changes(store);
    bool left, done = false;
    mmq_err err = delete_rows(store, why);
    if (err == MMQ_OK) {
        err = forget_growth(store, why);
    }
    if (err == MMQ_OK) {
        err = mmq_blocks_complete(store, PIECE_VALUES, &left, why);
    }
    if (err == MMQ_OK) {
        err = store->engine->do_work(store, &done, why);
    }
    if (err == MMQ_OK && changes == store->engine->total_changes(store) && !done) {
        err = look_for_work(store, &left, why); /* another writer may have done it */
        return err == MMQ_OK && left
                   ? mmq_damaged(store, "what is to be removed is not where it is found", why)
                   : err;
    }
    return err;
}

mmq_err mmq_store_tidies(mmq_store *store, bool *ours, mmq_why *why)
{
    CHECK(store->phase == MMQ_PHASE_WRITE);
    return store->engine->tidies(store, ours, why);
}

mmq_err mmq_store_tidy(mmq_store *store, bool *more, mmq_why *why)
{
    CHECK(store->mode == MMQ_STORE_WRITE && store->phase == MMQ_PHASE_IDLE);
    *more = false;
    mmq_err err = look_for_work(store, more, why);
    if (err != MMQ_OK || !*more) {
        return err;
    }
    *more = false;
    err = mmq_store_begin_write(store, why);
    if (err != MMQ_OK) {
        return err;
    }
    store->gentle = true;
    bool ours;
    err = mmq_store_tidies(store, &ours, why);
    if (err == MMQ_OK && ours) {
        err = do_work(store, why);
    }
    if (err != MMQ_OK || !ours) {
        mmq_store_rollback(store);
        return err;
    }
    err = mmq_store_commit(store, why);
    *more = err == MMQ_OK;
    return err;
}
