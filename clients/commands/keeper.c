/* The main thread of a process of roles looks at its parts once a second, and more often until they
 * are ready. A part is a loop and whoever works for it; its own threads count its passes (vitals.h)
 * and nobody else can.
 *
 * Pings go out while every part has made a pass lately and no thread is stuck; a ping that is due
 * is sent as soon as that is so again. A loop passes once a second even when it has nothing to do,
 * so "lately" is the time between two pings, but not less than that and the delay of a busy
 * machine. So a loop that stands still is noticed, at the latest, a ping's time and the manager's
 * patience later, and the main thread, if it is the one, after the latter.
 *
 * READY: the broker is bound and its loop runs, HTTP listens and its loop runs, a worker has opened
 * its store and is registered with a broker. A worker that finds no broker within ALONE_NS is ready
 * too: it will serve as soon as there is one, and brokers and workers may be started in any order.
 * So is a write worker that waits for another to leave the store, for that is what it is for. */
#include "clients/commands/keeper.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clients/commands/commands.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/log.h"

enum { READY_TICK_MS = 20, TICK_LEAST_MS = 10 };

#define TICK_NS   (MMQ_VITALS_PASS_MS * MMQ_NS_PER_MS)
#define LATE_NS   (2500 * MMQ_NS_PER_MS) /* a loop is not late before that */
#define ALONE_NS  (1 * MMQ_NS_PER_S)
#define COUNTS_NS (10 * MMQ_NS_PER_S) /* counts alone are told so often */

/* ---- signals ---------------------------------------------------------------------------- */

void mmq_keeper_begin(mmq_keeper *keeper, bool has_lists)
{
    *keeper = (mmq_keeper){.count = 0};
    mmq_notify_init(&keeper->notify);
    sigemptyset(&keeper->signals);
    sigaddset(&keeper->signals, SIGTERM);
    sigaddset(&keeper->signals, SIGINT);
    if (has_lists || mmq_notify_has_manager(&keeper->notify)) {
        sigaddset(&keeper->signals, SIGHUP);
    }
    pthread_sigmask(SIG_BLOCK, &keeper->signals, NULL);
    mmq_notify_status(&keeper->notify, "starting");
}

void mmq_keeper_end(mmq_keeper *keeper)
{
    if (keeper->notify.life != MMQ_LIFE_STOPPING) {
        mmq_notify_life(&keeper->notify, MMQ_LIFE_STOPPING);
    }
    mmq_notify_clear(&keeper->notify);
}

bool mmq_keeper_told_to_stop(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) > 0 || sigismember(&pending, SIGINT) > 0);
}

/* What cannot be read leaves things as they were. */
static void reload(mmq_keeper *keeper)
{
    const mmq_life life = keeper->notify.life;
    mmq_notify_life(&keeper->notify, MMQ_LIFE_RELOADING);
    mmq_why why = {""};
    keeper->reload_why = why;
    if (keeper->broker_lists && mmq_broker_reload(keeper->broker, &why)) {
        mmq_log(MMQ_ERROR, "the lists of keys cannot be read again: they stay as they were",
                MMQ_S("reason", why.text));
        keeper->reload_why = why;
    }
    if (keeper->http_lists && mmq_http_reread_keys(keeper->http, &why)) {
        mmq_log(MMQ_ERROR, "the keys of HTTP cannot be read again: they stay as they were",
                MMQ_S("reason", why.text));
        keeper->reload_why = why;
    }
    if (!keeper->broker_lists && !keeper->http_lists) {
        mmq_log(MMQ_INFO, "told to read things again; there is nothing of the kind");
    }
    keeper->state[0] = '\0'; /* whatever came of it is told at once */
    mmq_notify_life(&keeper->notify, life);
}

/* ---- looking ---------------------------------------------------------------------------- */

static void look(mmq_keeper *keeper, int64_t now_ns)
{
    mmq_vitals *out = keeper->vitals, before[MMQ_KEEPER_PARTS];
    memcpy(before, keeper->vitals, sizeof before);
    if (keeper->broker) {
        mmq_broker_vitals(keeper->broker, out++);
    }
    if (keeper->http) {
        mmq_http_vitals(keeper->http, out++);
    }
    for (size_t i = 0; i < MMQ_KEEPER_ROLES; i++) {
        if (keeper->roles[i]) {
            mmq_role_vitals(keeper->roles[i], now_ns, out++);
        }
    }
    keeper->count = (size_t)(out - keeper->vitals);
    for (size_t i = 0; i < keeper->count; i++) {
        if (keeper->vitals[i].passes != before[i].passes) {
            keeper->passed_ns[i] = now_ns;
        }
    }
}

static mmq_readiness least_ready(const mmq_keeper *keeper)
{
    mmq_readiness least = MMQ_READY;
    for (size_t i = 0; i < keeper->count; i++) {
        least = keeper->vitals[i].readiness < least ? keeper->vitals[i].readiness : least;
    }
    return least;
}

static bool is_ready(mmq_keeper *keeper, int64_t now_ns)
{
    const mmq_readiness least = least_ready(keeper);
    if (least != MMQ_ALONE) {
        keeper->alone_ns = 0;
    } else if (keeper->alone_ns == 0) {
        keeper->alone_ns = now_ns;
    }
    return least == MMQ_READY || (least == MMQ_ALONE && now_ns - keeper->alone_ns >= ALONE_NS);
}

/* ---- telling ---------------------------------------------------------------------------- */

