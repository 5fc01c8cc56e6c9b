/* Connections: how many there may be, and how long each may take over what it does. One thread. */
#ifndef MMQ_SEATS_H
#define MMQ_SEATS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

/* What a connection is waited for. */
typedef enum mmq_wait {
    MMQ_WAIT_FIRST,  /* its first request line */
    MMQ_WAIT_IDLE,   /* its next request line */
    MMQ_WAIT_HEADER, /* the end of the headers behind a request line */
    MMQ_WAIT_BODY,   /* the end of the body; it must get ahead */
    MMQ_WAIT_BUS,    /* nothing of its own: it is suspended until the bus answers */
    MMQ_WAIT_NEWS,   /* nothing: it is suspended until there is news for it, however long */
    MMQ_WAIT_READER, /* taking an answer; it must get ahead */
    MMQ_WAIT_LEAVE,  /* closing: it was told to */
    MMQ_WAIT_COUNT,
} mmq_wait;

enum {
    MMQ_SEATS_BUCKETS = 1024,
    MMQ_SEATS_SPARE = 128, /* that were told to leave and are not gone yet, at most */
    MMQ_RATE_LEAST = 1024, /* bytes a second of a body that comes and an answer that is read */
};

typedef struct mmq_exchange mmq_exchange;

/* A connection's; freed when it is closed. */
typedef struct mmq_seat {
    TAILQ_ENTRY(mmq_seat) waiting;  /* on the list of its wait, in order of since_ns */
    LIST_ENTRY(mmq_seat) neighbour; /* of the same bucket */
    mmq_wait wait;
    int64_t since_ns;
    uint64_t progress; /* bytes, when since_ns was set: BODY, READER */
    uint64_t party;    /* where it comes from; not 0 */
    bool local;        /* over a unix socket */
    bool shared;       /* a proxy's on this machine, it may be: it stands for many */
    struct MHD_Connection *connection;
    mmq_exchange *exchange; /* under way on it; may be NULL */
} mmq_seat;

TAILQ_HEAD(mmq_seat_list, mmq_seat);
LIST_HEAD(mmq_seat_bucket, mmq_seat);

typedef struct mmq_seats {
    struct mmq_seat_list waits[MMQ_WAIT_COUNT];
    int64_t limits_ns[MMQ_WAIT_COUNT];
    struct mmq_seat_bucket buckets[MMQ_SEATS_BUCKETS]; /* by party */
    uint64_t salt;        /* nobody knows which parties share a bucket */
    size_t count, most;   /* connections; 'most' is a goal: see mmq_seats_admit */
    size_t most_of_party; /* 0: any number */
    int64_t look_ns;      /* when to look for suspended ones whose client has left */
    uint64_t refused, evicted;
} mmq_seats;

void mmq_seats_init(mmq_seats *seats, size_t most, size_t most_of_party);

/* MHD_AcceptPolicyCallback: refuses who has too many already, and makes room for who has not by
 * telling the connection that has been idle longest to leave. */
enum MHD_Result mmq_seats_admit(void *seats, const struct sockaddr *address, socklen_t size);
/* NULL: no memory. */
mmq_seat *mmq_seat_new(mmq_seats *seats, struct MHD_Connection *connection);
void mmq_seat_destroy(mmq_seats *seats, mmq_seat **seat);

/* Its time for this begins now. */
void mmq_seat_await(mmq_seats *seats, mmq_seat *seat, mmq_wait wait, uint64_t progress);
/* A seat whose time is over, to be awaited anew by the caller; NULL: none, and *left_ns (-1: none
 * at all) until there may be one. */
mmq_seat *mmq_seats_overdue(mmq_seats *seats, int64_t *left_ns);
/* Has it got ahead as fast as it must? progress: bytes by now. */
bool mmq_seat_gets_ahead(const mmq_seats *seats, const mmq_seat *seat, uint64_t progress);
/* Bytes of answers that the peer has acknowledged, or, where that is not known, anything that
 * differs from before if there were any. */
uint64_t mmq_seat_taken(const mmq_seat *seat, uint64_t given);

/* From now on the connection ends when something that was sent is not acknowledged for as long as a
 * reader may take: one that is waited for without a deadline would else be kept for a quarter of an
 * hour after its peer was cut off from the network. */
void mmq_seat_watch(const mmq_seats *seats, const mmq_seat *seat);
/* Calls left() for suspended connections whose client has gone; it may end them. Nanoseconds until
 * it wants to be called again, -1: whenever. */
int64_t mmq_seats_look(mmq_seats *seats, void (*left)(mmq_seat *seat));

int mmq_seat_descriptor(const mmq_seat *seat);
/* Closes it, as soon as libmicrohttpd sees that: what was sent arrives. */
void mmq_seat_close(mmq_seats *seats, mmq_seat *seat);
/* Sends RST at once (over a unix socket: just the end). */
void mmq_seat_reset(const mmq_seat *seat);
/* "127.0.0.1", "::1", "unix" */
void mmq_seat_print(const mmq_seat *seat, char *out, size_t size);

#endif
