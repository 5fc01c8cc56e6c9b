/* Endpoints are tried in the order of the list, round and round. The first broker that finishes the
 * handshake is used until its connection is lost; it is not left for one that comes earlier in the
 * list. A broker that refuses, or has not finished the handshake in time, is passed over: the time
 * doubles with each round, since a broker may be far away, and between rounds there is a pause. Who
 * has one endpoint leaves the attempts to libzmq.
 *
 * A DEALER is used for one connection only. What libzmq still holds of a lost one, in either
 * direction, goes with it: no request reaches a broker that returns after its sender was told that
 * it is lost, and no answer to it comes late. */
#include "lib/client_link.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/envelope.h"

enum {
    SEND_HWM = 1000,
    PING_TIMEOUT_MS = 5000,
    PING_TIMEOUT_SEVERAL_MS = 3000, /* there is somewhere else to go */
    PATIENCE_LEAST_MS = 500,        /* with a broker that does not finish the handshake */
    PATIENCE_MOST_MS = 4000,
    PAUSE_LEAST_MS = 100,
    PAUSE_MOST_MS = 250, /* a broker that was restarted is found soon */
    LASTING_MS = 1000,   /* a connection that lasted so long was a good one */
};

static bool has_several(const mmq_client_link *link)
{
    return link->endpoints.count > 1;
}

static unsigned rounds(const mmq_client_link *link)
{
    return link->failures / (unsigned)link->endpoints.count;
}

static int64_t patience_ns(const mmq_client_link *link)
{
    int64_t ms = PATIENCE_LEAST_MS;
    for (unsigned i = 0; i < rounds(link) && ms < PATIENCE_MOST_MS; i++) {
        ms *= 2;
    }
    return ms * MMQ_NS_PER_MS;
}

static mmq_err watch_dealer(const mmq_client_link *link, mmq_why *why)
{
    int descriptors[MMQ_DEALER_DESCRIPTORS];
    mmq_dealer_descriptors(link->dealer, descriptors);
    for (size_t i = 0; i < MMQ_DEALER_DESCRIPTORS; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        if (epoll_ctl(link->input, EPOLL_CTL_ADD, descriptors[i], &event) != 0) {
            return mmq_fail(why, MMQ_EUNAVAILABLE, "a client cannot wait for its socket: %s",
                            strerror(errno));
        }
    }
    return MMQ_OK;
}

/* libzmq closes the descriptors some time after the socket was destroyed. */
static mmq_dealer *take_dealer(mmq_client_link *link)
{
    mmq_dealer *dealer = link->dealer;
    link->dealer = NULL;
    if (dealer == NULL) {
        return NULL;
    }
    int descriptors[MMQ_DEALER_DESCRIPTORS];
    mmq_dealer_descriptors(dealer, descriptors);
    for (size_t i = 0; i < MMQ_DEALER_DESCRIPTORS; i++) {
        (void)epoll_ctl(link->input, EPOLL_CTL_DEL, descriptors[i], NULL);
    }
    return dealer;
}

static void destroy_dealer(mmq_client_link *link)
{
    mmq_dealer *dealer = take_dealer(link);
    mmq_dealer_destroy(&dealer, 0);
}

static mmq_err open_dealer(mmq_client_link *link, mmq_why *why)
{
    const mmq_dealer_options options = {
        .frame_max = MMQ_FRAME_LIMIT,
        .send_hwm = SEND_HWM,
        .ping_timeout_ms = has_several(link) ? PING_TIMEOUT_SEVERAL_MS : PING_TIMEOUT_MS,
        .once = has_several(link),
        .curve = link->curve,
    };
    link->open_ns = mmq_now_ns();
    link->connected_ns = 0;
    link->dealer = mmq_dealer_new(link->endpoints.items[link->at], &options, why);
    if (link->dealer == NULL) {
        return MMQ_EUNAVAILABLE;
    }
    mmq_err err = watch_dealer(link, why);
    if (err != MMQ_OK) {
        destroy_dealer(link);
    }
    return err;
}

/* Only the first endpoint is connected to now, but a mistake in any is found now. */
static mmq_err init_endpoints(mmq_client_link *link, const char *endpoints, mmq_why *why)
{
    mmq_err err = mmq_endpoints_split(endpoints, &link->endpoints, why);
    return err == MMQ_OK && has_several(link) ? mmq_endpoints_check(&link->endpoints, why) : err;
}

