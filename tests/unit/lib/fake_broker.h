/* A broker that a test plays by hand: a ROUTER, and the messages of MDP read and written one by
 * one. Every wait is for a condition and fails after WAIT_MS. */
#ifndef FAKE_BROKER_H
#define FAKE_BROKER_H

#include <arpa/inet.h>
#include <czmq.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "metricmq/pack.h"
#include "metricmq/client.h"
#include "lib/message.h"
#include "lib/envelope.h"

enum { WAIT_MS = 10000 };

typedef struct fake_broker {
    zsock_t *router;
    char endpoint[64];
    mmq_message last; /* as received: peer, then the envelope */
    mmq_envelope envelope;
    mmq_routing routing; /* of a REQUEST's body */
} fake_broker;

/* A loopback address that no other process has: a port that is free for a moment, because a broker
 * of ours is away, is nobody else's. */
static inline const char *own_address(void)
{
    static char address[16];
    unsigned id = (unsigned)getpid();
    snprintf(address, sizeof address, "127.%u.%u.%u", 1 + (id >> 16) % 127, (id >> 8) % 256,
             id % 255);
    return address;
}

static inline void fake_bind(fake_broker *fake)
{
    fake->router = zsock_new(ZMQ_ROUTER);
    assert_non_null(fake->router);
    zsock_set_linger(fake->router, 1000);
    zsock_set_sndhwm(fake->router, 0); /* past it a ROUTER drops */
    for (int i = 0; zsock_bind(fake->router, "%s", fake->endpoint) < 0; i++) {
        assert_true(i < WAIT_MS); /* the port of a closed socket is free again soon */
        (void)poll(NULL, 0, 1);
    }
}

static inline void fake_start(fake_broker *fake)
{
    memset(fake, 0, sizeof *fake);
    mmq_message_init(&fake->last);
    snprintf(fake->endpoint, sizeof fake->endpoint, "tcp://%s:*", own_address());
    fake_bind(fake);
    char *bound = zsock_last_endpoint(fake->router);
    assert_true(strlen(bound) < sizeof fake->endpoint);
    strcpy(fake->endpoint, bound);
    freen(bound);
}

/* libzmq closes its listening socket some time after; whoever connects meanwhile would find a
 * broker that takes a request and dies. */
static inline bool still_listens(const char *endpoint)
{
    const int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = inet_addr(own_address()),
        .sin_port = htons((uint16_t)strtoul(strrchr(endpoint, ':') + 1, NULL, 10)),
    };
    const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(descriptor >= 0);
    assert_int_equal(setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    const bool taken = bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0;
    close(descriptor);
    return taken;
}

static inline void fake_close(fake_broker *fake)
{
    zsock_destroy(&fake->router);
    for (int i = 0; still_listens(fake->endpoint); i++) {
        assert_true(i < WAIT_MS);
        (void)poll(NULL, 0, 1);
    }
}

static inline void fake_stop(fake_broker *fake)
{
    mmq_message_clear(&fake->last);
    zsock_destroy(&fake->router);
}

/* A broker that hangs: connections are made, but nobody ever speaks. Returns a descriptor. */
static inline int fake_hang(char endpoint[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = inet_addr(own_address())};
    socklen_t size = sizeof address;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(descriptor >= 0);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(descriptor, 16), 0);
    assert_int_equal(getsockname(descriptor, (struct sockaddr *)&address, &size), 0);
    snprintf(endpoint, 64, "tcp://%s:%d", own_address(), ntohs(address.sin_port));
    return descriptor;
}

/* True if a message was there; else the last one stays. */
static inline bool fake_poll(fake_broker *fake, bool from_worker)
{
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err = mmq_message_receive(&message, zsock_resolve(fake->router), SIZE_MAX);
    if (err == MMQ_EAGAIN) {
        return false;
    }
    assert_int_equal(err, MMQ_OK);
    mmq_message_move(&fake->last, &message);
    mmq_why why = {""};
    err = from_worker ? mmq_envelope_parse_worker(&fake->last, 1, &fake->envelope, &why)
                      : mmq_envelope_parse_client(&fake->last, 1, &fake->envelope, &why);
    if (err != MMQ_OK) {
        fail_msg("malformed: %s", why.text);
    }
    if (!from_worker) {
        const mmq_frame *body = &fake->last.frames[fake->envelope.body];
        mmq_routing_scan(mmq_frame_data(body), mmq_frame_size(body), &fake->routing);
    }
    return true;
}

