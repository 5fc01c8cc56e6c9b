/* The broker's thread: ROUTER sockets around the core.
 *
 * One pair of routers is for the network, one for this process (`up`), so that what strangers do to
 * the former does not touch the latter. The loop drains workers before clients, since answers free
 * what requests wait for, in bounded bursts; only when all are empty it sleeps. It polls the
 * routers' descriptors itself, since zmq_poll asks the kernel about each socket once more. A
 * descriptor may be silent though there is input, if libzmq took note of it while we sent: so a
 * router that was sent on is looked at before the next sleep (`pending`).
 *
 * Sockets are made and bound by the caller of mmq_broker_new, so that errors come back to it, and
 * belong to the thread until that has ended. */
#include "broker/broker.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/core.h"
#include "broker/keys.h"
#include "broker/pressure.h"
#include "broker/router.h"
#include "broker/settings.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/files.h"
#include "lib/log.h"
#include "lib/process.h"
#include "lib/message.h"
#include "lib/envelope.h"

enum {
    BURST = 256,               /* messages of one socket before the others are looked at */
    TURNS = 16,                /* without a look at what is rare */
    ENVELOPE_ROOM = 64 * 1024, /* over the bound on bodies: peer, magic, service, headers */
    SERVICES_MAX = 1000,
    WORKERS_MAX = 10000,
    REQUESTS_MAX = 100000,
    BYTES_MAX = 256 * 1024 * 1024,
    CONNECTION_BYTES = 64 * 1024, /* what libzmq needs for a connection: buffers and pipes */
    DESCRIPTORS_MAX = 1 + MMQ_KEYS_DESCRIPTORS + MMQ_SIDES * MMQ_ROUTER_DESCRIPTORS,
};

#define REBIND_NS   (20 * MMQ_NS_PER_MS) /* between tries to listen again */
#define COMPLAIN_NS (10 * MMQ_NS_PER_S)

struct mmq_broker {
    pthread_t thread;
    bool running;
    int stop;                       /* eventfd */
    mmq_router *routers[MMQ_SIDES]; /* NULL: none on that side */
    bool pending[MMQ_SIDES];        /* may have input that its descriptor does not tell of */
    struct pollfd polled[DESCRIPTORS_MAX];
    int8_t polled_side[DESCRIPTORS_MAX]; /* whose router it is; -1: none's, or its monitor's */
    size_t polled_count;
    mmq_core *core;
    mmq_pressure pressure;
    uint64_t reopened;  /* routers, for memory that was not accounted for */
    bool scarce;        /* of descriptors: nobody new is let in */
    mmq_bus_keys *keys; /* NULL: plain text */
    bool asked;         /* there may be more for the keys to do */
    uint64_t told;      /* handshakes that failed, as of the last line of the log about them */
    int64_t told_ns;
    unsigned drain_ms;
    /* For mmq_broker_vitals; written by the thread. */
    struct {
        atomic_uint_fast64_t passes, requests;
        atomic_size_t clients, workers, waiting, held;
    } vital;
};

/* The order in which they are drained. */
static const mmq_side drain_order[MMQ_SIDES] = {
    MMQ_SIDE_LOCAL_WORKERS,
    MMQ_SIDE_WORKERS,
    MMQ_SIDE_LOCAL_CLIENTS,
    MMQ_SIDE_CLIENTS,
};

static mmq_err send_message(void *context, mmq_side side, mmq_message *message)
{
    mmq_broker *broker = context;
    broker->pending[side] = true;
    return mmq_message_send(message, mmq_router_socket(broker->routers[side]));
}

/* Takes what has come, at most a burst. */
static void drain_router(mmq_broker *broker, mmq_side side)
{
    void *socket = mmq_router_socket(broker->routers[side]);
    size_t size_max =
        (size_t)(mmq_side_works(side) ? MMQ_FRAME_LIMIT : MMQ_MESSAGE_MAX) + ENVELOPE_ROOM;
    int64_t now_ns = mmq_now_ns();
    mmq_message message;
    mmq_message_init(&message);
    int count = 0;
    for (; count < BURST; count++) {
        mmq_err err = mmq_message_receive(&message, socket, size_max);
        if (err == MMQ_OK) {
            mmq_core_receive(broker->core, side, &message, now_ns);
        } else if (err == MMQ_ETOOBIG || err == MMQ_ENOMEM) {
            mmq_core_too_big(broker->core, side, &message, now_ns);
        } else {
            break;
        }
    }
    mmq_message_clear(&message);
    broker->pending[side] = count == BURST;
    if (!mmq_side_works(side)) { /* libzmq wakes us, too, when a full client has read */
        mmq_core_retry(broker->core, now_ns);
    }
}

