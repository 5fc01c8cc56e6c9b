/* What makes a cloudwatch metric the one that it is: region, namespace, metric and dimensions. A
 * record holds them in its name (NAMESPACE/METRIC) and its parameters (the dimensions and
 * "region"). */
#ifndef MMQ_CLOUDWATCH_H
#define MMQ_CLOUDWATCH_H

#include <stddef.h>

#include "lib/fields.h"
#include "metricmq/unpack.h"
#include "workers/store/store.h"

enum { MMQ_DIMENSIONS_MAX = 30 };

typedef struct mmq_dimension {
    mmq_slice name, value;
} mmq_dimension;

/* Texts borrow from what it was read of. */
typedef struct mmq_cloudwatch {
    mmq_slice region, namespace, metric;
    size_t count;                                 /* of dimensions; at least 1 */
    mmq_dimension dimensions[MMQ_DIMENSIONS_MAX]; /* in the order of the parameters */
} mmq_cloudwatch;

/* parameters: the packed map. A name with several slashes is split where the server,
 * REGION/NAMESPACE/VALUE as it is made, says; if that is NULL or another, at the last one.
 * MMQ_EINVAL names the field. */
mmq_err mmq_cloudwatch_read(const char *name, const char *server, mmq_reader parameters,
                            mmq_cloudwatch *out, mmq_why *why) MMQ_MUST_USE;
/* Makes the identity of *metric, in which the order of dimensions does not matter, and those of
 * location, server and description that are NULL. */
mmq_err mmq_cloudwatch_fill(const mmq_cloudwatch *parts, mmq_metric *metric,
                            mmq_why *why) MMQ_MUST_USE;

#endif
