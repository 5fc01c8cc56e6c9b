/* Frames and messages over inproc: whole or not at all, gone and full peers, over-long messages. */
#include "lib/message.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { PLENTY = 1 << 20 };

static void *context;

static int setup(void **state)
{
    (void)state;
    context = zmq_ctx_new();
    return context == NULL;
}

static int teardown(void **state)
{
    (void)state;
    return zmq_ctx_term(context);
}

static void set_option(void *socket, int option, int value)
{
    assert_int_equal(zmq_setsockopt(socket, option, &value, sizeof value), 0);
}

static void *open_socket(int type, const char *bind, const char *connect)
{
    void *socket = zmq_socket(context, type);
    assert_non_null(socket);
    set_option(socket, ZMQ_LINGER, 0);
    set_option(socket, ZMQ_SNDHWM, 4);
    set_option(socket, ZMQ_RCVHWM, 4);
    if (type == ZMQ_ROUTER) {
        set_option(socket, ZMQ_ROUTER_MANDATORY, 1);
    }
    if (bind != NULL) {
        assert_int_equal(zmq_bind(socket, bind), 0);
    }
    if (connect != NULL) {
        assert_int_equal(zmq_connect(socket, connect), 0);
    }
    return socket;
}

static void fill(mmq_message *message, size_t count, const char *word)
{
    char text[64];
    for (size_t i = 0; i < count; i++) {
        int size = snprintf(text, sizeof text, "%s%zu", word, i);
        assert_int_equal(mmq_message_append_copy(message, text, (size_t)size), MMQ_OK);
    }
}

static void assert_frame(const mmq_message *message, size_t i, const char *text)
{
    assert_true(i < message->count);
    assert_int_equal(mmq_frame_size(&message->frames[i]), strlen(text));
    assert_memory_equal(mmq_frame_data(&message->frames[i]), text, strlen(text));
}

static void receive(mmq_message *message, void *socket)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, 10000), 1);
    assert_int_equal(mmq_message_receive(message, socket, PLENTY), MMQ_OK);
}

static void test_messages_in_memory(void **state)
{
    (void)state;
    mmq_message a, b;
    mmq_message_init(&a);
    mmq_message_init(&b);
    fill(&a, 3, "short ");
    fill(&b, 1, "goes away ");
    mmq_message_move(&b, &a);
    assert_int_equal(a.count, 0);
    assert_int_equal(b.count, 3);
    assert_frame(&b, 2, "short 2");
    mmq_message_clear(&b);
    fill(&b, MMQ_FRAMES_MAX, "a frame that is too long to lie within zmq_msg_t: ");
    assert_frame(&b, 63, "a frame that is too long to lie within zmq_msg_t: 63");
    assert_int_equal(mmq_message_append_copy(&b, "x", 1), MMQ_ETOOBIG);
    assert_int_equal(mmq_message_size(&b), 64 * 52 - 10);
    mmq_message_move(&a, &b);
    assert_frame(&a, 9, "a frame that is too long to lie within zmq_msg_t: 9");
    mmq_message_clear(&a);
    mmq_message_clear(&b);
}

static void test_frames(void **state)
{
    (void)state;
    mmq_frame a, b;
    char *data = malloc(1000);
    assert_non_null(data);
    memset(data, 'x', 1000);
    assert_int_equal(mmq_frame_adopt(&a, data, 1000), MMQ_OK);
    assert_int_equal(mmq_frame_share(&b, &a), MMQ_OK);
    assert_ptr_equal(mmq_frame_data(&b), data);
    mmq_frame_close(&a);
    assert_memory_equal(mmq_frame_data(&b), "xxxx", 4);
    assert_int_equal(mmq_frame_copy(&a, "to be replaced", 14), MMQ_OK);
    mmq_frame_move(&a, &b);
    assert_int_equal(mmq_frame_size(&a), 1000);
    assert_int_equal(mmq_frame_size(&b), 0);
    mmq_frame_close(&a);
    mmq_frame_close(&b);
    assert_int_equal(mmq_frame_copy(&a, NULL, 0), MMQ_OK);
    mmq_frame_close(&a);
}

