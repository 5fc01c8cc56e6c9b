/* The HTTP adapter, as a thread of its own: a bus client that speaks HTTP (docs/http.md). */
#ifndef MMQ_HTTP_H
#define MMQ_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/faults.h"
#include "lib/vitals.h"
#include "metricmq/curve.h"
#include "metricmq/error.h"

typedef struct mmq_http mmq_http;

/* Texts are borrowed, those of api_key, api_keys and the lists as long as the adapter lives. */
typedef struct mmq_http_settings {
    const char *listen;     /* "127.0.0.1:8080", "[::1]:8080" (port 0 picks one), "unix:/path" */
    const char *connect;    /* the broker's endpoint for clients, or a list of several brokers' */
    const mmq_curve *curve; /* keys for the bus; copied; NULL: plain text */
    const char *api_key;    /* a key with all rights; NULL: none */
    const char *api_keys; /* the file of keys (keys.h); NULL: none. Without both no key is wanted */
    bool insecure;        /* it may listen beyond this machine without a key */
    const char *const *hosts; /* names that it goes by, beside its address; "*": any */
    size_t host_count;
    const char *tls_certificate, *tls_key; /* files (PEM); both, or NULL: no TLS */
    const char *const *cors_origins;       /* "https://host[:port]" or "*" */
    size_t cors_count;
    unsigned connections_max;
    unsigned connections_per_address; /* 0: no bound of its own */
    unsigned timeout_ms;              /* of a request on the bus */
    unsigned idle_ms;                 /* a connection between requests */
    unsigned header_ms; /* from a request line (or a new connection) to the end of its headers */
    unsigned stall_ms;  /* a body or a reader that does not get ahead */
    unsigned drain_ms;
} mmq_http_settings;

/* Tells all that would keep an adapter with these settings from starting, as far as can be seen
 * without listening. That the address is taken is no fault: the adapter may be running. */
void mmq_http_settings_check(const mmq_http_settings *settings, mmq_faults *faults);
/* Listens and starts. NULL with a sentence in why. */
mmq_http *mmq_http_new(const mmq_http_settings *settings, mmq_why *why);
/* "http://127.0.0.1:8080", the port resolved; "https://..."; "unix:/path". Borrowed. */
const char *mmq_http_url(const mmq_http *http);
/* Reads the file of keys again; they hold for the next request. On failure a sentence in why, and
 * nothing changes. The thread of mmq_http_new. */
mmq_err mmq_http_reread_keys(mmq_http *http, mmq_why *why) MMQ_MUST_USE;
/* How it is. Any thread, while the adapter lives. */
void mmq_http_vitals(const mmq_http *http, mmq_vitals *out);
/* Stops listening, lets answers under way end within drain_ms, breaks off (RST) the rest. */
void mmq_http_destroy(mmq_http **http);

#endif
