/* The credentials that requests are signed with, looked up where AWS's own tools do and kept. Any
 * thread. */
#ifndef MMQ_S3_CREDENTIALS_H
#define MMQ_S3_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/watch.h"
#include "metricmq/error.h"
#include "workers/targets/s3_keys.h"

enum {
    MMQ_S3_REFRESH_S = 5 * 60, /* before they expire they are looked up anew */
    MMQ_S3_LOOK_UP_S = 5,      /* at least between two questions to the instance's service */
    MMQ_S3_LOOK_AGAIN_S = 30,  /* ... while there are keys that are still good */
};

typedef struct mmq_s3_credentials mmq_s3_credentials;

/* NULL: no memory. */
mmq_s3_credentials *mmq_s3_credentials_new(void);
void mmq_s3_credentials_destroy(mmq_s3_credentials **credentials);

/* Copies the keys that are good now, and says by *serial which they are; the caller clears them.
 * MMQ_EDENIED with a sentence if there are none; errors of the watch. */
mmq_err mmq_s3_credentials_get(mmq_s3_credentials *credentials, const mmq_watch *watch,
                               mmq_s3_keys *out, uint64_t *serial, mmq_why *why) MMQ_MUST_USE;
/* The store would not have the keys of that serial. True if by now there are others. */
bool mmq_s3_credentials_renew(mmq_s3_credentials *credentials, const mmq_watch *watch,
                              uint64_t serial);
/* Those of the environment and the shared file, with nobody asked and nothing kept; the caller
 * clears them. MMQ_ENOTFOUND: there are none; else an error with a sentence. */
mmq_err mmq_s3_credentials_look(mmq_s3_keys *out, mmq_why *why) MMQ_MUST_USE;

#endif
