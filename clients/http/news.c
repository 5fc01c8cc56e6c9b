/* One request waits at the write worker at a time, and PACE_MS lie between two of them: the
 * worker's answer then covers several commits. While nobody views nothing is asked, and what was
 * known is no longer fresh: the next request is one that is answered soon, whatever happens.
 *
 * Events are numbered, without gaps. An event tells of the commits after `from`, up to `to`; they
 * join, but where one says "reload": then all before it are forgotten. */
#include "clients/http/news.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backoff.h"
#include "lib/buffer.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/fields.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/number.h"
#include "lib/uid.h"

enum {
    PACE_MS = 250,
    TIMEOUT_MS = 30000,
    SOON_MS = 400,   /* of the first request: the worker answers when half of it is over */
    LATER_MS = 2000, /* of a first request that was not answered */
    RETRY_LEAST_MS = 250,
    RETRY_MOST_MS = 2000,
    EVENT_MAX = 512 * 1024, /* bytes of an event's text */
};

/* A metric of an event; the uid is in the event's `pairs`. */
typedef struct named {
    mmq_slice uid;
    int64_t last_rowid; /* -1: the metric is gone */
} named;

struct mmq_event {
    size_t *held; /* the news' */
    size_t users; /* who has it, the news among them */
    int64_t from, to;
    char id[MMQ_NEWS_ID_MAX + 1]; /* of who has seen it */
    bool reload;
    mmq_buffer pairs; /* packed: an array of [uid, last_rowid | nil] */
    mmq_buffer text;
    named *by_uid; /* the pairs, sorted: many viewers look for one metric each */
    size_t count;
};

struct mmq_news {
    mmq_client *client;
    void (*told)(void *context);
    void *context;
    uint64_t handle;   /* of the request under way; 0: none */
    int64_t ask_ns;    /* when to ask next */
    unsigned failures; /* in a row */
    bool known, fresh; /* known: commit and store are set */
    int64_t commit;
    char store[MMQ_NEWS_STORE_MAX + 1];
    uint64_t last;                    /* number of the last event */
    size_t kept;                      /* of the last events, those that are there */
    size_t bytes;                     /* of these */
    size_t held;                      /* bytes of all events that somebody has */
    mmq_event *events[MMQ_NEWS_KEPT]; /* by number, modulo */
};

/* ---- events ----------------------------------------------------------------------------- */

static size_t size_of(const mmq_event *event)
{
    return event->pairs.size + event->text.size + event->count * sizeof *event->by_uid;
}

