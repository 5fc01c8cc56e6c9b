/* Credentials as they are found: in a profile of a shared file, or in the answer of an instance's
 * metadata service. Both are hostile. Nothing here puts a secret into a sentence. */
#ifndef MMQ_S3_KEYS_H
#define MMQ_S3_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/watch.h"
#include "metricmq/error.h"

enum {
    MMQ_S3_ACCESS_MAX = 128,
    MMQ_S3_SECRET_MAX = 256,
    MMQ_S3_TOKEN_MAX = 8 * 1024,       /* what a store takes of headers in all */
    MMQ_S3_PROFILES_MAX = 1024 * 1024, /* bytes of a shared file */
};

typedef struct mmq_s3_keys {
    char access[MMQ_S3_ACCESS_MAX + 1];
    char secret[MMQ_S3_SECRET_MAX + 1];
    char token[MMQ_S3_TOKEN_MAX + 1]; /* "": none */
    int64_t expires_s;                /* since the epoch; 0: never */
} mmq_s3_keys;

/* Wipes them. */
void mmq_s3_keys_clear(mmq_s3_keys *keys);
/* Copies what was found, token may be NULL. False, and wiped, if a part is empty or too long, or if
 * any byte of it could not stand in a header. */
bool mmq_s3_keys_take(mmq_s3_keys *keys, const char *access, const char *secret, const char *token);

/* Reads a profile of a shared file's text, as the AWS CLI does: sections, "name = value" or
 * "name : value", names in any case, lines that begin with '#' or ';' skipped. Of names given twice
 * the last counts. MMQ_ENOTFOUND if there is no such profile or it has no keys; MMQ_EINVAL. */
mmq_err mmq_s3_profile_parse(const char *text, size_t size, const char *profile, mmq_s3_keys *out,
                             mmq_why *why) MMQ_MUST_USE;
/* Reads the metadata service's answer. MMQ_EINVAL, MMQ_ENOMEM. */
mmq_err mmq_s3_instance_parse(const char *json, size_t size, mmq_s3_keys *out,
                              mmq_why *why) MMQ_MUST_USE;
/* Asks the instance's metadata service (IMDSv2), for about 2 s each of three times at most.
 * MMQ_ENOTFOUND if it is not there, or has no role; MMQ_EINVAL; errors of the watch. */
mmq_err mmq_s3_instance_ask(mmq_s3_keys *out, const mmq_watch *watch, mmq_why *why) MMQ_MUST_USE;

#endif