/* ---- what is rare ------------------------------------------------------------------------- */

static void add_descriptor(mmq_broker *broker, int descriptor, int side)
{
    CHECK(broker->polled_count < DESCRIPTORS_MAX);
    broker->polled_side[broker->polled_count] = (int8_t)side;
    broker->polled[broker->polled_count++] = (struct pollfd){.fd = descriptor, .events = POLLIN};
}

static void collect_descriptors(mmq_broker *broker)
{
    broker->polled_count = 0;
    add_descriptor(broker, broker->stop, -1);
    if (broker->keys != NULL) {
        int descriptors[MMQ_KEYS_DESCRIPTORS];
        mmq_bus_keys_descriptors(broker->keys, descriptors);
        for (size_t i = 0; i < MMQ_KEYS_DESCRIPTORS; i++) {
            add_descriptor(broker, descriptors[i], -1);
        }
    }
    for (size_t side = 0; side < MMQ_SIDES; side++) {
        int descriptors[MMQ_ROUTER_DESCRIPTORS];
        size_t count = broker->routers[side] != NULL
                           ? mmq_router_descriptors(broker->routers[side], descriptors)
                           : 0;
        for (size_t i = 0; i < count; i++) {
            add_descriptor(broker, descriptors[i], i == 0 ? (int)side : -1);
        }
    }
}

static void reopen_router(mmq_broker *broker, mmq_side side)
{
    mmq_why why;
    mmq_log(MMQ_WARN, "memory that is no accepted request's: all connections are cut",
            MMQ_S("side", mmq_side_works(side) ? "workers" : "clients"),
            MMQ_I("resident", broker->pressure.memory));
    if (mmq_router_reopen(broker->routers[side], &why) != MMQ_OK) {
        mmq_log(MMQ_ERROR, "cannot open the socket anew", MMQ_S("reason", why.text));
        return;
    }
    broker->reopened++;
    mmq_core_lose(broker->core, side, mmq_now_ns());
    collect_descriptors(broker);
}

static size_t connections_on(const mmq_broker *broker, mmq_side side)
{
    return mmq_router_connections(broker->routers[side]);
}

static size_t accounted_bytes(const mmq_broker *broker)
{
    size_t connections =
        connections_on(broker, MMQ_SIDE_CLIENTS) + connections_on(broker, MMQ_SIDE_WORKERS);
    return mmq_core_bytes(broker->core) + connections * CONNECTION_BYTES;
}

static void relieve_memory(mmq_broker *broker)
{
    switch (mmq_pressure_look(&broker->pressure, accounted_bytes(broker), mmq_now_ns())) {
    case MMQ_RELIEF_CLIENTS:
        reopen_router(broker, MMQ_SIDE_CLIENTS);
        break;
    case MMQ_RELIEF_WORKERS:
        reopen_router(broker, MMQ_SIDE_WORKERS);
        break;
    case MMQ_RELIEF_NONE:
        break;
    }
}

/* Who is connected goes on; libzmq would spin on a connection that it has no descriptor for. */
static void tend_doors(mmq_broker *broker)
{
    bool scarce = mmq_pressure_scarce(&broker->pressure, broker->scarce);
    if (scarce != broker->scarce) {
        mmq_log(scarce ? MMQ_WARN : MMQ_INFO,
                scarce ? "descriptors run out: no more connections are taken"
                       : "there are descriptors again: connections are taken",
                MMQ_I("descriptors", broker->pressure.descriptors),
                MMQ_I("limit", broker->pressure.descriptor_max));
        broker->scarce = scarce;
    }
    mmq_router_listen(broker->routers[MMQ_SIDE_CLIENTS], !scarce);
    mmq_router_listen(broker->routers[MMQ_SIDE_WORKERS], !scarce);
    broker->pending[MMQ_SIDE_CLIENTS] = broker->pending[MMQ_SIDE_WORKERS] = true; /* as by a send */
}

static mmq_handshakes failed_handshakes(const mmq_broker *broker, mmq_side side)
{
    return mmq_router_handshakes(broker->routers[side]);
}

