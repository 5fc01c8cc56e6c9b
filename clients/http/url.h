/* Request targets: path and query as they stood in the request line. Pure and bounded. */
#ifndef MMQ_URL_H
#define MMQ_URL_H

#include <stddef.h>

#include "lib/fields.h"
#include "metricmq/error.h"

enum { MMQ_URL_SEGMENTS = 4 }; /* no route is deeper */

typedef struct mmq_url {
    size_t depth; /* segments of the path; MMQ_URL_SEGMENTS + 1: more than any route has */
    mmq_slice segments[MMQ_URL_SEGMENTS]; /* decoded once; a slash inside stays what it is */
    char *query;                          /* raw, without '?'; NULL: none */
    size_t query_size;
} mmq_url;

/* Splits and decodes the target in place; *out borrows from it. A trailing slash is ignored.
 * MMQ_EINVAL: not a path (absolute form, "*"), control bytes or spaces, %ZZ, %00. */
mmq_err mmq_url_parse(char *target, size_t size, mmq_url *out, mmq_why *why) MMQ_MUST_USE;

/* Finds the keys' values in the query and decodes them in place; values borrow from it. Absent and
 * empty values have data NULL; of a repeated key the last counts; other keys are ignored.
 * MMQ_EINVAL names the key whose value cannot be decoded. May be called once per parse. */
mmq_err mmq_url_query(mmq_url *url, const char *const *keys, size_t count, mmq_slice *values,
                      mmq_why *why) MMQ_MUST_USE;

#endif
