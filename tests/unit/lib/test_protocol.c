/* Envelopes and headers: what is made parses, everything else is refused with a reason. */
#include "lib/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct part {
    const char *data;
    size_t size;
} part;

#define PART(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define ID(text) .id = text, .id_size = sizeof(text) - 1

static void build(mmq_message *message, const part *parts, size_t count)
{
    mmq_message_init(message);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(mmq_message_append_copy(message, parts[i].data, parts[i].size), MMQ_OK);
    }
}

typedef mmq_err parse_fn(const mmq_message *, size_t, mmq_envelope *, mmq_why *);

static void assert_refused(parse_fn *parse, const part *parts, size_t count)
{
    mmq_message message;
    build(&message, parts, count);
    mmq_envelope envelope;
    for (size_t n = 0; n <= count; n++) { /* no prefix of it is good either */
        mmq_why why = {""};
        message.count = n;
        assert_int_equal(parse(&message, 0, &envelope, &why), MMQ_EPROTO);
        assert_true(strlen(why.text) > 5);
        assert_int_equal(parse(&message, 0, &envelope, NULL), MMQ_EPROTO);
    }
    assert_int_equal(parse(&message, count + 7, &envelope, NULL), MMQ_EPROTO);
    message.count = count;
    mmq_message_clear(&message);
}

static void test_client_envelope(void **state)
{
    (void)state;
    mmq_message message;
    mmq_message_init(&message);
    assert_int_equal(mmq_message_append_copy(&message, "peer", 4), MMQ_OK);
    assert_int_equal(mmq_envelope_begin_client(&message, MMQ_CLIENT_REQUEST, MMQ_SERVICE_QUERY, 12),
                     MMQ_OK);
    mmq_envelope envelope;
    assert_int_equal(mmq_envelope_parse_client(&message, 1, &envelope, NULL), MMQ_EPROTO);
    assert_int_equal(mmq_message_append_copy(&message, "body", 4), MMQ_OK);
    assert_int_equal(mmq_envelope_parse_client(&message, 1, &envelope, NULL), MMQ_OK);
    assert_int_equal(envelope.command, MMQ_CLIENT_REQUEST);
    assert_int_equal(envelope.service_size, 12);
    assert_memory_equal(envelope.service, MMQ_SERVICE_QUERY, 12);
    assert_int_equal(envelope.body, 4);
    mmq_message_clear(&message);
}

static void test_client_refused(void **state)
{
    (void)state;
    static char long_name[256];
    memset(long_name, 'x', sizeof long_name);
    const part cases[][4] = {
        {PART("MDPC01"), PART("\1"), PART("echo"), PART("body")},
        {PART("MDPW02"), PART("\1"), PART("echo"), PART("body")},
        {PART("MDPC02x"), PART("\1"), PART("echo"), PART("body")},
        {PART("MDPC02"), PART("\0"), PART("echo"), PART("body")},
        {PART("MDPC02"), PART("\4"), PART("echo"), PART("body")},
        {PART("MDPC02"), PART("\xff"), PART("echo"), PART("body")},
        {PART("MDPC02"), PART(""), PART("echo"), PART("body")},
        {PART("MDPC02"), PART("\1\1"), PART("echo"), PART("body")},
        {PART("MDPC02"), PART("\1"), PART(""), PART("body")},
        {PART("MDPC02"), PART("\1"), PART("a b"), PART("body")},
        {PART("MDPC02"), PART("\1"), PART("a\0b"), PART("body")},
        {PART("MDPC02"), PART("\1"), PART("caf\xc3\xa9"), PART("body")},
        {PART("MDPC02"), PART("\1"), PART("\x7f"), PART("body")},
        {PART("MDPC02"), PART("\1"), {long_name, sizeof long_name}, PART("body")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_refused(mmq_envelope_parse_client, cases[i], 4);
    }
}

static void test_ready(void **state)
{
    (void)state;
    static const unsigned capacities[] = {0, 1, 8, 1000};
    for (size_t i = 0; i < 4; i++) {
        mmq_message message;
        mmq_message_init(&message);
        assert_int_equal(mmq_envelope_ready(&message, "echo", capacities[i]), MMQ_OK);
        mmq_envelope envelope;
        assert_int_equal(mmq_envelope_parse_worker(&message, 0, &envelope, NULL), MMQ_OK);
        assert_int_equal(envelope.command, MMQ_WORKER_READY);
        assert_int_equal(envelope.plain, capacities[i] == 0);
        assert_int_equal(envelope.capacity, i == 0 ? 1 : capacities[i]);
        assert_memory_equal(envelope.service, "echo", 4);
        assert_int_equal(envelope.body, message.count);
        mmq_message_clear(&message);
    }
}

static void test_ready_refused(void **state)
{
    (void)state;
    static const char *const capacities[] = {"",    "0",  "1001",       "-1",  "+1",   " 1",
                                             "1.0", "8x", "9999999999", "0x8", "00001"};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        mmq_message message;
        mmq_message_init(&message);
        assert_int_equal(mmq_envelope_ready(&message, "echo", 0), MMQ_OK);
        assert_int_equal(mmq_message_append_copy(&message, capacities[i], strlen(capacities[i])),
                         MMQ_OK);
        mmq_envelope envelope;
        assert_int_equal(mmq_envelope_parse_worker(&message, 0, &envelope, NULL), MMQ_EPROTO);
        mmq_message_clear(&message);
    }
}

