/* The broker's thread with real sockets: tcp on a free port, and inproc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <czmq.h>

#include "broker/broker.h"
#include "broker/router.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/envelope.h"

static const mmq_broker_settings settings = {
    .bind = "tcp://127.0.0.1:*",
    .bind_workers = "tcp://127.0.0.1:*",
    .queue_max = 1000,
    .queue_bytes_max = 64 << 20,
    .stray_bytes_max = 1 << 30,
    .local = true,
    .drain_ms = 2000,
};

static zsock_t *connect_to(const char *endpoint)
{
    zsock_t *socket = zsock_new(ZMQ_DEALER);
    assert_non_null(socket);
    zsock_set_linger(socket, 0);
    assert_int_equal(zmq_connect(zsock_resolve(socket), endpoint), 0);
    return socket;
}

static void send_wait(zsock_t *socket, mmq_message *message)
{
    assert_int_equal(mmq_message_send_wait(message, zsock_resolve(socket)), MMQ_OK);
}

static void receive_wait(zsock_t *socket, mmq_message *message)
{
    zmq_pollitem_t item = {zsock_resolve(socket), 0, ZMQ_POLLIN, 0};
    assert_int_equal(zmq_poll(&item, 1, 20000), 1);
    assert_int_equal(mmq_message_receive(message, zsock_resolve(socket), 32 << 20), MMQ_OK);
}

static void ask(zsock_t *client, const char *service, const void *body, size_t size)
{
    mmq_message message;
    mmq_message_init(&message);
    assert_int_equal(
        mmq_envelope_begin_client(&message, MMQ_CLIENT_REQUEST, service, strlen(service)), MMQ_OK);
    assert_int_equal(mmq_message_append_copy(&message, body, size), MMQ_OK);
    send_wait(client, &message);
}

static void say_ready(zsock_t *worker)
{
    mmq_message message;
    mmq_message_init(&message);
    assert_int_equal(mmq_envelope_ready(&message, "echo", 8), MMQ_OK);
    send_wait(worker, &message);
}

/* Answers the next REQUEST with its own body. */
static void echo_once(zsock_t *worker)
{
    mmq_message message, answer;
    mmq_envelope envelope;
    mmq_message_init(&message);
    mmq_message_init(&answer);
    do {
        receive_wait(worker, &message);
        assert_int_equal(mmq_envelope_parse_worker(&message, 0, &envelope, NULL), MMQ_OK);
    } while (envelope.command == (int)MMQ_WORKER_HEARTBEAT);
    assert_int_equal(envelope.command, (int)MMQ_WORKER_REQUEST);
    assert_int_equal(
        mmq_envelope_begin_worker(&answer, MMQ_WORKER_FINAL, envelope.token, envelope.token_size),
        MMQ_OK);
    assert_int_equal(mmq_message_append(&answer, &message.frames[envelope.body]), MMQ_OK);
    send_wait(worker, &answer);
    mmq_message_clear(&message);
}

static void expect_body(zsock_t *client, const void *body, size_t size)
{
    mmq_message message;
    mmq_message_init(&message);
    receive_wait(client, &message);
    assert_int_equal(message.count, 4);
    assert_int_equal(mmq_frame_size(&message.frames[3]), size);
    assert_memory_equal(mmq_frame_data(&message.frames[3]), body, size);
    mmq_message_clear(&message);
}

static mmq_broker *start_broker(void)
{
    mmq_why why = {""};
    mmq_log_setup(MMQ_ERROR, false);
    mmq_broker *broker = mmq_broker_new(&settings, &why);
    if (broker == NULL) {
        fail_msg("%s", why.text);
    }
    return broker;
}

static void echo_between(const char *clients, const char *workers)
{
    zsock_t *worker = connect_to(workers);
    zsock_t *client = connect_to(clients);
    say_ready(worker);
    ask(client, "echo", "hello", 5);
    echo_once(worker);
    expect_body(client, "hello", 5);
    zsock_destroy(&client);
    zsock_destroy(&worker);
}

static void test_echo_over_tcp(void **state)
{
    (void)state;
    mmq_broker *broker = start_broker();
    echo_between(mmq_broker_endpoint(broker), mmq_broker_worker_endpoint(broker));
    mmq_broker_destroy(&broker);
    assert_null(broker);
}

