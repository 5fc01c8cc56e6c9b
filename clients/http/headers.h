/* What the adapter wants to know of a request's headers. */
#ifndef MMQ_HTTP_HEADERS_H
#define MMQ_HTTP_HEADERS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/digest.h"

typedef struct mmq_headers {
    unsigned hosts, lengths, codings, authorizations; /* how often each was there */
    bool chunked;                                     /* Transfer-Encoding is exactly "chunked" */
    bool octets;                                      /* Accept contains application/octet-stream */
    bool expects;                                     /* Expect was there */
    uint64_t length;           /* of Content-Length; UINT64_MAX if it is no number */
    const char *authorization; /* borrowed; may be NULL */
} mmq_headers;

void mmq_headers_read(struct MHD_Connection *connection, mmq_headers *out);
/* A sentence why the framing cannot be trusted; NULL: it can. */
const char *mmq_headers_fault(const mmq_headers *headers, const char *version);

typedef struct mmq_key_digest {
    char digest[MMQ_DIGEST_HEX + 1];
} mmq_key_digest;

/* Of `Authorization: Basic base64(KEY:)`. False without memory. */
bool mmq_key_digest_init(mmq_key_digest *out, const char *key);
/* Takes the same time for every wrong key of one length. */
bool mmq_key_matches(const mmq_key_digest *key, const mmq_headers *headers);

#endif
