/* The ops of metric.write (docs/protocol.md): create, append, score, delete, prune. */
#ifndef MMQ_WRITE_OPS_H
#define MMQ_WRITE_OPS_H

#include <stddef.h>

#include "lib/buffer.h"
#include "metricmq/error.h"
#include "workers/store/store.h"

/* Does what a request's body asks for, as a step of the write transaction that is open, and appends
 * the answer's payload, if the op has one. MMQ_EINVAL for a body that is malformed; else as the
 * store's step says. */
mmq_err mmq_write_op_run(mmq_store *store, const void *body, size_t size, mmq_buffer *answer,
                         mmq_why *why) MMQ_MUST_USE;

#endif
