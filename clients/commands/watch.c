/* The loop of `status --watch`: asks the bus every --interval, draws what it says, follows keys and
 * signals. One thread, which waits for all of these at once, so a broker that is silent holds up
 * neither a key nor a signal.
 *
 * mmi.stats is asked first, and the spool and the store of workers that it knows of: a question to
 * a service without workers would wait for one. The picture needs mmi.stats only. Rates are taken
 * between its last two answers, by the broker's clock; the first picture comes at once, the next
 * one after FIRST_MS, so that there are rates soon. */
#include "clients/commands/watch.h"

#include <poll.h>
#include <string.h>

#include "clients/commands/commands.h"
#include "clients/commands/options.h"
#include "clients/commands/reply.h"
#include "clients/commands/screen.h"
#include "clients/commands/view.h"
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"

enum {
    PICTURE_MAX = 8 * 1024 * 1024,
    FIRST_MS = 500,     /* from the first answer to the next question */
    PATIENCE_MS = 2000, /* that an answer may take */
    LATE_MS = 3000,     /* without an answer, after which that is said */
    TICK_MS = 1000,     /* between pictures while nothing else happens: a clock is on them */
    KEYS_AT_ONCE = 64,
};

enum { STATS, SPOOL, STORE, QUESTIONS };

static const struct {
    const char *service, *op; /* op "": none */
} questions[QUESTIONS] = {
    [STATS] = {"mmi.stats", ""},
    [SPOOL] = {MMQ_SERVICE_FEEDBACK, "spool"},
    [STORE] = {MMQ_SERVICE_QUERY, "store"},
};

struct watch {
    mmq_client *client;
    mmq_reply replies[QUESTIONS]; /* those with a handle are under way */
    mmq_sample samples[2];        /* the last two, by turns */
    size_t count;                 /* answers of mmi.stats so far */
    mmq_spool_sample spool;
    mmq_store_sample store;
    mmq_view view;
    unsigned timeout_ms;
    int64_t interval_ns;
    int64_t ask_ns;   /* when to ask next */
    int64_t heard_ns; /* when mmi.stats was last answered; at first: when we began */
    int64_t drawn_ns;
    bool dirty; /* the picture is not up to date */
    bool end;
    int status;
};

/* ---- asking -------------------------------------------------------------------------------- */

static void ask(struct watch *watch, size_t question)
{
    mmq_why why;
    mmq_args args;
    if (watch->replies[question].handle != 0) {
        return;
    }
    mmq_args_init(&args);
    if (questions[question].op[0]) {
        mmq_args_cstr(&args, "op", questions[question].op);
    }
    if (mmq_reply_begin(watch->client, questions[question].service, &args, watch->timeout_ms,
                        &watch->replies[question], &why) != MMQ_OK) {
        mmq_log(MMQ_DEBUG, "a question could not be asked", MMQ_S("reason", why.text));
    }
    mmq_args_clear(&args);
}

/* The workers of a service, as the last sample has it. */
static bool is_served(const struct watch *watch, const char *service)
{
    mmq_service_sample like = {.name_size = strlen(service)};
    memcpy(like.name, service, like.name_size);
    const mmq_service_sample *found =
        mmq_sample_service(&watch->samples[(watch->count - 1) % 2], &like);
    return found != NULL && found->workers > 0;
}

/* Where the key has no right it is not asked for again: the broker would count and log each time.
 */
static void ask_workers(struct watch *watch)
{
    const bool denied[QUESTIONS] = {[SPOOL] = watch->spool.denied, [STORE] = watch->store.denied};
    for (size_t i = SPOOL; i < QUESTIONS; i++) {
        if (denied[i]) {
            continue;
        }
        if (is_served(watch, questions[i].service)) {
            ask(watch, i);
        } else if (i == SPOOL) {
            watch->spool.known = false;
        } else {
            watch->store.known = false;
        }
    }
}

static void take_stats(struct watch *watch, mmq_reader map)
{
    mmq_why why;
    mmq_sample *sample = &watch->samples[watch->count % 2];
    mmq_sample_clear(sample);
    if (mmq_sample_read(map, sample, &why) != MMQ_OK) {
        watch->count = 0; /* what it may hold is no sample */
        return;
    }
    int64_t now_ns = mmq_now_ns();
    watch->heard_ns = now_ns;
    int64_t wait_ns = watch->interval_ns;
    if (watch->count++ == 0 && wait_ns > FIRST_MS * MMQ_NS_PER_MS) {
        wait_ns = FIRST_MS * MMQ_NS_PER_MS;
    }
    watch->ask_ns = now_ns + wait_ns;
    ask_workers(watch);
}

