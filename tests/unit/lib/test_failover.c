/* A client of several brokers, played by hand (faults F3, F9, F22): it uses the first that answers,
 * goes on to the next, and keeps its promises meanwhile. */
#include "tests/unit/lib/fake_broker.h"

#include "lib/client_link.h"

enum { REFUSED_MS = 400 }; /* longer than the pause between rounds: a refusal wakes who waits */

typedef struct fixture {
    fake_broker a, b;
    mmq_client *client;
    char list[200];
} fixture;

typedef struct seen {
    size_t finals;
    int status;
    char text[64]; /* of the payload */
} seen;

static void note(void *context, const mmq_answer *answer)
{
    seen *seen_p = context;
    assert_true(answer->final);
    seen_p->finals++;
    seen_p->status = (int)answer->header->status;
    if (answer->payload != NULL) {
        snprintf(seen_p->text, sizeof seen_p->text, "%.*s", (int)mmq_frame_size(answer->payload),
                 (const char *)mmq_frame_data(answer->payload));
    }
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fake_start(&f->a);
    fake_start(&f->b);
    snprintf(f->list, sizeof f->list, "%s,%s", f->a.endpoint, f->b.endpoint);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    mmq_client_destroy(&f->client);
    fake_stop(&f->a);
    fake_stop(&f->b);
    free(f);
    return 0;
}

static void start(fixture *f)
{
    f->client = mmq_client_new(f->list, NULL);
    assert_non_null(f->client);
}

static void ask(fixture *f, const char *service, unsigned timeout_ms, bool retry, seen *seen_p)
{
    mmq_call call = {.service = service,
                     .timeout_ms = timeout_ms,
                     .retry = retry,
                     .answer = note,
                     .context = seen_p};
    assert_true(mmq_client_send(f->client, &call, NULL) != 0);
}

static bool is_for(const fake_broker *fake, const char *service)
{
    return fake->envelope.service_size == strlen(service) &&
           memcmp(fake->envelope.service, service, strlen(service)) == 0;
}

/* Milliseconds until a first request, asked at once, is answered by b. */
static int64_t first_answer_ms(fixture *f)
{
    const int64_t start_ns = mmq_now_ns();
    seen whole = {0};
    start(f);
    ask(f, "s", 8000, false, &whole);
    await_request(&f->b, f->client);
    fake_final(&f->b, 200, 0, NULL, "from b");
    AWAIT(f->client, whole.finals == 1);
    assert_string_equal(whole.text, "from b");
    const int64_t ms = (mmq_now_ns() - start_ns) / MMQ_NS_PER_MS;
    print_message("first answer after %lld ms\n", (long long)ms);
    return ms;
}

static void test_first_refuses(void **state)
{
    fixture *f = *state;
    fake_close(&f->a);
    assert_true(first_answer_ms(f) < 400); /* it does not wait for the patience to end */
}

static void test_first_hangs(void **state)
{
    fixture *f = *state;
    char hangs[64];
    const int descriptor = fake_hang(hangs);
    snprintf(f->list, sizeof f->list, "%s,%s", hangs, f->b.endpoint);
    assert_in_range(first_answer_ms(f), 450, 2000);
    close(descriptor);
}

static void test_first_answers(void **state)
{
    fixture *f = *state;
    start(f);
    for (int i = 0; i < 20; i++) {
        seen one = {0};
        ask(f, "s", 8000, false, &one);
        await_request(&f->a, f->client);
        fake_final(&f->a, 200, 0, NULL, NULL);
        AWAIT(f->client, one.finals == 1);
    }
    assert_false(fake_poll(&f->b, false));
}

/* What may be sent again goes to the next broker; the rest ends, and is sent nowhere. */
static void test_round(void **state)
{
    fixture *f = *state;
    fake_broker *const order[] = {&f->a, &f->b, &f->a};
    seen again = {0};
    start(f);
    ask(f, "again", 20000, true, &again);
    for (size_t i = 0; i < 2; i++) {
        seen once = {0};
        do {
            await_request(order[i], f->client);
        } while (!is_for(order[i], "again"));
        ask(f, "once", 20000, false, &once);
        await_request(order[i], f->client);
        assert_true(is_for(order[i], "once"));
        fake_close(order[i]);
        AWAIT(f->client, once.finals == 1);
        assert_int_equal(once.status, 503);
        fake_bind(order[i]); /* it is back, but the client goes on to the next */
    }
    await_request(order[2], f->client);
    assert_true(is_for(order[2], "again"));
    fake_final(order[2], 200, 0, NULL, "at last");
    AWAIT(f->client, again.finals == 1);
    assert_string_equal(again.text, "at last");
    assert_false(fake_poll(&f->a, false));
    assert_false(fake_poll(&f->b, false));
}