static void test_addressed(void **state)
{
    (void)state;
    for (int command = MMQ_WORKER_REQUEST; command <= MMQ_WORKER_FINAL; command++) {
        mmq_message message;
        mmq_message_init(&message);
        assert_int_equal(
            mmq_envelope_begin_worker(&message, (mmq_worker_command)command, "to\0ken", 6), MMQ_OK);
        assert_int_equal(mmq_message_append_copy(&message, NULL, 0), MMQ_OK);
        mmq_envelope envelope;
        assert_int_equal(mmq_envelope_parse_worker(&message, 0, &envelope, NULL), MMQ_OK);
        assert_int_equal(envelope.command, command);
        assert_int_equal(envelope.token_size, 6);
        assert_memory_equal(envelope.token, "to\0ken", 6);
        assert_int_equal(envelope.body, 4);
        mmq_message_clear(&message);
    }
}

static void test_short_commands(void **state)
{
    (void)state;
    for (int command = MMQ_WORKER_HEARTBEAT; command <= MMQ_WORKER_DISCONNECT; command++) {
        mmq_message message;
        mmq_message_init(&message);
        assert_int_equal(mmq_envelope_begin_worker(&message, (mmq_worker_command)command, NULL, 0),
                         MMQ_OK);
        mmq_envelope envelope;
        assert_int_equal(message.count, 2);
        assert_int_equal(mmq_envelope_parse_worker(&message, 0, &envelope, NULL), MMQ_OK);
        assert_int_equal(envelope.command, command);
        assert_int_equal(mmq_message_append_copy(&message, NULL, 0), MMQ_OK);
        assert_int_equal(mmq_envelope_parse_worker(&message, 0, &envelope, NULL), MMQ_EPROTO);
        mmq_message_clear(&message);
    }
}