mmq_err mmq_client_link_init(mmq_client_link *link, const char *endpoints, const mmq_curve *curve,
                             mmq_why *why)
{
    *link = (mmq_client_link){.input = epoll_create1(EPOLL_CLOEXEC), .curve = curve};
    mmq_err err = link->input >= 0
                      ? init_endpoints(link, endpoints, why)
                      : mmq_fail(why, MMQ_EUNAVAILABLE, "no descriptors left for a client");
    if (err == MMQ_OK) {
        err = open_dealer(link, why);
    }
    if (err != MMQ_OK) {
        mmq_client_link_clear(link);
    }
    return err;
}

void mmq_client_link_clear(mmq_client_link *link)
{
    destroy_dealer(link);
    mmq_endpoints_clear(&link->endpoints);
    if (link->input >= 0) {
        close(link->input);
    }
    *link = (mmq_client_link){.input = -1};
}

/* Tries the next endpoint, if it is time. */
static void open_due(mmq_client_link *link)
{
    mmq_why why;
    if (mmq_now_ns() >= link->open_ns && open_dealer(link, &why) != MMQ_OK) {
        mmq_log(MMQ_ERROR, "cannot connect to a broker", MMQ_S("reason", why.text));
        link->open_ns = mmq_now_ns() + PAUSE_MOST_MS * MMQ_NS_PER_MS;
    }
}

static bool is_passed_over(const mmq_client_link *link)
{
    return has_several(link) &&
           (mmq_dealer_refused(link->dealer) || mmq_now_ns() - link->open_ns >= patience_ns(link));
}

/* Once, until there is a connection: attempts are repeated for ever. */
static void complain_of_denial(mmq_client_link *link)
{
    if (mmq_dealer_denied(link->dealer) && !link->complained) {
        link->complained = true;
        mmq_log(MMQ_WARN,
                "the handshake with the broker failed: do both sides use CURVE, and are the keys "
                "right?",
                MMQ_S("broker", link->endpoints.items[link->at]));
    }
}

/* A dealer is looked at as soon as it is open: a descriptor of libzmq wakes only who has found its
 * socket empty. */
bool mmq_client_link_check(mmq_client_link *link)
{
    if (link->dealer == NULL) {
        open_due(link);
    }
    if (link->dealer == NULL) {
        return false;
    }
    const bool lost = mmq_dealer_check(link->dealer);
    complain_of_denial(link);
    if (lost) {
        return true;
    }
    if (!mmq_dealer_connected(link->dealer)) {
        return is_passed_over(link);
    }
    if (link->connected_ns == 0) {
        link->connected_ns = mmq_now_ns();
        link->complained = false;
    }
    return false;
}

mmq_dealer *mmq_client_link_leave(mmq_client_link *link)
{
    const int64_t now_ns = mmq_now_ns();
    const bool had_lasted =
        link->connected_ns > 0 && now_ns - link->connected_ns >= LASTING_MS * MMQ_NS_PER_MS;
    const char *left = link->endpoints.items[link->at];
    link->connection++;
    link->failures = had_lasted ? 1 : link->failures + 1;
    link->at = (link->at + 1) % link->endpoints.count;
    link->open_ns = now_ns;
    if (link->failures % link->endpoints.count == 0) {
        link->open_ns += mmq_backoff_ns(rounds(link) - 1, PAUSE_LEAST_MS, PAUSE_MOST_MS);
    }
    mmq_log(link->connected_ns > 0 && has_several(link) ? MMQ_WARN : MMQ_DEBUG,
            "the connection to the broker ends", MMQ_S("broker", left),
            MMQ_S("next", link->endpoints.items[link->at]));
    return take_dealer(link);
}

bool mmq_client_link_connected(const mmq_client_link *link)
{
    return link->dealer != NULL && mmq_dealer_connected(link->dealer);
}

int64_t mmq_client_link_due_ns(const mmq_client_link *link)
{
    if (link->dealer == NULL) {
        return link->open_ns;
    }
    return has_several(link) && !mmq_dealer_connected(link->dealer)
               ? link->open_ns + patience_ns(link)
               : INT64_MAX;
}