/* The key has no right to ask, and will have none the next time. */
static void give_up(struct watch *watch, const mmq_result *result)
{
    mmq_screen_close();
    watch->status =
        mmq_failed("%s", result->error[0] ? result->error : "this key may not ask for mmi.stats");
    watch->end = true;
}

static void take(struct watch *watch, size_t question)
{
    mmq_result *result = &watch->replies[question].result;
    mmq_reader map;
    mmq_reader_init(&map, mmq_frame_data(&result->payload), mmq_frame_size(&result->payload));
    if (question == STATS && result->status == 403) {
        give_up(watch, result);
    } else if (result->status == 403 && question == SPOOL) {
        watch->spool = (mmq_spool_sample){.denied = true};
    } else if (result->status == 403) {
        watch->store = (mmq_store_sample){.denied = true};
    } else if (result->status != 200) {
        watch->ask_ns = mmq_now_ns() + watch->interval_ns;
    } else if (question == STATS) {
        take_stats(watch, map);
    } else if (question == SPOOL) {
        mmq_spool_sample_read(map, &watch->spool);
    } else {
        mmq_store_sample_read(map, &watch->store);
    }
    watch->dirty = true;
}

static void take_answers(struct watch *watch)
{
    for (size_t i = 0; i < QUESTIONS; i++) {
        if (watch->replies[i].handle != 0 && watch->replies[i].done) {
            watch->replies[i].handle = 0;
            take(watch, i);
            mmq_result_clear(&watch->replies[i].result);
        }
    }
}

/* ---- drawing ------------------------------------------------------------------------------- */

static int64_t silence_of(const struct watch *watch)
{
    int64_t silent_ns = mmq_now_ns() - watch->heard_ns;
    int64_t late_ns = LATE_MS * MMQ_NS_PER_MS;
    late_ns += watch->interval_ns > late_ns ? watch->interval_ns : 0;
    return silent_ns > late_ns ? silent_ns : 0;
}

static void draw(struct watch *watch)
{
    mmq_buffer text;
    mmq_canvas canvas = {.out = &text,
                         .utf8 = mmq_screen_has_utf8(),
                         .screen = true,
                         .styles = true,
                         .colours = mmq_screen_has_colours()};
    mmq_view *view = &watch->view;
    mmq_buffer_init(&text, PICTURE_MAX);
    mmq_buffer_text(&text, MMQ_SCREEN_HOME);
    mmq_screen_size(&canvas.columns, &canvas.rows);
    view->now = watch->count > 0 ? &watch->samples[(watch->count - 1) % 2] : NULL;
    view->before = watch->count > 1 ? &watch->samples[watch->count % 2] : NULL;
    view->spool = &watch->spool;
    view->store = &watch->store;
    view->silent_s = (double)silence_of(watch) / (double)MMQ_NS_PER_S;
    watch->dirty = false;
    watch->drawn_ns = mmq_now_ns();
    if (mmq_view_draw(view, &canvas) == MMQ_OK &&
        !mmq_screen_show((const char *)text.data, text.size)) {
        watch->end = true; /* nobody looks any more */
    }
    mmq_buffer_clear(&text);
}

/* ---- keys ---------------------------------------------------------------------------------- */

static void move_sort(mmq_view *view, int by)
{
    size_t columns = mmq_view_columns(view->focus);
    mmq_view_table *table = &view->tables[view->focus];
    table->sorted_by = (table->sorted_by + columns + (size_t)(by + (int)columns)) % columns;
    table->ascending = false;
}

static void scroll(mmq_view *view, int by)
{
    mmq_view_table *table = &view->tables[view->focus];
    if (by > 0) {
        table->offset++; /* the drawing brings it into range */
    } else if (table->offset > 0) {
        table->offset--;
    }
}

