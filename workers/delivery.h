/* Targets: where finished archives go. */
#ifndef MMQ_DELIVERY_H
#define MMQ_DELIVERY_H

#include <stdint.h>

#include "metricmq/error.h"
#include "workers/watch.h"

/* What is to be delivered. All borrowed for the call. */
typedef struct mmq_object {
    const char *key; /* mmq_object_key_valid */
    int fd;          /* readable with pread from its start */
    int64_t size_bytes;
    const char *sha256; /* lower-case hex */
} mmq_object;

typedef struct mmq_target mmq_target;

/* A kind of target. put is called from several threads at once, each with an object of its own. */
typedef struct mmq_target_kind {
    const char *scheme; /* what its urls begin with, e.g. "file:" */
    /* rest: of the url, behind the scheme. NULL with a sentence in why. */
    mmq_target *(*make)(const char *rest, mmq_why *why);
    mmq_err (*put)(mmq_target *target, const mmq_object *object, const mmq_watch *watch,
                   mmq_why *why);
    void (*destroy)(mmq_target **target);
} mmq_target_kind;

/* The part that all targets begin with. */
struct mmq_target {
    const mmq_target_kind *kind;
    const char *prefix; /* what keys begin with; "" or ending in '/' */
};

/* NULL with a sentence in why if the url is of no kind that is known, or bad. */
mmq_target *mmq_target_new(const char *url, mmq_why *why);
void mmq_target_destroy(mmq_target **target);
const char *mmq_target_prefix(const mmq_target *target);
/* Delivers: MMQ_OK when the object is whole and durable under its key, in place of what was there.
 * MMQ_ECORRUPT: the bytes are not those of size and sha256, never to be tried again; an error of
 * the watch: broken off; anything else may be tried again. Nothing half is ever seen. */
mmq_err mmq_target_put(mmq_target *target, const mmq_object *object, const mmq_watch *watch,
                       mmq_why *why) MMQ_MUST_USE;

extern const mmq_target_kind mmq_file_target;

#endif