static void test_worker_refused(void **state)
{
    (void)state;
    static char long_token[MMQ_TOKEN_MAX + 1];
    const part cases[][5] = {
        {PART("MDPC02"), PART("\4"), PART("t"), PART(""), PART("body")},
        {PART("MDPW01"), PART("\4"), PART("t"), PART(""), PART("body")},
        {PART("MDPW02"), PART("\0"), PART("t"), PART(""), PART("body")},
        {PART("MDPW02"), PART("\7"), PART("t"), PART(""), PART("body")},
        {PART("MDPW02"), PART("\4"), PART(""), PART(""), PART("body")},
        {PART("MDPW02"), PART("\4"), PART("t"), PART("x"), PART("body")},
        {PART("MDPW02"), PART("\4"), {long_token, sizeof long_token}, PART(""), PART("body")},
        {PART("MDPW02"), PART("\1"), PART(""), PART("8"), PART("body")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_refused(mmq_envelope_parse_worker, cases[i], 5);
    }
}

static void test_routing(void **state)
{
    (void)state;
    static const struct {
        part body, id;
        unsigned timeout_ms;
    } cases[] = {
        {PART(""), PART("\xc0"), 30000},
        {PART("junk"), PART("\xc0"), 30000},
        {PART("\x80"), PART("\xc0"), 30000},
        {PART("\x82\xa2id\x07\xa7timeout\xcd\x01\x00"), PART("\x07"), 256},
        {PART("\x83\xa2op\x92\x01\x90\xa7timeout\x01\xa2id\xa3"
              "abc"),
         PART("\xa3"
              "abc"),
         1},
        {PART("\x81\xa7timeout\x00"), PART("\xc0"), 30000},
        {PART("\x81\xa7timeout\xff"), PART("\xc0"), 30000},
        {PART("\x81\xa7timeout\xce\x00\x04\x93\xe0"), PART("\xc0"), 300000},
        {PART("\x81\xa7timeout\xce\x00\x04\x93\xe1"), PART("\xc0"), 30000},
        {PART("\x81\xa7timeout\xa1x"), PART("\xc0"), 30000},
        {PART("\x81\xa2id\x91\x01"), PART("\xc0"), 30000},
        {PART("\x81\xa2id\x80"), PART("\xc0"), 30000},
        {PART("\x82\xa2id\x01\xa2id\x02"), PART("\x01"), 30000},
        {PART("\x82\xa2id\x01\xa7timeout"), PART("\x01"), 30000},
        {PART("\x82\xa2id\x01\xa7timeout\xcd"), PART("\x01"), 30000},
        {PART("\xdf\xff\xff\xff\xff\xa2id\x01"), PART("\xc0"), 30000},
        {PART("\x82\x01\x02\xa2id\xcb\x00\x00\x00\x00\x00\x00\x00\x00"),
         PART("\xcb\x00\x00\x00\x00\x00\x00\x00\x00"), 30000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_routing routing;
        mmq_routing_scan(cases[i].body.data, cases[i].body.size, &routing);
        assert_int_equal(routing.id_size, cases[i].id.size);
        assert_memory_equal(routing.id, cases[i].id.data, cases[i].id.size);
        assert_int_equal(routing.timeout_ms, cases[i].timeout_ms);
    }
}

static void test_long_id_counts_as_nil(void **state)
{
    (void)state;
    uint8_t body[7 + MMQ_ID_MAX] = "\x81\xa2id\xda";
    for (size_t size = MMQ_ID_MAX - 1; size <= MMQ_ID_MAX + 1; size++) {
        body[5] = (uint8_t)((size - 3) >> 8);
        body[6] = (uint8_t)(size - 3);
        mmq_routing routing;
        mmq_routing_scan(body, 4 + size, &routing);
        assert_int_equal(routing.id_size, size <= MMQ_ID_MAX ? size : 1);
    }
}

static void test_final_header(void **state)
{
    (void)state;
    mmq_header made = {ID("\xa2me"), .status = 200,        .rows = 3,
                       .seq = -1,    .next = {"go on", 5}, .trace = {"t", 1}};
    mmq_frame frame;
    assert_int_equal(mmq_header_final(&frame, &made), MMQ_OK);
    static const char expected[] = "\x88\xa2id\xa2me\xa6status\xcc\xc8\xa4rows\x03\xa3seq\xc0"
                                   "\xa4next\xa5go on\xa5"
                                   "error\xc0\xa5state\xc0\xa5trace\xa1t";
    assert_int_equal(mmq_frame_size(&frame), sizeof expected - 1);
    assert_memory_equal(mmq_frame_data(&frame), expected, sizeof expected - 1);
    mmq_header read;
    assert_int_equal(mmq_header_parse(mmq_frame_data(&frame), mmq_frame_size(&frame), &read),
                     MMQ_OK);
    assert_int_equal(read.status, 200);
    assert_int_equal(read.rows, 3);
    assert_int_equal(read.seq, -1);
    assert_memory_equal(read.id, "\xa2me", 3);
    assert_memory_equal(read.next.data, "go on", 5);
    assert_null(read.error.data);
    assert_null(read.cursor.data);
    assert_memory_equal(read.trace.data, "t", 1);
    mmq_frame_close(&frame);
}

static void test_partial_header(void **state)
{
    (void)state;
    mmq_header made = {.seq = 0};
    mmq_frame frame;
    assert_int_equal(mmq_header_partial(&frame, &made), MMQ_OK);
    static const char expected[] = "\x83\xa2id\xc0\xa3seq\x00\xa6"
                                   "cursor\xc0";
    assert_int_equal(mmq_frame_size(&frame), sizeof expected - 1);
    assert_memory_equal(mmq_frame_data(&frame), expected, sizeof expected - 1);
    mmq_frame_close(&frame);
}

static void test_long_trace_is_left_out(void **state)
{
    (void)state;
    static char trace[1 << 20];
    mmq_header made = {.trace = {trace, sizeof trace}};
    mmq_frame frame;
    assert_int_equal(mmq_header_partial(&frame, &made), MMQ_OK);
    mmq_header read;
    assert_int_equal(mmq_header_parse(mmq_frame_data(&frame), mmq_frame_size(&frame), &read),
                     MMQ_OK);
    assert_null(read.trace.data);
    mmq_frame_close(&frame);
}

static void test_header_refused(void **state)
{
    (void)state;
    static const part cases[] = {
        PART(""),
        PART("\xc0"),
        PART("\x90"),
        PART("\x81\x01\x02"),
        PART("\x81\xa6status\xa1x"),
        PART("\x81\xa6status\xff"),
        PART("\x81\xa4rows\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        PART("\x81\xa3seq\xca\x00\x00\x00\x00"),
        PART("\x81\xa4next\x01"),
        PART("\x81\xa5"
             "error\x90"),
        PART("\x81\xa2id\x90"),
        PART("\x80\x80"),
        PART("\x81\xa4rows"),
    };
    mmq_header header;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mmq_header_parse(cases[i].data, cases[i].size, &header), MMQ_EPROTO);
    }
    static const part newer = PART("\x82\xa6status\xcc\xc8\xa5"
                                   "extra\x92\x01\x80");
    assert_int_equal(mmq_header_parse(newer.data, newer.size, &header), MMQ_OK);
    assert_int_equal(header.status, 200);
    assert_memory_equal(header.id, "\xc0", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_envelope),
        cmocka_unit_test(test_client_refused),
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_ready_refused),
        cmocka_unit_test(test_addressed),
        cmocka_unit_test(test_short_commands),
        cmocka_unit_test(test_worker_refused),
        cmocka_unit_test(test_routing),
        cmocka_unit_test(test_long_id_counts_as_nil),
        cmocka_unit_test(test_final_header),
        cmocka_unit_test(test_partial_header),
        cmocka_unit_test(test_long_trace_is_left_out),
        cmocka_unit_test(test_header_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