/* Begins a message to the peer of the last one. */
static inline void begin_to_peer(const fake_broker *fake, mmq_message *out)
{
    mmq_message_init(out);
    const mmq_frame *peer = &fake->last.frames[0];
    assert_int_equal(mmq_message_append_copy(out, mmq_frame_data(peer), mmq_frame_size(peer)), 0);
}

static inline void fake_send(fake_broker *fake, mmq_message *out)
{
    assert_int_equal(mmq_message_send(out, zsock_resolve(fake->router)), 0);
    mmq_message_clear(out);
}

/* Sends frames as they are to the peer of the last message; NULL ends the list. */
static inline void fake_raw(fake_broker *fake, const char *const *frames)
{
    mmq_message out;
    begin_to_peer(fake, &out);
    for (; *frames != NULL; frames++) {
        assert_int_equal(mmq_message_append_copy(&out, *frames, strlen(*frames)), 0);
    }
    fake_send(fake, &out);
}

static inline mmq_text fake_text(const char *text)
{
    return (mmq_text){text, text != NULL ? strlen(text) : 0};
}

/* Answers the last request of a client. */
static inline void fake_answer(fake_broker *fake, bool final, const mmq_header *header,
                               const char *payload)
{
    mmq_message out;
    begin_to_peer(fake, &out);
    assert_int_equal(mmq_envelope_begin_client(&out, final ? MMQ_CLIENT_FINAL : MMQ_CLIENT_PARTIAL,
                                               fake->envelope.service, fake->envelope.service_size),
                     0);
    mmq_header copy = *header;
    if (copy.id == NULL) {
        copy.id = fake->routing.id;
        copy.id_size = fake->routing.id_size;
    }
    mmq_frame frame;
    mmq_frame_init(&frame);
    assert_int_equal(final ? mmq_header_final(&frame, &copy) : mmq_header_partial(&frame, &copy),
                     0);
    assert_int_equal(mmq_message_append(&out, &frame), 0);
    mmq_frame_close(&frame);
    if (payload != NULL) {
        assert_int_equal(mmq_message_append_copy(&out, payload, strlen(payload)), 0);
    }
    fake_send(fake, &out);
}

static inline void fake_partial(fake_broker *fake, int64_t seq, const char *cursor,
                                const char *payload)
{
    mmq_header header = {.seq = seq, .rows = -1, .cursor = fake_text(cursor)};
    fake_answer(fake, false, &header, payload);
}

static inline void fake_final(fake_broker *fake, int status, int64_t seq, const char *next,
                              const char *payload)
{
    mmq_header header = {.status = status,
                         .seq = seq,
                         .rows = 1,
                         .next = fake_text(next),
                         .state = fake_text("state-1"),
                         .error = fake_text(status >= 400 ? "so it is" : NULL)};
    fake_answer(fake, true, &header, payload);
}

/* Steps the client until a request came to the broker. */
static inline void await_request(fake_broker *fake, mmq_client *client)
{
    int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    while (!fake_poll(fake, false)) {
        assert_true(mmq_now_ns() < end_ns);
        (void)mmq_client_step(client);
        (void)poll(NULL, 0, 1);
    }
}

#define AWAIT(client, condition)                                                                   \
    do {                                                                                           \
        int64_t end_ns_ = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;                                  \
        while ((void)mmq_client_step(client), !(condition)) {                                      \
            assert_true(mmq_now_ns() < end_ns_);                                                   \
            (void)poll(NULL, 0, 1);                                                                \
        }                                                                                          \
    } while (0)

#endif