static int compare_named(const void *a_p, const void *b_p)
{
    const mmq_slice *a = &((const named *)a_p)->uid, *b = &((const named *)b_p)->uid;
    const int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

void mmq_event_give(mmq_event **event_p)
{
    mmq_event *event = *event_p;
    if (event != NULL && --event->users == 0) {
        *event->held -= size_of(event);
        mmq_buffer_clear(&event->pairs);
        mmq_buffer_clear(&event->text);
        free(event->by_uid);
        free(event);
    }
    *event_p = NULL;
}

const char *mmq_event_text(const mmq_event *event, size_t *size)
{
    *size = event->text.size;
    return (const char *)event->text.data;
}

static mmq_event *event_at(const mmq_news *news, uint64_t number)
{
    return news->events[number % MMQ_NEWS_KEPT];
}

mmq_event *mmq_news_take(const mmq_news *news, uint64_t number)
{
    if (number > news->last || number + news->kept <= news->last) {
        return NULL;
    }
    mmq_event *event = event_at(news, number);
    event->users++;
    return event;
}

static void forget_oldest(mmq_news *news)
{
    mmq_event *oldest = event_at(news, news->last - news->kept + 1);
    news->bytes -= size_of(oldest);
    news->kept--;
    mmq_event_give(&oldest);
}

static void forget_all(mmq_news *news)
{
    while (news->kept > 0) {
        forget_oldest(news);
    }
}

static void add_event(mmq_news *news, mmq_event *event)
{
    const size_t size = size_of(event);
    if (event->reload) {
        forget_all(news); /* who has not seen them needs no more than this one */
    }
    while (news->kept == MMQ_NEWS_KEPT || (news->kept > 0 && news->bytes + size > MMQ_NEWS_BYTES)) {
        forget_oldest(news);
    }
    news->last++;
    news->kept++;
    news->bytes += size;
    news->events[news->last % MMQ_NEWS_KEPT] = event;
}

/* NULL: it says nothing of this metric. */
static const named *find_named(const mmq_event *event, const char *uid)
{
    const named like = {.uid = {uid, strlen(uid)}};
    return event->count > 0
               ? bsearch(&like, event->by_uid, event->count, sizeof like, compare_named)
               : NULL;
}

bool mmq_event_concerns(const mmq_event *event, const char *uid)
{
    return event->reload || find_named(event, uid) != NULL;
}

static void print_id(char out[MMQ_NEWS_ID_MAX + 1], mmq_slice store, int64_t commit)
{
    snprintf(out, MMQ_NEWS_ID_MAX + 1, "%.*s-%" PRId64, (int)store.size, store.data, commit);
}

void mmq_news_print_id(const mmq_news *news, char out[MMQ_NEWS_ID_MAX + 1])
{
    print_id(out, (mmq_slice){news->store, strlen(news->store)}, news->commit);
}

static size_t print_reload(const char *id, int64_t commit, char out[MMQ_NEWS_SHORT])
{
    return (size_t)snprintf(out, MMQ_NEWS_SHORT,
                            "event: reload\nid: %s\ndata: {\"commit\": %" PRId64 "}\n\n", id,
                            commit);
}

size_t mmq_news_print_reload(const mmq_news *news, char out[MMQ_NEWS_SHORT])
{
    char id[MMQ_NEWS_ID_MAX + 1];
    mmq_news_print_id(news, id);
    return print_reload(id, news->commit, out);
}

void mmq_event_print(const mmq_event *event, const char *uid, char out[MMQ_NEWS_SHORT],
                     size_t *size)
{
    char number[24] = "null";
    const named *metric = event->reload ? NULL : find_named(event, uid);
    *size = event->reload ? print_reload(event->id, event->to, out) : 0;
    if (metric != NULL) {
        if (metric->last_rowid >= 0) {
            snprintf(number, sizeof number, "%" PRId64, metric->last_rowid);
        }
        *size = (size_t)snprintf(out, MMQ_NEWS_SHORT,
                                 "event: change\nid: %s\ndata: {\"commit\": %" PRId64
                                 ", \"metrics\": [[\"%s\",%s]]}\n\n",
                                 event->id, event->to, uid, number);
    }
}

/* ---- what the worker answers ------------------------------------------------------------ */

/* A worker's answer, which may be any worker's. */
typedef struct tidings {
    int64_t commit;
    mmq_value store;
    bool reload;
    mmq_reader pairs; /* the packed array */
    uint32_t count;
} tidings;

static bool is_commit(const mmq_value *value)
{
    return value->type == MMQ_INT && value->integer >= 0;
}

/* An array of pairs of a uid and a rowid or nil. */
static bool check_pairs(mmq_reader reader, uint32_t *count)
{
    mmq_value array, pair, uid, rowid;
    if (mmq_unpack(&reader, &array) != MMQ_OK || array.type != MMQ_ARRAY) {
        return false;
    }
    *count = array.count;
    for (uint32_t i = 0; i < array.count; i++) {
        if (mmq_unpack(&reader, &pair) != MMQ_OK || pair.type != MMQ_ARRAY || pair.count != 2 ||
            mmq_unpack(&reader, &uid) != MMQ_OK || uid.type != MMQ_STR ||
            !mmq_uid_valid(uid.text.data, uid.text.size) || mmq_unpack(&reader, &rowid) != MMQ_OK ||
            !(rowid.type == MMQ_NIL || is_commit(&rowid))) {
            return false;
        }
    }
    return true;
}

static bool read_told(const mmq_frame *payload, tidings *out)
{
    mmq_reader map, whole;
    mmq_value commit, reload, pairs;
    mmq_reader_init(&map, mmq_frame_data(payload), mmq_frame_size(payload));
    if (!mmq_map_find(map, "commit", &commit, &whole) || !is_commit(&commit) ||
        !mmq_map_find(map, "store", &out->store, &whole) || out->store.type != MMQ_STR ||
        out->store.text.size > MMQ_NEWS_STORE_MAX ||
        !mmq_text_plain(out->store.text.data, out->store.text.size) ||
        !mmq_map_find(map, "reload", &reload, &whole) || reload.type != MMQ_BOOL ||
        !mmq_map_find(map, "metrics", &pairs, &out->pairs) ||
        !check_pairs(out->pairs, &out->count)) {
        return false;
    }
    out->commit = commit.integer;
    out->reload = reload.boolean;
    return true;
}

/* Copies the pairs, whose form was checked. False: no memory, or they are too big. */
static bool take_pairs(mmq_event *event, const tidings *of)
{
    mmq_reader reader;
    mmq_value array, pair, uid, rowid;
    mmq_buffer_add(&event->pairs, of->pairs.at, mmq_reader_left(&of->pairs));
    event->by_uid =
        event->pairs.failed ? NULL : calloc((size_t)of->count + 1, sizeof *event->by_uid);
    if (event->by_uid == NULL) {
        return false;
    }
    mmq_reader_init(&reader, event->pairs.data, event->pairs.size);
    CHECK(mmq_unpack(&reader, &array) == MMQ_OK);
    while (event->count < of->count) {
        CHECK(mmq_unpack(&reader, &pair) == MMQ_OK && mmq_unpack(&reader, &uid) == MMQ_OK &&
              mmq_unpack(&reader, &rowid) == MMQ_OK);
        event->by_uid[event->count++] =
            (named){{uid.text.data, uid.text.size}, rowid.type == MMQ_INT ? rowid.integer : -1};
    }
    qsort(event->by_uid, event->count, sizeof *event->by_uid, compare_named);
    return true;
}

/* What its viewers are sent, all or those of one metric. */
static void print_event(mmq_event *event, const tidings *of)
{
    mmq_buffer *text = &event->text;
    if (!event->reload) {
        text->failed = !take_pairs(event, of);
        mmq_buffer_format(
            text, "event: change\nid: %s\ndata: {\"commit\": %" PRId64 ", \"metrics\": ", event->id,
            event->to);
        if (mmq_json_from_msgpack(event->pairs.data, event->pairs.size, text, NULL) != MMQ_OK) {
            text->failed = true;
        }
        mmq_buffer_text(text, "}\n\n");
    }
    if (event->reload || text->failed) {
        char reload[MMQ_NEWS_SHORT];
        event->reload = true;
        event->count = 0;
        mmq_buffer_clear(&event->pairs);
        mmq_buffer_reset(text);
        mmq_buffer_add(text, reload, print_reload(event->id, event->to, reload));
    }
}

/* Without memory nobody is told, and the same is asked again. */
static bool note_event(mmq_news *news, const tidings *of, bool reload)
{
    mmq_event *event = calloc(1, sizeof *event);
    if (event == NULL) {
        return false;
    }
    *event = (mmq_event){
        .held = &news->held, .users = 1, .from = news->commit, .to = of->commit, .reload = reload};
    mmq_buffer_init(&event->pairs, EVENT_MAX);
    mmq_buffer_init(&event->text, EVENT_MAX);
    print_id(event->id, (mmq_slice){of->store.text.data, of->store.text.size}, of->commit);
    print_event(event, of);
    news->held += size_of(event);
    if (event->text.failed) {
        mmq_event_give(&event);
        return false;
    }
    add_event(news, event);
    return true;
}

static bool take_told(mmq_news *news, const tidings *of)
{
    const bool same = mmq_value_is(&of->store, news->store);
    const bool reload = of->reload || !same || of->commit < news->commit;
    if (news->known && (reload || of->count > 0) && !note_event(news, of, reload)) {
        return false;
    }
    memcpy(news->store, of->store.text.data, of->store.text.size);
    news->store[of->store.text.size] = '\0';
    news->commit = of->commit;
    news->known = news->fresh = true;
    return true;
}

/* ---- asking ----------------------------------------------------------------------------- */

static void note_failure(mmq_news *news, const char *why)
{
    if (news->failures++ == 0) {
        mmq_log(MMQ_WARN, "no news of the store", MMQ_S("why", why));
    }
    news->ask_ns = mmq_now_ns() + mmq_backoff_ns(news->failures, RETRY_LEAST_MS, RETRY_MOST_MS);
}

static void take_answer(void *context, const mmq_answer *answer)
{
    mmq_news *news = context;
    tidings of;
    if (!answer->final) {
        return;
    }
    news->handle = 0;
    if (answer->header->status != 200) {
        char why[256];
        snprintf(why, sizeof why, "%.*s", (int)answer->header->error.size,
                 answer->header->error.size > 0 ? answer->header->error.data : "");
        note_failure(news, why);
    } else if (answer->payload == NULL || !read_told(answer->payload, &of)) {
        note_failure(news, "the answer cannot be read");
    } else if (!take_told(news, &of)) {
        note_failure(news, "no memory");
    } else {
        if (news->failures > 0) {
            mmq_log(MMQ_INFO, "news of the store again");
        }
        news->failures = 0;
    }
    news->told(news->context);
}

static void ask(mmq_news *news)
{
    mmq_why why = {"no memory"};
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "watch");
    mmq_args_int(&args, "since", news->known ? news->commit : 0);
    if (news->known) {
        mmq_args_cstr(&args, "store", news->store);
    }
    mmq_call call = mmq_args_call(&args, MMQ_SERVICE_WATCH);
    call.timeout_ms = news->fresh ? TIMEOUT_MS : news->failures == 0 ? SOON_MS : LATER_MS;
    call.answer = take_answer;
    call.context = news;
    news->ask_ns = mmq_now_ns() + PACE_MS * MMQ_NS_PER_MS;
    news->handle = mmq_client_send(news->client, &call, &why);
    if (news->handle == 0) {
        note_failure(news, why.text);
    }
    mmq_args_clear(&args);
}

