/* What the adapter wants to know of a request's headers. */
#ifndef MMQ_HTTP_HEADERS_H
#define MMQ_HTTP_HEADERS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "clients/http/negotiate.h"

enum {
    MMQ_HEADER_BYTES = 16 * 1024, /* of a request's names and values together */
    MMQ_NONE_MATCH_FIELDS = 4,    /* If-None-Match fields that are looked at */
    MMQ_REQUEST_ID_MAX = 64,      /* bytes of an X-Request-Id */
};

/* Texts are borrowed from libmicrohttpd, which keeps them until the request ends. */
typedef struct mmq_headers {
    unsigned hosts, lengths, codings, authorizations, origins; /* how often each was there */
    bool chunked;     /* Transfer-Encoding is exactly "chunked" */
    bool expects;     /* Expect was there */
    bool odd;         /* a name is none that a header may have */
    bool folded;      /* a header goes on in the next line */
    bool cut;         /* they ended before the empty line */
    const char *end;  /* behind the last value */
    uint64_t length;  /* of Content-Length; UINT64_MAX if it is no number */
    const char *host; /* NULL: not there; likewise below */
    const char *authorization;
    const char *origin, *wanted_method; /* of CORS: Access-Control-Request-Method */
    const char *agent;
    const char *request_id; /* of safe characters */
    const char *none_match[MMQ_NONE_MATCH_FIELDS];
    unsigned none_matches; /* fields; if there are more than we keep, none counts */
    mmq_accept accept;
    mmq_codings accepted; /* codings of the answer */
    size_t bytes;         /* of all names and values */
} mmq_headers;

/* method and version: as libmicrohttpd hands them to its access handler. */
void mmq_headers_read(struct MHD_Connection *connection, const char *method, const char *version,
                      mmq_headers *out);
/* A sentence why the framing cannot be trusted; NULL: it can. */
const char *mmq_headers_fault(const mmq_headers *headers, const char *version);
/* Calls is_it for each tag of If-None-Match, without quotes and weakness, or "*"; true if one was
 * it. */
bool mmq_headers_have_tag(const mmq_headers *headers,
                          bool (*is_it)(const mmq_slice *tag, void *context), void *context);
/* Letters, digits and what else may be in names of methods and headers (RFC 9110, 5.6.2). */
bool mmq_is_token(const char *text, size_t size);

#endif
