/* A viewer is a suspended connection and the number of the last event that it was sent. Events are
 * the same texts for all; who views one metric gets a short one, made when it is sent. A viewer
 * that does not keep up holds at most the event that it is in the middle of: when it comes for
 * more, it gets what is remembered, or is told to load everything again, also where all who are
 * slow hold too much (MMQ_NEWS_HELD). Who takes nothing is cut by the deadline that all readers
 * have; who is cut off from the network does not acknowledge what is sent, a beat at the latest,
 * and TCP gives up after the same time.
 *
 * All viewers are looked at, in turn, when there is news, and once in LOOK_MS for those who have
 * heard nothing for BEAT_MS. A few are woken in a step, and a step is taken each millisecond: all
 * at once would keep the CPUs from everybody else, and nobody minds a tenth of a second. */
#include "clients/http/viewers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/exchange.h"
#include "clients/http/news.h"
#include "clients/http/routes.h"
#include "lib/clock.h"
#include "lib/uid.h"

enum {
    STEP = 8,      /* viewers that are woken in a step, at least */
    STEPS = 128,   /* of a round in which all are woken, about */
    LOOKED = 1024, /* viewers that are looked at in a step */
    STEP_MS = 1,
    LOOK_MS = 1000,
    BEAT_MS = 15000,
    BLOCK = 1024,
};

struct mmq_viewer {
    TAILQ_ENTRY(mmq_viewer) link;
    mmq_exchange *exchange;
    bool welcome;     /* it was told from which commit on it hears all */
    bool over;        /* its answer ends */
    bool beat;        /* it is time to say something */
    uint64_t seen;    /* number of the last event that it was sent, or needs not be */
    mmq_event *event; /* that is being sent; NULL: what is sent is in the exchange's `staged` */
    size_t sent;      /* bytes of it */
    int64_t sent_ns;  /* when something was sent last */
    char resumed[MMQ_NEWS_ID_MAX +
                 1];           /* the id of what it has seen, until it is welcome; "": none */
    char uid[MMQ_UID_MAX + 1]; /* the one metric that it wants to hear of; "": all */
};

TAILQ_HEAD(viewer_list, mmq_viewer);

struct mmq_viewers {
    mmq_adapter *adapter;
    mmq_news *news;
    struct viewer_list list; /* who was looked at last is last */
    size_t count;
    size_t left;     /* to be looked at in this round */
    int64_t step_ns; /* when the next step may be taken */
    int64_t look_ns;
};

/* ---- what is sent ----------------------------------------------------------------------- */

static void stage(mmq_viewer *viewer, size_t size)
{
    viewer->exchange->staged_at = 0;
    viewer->exchange->staged_size = size;
}

/* The news from here on are complete, but for what a viewer that comes back has missed. */
static void welcome(const mmq_viewers *viewers, mmq_viewer *viewer)
{
    const mmq_news *news = viewers->news;
    viewer->welcome = true;
    viewer->seen = mmq_news_last(news);
    if (viewer->resumed[0] == '\0') {
        char id[MMQ_NEWS_ID_MAX + 1];
        mmq_news_print_id(news, id);
        stage(viewer,
              (size_t)snprintf(viewer->exchange->staged, MMQ_STAGED, ": watching\nid: %s\n\n", id));
        return;
    }
    const uint64_t at = mmq_news_at(news, viewer->resumed);
    if (at > 0) {
        viewer->seen = at;
        stage(viewer, (size_t)snprintf(viewer->exchange->staged, MMQ_STAGED, ": watching\n\n"));
    } else {
        stage(viewer, mmq_news_print_reload(news, viewer->exchange->staged));
    }
}

/* The next event that it has not seen. */
static void take_event(const mmq_viewers *viewers, mmq_viewer *viewer)
{
    const bool holds = viewer->uid[0] == '\0'; /* until it is sent */
    mmq_event *event = holds && mmq_news_crowded(viewers->news)
                           ? NULL
                           : mmq_news_take(viewers->news, viewer->seen + 1);
    if (event == NULL) { /* it is too late for it, or too much */
        viewer->seen = mmq_news_last(viewers->news);
        stage(viewer, mmq_news_print_reload(viewers->news, viewer->exchange->staged));
        return;
    }
    viewer->seen++;
    if (!holds) {
        size_t size;
        mmq_event_print(event, viewer->uid, viewer->exchange->staged, &size);
        mmq_event_give(&event);
        stage(viewer, size);
    } else {
        viewer->event = event;
        viewer->sent = 0;
    }
}

static size_t copy_part(char *out, size_t room, const char *text, size_t size, size_t *at)
{
    const size_t part = size - *at < room ? size - *at : room;
    memcpy(out, text + *at, part);
    *at += part;
    return part;
}

