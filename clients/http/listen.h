/* A listening TCP socket. */
#ifndef MMQ_LISTEN_H
#define MMQ_LISTEN_H

#include "metricmq/error.h"

enum { MMQ_HTTP_URL_MAX = 96 };

/* Binds "HOST:PORT" ("[V6]:PORT"; port 0 picks one) without blocking mode, and writes
 * "http://HOST:PORT" with the port resolved. The descriptor (the caller's to close) or -1 with a
 * sentence in why that names the address. May block on names; not on numbers. */
int mmq_listen(const char *address, char url[MMQ_HTTP_URL_MAX], mmq_why *why);

#endif
