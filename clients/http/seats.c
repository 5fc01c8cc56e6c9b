/* All waits of one kind last equally long, so each kind is a list in order of time, and nothing is
 * searched. libmicrohttpd's own timeout is off: it begins anew with each byte, and leaves suspended
 * connections alone.
 *
 * Who must get ahead (BODY, READER) is looked at when the time is over, and stays if it moved
 * MMQ_RATE_LEAST bytes a second meanwhile.
 *
 * libmicrohttpd does not watch suspended connections. Those that have been so for longer than
 * LOOK_MS are asked for their end once in that time: 4,096 of them in a third of a millisecond. */
#include "clients/http/seats.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/digest.h"

enum { LOOK_MS = 1000, POLLED = 256, FRESH_MS = 1000 };

void mmq_seats_init(mmq_seats *seats, size_t most, size_t most_of_party)
{
    for (size_t i = 0; i < MMQ_WAIT_COUNT; i++) {
        TAILQ_INIT(&seats->waits[i]);
    }
    for (size_t i = 0; i < MMQ_SEATS_BUCKETS; i++) {
        LIST_INIT(&seats->buckets[i]);
    }
    mmq_random(&seats->salt, sizeof seats->salt);
    seats->most = most;
    seats->most_of_party = most_of_party;
}

/* ---- where they come from --------------------------------------------------------------- */

/* An address as a number that is not 0; *counted: it may have too many connections. Hosts of one
 * IPv6 network (/64) are one party: each can have as many addresses there as it likes. A proxy on
 * this machine comes from 127.0.0.1, ::1 or over a unix socket, and stands for many. */
static uint64_t find_party(const struct sockaddr *address, bool *counted)
{
    uint64_t party = 0;
    *counted = false;
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *ip4 = (const struct sockaddr_in *)(const void *)address;
        party = ntohl(ip4->sin_addr.s_addr);
        *counted = party != INADDR_LOOPBACK;
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)(const void *)address;
        const uint8_t *bytes = ip6->sin6_addr.s6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&ip6->sin6_addr);
        memcpy(&party, mapped ? bytes + 8 : bytes, sizeof party);
        *counted = !IN6_IS_ADDR_LOOPBACK(&ip6->sin6_addr);
    }
    return party != 0 ? party : 1;
}

static struct mmq_seat_bucket *bucket_of(mmq_seats *seats, uint64_t party)
{
    uint64_t hash = (party ^ seats->salt) * UINT64_C(0x9E3779B97F4A7C15);
    return &seats->buckets[(hash >> 32) % MMQ_SEATS_BUCKETS];
}

static bool has_too_many(mmq_seats *seats, uint64_t party)
{
    size_t count = 0;
    const mmq_seat *seat;
    LIST_FOREACH(seat, bucket_of(seats, party), neighbour)
    {
        count += seat->party == party;
    }
    return count >= seats->most_of_party;
}

/* ---- coming and going ------------------------------------------------------------------- */

/* The one that has waited longest for a request; who has just come is given a moment. */
static mmq_seat *find_idle(const mmq_seats *seats)
{
    mmq_seat *idle = TAILQ_FIRST(&seats->waits[MMQ_WAIT_IDLE]);
    mmq_seat *first = TAILQ_FIRST(&seats->waits[MMQ_WAIT_FIRST]);
    if (idle != NULL || first == NULL) {
        return idle;
    }
    return mmq_now_ns() - first->since_ns > FRESH_MS * MMQ_NS_PER_MS ? first : NULL;
}

enum MHD_Result mmq_seats_admit(void *context, const struct sockaddr *address, socklen_t size)
{
    mmq_seats *seats = context;
    bool counted;
    const uint64_t party = find_party(size > 0 ? address : NULL, &counted);
    if (counted && seats->most_of_party > 0 && has_too_many(seats, party)) {
        seats->refused++;
        return MHD_NO;
    }
    if (seats->count < seats->most) {
        return MHD_YES;
    }
    mmq_seat *idle = find_idle(seats);
    if (idle == NULL || seats->count >= seats->most + MMQ_SEATS_SPARE - 1) {
        seats->refused++;
        return MHD_NO;
    }
    seats->evicted++;
    mmq_seat_close(seats, idle);
    return MHD_YES;
}

static const struct sockaddr *address_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}

mmq_seat *mmq_seat_new(mmq_seats *seats, struct MHD_Connection *connection)
{
    mmq_seat *seat = calloc(1, sizeof *seat);
    if (seat == NULL) {
        return NULL;
    }
    bool counted;
    const struct sockaddr *address = address_of(connection);
    seat->connection = connection;
    seat->party = find_party(address, &counted);
    seat->shared = !counted;
    seat->local = address == NULL || address->sa_family == AF_UNIX;
    seat->since_ns = mmq_now_ns();
    LIST_INSERT_HEAD(bucket_of(seats, seat->party), seat, neighbour);
    TAILQ_INSERT_TAIL(&seats->waits[MMQ_WAIT_FIRST], seat, waiting);
    seats->count++;
    return seat;
}

void mmq_seat_destroy(mmq_seats *seats, mmq_seat **seat_p)
{
    mmq_seat *seat = *seat_p;
    TAILQ_REMOVE(&seats->waits[seat->wait], seat, waiting);
    LIST_REMOVE(seat, neighbour);
    seats->count--;
    free(seat);
    *seat_p = NULL;
}

/* ---- time ------------------------------------------------------------------------------- */

void mmq_seat_await(mmq_seats *seats, mmq_seat *seat, mmq_wait wait, uint64_t progress)
{
    TAILQ_REMOVE(&seats->waits[seat->wait], seat, waiting);
    TAILQ_INSERT_TAIL(&seats->waits[wait], seat, waiting);
    seat->wait = wait;
    seat->since_ns = mmq_now_ns();
    seat->progress = progress;
}