static void obey(struct watch *watch, int key)
{
    mmq_view *view = &watch->view;
    switch (key) {
    case 'q':
        watch->end = true;
        break;
    case 'h':
    case '?':
        view->help = !view->help;
        break;
    case '\t':
        view->focus = (view->focus + 1) % MMQ_VIEW_TABLES;
        break;
    case MMQ_KEY_RIGHT:
    case '>':
        move_sort(view, 1);
        break;
    case MMQ_KEY_LEFT:
    case '<':
        move_sort(view, -1);
        break;
    case 'r':
        view->tables[view->focus].ascending = !view->tables[view->focus].ascending;
        break;
    case MMQ_KEY_DOWN:
    case 'j':
        scroll(view, 1);
        break;
    case MMQ_KEY_UP:
    case 'k':
        scroll(view, -1);
        break;
    case ' ':
        watch->ask_ns = 0;
        break;
    default:
        return;
    }
    watch->dirty = true;
}

static void obey_all(struct watch *watch)
{
    int key;
    for (size_t i = 0; i < KEYS_AT_ONCE && (key = mmq_screen_key()) != MMQ_KEY_NONE; i++) {
        obey(watch, key);
    }
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* Until something comes, or something is due. */
static void wait_for_news(struct watch *watch, int64_t step_ns)
{
    struct pollfd inputs[] = {
        {.fd = mmq_client_descriptor(watch->client), .events = POLLIN},
        {.fd = mmq_screen_signals(), .events = POLLIN},
        {.fd = mmq_screen_keys(), .events = POLLIN},
    };
    const int64_t now_ns = mmq_now_ns();
    const int64_t ask_ns = watch->replies[STATS].handle == 0 ? watch->ask_ns : INT64_MAX;
    int64_t due_ns = watch->drawn_ns + TICK_MS * MMQ_NS_PER_MS;
    due_ns = ask_ns < due_ns ? ask_ns : due_ns;
    int64_t wait_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    wait_ns = step_ns >= 0 && step_ns < wait_ns ? step_ns : wait_ns;
    int ready = poll(inputs, 3, (int)((wait_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS));
    if (ready > 0 && (inputs[2].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        watch->end = true; /* the terminal is gone */
    }
}

static void turn(struct watch *watch)
{
    const int64_t step_ns = mmq_client_step(watch->client);
    take_answers(watch);
    if (watch->end) {
        return;
    }
    const int64_t now_ns = mmq_now_ns();
    if (now_ns >= watch->ask_ns && watch->replies[STATS].handle == 0) {
        watch->ask_ns = now_ns + watch->interval_ns;
        ask(watch, STATS);
    }
    if (watch->dirty || now_ns - watch->drawn_ns >= TICK_MS * MMQ_NS_PER_MS) {
        draw(watch);
    }
    wait_for_news(watch, step_ns);
    mmq_screen_event event = mmq_screen_step();
    watch->end = watch->end || event == MMQ_SCREEN_END;
    watch->dirty = watch->dirty || event == MMQ_SCREEN_REDRAW;
    obey_all(watch);
}

static void end(struct watch *watch)
{
    mmq_screen_close();
    for (size_t i = 0; i < QUESTIONS; i++) {
        mmq_reply_cancel(watch->client, &watch->replies[i]);
    }
    mmq_sample_clear(&watch->samples[0]);
    mmq_sample_clear(&watch->samples[1]);
}

int mmq_watch_bus(mmq_client *client, const mmq_config *config)
{
    mmq_why why = {""};
    int64_t timeout_ms = mmq_config_int(config, "timeout");
    const char *endpoint = mmq_config_text(config, "connect");
    struct watch watch = {.client = client,
                          .timeout_ms =
                              timeout_ms < PATIENCE_MS ? (unsigned)timeout_ms : PATIENCE_MS,
                          .interval_ns = mmq_config_int(config, "interval") * MMQ_NS_PER_MS,
                          .heard_ns = mmq_now_ns(),
                          .dirty = true,
                          .status = MMQ_EXIT_DONE};
    mmq_view_init(&watch.view, true);
    watch.view.endpoint = endpoint != NULL ? endpoint : MMQ_DEFAULT_CLIENTS;
    mmq_log_setup(MMQ_ERROR, false); /* lines of log would be written into the picture */
    if (mmq_screen_open(&why) != MMQ_OK) {
        return mmq_failed("%s", why.text);
    }
    while (!watch.end) {
        turn(&watch);
    }
    end(&watch);
    return watch.status;
}
