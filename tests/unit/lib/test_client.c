/* The client against a broker played by hand (faults F3, F22, F23 and hostile answers). */
#include "tests/unit/lib/fake_broker.h"

typedef struct seen {
    size_t partials;
    size_t finals;
    int status;
    char error[256];
    char payload[64];
} seen;

static void note(void *context, const mmq_answer *answer)
{
    seen *seen_p = context;
    if (!answer->final) {
        seen_p->partials++;
        return;
    }
    seen_p->finals++;
    seen_p->status = (int)answer->header->status;
    snprintf(seen_p->error, sizeof seen_p->error, "%.*s", (int)answer->header->error.size,
             answer->header->error.size > 0 ? answer->header->error.data : "");
    if (answer->payload != NULL) {
        snprintf(seen_p->payload, sizeof seen_p->payload, "%.*s",
                 (int)mmq_frame_size(answer->payload),
                 (const char *)mmq_frame_data(answer->payload));
    }
}

typedef struct fixture {
    fake_broker broker;
    mmq_client *client;
    seen seen;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fake_start(&f->broker);
    f->client = mmq_client_new(f->broker.endpoint, NULL);
    assert_non_null(f->client);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    mmq_client_destroy(&f->client);
    fake_stop(&f->broker);
    free(f);
    return 0;
}

static uint64_t ask(fixture *f, const char *service, unsigned timeout_ms, bool retry, seen *seen_p)
{
    mmq_call call = {.service = service,
                     .timeout_ms = timeout_ms,
                     .retry = retry,
                     .answer = note,
                     .context = seen_p};
    mmq_why why = {""};
    uint64_t handle = mmq_client_send(f->client, &call, &why);
    assert_true(handle != 0);
    return handle;
}

static void test_answer(void **state)
{
    fixture *f = *state;
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "model");
    mmq_call call = {.service = "s",
                     .args = args.pairs.data,
                     .args_size = args.pairs.size,
                     .args_count = args.count,
                     .timeout_ms = 1234,
                     .answer = note,
                     .context = &f->seen};
    assert_true(mmq_client_send(f->client, &call, NULL) != 0);
    mmq_args_clear(&args);
    await_request(&f->broker, f->client);
    assert_in_range(f->broker.routing.timeout_ms, 1, 1234);
    fake_partial(&f->broker, 0, NULL, "part");
    fake_final(&f->broker, 200, 1, NULL, "whole");
    AWAIT(f->client, f->seen.finals == 1);
    assert_int_equal(f->seen.partials, 1);
    assert_int_equal(f->seen.status, 200);
    assert_string_equal(f->seen.payload, "whole");
    assert_int_equal(mmq_client_step(f->client), -1);
}

static void test_timeout_and_late_answer(void **state)
{
    fixture *f = *state;
    ask(f, "s", 50, true, &f->seen);
    await_request(&f->broker, f->client);
    AWAIT(f->client, f->seen.finals == 1);
    assert_int_equal(f->seen.status, 504);
    /* the late answer meets another request on the same socket (F22) */
    mmq_header late = {.status = 200, .seq = 0, .rows = 1};
    uint8_t id[MMQ_ID_MAX];
    memcpy(id, f->broker.routing.id, f->broker.routing.id_size);
    late.id = id;
    late.id_size = f->broker.routing.id_size;
    seen other = {0};
    ask(f, "s", 5000, false, &other);
    await_request(&f->broker, f->client);
    fake_answer(&f->broker, true, &late, "late");
    fake_final(&f->broker, 200, 0, NULL, "in time");
    AWAIT(f->client, other.finals == 1);
    assert_string_equal(other.payload, "in time");
    assert_int_equal(f->seen.finals, 1);
}

static void test_duplicate_final(void **state)
{
    fixture *f = *state;
    ask(f, "s", 5000, true, &f->seen);
    await_request(&f->broker, f->client);
    fake_final(&f->broker, 200, 0, NULL, "one");
    fake_final(&f->broker, 200, 0, NULL, "two");
    seen other = {0};
    ask(f, "s", 5000, true, &other);
    await_request(&f->broker, f->client);
    fake_final(&f->broker, 200, 0, NULL, "three");
    AWAIT(f->client, other.finals == 1);
    assert_int_equal(f->seen.finals, 1);
    assert_string_equal(f->seen.payload, "one");
    assert_string_equal(other.payload, "three");
    assert_int_equal(mmq_client_dropped(f->client), 1);
}