/* The rest of what it is being sent; 0: nothing. */
static size_t send_rest(mmq_viewer *viewer, char *out, size_t room)
{
    mmq_exchange *exchange = viewer->exchange;
    if (viewer->event == NULL) {
        return copy_part(out, room, exchange->staged, exchange->staged_size, &exchange->staged_at);
    }
    size_t size;
    const char *text = mmq_event_text(viewer->event, &size);
    const size_t part = copy_part(out, room, text, size, &viewer->sent);
    if (viewer->sent == size) {
        mmq_event_give(&viewer->event);
        stage(viewer, 0);
    }
    return part;
}

/* False: there is nothing to be sent now. */
static bool find_next(const mmq_viewers *viewers, mmq_viewer *viewer)
{
    static const char beat[] = ":\n\n";
    if (!viewer->welcome && mmq_news_fresh(viewers->news)) {
        welcome(viewers, viewer);
    } else if (viewer->welcome && viewer->seen < mmq_news_last(viewers->news)) {
        take_event(viewers, viewer);
    } else if (viewer->beat) {
        memcpy(viewer->exchange->staged, beat, sizeof beat - 1);
        stage(viewer, sizeof beat - 1);
    } else {
        return false;
    }
    viewer->beat = false;
    return true;
}

/* libmicrohttpd's content reader. */
static ssize_t read_news(void *context, uint64_t position, char *out, size_t room)
{
    mmq_exchange *exchange = context;
    mmq_viewer *viewer = exchange->viewer;
    (void)position;
    while (!exchange->broken) {
        const size_t size = send_rest(viewer, out, room);
        if (size > 0) {
            viewer->sent_ns = mmq_now_ns();
            exchange->bytes += size;
            return (ssize_t)size;
        }
        if (viewer->over) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        if (!find_next(exchange->adapter->viewers, viewer)) {
            mmq_exchange_suspend(exchange);
            return 0;
        }
    }
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* ---- waking ----------------------------------------------------------------------------- */

/* Passes over events that do not concern it; true if there is one that does. */
static bool has_news(const mmq_viewers *viewers, mmq_viewer *viewer)
{
    const uint64_t last = mmq_news_last(viewers->news);
    while (viewer->uid[0] != '\0' && viewer->seen < last) {
        mmq_event *event = mmq_news_take(viewers->news, viewer->seen + 1);
        const bool concerned = event == NULL || mmq_event_concerns(event, viewer->uid);
        mmq_event_give(&event);
        if (concerned) {
            return true;
        }
        viewer->seen++;
    }
    return viewer->seen < last;
}

/* Wakes it if there is something to be sent; true: it was. */
static bool look_at(const mmq_viewers *viewers, mmq_viewer *viewer, int64_t now_ns)
{
    if (!viewer->exchange->suspended || viewer->exchange->state != MMQ_EXCHANGE_ANSWERING) {
        return false;
    }
    viewer->beat = now_ns - viewer->sent_ns >= BEAT_MS * MMQ_NS_PER_MS;
    const bool welcomed = !viewer->welcome && mmq_news_fresh(viewers->news);
    const bool news = viewer->welcome && has_news(viewers, viewer);
    if (viewer->over || viewer->beat || welcomed || news) {
        mmq_exchange_wake(viewer->exchange);
        return true;
    }
    return false;
}

static void look_at_some(mmq_viewers *viewers, int64_t now_ns)
{
    const size_t most = viewers->count / STEPS > STEP ? viewers->count / STEPS : STEP;
    size_t woken = 0;
    for (size_t i = 0; i < LOOKED && woken < most && viewers->left > 0; i++) {
        mmq_viewer *viewer = TAILQ_FIRST(&viewers->list);
        TAILQ_REMOVE(&viewers->list, viewer, link);
        TAILQ_INSERT_TAIL(&viewers->list, viewer, link);
        viewers->left--;
        woken += look_at(viewers, viewer, now_ns);
    }
    viewers->step_ns = woken > 0 ? now_ns + STEP_MS * MMQ_NS_PER_MS : 0;
}

static void begin_round(void *context)
{
    mmq_viewers *viewers = context;
    viewers->left = viewers->count;
    viewers->adapter->woken = true;
}

static bool is_wanted(const mmq_viewers *viewers)
{
    return viewers->count > 0 && !viewers->adapter->draining;
}

int64_t mmq_viewers_step(mmq_adapter *adapter)
{
    mmq_viewers *viewers = adapter->viewers;
    const int64_t ask_ns = mmq_news_step(viewers->news, is_wanted(viewers));
    if (viewers->count == 0) {
        return -1;
    }
    const int64_t now_ns = mmq_now_ns();
    if (now_ns >= viewers->look_ns) {
        viewers->look_ns = now_ns + LOOK_MS * MMQ_NS_PER_MS;
        viewers->left = viewers->count;
    }
    if (now_ns >= viewers->step_ns) {
        look_at_some(viewers, now_ns);
    }
    const int64_t next_ns = viewers->left > 0 ? viewers->step_ns : viewers->look_ns;
    const int64_t wait_ns = next_ns > now_ns ? next_ns - now_ns : 0;
    return ask_ns >= 0 && ask_ns < wait_ns ? ask_ns : wait_ns;
}

void mmq_viewers_end(mmq_viewers *viewers)
{
    mmq_viewer *viewer;
    TAILQ_FOREACH(viewer, &viewers->list, link)
    {
        viewer->over = true;
    }
    begin_round(viewers);
}

size_t mmq_viewers_count(const mmq_viewers *viewers)
{
    return viewers->count;
}

/* ---- GET /_watch ------------------------------------------------------------------------ */

/* What a browser's EventSource sends when it comes back. What cannot be an id counts as one that is
 * too old. */
static void read_last_event(mmq_exchange *exchange, mmq_viewer *viewer)
{
    const char *text =
        MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, "Last-Event-ID");
    if (text != NULL) {
        snprintf(viewer->resumed, sizeof viewer->resumed, "%s",
                 strlen(text) <= MMQ_NEWS_ID_MAX ? text : "?");
    }
}