/* A broker that stops refuses what is new, and then goes. */
static void test_drain(void **state)
{
    fixture *f = *state;
    seen again = {0};
    seen begun = {0};
    start(f);
    ask(f, "begun", 20000, false, &begun);
    await_request(&f->a, f->client);
    mmq_message kept;
    mmq_message_init(&kept);
    ask(f, "again", 20000, true, &again);
    mmq_message_move(&kept, &f->a.last);
    const mmq_routing kept_routing = f->a.routing;
    for (int i = 0; i < 3; i++) {
        await_request(&f->a, f->client);
        assert_true(is_for(&f->a, "again"));
        fake_final(&f->a, 503, 0, NULL, NULL);
    }
    mmq_message_move(&f->a.last, &kept);
    f->a.routing = kept_routing;
    f->a.envelope.service = "begun";
    f->a.envelope.service_size = strlen("begun");
    fake_final(&f->a, 200, 0, NULL, "finished");
    fake_close(&f->a);
    await_request(&f->b, f->client);
    assert_string_equal(begun.text, "finished");
    fake_final(&f->b, 200, 0, NULL, "from b");
    AWAIT(f->client, again.finals == 1);
    assert_string_equal(again.text, "from b");
}

/* An answer that came before the loss is an answer, whatever is noticed first. */
static void test_last_words(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 40; i++) {
        seen one = {0};
        start(f);
        ask(f, "s", 20000, false, &one);
        await_request(&f->a, f->client);
        fake_final(&f->a, 200, 0, NULL, "last words");
        fake_close(&f->a); /* lets it leave */
        struct pollfd input = {.fd = mmq_client_descriptor(f->client), .events = POLLIN};
        assert_int_equal(poll(&input, 1, WAIT_MS), 1);
        AWAIT(f->client, one.finals == 1);
        assert_string_equal(one.text, "last words");
        mmq_client_destroy(&f->client);
        fake_bind(&f->a);
    }
}

typedef struct request_id {
    uint8_t bytes[MMQ_ID_MAX];
    size_t size;
} request_id;

static void answer_all(fake_broker *fake, const request_id *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const mmq_header header = {
            .status = 200, .rows = 1, .seq = 0, .id = ids[i].bytes, .id_size = ids[i].size};
        fake_answer(fake, true, &header, NULL);
    }
}

