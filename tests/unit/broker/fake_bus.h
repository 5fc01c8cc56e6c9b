/* A core with peers that are names: what it sends is kept, and a peer can be full or gone. */
#ifndef FAKE_BUS_H
#define FAKE_BUS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/core.h"
#include "broker/state.h"
#include "lib/buffer.h"
#include "lib/log.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "lib/envelope.h"

enum { SENT_MAX = 8192, FAULTS_MAX = 16 };

typedef struct fake_fault {
    char peer[16];
    mmq_err err;
} fake_fault;

typedef struct fake_bus {
    mmq_core *core;
    int64_t now_ns;
    mmq_message *sent; /* SENT_MAX */
    mmq_side sides[SENT_MAX];
    size_t count; /* sent so far */
    size_t taken; /* looked at so far */
    fake_fault faults[FAULTS_MAX];
} fake_bus;

static inline bool frame_equals(const mmq_frame *frame, const void *data, size_t size)
{
    return mmq_frame_size(frame) == size && memcmp(mmq_frame_data(frame), data, size) == 0;
}

static inline mmq_err fake_send(void *context, mmq_side side, mmq_message *message)
{
    fake_bus *bus = context;
    for (size_t i = 0; i < FAULTS_MAX; i++) {
        const fake_fault *fault = &bus->faults[i];
        if (fault->err != MMQ_OK &&
            frame_equals(&message->frames[0], fault->peer, strlen(fault->peer))) {
            return fault->err;
        }
    }
    assert_true(bus->count < SENT_MAX);
    bus->sides[bus->count] = side;
    mmq_message_init(&bus->sent[bus->count]);
    mmq_message_move(&bus->sent[bus->count++], message);
    return MMQ_OK;
}

static inline fake_bus *bus_new_sized(size_t queue_max, size_t queue_bytes_max, size_t bytes_max)
{
    fake_bus *bus = calloc(1, sizeof *bus);
    assert_non_null(bus);
    bus->sent = calloc(SENT_MAX, sizeof *bus->sent);
    assert_non_null(bus->sent);
    bus->now_ns = 1000 * MMQ_NS_PER_S;
    const mmq_core_settings settings = {.queue_max = queue_max,
                                        .queue_bytes_max = queue_bytes_max,
                                        .services_max = 10,
                                        .workers_max = 50,
                                        .requests_max = 1000,
                                        .bytes_max = bytes_max,
                                        .send = fake_send,
                                        .context = bus};
    bus->core = mmq_core_new(&settings, bus->now_ns);
    assert_non_null(bus->core);
    mmq_log_setup(MMQ_ERROR, false);
    return bus;
}

static inline fake_bus *bus_new(void)
{
    return bus_new_sized(100, 1 << 20, 64 << 20);
}

/* Throws away what was sent. */
static inline void bus_forget(fake_bus *bus)
{
    for (size_t i = 0; i < bus->count; i++) {
        mmq_message_clear(&bus->sent[i]);
    }
    bus->count = bus->taken = 0;
}

static inline void bus_destroy(fake_bus *bus)
{
    mmq_core_destroy(&bus->core);
    bus_forget(bus);
    free(bus->sent);
    free(bus);
}

/* From now on sends to that peer end so; MMQ_OK: well again. */
static inline void bus_fault(fake_bus *bus, const char *peer, mmq_err err)
{
    fake_fault *slot = NULL;
    for (size_t i = FAULTS_MAX; i-- > 0;) {
        bool same = strcmp(bus->faults[i].peer, peer) == 0;
        if (same || (slot == NULL && bus->faults[i].err == MMQ_OK)) {
            slot = &bus->faults[i];
        }
        if (same) {
            break;
        }
    }
    assert_non_null(slot);
    snprintf(slot->peer, sizeof slot->peer, "%s", peer);
    slot->err = err;
}

static inline void append_text(mmq_message *message, const void *data, size_t size)
{
    assert_int_equal(mmq_message_append_copy(message, data, size), MMQ_OK);
}

/* Lets time pass as the broker's loop would: tick whenever it is due. */
static inline void bus_pass(fake_bus *bus, int64_t ms)
{
    int64_t end_ns = bus->now_ns + ms * MMQ_NS_PER_MS;
    for (;;) {
        int64_t due_ns = mmq_core_tick(bus->core, bus->now_ns);
        if (due_ns < 0 || bus->now_ns + due_ns > end_ns) {
            break;
        }
        bus->now_ns += due_ns;
    }
    bus->now_ns = end_ns;
}