static int64_t ping_period_ns(const mmq_keeper *keeper)
{
    return keeper->notify.watchdog_ns / 2;
}

/* The part that does not get ahead; NULL: all do. */
static const mmq_vitals *find_dead(const mmq_keeper *keeper, int64_t now_ns)
{
    const int64_t period_ns = ping_period_ns(keeper);
    const int64_t late_ns = period_ns > LATE_NS ? period_ns : LATE_NS;
    for (size_t i = 0; i < keeper->count; i++) {
        if (keeper->vitals[i].stuck || now_ns - keeper->passed_ns[i] > late_ns) {
            return &keeper->vitals[i];
        }
    }
    return NULL;
}

static void ping(mmq_keeper *keeper, int64_t now_ns)
{
    if (ping_period_ns(keeper) == 0 || now_ns - keeper->pinged_ns < ping_period_ns(keeper)) {
        return;
    }
    const mmq_vitals *dead = find_dead(keeper, now_ns);
    if (dead && !keeper->complained) {
        mmq_log(MMQ_ERROR, "no progress is made: the service manager will end this process",
                MMQ_S("state", dead->state));
    }
    keeper->complained = dead != NULL;
    if (!dead && mmq_notify_ping(&keeper->notify)) {
        keeper->pinged_ns = now_ns;
    }
}

__attribute__((format(printf, 3, 4))) static void add_text(char *text, size_t room,
                                                           const char *format, ...)
{
    const size_t size = strlen(text);
    va_list list;
    va_start(list, format);
    vsnprintf(text + size, room - size, format, list);
    va_end(list);
}

/* Of `up`, whose workers are known to its broker, a worker is a piece of news only if it is not
 * ready. */
static bool is_shown(const mmq_keeper *keeper, size_t i)
{
    const size_t first_role = (keeper->broker ? 1U : 0U) + (keeper->http ? 1U : 0U);
    return i < first_role || first_role == 0 || keeper->vitals[i].readiness != MMQ_READY;
}

static void tell(mmq_keeper *keeper, int64_t now_ns)
{
    char state[sizeof keeper->state] = "", text[sizeof state + MMQ_NOTIFY_TEXT_MAX] = "";
    if (keeper->reload_why.text[0] != '\0') {
        add_text(text, sizeof text, "keys were not read again: %.120s; ", keeper->reload_why.text);
    }
    for (size_t i = 0; i < keeper->count; i++) {
        add_text(state, sizeof state, "%s;", keeper->vitals[i].state);
        if (is_shown(keeper, i)) {
            add_text(text, sizeof text, "%s, %s; ", keeper->vitals[i].state,
                     keeper->vitals[i].counts);
        }
    }
    if (strcmp(state, keeper->state) != 0 || now_ns - keeper->told_ns >= COUNTS_NS) {
        memcpy(keeper->state, state, sizeof state);
        keeper->told_ns = now_ns;
        text[strlen(text) >= 2 ? strlen(text) - 2 : 0] = '\0';
        mmq_notify_status(&keeper->notify, text);
    }
}

/* All that is due once a tick; returns until the next one. */
static int64_t tend(mmq_keeper *keeper)
{
    const int64_t now_ns = mmq_now_ns();
    look(keeper, now_ns);
    tell(keeper, now_ns);
    if (keeper->notify.life == MMQ_LIFE_STARTING) {
        if (!is_ready(keeper, now_ns)) {
            return READY_TICK_MS * MMQ_NS_PER_MS;
        }
        mmq_notify_life(&keeper->notify, MMQ_LIFE_READY);
    }
    ping(keeper, now_ns);
    mmq_notify_flush(&keeper->notify);
    const int64_t period_ns = ping_period_ns(keeper);
    const int64_t tick_ns = period_ns > 0 && period_ns < TICK_NS ? period_ns : TICK_NS;
    return tick_ns > TICK_LEAST_MS * MMQ_NS_PER_MS ? tick_ns : TICK_LEAST_MS * MMQ_NS_PER_MS;
}

/* False once a role has given up, and says why. */
static bool all_healthy(const mmq_keeper *keeper, mmq_why *why)
{
    for (size_t i = 0; i < MMQ_KEEPER_ROLES; i++) {
        if (keeper->roles[i] && !mmq_role_healthy(keeper->roles[i], why)) {
            return false;
        }
    }
    return true;
}

static int stop(mmq_keeper *keeper, const char *reason, int status)
{
    mmq_notify_status(&keeper->notify, reason);
    mmq_notify_life(&keeper->notify, MMQ_LIFE_STOPPING);
    return status;
}

int mmq_keeper_wait(mmq_keeper *keeper)
{
    for (;;) {
        const int64_t wait_ns = tend(keeper);
        const struct timespec wait = {.tv_sec = wait_ns / MMQ_NS_PER_S,
                                      .tv_nsec = wait_ns % MMQ_NS_PER_S};
        const int number = sigtimedwait(&keeper->signals, NULL, &wait);
        if (number == SIGHUP) {
            reload(keeper);
        } else if (number > 0) {
            mmq_log(MMQ_INFO, "stopping", MMQ_S("signal", strsignal(number)));
            return stop(keeper, "stopping: what is under way is finished", MMQ_EXIT_DONE);
        }
        mmq_why why = {""};
        if (!all_healthy(keeper, &why)) {
            return stop(keeper, why.text, mmq_failed("%s", why.text));
        }
    }
}
