/* A batch of rows at a time is printed where it is compressed from. No field needs quotes: a uid
 * has none of the characters that do (lib/uid.h), and what else is there are numbers and times. */
#include "workers/metric_csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/number.h"

enum {
    WINDOW_MIN = MMQ_BATCH_ROWS,
    WINDOW_GROWS = 8,      /* times */
    WINDOW_MAX = 1 << 19,  /* 17 MiB */
    ROWS_OF_A_BLOCK = 128, /* with fewer the window grows */
    LINE_MAX_BYTES = MMQ_UID_MAX + MMQ_INTEGER_MAX + MMQ_TIME_TEXT + 3 * MMQ_NUMBER_MAX + 7 + 2
};

_Static_assert((int)LINE_MAX_BYTES <= (int)MMQ_ARCHIVE_ROOM, "a line fits any room");

static const char header[] = "uid,rowid,timestamp,metric_value,raw_anomaly_score,anomaly_score,"
                             "display_value,multi_step_best_predictions\r\n";

/* The number printed last in a column, and where: scores hold for a while, and to compare and copy
 * is cheaper than to print. */
typedef struct printed {
    double number;
    const char *text; /* within the room that is being filled */
    size_t size;
} printed;

struct pass {
    const mmq_metric_head *metric;
    size_t uid_size;
    int64_t first; /* rowid of the window's first row */
    bool headed;   /* the header is written: there was a row */
    mmq_rowid_window rows;
    mmq_day day;                             /* of the last row */
    printed value, raw_score, anomaly_score; /* of the last row that had one */
};

/* By its bits: -0.0 is not 0. */
static bool is_same(double a, double b)
{
    uint64_t bits_a, bits_b;
    memcpy(&bits_a, &a, sizeof a);
    memcpy(&bits_b, &b, sizeof b);
    return bits_a == bits_b;
}

/* An absent score (NaN) is an empty field. */
static char *print_number(char *at, double number, printed *last)
{
    if (isnan(number)) {
        return at;
    }
    if (is_same(number, last->number)) {
        memcpy(at, last->text, MMQ_NUMBER_TEXT); /* of another line: it is farther away than that */
    } else {
        *last = (printed){number, at, mmq_number_print(number, at)};
    }
    return at + last->size;
}

static char *print_row(struct pass *pass, size_t row, char *at)
{
    const mmq_rowid_window *rows = &pass->rows;
    memcpy(at, pass->metric->uid, pass->uid_size);
    at += pass->uid_size;
    *at++ = ',';
    at += mmq_integer_print(pass->first + (int64_t)row, at);
    *at++ = ',';
    mmq_day_print(&pass->day, rows->timestamp[row], at);
    at += MMQ_TIME_TEXT;
    *at++ = ',';
    at = print_number(at, rows->value[row], &pass->value);
    *at++ = ',';
    at = print_number(at, rows->raw_score[row], &pass->raw_score);
    *at++ = ',';
    at = print_number(at, rows->anomaly_score[row], &pass->anomaly_score);
    memcpy(at, ",,\r\n", 4);
    return at + 4;
}

/* Nothing was printed yet into the room that is filled next. */
static void forget_printed(struct pass *pass)
{
    pass->value = pass->raw_score = pass->anomaly_score = (printed){.number = (double)NAN};
}

/* The first row from `row` on that was not pruned. */
static size_t skip_pruned(const struct pass *pass, size_t row)
{
    while (row < pass->rows.count && !pass->rows.there[row]) {
        row++;
    }
    return row;
}

/* A metric without rows, or whose rows were all pruned, has no header either. */
static mmq_err print_header(struct pass *pass, mmq_archive *archive, mmq_why *why)
{
    if (pass->headed) {
        return MMQ_OK;
    }
    pass->headed = true;
    return mmq_archive_add(archive, header, sizeof header - 1, why);
}

static mmq_err print_window(struct pass *pass, mmq_archive *archive, mmq_why *why)
{
    size_t row = skip_pruned(pass, 0);
    mmq_err err = row < pass->rows.count ? print_header(pass, archive, why) : MMQ_OK;
    while (row < pass->rows.count && err == MMQ_OK) {
        char *room, *end;
        size_t size;
        err = mmq_archive_room(archive, &room, &size, why);
        if (err != MMQ_OK) {
            return err;
        }
        forget_printed(pass);
        for (end = room; row < pass->rows.count && size - (size_t)(end - room) >= LINE_MAX_BYTES;
             row = skip_pruned(pass, row + 1)) {
            end = print_row(pass, row, end);
        }
        err = mmq_archive_commit(archive, (size_t)(end - room), why);
    }
    return err;
}

static void clear_window(mmq_rowid_window *window)
{
    free(window->timestamp);
    free(window->value); /* and the scores */
    free(window->there);
    *window = (mmq_rowid_window){0};
}

static mmq_err make_window(mmq_rowid_window *window, size_t capacity, mmq_why *why)
{
    clear_window(window);
    window->timestamp = calloc(capacity, sizeof *window->timestamp);
    window->value = calloc(capacity, 3 * sizeof *window->value);
    window->there = calloc(capacity, sizeof *window->there);
    if (window->timestamp == NULL || window->value == NULL || window->there == NULL) {
        clear_window(window);
        return mmq_fail(why, MMQ_ENOMEM, "no memory for %zu rows", capacity);
    }
    window->capacity = capacity;
    window->anomaly_score = window->value + capacity;
    window->raw_score = window->anomaly_score + capacity;
    return MMQ_OK;
}

/* Looks whether the rows that were read lay far apart. */
static mmq_err fit_window(mmq_rowid_window *window, mmq_why *why)
{
    return window->count == window->capacity && window->capacity < WINDOW_MAX &&
                   window->blocks * ROWS_OF_A_BLOCK > window->count
               ? make_window(window, window->capacity * WINDOW_GROWS, why)
               : MMQ_OK;
}

static mmq_err write_rows(struct pass *pass, mmq_store *store, const mmq_watch *watch,
                          mmq_archive *archive, mmq_why *why)
{
    const mmq_metric_head *metric = pass->metric;
    mmq_err err = MMQ_OK;
    for (int64_t done = 0; err == MMQ_OK && done < metric->last_rowid;) {
        err = watch->tick(watch->context, "build", done, metric->last_rowid, why);
        if (err == MMQ_OK) {
            pass->first = done + 1;
            err = mmq_store_read_window(store, metric->key, pass->first, metric->last_rowid,
                                        &pass->rows, why);
        }
        if (err == MMQ_OK && pass->rows.count == 0) {
            err = mmq_fail(why, MMQ_ECORRUPT, "the store lost rows of %s", metric->uid);
        }
        if (err == MMQ_OK) {
            done += (int64_t)pass->rows.count;
            err = print_window(pass, archive, why);
        }
        if (err == MMQ_OK) {
            err = fit_window(&pass->rows, why);
        }
    }
    return err;
}

mmq_err mmq_metric_csv_write(mmq_store *store, const mmq_metric_head *metric,
                             const mmq_watch *watch, mmq_archive *archive, mmq_why *why)
{
    if (metric->last_rowid == 0) {
        return MMQ_OK;
    }
    struct pass pass = {.metric = metric, .uid_size = strlen(metric->uid)};
    mmq_err err = make_window(&pass.rows, WINDOW_MIN, why);
    if (err == MMQ_OK) {
        err = write_rows(&pass, store, watch, archive, why);
    }
    clear_window(&pass.rows);
    return err;
}