static void test_there_and_back(void **state)
{
    (void)state;
    void *router = open_socket(ZMQ_ROUTER, "inproc://back", NULL);
    void *dealer = open_socket(ZMQ_DEALER, NULL, "inproc://back");
    mmq_message message;
    mmq_message_init(&message);
    assert_int_equal(mmq_message_receive(&message, router, PLENTY), MMQ_EAGAIN);
    fill(&message, 12, "frame ");
    assert_int_equal(mmq_message_send(&message, dealer), MMQ_OK);
    assert_int_equal(message.count, 0);
    receive(&message, router);
    assert_int_equal(message.count, 13);
    assert_frame(&message, 12, "frame 11");
    assert_int_equal(mmq_message_send(&message, router), MMQ_OK);
    receive(&message, dealer);
    assert_int_equal(message.count, 12);
    assert_frame(&message, 0, "frame 0");
    mmq_message_clear(&message);
    zmq_close(dealer);
    zmq_close(router);
}

static void test_gone_peer(void **state)
{
    (void)state;
    void *router = open_socket(ZMQ_ROUTER, "inproc://gone", NULL);
    void *dealer = open_socket(ZMQ_DEALER, NULL, "inproc://gone");
    mmq_message message;
    mmq_message_init(&message);
    fill(&message, 1, "hello");
    assert_int_equal(mmq_message_send(&message, dealer), MMQ_OK);
    receive(&message, router);
    assert_int_equal(zmq_close(dealer), 0);
    mmq_err err = MMQ_OK;
    for (int i = 0; i < 1000000 && (err == MMQ_OK || err == MMQ_EAGAIN); i++) {
        mmq_message copy; /* full at first; gone once the ROUTER has read the pipe to its end */
        mmq_message_init(&copy);
        assert_int_equal(mmq_message_append_copy(&copy, mmq_frame_data(&message.frames[0]),
                                                 mmq_frame_size(&message.frames[0])),
                         MMQ_OK);
        fill(&copy, 2, "lost ");
        err = mmq_message_send(&copy, router);
        assert_int_equal(copy.count, err == MMQ_OK ? 0 : 3);
        assert_int_equal(mmq_message_receive(&copy, router, PLENTY), MMQ_EAGAIN);
    }
    assert_int_equal(err, MMQ_EUNREACHABLE);
    mmq_message_clear(&message);
    fill(&message, 3, "nobody ever was ");
    assert_int_equal(mmq_message_send(&message, router), MMQ_EUNREACHABLE);
    assert_int_equal(message.count, 3);
    assert_frame(&message, 0, "nobody ever was 0");
    mmq_message_clear(&message);
    zmq_close(router);
}

static void begin_reply(mmq_message *message, const mmq_message *request)
{
    const mmq_frame *peer = &request->frames[0];
    assert_int_equal(mmq_message_append_copy(message, mmq_frame_data(peer), mmq_frame_size(peer)),
                     MMQ_OK);
}

/* At the mark the message stays whole; once the peer reads it goes, in order, none twice. */
static void test_full_peer(void **state)
{
    (void)state;
    void *router = open_socket(ZMQ_ROUTER, "inproc://full", NULL);
    void *dealer = open_socket(ZMQ_DEALER, NULL, "inproc://full");
    mmq_message request, message;
    mmq_message_init(&request);
    mmq_message_init(&message);
    fill(&request, 1, "hello ");
    assert_int_equal(mmq_message_send(&request, dealer), MMQ_OK);
    receive(&request, router);
    int sent = 0;
    char text[32];
    for (mmq_err err = MMQ_OK; err == MMQ_OK;) {
        assert_true(sent < 100);
        mmq_message_clear(&message);
        begin_reply(&message, &request);
        int size = snprintf(text, sizeof text, "reply %d", sent);
        assert_int_equal(mmq_message_append_copy(&message, text, (size_t)size), MMQ_OK);
        fill(&message, 20, "more ");
        err = mmq_message_send(&message, router);
        assert_true(err == MMQ_OK || err == MMQ_EAGAIN);
        sent += err == MMQ_OK;
    }
    assert_int_equal(message.count, 22);
    mmq_message got;
    mmq_message_init(&got);
    for (int i = 0; i <= sent; i++) {
        mmq_err err = i < sent ? MMQ_OK : MMQ_EAGAIN;
        while (err == MMQ_EAGAIN) { /* until libzmq has told the ROUTER of the room */
            err = mmq_message_send(&message, router);
        }
        assert_int_equal(err, MMQ_OK);
        receive(&got, dealer);
        snprintf(text, sizeof text, "reply %d", i);
        assert_int_equal(got.count, 21);
        assert_frame(&got, 0, text);
    }
    assert_int_equal(message.count, 0);
    assert_int_equal(mmq_message_receive(&got, dealer, PLENTY), MMQ_EAGAIN);
    mmq_message_clear(&request);
    mmq_message_clear(&got);
    zmq_close(dealer);
    zmq_close(router);
}

