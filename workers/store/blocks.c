/* Heads are read column by column and believed only if their check agrees; data only if it is what
 * its head says. One block is open at a time, in memory that the engine owns until the
 * next. */
#include "workers/store/blocks.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "lib/calendar.h"
#include "lib/check.h"

/* A walk asks for so many heads at once, and goes on behind them: other statements run in between,
 * and an engine may have to keep what it was given. Of rowids the first block or two mostly do. */
enum { PIECE = 64, ROWID_PIECE = 4 };

/* ---- heads ------------------------------------------------------------------------------ */

static bool column_key(mmq_prepared *statement, int column, mmq_row_key *out)
{
    return mmq_column_int(statement, column, MMQ_TIME_MIN, MMQ_TIME_MAX, &out->timestamp) &&
           mmq_column_int(statement, column + 1, 1, MMQ_ROWID_MAX, &out->rowid);
}

static bool column_head(mmq_prepared *statement, int64_t metric, mmq_stored_block *out)
{
    mmq_block_head *head = &out->head;
    int64_t data_check, head_check;
    out->metric = metric;
    if (!column_key(statement, 0, &head->first) || !column_key(statement, 2, &head->last) ||
        !mmq_column_int(statement, 4, 1, MMQ_ROWID_MAX, &head->least_rowid) ||
        !mmq_column_int(statement, 5, head->least_rowid, MMQ_ROWID_MAX, &head->greatest_rowid) ||
        !mmq_column_int(statement, 6, 1, MMQ_BLOCK_ROWS, &head->rows) ||
        !mmq_column_int(statement, 7, 0, head->rows, &head->unscored) ||
        !mmq_column_score(statement, 8, &head->greatest_score) ||
        !mmq_column_int(statement, 9, 1, INT64_MAX, &out->data) ||
        !mmq_column_int(statement, 10, INT64_MIN, INT64_MAX, &data_check) ||
        !mmq_column_int(statement, 11, INT64_MIN, INT64_MAX, &head_check)) {
        return false;
    }
    head->data_check = (uint64_t)data_check;
    return !mmq_key_is_before(head->last, head->first) &&
           mmq_block_head_check(metric, head) == (uint64_t)head_check;
}

mmq_err mmq_blocks_damaged(mmq_store *store, const mmq_stored_block *stored, const char *what,
                           mmq_why *why)
{
    char name[100];
    (void)snprintf(name, sizeof name, "%s block of metric %" PRId64 " from timestamp %" PRId64,
                   what, stored->metric, stored->head.first.timestamp);
    return mmq_damaged(store, name, why);
}

static mmq_err step_head(mmq_store *store, mmq_prepared *statement, int64_t metric, bool *found,
                         mmq_stored_block *out, mmq_why *why)
{
    mmq_err err = mmq_step(store, statement, found, why);
    if (err != MMQ_OK || !*found || column_head(statement, metric, out)) {
        return err;
    }
    out->head.first.timestamp = mmq_column_number(statement, 0);
    mmq_done(statement);
    return mmq_blocks_damaged(store, out, "the head of the", why);
}

static mmq_err find_head(mmq_store *store, mmq_query query, int64_t metric, mmq_row_key key,
                         bool *found, mmq_stored_block *out, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, query);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_int(statement, 2, key.timestamp);
    mmq_bind_int(statement, 3, key.rowid);
    mmq_err err = step_head(store, statement, metric, found, out, why);
    mmq_done(statement);
    return err;
}

mmq_err mmq_blocks_at(mmq_store *store, int64_t metric, mmq_row_key key, bool *found,
                      mmq_stored_block *out, mmq_why *why)
{
    mmq_err err = find_head(store, MMQ_Q_BLOCK_AT, metric, key, found, out, why);
    return err == MMQ_OK && *found && mmq_key_is_before(key, out->head.first)
               ? mmq_blocks_damaged(store, out, "the order of the", why)
               : err;
}

mmq_err mmq_blocks_after(mmq_store *store, int64_t metric, mmq_row_key key, bool *found,
                         mmq_stored_block *out, mmq_why *why)
{
    mmq_err err = find_head(store, MMQ_Q_BLOCK_AFTER, metric, key, found, out, why);
    return err == MMQ_OK && *found && !mmq_key_is_before(key, out->head.first)
               ? mmq_blocks_damaged(store, out, "the order of the", why)
               : err;
}