/* Answers wait unread while their broker dies: they count, and pings do not trip over them. */
static void test_unread_answers(void **state)
{
    enum { MANY = 3000 }; /* more than libzmq's default high-water marks hold */
    static seen all[MANY];
    static request_id ids[MANY];
    fixture *f = *state;
    start(f);
    for (size_t i = 0; i < MANY; i++) {
        ask(f, "s", 20000, false, &all[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        await_request(&f->a, f->client);
        memcpy(ids[i].bytes, f->a.routing.id, f->a.routing.id_size);
        ids[i].size = f->a.routing.id_size;
    }
    answer_all(&f->a, ids, MANY);
    fake_close(&f->a);
    const int64_t closed_ns = mmq_now_ns();
    while (mmq_now_ns() - closed_ns < 2500 * MMQ_NS_PER_MS) { /* pings are due each second */
        (void)poll(NULL, 0, 5);
    }
    for (size_t i = 0; i < MANY; i++) {
        AWAIT(f->client, all[i].finals == 1);
        assert_int_equal(all[i].status, 200);
    }
}

/* Answers of mmi.* bear no id: those of the old broker are not waited for any more (F22). */
static void test_mmi(void **state)
{
    fixture *f = *state;
    seen lost = {0};
    seen first = {0};
    seen second = {0};
    start(f);
    ask(f, "mmi.service", 20000, false, &lost);
    await_request(&f->a, f->client);
    fake_close(&f->a);
    AWAIT(f->client, lost.finals == 1);
    assert_int_equal(lost.status, 503);
    ask(f, "mmi.service", 20000, false, &first);
    ask(f, "mmi.service", 20000, false, &second);
    await_request(&f->b, f->client);
    await_request(&f->b, f->client);
    static const char *const answers[][6] = {
        {MMQ_CLIENT_MAGIC, "\3", "mmi.service", "404", NULL},
        {MMQ_CLIENT_MAGIC, "\3", "mmi.service", "200", NULL},
    };
    fake_raw(&f->b, answers[0]);
    fake_raw(&f->b, answers[1]);
    AWAIT(f->client, second.finals == 1);
    assert_int_equal(first.status, 404);
    assert_int_equal(second.status, 200);
    assert_int_equal(lost.finals, 1);
}

/* For longer than a refusal takes. */
static void read_nothing(const mmq_dealer *dealer, mmq_message *message)
{
    const int64_t end_ns = mmq_now_ns() + 20 * MMQ_NS_PER_MS;
    while (mmq_now_ns() < end_ns) {
        assert_int_equal(mmq_message_receive(message, mmq_dealer_socket(dealer), MMQ_FRAME_LIMIT),
                         MMQ_EAGAIN);
    }
}

/* Who reads the socket between the attempt and its end still hears of the end. */
static void test_refusal_wakes(void **state)
{
    fixture *f = *state;
    fake_close(&f->a);
    fake_close(&f->b);
    mmq_client_link link;
    assert_int_equal(mmq_client_link_init(&link, f->list, NULL, NULL), MMQ_OK);
    mmq_message message;
    mmq_message_init(&message);
    for (size_t left = 0; left < 6;) {
        struct pollfd input = {.fd = link.input, .events = POLLIN};
        if (mmq_client_link_check(&link)) {
            mmq_dealer *dealer = mmq_client_link_leave(&link);
            mmq_dealer_destroy(&dealer, 0);
            left++;
        } else if (link.dealer == NULL) {
            const int64_t wait_ns = mmq_client_link_due_ns(&link) - mmq_now_ns();
            (void)poll(&input, 1, (int)(wait_ns / MMQ_NS_PER_MS + 1));
        } else {
            read_nothing(link.dealer, &message);
            assert_int_equal(poll(&input, 1, REFUSED_MS), 1);
        }
    }
    mmq_message_clear(&message);
    mmq_client_link_clear(&link);
}

/* Nobody is there: the deadline makes an error, and waiting costs little. */
static void test_nobody(void **state)
{
    fixture *f = *state;
    fake_close(&f->a);
    fake_close(&f->b);
    start(f);
    const int descriptor = mmq_client_descriptor(f->client);
    seen one = {0};
    ask(f, "s", 2000, true, &one);
    size_t steps = 0;
    const int64_t start_ns = mmq_now_ns();
    while (one.finals == 0) {
        const int64_t wait_ns = mmq_client_step(f->client);
        assert_true(wait_ns >= 0 || one.finals == 1); /* a timer is set */
        struct pollfd input = {.fd = descriptor, .events = POLLIN};
        const int ready = poll(&input, 1, (int)(wait_ns / MMQ_NS_PER_MS + 1));
        assert_true(ready == 1 || wait_ns < REFUSED_MS * MMQ_NS_PER_MS);
        steps++;
    }
    assert_int_equal(one.status, 504);
    assert_in_range(mmq_now_ns() - start_ns, 2 * MMQ_NS_PER_S, 4 * MMQ_NS_PER_S);
    print_message("%zu steps\n", steps);
    assert_true(steps < 400);
    assert_int_equal(mmq_client_descriptor(f->client), descriptor);
    fake_bind(&f->b);
    seen other = {0};
    ask(f, "s", 8000, false, &other);
    await_request(&f->b, f->client);
}

/* Waits for the descriptor, the timer or the broker, whichever comes first. */
static void wait_as_a_loop(fixture *f, const fake_broker *fake, int64_t wait_ns)
{
    zmq_pollitem_t items[] = {
        {.fd = mmq_client_descriptor(f->client), .events = ZMQ_POLLIN},
        {.socket = zsock_resolve(fake->router), .events = ZMQ_POLLIN},
    };
    (void)zmq_poll(items, 2, wait_ns < 0 ? WAIT_MS : (long)(wait_ns / MMQ_NS_PER_MS + 1));
}

/* An event loop that waits for the descriptor, and for what step says, misses nothing. */
static void test_on_an_event_loop(void **state)
{
    fixture *f = *state;
    start(f);
    for (int i = 0; i < 6; i++) {
        seen one = {0};
        fake_broker *fake = i % 2 == 0 ? &f->a : &f->b;
        ask(f, "s", 20000, true, &one);
        const int64_t start_ns = mmq_now_ns();
        for (;;) {
            const int64_t wait_ns = mmq_client_step(f->client);
            if (one.finals == 1) {
                break;
            }
            wait_as_a_loop(f, fake, wait_ns);
            if (fake_poll(fake, false)) {
                fake_final(fake, 200, 0, NULL, NULL);
            }
        }
        assert_true(mmq_now_ns() - start_ns < 5 * MMQ_NS_PER_S); /* no timer helped out */
        fake_close(fake);
        fake_bind(fake);
    }
}

static void test_bad_lists(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *rest, *named;
    } cases[] = {
        {",", "endpoint 2"},
        {",nowhere", "nowhere"},
        {",tcp://127.0.0.1:99999", "tcp://127.0.0.1:99999"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char list[128];
        mmq_why why = {""};
        snprintf(list, sizeof list, "%s%s", f->a.endpoint, cases[i].rest);
        assert_null(mmq_client_new(list, &why));
        assert_non_null(strstr(why.text, cases[i].named));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_first_refuses),  TEST(test_first_hangs),
        TEST(test_first_answers),  TEST(test_round),
        TEST(test_drain),          TEST(test_last_words),
        TEST(test_unread_answers), TEST(test_mmi),
        TEST(test_nobody),         TEST(test_on_an_event_loop),
        TEST(test_bad_lists),      TEST(test_refusal_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