static void test_retry_after_503(void **state)
{
    fixture *f = *state;
    ask(f, "s", 5000, true, &f->seen);
    uint8_t first[MMQ_ID_MAX];
    await_request(&f->broker, f->client);
    size_t size = f->broker.routing.id_size;
    memcpy(first, f->broker.routing.id, size);
    fake_final(&f->broker, 503, 0, NULL, NULL);
    await_request(&f->broker, f->client);
    assert_true(size != f->broker.routing.id_size ||
                memcmp(first, f->broker.routing.id, size) != 0);
    assert_int_equal(f->seen.finals, 0);
    fake_final(&f->broker, 200, 0, NULL, "good");
    AWAIT(f->client, f->seen.finals == 1);
    assert_string_equal(f->seen.payload, "good");
}

static void test_503_without_retry(void **state)
{
    fixture *f = *state;
    ask(f, "s", 5000, false, &f->seen);
    await_request(&f->broker, f->client);
    fake_final(&f->broker, 503, 0, NULL, NULL);
    AWAIT(f->client, f->seen.finals == 1);
    assert_int_equal(f->seen.status, 503);
    assert_string_equal(f->seen.error, "so it is");
}

/* The broker dies and returns: what may be sent again is, the rest ends in 503 (F3). */
static void test_broker_lost(void **state)
{
    fixture *f = *state;
    seen once = {0};
    ask(f, "s", 8000, true, &f->seen);
    await_request(&f->broker, f->client);
    ask(f, "s", 8000, false, &once);
    await_request(&f->broker, f->client);
    fake_close(&f->broker);
    AWAIT(f->client, once.finals == 1);
    assert_int_equal(once.status, 503);
    assert_non_null(strstr(once.error, "not known"));
    assert_int_equal(f->seen.finals, 0);
    fake_bind(&f->broker);
    await_request(&f->broker, f->client);
    fake_final(&f->broker, 200, 0, NULL, "again");
    AWAIT(f->client, f->seen.finals == 1);
    assert_string_equal(f->seen.payload, "again");
}

static void test_no_broker(void **state)
{
    fixture *f = *state;
    fake_close(&f->broker);
    mmq_client_destroy(&f->client); /* it may have met the broker: then the answer may be 503 */
    f->client = mmq_client_new(f->broker.endpoint, NULL);
    assert_non_null(f->client);
    ask(f, "s", 50, true, &f->seen);
    AWAIT(f->client, f->seen.finals == 1);
    assert_int_equal(f->seen.status, 504);
    fake_bind(&f->broker); /* to the broker that returns it is not sent any more */
    ask(f, "another", 5000, true, &f->seen);
    await_request(&f->broker, f->client);
    assert_int_equal(f->broker.envelope.service_size, strlen("another"));
}

static void test_cancel(void **state)
{
    fixture *f = *state;
    uint64_t handle = ask(f, "s", 5000, true, &f->seen);
    await_request(&f->broker, f->client);
    mmq_client_cancel(f->client, handle);
    mmq_client_cancel(f->client, handle);
    mmq_client_cancel(f->client, 12345);
    fake_final(&f->broker, 200, 0, NULL, "unwanted");
    seen other = {0};
    ask(f, "s", 5000, true, &other);
    await_request(&f->broker, f->client);
    fake_final(&f->broker, 200, 0, NULL, "wanted");
    AWAIT(f->client, other.finals == 1);
    assert_int_equal(f->seen.finals, 0);
}

/* Answers of mmi.* bear no id: one whose asker has left must not go to the next (F22). */
static void test_mmi_in_order(void **state)
{
    fixture *f = *state;
    ask(f, "mmi.service", 30, false, &f->seen);
    await_request(&f->broker, f->client);
    AWAIT(f->client, f->seen.finals == 1);
    assert_int_equal(f->seen.status, 504);
    seen other = {0};
    ask(f, "mmi.service", 5000, false, &other);
    await_request(&f->broker, f->client);
    static const char *const first[] = {MMQ_CLIENT_MAGIC, "\3", "mmi.service", "404", NULL};
    static const char *const second[] = {MMQ_CLIENT_MAGIC, "\3", "mmi.service", "200", "x", NULL};
    fake_raw(&f->broker, first);
    fake_raw(&f->broker, second);
    AWAIT(f->client, other.finals == 1);
    assert_int_equal(other.status, 200);
    assert_string_equal(other.payload, "x");
    assert_int_equal(f->seen.finals, 1);
}

