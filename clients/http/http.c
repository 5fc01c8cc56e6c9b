/* The adapter's thread: libmicrohttpd without threads of its own and one bus client, polled side by
 * side, and a helper for what would hold both up. Callbacks of the client resume connections;
 * libmicrohttpd's calls send requests; so each pass runs both until neither has anything at once.
 *
 * To stop, destroy writes to an eventfd. The thread then stops listening, lets exchanges end, and
 * resets what is left when the drain time is over.
 *
 * A new table of keys is read by who asks for it, since that may block, and handed over by one
 * pointer; what is still there when the next one comes was never used. */
#include "clients/http/http.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clients/http/access.h"
#include "clients/http/exchange.h"
#include "clients/http/health.h"
#include "clients/http/listen.h"
#include "clients/http/metrics.h"
#include "clients/http/status.h"
#include "clients/http/openapi.h"
#include "clients/http/settings.h"
#include "clients/http/tls.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/process.h"
#include "metricmq/version.h"

enum {
    POOL = 24 * 1024,        /* of a connection: its request's headers and the block under way */
    DESCRIPTORS_SPARE = 256, /* for everything but connections */
    WAIT_MAX_MS = MMQ_VITALS_PASS_MS,
    BUS_GRACE_MS = 2000, /* beyond the bus timeout: the client library's own 504 comes first */
    LEAVE_MS = 2000,     /* for a client to see our last word while it still sends */
    PAGES_MAX = 32, /* asked for at once: an address waits for so many pages of others at most */
};

#define NEWS_MS (INT64_C(1000) * 86400 * 365 * 100) /* no deadline: a hundred years */

/* Numbers that the eventfd adds up; nobody tells TOLD_OTHER so often that it would be TOLD_STOP
 * before it is read: to say it costs a file read. */
static const uint64_t TOLD_OTHER = 1, TOLD_STOP = UINT64_C(1) << 32;

struct mmq_http {
    mmq_adapter adapter;
    struct MHD_Daemon *daemon;
    mmq_listener listener;
    mmq_tls tls;
    int told;   /* eventfd: TOLD_... */
    int mhd_fd; /* libmicrohttpd's epoll */
    unsigned drain_ms;
    const char *api_key, *api_keys;   /* where keys come from; borrowed */
    _Atomic(mmq_keys *) keys_to_come; /* owned; NULL: none */
    pthread_t thread;
    bool started;
    /* For mmq_http_vitals; written by the thread. */
    struct {
        atomic_uint_fast64_t passes, requests;
        atomic_size_t connections;
    } vital;
};

__attribute__((format(printf, 2, 0))) static void log_library(void *context, const char *format,
                                                              va_list args)
{
    char line[256];
    (void)context;
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\r\n")] = '\0';
    mmq_log(MMQ_DEBUG, "libmicrohttpd", MMQ_S("says", line));
}

/* Suspended connections are resumed by our thread alone, between two runs of libmicrohttpd, so it
 * need not wake itself. */
static unsigned daemon_flags(const mmq_http *http)
{
    const unsigned suspend = MHD_ALLOW_SUSPEND_RESUME & ~(unsigned)MHD_USE_ITC;
    return MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_ERROR_LOG | suspend |
           (http->tls.key ? MHD_USE_TLS : 0);
}

static mmq_err start_daemon(mmq_http *http, const mmq_http_settings *settings, mmq_why *why)
{
    static char priorities[] = MMQ_TLS_PRIORITIES;
    mmq_adapter *adapter = &http->adapter;
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, http->tls.certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, http->tls.key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    http->daemon = MHD_start_daemon(
        daemon_flags(http), 0, mmq_seats_admit, &adapter->seats, mmq_exchange_handle, adapter,
        MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL, MHD_OPTION_LISTEN_SOCKET,
        http->listener.descriptor, MHD_OPTION_CONNECTION_LIMIT,
        settings->connections_max + MMQ_SEATS_SPARE, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL, MHD_OPTION_URI_LOG_CALLBACK, mmq_exchange_new, adapter,
        MHD_OPTION_NOTIFY_COMPLETED, mmq_exchange_completed, adapter, MHD_OPTION_NOTIFY_CONNECTION,
        mmq_exchange_connection, adapter, MHD_OPTION_ARRAY, http->tls.key ? tls : tls + 3,
        MHD_OPTION_END);
    if (http->daemon == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "cannot start the HTTP server on %s", settings->listen);
    }
    http->mhd_fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return MMQ_OK;
}

/* Waits for input of either side; true when told to stop. What else there is to be told is looked
 * at in every pass. */
