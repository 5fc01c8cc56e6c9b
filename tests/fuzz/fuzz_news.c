/* Any bytes as what metric.watch answers the adapter, one after the other, from any worker; the
 * client and the clock are stood in for (--wrap). Steps are a byte that says what happens, and for
 * an answer two of its size. What viewers are sent are events of the form that docs/http.md gives;
 * their numbers have no gaps; an id that they bear is found again, and no other. What a viewer of
 * one metric is sent agrees with whether the event concerns it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/news.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/fields.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int64_t __wrap_mmq_now_ns(void);
uint64_t __wrap_mmq_client_send(mmq_client *client, const mmq_call *call, mmq_why *why);
void __wrap_mmq_client_cancel(mmq_client *client, uint64_t handle);

enum { HELD = 4, TEXT_MAX = 512 * 1024 };

static int64_t now_ns;
static uint64_t handles, under_way; /* handles so far, and the one that is not answered */
static mmq_call asked;
static size_t told;
static mmq_event *held[HELD]; /* by viewers that are slow */

int64_t __wrap_mmq_now_ns(void)
{
    return now_ns;
}

/* One request at a time; now and then there is no room for it. */
uint64_t __wrap_mmq_client_send(mmq_client *client, const mmq_call *call, mmq_why *why)
{
    (void)client;
    CHECK(under_way == 0 && strcmp(call->service, MMQ_SERVICE_WATCH) == 0);
    CHECK(call->timeout_ms > 0 && !call->retry);
    asked = *call;
    if (++handles % 16 == 0) {
        (void)mmq_fail(why, MMQ_EBUSY, "too many");
        return 0;
    }
    under_way = handles;
    return handles;
}

void __wrap_mmq_client_cancel(mmq_client *client, uint64_t handle)
{
    (void)client;
    under_way = handle == under_way ? 0 : under_way;
}

static void note_told(void *context)
{
    CHECK(context == &told);
    told++;
}

static void news_answer(int64_t status, const uint8_t *data, size_t size)
{
    if (under_way == 0) {
        return;
    }
    mmq_frame payload;
    CHECK(mmq_frame_copy(&payload, data, size) == MMQ_OK);
    const mmq_header header = {.status = status, .error = {"\xff\n\"", 3}};
    const mmq_answer answer = {
        .final = true, .header = &header, .payload = size > 0 ? &payload : NULL};
    const size_t before = told;
    under_way = 0;
    asked.answer(asked.context, &answer);
    CHECK(told == before + 1);
    mmq_frame_close(&payload);
}

/* The bytes up to `end`, which must be there, at *at. */
static mmq_slice news_take_to(const char **at, const char *end)
{
    const char *found = strstr(*at, end);
    CHECK(found != NULL);
    const mmq_slice part = {*at, (size_t)(found - *at)};
    *at = found + strlen(end);
    return part;
}

static void check_form(const char *text, size_t size, char id[MMQ_NEWS_ID_MAX + 1])
{
    char *copy = strndup(text, size);
    mmq_why why;
    CHECK(copy != NULL && strlen(copy) == size && mmq_utf8_valid(copy, size));
    const char *at = copy;
    CHECK(news_take_to(&at, "event: ").size == 0);
    const mmq_slice kind = news_take_to(&at, "\nid: ");
    CHECK(mmq_slice_is(&kind, "change") || mmq_slice_is(&kind, "reload"));
    const mmq_slice name = news_take_to(&at, "\ndata: ");
    CHECK(name.size <= MMQ_NEWS_ID_MAX && mmq_text_plain(name.data, name.size));
    memcpy(id, name.data, name.size);
    id[name.size] = '\0';
    const mmq_slice json = news_take_to(&at, "\n\n");
    CHECK(*at == '\0' && memchr(json.data, '\n', json.size) == NULL);
    CHECK(mmq_json_check(json.data, json.size, &why) == MMQ_OK);
    free(copy);
}

