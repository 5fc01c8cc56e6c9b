/* Targets: where finished archives go. */
#ifndef MMQ_TARGET_H
#define MMQ_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/watch.h"
#include "metricmq/error.h"
#include "workers/archive/sums.h"

enum { MMQ_OBJECT_KEY_MAX = 512 /* bytes of an object's key */ };

/* Relative, of letters, digits and "-_./", no part of it empty or beginning with a dot. */
bool mmq_object_key_valid(const char *key, size_t size);

/* What is to be delivered. All borrowed for the call. */
typedef struct mmq_object {
    const char *key; /* mmq_object_key_valid */
    const char *uid; /* of the metric: goes along as metadata where the target has any */
    int fd;          /* readable with pread from its start */
    const mmq_sums *sums;
} mmq_object;

/* Why a delivery failed, as far as it says when it makes sense to try again. */
typedef enum mmq_setback_kind {
    MMQ_SETBACK_PASSING,  /* of the network, of a server under load: soon */
    MMQ_SETBACK_SETTINGS, /* credentials, rights, clock, certificate, bucket: somebody must mend
                             it, here or there, and until then it is tried now and then */
    MMQ_SETBACK_REFUSED,  /* never as it is: kept for a person */
} mmq_setback_kind;

typedef struct mmq_setback {
    mmq_setback_kind kind;
    int64_t wait_ns; /* the target asked to be left alone for so long (Retry-After); or 0 */
} mmq_setback;

/* How to reach an s3:// target. Borrowed by mmq_target_new. NULL: as the usual environment
 * variables say, or else the default. */
typedef struct mmq_s3_settings {
    const char *endpoint; /* "https://host[:port]"; default AWS's of the region */
    const char *region;   /* default us-east-1 */
    const char *ca_file;  /* PEM, instead of the machine's authorities */
    bool path_style;      /* https://host/bucket/key, as for a host that is an address */
    bool insecure;        /* plain http to other hosts than this one is allowed */
    unsigned stall_ms;    /* a transfer that gets nowhere for so long is broken off; 0: 20 s */
} mmq_s3_settings;

typedef struct mmq_target mmq_target;

/* A kind of target. put is called from several threads at once, each with an object of its own. */
typedef struct mmq_target_kind {
    const char *scheme; /* what its urls begin with, e.g. "file:" */
    /* rest: of the url, behind the scheme. NULL with a sentence in why. */
    mmq_target *(*make)(const char *rest, const mmq_s3_settings *s3, mmq_why *why);
    mmq_err (*put)(mmq_target *target, const mmq_object *object, const mmq_watch *watch,
                   mmq_setback *setback, mmq_why *why);
    /* See mmq_target_sweep; NULL where nothing can be left. */
    mmq_err (*sweep)(mmq_target *target, const char *prefix,
                     bool (*is_wanted)(void *context, const char *key), void *context,
                     const mmq_watch *watch, mmq_why *why);
    void (*destroy)(mmq_target **target);
} mmq_target_kind;

/* The part that all targets begin with. */
struct mmq_target {
    const mmq_target_kind *kind;
    const char *prefix; /* what keys begin with; "" or ending in '/' */
};

/* NULL with a sentence in why if the url is of no kind that is known, or bad. */
mmq_target *mmq_target_new(const char *url, const mmq_s3_settings *s3, mmq_why *why);
void mmq_target_destroy(mmq_target **target);
const char *mmq_target_prefix(const mmq_target *target);
/* Delivers: MMQ_OK when the object is whole and durable under its key, in place of what was there,
 * and what came back of it agrees with its sums. MMQ_ECORRUPT: the bytes of fd are not those of the
 * sums, never to be tried again; an error of the watch: broken off; after anything else *setback
 * says what to make of it. Nothing half is ever seen. Takes as long as it takes, but asks the watch
 * many times a second. */
mmq_err mmq_target_put(mmq_target *target, const mmq_object *object, const mmq_watch *watch,
                       mmq_setback *setback, mmq_why *why) MMQ_MUST_USE;
/* Aborts deliveries under keys that begin with `prefix` which a crash left half done, but for the
 * keys that is_wanted says somebody may be at. */
mmq_err mmq_target_sweep(mmq_target *target, const char *prefix,
                         bool (*is_wanted)(void *context, const char *key), void *context,
                         const mmq_watch *watch, mmq_why *why) MMQ_MUST_USE;

extern const mmq_target_kind mmq_file_target, mmq_s3_target;

#endif
