/* Inside mmq_store_check: what its parts share. */
#ifndef MMQ_STORE_CHECK_H
#define MMQ_STORE_CHECK_H

#include "workers/store/handle.h"

enum { MMQ_CHECK_WINDOW = 1 << 25 }; /* rowids looked at together, a bit each */

typedef struct mmq_checker {
    mmq_store *store;
    const mmq_store_watch *watch;
    mmq_store_sums *sums;
    int64_t rows_total;    /* as the records have it; for the progress */
    bool has_gaps;         /* the store has the tables of prunes */
    uint64_t *seen;        /* MMQ_CHECK_WINDOW bits */
    mmq_snapshot snapshot; /* of the read transaction */
} mmq_checker;

/* A metric to check: what its record says, and what its blocks sum up to. */
typedef struct mmq_metric_check {
    char name[MMQ_UID_MAX + 16]; /* "metric UID" */
    int64_t key;
    bool recorded; /* the record is whole; else there is nothing to compare with */
    mmq_metric_head head;
    bool has_rows;
    int64_t last_timestamp, unscored;
} mmq_metric_check;

/* Counts a fault and tells the watch. */
void mmq_check_fault(mmq_checker *checker, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Damage becomes a fault of `what` and MMQ_OK; other errors stay. */
mmq_err mmq_check_settle(mmq_checker *checker, const char *what, mmq_err err,
                         const mmq_why *why) MMQ_MUST_USE;
/* MMQ_ECLOSED once the watch does not want to go on. */
mmq_err mmq_check_tell(const mmq_checker *checker, const char *doing, int64_t done, int64_t total,
                       mmq_why *why) MMQ_MUST_USE;

/* The metric's blocks, one by one and together. In a read transaction. */
mmq_err mmq_check_blocks(mmq_checker *checker, const mmq_metric_check *metric,
                         mmq_why *why) MMQ_MUST_USE;

#endif
