/* A listening socket. */
#ifndef MMQ_LISTEN_H
#define MMQ_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "metricmq/error.h"

enum { MMQ_HTTP_URL_MAX = 128 };

typedef struct mmq_listener {
    int descriptor;             /* -1: closed */
    char url[MMQ_HTTP_URL_MAX]; /* "http://HOST:PORT" with the port resolved; "unix:PATH" */
    dev_t device;               /* of a unix socket's file, */
    ino_t inode;                /* so that no other's is removed */
    struct sockaddr_storage bound;
} mmq_listener;

/* Binds "HOST:PORT" ("[V6]:PORT"; port 0 picks one) or "unix:PATH" without blocking mode; tls: the
 * url begins with https. A socket file that nobody listens on any more is replaced; the new one is
 * for its owner and group. May block on names; not on numbers. On failure a sentence in why names
 * the address. */
mmq_err mmq_listen(mmq_listener *listener, const char *address, bool tls,
                   mmq_why *why) MMQ_MUST_USE;
/* Whether mmq_listen could, were the address free; keeps it from nobody. *bound: as of a listener,
 * but the port may be 0. */
mmq_err mmq_listen_check(const char *address, struct sockaddr_storage *bound,
                         mmq_why *why) MMQ_MUST_USE;
/* Closes it, and removes its file. */
void mmq_listener_close(mmq_listener *listener);

#endif