mmq_err mmq_blocks_from(mmq_store *store, int64_t metric, mmq_row_key key, bool *found,
                        mmq_stored_block *out, mmq_why *why)
{
    mmq_err err = find_head(store, MMQ_Q_BLOCK_FROM, metric, key, found, out, why);
    const bool before = err == MMQ_OK && *found && !mmq_key_is_before(key, out->head.last);
    return before ? mmq_blocks_after(store, metric, key, found, out, why) : err;
}

static void ask_rowid(mmq_store *store, const mmq_rowid_walk *walk)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_BLOCK_BY_ROWID);
    mmq_bind_int(statement, 1, walk->metric);
    mmq_bind_int(statement, 2, walk->most);
    mmq_bind_int(statement, 3, walk->piece);
}

void mmq_blocks_begin_rowid(mmq_store *store, int64_t metric, int64_t rowid, mmq_rowid_walk *out)
{
    *out = (mmq_rowid_walk){.metric = metric, .most = rowid, .piece = ROWID_PIECE};
    ask_rowid(store, out);
}

mmq_err mmq_blocks_next_rowid(mmq_store *store, mmq_rowid_walk *walk, bool *found,
                              mmq_stored_block *out, mmq_why *why)
{
    if (walk->taken == walk->piece) {
        walk->taken = 0;
        walk->piece = PIECE;
        ask_rowid(store, walk);
    }
    mmq_err err =
        step_head(store, store->statements[MMQ_Q_BLOCK_BY_ROWID], walk->metric, found, out, why);
    if (err == MMQ_OK && *found && out->head.least_rowid > walk->most) {
        err = mmq_blocks_damaged(store, out, "the order of the", why);
    }
    if (err == MMQ_OK && *found) {
        walk->taken++;
        walk->most = out->head.least_rowid - 1;
    }
    return err;
}

void mmq_blocks_end_rowid(mmq_store *store)
{
    mmq_done(store->statements[MMQ_Q_BLOCK_BY_ROWID]);
}

/* ---- heads with what they say of values -------------------------------------------------- */

/* A reader prepares it in the transaction that wants it: a writer may have brought the store to a
 * form that has the column meanwhile. Until then there is nothing in its place. */
static mmq_err find_walk(mmq_store *store, mmq_query *out, mmq_why *why)
{
    int64_t exists = 0;
    bool row;
    mmq_err err = MMQ_OK;
    *out = MMQ_Q_BLOCKS;
    if (store->statements[*out] != NULL) {
        return MMQ_OK;
    }
    err = mmq_read_int(store, mmq_statement(store, MMQ_Q_HAS_VALUES), &row, &exists, "its schema",
                       why);
    *out = exists != 0 ? MMQ_Q_BLOCKS : MMQ_Q_BLOCKS_EARLIER;
    return err == MMQ_OK ? mmq_statement_prepare(store, *out, why) : err;
}

static void ask_blocks(mmq_block_walk *walk, mmq_row_key key)
{
    walk->taken = 0;
    walk->asked = key;
    mmq_done(walk->statement);
    mmq_bind_int(walk->statement, 1, walk->metric);
    mmq_bind_int(walk->statement, 2, key.timestamp);
    mmq_bind_int(walk->statement, 3, key.rowid);
    mmq_bind_int(walk->statement, 4, PIECE);
}

mmq_err mmq_blocks_begin(mmq_store *store, int64_t metric, mmq_row_key key, mmq_block_walk *out,
                         mmq_why *why)
{
    mmq_query query;
    mmq_err err = find_walk(store, &query, why);
    if (err == MMQ_OK) {
        *out = (mmq_block_walk){.statement = mmq_statement(store, query), .metric = metric};
        ask_blocks(out, key);
    }
    return err;
}

static mmq_block_said column_block(mmq_block_walk *walk)
{
    mmq_prepared *statement = walk->statement;
    mmq_stored_block *block = &walk->block;
    if (!column_head(statement, walk->metric, block)) {
        block->head.first.timestamp = mmq_column_number(statement, 0);
        return MMQ_SAID_DAMAGED;
    }
    if (mmq_column_is_null(statement, 12)) {
        return MMQ_SAID_HEAD;
    }
    size_t size;
    const void *data = mmq_column_blob(statement, 12, &size);
    return data != NULL &&
                   mmq_block_values_read(data, size, walk->metric, &block->head, &walk->values)
               ? MMQ_SAID_ALL
               : MMQ_SAID_VALUES_DAMAGED;
}