static void test_malformed_answers(void **state)
{
    fixture *f = *state;
    ask(f, "s", 5000, false, &f->seen);
    await_request(&f->broker, f->client);
    static const char *const hostile[][8] = {
        {"", NULL},
        {"MDPC01", "\3", "s", "x", NULL},
        {MMQ_CLIENT_MAGIC, NULL},
        {MMQ_CLIENT_MAGIC, "\3", NULL},
        {MMQ_CLIENT_MAGIC, "\3", "s", NULL},
        {MMQ_CLIENT_MAGIC, "\3", "s", "", NULL},
        {MMQ_CLIENT_MAGIC, "\3", "s", "\xc1", "payload", NULL},
        {MMQ_CLIENT_MAGIC, "\3", "s", "\x81\xa2id\x7f", NULL},
        {MMQ_CLIENT_MAGIC, "\3", "s", "\x81\xa2id\xff", NULL},
        {MMQ_CLIENT_MAGIC, "\3", "mmi.service", "200", NULL},
        {MMQ_CLIENT_MAGIC, "\1", "s", "\x81\xa2id\x01", NULL},
        {MMQ_CLIENT_MAGIC, "\3", "s", "a", "b", "c", "d", NULL},
    };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        fake_raw(&f->broker, hostile[i]);
    }
    mmq_header no_status = {.status = 0, .seq = 0, .rows = 1};
    fake_answer(&f->broker, true, &no_status, "no status");
    fake_final(&f->broker, 200, 0, NULL, "good");
    AWAIT(f->client, f->seen.finals == 1);
    assert_string_equal(f->seen.payload, "good");
}