static inline void client_sends(fake_bus *bus, const char *peer, const char *service,
                                const void *body, size_t size)
{
    mmq_message message;
    mmq_message_init(&message);
    append_text(&message, peer, strlen(peer));
    assert_int_equal(
        mmq_envelope_begin_client(&message, MMQ_CLIENT_REQUEST, service, strlen(service)), MMQ_OK);
    append_text(&message, body, size);
    mmq_core_receive(bus->core, MMQ_SIDE_CLIENTS, &message, bus->now_ns);
    assert_int_equal(message.count, 0);
}

/* A request with an id and, if not 0, a timeout; `room` more bytes. */
static inline void client_asks_big(fake_bus *bus, const char *peer, const char *service, int id,
                                   int timeout_ms, size_t room)
{
    mmq_buffer body;
    mmq_buffer_init(&body, 32 << 20);
    mmq_pack_map(&body, timeout_ms != 0 ? 3 : 2);
    mmq_pack_cstr(&body, "id");
    mmq_pack_int(&body, id);
    if (timeout_ms != 0) {
        mmq_pack_cstr(&body, "timeout");
        mmq_pack_int(&body, timeout_ms);
    }
    char *filler = calloc(1, room + 1);
    assert_non_null(filler);
    mmq_pack_cstr(&body, "x");
    mmq_pack_text(&body, filler, room);
    free(filler);
    assert_false(body.failed);
    client_sends(bus, peer, service, body.data, body.size);
    mmq_buffer_clear(&body);
}

static inline void client_asks(fake_bus *bus, const char *peer, const char *service, int id,
                               int timeout_ms)
{
    client_asks_big(bus, peer, service, id, timeout_ms, 0);
}

static inline void worker_ready(fake_bus *bus, const char *peer, const char *service,
                                unsigned capacity)
{
    mmq_message message;
    mmq_message_init(&message);
    append_text(&message, peer, strlen(peer));
    assert_int_equal(mmq_envelope_ready(&message, service, capacity), MMQ_OK);
    mmq_core_receive(bus->core, MMQ_SIDE_WORKERS, &message, bus->now_ns);
}

static inline void worker_says(fake_bus *bus, const char *peer, mmq_worker_command command)
{
    mmq_message message;
    mmq_message_init(&message);
    append_text(&message, peer, strlen(peer));
    assert_int_equal(mmq_envelope_begin_worker(&message, command, NULL, 0), MMQ_OK);
    mmq_core_receive(bus->core, MMQ_SIDE_WORKERS, &message, bus->now_ns);
}

static inline void worker_answers_size(fake_bus *bus, const char *peer, mmq_worker_command command,
                                       const uint8_t token[MMQ_TOKEN_SIZE], size_t size)
{
    mmq_message message;
    mmq_message_init(&message);
    append_text(&message, peer, strlen(peer));
    assert_int_equal(mmq_envelope_begin_worker(&message, command, token, MMQ_TOKEN_SIZE), MMQ_OK);
    char *body = malloc(size + 1);
    assert_non_null(body);
    memset(body, 'b', size);
    append_text(&message, body, size);
    free(body);
    mmq_core_receive(bus->core, MMQ_SIDE_WORKERS, &message, bus->now_ns);
}

static inline void worker_answers(fake_bus *bus, const char *peer, mmq_worker_command command,
                                  const uint8_t token[MMQ_TOKEN_SIZE])
{
    worker_answers_size(bus, peer, command, token, 4);
}

/* A FINAL with a header of that status. */
static inline void worker_says_status(fake_bus *bus, const char *peer,
                                      const uint8_t token[MMQ_TOKEN_SIZE], int status)
{
    const mmq_header header = {.id = "\x01", .id_size = 1, .status = status, .rows = -1, .seq = 0};
    mmq_message message;
    mmq_frame frame;
    mmq_message_init(&message);
    append_text(&message, peer, strlen(peer));
    assert_int_equal(mmq_envelope_begin_worker(&message, MMQ_WORKER_FINAL, token, MMQ_TOKEN_SIZE),
                     MMQ_OK);
    assert_int_equal(mmq_header_final(&frame, &header), MMQ_OK);
    assert_int_equal(mmq_message_append(&message, &frame), MMQ_OK);
    mmq_core_receive(bus->core, MMQ_SIDE_WORKERS, &message, bus->now_ns);
}