static uint64_t all_failures(mmq_handshakes failed)
{
    return failed.protocol + failed.denied + failed.ended;
}

/* Rarely: a peer that is set up wrongly tries again several times a second. A key that is in no
 * list is the ZAP handler's to tell. Connections that only end are looked at by port scanners and
 * health checks: they count, and are no news. */
static void tell_handshakes(mmq_broker *broker)
{
    const mmq_handshakes clients = failed_handshakes(broker, MMQ_SIDE_CLIENTS);
    const mmq_handshakes workers = failed_handshakes(broker, MMQ_SIDE_WORKERS);
    const uint64_t failed = clients.protocol + workers.protocol;
    if (failed == broker->told || mmq_now_ns() - broker->told_ns < COMPLAIN_NS) {
        return;
    }
    mmq_log(MMQ_WARN,
            broker->keys != NULL
                ? "handshakes failed: peers without CURVE, or with another server's key"
                : "handshakes failed: peers that speak no ZMTP, or want CURVE",
            MMQ_I("clients", clients.protocol), MMQ_I("workers", workers.protocol),
            MMQ_I("new", failed - broker->told));
    broker->told = failed;
    broker->told_ns = mmq_now_ns();
}

static void tell_gauges(mmq_broker *broker)
{
    const mmq_core_gauges gauges = {
        .client_connections = connections_on(broker, MMQ_SIDE_CLIENTS),
        .worker_connections = connections_on(broker, MMQ_SIDE_WORKERS),
        .descriptors = broker->pressure.descriptors,
        .descriptors_max = broker->pressure.descriptor_max,
        .memory = broker->pressure.memory,
        .reopened = broker->reopened,
        .client_handshakes_failed = all_failures(failed_handshakes(broker, MMQ_SIDE_CLIENTS)),
        .worker_handshakes_failed = all_failures(failed_handshakes(broker, MMQ_SIDE_WORKERS)),
    };
    mmq_core_set_gauges(broker->core, &gauges);
    const mmq_core_counts counts = mmq_core_count(broker->core);
    atomic_store_explicit(&broker->vital.requests, counts.requests, memory_order_relaxed);
    atomic_store_explicit(&broker->vital.clients, gauges.client_connections, memory_order_relaxed);
    atomic_store_explicit(&broker->vital.workers, counts.workers, memory_order_relaxed);
    atomic_store_explicit(&broker->vital.waiting, counts.waiting, memory_order_relaxed);
    atomic_store_explicit(&broker->vital.held, counts.held, memory_order_relaxed);
}

/* Keys, connections, descriptors, memory. */
static void tend_routers(mmq_broker *broker)
{
    broker->asked = broker->keys != NULL && mmq_bus_keys_serve(broker->keys, broker->core);
    (void)mmq_router_check(broker->routers[MMQ_SIDE_CLIENTS]);
    if (mmq_router_check(broker->routers[MMQ_SIDE_WORKERS])) {
        mmq_core_suspect(broker->core, mmq_now_ns());
    }
    relieve_memory(broker);
    tend_doors(broker);
    tell_handshakes(broker);
    tell_gauges(broker);
}

/* When to tend the routers again though nothing happens. */
static int64_t tend_due_ns(const mmq_broker *broker)
{
    bool listens = mmq_router_listens(broker->routers[MMQ_SIDE_CLIENTS]) &&
                   mmq_router_listens(broker->routers[MMQ_SIDE_WORKERS]);
    return listens || broker->scarce ? broker->pressure.due_ns : mmq_now_ns() + REBIND_NS;
}

/* ---- the loop ----------------------------------------------------------------------------- */

static void drain_routers(mmq_broker *broker)
{
    for (size_t i = 0; i < MMQ_SIDES; i++) {
        if (broker->pending[drain_order[i]]) {
            drain_router(broker, drain_order[i]);
        }
    }
}

static bool any_pending(const mmq_broker *broker)
{
    bool any = false;
    for (size_t side = 0; side < MMQ_SIDES; side++) {
        any |= broker->pending[side];
    }
    return any;
}

/* Waits, at most so long; then `pending` tells whose input has come. True if it is time for what is
 * rare. */
