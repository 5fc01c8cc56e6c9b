/* What a store must answer, the slow and obvious way: every row of every metric in an array, and
 * each question answered by looking at all of them. */
#ifndef MMQ_TEST_STORE_MODEL_H
#define MMQ_TEST_STORE_MODEL_H

#include "store_world.h"
#include "lib/columns.h"

typedef struct model_row {
    int64_t timestamp, rowid;
    double value, anomaly_score, raw_score;
    bool gone; /* pruned; its time is still known, for what is sent again */
} model_row;

typedef struct model_metric {
    char uid[8];
    bool exists;
    int64_t key;
    int64_t newest; /* where the next rows in time order go on */
    int64_t before; /* the greatest time of its prunes */
    size_t count, capacity;
    model_row *rows; /* by rowid */
} model_metric;

static inline void model_add(model_metric *metric, model_row row)
{
    if (metric->count == metric->capacity) {
        metric->capacity = metric->capacity > 0 ? 2 * metric->capacity : 1024;
        metric->rows = realloc(metric->rows, metric->capacity * sizeof *metric->rows);
        assert_non_null(metric->rows);
    }
    row.rowid = (int64_t)metric->count + 1;
    metric->rows[metric->count++] = row;
}

static inline int64_t model_unscored(const model_metric *metric)
{
    int64_t unscored = 0;
    for (size_t i = 0; i < metric->count; i++) {
        unscored += isnan(metric->rows[i].anomaly_score) && !metric->rows[i].gone ? 1 : 0;
    }
    return unscored;
}

/* -1, 0, 1: a before, at, behind the row. */
static inline int model_compare(int64_t timestamp, int64_t rowid, const model_row *row)
{
    if (timestamp != row->timestamp) {
        return timestamp < row->timestamp ? -1 : 1;
    }
    return (rowid > row->rowid) - (rowid < row->rowid);
}

static inline bool model_wants(const mmq_range *range, const model_row *row)
{
    if (row->gone || row->timestamp < range->from || row->timestamp > range->to ||
        (range->rowid_most > 0 && row->rowid > range->rowid_most)) {
        return false;
    }
    if (range->positioned) {
        const int side = model_compare(range->timestamp, range->rowid, row);
        if (range->ascending ? side >= 0 : side <= 0) {
            return false;
        }
    }
    return range->scores == MMQ_SCORES_ANY ||
           (range->scores == MMQ_SCORES_PRESENT ? !isnan(row->anomaly_score)
                                                : row->anomaly_score >= range->least_score);
}

static inline int model_order_up(const void *a_p, const void *b_p)
{
    const model_row *a = a_p;
    return model_compare(a->timestamp, a->rowid, b_p);
}

static inline int model_order_down(const void *a_p, const void *b_p)
{
    return -model_order_up(a_p, b_p);
}

/* All rows that are left of the range, in its direction; free them. */
static inline model_row *model_read(const model_metric *metric, const mmq_range *range,
                                    size_t *count)
{
    model_row *rows = malloc((metric->count + 1) * sizeof *rows);
    assert_non_null(rows);
    *count = 0;
    for (size_t i = 0; i < metric->count; i++) {
        if (model_wants(range, &metric->rows[i])) {
            rows[(*count)++] = metric->rows[i];
        }
    }
    qsort(rows, *count, sizeof *rows, range->ascending ? model_order_up : model_order_down);
    return rows;
}

static inline bool model_same(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static inline bool model_is(const mmq_columns *read, size_t i, const model_row *row)
{
    return read->timestamp[i] == row->timestamp && read->rowid[i] == row->rowid &&
           model_same(read->value[i], row->value) &&
           model_same(read->anomaly_score[i], row->anomaly_score);
}

#endif