static bool wait_for_input(mmq_http *http, int64_t wait_ns)
{
    struct pollfd polled[] = {
        {.fd = http->told, .events = POLLIN},
        {.fd = http->mhd_fd, .events = POLLIN},
        {.fd = mmq_client_descriptor(http->adapter.client), .events = POLLIN},
        {.fd = mmq_helper_descriptor(http->adapter.helper), .events = POLLIN},
    };
    int64_t wait_ms = (wait_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS;
    int found = poll(polled, sizeof polled / sizeof *polled, (int)wait_ms);
    uint64_t what;
    return found > 0 && (polled[0].revents & POLLIN) &&
           read(http->told, &what, sizeof what) == sizeof what && what >= TOLD_STOP;
}

static int64_t sooner(int64_t wait_ns, int64_t other_ns)
{
    return other_ns >= 0 && other_ns < wait_ns ? other_ns : wait_ns;
}

static void take_keys(mmq_http *http)
{
    mmq_keys *keys = atomic_exchange(&http->keys_to_come, NULL);
    if (keys) {
        mmq_keys_destroy(&http->adapter.keys);
        http->adapter.keys = keys;
        mmq_viewers_end(http->adapter.viewers); /* they come back, if their keys are still good */
    }
}

static void note_vitals(mmq_http *http)
{
    const mmq_adapter *adapter = &http->adapter;
    atomic_fetch_add_explicit(&http->vital.passes, 1, memory_order_relaxed);
    atomic_store_explicit(&http->vital.requests, adapter->trace_count, memory_order_relaxed);
    atomic_store_explicit(&http->vital.connections, adapter->seats.count, memory_order_relaxed);
}

/* Lets both sides do what they can; nanoseconds that they can wait for input. */
static int64_t run_sides(mmq_http *http)
{
    int64_t wait_ns = (int64_t)WAIT_MAX_MS * MMQ_NS_PER_MS;
    MHD_UNSIGNED_LONG_LONG library_ms;
    http->adapter.woken = false;
    note_vitals(http);
    take_keys(http);
    (void)MHD_run(http->daemon);
    mmq_helper_step(http->adapter.helper);
    mmq_creations_step(&http->adapter);
    wait_ns = sooner(wait_ns, mmq_viewers_step(&http->adapter));
    wait_ns = sooner(wait_ns, mmq_client_step(http->adapter.client));
    wait_ns = sooner(wait_ns, mmq_exchange_tick(&http->adapter));
    if (MHD_get_timeout(http->daemon, &library_ms) == MHD_YES && library_ms < WAIT_MAX_MS) {
        wait_ns = sooner(wait_ns, (int64_t)library_ms * MMQ_NS_PER_MS);
    }
    return http->adapter.woken ? 0 : wait_ns;
}

static void stop_listening(mmq_http *http)
{
    if (http->daemon) {
        (void)MHD_quiesce_daemon(http->daemon); /* the socket is ours again */
    }
    mmq_listener_close(&http->listener);
}

static void drain(mmq_http *http)
{
    int64_t end_ns = mmq_now_ns() + (int64_t)http->drain_ms * MMQ_NS_PER_MS;
    http->adapter.draining = true;
    mmq_viewers_end(http->adapter.viewers);
    stop_listening(http);
    while (http->adapter.live_count > 0 && mmq_now_ns() < end_ns) {
        int64_t wait_ns = sooner(run_sides(http), end_ns - mmq_now_ns());
        (void)wait_for_input(http, wait_ns > 0 ? wait_ns : 0);
    }
    mmq_exchange_break_all(&http->adapter);
    (void)MHD_run(http->daemon); /* resumes them, so that none is suspended when it stops */
    MHD_stop_daemon(http->daemon);
    http->daemon = NULL;
}

static void *run_thread(void *context)
{
    mmq_http *http = context;
    mmq_log_role("http");
    mmq_log(MMQ_INFO, "listening", MMQ_S("url", http->listener.url));
    while (!wait_for_input(http, run_sides(http))) {
    }
    drain(http);
    return NULL;
}

/* ---- settings --------------------------------------------------------------------------- */

static void set_limits(mmq_adapter *adapter, const mmq_http_settings *settings)
{
    const int64_t waits_ms[MMQ_WAIT_COUNT] = {
        [MMQ_WAIT_FIRST] = settings->header_ms,
        [MMQ_WAIT_IDLE] = settings->idle_ms,
        [MMQ_WAIT_HEADER] = settings->header_ms,
        [MMQ_WAIT_BODY] = settings->stall_ms,
        [MMQ_WAIT_BUS] = settings->timeout_ms + (int64_t)BUS_GRACE_MS,
        [MMQ_WAIT_READER] = settings->stall_ms,
        [MMQ_WAIT_NEWS] = NEWS_MS,
        [MMQ_WAIT_LEAVE] = LEAVE_MS,
    };
    mmq_seats_init(&adapter->seats, settings->connections_max, settings->connections_per_address);
    for (size_t i = 0; i < MMQ_WAIT_COUNT; i++) {
        adapter->seats.limits_ns[i] = waits_ms[i] * MMQ_NS_PER_MS;
    }
}

static mmq_err set_keys(mmq_http *http, const mmq_http_settings *settings, mmq_why *why)
{
    mmq_adapter *adapter = &http->adapter;
    http->api_key = settings->api_key && *settings->api_key ? settings->api_key : NULL;
    http->api_keys = settings->api_keys;
    adapter->keyed = mmq_http_settings_keyed(settings);
    if (!adapter->keyed) {
        return MMQ_OK;
    }
    adapter->keys = mmq_keys_new(http->api_key, http->api_keys, why);
    if (adapter->keys == NULL) {
        return MMQ_EINVAL;
    }
    const char *weakness = mmq_http_settings_weakness(settings, adapter->keys);
    if (weakness) {
        mmq_log(MMQ_WARN, "the keys are weak", MMQ_S("reason", weakness));
    }
    return MMQ_OK;
}

/* A connection is a descriptor, and shells give a process few. */
static void raise_descriptors(const mmq_http_settings *settings)
{
    const size_t wanted = settings->connections_max + MMQ_SEATS_SPARE + DESCRIPTORS_SPARE;
    const size_t most = mmq_descriptors_raise(wanted);
    if (most < wanted) {
        mmq_log(MMQ_WARN, "descriptors may run out before connections-max is reached",
                MMQ_I("descriptors", most), MMQ_I("wanted", wanted));
    }
}

static mmq_err init_adapter(mmq_http *http, const mmq_http_settings *settings, mmq_why *why)
{
    mmq_adapter *adapter = &http->adapter;
    TAILQ_INIT(&adapter->live);
    TAILQ_INIT(&adapter->creations);
    adapter->process_started_ns = mmq_process_started_ns();
    mmq_buffer_init(&adapter->openapi, MMQ_OPENAPI_MAX);
    set_limits(adapter, settings);
    adapter->gzips.most = MMQ_GZIPS_MAX;
    adapter->timeout_ms = settings->timeout_ms;
    mmq_random(&adapter->trace_run, sizeof adapter->trace_run);
    snprintf(adapter->server, sizeof adapter->server, "metricmq %s", mmq_version());
    http->drain_ms = settings->drain_ms;
    mmq_guesses_init(&adapter->guesses);
    mmq_heap_init(&adapter->held);
    if (mmq_heap_reserve(&adapter->held, settings->connections_max + MMQ_SEATS_SPARE)) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for the HTTP adapter");
    }
    mmq_err err = set_keys(http, settings, why);
    if (err == MMQ_OK) {
        adapter->origins = settings->cors_origins;
        adapter->origin_count = settings->cors_count;
        err = mmq_http_origins_check(settings, why);
    }
    return err ? err : mmq_http_tls_load(settings, &http->tls, why);
}

