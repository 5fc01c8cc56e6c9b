/* The bounds of every socket of the bus, as libzmq has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <czmq.h>

#include "broker/keys.h"
#include "broker/router.h"
#include "broker/zap.h"
#include "lib/dealer.h"
#include "lib/envelope.h"

#define ENFORCE_DOMAIN 93 /* ZMQ_ZAP_ENFORCE_DOMAIN, of draft builds' header */

typedef struct expected {
    int option;
    int64_t value;
} expected;

static int64_t option_of(void *socket, int option)
{
    int64_t wide = -1;
    int value = -1;
    bool is_wide = option == ZMQ_MAXMSGSIZE;
    size_t size = is_wide ? sizeof wide : sizeof value;
    void *out = is_wide ? (void *)&wide : (void *)&value;
    assert_int_equal(zmq_getsockopt(socket, option, out, &size), 0);
    return is_wide ? wide : value;
}

static void expect_options(void *socket, const expected *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (option_of(socket, options[i].option) != options[i].value) {
            fail_msg("option %d is %lld, not %lld", options[i].option,
                     (long long)option_of(socket, options[i].option), (long long)options[i].value);
        }
    }
}

#define EXPECT(socket_, ...)                                                                       \
    expect_options(socket_, (const expected[]){__VA_ARGS__},                                       \
                   sizeof((const expected[]){__VA_ARGS__}) / sizeof(expected))

static void test_routers(void **state)
{
    (void)state;
    for (int side = 0; side < (int)MMQ_SIDES; side++) {
        bool local = side == MMQ_SIDE_LOCAL_CLIENTS || side == MMQ_SIDE_LOCAL_WORKERS;
        bool works = mmq_side_works((mmq_side)side);
        mmq_why why = {""};
        mmq_router *router = mmq_router_new(
            (mmq_side)side, local ? "inproc://a-test" : "tcp://127.0.0.1:*", NULL, &why);
        assert_non_null(router);
        EXPECT(mmq_router_socket(router), {ZMQ_HANDSHAKE_IVL, 5000}, {ZMQ_HEARTBEAT_IVL, 0},
               {ZMQ_TCP_KEEPALIVE, 1}, {ZMQ_BACKLOG, 1024}, {ZMQ_LINGER, 1000}, {ZMQ_RCVHWM, 256},
               {ZMQ_SNDHWM, works ? MMQ_CAPACITY_MAX + 24 : MMQ_CLIENT_HWM},
               {ZMQ_MAXMSGSIZE, works ? MMQ_FRAME_LIMIT : MMQ_MESSAGE_MAX},
               {ZMQ_MECHANISM, ZMQ_NULL});
        mmq_router_destroy(&router);
    }
}

static mmq_curve make_pair(void)
{
    mmq_curve curve = {0};
    assert_int_equal(zmq_curve_keypair(curve.public_key, curve.secret_key), 0);
    strcpy(curve.server_key, curve.public_key);
    return curve;
}

/* Also after its connections were cut, when it is a new socket. */
static void test_a_router_with_keys_takes_nothing_else(void **state)
{
    (void)state;
    const mmq_curve curve = make_pair();
    static const mmq_side sides[] = {MMQ_SIDE_CLIENTS, MMQ_SIDE_WORKERS};
    for (size_t i = 0; i < 2; i++) {
        mmq_why why = {""};
        mmq_router *router = mmq_router_new(sides[i], "tcp://127.0.0.1:*", &curve, &why);
        assert_non_null(router);
        for (int turn = 0; turn < 2; turn++) {
            char domain[64] = "", secret[MMQ_KEY_TEXT + 1] = "";
            size_t size = sizeof domain, secret_size = sizeof secret;
            void *socket = mmq_router_socket(router);
            EXPECT(socket, {ZMQ_MECHANISM, ZMQ_CURVE}, {ZMQ_CURVE_SERVER, 1}, {ENFORCE_DOMAIN, 1});
            assert_int_equal(zmq_getsockopt(socket, ZMQ_ZAP_DOMAIN, domain, &size), 0);
            assert_string_equal(domain, i == 0 ? MMQ_ZAP_CLIENTS : MMQ_ZAP_WORKERS);
            assert_int_equal(zmq_getsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, &secret_size), 0);
            assert_string_equal(secret, curve.secret_key);
            assert_int_equal(mmq_router_reopen(router, &why), MMQ_OK);
        }
        mmq_router_destroy(&router);
    }
}

