/* What the programs of the benchmarks share: how they end, measure and say what they measured. Each
 * prints one line, a JSON object with at least `cpu` and `wall`, in seconds. */
#ifndef MMQ_BENCH_TOOL_H
#define MMQ_BENCH_TOOL_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

/* Says why and ends the program with exit status 1. */
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Dies unless err is MMQ_OK. */
void bench_must(mmq_err err, const mmq_why *why);
void *bench_alloc(size_t size);
/* A whole number of at least 0; dies on anything else. */
int64_t bench_number(const char *text);

/* CPU time (user and system, all threads) and wall time of this process since some moment. */
typedef struct bench_clock {
    int64_t cpu_ns, wall_ns;
} bench_clock;

bench_clock bench_start(void);
bench_clock bench_since(bench_clock start);

/* One figure of a report. */
typedef struct bench_figure {
    const char *name;
    double value;
} bench_figure;

/* Prints the report: what has passed, and the figures up to one without a name. */
void bench_report(bench_clock passed, const bench_figure *figures);

/* How long many requests took, for percentiles. */
typedef struct bench_times {
    int64_t *took_ns; /* one each */
    size_t count, capacity;
} bench_times;

void bench_times_init(bench_times *times, int64_t capacity);
void bench_times_clear(bench_times *times);
void bench_times_add(bench_times *times, bench_clock passed);
/* The percentile of `share` (0.5: the median) of the wall times, in microseconds. Sorts. */
double bench_times_us(bench_times *times, double share);

#endif
