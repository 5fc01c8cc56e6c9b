/* Streams against a broker played by hand: whatever breaks, each row comes once (F1, F3). */
#include <pthread.h>

#include "metricmq/unpack.h"
#include "tests/unit/lib/fake_broker.h"

typedef struct fixture {
    fake_broker broker;
    mmq_client *client;
    mmq_stream *stream;
    char text[256]; /* all payloads taken so far */
    mmq_err err;    /* of the last take */
    mmq_why why;
    size_t readies;
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
    mmq_stream_destroy(&f->stream);
    mmq_client_destroy(&f->client);
    fake_stop(&f->broker);
    free(f);
    return 0;
}

static void note_ready(void *context)
{
    fixture *f = context;
    f->readies++;
}

static void start(fixture *f, unsigned timeout_ms)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "data");
    mmq_stream_options options = {.call = {.service = MMQ_SERVICE_QUERY,
                                           .args = args.pairs.data,
                                           .args_size = args.pairs.size,
                                           .args_count = args.count,
                                           .timeout_ms = timeout_ms},
                                  .max_bytes = 2048,
                                  .ready = note_ready,
                                  .context = f};
    f->stream = mmq_stream_new(f->client, &options, &f->why);
    assert_non_null(f->stream);
    mmq_args_clear(&args);
    await_request(&f->broker, f->client);
}

static bool take(fixture *f)
{
    mmq_frame payload;
    mmq_frame_init(&payload);
    f->err = mmq_stream_take(f->stream, &payload, &f->why);
    if (f->err == MMQ_OK) {
        strncat(f->text, mmq_frame_data(&payload), mmq_frame_size(&payload));
    }
    mmq_frame_close(&payload);
    return f->err == MMQ_OK;
}

/* Takes until all that has been sent makes text. */
static void await_text(fixture *f, const char *text)
{
    AWAIT(f->client, (take(f), strlen(f->text) >= strlen(text)));
    assert_string_equal(f->text, text);
}

static void await_end(fixture *f, mmq_err err)
{
    AWAIT(f->client, !take(f) && f->err != MMQ_EAGAIN);
    assert_int_equal(f->err, err);
}

/* A field of the last request; nil if it has none. Borrowed from the request. */
static mmq_value asked(const fake_broker *fake, const char *field)
{
    const mmq_frame *body = &fake->last.frames[fake->envelope.body];
    mmq_reader reader;
    mmq_value map, key, value, found = {.type = MMQ_NIL};
    mmq_reader_init(&reader, mmq_frame_data(body), mmq_frame_size(body));
    assert_int_equal(mmq_unpack(&reader, &map), MMQ_OK);
    for (uint32_t i = 0; i < map.count; i++) {
        assert_int_equal(mmq_unpack(&reader, &key), MMQ_OK);
        assert_int_equal(mmq_unpack(&reader, &value), MMQ_OK);
        if (mmq_value_is(&key, field)) {
            found = value;
        }
    }
    assert_true(mmq_reader_done(&reader));
    return found;
}

/* The cursor of the last request; "" if it has none. */
static const char *asked_cursor(const fake_broker *fake)
{
    static char cursor[64];
    cursor[0] = '\0';
    mmq_value value = asked(fake, "cursor");
    if (value.type != MMQ_NIL) {
        assert_true(value.text.size < sizeof cursor);
        memcpy(cursor, value.text.data, value.text.size);
        cursor[value.text.size] = '\0';
    }
    return cursor;
}

static void test_pages(void **state)
{
    fixture *f = *state;
    start(f, 5000);
    assert_string_equal(asked_cursor(&f->broker), "");
    assert_int_equal(mmq_stream_status(f->stream), 0);
    fake_partial(&f->broker, 0, "c1", "ab");
    await_text(f, "ab"); /* before the page's end */
    assert_int_equal(mmq_stream_status(f->stream), 200);
    assert_int_equal(mmq_stream_pages(f->stream), 0);
    fake_partial(&f->broker, 1, "c2", "cd");
    fake_final(&f->broker, 200, 2, "c2", NULL);
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c2");
    fake_final(&f->broker, 200, 0, "c3", NULL); /* a page may have no rows */
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c3");
    fake_final(&f->broker, 200, 0, NULL, "ef");
    await_end(f, MMQ_EEND);
    assert_string_equal(f->text, "abcdef");
    assert_int_equal(mmq_stream_pages(f->stream), 3);
    assert_string_equal(mmq_stream_state(f->stream), "state-1");
    assert_true(f->readies > 0);
}

