/* What tests of the worker runtime share: an echo worker, and the brokers that a test plays for it.
 */
#ifndef WORKER_WORLD_H
#define WORKER_WORLD_H

#include <pthread.h>
#include <stdatomic.h>

#include "metricmq/unpack.h"
#include "metricmq/worker.h"
#include "tests/unit/lib/fake_broker.h"

/* What handlers and contexts share with the test. */
typedef struct shared {
    atomic_size_t contexts;
    atomic_size_t idles;
    atomic_size_t largest_batch;
    atomic_size_t begun;
    atomic_bool hold; /* handlers wait while it is set */
    atomic_bool fail;
    atomic_bool block; /* thread_new waits while it is set */
} shared;

static inline void *make_context(void *context, mmq_why *why)
{
    shared *s = context;
    while (atomic_load(&s->block)) {
        (void)poll(NULL, 0, 1);
    }
    if (atomic_load(&s->fail)) {
        (void)mmq_fail(why, MMQ_EIO, "no context today");
        return NULL;
    }
    atomic_fetch_add(&s->contexts, 1);
    return s;
}

static inline void free_context(void **context)
{
    shared *s = *context;
    atomic_fetch_sub(&s->contexts, 1);
    *context = NULL;
}

/* Two parts "p", then the body back. */
static inline void echo_one(shared *s, mmq_request **request)
{
    atomic_fetch_add(&s->begun, 1);
    while (atomic_load(&s->hold)) {
        (void)poll(NULL, 0, 1);
    }
    size_t size;
    const void *body = mmq_request_body(*request, &size);
    mmq_frame payload;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mmq_frame_copy(&payload, "p", 1), MMQ_OK);
        mmq_err err = mmq_request_partial(*request, "cursor", &payload);
        assert_true(err == MMQ_OK || err == MMQ_EUNREACHABLE);
        mmq_frame_close(&payload);
    }
    assert_int_equal(mmq_frame_copy(&payload, body, size), MMQ_OK);
    mmq_final final = {.status = 200, .rows = 7, .next = "next", .state = "state"};
    mmq_request_final(request, &final, &payload);
    mmq_frame_close(&payload);
}

static inline void echo(void *context, mmq_request **requests, size_t count)
{
    shared *s = context;
    if (count > atomic_load(&s->largest_batch)) {
        atomic_store(&s->largest_batch, count);
    }
    for (size_t i = 0; i < count; i++) {
        echo_one(s, &requests[i]);
        assert_null(requests[i]);
    }
}

/* Waits for the next message of the worker that is no heartbeat. */
static inline int await_command(fake_broker *fake)
{
    int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    for (;;) {
        if (!fake_poll(fake, true)) {
            assert_true(mmq_now_ns() < end_ns);
            (void)poll(NULL, 0, 1);
        } else if (fake->envelope.command != MMQ_WORKER_HEARTBEAT) {
            return fake->envelope.command;
        }
    }
}

static inline void say(fake_broker *fake, mmq_worker_command command)
{
    mmq_message out;
    begin_to_peer(fake, &out);
    assert_int_equal(mmq_envelope_begin_worker(&out, command, NULL, 0), 0);
    fake_send(fake, &out);
}

/* A request whose id is the token's first byte. */
static inline void request(fake_broker *fake, const char *token, unsigned timeout_ms,
                           const char *trace)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "echo");
    mmq_args_int(&args, "id", token[0]);
    mmq_args_int(&args, "timeout", timeout_ms);
    mmq_args_cstr(&args, "trace", trace);
    mmq_buffer body;
    mmq_buffer_init(&body, 4096);
    mmq_pack_map(&body, args.count);
    mmq_buffer_add(&body, args.pairs.data, args.pairs.size);
    mmq_message out;
    begin_to_peer(fake, &out);
    assert_int_equal(mmq_envelope_begin_worker(&out, MMQ_WORKER_REQUEST, token, strlen(token)), 0);
    assert_int_equal(mmq_message_append_copy(&out, body.data, body.size), 0);
    fake_send(fake, &out);
    mmq_buffer_clear(&body);
    mmq_args_clear(&args);
}

static inline mmq_header header_of(const fake_broker *fake)
{
    mmq_header header;
    const mmq_frame *frame = &fake->last.frames[fake->envelope.body];
    assert_int_equal(mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &header),
                     MMQ_OK);
    return header;
}

/* Waits for the next FINAL; the token goes to token, PARTIALs are passed over. */
static inline int await_final(fake_broker *fake, char token[MMQ_TOKEN_MAX + 1])
{
    while (await_command(fake) != MMQ_WORKER_FINAL) {
        assert_int_equal(fake->envelope.command, MMQ_WORKER_PARTIAL);
    }
    memcpy(token, fake->envelope.token, fake->envelope.token_size);
    token[fake->envelope.token_size] = '\0';
    return (int)header_of(fake).status;
}

static inline void await_begun(shared *s, size_t count)
{
    int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    while (atomic_load(&s->begun) < count) {
        assert_true(mmq_now_ns() < end_ns);
        (void)poll(NULL, 0, 1);
    }
}

static inline mmq_worker_options echo_options(const char *endpoint, shared *s)
{
    return (mmq_worker_options){.endpoint = endpoint,
                                .service = "echo",
                                .threads = 1,
                                .capacity = 8,
                                .batch_max = 1,
                                .drain_ms = 5000,
                                .shared = s,
                                .thread_new = make_context,
                                .thread_destroy = free_context,
                                .handle = echo};
}

#endif
