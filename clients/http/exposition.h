/* Writers of the Prometheus text format, version 0.0.4. Failure is the buffer's, sticky. */
#ifndef MMQ_EXPOSITION_H
#define MMQ_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"

#define MMQ_EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Both fixed by us: names of strangers do not become labels. */
typedef struct mmq_label {
    const char *name;
    const char *value; /* UTF-8 */
} mmq_label;

/* Begins a family; its samples follow. */
void mmq_expose_family(mmq_buffer *out, const char *name, const char *type, const char *help);
/* A sample: `name` is the family's, with the suffix of a histogram's parts where it has one. */
void mmq_expose_count(mmq_buffer *out, const char *name, const mmq_label *labels, size_t count,
                      int64_t value);
/* A sample in seconds. */
void mmq_expose_ns(mmq_buffer *out, const char *name, const mmq_label *labels, size_t count,
                   int64_t value_ns);

/* A histogram of times: how many were in each bucket, not those of the buckets below it. */
typedef struct mmq_times_view {
    const int64_t *bounds_ns; /* of all buckets but the last, which has none; ascending */
    const uint64_t *counts;
    size_t buckets;
    int64_t sum_ns;
} mmq_times_view;

/* The samples of a histogram under the family `name`, with one label of its own. */
void mmq_expose_times(mmq_buffer *out, const char *name, mmq_label label,
                      const mmq_times_view *times);

#endif
