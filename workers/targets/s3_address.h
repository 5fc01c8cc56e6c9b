/* Where an s3:// target is: its url, its endpoint, and what both make of a key. */
#ifndef MMQ_S3_ADDRESS_H
#define MMQ_S3_ADDRESS_H

#include <stdbool.h>

#include "lib/buffer.h"
#include "metricmq/error.h"
#include "workers/targets/target.h"

enum {
    MMQ_S3_HOST_MAX = 255,   /* with the brackets of an IPv6 address */
    MMQ_S3_BUCKET_MAX = 63,  /* S3: "General purpose bucket naming rules" */
    MMQ_S3_REGION_MAX = 63,  /* a label of a host's name */
    MMQ_S3_PREFIX_MAX = 256, /* so that the rest of a key finds room */
};

typedef struct mmq_s3_endpoint {
    bool is_tls;
    bool is_address;  /* the host is an IP address */
    bool is_loopback; /* an address or a name of this machine */
    char host[MMQ_S3_HOST_MAX + 1];
    unsigned port; /* 0: the scheme's own */
} mmq_s3_endpoint;

typedef struct mmq_s3_address {
    mmq_s3_endpoint endpoint;
    bool path_style; /* the bucket is in the path, not in the host's name */
    char bucket[MMQ_S3_BUCKET_MAX + 1];
    char prefix[MMQ_S3_PREFIX_MAX + 1]; /* "" or ending in '/' */
    char region[MMQ_S3_REGION_MAX + 1];
    char host[MMQ_S3_BUCKET_MAX + 1 + MMQ_S3_HOST_MAX + sizeof ":65535"]; /* as the Host header
                                                                             says it */
} mmq_s3_address;

/* "http[s]://HOST[:PORT][/]". MMQ_EINVAL. */
mmq_err mmq_s3_endpoint_parse(const char *url, mmq_s3_endpoint *out, mmq_why *why) MMQ_MUST_USE;
/* rest: what follows "s3://". What settings leave open is taken from the environment. MMQ_EINVAL.
 */
mmq_err mmq_s3_address_make(const char *rest, const mmq_s3_settings *settings, mmq_s3_address *out,
                            mmq_why *why) MMQ_MUST_USE;
/* Appends the path of a key, or of the bucket if key is NULL; from '/' on, not encoded. */
void mmq_s3_address_path(mmq_buffer *out, const mmq_s3_address *address, const char *key);
/* Appends "scheme://host[:port]" with the host of requests. */
void mmq_s3_address_origin(mmq_buffer *out, const mmq_s3_address *address);

/* The value of the first of two environment variables that is set and not empty, or NULL. */
const char *mmq_s3_env(const char *first, const char *second);

#endif
