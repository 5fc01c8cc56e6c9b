/* The write worker: one work thread owns the store's writer's lock and its only writing connection.
 *
 * Group commit: what has come while the last commit was on its way to the disk is done in one
 * transaction, each request a step that is atomic by itself, and answered when the commit is
 * durable. A group ends early when its bodies are big, so that a transaction stays bounded. If the
 * transaction fails, all of it is undone, and every request that had succeeded gets the error.
 *
 * The same thread serves metric.watch, since it alone knows of every commit (watchers.c). Those
 * requests are of a service of their own, with a capacity of its own.
 *
 * The constructor tries the lock itself, so that a store that cannot be opened is told at once;
 * only where another process has the lock does the thread wait for it in the background. */
#include "workers/role.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "metricmq/protocol.h"
#include "workers/prune.h"
#include "workers/watchers.h"
#include "workers/store/store.h"
#include "workers/write_ops.h"
#include "workers/write_store.h"

enum {
    CAPACITY_DEFAULT = 256,
    GROUP_MAX = 256,                   /* requests of a transaction */
    GROUP_BYTES_MAX = 8 * 1024 * 1024, /* of their bodies, about */
    STANDBY_POLL_MS = 1000,
    ANSWER_MAX = 1024 * 1024, /* bytes of an answer */
};

#define GROUP_NS (100 * MMQ_NS_PER_MS) /* no request is begun in a transaction that is so old */

/* A piece of housekeeping takes milliseconds of a CPU that readers may want, and while there is
 * something to do the next one follows. So they are apart by PAUSE_TIMES what the last one took:
 * then fewer than one request in a hundred meets one (ops/bench prune), however busy we are. */
#define PAUSE_TIMES  40
#define PAUSE_MIN_NS (20 * MMQ_NS_PER_MS)
#define PAUSE_MAX_NS MMQ_NS_PER_S

/* Made by mmq_write_worker_new, used by the one work thread. */
typedef struct write_shared {
    char *store;           /* url */
    mmq_store_lock *lock;  /* NULL: to be waited for; the thread takes it over */
    atomic_bool waits;     /* for the lock, which another process has */
    int stop_fd;           /* eventfd, readable once the role is ending */
    bool (*stopped)(void); /* the settings'; may be NULL */
    int64_t retain_days;
} write_shared;

/* The work thread's. */
typedef struct write_thread {
    mmq_store_lock *lock;
    mmq_store *store;
    mmq_watchers *watchers;
    mmq_retention retention;
    mmq_log_pace away; /* of groups that found no store */
    size_t failed;     /* requests that no line was about */
    mmq_err tidy_err;  /* of the last housekeeping: logged when it changes */
    int64_t tidy_next_ns;
} write_thread;

/* What became of one request of a group. */
typedef struct outcome {
    mmq_err err;
    mmq_why why;
    mmq_buffer answer; /* empty: no payload */
} outcome;

/* ---- groups --------------------------------------------------------------------------- */

static mmq_err run_request(mmq_store *store, const mmq_request *request, mmq_buffer *answer,
                           mmq_why *why)
{
    if (mmq_request_left_ns(request) <= 0) {
        return mmq_fail(why, MMQ_ETIMEOUT, "the request's time was over before it was begun");
    }
    size_t size;
    const void *body = mmq_request_body(request, &size);
    return mmq_write_op_run(store, body, size, answer, why);
}

/* True if the request was refused without any change, and the transaction may go on. */
static bool is_refusal(mmq_err err)
{
    return err == MMQ_EINVAL || err == MMQ_ENOTFOUND || err == MMQ_ECONFLICT ||
           err == MMQ_ETOOBIG || err == MMQ_ETIMEOUT;
}

/* True if the request was refused for what it is, whatever is in the store. */
static bool is_malformed(mmq_err err)
{
    return err == MMQ_EINVAL || err == MMQ_ETOOBIG || err == MMQ_ETIMEOUT;
}

