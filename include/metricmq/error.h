/* Errors: what a function returns, and the sentence that goes with it. */
#ifndef METRICMQ_ERROR_H
#define METRICMQ_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MMQ_MUST_USE __attribute__((warn_unused_result))

typedef enum mmq_err {
    MMQ_OK = 0,
    MMQ_EINVAL,       /* an argument or a request is wrong */
    MMQ_EDENIED,      /* no right to do that */
    MMQ_ENOTFOUND,    /* there is no such metric, row, file */
    MMQ_ECONFLICT,    /* what is there differs from what was sent */
    MMQ_EGONE,        /* the cursor is older than the store remembers */
    MMQ_ETOOBIG,      /* over a bound */
    MMQ_EBUSY,        /* locked or full: try again */
    MMQ_EUNAVAILABLE, /* the other side is not there or gave up */
    MMQ_ETIMEOUT,     /* past the deadline */
    MMQ_EPROTO,       /* a peer broke the protocol */
    MMQ_EIO,          /* disk or network failed */
    MMQ_ECORRUPT,     /* a file is damaged, foreign or of another version */
    MMQ_ENOSPC,       /* no space left */
    MMQ_ENOMEM,       /* no memory left */
    MMQ_EAGAIN,       /* would block */
    MMQ_EUNREACHABLE, /* the peer is gone */
    MMQ_EEND,         /* nothing more */
    MMQ_ECLOSED,      /* being stopped */
} mmq_err;

/* One sentence that says what was wrong, for people; empty when all is well. */
typedef struct mmq_why {
    char text[256];
} mmq_why;

/* Writes the sentence, cut to fit. why may be NULL. */
void mmq_why_set(mmq_why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* mmq_fail(why, err, format, ...) does so and is err, so that `return mmq_fail(why, ...)` serves. A
 * macro: compilers and analysers shall see that what fails does not return MMQ_OK. */
#define mmq_fail(why_, err_, ...) (mmq_why_set(why_, __VA_ARGS__), (mmq_err)(err_))

/* The error's name, e.g. "MMQ_EBUSY"; static storage. */
const char *mmq_err_name(mmq_err err);

/* The status (HTTP's numbers, as in FINAL headers) that stands for an error, and back. */
int mmq_err_status(mmq_err err);
mmq_err mmq_err_from_status(int status);

#ifdef __cplusplus
}
#endif

#endif
