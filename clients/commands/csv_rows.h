/* Rows of a metric from a CSV file with a header: `timestamp` and `value` are needed,
 * `anomaly_score` and `raw_score` optional, other columns ignored. */
#ifndef MMQ_CSV_ROWS_H
#define MMQ_CSV_ROWS_H

#include <stdint.h>
#include <stdio.h>

#include "clients/commands/csv.h"
#include "lib/calendar.h"

enum { MMQ_CSV_ROW_COLUMNS = 4 };

typedef struct mmq_csv_rows {
    mmq_csv csv;                        /* csv.line: where the row begins that was read last */
    mmq_time_day day;                   /* of the last row */
    size_t column[MMQ_CSV_ROW_COLUMNS]; /* index in the record; SIZE_MAX: the file has none */
} mmq_csv_rows;

typedef struct mmq_csv_row {
    int64_t timestamp;
    double value, anomaly_score, raw_score; /* finite; scores NaN where absent */
} mmq_csv_row;

/* Reads the header; file (borrowed) stands at its start. MMQ_EINVAL: no header, or a needed column
 * is missing; else as mmq_csv_next. Sentences name no file and no line. */
mmq_err mmq_csv_rows_begin(mmq_csv_rows *rows, FILE *file, mmq_why *why) MMQ_MUST_USE;
/* MMQ_EEND behind the last row; MMQ_EINVAL: a row that cannot be read; else as mmq_csv_next. */
mmq_err mmq_csv_rows_next(mmq_csv_rows *rows, mmq_csv_row *out, mmq_why *why) MMQ_MUST_USE;

#endif
