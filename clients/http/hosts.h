/* Which Host and Origin of a request are ours. Pure; any thread.
 *
 * A page of any web site can make its reader's browser send requests to addresses that only that
 * browser reaches, loopback above all: with the page's own Origin, or (DNS rebinding) under a name
 * of the page's that suddenly leads to our address. So who sends a Host that is no address or name
 * of ours, or an Origin that is neither ours nor configured, is refused. */
#ifndef MMQ_HTTP_HOSTS_H
#define MMQ_HTTP_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "metricmq/error.h"

typedef struct mmq_hosts {
    const char *const *names; /* of --http-host; borrowed */
    size_t count;
    bool any;                      /* every Host is ours */
    bool local;                    /* bound to loopback, or to any address: "localhost" is ours */
    struct sockaddr_storage bound; /* of TCP */
    char given[256];               /* the host of --http, which may be a name */
} mmq_hosts;

/* listen: the text of --http; bound: where that led. names stay borrowed: names or addresses
 * without a port, or "*". MMQ_EINVAL with a sentence if one of them is none. */
mmq_err mmq_hosts_init(mmq_hosts *hosts, const char *listen, const struct sockaddr_storage *bound,
                       const char *const *names, size_t count, mmq_why *why) MMQ_MUST_USE;
/* Is this value of a Host field one of ours? Its port does not matter: a port may be forwarded, and
 * rebinding is of names. */
bool mmq_hosts_know(const mmq_hosts *hosts, const char *host);
/* Is this Origin the place that the Host names (which is one of ours)? Its scheme does not matter:
 * TLS may end before us. */
bool mmq_origin_is_own(const char *origin, const char *host);
/* Loopback or a unix socket: nobody from another machine comes in. */
bool mmq_address_is_local(const struct sockaddr_storage *bound);

#endif