mmq_seat *mmq_seats_overdue(mmq_seats *seats, int64_t *left_ns)
{
    const int64_t now_ns = mmq_now_ns();
    *left_ns = -1;
    for (size_t i = 0; i < MMQ_WAIT_COUNT; i++) {
        mmq_seat *seat = TAILQ_FIRST(&seats->waits[i]);
        int64_t left = seat != NULL ? seat->since_ns + seats->limits_ns[i] - now_ns : 0;
        if (seat == NULL) {
            continue;
        }
        if (left <= 0) {
            return seat;
        }
        *left_ns = *left_ns < 0 || left < *left_ns ? left : *left_ns;
    }
    return NULL;
}

bool mmq_seat_gets_ahead(const mmq_seats *seats, const mmq_seat *seat, uint64_t progress)
{
    if (seat->local && seat->wait == MMQ_WAIT_READER) {
        return progress != seat->progress;
    }
    const uint64_t least =
        (uint64_t)(seats->limits_ns[seat->wait] / MMQ_NS_PER_MS) * MMQ_RATE_LEAST / 1000;
    return progress - seat->progress >= (least > 0 ? least : 1);
}

uint64_t mmq_seat_taken(const mmq_seat *seat, uint64_t given)
{
    const int fd = mmq_seat_descriptor(seat);
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (!seat->local && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) {
        return info.tcpi_bytes_acked;
    }
    int queued = 0;
    (void)ioctl(fd, SIOCOUTQ, &queued);
    return given - (uint64_t)queued;
}

/* ---- vanished clients ------------------------------------------------------------------- */

/* Those from this one on that wait since before that time; how many. */
static size_t collect(mmq_seat *from, int64_t before_ns, mmq_seat *found[POLLED],
                      struct pollfd polled[POLLED])
{
    size_t count = 0;
    for (mmq_seat *seat = from; seat != NULL && count < POLLED && seat->since_ns < before_ns;
         seat = TAILQ_NEXT(seat, waiting)) {
        found[count] = seat;
        polled[count++] = (struct pollfd){.fd = mmq_seat_descriptor(seat), .events = POLLRDHUP};
    }
    return count;
}

/* Looks at those on the list that have waited for a while. */
static void look_at(const struct mmq_seat_list *list, int64_t now_ns, void (*left)(mmq_seat *seat))
{
    const int64_t before_ns = now_ns - LOOK_MS * MMQ_NS_PER_MS;
    mmq_seat *next = TAILQ_FIRST(list);
    mmq_seat *found[POLLED];
    struct pollfd polled[POLLED];
    size_t count;
    while ((count = collect(next, before_ns, found, polled)) > 0) {
        next = TAILQ_NEXT(found[count - 1], waiting);
        int ready = poll(polled, count, 0);
        for (size_t i = 0; ready > 0 && i < count; i++) {
            if (polled[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) {
                left(found[i]);
            }
        }
    }
}

int64_t mmq_seats_look(mmq_seats *seats, void (*left)(mmq_seat *seat))
{
    const int64_t now_ns = mmq_now_ns();
    if (TAILQ_EMPTY(&seats->waits[MMQ_WAIT_BUS]) && TAILQ_EMPTY(&seats->waits[MMQ_WAIT_NEWS])) {
        return -1;
    }
    if (now_ns < seats->look_ns) {
        return seats->look_ns - now_ns;
    }
    seats->look_ns = now_ns + LOOK_MS * MMQ_NS_PER_MS;
    look_at(&seats->waits[MMQ_WAIT_BUS], now_ns, left);
    look_at(&seats->waits[MMQ_WAIT_NEWS], now_ns, left);
    return LOOK_MS * MMQ_NS_PER_MS;
}

void mmq_seat_watch(const mmq_seats *seats, const mmq_seat *seat)
{
    const unsigned most_ms = (unsigned)(seats->limits_ns[MMQ_WAIT_READER] / MMQ_NS_PER_MS);
    if (!seat->local) { /* if it fails, TCP gives up later */
        (void)setsockopt(mmq_seat_descriptor(seat), IPPROTO_TCP, TCP_USER_TIMEOUT, &most_ms,
                         sizeof most_ms);
    }
}

/* ---- sockets ---------------------------------------------------------------------------- */

int mmq_seat_descriptor(const mmq_seat *seat)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(seat->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

void mmq_seat_close(mmq_seats *seats, mmq_seat *seat)
{
    (void)shutdown(mmq_seat_descriptor(seat), SHUT_RDWR);
    mmq_seat_await(seats, seat, MMQ_WAIT_LEAVE, 0);
}

/* SO_LINGER would not do: libmicrohttpd shuts the connection down before it closes it, and the
 * FIN, which a reader of HTTP/1.0 takes for the end, would come first. */
void mmq_seat_reset(const mmq_seat *seat)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    const int fd = mmq_seat_descriptor(seat);
    if (seat->local) {
        (void)shutdown(fd, SHUT_RDWR);
    } else {
        (void)connect(fd, &nobody, sizeof nobody);
    }
}

void mmq_seat_print(const mmq_seat *seat, char *out, size_t size)
{
    const struct sockaddr *address = address_of(seat->connection);
    const void *bytes = NULL;
    snprintf(out, size, "unix");
    if (address && address->sa_family == AF_INET) {
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    } else if (address && address->sa_family == AF_INET6) {
        bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    }
    if (bytes) {
        (void)inet_ntop(address->sa_family, bytes, out, (socklen_t)size);
    }
}