static bool wait_input(mmq_broker *broker, int64_t wait_ns)
{
    int timeout_ms = wait_ns > 0 ? (int)((wait_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS) : 0;
    bool rare = poll(broker->polled, (nfds_t)broker->polled_count, timeout_ms) == 0 ||
                mmq_now_ns() >= broker->pressure.due_ns;
    for (size_t i = 0; i < broker->polled_count; i++) {
        bool readable = (broker->polled[i].revents & POLLIN) != 0;
        if (broker->polled_side[i] >= 0) {
            broker->pending[broker->polled_side[i]] |= readable;
        } else {
            rare |= readable;
        }
    }
    return rare;
}

/* Serves what has come; returns how long there will be nothing to do, at most. */
static int64_t serve(mmq_broker *broker)
{
    int64_t due_ns = 0;
    bool more = true;
    for (int turn = 0; turn < TURNS && more; turn++) {
        drain_routers(broker);
        due_ns = mmq_core_tick(broker->core, mmq_now_ns());
        more = any_pending(broker);
    }
    int64_t rare_ns = broker->asked ? 0 : tend_due_ns(broker) - mmq_now_ns();
    return more ? 0 : due_ns >= 0 && due_ns < rare_ns ? due_ns : rare_ns;
}

/* Waits for input. False when told to stop. */
static bool wait_and_tend(mmq_broker *broker, int64_t wait_ns)
{
    if (wait_input(broker, wait_ns)) {
        tend_routers(broker);
    }
    atomic_fetch_add_explicit(&broker->vital.passes, 1, memory_order_relaxed);
    return (broker->polled[0].revents & POLLIN) == 0;
}

static void drain_core(mmq_broker *broker)
{
    int64_t end_ns = mmq_now_ns() + (int64_t)broker->drain_ms * MMQ_NS_PER_MS;
    mmq_core_drain(broker->core, mmq_now_ns());
    for (;;) {
        int64_t wait_ns = serve(broker);
        int64_t left_ns = end_ns - mmq_now_ns();
        if (left_ns <= 0 || mmq_core_idle(broker->core)) {
            break;
        }
        (void)wait_and_tend(broker, wait_ns < left_ns ? wait_ns : left_ns);
    }
    mmq_core_end(broker->core, mmq_now_ns());
}

static void *run_broker(void *context)
{
    mmq_broker *broker = context;
    mmq_log_role("broker");
    mmq_log(MMQ_INFO, "ready", MMQ_S("clients", mmq_broker_endpoint(broker)),
            MMQ_S("workers", mmq_broker_worker_endpoint(broker)));
    while (wait_and_tend(broker, serve(broker))) {
    }
    uint64_t count;
    (void)!read(broker->stop, &count, sizeof count);
    mmq_log(MMQ_INFO, "stopping", MMQ_I("drain_ms", broker->drain_ms));
    drain_core(broker);
    return NULL;
}

static mmq_core *make_core(mmq_broker *broker, const mmq_broker_settings *settings)
{
    const mmq_core_settings core_settings = {
        .queue_max = settings->queue_max,
        .queue_bytes_max = settings->queue_bytes_max,
        .services_max = SERVICES_MAX,
        .workers_max = WORKERS_MAX,
        .requests_max = REQUESTS_MAX,
        .bytes_max = BYTES_MAX,
        .send = send_message,
        .context = broker,
        .user = mmq_frame_user,
    };
    return mmq_core_new(&core_settings, mmq_now_ns());
}

static bool open_router(mmq_broker *broker, mmq_side side, const char *endpoint,
                        const mmq_curve *curve, mmq_why *why)
{
    broker->routers[side] = mmq_router_new(side, endpoint, curve, why);
    return broker->routers[side] != NULL;
}

static bool open_routers(mmq_broker *broker, const mmq_broker_settings *settings,
                         const mmq_curve *curve, mmq_why *why)
{
    bool opened = mmq_broker_endpoint_check(settings, settings->bind, why) == MMQ_OK &&
                  mmq_broker_endpoint_check(settings, settings->bind_workers, why) == MMQ_OK &&
                  open_router(broker, MMQ_SIDE_CLIENTS, settings->bind, curve, why) &&
                  open_router(broker, MMQ_SIDE_WORKERS, settings->bind_workers, curve, why);
    if (opened && settings->local) {
        opened = open_router(broker, MMQ_SIDE_LOCAL_CLIENTS, MMQ_INPROC_CLIENTS, NULL, why) &&
                 open_router(broker, MMQ_SIDE_LOCAL_WORKERS, MMQ_INPROC_WORKERS, NULL, why);
    }
    return opened;
}

static bool open_all(mmq_broker *broker, const mmq_broker_settings *settings, mmq_why *why)
{
    mmq_curve pair = {0};
    const bool secure = settings->curve != NULL;
    if (secure) { /* who may connect is known before anybody can */
        broker->keys = mmq_bus_keys_new(settings->curve, &pair, why);
    }
    bool opened = (!secure || broker->keys != NULL) &&
                  open_routers(broker, settings, secure ? &pair : NULL, why);
    mmq_curve_wipe(&pair);
    return opened;
}

static bool start_thread(mmq_broker *broker, const mmq_broker_settings *settings)
{
    collect_descriptors(broker);
    broker->core = make_core(broker, settings);
    if (broker->core != NULL && broker->keys != NULL) {
        mmq_core_set_allow(broker->core, mmq_bus_keys_allow(broker->keys), mmq_now_ns());
    }
    broker->running = broker->core != NULL && broker->stop >= 0 &&
                      mmq_thread_start(&broker->thread, run_broker, broker);
    return broker->running;
}

mmq_broker *mmq_broker_new(const mmq_broker_settings *settings, mmq_why *why)
{
    mmq_broker *broker = calloc(1, sizeof *broker);
    if (broker == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the broker");
        return NULL;
    }
    broker->drain_ms = settings->drain_ms;
    broker->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    broker->told_ns = mmq_now_ns() - COMPLAIN_NS;
    mmq_pressure_init(&broker->pressure, settings->stray_bytes_max, mmq_now_ns());
    if (open_all(broker, settings, why) && !start_thread(broker, settings)) {
        (void)mmq_fail(why, MMQ_ENOMEM, "the broker's thread does not start");
    }
    if (!broker->running) {
        mmq_broker_destroy(&broker);
    }
    return broker;
}

mmq_err mmq_broker_reload(mmq_broker *broker, mmq_why *why)
{
    return broker->keys != NULL ? mmq_bus_keys_reload(broker->keys, why)
                                : mmq_fail(why, MMQ_EINVAL, "there is no folder of keys (--curve)");
}

const char *mmq_broker_endpoint(const mmq_broker *broker)
{
    return mmq_router_endpoint(broker->routers[MMQ_SIDE_CLIENTS]);
}

const char *mmq_broker_worker_endpoint(const mmq_broker *broker)
{
    return mmq_router_endpoint(broker->routers[MMQ_SIDE_WORKERS]);
}

/* The loop looks at memory several times a second (pressure.c), so it passes that often. */
void mmq_broker_vitals(const mmq_broker *broker, mmq_vitals *out)
{
    *out = (mmq_vitals){.passes = atomic_load(&broker->vital.passes)};
    out->readiness = out->passes > 0 ? MMQ_READY : MMQ_UNREADY; /* it was bound before it ran */
    snprintf(out->state, sizeof out->state, "broker: %zu workers",
             (size_t)atomic_load(&broker->vital.workers));
    snprintf(out->counts, sizeof out->counts,
             "%zu clients connected, %" PRIu64 " requests so far, %zu at workers, %zu waiting",
             (size_t)atomic_load(&broker->vital.clients),
             (uint64_t)atomic_load(&broker->vital.requests),
             (size_t)atomic_load(&broker->vital.held), (size_t)atomic_load(&broker->vital.waiting));
}

static void stop_thread(mmq_broker *broker)
{
    const uint64_t one = 1;
    if (broker->running) {
        CHECK(write(broker->stop, &one, sizeof one) == sizeof one);
        CHECK(pthread_join(broker->thread, NULL) == 0);
    }
}

void mmq_broker_destroy(mmq_broker **broker_p)
{
    mmq_broker *broker = *broker_p;
    if (broker == NULL) {
        return;
    }
    stop_thread(broker);
    mmq_core_destroy(&broker->core);
    for (size_t side = 0; side < MMQ_SIDES; side++) {
        mmq_router_destroy(&broker->routers[side]);
    }
    mmq_bus_keys_destroy(&broker->keys);
    mmq_pressure_clear(&broker->pressure);
    mmq_fd_close(&broker->stop);
    free(broker);
    *broker_p = NULL;
}