mmq_err mmq_blocks_next(mmq_store *store, mmq_block_walk *walk, bool *found, mmq_why *why)
{
    if (walk->taken == PIECE) {
        /* Behind a head that is damaged, too: its place is what the table has. */
        if (!mmq_key_is_before(walk->asked, walk->place) || walk->place.rowid == INT64_MAX) {
            return mmq_damaged(store, "the order of blocks", why);
        }
        ask_blocks(walk, (mmq_row_key){walk->place.timestamp, walk->place.rowid + 1});
    }
    mmq_err err = mmq_step(store, walk->statement, found, why);
    if (err == MMQ_OK && *found) {
        walk->said = column_block(walk);
        walk->place.timestamp = mmq_column_number(walk->statement, 0);
        walk->place.rowid = mmq_column_number(walk->statement, 1);
        walk->taken++;
    }
    return err;
}

/* ---- data ------------------------------------------------------------------------------- */

void mmq_blocks_close(mmq_store *store)
{
    store->open_data = 0;
    mmq_done(store->statements[MMQ_Q_BLOCK_DATA]);
}

mmq_err mmq_blocks_open(mmq_store *store, const mmq_stored_block *stored, mmq_why *why)
{
    if (store->open_data == stored->data && store->open_check == stored->head.data_check) {
        return MMQ_OK;
    }
    mmq_blocks_close(store);
    mmq_prepared *statement = store->statements[MMQ_Q_BLOCK_DATA];
    mmq_bind_int(statement, 1, stored->metric);
    mmq_bind_int(statement, 2, stored->data);
    bool row;
    mmq_err err = mmq_step(store, statement, &row, why);
    if (err != MMQ_OK) {
        return err;
    }
    size_t size = 0;
    const void *data = row ? mmq_column_blob(statement, 0, &size) : NULL;
    if (data == NULL || !mmq_block_open(&stored->head, data, size, store->block)) {
        mmq_blocks_close(store);
        return mmq_blocks_damaged(store, stored, "the data of the", why);
    }
    store->open_data = stored->data;
    store->open_check = stored->head.data_check;
    return MMQ_OK;
}

/* ---- writing ---------------------------------------------------------------------------- */

static mmq_err set_data(mmq_store *store, const mmq_stored_block *old, const void *data,
                        size_t size, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_SET_BLOCK_DATA);
    mmq_bind_int(statement, 1, old->metric);
    mmq_bind_int(statement, 2, old->data);
    mmq_bind_blob(statement, 3, data, size);
    return mmq_run(store, statement, why);
}

/* *key: of the new data. */
static mmq_err add_data(mmq_store *store, int64_t metric, const void *data, size_t size,
                        int64_t *key, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_ADD_BLOCK_DATA);
    mmq_bind_int(statement, 1, metric);
    mmq_bind_blob(statement, 2, data, size);
    return mmq_read_key(store, statement, key, why);
}

static mmq_err run_with_head(mmq_store *store, mmq_query query, const mmq_stored_block *stored,
                             const mmq_block_values *values, mmq_why *why)
{
    uint8_t packed[MMQ_BLOCK_VALUES];
    const mmq_block_head *head = &stored->head;
    const int64_t columns[] = {
        stored->metric,   head->first.timestamp, head->first.rowid,    head->last.timestamp,
        head->last.rowid, head->least_rowid,     head->greatest_rowid, head->rows,
        head->unscored,
    };
    mmq_prepared *statement = mmq_statement(store, query);
    int column = 1;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        mmq_bind_int(statement, column++, columns[i]);
    }
    mmq_bind_score(statement, column++, head->greatest_score);
    mmq_bind_int(statement, column++, stored->data);
    mmq_bind_int(statement, column++, (int64_t)head->data_check);
    mmq_bind_int(statement, column++, (int64_t)mmq_block_head_check(stored->metric, head));
    mmq_block_values_write(values, stored->metric, head, packed);
    mmq_bind_blob(statement, column, packed, sizeof packed);
    return mmq_run(store, statement, why);
}

