/* The thread looks through the spool when it is woken, when a job is due and every 30 s, for
 * another process of the spool may have died. What it remembers of a job is only when to try it
 * next; all else is in the manifest, so that a restart forgets nothing. The list of the spool is
 * sorted, as is the one of the pass before, from which the due times are carried over. */
#include "workers/spool/uploader.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/files.h"

enum { WAIT_LEAST_MS = 100, WAIT_MOST_MS = 300 * 1000 };

#define HOPELESS_NS (300 * MMQ_NS_PER_S) /* a job that could not be looked at, or was put aside */
#define OWNED_NS    (1 * MMQ_NS_PER_S)   /* a job with another owner is looked at again */
#define LOOK_NS     (30 * MMQ_NS_PER_S)

/* A job of the spool and when to try it. */
struct plan {
    mmq_job_name name;
    int64_t due_ns;
};

struct mmq_uploader {
    mmq_spool *spool;
    mmq_target *target;
    pthread_t thread;
    int wake; /* eventfd */
    atomic_bool stopping;
    struct plan *plans; /* ascending by name; the thread's own */
    size_t count;
    /* Guards last_error alone, which work threads read: a text is no atomic. */
    pthread_mutex_t mutex;
    mmq_why last_error;
};

int64_t mmq_delivery_wait_ns(int64_t attempts)
{
    const int64_t before = attempts > 1 ? attempts - 1 : 0;
    return mmq_backoff_ns(before < UINT_MAX ? (unsigned)before : UINT_MAX, WAIT_LEAST_MS,
                          WAIT_MOST_MS);
}

mmq_err mmq_job_deliver(mmq_job **job, mmq_target *target, const mmq_watch *watch, mmq_why *why)
{
    const mmq_manifest *manifest = mmq_job_manifest(*job);
    mmq_setback setback;
    int fd = -1;
    mmq_err err = mmq_job_open(*job, &fd, why);
    if (err == MMQ_OK) {
        const mmq_object object = {manifest->key, manifest->uid, fd, &manifest->sums};
        err = mmq_target_put(target, &object, watch, &setback, why);
        mmq_fd_close(&fd);
    }
    if (err == MMQ_OK) {
        mmq_log(MMQ_INFO, "dump delivered", MMQ_S("key", manifest->key),
                MMQ_I("bytes", manifest->sums.size_bytes));
        mmq_why left = {""};
        if (mmq_job_remove(job, &left) != MMQ_OK) { /* it will be delivered again, to one object */
            mmq_log(MMQ_WARN, "delivered dump stays in the spool", MMQ_S("error", left.text));
        }
    } else if (err == MMQ_ECORRUPT) {
        mmq_job_quarantine(job, why);
    }
    return err;
}

/* ---- the thread ------------------------------------------------------------------------- */

static mmq_err tick(void *context, const char *stage, int64_t done, int64_t total, mmq_why *why)
{
    mmq_uploader *uploader = context;
    (void)stage;
    (void)done;
    (void)total;
    return atomic_load(&uploader->stopping) ? mmq_fail(why, MMQ_ECLOSED, "being stopped") : MMQ_OK;
}

static void set_error(mmq_uploader *uploader, const mmq_why *why)
{
    pthread_mutex_lock(&uploader->mutex);
    uploader->last_error = *why;
    pthread_mutex_unlock(&uploader->mutex);
}

/* Counts the failure; returns how long to wait. */
static int64_t handle_failure(mmq_uploader *uploader, mmq_job *job, const mmq_why *why)
{
    mmq_why saved = {""};
    if (mmq_job_failed(job, &saved) != MMQ_OK) {
        mmq_log(MMQ_WARN, "cannot count a failed delivery", MMQ_S("error", saved.text));
    }
    const mmq_manifest *manifest = mmq_job_manifest(job);
    mmq_log(MMQ_WARN, "delivery failed", MMQ_S("key", manifest->key), MMQ_S("reason", why->text),
            MMQ_I("attempts", manifest->attempts));
    set_error(uploader, why);
    return mmq_delivery_wait_ns(manifest->attempts);
}

/* Tries one job; returns how long to leave it alone. */
static int64_t try_job(mmq_uploader *uploader, const char *name)
{
    const mmq_watch watch = {tick, uploader};
    mmq_why why = {""};
    mmq_job *job;
    mmq_err err = mmq_job_take(uploader->spool, name, &job, &why);
    if (err != MMQ_OK) {
        return err == MMQ_EBUSY || err == MMQ_ENOTFOUND ? OWNED_NS : HOPELESS_NS;
    }
    int64_t wait_ns = OWNED_NS;
    err = mmq_job_deliver(&job, uploader->target, &watch, &why);
    if (err == MMQ_OK) {
        set_error(uploader, &why);
    } else if (err == MMQ_ECORRUPT) {
        wait_ns = HOPELESS_NS;
    } else if (err != MMQ_ECLOSED) {
        wait_ns = handle_failure(uploader, job, &why);
    }
    if (job != NULL) {
        mmq_job_close(&job);
    }
    return wait_ns;
}