int64_t mmq_news_step(mmq_news *news, bool wanted)
{
    if (!wanted) {
        mmq_client_cancel(news->client, news->handle);
        news->handle = 0;
        news->fresh = false;
        return -1;
    }
    if (news->handle != 0) {
        return -1;
    }
    const int64_t left_ns = news->ask_ns - mmq_now_ns();
    if (left_ns > 0) {
        return left_ns;
    }
    ask(news);
    return -1;
}

/* ---- the rest --------------------------------------------------------------------------- */

bool mmq_news_crowded(const mmq_news *news)
{
    return news->held > MMQ_NEWS_HELD;
}

bool mmq_news_fresh(const mmq_news *news)
{
    return news->fresh;
}

uint64_t mmq_news_last(const mmq_news *news)
{
    return news->last;
}

/* The commit of an id of the present store; false: it is of none, or of another. */
static bool read_id(const mmq_news *news, const char *id, int64_t *commit)
{
    const char *dash = strrchr(id, '-');
    const size_t size = strlen(news->store);
    return dash != NULL && (size_t)(dash - id) == size && memcmp(id, news->store, size) == 0 &&
           mmq_integer_parse(dash + 1, strlen(dash + 1), commit);
}

uint64_t mmq_news_at(const mmq_news *news, const char *id)
{
    int64_t commit;
    if (!read_id(news, id, &commit) || commit > news->commit) {
        return 0;
    }
    for (size_t i = 0; i < news->kept; i++) {
        const uint64_t number = news->last - i;
        const mmq_event *event = event_at(news, number);
        if (event->to <= commit) {
            return number; /* commits after it, up to the next one, changed nothing */
        }
        if (event->from <= commit && !event->reload) {
            return number - 1;
        }
    }
    return commit == news->commit ? news->last : 0;
}

mmq_news *mmq_news_new(mmq_client *client, void (*told)(void *context), void *context)
{
    mmq_news *news = calloc(1, sizeof *news);
    if (news != NULL) {
        *news = (mmq_news){.client = client, .told = told, .context = context, .last = 1};
    }
    return news;
}

void mmq_news_destroy(mmq_news **news_p)
{
    mmq_news *news = *news_p;
    if (news == NULL) {
        return;
    }
    mmq_client_cancel(news->client, news->handle);
    forget_all(news);
    free(news);
    *news_p = NULL;
}