/* Answers in any order find their requests (F23). */
static void test_many(void **state)
{
    enum { MANY = 1000 };
    fixture *f = *state;
    seen *all = calloc(MANY, sizeof *all);
    mmq_message *requests = calloc(MANY, sizeof *requests);
    assert_true(all != NULL && requests != NULL);
    for (size_t i = 0; i < MANY; i++) {
        ask(f, "s", 10000, false, &all[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        await_request(&f->broker, f->client);
        mmq_message_init(&requests[i]);
        mmq_message_move(&requests[i], &f->broker.last);
    }
    for (size_t i = MANY; i-- > 0;) {
        mmq_message_move(&f->broker.last, &requests[i]);
        const mmq_frame *body = &f->broker.last.frames[4];
        mmq_routing_scan(mmq_frame_data(body), mmq_frame_size(body), &f->broker.routing);
        f->broker.envelope.service = "s";
        f->broker.envelope.service_size = 1;
        char payload[24];
        snprintf(payload, sizeof payload, "%zu", i);
        fake_final(&f->broker, 200, 0, NULL, payload);
        (void)mmq_client_step(f->client);
    }
    for (size_t i = 0; i < MANY; i++) {
        AWAIT(f->client, all[i].finals == 1);
        assert_int_equal(strtoul(all[i].payload, NULL, 10), i);
    }
    free(requests);
    free(all);
}

static void ask_for(fixture *f, const char *service, uint64_t party)
{
    mmq_call call = {.service = service, .party = party, .answer = note, .context = &f->seen};
    assert_true(mmq_client_send(f->client, &call, NULL) != 0);
}

static bool is_for(const fixture *f, const char *service)
{
    return f->broker.envelope.service_size == strlen(service) &&
           memcmp(f->broker.envelope.service, service, strlen(service)) == 0;
}

/* Parties are served in turn: one with many requests does not hold up one with few. */
static void test_parties(void **state)
{
    enum { MANY = 200, FEW = 3, WINDOW = 4 };
    fixture *f = *state;
    mmq_client_set_window(f->client, WINDOW);
    for (int i = 0; i < MANY; i++) {
        ask_for(f, "many", 1);
    }
    for (int i = 0; i < FEW; i++) {
        ask_for(f, "few", 2);
    }
    ask_for(f, "nobody", 0);
    await_request(&f->broker, f->client);
    assert_true(is_for(f, "nobody")); /* takes no turn and no room */
    int few = 0;
    for (int i = 0; i < WINDOW; i++) {
        await_request(&f->broker, f->client);
        few += is_for(f, "few");
    }
    assert_int_equal(few, WINDOW / 2);
    (void)mmq_client_step(f->client);
    zmq_pollitem_t item = {.socket = zsock_resolve(f->broker.router), .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, 50), 0); /* the window is full */
    for (int i = WINDOW; i < MANY + FEW; i++) {  /* one answer lets one more through */
        fake_final(&f->broker, 200, 0, NULL, NULL);
        await_request(&f->broker, f->client);
        few += is_for(f, "few");
        assert_true(few == FEW || i < 2 * FEW);
    }
    fake_final(&f->broker, 200, 0, NULL, NULL);
    AWAIT(f->client, f->seen.finals == MANY + FEW - WINDOW + 1);
}

static void test_bounds(void **state)
{
    fixture *f = *state;
    mmq_why why = {""};
    mmq_call call = {
        .service = "s", .args_size = MMQ_BODY_MAX, .answer = note, .context = &f->seen};
    assert_true(mmq_client_send(f->client, &call, &why) == 0);
    assert_string_not_equal(why.text, "");
    mmq_result result;
    assert_int_equal(mmq_client_call(f->client, &call, &result, &why), MMQ_ETOOBIG);
    call = (mmq_call){.service = "s", .answer = note, .context = &f->seen};
    size_t taken = 0;
    while (mmq_client_send(f->client, &call, &why) != 0) {
        taken++;
    }
    assert_int_equal(taken, 10000);
    assert_non_null(strstr(why.text, "too many"));
}

typedef struct chain {
    fixture *f;
    size_t left;
    uint64_t victim;
} chain;

static void send_next(void *context, const mmq_answer *answer)
{
    chain *c = context;
    assert_true(answer->final);
    mmq_client_cancel(c->f->client, c->victim);
    if (--c->left > 0) {
        mmq_call call = {.service = "s", .answer = send_next, .context = c};
        assert_true(mmq_client_send(c->f->client, &call, NULL) != 0);
    }
}

static void test_callbacks_send_and_cancel(void **state)
{
    fixture *f = *state;
    chain c = {.f = f, .left = 5};
    mmq_call call = {.service = "s", .answer = send_next, .context = &c};
    assert_true(mmq_client_send(f->client, &call, NULL) != 0);
    await_request(&f->broker, f->client);
    c.victim = ask(f, "victim", 5000, true, &f->seen);
    while (c.left > 0) {
        fake_final(&f->broker, 200, 0, NULL, NULL);
        size_t before = c.left;
        AWAIT(f->client, c.left < before);
        do {
            if (c.left > 0) {
                await_request(&f->broker, f->client);
            }
        } while (f->broker.envelope.service_size != 1);
    }
    assert_int_equal(f->seen.finals, 0);
    assert_int_equal(mmq_client_step(f->client), -1);
}

/* A loss while callbacks send more: those go to the broker that returns. */
static void test_send_during_loss(void **state)
{
    fixture *f = *state;
    chain c = {.f = f, .left = 2};
    mmq_call call = {.service = "s", .answer = send_next, .context = &c};
    assert_true(mmq_client_send(f->client, &call, NULL) != 0);
    await_request(&f->broker, f->client);
    fake_close(&f->broker);
    AWAIT(f->client, c.left == 1);
    fake_bind(&f->broker);
    await_request(&f->broker, f->client);
    fake_final(&f->broker, 200, 0, NULL, NULL);
    AWAIT(f->client, c.left == 0);
}

static void test_bad_endpoint(void **state)
{
    (void)state;
    mmq_why why = {""};
    assert_null(mmq_client_new("nonsense", &why));
    assert_non_null(strstr(why.text, "nonsense"));
    assert_null(mmq_client_new("%s%n", &why));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_answer),
        TEST(test_timeout_and_late_answer),
        TEST(test_duplicate_final),
        TEST(test_retry_after_503),
        TEST(test_503_without_retry),
        TEST(test_broker_lost),
        TEST(test_no_broker),
        TEST(test_cancel),
        TEST(test_mmi_in_order),
        TEST(test_malformed_answers),
        TEST(test_many),
        TEST(test_parties),
        TEST(test_bounds),
        TEST(test_callbacks_send_and_cancel),
        TEST(test_send_during_loss),
        cmocka_unit_test(test_bad_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
