/* One thread, one epoll over the descriptors of all clients. In a turn of the loop the requests
 * that are due are started, then exactly those clients are stepped that have input, a timer that
 * ran out or a new request: a client that has nothing to do costs nothing, however many there are.
 *
 * mmq_client_step calls back for answers; the next request of a closed loop is started from there,
 * on the same client, and is sent before the step returns. */
#include "clients/load/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/intrusive.h"

enum {
    EVENTS_MAX = 256,  /* of one turn */
    STARTS_MAX = 1000, /* of one turn */
    REFILL_MS = 10,    /* between two tries of what the library did not take */
    PROGRESS_MS = 250,
    GRACE_MS = 2000, /* beyond the timeout; the library's own is shorter */
    TIMER_SLACK_NS = 1000,
};

void mmq_driver_mark(mmq_driver *driver, mmq_peer *peer)
{
    if (!peer->marked) {
        peer->marked = true;
        TAILQ_INSERT_TAIL(&driver->marked, peer, link);
    }
}

/* ---- made and unmade ---------------------------------------------------------------------- */

static mmq_err watch(mmq_driver *driver, int descriptor, void *what, mmq_why *why)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = what}};
    return epoll_ctl(driver->input, EPOLL_CTL_ADD, descriptor, &event) == 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_EUNAVAILABLE, "cannot wait for a client: %s", strerror(errno));
}

static mmq_err make_peer(mmq_driver *driver, mmq_peer *peer, mmq_why *why)
{
    mmq_heap_item_init(&peer->timer);
    peer->client = mmq_client_new_curve(driver->options->endpoint, driver->options->curve, why);
    if (!peer->client) {
        return MMQ_EUNAVAILABLE;
    }
    mmq_driver_mark(driver, peer);
    return watch(driver, mmq_client_descriptor(peer->client), peer, why);
}

static mmq_err make_peers(mmq_driver *driver, mmq_why *why)
{
    size_t count = driver->options->clients;
    driver->peers = calloc(count, sizeof *driver->peers);
    if (!driver->peers || mmq_heap_reserve(&driver->timers, count)) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for %zu clients", count);
    }
    mmq_err err = MMQ_OK;
    for (size_t i = 0; !err && i < count; i++) {
        err = make_peer(driver, &driver->peers[i], why);
    }
    return err;
}

static mmq_err make_driver(mmq_driver *driver, mmq_why *why)
{
    const mmq_load_options *options = driver->options;
    TAILQ_INIT(&driver->marked);
    TAILQ_INIT(&driver->under_way);
    TAILQ_INIT(&driver->spare);
    mmq_heap_init(&driver->timers);
    mmq_args_init(&driver->args);
    driver->random = (mmq_splitmix){options->seed};
    mmq_err err = mmq_echo_init(&driver->echo, options->size, options->seed, why);
    driver->input = epoll_create1(EPOLL_CLOEXEC);
    if (!err && driver->input < 0) {
        err = mmq_fail(why, MMQ_EUNAVAILABLE, "no descriptors left");
    }
    if (!err && options->stop >= 0) {
        err = watch(driver, options->stop, NULL, why);
    }
    if (!err) {
        err = make_peers(driver, why);
    }
    size_t seconds = (size_t)(options->duration_ns / MMQ_NS_PER_S) + 1;
    if (!err && mmq_series_reserve(&driver->result->series, seconds)) {
        err = mmq_fail(why, MMQ_ENOMEM, "no memory for %zu seconds", seconds);
    }
    return err;
}

static void clear_driver(mmq_driver *driver)
{
    mmq_requests_clear(driver);
    for (size_t i = 0; driver->peers && i < driver->options->clients; i++) {
        mmq_client_destroy(&driver->peers[i].client);
    }
    free(driver->peers);
    mmq_heap_clear(&driver->timers);
    mmq_echo_clear(&driver->echo);
    mmq_args_clear(&driver->args);
    if (driver->input >= 0) {
        close(driver->input);
    }
}

/* ---- what is due -------------------------------------------------------------------------- */

static bool is_open(const mmq_driver *driver)
{
    return driver->options->rate > 0;
}

static mmq_peer *peer_of(const mmq_driver *driver, uint64_t k)
{
    return &driver->peers[k % driver->options->clients];
}

