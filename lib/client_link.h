/* The connection of a client: to one broker of its list at a time. */
#ifndef MMQ_CLIENT_LINK_H
#define MMQ_CLIENT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/dealer.h"
#include "lib/endpoints.h"

typedef struct mmq_client_link {
    mmq_dealer *dealer; /* NULL between two connections */
    int input;          /* epoll, over the descriptors of whatever dealer there is */
    mmq_endpoints endpoints;
    const mmq_curve *curve; /* borrowed for the link's life; NULL: plain text */
    bool complained;        /* of a handshake that failed, since the last connection */
    size_t at;              /* the endpoint in use, or tried next */
    uint64_t connection;    /* serial number */
    unsigned failures;      /* endpoints left in a row without a connection that lasted */
    int64_t open_ns;        /* dealer NULL: when to try the next endpoint; else when it was tried */
    int64_t connected_ns;   /* since when there is a connection; 0: there is none yet */
} mmq_client_link;

/* Begins to connect, with the keys (NULL: none). After a failure there is nothing to clear, and a
 * sentence in why. */
mmq_err mmq_client_link_init(mmq_client_link *link, const char *endpoints, const mmq_curve *curve,
                             mmq_why *why) MMQ_MUST_USE;
/* May be called again. */
void mmq_client_link_clear(mmq_client_link *link);
/* Takes note of what happened to the connection, and tries the next endpoint if it is time. True
 * if the connection is lost or cannot be made: it must be left. */
bool mmq_client_link_check(mmq_client_link *link);
/* Goes on to the next endpoint. The caller owns the result, to read what came before the loss. */
mmq_dealer *mmq_client_link_leave(mmq_client_link *link);
/* As of the last check. */
bool mmq_client_link_connected(const mmq_client_link *link);
/* When to check again even if nothing comes; INT64_MAX: need not. */
int64_t mmq_client_link_due_ns(const mmq_client_link *link);

#endif