static mmq_err drop_head(mmq_store *store, const mmq_stored_block *old, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_DROP_BLOCK);
    mmq_bind_int(statement, 1, old->metric);
    mmq_bind_int(statement, 2, old->head.first.timestamp);
    mmq_bind_int(statement, 3, old->head.first.rowid);
    return mmq_run(store, statement, why);
}

mmq_err mmq_blocks_put_encoded(mmq_store *store, int64_t metric, const mmq_stored_block *old,
                               const mmq_block_head *head, const mmq_block_values *values,
                               const void *data, size_t size, mmq_why *why)
{
    mmq_blocks_close(store);
    mmq_stored_block stored = {.metric = metric, .head = *head};
    stored.data = old != NULL ? old->data : 0;
    mmq_err err = old != NULL ? set_data(store, old, data, size, why)
                              : add_data(store, metric, data, size, &stored.data, why);
    const bool moved = old == NULL || old->head.first.timestamp != head->first.timestamp ||
                       old->head.first.rowid != head->first.rowid;
    if (err == MMQ_OK && old != NULL && moved) {
        err = drop_head(store, old, why);
    }
    const mmq_query query = moved ? MMQ_Q_ADD_BLOCK : MMQ_Q_SET_BLOCK;
    return err == MMQ_OK ? run_with_head(store, query, &stored, values, why) : err;
}

mmq_err mmq_blocks_put(mmq_store *store, int64_t metric, const mmq_stored_block *old,
                       const mmq_write_rows *rows, size_t from, size_t count, mmq_why *why)
{
    mmq_block_head head;
    const size_t size = mmq_block_encode(rows, from, count, store->encoded, &head);
    const mmq_block_values values = mmq_block_values_of(rows->value + from, count);
    return mmq_blocks_put_encoded(store, metric, old, &head, &values, store->encoded, size, why);
}

mmq_err mmq_blocks_drop(mmq_store *store, const mmq_stored_block *old, mmq_why *why)
{
    mmq_blocks_close(store);
    mmq_err err = drop_head(store, old, why);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_DROP_BLOCK_DATA);
    mmq_bind_int(statement, 1, old->metric);
    mmq_bind_int(statement, 2, old->data);
    return mmq_run(store, statement, why);
}

/* ---- what heads of version 3 do not say -------------------------------------------------- */

static mmq_err set_values(mmq_store *store, const mmq_stored_block *stored, mmq_why *why)
{
    double value[MMQ_BLOCK_ROWS];
    uint8_t packed[MMQ_BLOCK_VALUES];
    mmq_err err = mmq_blocks_open(store, stored, why);
    if (err != MMQ_OK) {
        return err;
    }
    const mmq_block *block = store->block;
    if (!mmq_doubles_decode(&block->value, 0, block->count, value)) {
        return mmq_blocks_damaged(store, stored, "the data of the", why);
    }
    const mmq_block_values values = mmq_block_values_of(value, block->count);
    mmq_block_values_write(&values, stored->metric, &stored->head, packed);
    mmq_blocks_close(store);
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_SET_VALUES);
    mmq_bind_int(statement, 1, stored->metric);
    mmq_bind_int(statement, 2, stored->head.first.timestamp);
    mmq_bind_int(statement, 3, stored->head.first.rowid);
    mmq_bind_blob(statement, 4, packed, sizeof packed);
    err = mmq_run(store, statement, why);
    return err == MMQ_OK && mmq_changes(store) == 0
               ? mmq_blocks_damaged(store, stored, "the index of the", why)
               : err;
}

mmq_err mmq_blocks_complete(mmq_store *store, size_t most, bool *left, mmq_why *why)
{
    int64_t metric;
    mmq_err err = MMQ_OK;
    *left = true;
    for (size_t i = 0; i < most && err == MMQ_OK && *left; i++) {
        mmq_stored_block stored;
        err = mmq_read_int(store, mmq_statement(store, MMQ_Q_INCOMPLETE), left, &metric,
                           "a list of blocks", why);
        if (err == MMQ_OK && *left) {
            mmq_prepared *statement = mmq_statement(store, MMQ_Q_BLOCK_INCOMPLETE);
            mmq_bind_int(statement, 1, metric);
            err = step_head(store, statement, metric, left, &stored, why);
            mmq_done(statement);
        }
        if (err == MMQ_OK && *left) {
            err = set_values(store, &stored, why);
        }
    }
    return err;
}
