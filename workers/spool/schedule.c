/* A sorted array: jobs are few (--spool-jobs), and each of them costs an fsync anyway. */
#include "workers/spool/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mmq_schedule_clear(mmq_schedule *schedule)
{
    free(schedule->plans);
    *schedule = (mmq_schedule){.count = 0};
}

/* Where the name is, or belongs. */
static size_t find_place(const mmq_schedule *schedule, const char *name)
{
    size_t from = 0, to = schedule->count;
    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        if (strcmp(schedule->plans[middle].name.text, name) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

mmq_plan *mmq_schedule_find(mmq_schedule *schedule, const char *name)
{
    const size_t at = find_place(schedule, name);
    return at < schedule->count && strcmp(schedule->plans[at].name.text, name) == 0
               ? &schedule->plans[at]
               : NULL;
}

mmq_plan *mmq_schedule_get(mmq_schedule *schedule, const char *name, bool *made)
{
    mmq_plan *plan = mmq_schedule_find(schedule, name);
    *made = plan == NULL;
    if (plan != NULL) {
        return plan;
    }
    if (schedule->count == schedule->capacity) {
        const size_t capacity = schedule->capacity > 0 ? 2 * schedule->capacity : 64;
        mmq_plan *grown = reallocarray(schedule->plans, capacity, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        schedule->plans = grown;
        schedule->capacity = capacity;
    }
    const size_t at = find_place(schedule, name);
    plan = &schedule->plans[at];
    memmove(plan + 1, plan, (schedule->count - at) * sizeof *plan);
    schedule->count++;
    *plan = (mmq_plan){.due_ns = 0};
    snprintf(plan->name.text, sizeof plan->name.text, "%s", name);
    return plan;
}

void mmq_schedule_remove(mmq_schedule *schedule, mmq_plan *plan)
{
    const size_t behind = schedule->count - (size_t)(plan - schedule->plans) - 1;
    memmove(plan, plan + 1, behind * sizeof *plan);
    schedule->count--;
}

void mmq_schedule_forget(mmq_schedule *schedule, uint64_t pass)
{
    size_t kept = 0;
    for (size_t i = 0; i < schedule->count; i++) {
        const mmq_plan *plan = &schedule->plans[i];
        if (plan->busy || plan->pass >= pass) {
            schedule->plans[kept++] = *plan;
        }
    }
    schedule->count = kept;
}

mmq_plan *mmq_schedule_first(mmq_schedule *schedule)
{
    mmq_plan *first = NULL;
    for (size_t i = 0; i < schedule->count; i++) {
        mmq_plan *plan = &schedule->plans[i];
        if (!plan->busy && (first == NULL || plan->due_ns < first->due_ns)) {
            first = plan;
        }
    }
    return first;
}