/* Runs requests in one transaction and commits it: all of them or, if they take long, the first.
 * *count: how many. On failure nothing has happened. */
static mmq_err run_group(mmq_store *store, mmq_request **requests, outcome *outcomes, size_t *count,
                         mmq_why *why)
{
    const int64_t end_ns = mmq_now_ns() + GROUP_NS;
    const size_t most = *count;
    mmq_err err = mmq_store_begin_write(store, why);
    if (err != MMQ_OK) {
        return err;
    }
    for (size_t i = 0; i < most && (i == 0 || mmq_now_ns() < end_ns); i++) {
        outcome *to = &outcomes[i];
        *count = i + 1;
        to->err = run_request(store, requests[i], &to->answer, &to->why);
        if (to->err == MMQ_EBUSY && i > 0 && mmq_store_contended(store)) {
            *to = (outcome){.err = MMQ_OK}; /* it begins the next transaction, and may wait there */
            mmq_buffer_init(&to->answer, ANSWER_MAX);
            *count = i;
            break;
        }
        if (to->err != MMQ_OK && !is_refusal(to->err)) {
            *why = to->why;
            mmq_store_rollback(store);
            return to->err;
        }
    }
    return mmq_store_commit(store, why);
}

static void answer_request(mmq_request **request, outcome *of)
{
    mmq_frame payload;
    mmq_frame_init(&payload);
    bool has_payload = of->answer.size > 0 || of->answer.failed;
    if (of->err == MMQ_OK && has_payload) {
        /* The commit is done: an answer that does not fit memory is told as a failure, which is
         * harmless, since whoever sends it again finds it done. */
        of->err = mmq_buffer_to_frame(&of->answer, &payload);
    }
    if (of->err != MMQ_OK) {
        mmq_request_refuse(request, of->err, &of->why);
    } else {
        mmq_final final = {.status = 200, .rows = -1};
        mmq_request_final(request, &final, has_payload ? &payload : NULL);
    }
    mmq_frame_close(&payload);
}

static void tell_failure(write_thread *writer, mmq_err err, const mmq_why *why, size_t requests)
{
    int64_t groups = 1;
    writer->failed += requests;
    if (err == MMQ_EUNAVAILABLE) { /* there may be very many */
        groups = mmq_log_due(&writer->away, mmq_now_ns(), MMQ_NS_PER_S);
    }
    if (groups > 0) {
        mmq_log(MMQ_ERROR, "writing failed", MMQ_S("error", why->text),
                MMQ_I("requests", writer->failed), MMQ_I("count", groups));
        writer->failed = 0;
    }
}

/* Returns how many of the requests were served, from the first on. */
static size_t serve_group(write_thread *writer, mmq_request **requests, outcome *outcomes,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        outcomes[i] = (outcome){.err = MMQ_OK};
        mmq_buffer_init(&outcomes[i].answer, ANSWER_MAX);
    }
    mmq_why why = {""};
    mmq_err err = run_group(writer->store, requests, outcomes, &count, &why);
    if (err != MMQ_OK) {
        tell_failure(writer, err, &why, count);
    }
    bool alone = err == MMQ_ECORRUPT && count > 1;
    for (size_t i = 0; i < count; i++) {
        outcome *of = &outcomes[i];
        /* What was refused because of what is undone now was not refused. */
        bool refused = err == MMQ_OK ? of->err != MMQ_OK : is_malformed(of->err);
        if (err != MMQ_OK && !refused) {
            /* 503 and not 500: nothing has happened, so trying again is right. */
            of->err = mmq_fail(&of->why, MMQ_EUNAVAILABLE, "%s", why.text);
        }
        if (!alone || refused) {
            answer_request(&requests[i], of);
        }
        mmq_buffer_clear(&of->answer);
    }
    /* A damaged page must not fail the writes of other metrics that came at the same time. */
    for (size_t i = 0; i < count && alone; i++) {
        if (requests[i] != NULL) {
            (void)serve_group(writer, &requests[i], &outcomes[i], 1);
        }
    }
    return count;
}

