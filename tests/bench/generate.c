/* See the header. Decimals are whole numbers divided by a power of ten, as a parser would read
 * them. */
#include "tests/bench/generate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/tool.h"

enum {
    START = 1388534400, /* 2014-01-01 00:00:00 UTC */
    INTERVAL_S = 300,
    GAP_MAX = 20,         /* intervals */
    INCIDENT_ROWS = 50,   /* after the first high score, others may follow */
    RAW_STEPS = 40,       /* raw scores are shares of so many columns */
    VALUE_STEPS = 100000, /* where values begin, at most */
    STEP_MOST = 120       /* from one value to the next */
};

static const double INCIDENT_SHARE = 0.00025, HIGH_SHARE = 0.08, NEW_SCORE_SHARE = 0.6,
                    RAW_ZERO_SHARE = 0.8, JITTER_SHARE = 0.05, GAP_SHARE = 0.001;

void bench_rows_init(bench_rows *rows, size_t capacity)
{
    rows->count = 0;
    rows->timestamp = bench_alloc(capacity * sizeof *rows->timestamp);
    rows->value = bench_alloc(capacity * sizeof *rows->value);
    rows->anomaly_score = bench_alloc(capacity * sizeof *rows->anomaly_score);
    rows->raw_score = bench_alloc(capacity * sizeof *rows->raw_score);
}

void bench_rows_clear(bench_rows *rows)
{
    free(rows->timestamp);
    free(rows->value);
    free(rows->anomaly_score);
    free(rows->raw_score);
    *rows = (bench_rows){0};
}

void bench_uid(uint64_t seed, int64_t number, char out[BENCH_UID_SIZE])
{
    mmq_splitmix random = {(seed << 32) + (uint64_t)number};
    uint64_t high = mmq_splitmix_next(&random), low = mmq_splitmix_next(&random);
    snprintf(out, BENCH_UID_SIZE, "%016" PRIx64 "%016" PRIx64, high, low);
}

void bench_generator_init(bench_generator *generator, uint64_t seed, int64_t number)
{
    *generator = (bench_generator){.random = {seed * UINT64_C(1000003) + (uint64_t)number},
                                   .timestamp = START - INTERVAL_S,
                                   .unit = number % 2 == 0 ? 100 : 1000,
                                   .score = 0.0301029996659};
    generator->steps = (int64_t)mmq_splitmix_below(&generator->random, VALUE_STEPS);
}

static double share(bench_generator *generator)
{
    return mmq_splitmix_share(&generator->random);
}

static int64_t next_timestamp(bench_generator *generator)
{
    double dice = share(generator);
    int64_t step = INTERVAL_S;
    if (dice < GAP_SHARE) {
        step += INTERVAL_S * (1 + (int64_t)mmq_splitmix_below(&generator->random, GAP_MAX));
    } else if (dice < GAP_SHARE + JITTER_SHARE) {
        step += (int64_t)mmq_splitmix_below(&generator->random, INTERVAL_S) - INTERVAL_S / 2;
    }
    return generator->timestamp += step;
}

static double next_value(bench_generator *generator)
{
    int64_t step = (int64_t)mmq_splitmix_below(&generator->random, 2 * STEP_MOST + 1) - STEP_MOST;
    generator->steps = llabs(generator->steps + step);
    return (double)generator->steps / generator->unit;
}

/* Rounded to ten decimals. */
static double round_score(double score)
{
    return round(score * 1e10) / 1e10;
}

static double next_score(bench_generator *generator)
{
    double dice = share(generator);
    if (generator->incident > 0) {
        generator->incident--;
    } else if (dice < INCIDENT_SHARE) {
        generator->incident = INCIDENT_ROWS;
    }
    if (generator->incident > 0 && share(generator) < HIGH_SHARE) {
        return round_score(0.9 + 0.1 * share(generator));
    }
    if (dice < NEW_SCORE_SHARE) {
        double low = share(generator);
        generator->score = round_score(0.5 * low * low * low);
    }
    return generator->score;
}

/* Single precision, as the models that made them have it. */
static double next_raw_score(bench_generator *generator)
{
    if (share(generator) < RAW_ZERO_SHARE) {
        return 0;
    }
    uint64_t steps = 1 + mmq_splitmix_below(&generator->random, RAW_STEPS);
    double raw = (double)((float)steps / (float)RAW_STEPS);
    return round(raw * 1e13) / 1e13;
}

void bench_generate(bench_generator *generator, bench_rows *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rows->timestamp[i] = next_timestamp(generator);
        rows->value[i] = next_value(generator);
        rows->anomaly_score[i] = next_score(generator);
        rows->raw_score[i] = next_raw_score(generator);
    }
    rows->count = count;
}
