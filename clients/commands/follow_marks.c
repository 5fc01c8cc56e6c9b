/* A tree by uid (tsearch): as many as the store has metrics. */
#include "clients/commands/follow_marks.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/uid.h"

static int compare(const void *a, const void *b)
{
    return strcmp(((const mmq_mark *)a)->uid, ((const mmq_mark *)b)->uid);
}

/* A mark before all rows; its uid is "" if that is none. */
static mmq_mark make_mark(const char *uid, size_t size)
{
    mmq_mark mark = {.timestamp = MMQ_TIME_MIN};
    if (mmq_uid_valid(uid, size)) {
        memcpy(mark.uid, uid, size);
    }
    return mark;
}

mmq_mark mmq_marks_find(const mmq_marks *marks, const char *uid, size_t size)
{
    const mmq_mark like = make_mark(uid, size);
    void *const *found = tfind(&like, &marks->root, compare);
    return found != NULL ? *(const mmq_mark *)*found : like;
}

mmq_err mmq_marks_set(mmq_marks *marks, const mmq_row *row)
{
    mmq_mark *mark = malloc(sizeof *mark);
    if (mark == NULL) {
        return MMQ_ENOMEM;
    }
    *mark = make_mark(row->uid, row->uid_size);
    mmq_mark **at = mark->uid[0] != '\0' ? tsearch(mark, &marks->root, compare) : NULL;
    if (at == NULL) {
        const mmq_err err = mark->uid[0] != '\0' ? MMQ_ENOMEM : MMQ_EINVAL;
        free(mark);
        return err;
    }
    if (*at != mark) {
        free(mark);
    }
    (*at)->timestamp = row->timestamp;
    (*at)->rowid = row->rowid;
    return MMQ_OK;
}

void mmq_marks_remove(mmq_marks *marks, const char *uid, size_t size)
{
    const mmq_mark like = make_mark(uid, size);
    mmq_mark **at = tfind(&like, &marks->root, compare);
    if (at != NULL) {
        mmq_mark *mark = *at;
        (void)tdelete(mark, &marks->root, compare);
        free(mark);
    }
}

static void take_least(const void *node, VISIT visit, void *context)
{
    const mmq_mark *mark = *(mmq_mark *const *)node;
    int64_t *least = context;
    if ((visit == postorder || visit == leaf) && mark->timestamp < *least) {
        *least = mark->timestamp;
    }
}

int64_t mmq_marks_least(const mmq_marks *marks)
{
    int64_t least = marks->root != NULL ? MMQ_TIME_MAX : MMQ_TIME_MIN;
    twalk_r(marks->root, take_least, &least);
    return least;
}

void mmq_marks_clear(mmq_marks *marks)
{
    tdestroy(marks->root, free);
    marks->root = NULL;
}

bool mmq_mark_before(const mmq_mark *mark, const mmq_row *row)
{
    return row->timestamp > mark->timestamp ||
           (row->timestamp == mark->timestamp && row->rowid > mark->rowid);
}
