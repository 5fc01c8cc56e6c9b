/* The body of POST and PUT /_models, read: what is to be made, as metric.write takes it. Pure; any
 * thread. */
#ifndef MMQ_MODELS_BODY_H
#define MMQ_MODELS_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "metricmq/error.h"

enum {
    MMQ_MODELS_MAX = 32768,         /* metrics in one body */
    MMQ_MODELS_BATCH = 512 * 1024,  /* bytes of rows that are sent at once */
    MMQ_MODELS_FIELDS = 256 * 1024, /* bytes of a metric without its data */
};

#define MMQ_MODELS_MISSING "Metric data is missing"

/* A piece of a buffer. */
typedef struct mmq_span {
    uint32_t at, size;
} mmq_span;

typedef struct mmq_models_batch {
    mmq_span rows; /* in packed */
    uint32_t first_rowid;
} mmq_models_batch;

typedef struct mmq_new_model {
    mmq_span record; /* in packed: what `create` is given */
    mmq_span uid;    /* in uids, as text: what the metric will have */
    uint32_t first_batch, batch_count;
} mmq_new_model;

typedef struct mmq_models_body {
    bool array; /* the body was an array */
    size_t count, capacity;
    mmq_new_model *models;
    size_t batch_count, batch_capacity;
    mmq_models_batch *batches;
    mmq_buffer packed;
    mmq_buffer uids; /* packed texts, in order */
} mmq_models_body;

/* Reads and checks all of it. MMQ_EINVAL: the sentence names element (counted from 1, in an array),
 * field and row; MMQ_ETOOBIG: too many metrics; MMQ_ENOMEM. *out is the caller's to clear in any
 * case. */
mmq_err mmq_models_body_read(const char *text, size_t size, mmq_models_body *out,
                             mmq_why *why) MMQ_MUST_USE;
void mmq_models_body_clear(mmq_models_body *body);
/* Memory that it holds. */
size_t mmq_models_body_bytes(const mmq_models_body *body);

#endif
