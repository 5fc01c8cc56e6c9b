/* What is kept of metric.watch's answers for viewers; the client and the clock are stood in for by
 * the fuzzer's, whose corpus is replayed too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/replay.h"

#define LLVMFuzzerTestOneInput fuzz_news
#include "tests/fuzz/fuzz_news.c"
#undef LLVMFuzzerTestOneInput

#include "lib/buffer.h"
#include "metricmq/pack.h"

enum { BODY_MAX = 1024 * 1024 };

static mmq_news *news;

static int begin(void **state)
{
    (void)state;
    mmq_log_setup(MMQ_ERROR, false);
    now_ns = MMQ_NS_PER_S;
    handles = under_way = 0;
    news = mmq_news_new(NULL, note_told, &told);
    assert_non_null(news);
    (void)mmq_news_step(news, true);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_news_destroy(&news);
    return 0;
}

/* The worker tells of `count` metrics, u0, u1 and so on, which have `rowid` rows now. */
static void tell(const char *store, int64_t commit, bool reload, uint32_t count, int64_t rowid)
{
    char uid[MMQ_UID_MAX + 1];
    mmq_buffer body;
    mmq_buffer_init(&body, BODY_MAX);
    mmq_pack_map(&body, 4);
    mmq_pack_cstr(&body, "commit");
    mmq_pack_int(&body, commit);
    mmq_pack_cstr(&body, "store");
    mmq_pack_cstr(&body, store);
    mmq_pack_cstr(&body, "reload");
    mmq_pack_bool(&body, reload);
    mmq_pack_cstr(&body, "metrics");
    mmq_pack_array(&body, count);
    for (uint32_t i = 0; i < count; i++) {
        mmq_pack_array(&body, 2);
        snprintf(uid, sizeof uid, "u%u", (unsigned)i);
        mmq_pack_cstr(&body, uid);
        mmq_pack_int(&body, rowid);
    }
    assert_false(body.failed);
    while (under_way == 0) { /* now and then the client refuses, and it is asked again later */
        now_ns += MMQ_NS_PER_S;
        (void)mmq_news_step(news, true);
    }
    news_answer(200, body.data, body.size);
    mmq_buffer_clear(&body);
}

static void test_ids(void **state)
{
    (void)state;
    tell("a", 5, false, 0, 0);
    assert_int_equal(mmq_news_at(news, "a-5"), mmq_news_last(news));
    tell("a", 6, false, 1, 1);
    tell("a", 8, false, 1, 2);
    const uint64_t last = mmq_news_last(news);
    assert_int_equal(last, 3);
    assert_int_equal(mmq_news_at(news, "a-8"), last);
    assert_int_equal(mmq_news_at(news, "a-7"), last - 1); /* within an event: it comes whole */
    assert_int_equal(mmq_news_at(news, "a-6"), last - 1);
    assert_int_equal(mmq_news_at(news, "a-5"), last - 2);
    static const char *const others[] = {"a-4",  "a-9", "b-8", "8", "-8",   "a8",
                                         "a--8", "a-",  "a",   "",  "a-8 ", "aa-8"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(mmq_news_at(news, others[i]), 0);
    }
    check_news(news);
}

/* Commits in which nothing changed are in no event. */
static void test_commits_without_news(void **state)
{
    (void)state;
    tell("a", 5, false, 0, 0);
    tell("a", 6, false, 1, 1);
    tell("a", 8, false, 0, 0);
    const uint64_t last = mmq_news_last(news);
    assert_int_equal(mmq_news_at(news, "a-6"), last);
    assert_int_equal(mmq_news_at(news, "a-7"), last);
    assert_int_equal(mmq_news_at(news, "a-8"), last);
    tell("a", 9, false, 1, 2);
    assert_int_equal(mmq_news_at(news, "a-6"), last);
    assert_int_equal(mmq_news_at(news, "a-8"), last);
    assert_int_equal(mmq_news_at(news, "a-9"), last + 1);
    check_news(news);
}

/* Another store, and one whose commits went back, are a reload, and what was before counts no more.
 */
static void test_reloads(void **state)
{
    (void)state;
    char text[MMQ_NEWS_SHORT];
    tell("a", 5, false, 0, 0);
    tell("a", 6, false, 1, 1);
    tell("b", 6, false, 1, 1);
    assert_int_equal(mmq_news_at(news, "a-6"), 0);
    assert_int_equal(mmq_news_at(news, "b-5"), 0);
    assert_int_equal(mmq_news_at(news, "b-6"), mmq_news_last(news));
    mmq_event *event = mmq_news_take(news, mmq_news_last(news));
    size_t size = mmq_news_print_reload(news, text), same;
    const char *told_text = mmq_event_text(event, &same);
    assert_int_equal(size, same);
    assert_memory_equal(text, told_text, size);
    assert_string_equal(text, "event: reload\nid: b-6\ndata: {\"commit\": 6}\n\n");
    mmq_event_give(&event);
    assert_null(mmq_news_take(news, mmq_news_last(news) - 1));
    tell("b", 4, false, 1, 1);
    assert_int_equal(mmq_news_at(news, "b-6"), 0);
    check_news(news);
}

/* Slow viewers, each in the middle of another event: what all of them hold is counted. */
static void test_what_slow_ones_hold(void **state)
{
    (void)state;
    enum { VIEWERS = 1000 };
    static mmq_event *viewers[VIEWERS];
    size_t size = 0, holding = 0;
    tell("a", 0, false, 0, 0);
    while (holding < VIEWERS && !mmq_news_crowded(news)) {
        tell("a", (int64_t)holding + 1, false, 1000, 1);
        viewers[holding] = mmq_news_take(news, mmq_news_last(news));
        assert_non_null(viewers[holding]);
        (void)mmq_event_text(viewers[holding++], &size);
    }
    assert_true(size > 10000 && holding < VIEWERS && holding > MMQ_NEWS_HELD / (5 * size));
    mmq_event_give(&viewers[0]);
    mmq_event_give(&viewers[1]);
    assert_false(mmq_news_crowded(news));
    for (size_t i = 0; i < holding; i++) {
        mmq_event_give(&viewers[i]);
    }
    check_news(news);
}

static void test_one_of_many(void **state)
{
    (void)state;
    char text[MMQ_NEWS_SHORT];
    size_t size;
    tell("a", 0, false, 0, 0);
    tell("a", 1, false, 1000, 7);
    mmq_event *event = mmq_news_take(news, mmq_news_last(news));
    static const char *const there[] = {"u0", "u1", "u10", "u500", "u999"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
        assert_true(mmq_event_concerns(event, there[i]));
    }
    mmq_event_print(event, "u10", text, &size);
    assert_string_equal(
        text, "event: change\nid: a-1\ndata: {\"commit\": 1, \"metrics\": [[\"u10\",7]]}\n\n");
    assert_int_equal(size, strlen(text));
    static const char *const away[] = {"u", "u00", "u1000", "v", "t", "u99x"};
    for (size_t i = 0; i < sizeof away / sizeof *away; i++) {
        assert_false(mmq_event_concerns(event, away[i]));
    }
    mmq_event_give(&event);
}

static void test_replay(void **state)
{
    (void)state;
    replay_corpus(fuzz_news, "news");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ids),         TEST(test_commits_without_news),
        TEST(test_reloads),     TEST(test_what_slow_ones_hold),
        TEST(test_one_of_many), cmocka_unit_test(test_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
