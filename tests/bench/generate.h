/* Rows that the benchmarks read: generated from a seed, shaped like those of the Numenta Anomaly
 * Benchmark (a row in five minutes with jitter and gaps, values of two or three decimals, scores
 * that hold for a while, raw scores that are mostly 0). One row in a thousand has an anomaly score
 * of 0.9 or more; as in those files, such rows come a few together, so that about one stretch of
 * 1,024 rows in four has any. Timestamps strictly ascend: every peer can hold the same rows. */
#ifndef MMQ_BENCH_GENERATE_H
#define MMQ_BENCH_GENERATE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/splitmix.h"

/* Some rows by column; all are scored. */
typedef struct bench_rows {
    size_t count;
    int64_t *timestamp;
    double *value, *anomaly_score, *raw_score;
} bench_rows;

/* One metric being generated. */
typedef struct bench_generator {
    mmq_splitmix random;
    int64_t timestamp; /* of the row before */
    int64_t steps;     /* the value, in units of its last decimal */
    double unit;       /* how many of them are one */
    double score;      /* of the row before */
    int incident;      /* rows left in which high scores may be */
} bench_generator;

enum { BENCH_UID_SIZE = 33 };

/* Room for rows; free with bench_rows_clear. */
void bench_rows_init(bench_rows *rows, size_t capacity);
void bench_rows_clear(bench_rows *rows);
/* The uid of metric `number`: 32 hexadecimal digits, as those that are made of names. */
void bench_uid(uint64_t seed, int64_t number, char out[BENCH_UID_SIZE]);
void bench_generator_init(bench_generator *generator, uint64_t seed, int64_t number);
/* Makes the next `count` rows. */
void bench_generate(bench_generator *generator, bench_rows *rows, size_t count);

#endif