static void test_dealers(void **state)
{
    (void)state;
    mmq_curve curve = make_pair();
    mmq_why why = {""};
    mmq_dealer_options options = {.frame_max = 1234, .send_hwm = 17, .curve = &curve};
    mmq_dealer *worker = mmq_dealer_new("tcp://127.0.0.1:1", &options, &why);
    assert_non_null(worker);
    EXPECT(mmq_dealer_socket(worker), {ZMQ_MECHANISM, ZMQ_CURVE}, {ZMQ_CURVE_SERVER, 0},
           {ZMQ_MAXMSGSIZE, 1234}, {ZMQ_SNDHWM, 17}, {ZMQ_RCVHWM, MMQ_CAPACITY_MAX + 24},
           {ZMQ_HANDSHAKE_IVL, 5000}, {ZMQ_HEARTBEAT_IVL, 0}, {ZMQ_LINGER, 0});
    mmq_dealer_destroy(&worker, 0);
    options.ping_timeout_ms = 3000;
    options.curve = NULL;
    mmq_dealer *client = mmq_dealer_new("tcp://127.0.0.1:1", &options, &why);
    assert_non_null(client);
    EXPECT(mmq_dealer_socket(client), {ZMQ_MECHANISM, ZMQ_NULL}, {ZMQ_MAXMSGSIZE, 1234},
           {ZMQ_SNDHWM, 17}, {ZMQ_RCVHWM, 0}, {ZMQ_HANDSHAKE_IVL, 5000}, {ZMQ_HEARTBEAT_IVL, 1000},
           {ZMQ_HEARTBEAT_TIMEOUT, 3000}, {ZMQ_HEARTBEAT_TTL, 0}, {ZMQ_LINGER, 0});
    mmq_dealer_destroy(&client, 0);
    options.curve = &curve; /* what is no key makes no socket, least of all a plain one */
    curve.server_key[3] = '\0';
    assert_null(mmq_dealer_new("tcp://127.0.0.1:1", &options, &why));
    assert_non_null(strstr(why.text, "no"));
    memset(curve.server_key, '~', MMQ_KEY_TEXT);
    assert_null(mmq_dealer_new("tcp://127.0.0.1:1", &options, &why));
}

/* libzmq would let everybody in if nobody answered its questions. */
static void test_without_a_zap_handler_nobody_gets_in(void **state)
{
    (void)state;
    const mmq_curve curve = make_pair();
    mmq_why why = {""};
    mmq_router *router = mmq_router_new(MMQ_SIDE_CLIENTS, "tcp://127.0.0.1:*", &curve, &why);
    assert_non_null(router);
    const mmq_dealer_options options = {.frame_max = 1234, .send_hwm = 17, .curve = &curve};
    mmq_dealer *dealer = mmq_dealer_new(mmq_router_endpoint(router), &options, &why);
    assert_non_null(dealer);
    bool lost = false;
    for (int i = 0; i < 2000 && !lost; i++) {
        zmq_pollitem_t item = {mmq_dealer_monitor(dealer), 0, ZMQ_POLLIN, 0};
        (void)zmq_poll(&item, 1, 10);
        lost = mmq_dealer_check(dealer);
        assert_false(mmq_dealer_connected(dealer));
    }
    assert_true(lost);
    assert_true(mmq_dealer_denied(dealer));
    mmq_dealer_destroy(&dealer, 0);
    mmq_router_destroy(&router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routers),
        cmocka_unit_test(test_a_router_with_keys_takes_nothing_else),
        cmocka_unit_test(test_dealers),
        cmocka_unit_test(test_without_a_zap_handler_nobody_gets_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
