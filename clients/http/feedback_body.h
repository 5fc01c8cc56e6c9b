/* The body of POST /_logging/feedback: a JSON object with a string uid. */
#ifndef MMQ_FEEDBACK_BODY_H
#define MMQ_FEEDBACK_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/fields.h"
#include "metricmq/error.h"

typedef struct mmq_feedback_body {
    mmq_slice uid; /* valid; borrows from packed */
    uint32_t extra_count;
    mmq_buffer extra;  /* that many packed pairs: all but the dump's own keys */
    mmq_buffer packed; /* the whole object */
} mmq_feedback_body;

/* MMQ_EINVAL with a sentence for the client; MMQ_ENOMEM. *out is the caller's to clear, also after
 * a failure. */
mmq_err mmq_feedback_body_read(const char *text, size_t size, mmq_feedback_body *out,
                               mmq_why *why) MMQ_MUST_USE;
void mmq_feedback_body_clear(mmq_feedback_body *body);

#endif
