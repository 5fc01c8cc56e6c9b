/* Away from schema version 1: rows that lay one by one in a table of their own go into blocks.
 *
 * The first step (schema.c) makes the new tables and sets the version while the old rows are there
 * under another name, old_row. Each step after it is a transaction that moves up to
 * TRANSACTION_BLOCKS blocks' worth of rows; the last drops the table. So a row is in one of the two
 * places at any time, and whoever opens the store knows by the table whether all of them have
 * moved. A process that dies in between leaves a store that the next writer goes on with.
 *
 * Old rows come in the order of (timestamp, rowid), which is the blocks': each metric's are a
 * prefix that has moved and the rest. Records stay as they are, and the commit number too, so that
 * cursors and states stay valid. */
#include "workers/store/sqlite/sqlite.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/calendar.h"
#include "workers/store/blocks.h"
#include "workers/store/room.h"

enum { TRANSACTION_BLOCKS = 64 };

typedef enum task {
    TASK_FIRST,   /* the first metric that has old rows */
    TASK_DOOMED,  /* is it deleted? */
    TASK_ROWS,    /* its next old rows, at most a block */
    TASK_REMOVE,  /* its old rows up to one */
    TASK_DISCARD, /* its next old rows, at most a block */
    TASK_TOTAL,   /* rows that there will be in blocks */
    TASK_DONE,    /* rows that there are */
    TASK_DROP,
    TASK_COUNT,
} task;

#define NEXT_ROWS "FROM old_row WHERE metric = ?1 ORDER BY timestamp, rowid LIMIT 1024"

static const char *const task_texts[TASK_COUNT] = {
    [TASK_FIRST] = "SELECT metric FROM old_row ORDER BY metric LIMIT 1",
    [TASK_DOOMED] = "SELECT metric FROM doomed WHERE metric = ?1",
    [TASK_ROWS] = "SELECT timestamp, rowid, value, anomaly_score, raw_score " NEXT_ROWS,
    [TASK_REMOVE] = "DELETE FROM old_row WHERE metric = ?1 AND (timestamp, rowid) <= (?2, ?3)",
    [TASK_DISCARD] = "DELETE FROM old_row WHERE (metric, timestamp, rowid) IN"
                     " (SELECT metric, timestamp, rowid " NEXT_ROWS ")",
    [TASK_TOTAL] = "SELECT coalesce(sum(last_rowid), 0) FROM metric",
    [TASK_DONE] = "SELECT coalesce(sum(rows), 0) FROM block",
    [TASK_DROP] = "DROP TABLE old_row",
};

typedef struct migration {
    mmq_store *store;
    const mmq_store_watch *watch; /* may be NULL */
    mmq_prepared *tasks[TASK_COUNT];
    int64_t done, total; /* rows */
} migration;

/* ---- a block's worth of rows ------------------------------------------------------------ */

static mmq_err damaged_row(migration *m, int64_t metric, mmq_why *why)
{
    const mmq_write_rows *rows = &m->store->fresh->rows;
    char name[100];
    (void)snprintf(name, sizeof name,
                   "row %zu behind timestamp %" PRId64 " of metric %" PRId64 " in table old_row",
                   rows->count + 1, rows->count > 0 ? rows->timestamp[0] : 0, metric);
    return mmq_damaged(m->store, name, why);
}

/* Takes the row behind those of store->fresh, which has room. False: it is damaged. */
static bool take_row(mmq_prepared *statement, mmq_write_rows *rows)
{
    const size_t at = rows->count;
    if (!mmq_column_int(statement, 0, MMQ_TIME_MIN, MMQ_TIME_MAX, &rows->timestamp[at]) ||
        !mmq_column_int(statement, 1, 1, MMQ_ROWID_MAX, &rows->rowid[at]) ||
        !mmq_column_value(statement, 2, &rows->value[at]) ||
        !mmq_column_score(statement, 3, &rows->anomaly_score[at]) ||
        !mmq_column_score(statement, 4, &rows->raw_score[at])) {
        return false;
    }
    rows->count++;
    return at == 0 || mmq_key_is_before((mmq_row_key){rows->timestamp[at - 1], rows->rowid[at - 1]},
                                        (mmq_row_key){rows->timestamp[at], rows->rowid[at]});
}

static mmq_err take_rows(migration *m, int64_t metric, mmq_why *why)
{
    mmq_room *room = m->store->fresh;
    room->rows.count = 0;
    mmq_err err = mmq_room_reserve(room, MMQ_BLOCK_ROWS, why);
    mmq_prepared *statement = m->tasks[TASK_ROWS];
    mmq_bind_int(statement, 1, metric);
    bool row = true;
    while (err == MMQ_OK && row) {
        err = mmq_step(m->store, statement, &row, why);
        if (err == MMQ_OK && row && !take_row(statement, &room->rows)) {
            err = damaged_row(m, metric, why);
        }
    }
    mmq_done(statement);
    return err;
}

