/* All that is wrong, where the first of it would not do: whoever looks at something tells each
 * fault and goes on. One thread. */
#ifndef MMQ_FAULTS_H
#define MMQ_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/error.h"

typedef struct mmq_faults {
    /* Called with one sentence, without control characters; borrowed for the call. `grave`: it does
     * not work like that; else it does, but may not be what was meant. NULL: they only count. */
    void (*tell)(void *context, bool grave, const char *text);
    void *context;
    size_t count; /* of grave ones */
} mmq_faults;

void mmq_faults_add(mmq_faults *faults, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mmq_faults_warn(mmq_faults *faults, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Adds the sentence if err is one; true if it is none. */
bool mmq_faults_none(mmq_faults *faults, mmq_err err, const mmq_why *why);

/* Control characters become '?', so that a sentence made of what people gave us is one line. */
void mmq_one_line(char *text);

#endif
