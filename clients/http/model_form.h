/* The forms in which a request describes a metric that is to be made (docs/http.md): custom and
 * cloudwatch, each older (all at the top) or newer (metricSpec, modelParams), and the record as an
 * export has it. Pure. */
#ifndef MMQ_MODEL_FORM_H
#define MMQ_MODEL_FORM_H

#include <stddef.h>

#include "lib/buffer.h"
#include "metricmq/error.h"

/* fields: a packed map, all that the request says but its data. Appends the record as
 * metric.write's `create` takes it. MMQ_EINVAL with a sentence that names the field. */
mmq_err mmq_model_form_read(const void *fields, size_t size, mmq_buffer *record,
                            mmq_why *why) MMQ_MUST_USE;

#endif