static void test_size_of_pages(void **state)
{
    fixture *f = *state;
    start(f, 5000);
    assert_int_equal(asked(&f->broker, "max_bytes").integer, 2048);
    mmq_stream_set_max_bytes(f->stream, 4096); /* from the next page on */
    fake_final(&f->broker, 200, 0, "c1", "a");
    await_request(&f->broker, f->client);
    assert_int_equal(asked(&f->broker, "max_bytes").integer, 4096);
    mmq_stream_set_max_bytes(f->stream, 0);
    fake_final(&f->broker, 200, 0, "c2", "b");
    await_text(f, "ab");
    await_request(&f->broker, f->client);
    assert_int_equal(asked(&f->broker, "max_bytes").type, MMQ_NIL);
    assert_string_equal(asked_cursor(&f->broker), "c2");
}

/* Two pages are held at most. */
static void test_reader_is_slow(void **state)
{
    fixture *f = *state;
    start(f, 5000);
    fake_partial(&f->broker, 0, "c1", "a");
    fake_partial(&f->broker, 1, "c2", "b");
    fake_final(&f->broker, 200, 2, "c3", NULL);
    await_request(&f->broker, f->client); /* ahead of need */
    fake_final(&f->broker, 200, 0, "c4", "c");
    size_t readies = f->readies;
    AWAIT(f->client, f->readies > readies);
    for (int i = 0; i < 50; i++) {
        (void)mmq_client_step(f->client);
        assert_false(fake_poll(&f->broker, false));
        (void)poll(NULL, 0, 1);
    }
    assert_true(take(f)); /* one of two payloads of the first page */
    (void)mmq_client_step(f->client);
    assert_int_equal(mmq_client_step(f->client), -1);
    assert_true(take(f)); /* now only the second page is held */
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c4");
    fake_final(&f->broker, 200, 0, NULL, "d");
    await_end(f, MMQ_EEND);
    assert_string_equal(f->text, "abcd");
}

static void test_resume_after_503(void **state)
{
    fixture *f = *state;
    start(f, 5000);
    fake_partial(&f->broker, 0, "c1", "a");
    fake_final(&f->broker, 503, 1, NULL, NULL);
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c1");
    await_text(f, "a");
    fake_partial(&f->broker, 0, "c2", "b");
    fake_final(&f->broker, 504, 1, NULL, NULL);
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c2");
    fake_final(&f->broker, 200, 0, NULL, "c");
    await_end(f, MMQ_EEND);
    assert_string_equal(f->text, "abc");
}

/* A lost, a repeated and a last part that is missing: taken up from the last good one. */
static void test_gaps(void **state)
{
    fixture *f = *state;
    start(f, 5000);
    fake_partial(&f->broker, 0, "c1", "a");
    fake_partial(&f->broker, 2, "c3", "x");
    fake_partial(&f->broker, 3, "c4", "x");
    fake_final(&f->broker, 200, 4, NULL, NULL);
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c1");
    await_text(f, "a");
    fake_partial(&f->broker, 0, "c2", "b");
    fake_partial(&f->broker, 0, "c2", "b");
    await_text(f, "ab");
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c2");
    fake_partial(&f->broker, 0, "c3", "c");
    fake_final(&f->broker, 200, 2, NULL, "x");
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c3");
    fake_final(&f->broker, 200, 0, NULL, "d");
    await_end(f, MMQ_EEND);
    assert_string_equal(f->text, "abcd");
}

static void test_resume_on_another_broker(void **state)
{
    fixture *f = *state;
    start(f, 8000);
    fake_partial(&f->broker, 0, "c1", "a");
    await_text(f, "a");
    fake_close(&f->broker);
    fake_bind(&f->broker);
    await_request(&f->broker, f->client);
    assert_string_equal(asked_cursor(&f->broker), "c1");
    fake_final(&f->broker, 200, 0, NULL, "b");
    await_end(f, MMQ_EEND);
    assert_string_equal(f->text, "ab");
}

/* The next broker of the list is asked as soon as it is connected. */
static void test_resume_on_the_next_broker(void **state)
{
    fixture *f = *state;
    fake_broker next;
    fake_start(&next);
    char list[160];
    snprintf(list, sizeof list, "%s,%s", f->broker.endpoint, next.endpoint);
    mmq_client_destroy(&f->client);
    f->client = mmq_client_new(list, NULL);
    assert_non_null(f->client);
    start(f, 8000);
    fake_partial(&f->broker, 0, "c1", "a");
    await_text(f, "a");
    fake_close(&f->broker);
    const int64_t lost_ns = mmq_now_ns();
    await_request(&next, f->client);
    assert_true(mmq_now_ns() - lost_ns < MMQ_NS_PER_S);
    assert_string_equal(asked_cursor(&next), "c1");
    fake_final(&next, 200, 0, NULL, "b");
    await_end(f, MMQ_EEND);
    assert_string_equal(f->text, "ab");
    fake_stop(&next);
}

