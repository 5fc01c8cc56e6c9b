/* What the process has left of descriptors and memory, and whether strangers take it.
 *
 * Frames of a message that has no end stay inside libzmq, where nobody sees them but in the
 * process's memory. So memory that is neither accounted for nor was there before is stray: past a
 * bound, the router that strangers reach is opened anew, then the workers'. What stays even then is
 * somebody else's, and counts as theirs while it stays. What a closed router held is freed in the
 * background, so for a while only memory that grows further counts. Likewise connections that end
 * are accounted for a while longer. */
#ifndef MMQ_BROKER_PRESSURE_H
#define MMQ_BROKER_PRESSURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mmq_relief {
    MMQ_RELIEF_NONE,
    MMQ_RELIEF_CLIENTS, /* open the clients' router anew */
    MMQ_RELIEF_WORKERS,
} mmq_relief;

typedef struct mmq_pressure {
    size_t stray_max;      /* bytes */
    size_t base;           /* bytes that are neither accounted for nor stray */
    size_t base_least;     /* what it was at the start */
    size_t known;          /* bytes accounted for; what is given back leaves this slowly */
    mmq_relief tried;      /* since memory last was as it should be */
    size_t tried_at;       /* bytes that were resident then */
    int64_t settle_ns;     /* until then what was tried may still take effect */
    int64_t due_ns;        /* of the next look */
    int statm;             /* /proc/self/statm, kept open: descriptors may run out */
    size_t memory;         /* resident bytes, as of the last look */
    size_t descriptors;    /* in use */
    size_t descriptor_max; /* the process's limit */
} mmq_pressure;

/* Raises the process's limit of descriptors to what it may be. */
void mmq_pressure_init(mmq_pressure *pressure, size_t stray_max, int64_t now_ns);
void mmq_pressure_clear(mmq_pressure *pressure);
/* Looks at descriptors and, if it is time, at memory, of which `accounted` bytes are known. */
mmq_relief mmq_pressure_look(mmq_pressure *pressure, size_t accounted, int64_t now_ns);
/* The decision alone: what to do, now that this much memory is resident. */
mmq_relief mmq_pressure_judge(mmq_pressure *pressure, size_t memory, size_t accounted,
                              int64_t now_ns);
/* True if no more connections should be taken, and false only when there is room again. */
bool mmq_pressure_scarce(const mmq_pressure *pressure, bool scarce_now);

#endif
