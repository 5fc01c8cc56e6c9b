/* A stand-in for the broker: a ROUTER that sends requests to one worker and reads what it answers.
 * To be included behind a world, which knows the folder, `why` and assert_ok. */
#ifndef MMQ_TEST_STAND_IN_H
#define MMQ_TEST_STAND_IN_H

#include "metricmq/pack.h"
#include "lib/envelope.h"

enum { WAIT_MS = 20000 };

static void *context, *router;
static char endpoint[128];
static mmq_frame peer; /* the worker's routing id */
static mmq_frame
    watch_peer; /* of a write worker, that of its metric.watch; empty until its READY */

static void stand_in_begin(void)
{
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/bus", world_folder);
    context = zmq_ctx_new();
    router = zmq_socket(context, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(router, endpoint), 0);
    mmq_frame_init(&peer);
    mmq_frame_init(&watch_peer);
}

static void stand_in_end(void)
{
    const int linger = 0;
    mmq_frame_close(&peer);
    mmq_frame_close(&watch_peer);
    (void)zmq_setsockopt(router, ZMQ_LINGER, &linger, sizeof linger);
    (void)zmq_close(router);
    (void)zmq_ctx_term(context);
}

/* So that a worker does not give the stand-in up while a slow machine keeps it waiting. */
static void answer_heartbeat(mmq_message *heartbeat)
{
    mmq_message answer, envelope;
    mmq_message_init(&answer);
    mmq_message_init(&envelope);
    assert_ok(mmq_message_append(&answer, &heartbeat->frames[0]));
    assert_ok(mmq_envelope_begin_worker(&envelope, MMQ_WORKER_HEARTBEAT, NULL, 0));
    for (size_t i = 0; i < envelope.count; i++) {
        assert_ok(mmq_message_append(&answer, &envelope.frames[i]));
    }
    assert_ok(mmq_message_send_wait(&answer, router));
    mmq_message_clear(&envelope);
}

static bool is_watch(const mmq_envelope *envelope)
{
    return envelope->command == MMQ_WORKER_READY &&
           envelope->service_size == strlen(MMQ_SERVICE_WATCH) &&
           memcmp(envelope->service, MMQ_SERVICE_WATCH, envelope->service_size) == 0;
}

/* The next message that is no heartbeat, nor READY of metric.watch, which is noted. */
static mmq_envelope receive(mmq_message *message)
{
    mmq_envelope envelope;
    for (;;) {
        zmq_pollitem_t item = {.socket = router, .events = ZMQ_POLLIN};
        assert_int_equal(zmq_poll(&item, 1, WAIT_MS), 1);
        assert_ok(mmq_message_receive(message, router, MMQ_MESSAGE_MAX));
        assert_ok(mmq_envelope_parse_worker(message, 1, &envelope, &why));
        if (is_watch(&envelope)) {
            mmq_frame_close(&watch_peer);
            mmq_frame_init(&watch_peer);
            mmq_frame_move(&watch_peer, &message->frames[0]);
        } else if (envelope.command != MMQ_WORKER_HEARTBEAT) {
            return envelope;
        } else {
            answer_heartbeat(message);
        }
    }
}

static void await_ready(void)
{
    mmq_message message;
    mmq_message_init(&message);
    assert_int_equal(receive(&message).command, MMQ_WORKER_READY);
    mmq_frame_move(&peer, &message.frames[0]);
    mmq_message_clear(&message);
}

/* Sends op with args, which it clears, to one of them. */
static void send_to(mmq_frame *to, const char *op, mmq_args *args)
{
    mmq_message message, envelope;
    mmq_buffer body;
    mmq_frame copy;
    mmq_args_cstr(args, "op", op);
    mmq_buffer_init(&body, MMQ_BODY_MAX);
    mmq_pack_map(&body, args->count);
    mmq_buffer_add(&body, args->pairs.data, args->pairs.size);
    mmq_message_init(&message);
    mmq_message_init(&envelope);
    assert_ok(mmq_frame_share(&copy, to));
    assert_ok(mmq_message_append(&message, &copy));
    assert_ok(mmq_envelope_begin_worker(&envelope, MMQ_WORKER_REQUEST, "t", 1));
    for (size_t i = 0; i < envelope.count; i++) {
        assert_ok(mmq_message_append(&message, &envelope.frames[i]));
    }
    assert_ok(mmq_message_append_copy(&message, body.data, body.size));
    assert_ok(mmq_message_send_wait(&message, router));
    mmq_message_clear(&envelope);
    mmq_buffer_clear(&body);
    mmq_args_clear(args);
}

static void send_request(const char *op, mmq_args *args)
{
    send_to(&peer, op, args);
}

#endif
