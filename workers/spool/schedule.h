/* When to try which job of the spool. It guards nothing: its owner does. */
#ifndef MMQ_SCHEDULE_H
#define MMQ_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workers/spool/spool.h"

typedef struct mmq_plan {
    mmq_job_name name;
    int64_t due_ns;     /* MMQ_NEVER_NS: only when it is hurried */
    int64_t planned_ms; /* the manifest's next attempt that due_ns is made of; see uploader.c */
    uint64_t pass;      /* the look into the spool that saw it last */
    bool at_start;      /* not tried since the start */
    bool busy;          /* a thread is at it */
    bool again;         /* hurried while it was busy */
} mmq_plan;

typedef struct mmq_schedule {
    mmq_plan *plans; /* ascending by name */
    size_t count, capacity;
} mmq_schedule;

void mmq_schedule_clear(mmq_schedule *schedule);
/* NULL: there is none. Plans are valid until one is added or removed. */
mmq_plan *mmq_schedule_find(mmq_schedule *schedule, const char *name);
/* The plan of that name, made where it is missing (zeroed but for its name): *made says so. NULL:
 * no memory. */
mmq_plan *mmq_schedule_get(mmq_schedule *schedule, const char *name, bool *made);
void mmq_schedule_remove(mmq_schedule *schedule, mmq_plan *plan);
/* Removes the plans that nobody is at and no look has seen since `pass`. */
void mmq_schedule_forget(mmq_schedule *schedule, uint64_t pass);
/* The plan that nobody is at which is due first; NULL if there is none. */
mmq_plan *mmq_schedule_first(mmq_schedule *schedule);

#endif
