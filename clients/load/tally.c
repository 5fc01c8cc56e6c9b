/* Errors are a table of counts, indexed by fault and by status, so that counting is one addition
 * and nothing a peer sends makes it grow. */
#include "clients/load/tally.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/clock.h"

enum { STATUSES = MMQ_STATUS_MOST - MMQ_STATUS_LEAST + 1 };

const char *mmq_load_kind_name(mmq_load_kind kind)
{
    static const char *const names[MMQ_LOAD_KINDS] = {"echo", "small", "day", "dump"};
    return names[kind];
}

const char *mmq_fault_name(mmq_fault fault)
{
    static const char *const names[MMQ_FAULTS] = {
        [MMQ_FAULT_NONE] = "none",
        [MMQ_FAULT_TIMEOUT] = "timeout",
        [MMQ_FAULT_LOST] = "lost",
        [MMQ_FAULT_NOT_SENT] = "not_sent",
        [MMQ_FAULT_WRONG_BODY] = "wrong_body",
        [MMQ_FAULT_MALFORMED] = "malformed",
        [MMQ_FAULT_WRONG_NAMES] = "wrong_names",
        [MMQ_FAULT_FOREIGN_ROWS] = "foreign_rows",
        [MMQ_FAULT_WRONG_ORDER] = "wrong_order",
        [MMQ_FAULT_REPEATED_ROWS] = "repeated_rows",
        [MMQ_FAULT_MISSING_ROWS] = "missing_rows",
        [MMQ_FAULT_EXTRA_ROWS] = "extra_rows",
        [MMQ_FAULT_NO_END] = "no_end",
    };
    return names[fault];
}

bool mmq_outcome_good(const mmq_outcome *outcome)
{
    return outcome->fault == MMQ_FAULT_NONE && outcome->status == 200;
}

static void count_error(mmq_tally *tally, const mmq_outcome *outcome)
{
    bool status = outcome->fault == MMQ_FAULT_NONE && outcome->status >= MMQ_STATUS_LEAST &&
                  outcome->status <= MMQ_STATUS_MOST;
    if (status) {
        tally->statuses[outcome->status - MMQ_STATUS_LEAST]++;
    } else {
        tally->faults[outcome->fault]++;
    }
}

void mmq_tally_add(mmq_tally *tally, const mmq_outcome *outcome, int64_t latency_ns,
                   int64_t timeout_ns)
{
    tally->requests++;
    tally->rows += outcome->rows;
    tally->bytes += outcome->bytes;
    tally->pages += outcome->pages;
    if (!mmq_outcome_good(outcome)) {
        count_error(tally, outcome);
        if (outcome->fault == MMQ_FAULT_NONE && outcome->status == 503) {
            mmq_histogram_add(&tally->refused, latency_ns);
        }
        return;
    }
    tally->good++;
    tally->in_time += latency_ns <= timeout_ns;
    mmq_histogram_add(&tally->latency, latency_ns);
}

void mmq_tally_merge(mmq_tally *into, const mmq_tally *from)
{
    into->requests += from->requests;
    into->good += from->good;
    into->in_time += from->in_time;
    into->rows += from->rows;
    into->bytes += from->bytes;
    into->pages += from->pages;
    for (size_t i = 0; i < MMQ_FAULTS; i++) {
        into->faults[i] += from->faults[i];
    }
    for (size_t i = 0; i < STATUSES; i++) {
        into->statuses[i] += from->statuses[i];
    }
    mmq_histogram_merge(&into->latency, &from->latency);
    mmq_histogram_merge(&into->refused, &from->refused);
}

uint64_t mmq_tally_errors(const mmq_tally *tally)
{
    return tally->requests - tally->good;
}

bool mmq_tally_next_error(const mmq_tally *tally, size_t *at, char name[24], uint64_t *count)
{
    while (*at < MMQ_FAULTS + STATUSES) {
        size_t i = (*at)++;
        *count = i < MMQ_FAULTS ? tally->faults[i] : tally->statuses[i - MMQ_FAULTS];
        if (*count == 0) {
            continue;
        }
        if (i < MMQ_FAULTS) {
            snprintf(name, 24, "%s", mmq_fault_name((mmq_fault)i));
        } else {
            snprintf(name, 24, "%zu", i - MMQ_FAULTS + MMQ_STATUS_LEAST);
        }
        return true;
    }
    return false;
}

void mmq_series_clear(mmq_series *series)
{
    free(series->seconds);
    *series = (mmq_series){0};
}

mmq_err mmq_series_reserve(mmq_series *series, size_t seconds)
{
    series->seconds = calloc(seconds, sizeof *series->seconds);
    series->capacity = series->seconds ? seconds : 0;
    return series->seconds ? MMQ_OK : MMQ_ENOMEM;
}

void mmq_series_add(mmq_series *series, int64_t at_ns, mmq_load_kind kind, bool good)
{
    size_t second = (size_t)(at_ns / MMQ_NS_PER_S);
    if (at_ns < 0 || second >= series->capacity) {
        return;
    }
    series->count = second >= series->count ? second + 1 : series->count;
    series->seconds[second].good[kind] += good;
    series->seconds[second].errors += !good;
}