/* Open loop: starts what is due by now, in this turn or the next ones. */
static void start_scheduled(mmq_driver *driver, int64_t now_ns)
{
    for (size_t i = 0; i < STARTS_MAX; i++) {
        int64_t due_ns = mmq_schedule_due(&driver->schedule);
        if (due_ns > now_ns || due_ns >= driver->end_ns) {
            return;
        }
        if (due_ns >= driver->count_ns) {
            mmq_histogram_add(&driver->result->lag, now_ns - due_ns);
        }
        mmq_request_start(driver, peer_of(driver, driver->schedule.next++), due_ns, now_ns);
    }
}

/* Closed loop: starts what is missing; a request that cannot be sent is missing again. */
static void start_missing(mmq_driver *driver, int64_t now_ns)
{
    size_t missing = now_ns < driver->end_ns ? driver->missing : 0;
    driver->missing = 0;
    for (size_t i = 0; i < missing; i++) {
        mmq_request_start(driver, peer_of(driver, driver->turn++), now_ns, now_ns);
    }
}

void mmq_driver_request_ended(mmq_driver *driver, mmq_peer *peer, bool sent, int64_t now_ns)
{
    if (is_open(driver) || now_ns >= driver->end_ns) {
        return;
    }
    if (sent) {
        mmq_request_start(driver, peer, now_ns, now_ns);
    } else {
        driver->missing++;
    }
}

static void step_marked(mmq_driver *driver)
{
    mmq_peer *peer;
    while ((peer = TAILQ_FIRST(&driver->marked)) != NULL) {
        int64_t left_ns = mmq_client_step(peer->client);
        TAILQ_REMOVE(&driver->marked, peer, link); /* only now: callbacks mark it in vain */
        peer->marked = false;
        if (left_ns < 0) {
            mmq_heap_remove(&driver->timers, &peer->timer);
        } else {
            mmq_heap_put(&driver->timers, &peer->timer, mmq_now_ns() + left_ns);
        }
    }
}

static void mark_timers(mmq_driver *driver, int64_t now_ns)
{
    mmq_heap_item *first;
    while ((first = mmq_heap_first(&driver->timers)) != NULL && first->key <= now_ns) {
        mmq_heap_remove(&driver->timers, first);
        mmq_driver_mark(driver, MMQ_OF(first, mmq_peer, timer));
    }
}

/* ---- the loop ----------------------------------------------------------------------------- */

static void take_stop(mmq_driver *driver, int64_t now_ns)
{
    struct signalfd_siginfo info;
    (void)!read(driver->options->stop, &info, sizeof info);
    driver->abandoned = driver->result->stopped;
    driver->result->stopped = true;
    driver->end_ns = now_ns < driver->end_ns ? now_ns : driver->end_ns;
    driver->count_ns = driver->count_ns < driver->end_ns ? driver->count_ns : driver->end_ns;
}

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Requests that are due before the end but were held up are still to be started: a stall at the end
 * counts as any other. */
static bool is_all_started(const mmq_driver *driver, int64_t now_ns)
{
    return is_open(driver) ? mmq_schedule_due(&driver->schedule) >= driver->end_ns
                           : now_ns >= driver->end_ns;
}

/* When the next request is to be started; the end, if there is none. */
static int64_t next_start(const mmq_driver *driver, int64_t now_ns)
{
    if (is_open(driver)) {
        return least_of(mmq_schedule_due(&driver->schedule), driver->end_ns);
    }
    return driver->missing > 0 ? now_ns + REFILL_MS * MMQ_NS_PER_MS : driver->end_ns;
}

/* When the loop must turn again, whatever comes. */
static int64_t next_turn(const mmq_driver *driver, int64_t now_ns)
{
    int64_t turn_ns = least_of(driver->progress_ns, mmq_requests_due(driver));
    const mmq_heap_item *first = mmq_heap_first(&driver->timers);
    if (first) {
        turn_ns = least_of(turn_ns, first->key);
    }
    if (now_ns < driver->end_ns || !is_all_started(driver, now_ns)) {
        turn_ns = least_of(turn_ns, next_start(driver, now_ns));
    }
    return turn_ns;
}

