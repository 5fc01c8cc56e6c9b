/* Is a store whole? The engine's check looks at pages, records and indexes; ours at what they mean.
 *
 * Each part is a read transaction of its own, the longest a metric's: a transaction over the whole
 * store would keep a writer's log from beginning anew. Within a metric record, blocks and lengths
 * are of one commit. Damage is a fault, told and counted, and the check goes on behind it. */
#include "workers/store/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/check.h"

enum { FAULT_MAX = 400, LISTED_MAX = 20 };

/* ---- what parts share ------------------------------------------------------------------- */

void mmq_check_fault(mmq_checker *checker, const char *format, ...)
{
    char text[FAULT_MAX];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    checker->sums->faults++;
    checker->watch->fault(checker->watch->context, text);
}

mmq_err mmq_check_settle(mmq_checker *checker, const char *what, mmq_err err, const mmq_why *why)
{
    if (err != MMQ_ECORRUPT) {
        return err;
    }
    mmq_check_fault(checker, "%s: %s", what, why->text);
    return MMQ_OK;
}

mmq_err mmq_check_tell(const mmq_checker *checker, const char *doing, int64_t done, int64_t total,
                       mmq_why *why)
{
    return checker->watch->at(checker->watch->context, doing, done, total)
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECLOSED, "the check was broken off");
}

/* The number that a query gives. */
static mmq_err read_number(mmq_checker *checker, mmq_query query, int64_t *out, mmq_why *why)
{
    bool found = false;
    mmq_err err = mmq_statement_prepare(checker->store, query, why);
    return err == MMQ_OK ? mmq_read_int(checker->store, mmq_statement(checker->store, query),
                                        &found, out, "a count of rows", why)
                         : err;
}

/* ---- what tables say of each other ------------------------------------------------------ */

static const struct relation {
    const char *of, *is; /* around the number that the query gives */
    mmq_query query;
    bool of_gaps; /* asked only where there are those tables */
} relations[] = {
    {"metric key", "has blocks and is neither there nor deleted", MMQ_Q_CHECK_BLOCK_OF_NONE, false},
    {"metric key", "is both there and deleted", MMQ_Q_CHECK_BOTH, false},
    {"block data", "belongs to no block", MMQ_Q_CHECK_DATA_OF_NONE, false},
    {"block data", "belongs to several blocks", MMQ_Q_CHECK_DATA_OF_SEVERAL, false},
    {"metric key", "has pruned rows and is neither there nor deleted", MMQ_Q_CHECK_GAP_OF_NONE,
     true},
    {"metric key", "was pruned and is not there", MMQ_Q_CHECK_PRUNED_OF_NONE, true},
    {"metric key", "has pruned rows and was never pruned", MMQ_Q_CHECK_GAP_UNPRUNED, true},
};

static mmq_err list_breaches(mmq_checker *checker, const struct relation *of,
                             mmq_prepared *statement, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    bool row = true;
    for (size_t i = 0; err == MMQ_OK && row; i++) {
        err = mmq_step(checker->store, statement, &row, why);
        if (err == MMQ_OK && row && i == LISTED_MAX) {
            mmq_check_fault(checker, "and so on: of the last kind there are more than %d",
                            LISTED_MAX);
            return MMQ_OK;
        }
        if (err == MMQ_OK && row) {
            mmq_check_fault(checker, "%s %" PRId64 " %s", of->of, mmq_column_number(statement, 0),
                            of->is);
        }
    }
    return err;
}

static mmq_err check_relations(mmq_checker *checker, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    for (size_t i = 0; err == MMQ_OK && i < sizeof relations / sizeof *relations; i++) {
        if (relations[i].of_gaps && !checker->has_gaps) {
            continue;
        }
        err = mmq_statement_prepare(checker->store, relations[i].query, why);
        if (err == MMQ_OK) {
            mmq_prepared *statement = mmq_statement(checker->store, relations[i].query);
            err = list_breaches(checker, &relations[i], statement, why);
            mmq_done(statement);
        }
        err = mmq_check_settle(checker, "tables", err, why);
    }
    return err;
}

/* ---- metrics ---------------------------------------------------------------------------- */

/* Each entry is a commit that made the metric longer than it was. */
static mmq_err check_growth(mmq_checker *checker, const mmq_metric_check *metric, mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(checker->store, MMQ_Q_CHECK_GROWTH);
    mmq_bind_int(statement, 1, metric->key);
    int64_t commit = metric->head.made - 1, length = -1;
    bool row = true;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && row) {
        err = mmq_step(checker->store, statement, &row, why);
        if (err != MMQ_OK || !row) {
            break;
        }
        const int64_t later = commit + 1, longer = length + 1;
        if (!mmq_column_int(statement, 0, later, metric->head.changed, &commit) ||
            !mmq_column_int(statement, 1, longer, metric->head.last_rowid - 1, &length)) {
            mmq_check_fault(checker, "%s: its length before commit %" PRId64 " is wrong",
                            metric->name, mmq_column_number(statement, 0));
            break;
        }
    }
    mmq_done(statement);
    return err;
}

/* The columns that no reader looks at. */
static bool take_columns(mmq_checker *checker, mmq_prepared *statement, mmq_metric_check *out)
{
    int64_t forgotten;
    out->has_rows = !mmq_column_is_null(statement, 5);
    return (!out->has_rows ||
            mmq_column_int(statement, 5, MMQ_TIME_MIN, MMQ_TIME_MAX, &out->last_timestamp)) &&
           mmq_column_int(statement, 6, 0, out->head.last_rowid, &out->unscored) &&
           mmq_column_int(statement, 7, 0, checker->snapshot.commit, &forgotten) &&
           out->head.changed <= checker->snapshot.commit;
}

