/* What became of the requests: counts by kind of request and by kind of error, latencies, and
 * throughput over time. */
#ifndef MMQ_TALLY_H
#define MMQ_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/load/histogram.h"
#include "metricmq/error.h"

typedef enum mmq_load_kind {
    MMQ_LOAD_ECHO,
    MMQ_LOAD_SMALL, /* the last value of one metric */
    MMQ_LOAD_DAY,   /* one day of one metric */
    MMQ_LOAD_DUMP,  /* all rows of one metric */
    MMQ_LOAD_KINDS
} mmq_load_kind;

const char *mmq_load_kind_name(mmq_load_kind kind);

/* What was wrong with an answer, other than its status. */
typedef enum mmq_fault {
    MMQ_FAULT_NONE,
    MMQ_FAULT_TIMEOUT,       /* no (whole) answer within the timeout */
    MMQ_FAULT_LOST,          /* the connection broke */
    MMQ_FAULT_NOT_SENT,      /* the client library would not take the request */
    MMQ_FAULT_WRONG_BODY,    /* an echo that is not what was sent */
    MMQ_FAULT_MALFORMED,     /* a payload that cannot be read */
    MMQ_FAULT_WRONG_NAMES,   /* the array of names is not first, missing or there twice */
    MMQ_FAULT_FOREIGN_ROWS,  /* of another metric, or outside from and to */
    MMQ_FAULT_WRONG_ORDER,   /* of rows */
    MMQ_FAULT_REPEATED_ROWS, /* one twice */
    MMQ_FAULT_MISSING_ROWS,  /* fewer than there are */
    MMQ_FAULT_EXTRA_ROWS,    /* more than were asked for */
    MMQ_FAULT_NO_END,        /* a stream that broke */
    MMQ_FAULTS
} mmq_fault;

/* E.g. "wrong_order"; static storage. */
const char *mmq_fault_name(mmq_fault fault);

/* How one request ended. Good: no fault and status 200. */
typedef struct mmq_outcome {
    mmq_fault fault;
    int status; /* counts if there is no fault */
    uint64_t rows, bytes, pages;
} mmq_outcome;

bool mmq_outcome_good(const mmq_outcome *outcome);

enum { MMQ_STATUS_LEAST = 100, MMQ_STATUS_MOST = 599 };

/* All requests of one kind. */
typedef struct mmq_tally {
    uint64_t requests; /* that ended, well or not */
    uint64_t good;
    uint64_t in_time; /* good ones within the timeout, counted from when they were due */
    uint64_t rows, bytes, pages;
    uint64_t faults[MMQ_FAULTS];
    uint64_t statuses[MMQ_STATUS_MOST - MMQ_STATUS_LEAST + 1]; /* other than good ones' */
    mmq_histogram latency;                                     /* of good ones, nanoseconds */
    mmq_histogram refused;                                     /* the same of answers 503 */
} mmq_tally;

void mmq_tally_add(mmq_tally *tally, const mmq_outcome *outcome, int64_t latency_ns,
                   int64_t timeout_ns);
void mmq_tally_merge(mmq_tally *into, const mmq_tally *from);
uint64_t mmq_tally_errors(const mmq_tally *tally);
/* Walks over the errors that occurred: *at begins at 0; false after the last. name: the fault's or
 * the status in digits. */
bool mmq_tally_next_error(const mmq_tally *tally, size_t *at, char name[24], uint64_t *count);

/* Requests that ended in one second. */
typedef struct mmq_second {
    uint64_t good[MMQ_LOAD_KINDS];
    uint64_t errors;
} mmq_second;

typedef struct mmq_series {
    mmq_second *seconds;
    size_t count;
    size_t capacity;
} mmq_series;

void mmq_series_clear(mmq_series *series);
/* Room for that many seconds: to be made once, before the clock runs. */
mmq_err mmq_series_reserve(mmq_series *series, size_t seconds) MMQ_MUST_USE;
/* Counts an end that many nanoseconds after the series' beginning; what lies outside is left out.
 */
void mmq_series_add(mmq_series *series, int64_t at_ns, mmq_load_kind kind, bool good);

#endif