/* Kernels before 5.11 know milliseconds only. */
static int wait_events(int input, struct epoll_event *events, int64_t left_ns)
{
    const struct timespec left = {left_ns / MMQ_NS_PER_S, left_ns % MMQ_NS_PER_S};
    int count = epoll_pwait2(input, events, EVENTS_MAX, &left, NULL);
    if (count < 0 && errno == ENOSYS) {
        int64_t left_ms = (left_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS;
        count = epoll_wait(input, events, EVENTS_MAX, (int)left_ms);
    }
    return count;
}

static void wait_for_input(mmq_driver *driver)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t now_ns = mmq_now_ns();
    int64_t left_ns = next_turn(driver, now_ns) - now_ns;
    int count = wait_events(driver->input, events, left_ns > 0 ? left_ns : 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr) {
            mmq_driver_mark(driver, events[i].data.ptr);
        } else {
            take_stop(driver, now_ns);
        }
    }
}

static void show_progress(mmq_driver *driver, int64_t now_ns)
{
    const mmq_load_options *options = driver->options;
    if (now_ns < driver->progress_ns) {
        return;
    }
    driver->progress_ns = now_ns + PROGRESS_MS * MMQ_NS_PER_MS;
    driver->result->elapsed_ns = least_of(now_ns, driver->end_ns) - driver->count_ns;
    if (options->progress) {
        options->progress(options->context, driver->result, now_ns - driver->start_ns);
    }
}

static bool is_over(const mmq_driver *driver, int64_t now_ns)
{
    int64_t grace_ns = (driver->options->timeout_ms + GRACE_MS) * MMQ_NS_PER_MS;
    return driver->abandoned || now_ns >= driver->end_ns + grace_ns ||
           (driver->under_way_count == 0 && now_ns >= driver->end_ns &&
            is_all_started(driver, now_ns));
}

static void run_loop(mmq_driver *driver)
{
    const mmq_load_options *options = driver->options;
    driver->start_ns = driver->progress_ns = mmq_now_ns();
    driver->count_ns = driver->start_ns + options->warmup_ns;
    driver->end_ns = driver->count_ns + options->duration_ns;
    driver->missing = options->concurrency;
    driver->schedule = (mmq_schedule){.start_ns = driver->start_ns, .rate = options->rate};
    for (int64_t now_ns = driver->start_ns; !is_over(driver, now_ns); now_ns = mmq_now_ns()) {
        if (is_open(driver)) {
            start_scheduled(driver, now_ns);
        } else {
            start_missing(driver, now_ns);
        }
        mmq_requests_expire(driver, now_ns);
        mark_timers(driver, now_ns);
        step_marked(driver);
        show_progress(driver, now_ns);
        wait_for_input(driver);
    }
}

static void finish_result(mmq_driver *driver)
{
    mmq_load_result *result = driver->result;
    result->elapsed_ns = driver->end_ns - driver->count_ns;
    const mmq_load_request *request;
    TAILQ_FOREACH(request, &driver->under_way, link)
    {
        result->never_answered += request->counted;
    }
    for (size_t i = 0; i < driver->options->clients; i++) {
        result->stray += mmq_client_dropped(driver->peers[i].client);
    }
}

mmq_err mmq_load_run(const mmq_load_options *options, mmq_load_result **result_p, mmq_why *why)
{
    mmq_load_result *result = calloc(1, sizeof *result);
    if (!result) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a result");
    }
    (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
    mmq_driver driver = {.options = options, .result = result, .input = -1};
    mmq_err err = make_driver(&driver, why);
    if (!err) {
        run_loop(&driver);
        finish_result(&driver);
    }
    clear_driver(&driver);
    if (err) {
        mmq_load_result_destroy(&result);
    }
    *result_p = result;
    return err;
}

void mmq_load_result_destroy(mmq_load_result **result)
{
    if (*result) {
        mmq_series_clear(&(*result)->series);
        free(*result);
        *result = NULL;
    }
}

void mmq_load_total(const mmq_load_result *result, mmq_tally *total)
{
    *total = (mmq_tally){0};
    for (size_t i = 0; i < MMQ_LOAD_KINDS; i++) {
        mmq_tally_merge(total, &result->kinds[i]);
    }
}