/* The bus client, and what is asked of it for no request in particular. */
static mmq_err init_client(mmq_adapter *adapter, const mmq_http_settings *settings, mmq_why *why)
{
    adapter->client = mmq_client_new_curve(settings->connect, settings->curve, why);
    if (adapter->client == NULL) {
        return MMQ_EINVAL;
    }
    mmq_client_set_window(adapter->client, PAGES_MAX);
    adapter->viewers = mmq_viewers_new(adapter);
    adapter->ready = mmq_ready_inquiry(adapter->client);
    adapter->scrape = mmq_scrape_inquiry(adapter->client);
    adapter->status = mmq_status_inquiry(adapter->client);
    if (adapter->ready == NULL || adapter->scrape == NULL || adapter->status == NULL ||
        adapter->viewers == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for the HTTP adapter");
    }
    return MMQ_OK;
}

/* Where it listens, and whether it may without a key. */
static mmq_err start_listening(mmq_http *http, const mmq_http_settings *settings, mmq_why *why)
{
    mmq_listener *listener = &http->listener;
    mmq_err err = mmq_listen(listener, settings->listen, http->tls.key != NULL, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = mmq_http_open_check(settings, &listener->bound, why);
    if (err != MMQ_OK) {
        return err;
    }
    return mmq_hosts_init(&http->adapter.hosts, settings->listen, &listener->bound, settings->hosts,
                          settings->host_count, why);
}

static mmq_err init_http(mmq_http *http, const mmq_http_settings *settings, mmq_why *why)
{
    mmq_adapter *adapter = &http->adapter;
    mmq_err err = init_adapter(http, settings, why);
    if (err != MMQ_OK) {
        return err;
    }
    raise_descriptors(settings);
    http->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (http->told < 0) {
        return mmq_fail(why, MMQ_EIO, "cannot make an eventfd: %s", strerror(errno));
    }
    err = start_listening(http, settings, why);
    if (err != MMQ_OK) {
        return err;
    }
    adapter->helper = mmq_helper_new(why);
    if (adapter->helper == NULL) {
        return MMQ_ENOMEM;
    }
    err = init_client(adapter, settings, why);
    return err ? err : start_daemon(http, settings, why);
}

mmq_http *mmq_http_new(const mmq_http_settings *settings, mmq_why *why)
{
    mmq_http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the HTTP adapter");
        return NULL;
    }
    http->listener.descriptor = http->told = -1;
    mmq_err err = init_http(http, settings, why);
    if (err == MMQ_OK) {
        http->started = mmq_thread_start(&http->thread, run_thread, http);
        if (!http->started) {
            (void)mmq_fail(why, MMQ_ENOMEM, "cannot start the HTTP adapter's thread");
        }
    }
    if (!http->started) {
        mmq_http_destroy(&http);
    }
    return http;
}

