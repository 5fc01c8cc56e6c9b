/* Latencies, counted in buckets whose width grows with the value (log-linear, after Gil Tene's
 * HdrHistogram): a percentile is off by at most 1/256 of its value, whatever came; below 256 ns it
 * is exact. One array of fixed size, no allocation. */
#ifndef MMQ_HISTOGRAM_H
#define MMQ_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    MMQ_HISTOGRAM_BITS = 7,    /* of a value count, below its leading one */
    MMQ_HISTOGRAM_OCTAVES = 33 /* values of 2^40 ns (18 minutes) and more share the last bucket */
};

typedef struct mmq_histogram {
    uint64_t count;
    int64_t least, most; /* exact */
    double sum;
    uint64_t buckets[(MMQ_HISTOGRAM_OCTAVES + 1) << MMQ_HISTOGRAM_BITS];
} mmq_histogram;

void mmq_histogram_init(mmq_histogram *histogram);
/* Negative values count as 0. */
void mmq_histogram_add(mmq_histogram *histogram, int64_t value);
void mmq_histogram_merge(mmq_histogram *into, const mmq_histogram *from);
/* The value that `percent` of all values do not exceed (nearest rank); 0 if there are none. */
int64_t mmq_histogram_percentile(const mmq_histogram *histogram, double percent);
double mmq_histogram_mean(const mmq_histogram *histogram);

#endif
