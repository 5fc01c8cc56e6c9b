/* Records of metrics, and the count of rows without a score. */
#include "workers/store/handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/check.h"
#include "metricmq/unpack.h"

enum { COLUMN_STATUS = 14, COLUMN_POLL_INTERVAL, COLUMN_LAST_TIMESTAMP };

enum { PIECE = 64 }; /* records that a walk asks for at once */

/* The text columns of MMQ_Q_METRIC. */
static const struct text_column {
    int column;
    bool optional;
    size_t offset; /* in mmq_metric */
} text_columns[] = {
    {5, false, offsetof(mmq_metric, datasource)},  {6, false, offsetof(mmq_metric, identity)},
    {7, false, offsetof(mmq_metric, name)},        {8, false, offsetof(mmq_metric, description)},
    {9, false, offsetof(mmq_metric, server)},      {10, false, offsetof(mmq_metric, location)},
    {11, false, offsetof(mmq_metric, parameters)}, {12, true, offsetof(mmq_metric, message)},
    {13, true, offsetof(mmq_metric, tag_name)},
};
enum { TEXT_COLUMNS = sizeof text_columns / sizeof *text_columns };

static char **text_of(mmq_metric *metric, size_t i)
{
    return (char **)(void *)((char *)metric + text_columns[i].offset);
}

void mmq_metric_clear(mmq_metric *metric)
{
    for (size_t i = 0; i < TEXT_COLUMNS; i++) {
        free(*text_of(metric, i));
    }
    memset(metric, 0, sizeof *metric);
}

static mmq_err copy_text(mmq_store *store, mmq_prepared *statement, const struct text_column *spec,
                         char **out, mmq_why *why)
{
    if (spec->optional && mmq_column_is_null(statement, spec->column)) {
        return MMQ_OK;
    }
    size_t size;
    const char *text = mmq_column_text(statement, spec->column, &size);
    if (text == NULL || memchr(text, '\0', size) != NULL || !mmq_utf8_valid(text, size)) {
        return mmq_damaged(store, "a metric's text", why);
    }
    *out = strndup(text, size);
    return *out != NULL ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "no memory for a metric's record");
}

static mmq_err copy_record(mmq_store *store, mmq_prepared *statement, mmq_metric *out, mmq_why *why)
{
    mmq_err err = mmq_column_head(store, statement, &out->head, why);
    for (size_t i = 0; i < TEXT_COLUMNS && err == MMQ_OK; i++) {
        err = copy_text(store, statement, &text_columns[i], text_of(out, i), why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    out->has_rows = !mmq_column_is_null(statement, COLUMN_LAST_TIMESTAMP);
    if (!mmq_column_int(statement, COLUMN_STATUS, 0, INT32_MAX, &out->status) ||
        !mmq_column_int(statement, COLUMN_POLL_INTERVAL, 0, INT32_MAX, &out->poll_interval) ||
        out->has_rows != (out->head.last_rowid > 0) ||
        (out->has_rows && !mmq_column_int(statement, COLUMN_LAST_TIMESTAMP, MMQ_TIME_MIN,
                                          MMQ_TIME_MAX, &out->last_timestamp))) {
        return mmq_damaged(store, "a metric's record", why);
    }
    return MMQ_OK;
}

/* The statement may have more. */
static mmq_err next_record(mmq_store *store, mmq_prepared *statement, bool *found, mmq_metric *out,
                           mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE);
    memset(out, 0, sizeof *out);
    mmq_err err = mmq_step(store, statement, found, why);
    if (err == MMQ_OK && *found) {
        err = copy_record(store, statement, out, why);
    }
    if (err != MMQ_OK) {
        mmq_metric_clear(out);
    }
    return err;
}

mmq_err mmq_metric_step(mmq_store *store, mmq_prepared *statement, bool *found, mmq_metric *out,
                        mmq_why *why)
{
    mmq_err err = next_record(store, statement, found, out, why);
    mmq_done(statement);
    return err;
}

mmq_err mmq_store_metric(mmq_store *store, const char *uid, mmq_metric *out, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_METRIC);
    mmq_bind_text(statement, 1, uid);
    bool found;
    mmq_err err = mmq_metric_step(store, statement, &found, out, why);
    if (err == MMQ_OK && found && strcmp(out->head.uid, uid) != 0) {
        mmq_metric_clear(out);
        return mmq_damaged(store, "a metric's uid", why);
    }
    return err == MMQ_OK && !found ? mmq_fail(why, MMQ_ENOTFOUND, "there is no metric %.100s", uid)
                                   : err;
}

static void ask_after(mmq_store *store, const char *uid, int64_t count)
{
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_METRICS_AFTER);
    mmq_bind_text(statement, 1, uid);
    mmq_bind_int(statement, 2, count);
}

static mmq_err next_after(mmq_store *store, const char *uid, mmq_metric *out, mmq_why *why)
{
    bool found;
    mmq_err err = next_record(store, store->statements[MMQ_Q_METRICS_AFTER], &found, out, why);
    if (err == MMQ_OK && found && strcmp(out->head.uid, uid) <= 0) {
        mmq_metric_clear(out);
        return mmq_damaged(store, "the order of uids", why);
    }
    return err == MMQ_OK && !found ? mmq_fail(why, MMQ_ENOTFOUND, "there are no more metrics")
                                   : err;
}

mmq_err mmq_store_metric_after(mmq_store *store, const char *after, mmq_metric *out, mmq_why *why)
{
    ask_after(store, after, 1);
    mmq_err err = next_after(store, after, out, why);
    mmq_store_metrics_end(store);
    return err;
}

static void ask_piece(mmq_store *store, mmq_metric_walk *walk)
{
    walk->taken = 0;
    memcpy(walk->asked, walk->uid, sizeof walk->asked);
    ask_after(store, walk->asked, PIECE);
}

void mmq_store_metrics_begin(mmq_store *store, const char *after, mmq_metric_walk *out)
{
    (void)snprintf(out->uid, sizeof out->uid, "%s", after);
    ask_piece(store, out);
}

mmq_err mmq_store_metrics_next(mmq_store *store, mmq_metric_walk *walk, mmq_metric *out,
                               mmq_why *why)
{
    if (walk->taken == PIECE) {
        ask_piece(store, walk);
    }
    mmq_err err = next_after(store, walk->uid, out, why);
    if (err == MMQ_OK) {
        walk->taken++;
        memcpy(walk->uid, out->head.uid, sizeof walk->uid);
    }
    return err;
}

void mmq_store_metrics_end(mmq_store *store)
{
    mmq_done(store->statements[MMQ_Q_METRICS_AFTER]);
}

mmq_err mmq_store_unscored(mmq_store *store, int64_t *rows, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE);
    mmq_prepared *statement = mmq_statement(store, MMQ_Q_UNSCORED);
    bool found;
    mmq_err err = mmq_read_int(store, statement, &found, rows, "a count of rows", why);
    return err == MMQ_OK && !found ? mmq_damaged(store, "a count of rows", why) : err;
}
