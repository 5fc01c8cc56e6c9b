/* Inside mmq_store_copy: what its parts share. */
#ifndef MMQ_STORE_COPYING_H
#define MMQ_STORE_COPYING_H

#include "workers/store/copy.h"
#include "workers/store/handle.h"

/* What a transaction may cost, about, in parts of a look at a head. */
enum { MMQ_COPY_WORK = 4096, MMQ_COPY_METRIC = 16, MMQ_COPY_BLOCK = 8 };

typedef struct mmq_copying {
    mmq_store *source, *target;
    const mmq_store_watch *watch;
    mmq_copied *out;
    int64_t rows, rows_total; /* that were looked at, and are to be; total 0: who knows */
    int work;                 /* left of the transaction; below 1: it is to be ended */
} mmq_copying;

/* How far the copying of a metric has come: it may take several transactions. */
typedef struct mmq_copy_place {
    char uid[MMQ_UID_MAX + 1]; /* "": of none */
    int64_t timestamp, rowid;  /* blocks before it are the same */
} mmq_copy_place;

/* MMQ_ECLOSED once the watch does not want to go on. */
mmq_err mmq_copy_tell(const mmq_copying *copying, const char *doing, mmq_why *why) MMQ_MUST_USE;

/* Makes the target's metric what the source's is, from the place on as far as the work allows
 * (copy_metric.c). *done false: it is to be called again, with the place that it left. *again: it
 * could not be done, since the metrics' identities have changed places; the next pass can. In a
 * read transaction of the source and a write transaction of the target. */
mmq_err mmq_copy_metric(mmq_copying *copying, const mmq_metric_head *metric, mmq_copy_place *place,
                        bool *done, bool *again, mmq_why *why) MMQ_MUST_USE;
/* Both records are the same, but for keys, commits, and what their rows come to. */
bool mmq_copy_same_record(const mmq_metric *a, const mmq_metric *b);

/* Compares all of both stores, and sums it up: *sum of what both hold, if *difference is "" (else
 * it says what is not the same, a sentence's part). *commit: of the source, or -1 if it was written
 * meanwhile. Fills in metrics, blocks and rows of sums (copy_compare.c). */
mmq_err mmq_copy_compare(mmq_copying *copying, int64_t *commit, uint64_t *sum, mmq_store_sums *sums,
                         mmq_why *difference, mmq_why *why) MMQ_MUST_USE;

#endif