static void send_raw(void *socket, size_t frames, size_t size)
{
    char *data = calloc(1, size);
    assert_non_null(data);
    for (size_t i = 0; i < frames; i++) {
        assert_int_equal(zmq_send(socket, data, size, i + 1 < frames ? ZMQ_SNDMORE : 0), size);
    }
    free(data);
}

static void test_too_long(void **state)
{
    (void)state;
    void *router = open_socket(ZMQ_ROUTER, "inproc://long", NULL);
    void *dealer = open_socket(ZMQ_DEALER, NULL, "inproc://long");
    mmq_message message;
    mmq_message_init(&message);
    send_raw(dealer, 100000, 1);
    send_raw(dealer, 3, 1000);
    send_raw(dealer, 1, 1 << 21);
    send_raw(dealer, 2, 10);
    assert_int_equal(mmq_message_receive(&message, router, PLENTY), MMQ_ETOOBIG);
    assert_int_equal(message.count, 1);
    assert_int_equal(mmq_frame_size(&message.frames[0]), 5); /* the peer's identity */
    assert_int_equal(mmq_message_receive(&message, router, 2999), MMQ_ETOOBIG);
    assert_int_equal(mmq_message_receive(&message, router, PLENTY), MMQ_ETOOBIG);
    assert_int_equal(message.count, 1);
    assert_int_equal(mmq_message_receive(&message, router, 25), MMQ_OK);
    assert_int_equal(message.count, 3);
    send_raw(dealer, 2, 10);
    assert_int_equal(mmq_message_receive(&message, dealer, 0), MMQ_EAGAIN);
    assert_int_equal(mmq_message_receive(&message, router, 3), MMQ_ETOOBIG);
    assert_int_equal(mmq_frame_size(&message.frames[0]), 5);
    mmq_message_clear(&message);
    zmq_close(dealer);
    zmq_close(router);
}

static void test_exact_bounds(void **state)
{
    (void)state;
    void *left = open_socket(ZMQ_PAIR, "inproc://bounds", NULL);
    void *right = open_socket(ZMQ_PAIR, NULL, "inproc://bounds");
    mmq_message message;
    mmq_message_init(&message);
    send_raw(left, MMQ_FRAMES_MAX, 2);
    assert_int_equal(mmq_message_receive(&message, right, 2 * MMQ_FRAMES_MAX), MMQ_OK);
    assert_int_equal(message.count, MMQ_FRAMES_MAX);
    send_raw(left, MMQ_FRAMES_MAX + 1, 2);
    assert_int_equal(mmq_message_receive(&message, right, PLENTY), MMQ_ETOOBIG);
    assert_int_equal(message.count, 1);
    assert_int_equal(mmq_message_receive(&message, right, PLENTY), MMQ_EAGAIN);
    mmq_message_clear(&message);
    zmq_close(left);
    zmq_close(right);
}

