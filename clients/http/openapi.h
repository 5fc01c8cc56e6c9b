/* The description of what the adapter takes and answers, in the form of OpenAPI 3.1. */
#ifndef MMQ_OPENAPI_H
#define MMQ_OPENAPI_H

#include "lib/buffer.h"
#include "metricmq/error.h"

enum { MMQ_OPENAPI_MAX = 1024 * 1024 };

/* Appends the document: openapi.json of this folder, completed with what follows by rule: the
 * version, and HEAD wherever there is GET. */
mmq_err mmq_openapi_print(mmq_buffer *out) MMQ_MUST_USE;

#endif
