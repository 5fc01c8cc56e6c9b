/* A valve in the pipe between a worker and a broker: shut, it lets nothing through to the broker,
 * while the other direction still flows. One connection; later ones are taken and never served.
 *
 * A ROUTER that just does not read would do as well, but libzmq 4.3.4 may abort
 * (stream_engine_base,
 * !_io_error) when the peer of such a connection leaves and a ping was the last that it sent. */
#ifndef VALVE_H
#define VALVE_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/lib/fake_broker.h"

typedef struct valve {
    char endpoint[64];
    int listener, worker, broker;
    atomic_bool shut, stop;
    pthread_t thread;
} valve;

/* Passes on what there is; false when the connection has ended. */
static inline bool valve_pass(int from, int to)
{
    char bytes[16 * 1024];
    const ssize_t size = recv(from, bytes, sizeof bytes, 0);
    return size > 0 && send(to, bytes, (size_t)size, MSG_NOSIGNAL) == size;
}

static inline void *valve_run(void *context)
{
    valve *v = context;
    v->worker = accept(v->listener, NULL, NULL);
    bool open = true;
    while (open && !atomic_load(&v->stop)) {
        struct pollfd ends[] = {
            {.fd = v->broker, .events = POLLIN},
            {.fd = v->worker, .events = atomic_load(&v->shut) ? 0 : POLLIN},
        };
        (void)poll(ends, 2, 5);
        open = !(ends[0].revents & POLLIN) || valve_pass(v->broker, v->worker);
        open = open && (!(ends[1].revents & POLLIN) || valve_pass(v->worker, v->broker));
    }
    return NULL;
}

static inline void valve_start(valve *v, const fake_broker *fake)
{
    memset(v, 0, sizeof *v);
    v->listener = fake_hang(v->endpoint);
    v->broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *port = strrchr(fake->endpoint, ':') + 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = inet_addr(own_address()),
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    assert_int_equal(connect(v->broker, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(pthread_create(&v->thread, NULL, valve_run, v), 0);
}

static inline void valve_stop(valve *v)
{
    atomic_store(&v->stop, true);
    assert_int_equal(pthread_join(v->thread, NULL), 0);
    close(v->worker);
    close(v->broker);
    close(v->listener);
}

#endif