/* The next message that the core sent, NULL if there is none. */
static inline mmq_message *bus_next(fake_bus *bus, mmq_side *side)
{
    if (bus->taken == bus->count) {
        return NULL;
    }
    *side = bus->sides[bus->taken];
    return &bus->sent[bus->taken++];
}

static inline void expect_nothing(fake_bus *bus)
{
    assert_int_equal(bus->count - bus->taken, 0);
}

/* The next message goes to that worker and is that command; returns it. */
static inline mmq_message *expect_command(fake_bus *bus, const char *peer,
                                          mmq_worker_command command)
{
    mmq_side side;
    mmq_message *message = bus_next(bus, &side);
    assert_non_null(message);
    assert_int_equal(side, MMQ_SIDE_WORKERS);
    assert_memory_equal(mmq_frame_data(&message->frames[0]), peer, strlen(peer));
    uint8_t byte = (uint8_t)command;
    assert_true(frame_equals(&message->frames[2], &byte, 1));
    return message;
}

/* A REQUEST went to that worker: its id (-1: nil or none) and token. */
static inline int expect_request(fake_bus *bus, const char *peer, uint8_t token[MMQ_TOKEN_SIZE])
{
    mmq_message *message = expect_command(bus, peer, MMQ_WORKER_REQUEST);
    assert_int_equal(mmq_frame_size(&message->frames[3]), MMQ_TOKEN_SIZE);
    memcpy(token, mmq_frame_data(&message->frames[3]), MMQ_TOKEN_SIZE);
    mmq_routing routing;
    mmq_routing_scan(mmq_frame_data(&message->frames[5]), mmq_frame_size(&message->frames[5]),
                     &routing);
    mmq_reader reader;
    mmq_value value;
    mmq_reader_init(&reader, routing.id, routing.id_size);
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    return value.type == MMQ_INT ? (int)value.integer : -1;
}

/* A bus on which worker w (of s, with room for 8) holds request 1 of client c; its token. */
static inline fake_bus *bus_with_request(uint8_t token[MMQ_TOKEN_SIZE])
{
    fake_bus *bus = bus_new();
    worker_ready(bus, "w", "s", 8);
    client_asks(bus, "c", "s", 1, 0);
    assert_int_equal(expect_request(bus, "w", token), 1);
    return bus;
}

/* A PARTIAL or FINAL of a worker went to that client. */
static inline void expect_answer(fake_bus *bus, const char *peer, mmq_client_command command)
{
    mmq_side side;
    mmq_message *message = bus_next(bus, &side);
    assert_non_null(message);
    assert_int_equal(side, MMQ_SIDE_CLIENTS);
    assert_true(frame_equals(&message->frames[0], peer, strlen(peer)));
    uint8_t byte = (uint8_t)command;
    assert_true(frame_equals(&message->frames[2], &byte, 1));
    assert_int_equal(*(const char *)mmq_frame_data(&message->frames[4]), 'b');
}

/* A FINAL of the broker's went to that client, with that id. */
static inline void expect_error(fake_bus *bus, const char *peer, int id, int status)
{
    mmq_side side;
    mmq_message *message = bus_next(bus, &side);
    assert_non_null(message);
    assert_int_equal(side, MMQ_SIDE_CLIENTS);
    assert_true(frame_equals(&message->frames[0], peer, strlen(peer)));
    assert_int_equal(message->count, 5);
    mmq_header header;
    assert_int_equal(mmq_header_parse(mmq_frame_data(&message->frames[4]),
                                      mmq_frame_size(&message->frames[4]), &header),
                     MMQ_OK);
    assert_int_equal(header.status, status);
    assert_non_null(header.error.data);
    mmq_reader reader;
    mmq_value value;
    mmq_reader_init(&reader, header.id, header.id_size);
    assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
    assert_int_equal(value.type, MMQ_INT);
    assert_int_equal(value.integer, id);
}

static inline uint64_t dropped(const fake_bus *bus, mmq_drop drop)
{
    return bus->core->dropped[drop];
}

#endif