static void check_event(const mmq_news *news, uint64_t number, const mmq_event *event)
{
    static const char *const uids[] = {"u", "v", "cpu.1", "a"};
    char id[MMQ_NEWS_ID_MAX + 1], out[MMQ_NEWS_SHORT], same[MMQ_NEWS_ID_MAX + 1];
    size_t size;
    const char *text = mmq_event_text(event, &size);
    CHECK(size > 0 && size <= TEXT_MAX);
    check_form(text, size, id);
    const uint64_t at = mmq_news_at(news, id);
    CHECK(at >= number && at <= mmq_news_last(news));
    for (size_t i = 0; i < sizeof uids / sizeof *uids; i++) {
        mmq_event_print(event, uids[i], out, &size);
        CHECK((size > 0) == mmq_event_concerns(event, uids[i]) && size < sizeof out);
        if (size > 0) {
            check_form(out, size, same);
            CHECK(strcmp(id, same) == 0);
        }
    }
}

static void check_news(const mmq_news *news)
{
    char id[MMQ_NEWS_ID_MAX + 1];
    const uint64_t last = mmq_news_last(news);
    uint64_t number = last > MMQ_NEWS_KEPT ? last - MMQ_NEWS_KEPT : 0;
    bool any = false;
    CHECK(mmq_news_take(news, last + 1) == NULL && mmq_news_take(news, number) == NULL);
    for (number++; number <= last; number++) {
        mmq_event *event = mmq_news_take(news, number);
        CHECK(event != NULL || !any); /* those that are forgotten are the oldest */
        any = event != NULL;
        if (event != NULL) {
            check_event(news, number, event);
        }
        mmq_event_give(&event);
    }
    if (mmq_news_fresh(news)) {
        mmq_news_print_id(news, id);
        CHECK(mmq_text_plain(id, strlen(id)) && mmq_news_at(news, id) == last);
        CHECK(mmq_news_at(news, strchr(id, '-') + 1) == 0 || strchr(strchr(id, '-') + 1, '-'));
    }
}

/* A viewer begins to send the last event, and another one has done so. */
static void hold_event(const mmq_news *news, size_t at)
{
    mmq_event_give(&held[at % HELD]);
    held[at % HELD] = mmq_news_take(news, mmq_news_last(news));
}

static void try_id(const mmq_news *news, const uint8_t *data, size_t size)
{
    char *id = strndup((const char *)data, size);
    CHECK(id != NULL && mmq_news_at(news, id) <= mmq_news_last(news));
    free(id);
}

static void happen(mmq_news *news, uint8_t what, const uint8_t *data, size_t size)
{
    switch (what % 8) {
    case 0:
        (void)mmq_news_step(news, false);
        CHECK(under_way == 0 && !mmq_news_fresh(news));
        break;
    case 1:
        news_answer(what < 128 ? 504 : 200, NULL, 0);
        break;
    case 2:
        hold_event(news, what / 8);
        break;
    case 3:
        try_id(news, data, size);
        break;
    default:
        news_answer(200, data, size);
    }
    now_ns += MMQ_NS_PER_S * 4;
    (void)mmq_news_step(news, what % 8 != 0);
    check_news(news);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mmq_log_setup(MMQ_ERROR, false);
    now_ns = MMQ_NS_PER_S;
    handles = under_way = 0;
    mmq_news *news = mmq_news_new(NULL, note_told, &told);
    CHECK(news != NULL && !mmq_news_fresh(news));
    (void)mmq_news_step(news, true);
    while (size >= 3) {
        const uint8_t what = data[0];
        size_t part = (size_t)data[1] | (size_t)data[2] << 8;
        part = part < size - 3 ? part : size - 3;
        happen(news, what, data + 3, part);
        data += 3 + part;
        size -= 3 + part;
    }
    for (size_t i = 0; i < HELD; i++) {
        mmq_event_give(&held[i]);
    }
    mmq_news_destroy(&news);
    return 0;
}
