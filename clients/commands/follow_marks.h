/* How far each metric was shown by `metricmq watch`. */
#ifndef MMQ_FOLLOW_MARKS_H
#define MMQ_FOLLOW_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "metricmq/rows.h"

/* The last row that was shown, in the order of (timestamp, rowid). */
typedef struct mmq_mark {
    char uid[MMQ_UID_MAX + 1];
    int64_t timestamp, rowid;
} mmq_mark;

/* Zeroed, there are none. */
typedef struct mmq_marks {
    void *root;
} mmq_marks;

/* The metric's, or one before all rows. */
mmq_mark mmq_marks_find(const mmq_marks *marks, const char *uid, size_t size);
/* MMQ_EINVAL: the row's uid is none. */
mmq_err mmq_marks_set(mmq_marks *marks, const mmq_row *row) MMQ_MUST_USE;
/* The metric is gone; nothing if it was not known. */
void mmq_marks_remove(mmq_marks *marks, const char *uid, size_t size);
/* The least timestamp of all marks; of none, that before all rows. */
int64_t mmq_marks_least(const mmq_marks *marks);
void mmq_marks_clear(mmq_marks *marks);
/* The row comes behind the mark. */
bool mmq_mark_before(const mmq_mark *mark, const mmq_row *row);

#endif