/* How many of the requests make one transaction: at least one. */
static size_t group_size(mmq_request **requests, size_t count)
{
    size_t n = 0, bytes = 0;
    while (n < count && (n == 0 || bytes < GROUP_BYTES_MAX)) {
        size_t size;
        (void)mmq_request_body(requests[n], &size);
        bytes += size;
        n++;
    }
    return n;
}

static int64_t pause_after(int64_t took_ns, bool failed)
{
    const int64_t pause_ns = failed ? PAUSE_MAX_NS : PAUSE_TIMES * took_ns;
    const int64_t least_ns = pause_ns > PAUSE_MIN_NS ? pause_ns : PAUSE_MIN_NS;
    return least_ns < PAUSE_MAX_NS ? least_ns : PAUSE_MAX_NS;
}

/* A piece of housekeeping, if it is time for one: rows that are too old first, since they leave
 * pages to give back. True: call again soon. */
static bool tidy_up(write_thread *writer)
{
    const int64_t start_ns = mmq_now_ns();
    if (start_ns < writer->tidy_next_ns) {
        return true;
    }
    bool more = false;
    mmq_why why = {""};
    mmq_err err = mmq_retention_step(&writer->retention, writer->store, &more, &why);
    if (err == MMQ_OK && !more) {
        err = mmq_store_tidy(writer->store, &more, &why);
    }
    const int64_t end_ns = mmq_now_ns();
    writer->tidy_next_ns = end_ns + pause_after(end_ns - start_ns, err != MMQ_OK);
    if (err != MMQ_OK && err != writer->tidy_err) {
        mmq_log(MMQ_WARN, "housekeeping failed", MMQ_S("error", why.text));
    }
    writer->tidy_err = err;
    return more && err == MMQ_OK;
}

/* Takes those who watch out; how many are left. */
static size_t take_watchers(write_thread *writer, mmq_request **requests, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(mmq_request_service(requests[i]), MMQ_SERVICE_WATCH) == 0) {
            mmq_watchers_take(writer->watchers, &requests[i]);
        } else {
            requests[left++] = requests[i];
        }
    }
    return left;
}

static bool idle(void *context)
{
    write_thread *writer = context;
    const bool more = tidy_up(writer);
    return mmq_watchers_tend(writer->watchers) || more;
}

static void handle_requests(void *context, mmq_request **requests, size_t count)
{
    write_thread *writer = context;
    outcome outcomes[GROUP_MAX];
    count = take_watchers(writer, requests, count);
    for (size_t done = 0; done < count;) {
        size_t n = group_size(requests + done, count - done);
        done += serve_group(writer, requests + done, outcomes, n);
    }
    (void)mmq_watchers_tend(writer->watchers); /* before housekeeping, which takes a moment */
    (void)idle(writer);
}

/* ---- the thread ------------------------------------------------------------------------- */

static bool is_ending(const write_shared *shared, int timeout_ms)
{
    struct pollfd stop = {.fd = shared->stop_fd, .events = POLLIN};
    return poll(&stop, 1, timeout_ms) > 0;
}

static bool is_stopped(const void *context)
{
    const write_shared *shared = context;
    return is_ending(shared, 0) || (shared->stopped != NULL && shared->stopped());
}

/* Waits until another process lets go of the store. MMQ_ECLOSED: the role is ending. */
static mmq_err wait_for_lock(write_shared *shared, mmq_store_lock **lock, mmq_why *why)
{
    atomic_store(&shared->waits, true);
    mmq_log(MMQ_INFO, "standby: another process owns the store", MMQ_S("store", shared->store));
    for (;;) {
        if (is_ending(shared, STANDBY_POLL_MS)) {
            return mmq_fail(why, MMQ_ECLOSED, "stopped while waiting for the store");
        }
        mmq_err err = mmq_store_lock_try(shared->store, lock, why);
        if (err != MMQ_EBUSY) {
            atomic_store(&shared->waits, false);
            return err;
        }
    }
}

