/* Request arguments by table: what a worker reads of a request's body.
 *
 * A handler declares its arguments once; the reader answers unknown names, missing required ones,
 * repeated ones and wrong types with a sentence that names the argument (400). `op`, `id`,
 * `timeout` and `trace` are known everywhere. */
#ifndef MMQ_FIELDS_H
#define MMQ_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

typedef enum mmq_kind {
    MMQ_KIND_TEXT,   /* mmq_slice: a str of valid UTF-8 without NUL */
    MMQ_KIND_BYTES,  /* mmq_slice: a str or bin */
    MMQ_KIND_INT,    /* int64_t: an integer, or a float with an integral value that fits */
    MMQ_KIND_NUMBER, /* double: integer or finite float */
    MMQ_KIND_BOOL,   /* bool */
    MMQ_KIND_TIME,   /* int64_t: seconds since the epoch or "YYYY-MM-DD HH:MM:SS" (calendar.h) */
    MMQ_KIND_MAP,    /* mmq_slice: the packed map, whole */
} mmq_kind;

typedef struct mmq_slice {
    const char *data;
    size_t size;
} mmq_slice;

typedef struct mmq_field_spec {
    const char *name;
    mmq_kind kind;
    bool required;
    size_t offset; /* of the value in the out structure */
    size_t given;  /* of a bool that is set when the argument was there; MMQ_NO_GIVEN: none */
} mmq_field_spec;

/* True if the slice holds exactly that text. */
bool mmq_slice_is(const mmq_slice *slice, const char *text);

#define MMQ_NO_GIVEN ((size_t)-1)

/* The op's name, borrowed from body; MMQ_EINVAL if there is none or the body is no map. */
mmq_err mmq_fields_op(const void *body, size_t size, mmq_slice *op, mmq_why *why) MMQ_MUST_USE;
/* Reads into out, which the caller has filled with defaults; nil counts as absent. */
mmq_err mmq_fields_read(const void *body, size_t size, const mmq_field_spec *specs, size_t count,
                        void *out, mmq_why *why) MMQ_MUST_USE;

#endif
