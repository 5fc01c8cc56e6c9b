/* A value below 2^(BITS+1) is its own bucket. Of a greater one, the leading one and the BITS bits
 * after it choose the bucket; `octave`, the number of bits that are dropped, is the logarithm of
 * the bucket's width. A bucket stands for its middle. */
#include "clients/load/histogram.h"

#include <math.h>
#include <string.h>

enum { BUCKETS = sizeof((mmq_histogram *)NULL)->buckets / sizeof(uint64_t) };

void mmq_histogram_init(mmq_histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

static size_t bucket_of(int64_t value)
{
    if (value < 1 << (MMQ_HISTOGRAM_BITS + 1)) {
        return (size_t)value;
    }
    int octave = 63 - __builtin_clzll((unsigned long long)value) - MMQ_HISTOGRAM_BITS;
    size_t bucket = ((size_t)octave << MMQ_HISTOGRAM_BITS) + (size_t)(value >> octave);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static int64_t middle_of(size_t bucket)
{
    if (bucket < 1 << (MMQ_HISTOGRAM_BITS + 1)) {
        return (int64_t)bucket;
    }
    size_t octave = (bucket >> MMQ_HISTOGRAM_BITS) - 1;
    int64_t lower = (int64_t)(bucket - (octave << MMQ_HISTOGRAM_BITS)) << octave;
    return lower + (INT64_C(1) << octave) / 2;
}

void mmq_histogram_add(mmq_histogram *histogram, int64_t value)
{
    value = value > 0 ? value : 0;
    if (histogram->count == 0 || value < histogram->least) {
        histogram->least = value;
    }
    if (value > histogram->most) {
        histogram->most = value;
    }
    histogram->count++;
    histogram->sum += (double)value;
    histogram->buckets[bucket_of(value)]++;
}

void mmq_histogram_merge(mmq_histogram *into, const mmq_histogram *from)
{
    if (from->count == 0) {
        return;
    }
    if (into->count == 0 || from->least < into->least) {
        into->least = from->least;
    }
    if (from->most > into->most) {
        into->most = from->most;
    }
    into->count += from->count;
    into->sum += from->sum;
    for (size_t i = 0; i < BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

int64_t mmq_histogram_percentile(const mmq_histogram *histogram, double percent)
{
    double rank = ceil(percent / 100 * (double)histogram->count);
    if (rank >= (double)histogram->count) {
        return histogram->most; /* the last of all: exactly known */
    }
    uint64_t seen = 0;
    size_t bucket = 0;
    while ((seen += histogram->buckets[bucket]) == 0 || (double)seen < rank) {
        bucket++;
    }
    int64_t value = middle_of(bucket);
    value = value > histogram->least ? value : histogram->least;
    return value < histogram->most && bucket < BUCKETS - 1 ? value : histogram->most;
}

double mmq_histogram_mean(const mmq_histogram *histogram)
{
    return histogram->count > 0 ? histogram->sum / (double)histogram->count : 0;
}