/* A DEALER whose peer comes and goes: each message that arrives is whole. */
static void test_whole_or_not_at_all(void **state)
{
    (void)state;
    void *dealer = open_socket(ZMQ_DEALER, "tcp://127.0.0.1:*", NULL);
    char endpoint[64];
    size_t size = sizeof endpoint;
    assert_int_equal(zmq_getsockopt(dealer, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    mmq_message message, got;
    mmq_message_init(&message);
    mmq_message_init(&got);
    for (int round = 0; round < 50; round++) {
        void *peer = open_socket(ZMQ_DEALER, NULL, endpoint);
        for (int received = 0; received < 20;) {
            mmq_message_clear(&message);
            fill(&message, 40, "");
            mmq_err err = mmq_message_send(&message, dealer);
            assert_true(err == MMQ_OK || err == MMQ_EAGAIN);
            if (mmq_message_receive(&got, peer, PLENTY) == MMQ_OK) {
                assert_int_equal(got.count, 40);
                assert_frame(&got, 0, "0");
                assert_frame(&got, 39, "39");
                received++;
            }
        }
        assert_int_equal(zmq_close(peer), 0);
    }
    mmq_message_clear(&message);
    mmq_message_clear(&got);
    zmq_close(dealer);
}

typedef struct note {
    int number;
} note;

/* Takes notes by pointer and sends them back, until an empty frame comes. */
static void *run_echo(void *socket)
{
    mmq_message message;
    mmq_message_init(&message);
    for (;;) {
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        assert_int_equal(zmq_poll(&item, 1, 10000), 1);
        assert_int_equal(mmq_message_receive(&message, socket, PLENTY), MMQ_OK);
        if (mmq_frame_size(&message.frames[0]) == 0) {
            break;
        }
        note *taken;
        memcpy(&taken, mmq_frame_data(&message.frames[0]), sizeof taken);
        taken->number++;
        assert_int_equal(((const char *)mmq_frame_data(&message.frames[1]))[99], 'x');
        assert_int_equal(mmq_message_send_wait(&message, socket), MMQ_OK);
    }
    mmq_message_clear(&message);
    return NULL;
}

static void append_block(mmq_message *message)
{
    char *block = malloc(100);
    assert_non_null(block);
    memset(block, 'x', 100);
    mmq_frame frame;
    assert_int_equal(mmq_frame_adopt(&frame, block, 100), MMQ_OK);
    assert_int_equal(mmq_message_append(message, &frame), MMQ_OK);
    mmq_frame_close(&frame);
}

/* ThreadSanitizer must see the hand-over: of the pointer's object and of adopted blocks. */
static void test_between_threads(void **state)
{
    (void)state;
    void *left = open_socket(ZMQ_PAIR, "inproc://threads", NULL);
    void *right = open_socket(ZMQ_PAIR, NULL, "inproc://threads");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_echo, right), 0);
    mmq_message message;
    mmq_message_init(&message);
    for (int i = 0; i < 2000; i++) {
        note *made = malloc(sizeof *made);
        assert_non_null(made);
        made->number = i;
        assert_int_equal(mmq_message_append_copy(&message, &made, sizeof made), MMQ_OK);
        append_block(&message);
        assert_int_equal(mmq_message_send_wait(&message, left), MMQ_OK);
        receive(&message, left);
        assert_int_equal(made->number, i + 1);
        free(made);
        mmq_message_clear(&message);
    }
    assert_int_equal(mmq_message_append_copy(&message, NULL, 0), MMQ_OK);
    assert_int_equal(mmq_message_send_wait(&message, left), MMQ_OK);
    pthread_join(thread, NULL);
    zmq_close(left);
    zmq_close(right);
}

static void test_over_tcp(void **state)
{
    (void)state;
    void *router = open_socket(ZMQ_ROUTER, "tcp://127.0.0.1:*", NULL);
    char endpoint[64];
    size_t size = sizeof endpoint;
    assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    void *dealer = open_socket(ZMQ_DEALER, NULL, endpoint);
    mmq_message message;
    mmq_message_init(&message);
    for (int i = 0; i < 500; i++) {
        fill(&message, 2, "small ");
        append_block(&message);
        assert_int_equal(mmq_message_send_wait(&message, dealer), MMQ_OK);
        receive(&message, router);
        assert_int_equal(((const char *)mmq_frame_data(&message.frames[3]))[99], 'x');
        assert_int_equal(mmq_message_send(&message, router), MMQ_OK);
        receive(&message, dealer);
        assert_frame(&message, 1, "small 1");
        mmq_message_clear(&message);
    }
    zmq_close(dealer);
    zmq_close(router);
}

static void test_closed_context(void **state)
{
    (void)state;
    void *own = zmq_ctx_new();
    void *socket = zmq_socket(own, ZMQ_DEALER);
    assert_int_equal(zmq_ctx_shutdown(own), 0);
    mmq_message message;
    mmq_message_init(&message);
    assert_int_equal(mmq_message_receive(&message, socket, PLENTY), MMQ_ECLOSED);
    fill(&message, 2, "");
    assert_int_equal(mmq_message_send(&message, socket), MMQ_ECLOSED);
    mmq_message_clear(&message);
    zmq_close(socket);
    zmq_ctx_term(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_in_memory), cmocka_unit_test(test_frames),
        cmocka_unit_test(test_there_and_back),     cmocka_unit_test(test_gone_peer),
        cmocka_unit_test(test_full_peer),          cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_exact_bounds),       cmocka_unit_test(test_whole_or_not_at_all),
        cmocka_unit_test(test_between_threads),    cmocka_unit_test(test_over_tcp),
        cmocka_unit_test(test_closed_context),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