static void writer_destroy(void **context)
{
    write_thread *writer = *context;
    mmq_watchers_destroy(&writer->watchers);
    mmq_store_close(&writer->store);
    mmq_store_unlock(&writer->lock);
    free(writer);
    *context = NULL;
}

static void *writer_new(void *context, mmq_why *why)
{
    write_shared *shared = context;
    mmq_log_role("write");
    write_thread *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the write worker");
        return NULL;
    }
    writer->retention = mmq_retention_begin(shared->retain_days);
    writer->lock = shared->lock;
    shared->lock = NULL;
    mmq_err err = writer->lock == NULL ? wait_for_lock(shared, &writer->lock, why) : MMQ_OK;
    if (err == MMQ_OK) {
        err = mmq_write_store_open(shared->store, is_stopped, shared, &writer->store, why);
    }
    if (err == MMQ_OK) {
        writer->watchers = mmq_watchers_new(writer->store, why);
        err = writer->watchers != NULL ? MMQ_OK : MMQ_EUNAVAILABLE;
    }
    void *made = writer;
    if (err != MMQ_OK) {
        writer_destroy(&made);
    }
    return made;
}

/* ---- the role --------------------------------------------------------------------------- */

static void shared_destroy(void **shared_p)
{
    write_shared *shared = *shared_p;
    mmq_store_unlock(&shared->lock);
    if (shared->stop_fd >= 0) {
        (void)close(shared->stop_fd);
    }
    free(shared->store);
    free(shared);
    *shared_p = NULL;
}

static void shared_stop(void *context)
{
    write_shared *shared = context;
    (void)eventfd_write(shared->stop_fd, 1); /* cannot overflow: it is written once */
}

static const char *shared_waits(const void *context)
{
    const write_shared *shared = context;
    return atomic_load(&shared->waits) ? MMQ_SERVICE_WRITE
               ": standby, another process owns the store"
                                       : NULL;
}

/* MMQ_EBUSY: another process has the lock. */
static mmq_err shared_new(const mmq_worker_settings *settings, void **out, mmq_why *why)
{
    write_shared *shared = calloc(1, sizeof *shared);
    *out = shared;
    if (shared == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for the write worker");
    }
    shared->stop_fd = eventfd(0, EFD_CLOEXEC);
    shared->stopped = settings->stopped;
    shared->retain_days = settings->retain_days;
    shared->store = strdup(settings->store);
    if (shared->stop_fd < 0 || shared->store == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "cannot make the write worker: %s", strerror(errno));
    }
    return mmq_store_lock_try(settings->store, &shared->lock, why);
}

mmq_role *mmq_write_worker_new(const mmq_worker_settings *settings, bool wait, mmq_why *why)
{
    void *shared;
    mmq_err err = shared_new(settings, &shared, why);
    mmq_role_parts parts = {
        .worker = {.endpoint = settings->endpoint,
                   .curve = settings->curve,
                   .service = MMQ_SERVICE_WRITE,
                   .second = MMQ_SERVICE_WATCH,
                   .second_capacity = MMQ_WATCHERS_CAPACITY,
                   .threads = 1,
                   .capacity = settings->capacity != 0 ? settings->capacity : CAPACITY_DEFAULT,
                   .batch_max = GROUP_MAX,
                   .drain_ms = settings->drain_ms,
                   .thread_new = writer_new,
                   .thread_destroy = writer_destroy,
                   .handle = handle_requests,
                   .idle = idle},
        .standby = err == MMQ_EBUSY,
        .stop = shared_stop,
        .waits = shared_waits,
        .shared_destroy = shared_destroy,
    };
    mmq_role *role = NULL;
    if (err == MMQ_OK || (err == MMQ_EBUSY && wait)) {
        role = mmq_role_new(&parts, &shared, why);
    }
    if (shared != NULL) {
        shared_destroy(&shared);
    }
    return role;
}