static void test_echo_over_inproc(void **state)
{
    (void)state;
    mmq_broker *broker = start_broker();
    echo_between(MMQ_INPROC_CLIENTS, MMQ_INPROC_WORKERS);
    mmq_broker_destroy(&broker);
}

static void test_f31_port_in_use(void **state)
{
    (void)state;
    mmq_why why = {""};
    zsock_t *taken = zsock_new(ZMQ_ROUTER);
    char endpoint[256];
    size_t size = sizeof endpoint;
    assert_int_equal(zmq_bind(zsock_resolve(taken), "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(zsock_resolve(taken), ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    mmq_broker_settings bad = settings;
    bad.bind_workers = endpoint;
    assert_null(mmq_broker_new(&bad, &why));
    assert_non_null(strstr(why.text, endpoint));
    bad.bind_workers = "nonsense";
    assert_null(mmq_broker_new(&bad, &why));
    assert_non_null(strstr(why.text, "nonsense"));
    zsock_destroy(&taken);
}

static void test_inproc_messages_over_the_bound(void **state)
{
    (void)state;
    mmq_broker *broker = start_broker();
    zsock_t *client = connect_to(MMQ_INPROC_CLIENTS);
    size_t size = 9 << 20;
    char *body = calloc(1, size);
    assert_non_null(body);
    ask(client, "echo", body, size); /* dropped */
    ask(client, "echo", body, 5 << 20);
    mmq_message message;
    mmq_message_init(&message);
    receive_wait(client, &message);
    mmq_header header;
    assert_int_equal(mmq_header_parse(mmq_frame_data(&message.frames[3]),
                                      mmq_frame_size(&message.frames[3]), &header),
                     MMQ_OK);
    assert_int_equal(header.status, 413);
    mmq_message_clear(&message);
    free(body);
    zsock_destroy(&client);
    mmq_broker_destroy(&broker);
}

static void finish_late(zsock_t *pipe, void *args)
{
    zsock_signal(pipe, 0);
    echo_once(args);
    char *command = zstr_recv(pipe);
    zstr_free(&command);
}

static void test_f28_destroy_finishes_what_is_under_way(void **state)
{
    (void)state;
    mmq_broker *broker = start_broker();
    zsock_t *worker = connect_to(mmq_broker_worker_endpoint(broker));
    zsock_t *client = connect_to(mmq_broker_endpoint(broker));
    say_ready(worker);
    ask(client, "echo", "one", 3);
    echo_once(worker);
    expect_body(client, "one", 3);
    ask(client, "echo", "two", 3);
    zmq_pollitem_t item = {zsock_resolve(worker), 0, ZMQ_POLLIN, 0};
    assert_int_equal(zmq_poll(&item, 1, 20000), 1);
    zactor_t *late = zactor_new(finish_late, worker);
    mmq_broker_destroy(&broker);
    expect_body(client, "two", 3);
    zactor_destroy(&late);
    zsock_destroy(&client);
    zsock_destroy(&worker);
}

/* libzmq 4.3.4 aborts if a flood's sender dies and a ping is due before we have read the flood. */
static void test_no_pings_where_input_is_held_back(void **state)
{
    (void)state;
    for (int side = 0; side < (int)MMQ_SIDES; side++) {
        bool local = side == MMQ_SIDE_LOCAL_CLIENTS || side == MMQ_SIDE_LOCAL_WORKERS;
        mmq_why why = {""};
        mmq_router *router = mmq_router_new(
            (mmq_side)side, local ? "inproc://a-test" : "tcp://127.0.0.1:*", NULL, &why);
        assert_non_null(router);
        int value = -1;
        size_t size = sizeof value;
        assert_int_equal(
            zmq_getsockopt(mmq_router_socket(router), ZMQ_HEARTBEAT_IVL, &value, &size), 0);
        assert_int_equal(value, 0);
        mmq_router_destroy(&router);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_over_tcp),
        cmocka_unit_test(test_echo_over_inproc),
        cmocka_unit_test(test_f31_port_in_use),
        cmocka_unit_test(test_inproc_messages_over_the_bound),
        cmocka_unit_test(test_f28_destroy_finishes_what_is_under_way),
        cmocka_unit_test(test_no_pings_where_input_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