/* Reads the query, or refuses it. */
static bool read_query(mmq_exchange *exchange, mmq_viewer *viewer)
{
    static const char *const keys[] = {"uid"};
    mmq_slice uid;
    mmq_why why;
    if (mmq_url_query(&exchange->url, keys, 1, &uid, &why) != MMQ_OK) {
        mmq_exchange_refuse(exchange, 400, "%s", why.text);
        return false;
    }
    if (uid.data == NULL) {
        return true;
    }
    if (!mmq_uid_valid(uid.data, uid.size)) {
        mmq_exchange_refuse(exchange, 400, MMQ_UID_RULE);
        return false;
    }
    memcpy(viewer->uid, uid.data, uid.size);
    return true;
}

static void join(mmq_exchange *exchange, mmq_viewer *viewer)
{
    mmq_viewers *viewers = exchange->adapter->viewers;
    viewer->exchange = exchange;
    viewer->sent_ns = mmq_now_ns();
    exchange->viewer = viewer;
    mmq_seat_watch(&exchange->adapter->seats, exchange->seat);
    TAILQ_INSERT_TAIL(&viewers->list, viewer, link);
    viewers->count++;
    viewers->adapter->woken = true; /* the bus may have to be asked */
}

void mmq_viewer_leave(mmq_exchange *exchange)
{
    mmq_viewers *viewers = exchange->adapter->viewers;
    mmq_viewer *viewer = exchange->viewer;
    if (viewer == NULL) {
        return;
    }
    TAILQ_REMOVE(&viewers->list, viewer, link);
    viewers->count--;
    viewers->left = viewers->left < viewers->count ? viewers->left : viewers->count;
    mmq_event_give(&viewer->event);
    free(viewer);
    exchange->viewer = NULL;
}

/* Viewers stay: they must not take the connections of those who ask. */
static bool has_room(const mmq_adapter *adapter)
{
    return adapter->viewers->count < adapter->seats.most - adapter->seats.most / 4;
}

void mmq_handle_watch(mmq_exchange *exchange)
{
    if (!has_room(exchange->adapter)) {
        mmq_exchange_refuse(exchange, 503, "there are too many viewers already");
        return;
    }
    mmq_viewer *viewer = calloc(1, sizeof *viewer);
    if (viewer == NULL) {
        mmq_exchange_refuse(exchange, 503, "no memory for another viewer");
        return;
    }
    if (!read_query(exchange, viewer)) {
        free(viewer);
        return;
    }
    read_last_event(exchange, viewer);
    if (exchange->head) {
        free(viewer);
    } else {
        join(exchange, viewer);
    }
    mmq_exchange_respond(
        exchange, 200, "text/event-stream", "no-store",
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_news, exchange, NULL));
    mmq_exchange_header(exchange, "X-Accel-Buffering", "no");
}

/* ---- life ------------------------------------------------------------------------------- */

mmq_viewers *mmq_viewers_new(mmq_adapter *adapter)
{
    mmq_viewers *viewers = calloc(1, sizeof *viewers);
    if (viewers == NULL) {
        return NULL;
    }
    viewers->adapter = adapter;
    TAILQ_INIT(&viewers->list);
    viewers->news = mmq_news_new(adapter->client, begin_round, viewers);
    if (viewers->news == NULL) {
        free(viewers);
        return NULL;
    }
    return viewers;
}

void mmq_viewers_destroy(mmq_viewers **viewers)
{
    if (*viewers == NULL) {
        return;
    }
    mmq_news_destroy(&(*viewers)->news);
    free(*viewers);
    *viewers = NULL;
}
