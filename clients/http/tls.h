/* The certificate and key of an HTTPS adapter, as libmicrohttpd wants them. */
#ifndef MMQ_HTTP_TLS_H
#define MMQ_HTTP_TLS_H

#include "metricmq/error.h"

typedef struct mmq_tls {
    char *certificate; /* PEM, with the chain behind it */
    char *key;         /* PEM */
} mmq_tls;

/* Reads both files. MMQ_EINVAL with a sentence that names the file and what is wrong with it. */
mmq_err mmq_tls_load(mmq_tls *tls, const char *certificate, const char *key,
                     mmq_why *why) MMQ_MUST_USE;
/* Wipes the key. */
void mmq_tls_clear(mmq_tls *tls);

/* GnuTLS's name for TLS 1.2 and later, with its own choice of ciphers. */
#define MMQ_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

#endif