static void test_silent_try(void **state)
{
    fixture *f = *state;
    start(f, 4000);
    await_request(&f->broker, f->client); /* the first try got half of the time */
    fake_final(&f->broker, 200, 0, NULL, "a");
    await_end(f, MMQ_EEND);
    assert_string_equal(f->text, "a");
}

static void test_no_progress(void **state)
{
    fixture *f = *state;
    start(f, 300);
    fake_partial(&f->broker, 0, "c1", "a");
    fake_final(&f->broker, 503, 1, NULL, NULL);
    await_request(&f->broker, f->client);
    await_end(f, MMQ_ETIMEOUT);
    assert_int_equal(mmq_stream_status(f->stream), 504);
    assert_string_equal(f->text, "a");
    assert_string_not_equal(f->why.text, "");
}

static void *wait_for_next(void *context)
{
    fixture *f = context;
    mmq_frame payload;
    mmq_frame_init(&payload);
    f->err = mmq_stream_next(f->stream, &payload, &f->why);
    mmq_frame_close(&payload);
    return NULL;
}

/* A reader that blocks steps the client only while it waits. If it was away for longer than the
 * limit, and what it asked for ahead was refused meanwhile, there is no reason to give up. */
static void test_reader_was_away(void **state)
{
    fixture *f = *state;
    start(f, 800);
    fake_final(&f->broker, 200, 0, "c1", "a");
    await_text(f, "a");
    await_request(&f->broker, f->client);
    fake_final(&f->broker, 504, 0, NULL, NULL);
    const int64_t back_ns = mmq_now_ns() + 900 * MMQ_NS_PER_MS;
    while (mmq_now_ns() < back_ns) {
        (void)poll(NULL, 0, 1);
    }
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, wait_for_next, f), 0);
    const int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    while (!fake_poll(&f->broker, false) && mmq_now_ns() < end_ns) {
        (void)poll(NULL, 0, 1);
    }
    fake_final(&f->broker, 200, 0, NULL, "b");
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(f->err, MMQ_OK);
    assert_string_equal(asked_cursor(&f->broker), "c1");
}

/* A worker that says "go on here" for ever. */
static void test_standstill(void **state)
{
    fixture *f = *state;
    start(f, 300);
    fake_final(&f->broker, 200, 0, "c1", "a");
    AWAIT(f->client,
          (take(f), f->err != MMQ_EAGAIN && f->err != MMQ_OK) ||
              (fake_poll(&f->broker, false) && (fake_final(&f->broker, 200, 0, "c1", "x"), false)));
    assert_int_equal(f->err, MMQ_EUNAVAILABLE);
    assert_string_equal(f->text, "a");
}

static void test_refused(void **state)
{
    fixture *f = *state;
    static const int statuses[] = {400, 404, 410, 500};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        start(f, 5000);
        fake_final(&f->broker, statuses[i], 0, NULL, NULL);
        await_end(f, mmq_err_from_status(statuses[i]));
        assert_int_equal(mmq_stream_status(f->stream), statuses[i]);
        assert_string_equal(f->why.text, "so it is");
        mmq_stream_destroy(&f->stream);
    }
}

static void test_no_news(void **state)
{
    fixture *f = *state;
    start(f, 5000);
    fake_final(&f->broker, 304, 0, NULL, NULL);
    await_end(f, MMQ_EEND);
    assert_int_equal(mmq_stream_status(f->stream), 304);
    assert_string_equal(mmq_stream_state(f->stream), "state-1");
}

static void destroy_stream(void *context)
{
    fixture *f = context;
    mmq_stream_destroy(&f->stream);
    f->readies++;
}

static void test_destroy_in_ready(void **state)
{
    fixture *f = *state;
    for (int final = 0; final < 2; final++) {
        f->readies = 0;
        mmq_stream_options options = {
            .call = {.service = MMQ_SERVICE_QUERY}, .ready = destroy_stream, .context = f};
        f->stream = mmq_stream_new(f->client, &options, NULL);
        assert_non_null(f->stream);
        await_request(&f->broker, f->client);
        if (final) {
            fake_final(&f->broker, 200, 0, "c1", "a");
        } else {
            fake_partial(&f->broker, 0, "c1", "a");
            fake_partial(&f->broker, 1, "c2", "b");
        }
        AWAIT(f->client, f->readies == 1);
        assert_null(f->stream);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_pages),
        TEST(test_size_of_pages),
        TEST(test_reader_is_slow),
        TEST(test_resume_after_503),
        TEST(test_gaps),
        TEST(test_resume_on_another_broker),
        TEST(test_resume_on_the_next_broker),
        TEST(test_silent_try),
        TEST(test_no_progress),
        TEST(test_reader_was_away),
        TEST(test_standstill),
        TEST(test_refused),
        TEST(test_no_news),
        TEST(test_destroy_in_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