const char *mmq_http_url(const mmq_http *http)
{
    return http->listener.url;
}

void mmq_http_vitals(const mmq_http *http, mmq_vitals *out)
{
    const int64_t begun_ns = mmq_helper_begun_ns(http->adapter.helper);
    *out = (mmq_vitals){.passes = atomic_load(&http->vital.passes),
                        .stuck = begun_ns > 0 &&
                                 mmq_now_ns() - begun_ns > MMQ_VITALS_LATE_MS * MMQ_NS_PER_MS};
    out->readiness = out->passes > 0 ? MMQ_READY : MMQ_UNREADY; /* it listened before it ran */
    snprintf(out->state, sizeof out->state, "http: %.90s", http->listener.url);
    snprintf(out->counts, sizeof out->counts, "%zu connections, %" PRIu64 " requests so far",
             (size_t)atomic_load(&http->vital.connections),
             (uint64_t)atomic_load(&http->vital.requests));
}

/* Wakes the thread for what is to come. */
static void tell(mmq_http *http, uint64_t what)
{
    CHECK(write(http->told, &what, sizeof what) == sizeof what);
}

mmq_err mmq_http_reread_keys(mmq_http *http, mmq_why *why)
{
    if (http->api_keys == NULL) {
        return MMQ_OK;
    }
    mmq_keys *keys = mmq_keys_new(http->api_key, http->api_keys, why);
    if (keys == NULL) {
        return MMQ_EINVAL;
    }
    mmq_log(MMQ_INFO, "keys read again", MMQ_S("file", http->api_keys), MMQ_I("keys", keys->count));
    keys = atomic_exchange(&http->keys_to_come, keys);
    mmq_keys_destroy(&keys);
    tell(http, TOLD_OTHER);
    return MMQ_OK;
}

void mmq_http_destroy(mmq_http **http_p)
{
    mmq_http *http = *http_p;
    if (http == NULL) {
        return;
    }
    if (http->started) {
        tell(http, TOLD_STOP);
        pthread_join(http->thread, NULL);
    }
    stop_listening(http);
    if (http->daemon) {
        MHD_stop_daemon(http->daemon);
    }
    mmq_viewers_destroy(&http->adapter.viewers);
    mmq_inquiry_destroy(&http->adapter.ready);
    mmq_inquiry_destroy(&http->adapter.scrape);
    mmq_inquiry_destroy(&http->adapter.status);
    mmq_helper_destroy(&http->adapter.helper);
    mmq_client_destroy(&http->adapter.client);
    mmq_keys *keys = atomic_exchange(&http->keys_to_come, NULL);
    mmq_keys_destroy(&keys);
    mmq_keys_destroy(&http->adapter.keys);
    mmq_heap_clear(&http->adapter.held);
    mmq_buffer_clear(&http->adapter.openapi);
    mmq_gzip_pool_clear(&http->adapter.gzips);
    mmq_tls_clear(&http->tls);
    if (http->told >= 0) {
        close(http->told);
    }
    free(http);
    *http_p = NULL;
}