static int compare_plans(const void *a, const void *b)
{
    return strcmp(((const struct plan *)a)->name.text, ((const struct plan *)b)->name.text);
}

/* Puts the spool's names in place of the plans. A name that is new is due at once. */
static mmq_err take_names(mmq_uploader *uploader, const mmq_job_name *names, size_t count,
                          mmq_why *why)
{
    struct plan *plans = calloc(count + 1, sizeof *plans);
    if (plans == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for the spool's jobs");
    }
    for (size_t i = 0; i < count; i++) {
        plans[i].name = names[i];
        const struct plan *known = uploader->count == 0
                                       ? NULL
                                       : bsearch(&plans[i], uploader->plans, uploader->count,
                                                 sizeof *plans, compare_plans);
        plans[i].due_ns = known != NULL ? known->due_ns : mmq_now_ns();
    }
    free(uploader->plans);
    uploader->plans = plans;
    uploader->count = count;
    return MMQ_OK;
}

static mmq_err look_into_spool(mmq_uploader *uploader, mmq_why *why)
{
    mmq_job_name *names = NULL;
    size_t count = 0;
    mmq_err err = mmq_spool_sweep(uploader->spool, why);
    if (err == MMQ_OK) {
        err = mmq_spool_list(uploader->spool, &names, &count, why);
    }
    if (err == MMQ_OK) {
        err = take_names(uploader, names, count, why);
    }
    free(names);
    return err;
}

/* Tries what is due; returns the nanoseconds to the next look. */
static int64_t make_pass(mmq_uploader *uploader)
{
    mmq_why why = {""};
    int64_t wait_ns = LOOK_NS;
    if (look_into_spool(uploader, &why) != MMQ_OK) {
        mmq_log(MMQ_ERROR, "the spool cannot be read", MMQ_S("reason", why.text));
        set_error(uploader, &why);
        return wait_ns;
    }
    for (size_t i = 0; i < uploader->count && !atomic_load(&uploader->stopping); i++) {
        struct plan *plan = &uploader->plans[i];
        if (plan->due_ns <= mmq_now_ns()) {
            plan->due_ns = mmq_now_ns() + try_job(uploader, plan->name.text);
        }
        const int64_t left_ns = plan->due_ns - mmq_now_ns();
        wait_ns = left_ns < wait_ns ? left_ns : wait_ns;
    }
    return wait_ns > MMQ_NS_PER_MS ? wait_ns : MMQ_NS_PER_MS;
}

static void wait_for_wake(mmq_uploader *uploader, int64_t wait_ns)
{
    struct pollfd descriptor = {.fd = uploader->wake, .events = POLLIN};
    uint64_t times;
    if (poll(&descriptor, 1, (int)(wait_ns / MMQ_NS_PER_MS) + 1) > 0) {
        (void)!read(uploader->wake, &times, sizeof times);
    }
}

static void *run(void *context)
{
    mmq_uploader *uploader = context;
    mmq_log_role("feedback");
    while (!atomic_load(&uploader->stopping)) {
        wait_for_wake(uploader, make_pass(uploader));
    }
    return NULL;
}

/* ---- from other threads ----------------------------------------------------------------- */

mmq_uploader *mmq_uploader_new(mmq_spool *spool, mmq_target *target, mmq_why *why)
{
    mmq_uploader *uploader = calloc(1, sizeof *uploader);
    if (uploader == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the uploads");
        return NULL;
    }
    uploader->spool = spool;
    uploader->target = target;
    atomic_init(&uploader->stopping, false);
    uploader->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (uploader->wake < 0) {
        (void)mmq_files_fail(why, errno, "make", "an eventfd");
        free(uploader);
        return NULL;
    }
    pthread_mutex_init(&uploader->mutex, NULL);
    const int error = pthread_create(&uploader->thread, NULL, run, uploader);
    if (error != 0) {
        (void)mmq_files_fail(why, error, "start", "the thread of uploads");
        pthread_mutex_destroy(&uploader->mutex);
        mmq_fd_close(&uploader->wake);
        free(uploader);
        return NULL;
    }
    return uploader;
}

void mmq_uploader_wake(mmq_uploader *uploader)
{
    const uint64_t once = 1;
    (void)!write(uploader->wake, &once, sizeof once); /* full means: it is woken already */
}

void mmq_uploader_error(mmq_uploader *uploader, mmq_why *out)
{
    pthread_mutex_lock(&uploader->mutex);
    *out = uploader->last_error;
    pthread_mutex_unlock(&uploader->mutex);
}

void mmq_uploader_destroy(mmq_uploader **uploader_p)
{
    mmq_uploader *uploader = *uploader_p;
    if (uploader == NULL) {
        return;
    }
    atomic_store(&uploader->stopping, true);
    mmq_uploader_wake(uploader);
    pthread_join(uploader->thread, NULL);
    pthread_mutex_destroy(&uploader->mutex);
    mmq_fd_close(&uploader->wake);
    free(uploader->plans);
    free(uploader);
    *uploader_p = NULL;
}