/* The record as a whole, as readers read it. */
static mmq_err check_record(mmq_checker *checker, mmq_metric_check *metric, mmq_why *why)
{
    mmq_metric record;
    mmq_err err = mmq_store_metric(checker->store, metric->head.uid, &record, why);
    if (err == MMQ_OK) {
        mmq_metric_clear(&record);
    } else if (err == MMQ_ENOTFOUND) { /* by an index that has lost it */
        err = mmq_fail(why, MMQ_ECORRUPT, "it cannot be found by its uid");
    }
    return err;
}

/* Takes what the statement is at. */
static mmq_err take_metric(mmq_checker *checker, mmq_prepared *statement, mmq_metric_check *out,
                           mmq_why *why)
{
    (void)snprintf(out->name, sizeof out->name, "metric key %" PRId64, out->key);
    mmq_err err = mmq_column_head(checker->store, statement, &out->head, why);
    if (err != MMQ_OK) {
        return mmq_check_settle(checker, out->name, err, why);
    }
    (void)snprintf(out->name, sizeof out->name, "metric %s", out->head.uid);
    out->recorded = take_columns(checker, statement, out);
    if (!out->recorded) {
        mmq_check_fault(checker, "%s: its record is damaged", out->name);
        return MMQ_OK;
    }
    return mmq_check_settle(checker, out->name, check_record(checker, out, why), why);
}

/* The next metric behind metric->key. Where keys do not ascend the walk would not end: it ends
 * here. */
static mmq_err next_metric(mmq_checker *checker, bool *found, mmq_metric_check *metric,
                           mmq_why *why)
{
    mmq_prepared *statement = mmq_statement(checker->store, MMQ_Q_CHECK_METRIC);
    const int64_t after = metric->key;
    *metric = (mmq_metric_check){.recorded = false};
    mmq_bind_int(statement, 1, after);
    mmq_err err = mmq_step(checker->store, statement, found, why);
    if (err == MMQ_OK && *found) {
        *found = mmq_column_int(statement, 0, after + 1, INT64_MAX, &metric->key);
        err = *found ? take_metric(checker, statement, metric, why)
                     : mmq_damaged(checker->store, "the order of the metrics", why);
    }
    mmq_done(statement);
    return err;
}

/* In a read transaction. */
static mmq_err check_metric(mmq_checker *checker, bool *found, mmq_metric_check *metric,
                            mmq_why *why)
{
    mmq_err err = next_metric(checker, found, metric, why);
    if (err != MMQ_OK || !*found) {
        return mmq_check_settle(checker, "metrics", err, why);
    }
    checker->sums->metrics++;
    err = mmq_check_settle(checker, metric->name, mmq_check_blocks(checker, metric, why), why);
    if (err == MMQ_OK && metric->recorded) {
        err = mmq_check_settle(checker, metric->name, check_growth(checker, metric, why), why);
    }
    return err;
}

static mmq_err check_metrics(mmq_checker *checker, mmq_why *why)
{
    mmq_metric_check metric = {.key = 0};
    bool found = true;
    mmq_err err = mmq_statement_prepare(checker->store, MMQ_Q_CHECK_METRIC, why);
    if (err == MMQ_OK) {
        err = mmq_statement_prepare(checker->store, MMQ_Q_CHECK_GROWTH, why);
    }
    while (err == MMQ_OK && found) {
        err = mmq_store_begin_read(checker->store, &checker->snapshot, why);
        if (err == MMQ_OK) {
            found = false;
            err = check_metric(checker, &found, &metric, why);
            mmq_store_end_read(checker->store);
        }
    }
    return err;
}

/* ---- all -------------------------------------------------------------------------------- */

/* How many rows there must be. */
static mmq_err read_total(mmq_checker *checker, mmq_why *why)
{
    int64_t has_gaps = 0, pruned = 0;
    mmq_err err = read_number(checker, MMQ_Q_CHECK_TOTAL, &checker->rows_total, why);
    if (err == MMQ_OK) {
        err = read_number(checker, MMQ_Q_HAS_GAPS, &has_gaps, why);
    }
    checker->has_gaps = has_gaps != 0;
    if (err == MMQ_OK && checker->has_gaps) {
        err = read_number(checker, MMQ_Q_CHECK_PRUNED, &pruned, why);
    }
    checker->rows_total -= pruned < checker->rows_total ? pruned : checker->rows_total;
    return err;
}

mmq_err mmq_store_check(mmq_store *store, const mmq_store_watch *watch, mmq_store_sums *out,
                        mmq_why *why)
{
    CHECK(store->phase == MMQ_PHASE_IDLE);
    *out = (mmq_store_sums){0};
    mmq_checker checker = {.store = store, .watch = watch, .sums = out};
    checker.seen = malloc(MMQ_CHECK_WINDOW / 8);
    if (checker.seen == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a check");
    }
    mmq_err err = store->engine->check(&checker, why);
    if (err == MMQ_OK) {
        err = mmq_check_settle(&checker, "tables", read_total(&checker, why), why);
    }
    if (err == MMQ_OK) {
        err = check_relations(&checker, why);
    }
    if (err == MMQ_OK) {
        err = check_metrics(&checker, why);
    }
    free(checker.seen);
    return err;
}