/* The rows belong behind all blocks of the metric. */
static mmq_err check_place(migration *m, int64_t metric, mmq_why *why)
{
    mmq_stored_block last;
    bool found;
    mmq_err err =
        mmq_blocks_at(m->store, metric, (mmq_row_key){INT64_MAX, INT64_MAX}, &found, &last, why);
    const mmq_row_key first = mmq_row_key_of(&m->store->fresh->rows, 0);
    return err == MMQ_OK && found && !mmq_key_is_before(last.head.last, first)
               ? mmq_blocks_damaged(m->store, &last, "the order of the", why)
               : err;
}

static mmq_err move_rows(migration *m, int64_t metric, mmq_why *why)
{
    const mmq_write_rows *rows = &m->store->fresh->rows;
    mmq_err err = take_rows(m, metric, why);
    if (err == MMQ_OK && rows->count == 0) {
        err = mmq_damaged(m->store, "the order of table old_row", why);
    }
    if (err == MMQ_OK) {
        err = check_place(m, metric, why);
    }
    if (err == MMQ_OK) {
        err = mmq_blocks_put(m->store, metric, NULL, rows, 0, rows->count, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    m->done += (int64_t)rows->count;
    const mmq_row_key last = mmq_row_key_of(rows, rows->count - 1);
    mmq_bind_int(m->tasks[TASK_REMOVE], 1, metric);
    mmq_bind_int(m->tasks[TASK_REMOVE], 2, last.timestamp);
    mmq_bind_int(m->tasks[TASK_REMOVE], 3, last.rowid);
    return mmq_run(m->store, m->tasks[TASK_REMOVE], why);
}

static mmq_err discard_rows(migration *m, int64_t metric, mmq_why *why)
{
    mmq_bind_int(m->tasks[TASK_DISCARD], 1, metric);
    mmq_err err = mmq_run(m->store, m->tasks[TASK_DISCARD], why);
    return err == MMQ_OK && mmq_changes(m->store) == 0
               ? mmq_damaged(m->store, "the order of table old_row", why)
               : err;
}

/* ---- transactions ----------------------------------------------------------------------- */

static mmq_err read_number(migration *m, task which, bool *found, int64_t *out, mmq_why *why)
{
    return mmq_read_int(m->store, m->tasks[which], found, out, "table old_row", why);
}

/* *more false: there are no old rows. */
static mmq_err do_piece(migration *m, bool *more, mmq_why *why)
{
    int64_t metric = 0, ignored;
    bool doomed = false;
    mmq_err err = read_number(m, TASK_FIRST, more, &metric, why);
    if (err == MMQ_OK && *more) {
        mmq_bind_int(m->tasks[TASK_DOOMED], 1, metric);
        err = read_number(m, TASK_DOOMED, &doomed, &ignored, why);
    }
    if (err != MMQ_OK || !*more) {
        return err;
    }
    return doomed ? discard_rows(m, metric, why) : move_rows(m, metric, why);
}

static mmq_err do_transaction(migration *m, bool *more, mmq_why *why)
{
    const int64_t done = m->done;
    mmq_err err = mmq_store_begin_write(m->store, why);
    if (err != MMQ_OK) {
        return err;
    }
    for (size_t i = 0; i < TRANSACTION_BLOCKS && err == MMQ_OK && *more; i++) {
        err = do_piece(m, more, why);
    }
    if (err == MMQ_OK && !*more) {
        err = mmq_run(m->store, m->tasks[TASK_DROP], why);
    }
    if (err == MMQ_OK) {
        return mmq_store_commit(m->store, why);
    }
    m->done = done;
    mmq_store_rollback(m->store);
    return err;
}

static mmq_err tell(const migration *m, mmq_why *why)
{
    return m->watch == NULL || m->watch->at(m->watch->context, "moving rows", m->done, m->total)
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECLOSED,
                          "stopped while the store is being brought to a new form: the next write"
                          " worker goes on");
}

static mmq_err prepare(migration *m, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    for (int i = 0; i < TASK_COUNT && err == MMQ_OK; i++) {
        err = mmq_sqlite_prepare_text(m->store, task_texts[i], &m->tasks[i], why);
    }
    bool found;
    if (err == MMQ_OK) {
        err = read_number(m, TASK_TOTAL, &found, &m->total, why);
    }
    return err == MMQ_OK ? read_number(m, TASK_DONE, &found, &m->done, why) : err;
}

mmq_err mmq_migrate(mmq_store *store, const mmq_store_watch *watch, mmq_why *why)
{
    migration m = {.store = store, .watch = watch};
    mmq_err err = prepare(&m, why);
    bool more = true;
    if (err == MMQ_OK) {
        err = tell(&m, why);
    }
    while (err == MMQ_OK && more) {
        err = do_transaction(&m, &more, why);
        if (err == MMQ_OK) {
            err = more ? tell(&m, why) : MMQ_OK;
        }
    }
    if (err == MMQ_OK && watch != NULL) {
        (void)watch->at(watch->context, "moving rows", m.done, m.total);
    }
    for (int i = 0; i < TASK_COUNT; i++) {
        mmq_finalize(&m.tasks[i]);
    }
    return err;
}
