/* What docs/protocol.md fixes and callers see: names of services, bounds, headers of answers. */
#ifndef METRICMQ_PROTOCOL_H
#define METRICMQ_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MMQ_SERVICE_QUERY    "metric.query"
#define MMQ_SERVICE_WRITE    "metric.write"
#define MMQ_SERVICE_FEEDBACK "metric.feedback"
#define MMQ_SERVICE_WATCH    "metric.watch"

enum {
    MMQ_SERVICE_MAX = 255,          /* bytes of a service's name */
    MMQ_CAPACITY_MAX = 1000,        /* requests at one worker */
    MMQ_BODY_MAX = 4 * 1024 * 1024, /* bytes of a request's body */
    MMQ_TIMEOUT_DEFAULT_MS = 30000,
    MMQ_TIMEOUT_MAX_MS = 300000,
    MMQ_CURSOR_MAX = 4096, /* bytes of a cursor */
    MMQ_TRACE_MAX = 1024,  /* bytes of a trace that headers repeat */
    MMQ_UID_MAX = 100,     /* bytes of a metric's uid: [-A-Za-z0-9_.]{1,100} */
};

/* A piece of text, borrowed, not NUL-terminated; data is NULL where there is none (nil). */
typedef struct mmq_text {
    const char *data;
    size_t size; /* bytes */
} mmq_text;

/* The header of a PARTIAL or FINAL. What it points to belongs to the answer. */
typedef struct mmq_header {
    const void *id; /* packed: the request's */
    size_t id_size;
    int64_t status;  /* HTTP's numbers; 0 in a PARTIAL */
    int64_t rows;    /* of this answer; -1 if nil */
    int64_t seq;     /* of PARTIALs from 0, in FINAL how many there were; -1 if nil */
    mmq_text cursor; /* PARTIAL: a place to take the stream up, behind this part */
    mmq_text next;   /* FINAL: where the next page begins; nil: the stream ends here */
    mmq_text error;  /* a sentence, from status 400 on */
    mmq_text state;  /* opaque; what `unless` wants */
    mmq_text trace;  /* the request's */
    bool has_next;   /* `next` was there, be it nil: without it nothing has ended */
} mmq_header;

#ifdef __cplusplus
}
#endif

#endif
