/* One schedule, guarded by one mutex; delivery threads take what is due first, and one thread keeps
 * the lookout:
 *
 *     lookout     sweeps the spool and compares the schedule with it, at the start and every 30 s;
 *                 between that, inotify tells it of jobs that others committed or made due
 *     deliveries  take a job, look at its manifest and deliver it, or leave it for later
 *
 * The manifest decides when a job is tried, so that several processes keep one schedule and a
 * restart forgets nothing; a plan is but a memory of it: `planned_ms` is the manifest's time that
 * `due_ns` was made of. A job that is taken when it is due, but whose manifest names another time
 * than was planned, was tried by somebody else meanwhile, and is planned anew. (A time far ahead,
 * since a clock jumped, is cut to 5 minutes; it is the one that was planned, so then it is tried.)
 *
 * A job whose owner is somebody else is looked at once a second: owners die without a word. */
#include "workers/spool/uploader.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/files.h"
#include "lib/log.h"
#include "lib/process.h"
#include "workers/spool/folder.h"
#include "workers/spool/schedule.h"

enum { NOT_PLANNED = -1 };

#define HELD_MS INT64_MAX /* planned_ms of a job that is held */
#define HOPELESS_NS                                                                                \
    (300 * MMQ_NS_PER_S)             /* a job that is no good and found no room in quarantine      \
                                      */
#define FAULT_NS (10 * MMQ_NS_PER_S) /* a job that could not be looked at */
#define OWNED_NS (1 * MMQ_NS_PER_S)  /* a job with another owner is looked at again */
#define LOOK_NS  (30 * MMQ_NS_PER_S)
#define BLIND_NS (1 * MMQ_NS_PER_S) /* between looks where there is no inotify */

struct mmq_uploader {
    mmq_spool *spool;
    mmq_target *target;
    char *ours;  /* prefix of keys; NULL */
    int wake;    /* eventfd: the lookout looks at once */
    int inotify; /* of the spool's folder; -1: there is none */
    atomic_bool stopping;
    pthread_t lookout;
    pthread_t threads[MMQ_UPLOADS_MAX];
    unsigned uploads, started; /* threads wanted, and those there are */
    bool looking;              /* the lookout was started */
    /* Guards all below: the threads pick from one schedule. */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* the schedule, or that it is to stop */
    mmq_schedule schedule;
    uint64_t pass; /* looks into the spool so far */
    bool looked;   /* one of them has succeeded */
    mmq_why last_error;
    int64_t sweep_due_ns; /* of the target; MMQ_NEVER_NS: done, or somebody is at it */
    int64_t sweeps;       /* that failed */
};

/* What became of a try, and when to look again. */
struct outcome {
    bool gone;
    int64_t due_ns, planned_ms;
};

/* ---- one try ---------------------------------------------------------------------------- */

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

static int64_t after(int64_t wait_ns)
{
    return wait_ns == MMQ_NEVER_NS ? MMQ_NEVER_NS : mmq_now_ns() + wait_ns;
}

static int64_t time_of(const mmq_manifest *manifest)
{
    return manifest->state == MMQ_JOB_HELD ? HELD_MS : manifest->next_attempt_ms;
}

/* Is it to be tried now? At the start all jobs are that do not just wait. */
static bool is_due(const mmq_plan *plan, const mmq_manifest *manifest)
{
    return mmq_delivery_due_ns(manifest) == 0 || time_of(manifest) == plan->planned_ms ||
           (plan->at_start && manifest->state != MMQ_JOB_WAITING);
}

static struct outcome deliver(mmq_uploader *uploader, mmq_job **job)
{
    const mmq_watch watch = {tick, uploader};
    mmq_setback setback;
    mmq_why why = {""};
    struct outcome outcome = {.gone = true};
    mmq_err err = mmq_job_deliver(job, uploader->target, &watch, &setback, &why);
    if (*job == NULL) { /* delivered, or put aside */
        set_error(uploader, &why);
        if (err == MMQ_ECORRUPT) { /* it may have found no room in quarantine, and still be there */
            return (struct outcome){.due_ns = after(HOPELESS_NS), .planned_ms = NOT_PLANNED};
        }
        return outcome;
    }
    outcome.gone = false;
    if (err == MMQ_ECLOSED && atomic_load(&uploader->stopping)) {
        return outcome;
    }
    outcome.due_ns = after(mmq_delivery_failed(*job, &setback, &why));
    outcome.planned_ms = time_of(mmq_job_manifest(*job));
    set_error(uploader, &why);
    return outcome;
}

static struct outcome not_taken(mmq_err err, const mmq_plan *plan, const mmq_why *why)
{
    if (err == MMQ_EBUSY) { /* its owner says when */
        return (struct outcome){.due_ns = after(OWNED_NS), .planned_ms = NOT_PLANNED};
    }
    if (err == MMQ_ECORRUPT) {
        return (struct outcome){.due_ns = after(HOPELESS_NS), .planned_ms = plan->planned_ms};
    }
    if (err != MMQ_ENOTFOUND) {
        mmq_log(MMQ_WARN, "a job cannot be looked at", MMQ_S("job", plan->name.text),
                MMQ_S("reason", why->text));
    }
    return (struct outcome){
        .gone = err == MMQ_ENOTFOUND, .due_ns = after(FAULT_NS), .planned_ms = plan->planned_ms};
}

static struct outcome try_job(mmq_uploader *uploader, const mmq_plan *plan)
{
    mmq_why why = {""};
    mmq_job *job;
    mmq_err err = mmq_job_take(uploader->spool, plan->name.text, &job, &why);
    if (err != MMQ_OK) {
        return not_taken(err, plan, &why);
    }
    const mmq_manifest *manifest = mmq_job_manifest(job);
    struct outcome outcome = {.due_ns = after(mmq_delivery_due_ns(manifest)),
                              .planned_ms = time_of(manifest)};
    if (is_due(plan, manifest)) {
        outcome = deliver(uploader, &job);
    }
    if (job != NULL) {
        mmq_job_close(&job);
    }
    return outcome;
}

/* ---- the target's leftovers ------------------------------------------------------------- */

static bool is_wanted(void *context, const char *key)
{
    return mmq_spool_has_key(context, key);
}

/* When to sweep the target again. */
static int64_t sweep_target(mmq_uploader *uploader, int64_t failures)
{
    const mmq_watch watch = {tick, uploader};
    const mmq_setback setback = {MMQ_SETBACK_SETTINGS, 0};
    mmq_why why = {""};
    mmq_err err = mmq_target_sweep(uploader->target, uploader->ours, is_wanted, uploader->spool,
                                   &watch, &why);
    if (err == MMQ_OK) {
        mmq_log(MMQ_INFO, "looked for what was left half delivered",
                MMQ_S("prefix", uploader->ours));
    } else if (!atomic_load(&uploader->stopping)) {
        mmq_log(failures == 0 ? MMQ_WARN : MMQ_DEBUG,
                "cannot look for what was left half delivered", MMQ_S("prefix", uploader->ours),
                MMQ_S("reason", why.text));
    }
    return err == MMQ_OK ? MMQ_NEVER_NS : after(mmq_delivery_wait_ns(&setback, failures));
}

/* ---- delivery threads; the mutex is held but while they work ----------------------------- */

static void wait_until(mmq_uploader *uploader, int64_t due_ns)
{
    if (due_ns == MMQ_NEVER_NS) {
        pthread_cond_wait(&uploader->changed, &uploader->mutex);
        return;
    }
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end); /* mmq_now_ns may be shifted */
    const int64_t left_ns = due_ns - mmq_now_ns();
    const int64_t sum_ns = end.tv_nsec + (left_ns > 0 ? left_ns : 0);
    end.tv_sec += (time_t)(sum_ns / MMQ_NS_PER_S);
    end.tv_nsec = (long)(sum_ns % MMQ_NS_PER_S);
    pthread_cond_timedwait(&uploader->changed, &uploader->mutex, &end);
}

static void run_sweep(mmq_uploader *uploader)
{
    const int64_t failures = uploader->sweeps;
    uploader->sweep_due_ns = MMQ_NEVER_NS;
    pthread_mutex_unlock(&uploader->mutex);
    const int64_t due_ns = sweep_target(uploader, failures);
    pthread_mutex_lock(&uploader->mutex);
    uploader->sweep_due_ns = due_ns;
    uploader->sweeps += due_ns != MMQ_NEVER_NS;
}

static void run_plan(mmq_uploader *uploader, mmq_plan *picked)
{
    picked->busy = true;
    picked->again = false;
    const mmq_plan plan = *picked; /* the schedule may move it */
    pthread_mutex_unlock(&uploader->mutex);
    const struct outcome outcome = try_job(uploader, &plan);
    pthread_mutex_lock(&uploader->mutex);
    picked = mmq_schedule_find(&uploader->schedule, plan.name.text); /* busy: it is there */
    if (outcome.gone && !picked->again) {
        mmq_schedule_remove(&uploader->schedule, picked);
        return;
    }
    picked->busy = false;
    picked->at_start = picked->at_start && outcome.planned_ms == NOT_PLANNED; /* not tried */
    picked->due_ns = picked->again ? mmq_now_ns() : outcome.due_ns;
    picked->planned_ms = picked->again ? NOT_PLANNED : outcome.planned_ms;
}

static void *run_deliveries(void *context)
{
    mmq_uploader *uploader = context;
    mmq_log_role("feedback");
    pthread_mutex_lock(&uploader->mutex);
    while (!atomic_load(&uploader->stopping)) {
        mmq_plan *plan = mmq_schedule_first(&uploader->schedule);
        const int64_t now_ns = mmq_now_ns();
        if (uploader->sweep_due_ns <= now_ns) {
            run_sweep(uploader);
        } else if (plan != NULL && plan->due_ns <= now_ns) {
            run_plan(uploader, plan);
        } else {
            const int64_t due_ns = plan != NULL ? plan->due_ns : MMQ_NEVER_NS;
            wait_until(uploader, due_ns < uploader->sweep_due_ns ? due_ns : uploader->sweep_due_ns);
        }
    }
    pthread_mutex_unlock(&uploader->mutex);
    return NULL;
}

/* ---- the lookout ------------------------------------------------------------------------ */

/* Somebody says that the job may want delivery; the mutex is held. */
static void hurry(mmq_uploader *uploader, const char *name, int64_t due_ns)
{
    bool made;
    mmq_plan *plan = mmq_schedule_get(&uploader->schedule, name, &made);
    if (plan == NULL) {
        return; /* no memory: the next look finds it */
    }
    plan->pass = uploader->pass;
    plan->again = plan->busy;
    if (made || due_ns < plan->due_ns) {
        plan->due_ns = due_ns;
    }
    plan->planned_ms = NOT_PLANNED;
    pthread_cond_broadcast(&uploader->changed);
}

/* Puts the spool's names into the schedule; the mutex is held. */
static void take_names(mmq_uploader *uploader, const mmq_job_name *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool made;
        mmq_plan *plan = mmq_schedule_get(&uploader->schedule, names[i].text, &made);
        if (plan == NULL) {
            mmq_log(MMQ_ERROR, "no memory for the spool's jobs");
            return; /* and none is forgotten */
        }
        plan->pass = uploader->pass;
        if (made) {
            plan->due_ns = mmq_now_ns();
            plan->planned_ms = NOT_PLANNED;
            plan->at_start = !uploader->looked;
        }
    }
    mmq_schedule_forget(&uploader->schedule, uploader->pass);
    uploader->looked = true;
    pthread_cond_broadcast(&uploader->changed);
}

/* A job that waits may have been made due by somebody whose word was lost. */
static void compare_plan(mmq_uploader *uploader, const char *name)
{
    mmq_manifest manifest;
    mmq_why why;
    if (mmq_spool_peek(uploader->spool, name, &manifest, &why) != MMQ_OK) {
        return; /* whoever takes it will see */
    }
    pthread_mutex_lock(&uploader->mutex);
    mmq_plan *plan = mmq_schedule_find(&uploader->schedule, name);
    if (plan != NULL && !plan->busy && plan->due_ns > mmq_now_ns() &&
        plan->planned_ms != NOT_PLANNED && plan->planned_ms != time_of(&manifest)) {
        plan->due_ns = after(mmq_delivery_due_ns(&manifest));
        plan->planned_ms = time_of(&manifest);
        pthread_cond_broadcast(&uploader->changed);
    }
    pthread_mutex_unlock(&uploader->mutex);
    mmq_manifest_clear(&manifest);
}

static void look_into_spool(mmq_uploader *uploader)
{
    mmq_job_name *names = NULL;
    size_t count = 0;
    mmq_why why = {""};
    pthread_mutex_lock(&uploader->mutex);
    uploader->pass++; /* what is hurried from here on is not forgotten */
    pthread_mutex_unlock(&uploader->mutex);
    mmq_err err = mmq_spool_sweep(uploader->spool, &why);
    if (err == MMQ_OK) {
        err = mmq_spool_list(uploader->spool, &names, &count, &why);
    }
    if (err != MMQ_OK) {
        mmq_log(MMQ_ERROR, "the spool cannot be read", MMQ_S("reason", why.text));
        set_error(uploader, &why);
        return;
    }
    pthread_mutex_lock(&uploader->mutex);
    take_names(uploader, names, count);
    pthread_mutex_unlock(&uploader->mutex);
    for (size_t i = 0; i < count && !atomic_load(&uploader->stopping); i++) {
        compare_plan(uploader, names[i].text);
    }
    free(names);
}

/* A job that was just committed is still its builder's, who delivers it or says when he gives up;
 * one whose folder got new times is due now. True: what came is not all that there was. */
static bool take_event(mmq_uploader *uploader, const struct inotify_event *event)
{
    if ((event->mask & (IN_Q_OVERFLOW | IN_IGNORED)) != 0) {
        return true;
    }
    if (event->len > 0 && mmq_entry_kind_of(event->name) == MMQ_ENTRY_JOB) {
        pthread_mutex_lock(&uploader->mutex);
        hurry(uploader, event->name,
              (event->mask & IN_ATTRIB) != 0 ? mmq_now_ns() : after(OWNED_NS));
        pthread_mutex_unlock(&uploader->mutex);
    }
    return false;
}

static bool take_events(mmq_uploader *uploader)
{
    _Alignas(struct inotify_event) char room[4096];
    bool lost = false;
    ssize_t size;
    while ((size = read(uploader->inotify, room, sizeof room)) > 0) {
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *event = (const void *)(room + at);
            lost = take_event(uploader, event) || lost;
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    return lost;
}

/* Waits until it is time for the next look. */
static void keep_watch(mmq_uploader *uploader)
{
    const int64_t end_ns = mmq_now_ns() + (uploader->inotify >= 0 ? LOOK_NS : BLIND_NS);
    struct pollfd inputs[] = {{.fd = uploader->wake, .events = POLLIN},
                              {.fd = uploader->inotify, .events = POLLIN}};
    for (;;) {
        const int64_t left_ns = end_ns - mmq_now_ns();
        if (left_ns <= 0 || atomic_load(&uploader->stopping)) {
            return;
        }
        (void)poll(inputs, 2, (int)(left_ns / MMQ_NS_PER_MS) + 1);
        uint64_t times;
        if ((inputs[0].revents & POLLIN) != 0 &&
            read(uploader->wake, &times, sizeof times) == (ssize_t)sizeof times) {
            return;
        }
        if (inputs[1].revents != 0 && take_events(uploader)) {
            return;
        }
    }
}

static void *run_lookout(void *context)
{
    mmq_uploader *uploader = context;
    mmq_log_role("feedback");
    while (!atomic_load(&uploader->stopping)) {
        look_into_spool(uploader);
        keep_watch(uploader);
    }
    return NULL;
}

/* ---- from other threads ----------------------------------------------------------------- */

static void init_guards(mmq_uploader *uploader)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&uploader->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&uploader->mutex, NULL);
    atomic_init(&uploader->stopping, false);
}

/* Without inotify (its instances are limited) the spool is looked at more often. */
static void init_inotify(mmq_uploader *uploader)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", mmq_spool_folder(uploader->spool));
    uploader->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (uploader->inotify >= 0 &&
        inotify_add_watch(uploader->inotify, path, IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR) >= 0) {
        return;
    }
    mmq_why why;
    (void)!mmq_files_fail(&why, errno, "watch", "the spool");
    mmq_log(MMQ_WARN, "the spool is looked at every second", MMQ_S("reason", why.text));
    mmq_fd_close(&uploader->inotify);
}

static mmq_err start_threads(mmq_uploader *uploader, mmq_why *why)
{
    bool fine = mmq_thread_start(&uploader->lookout, run_lookout, uploader);
    uploader->looking = fine;
    while (fine && uploader->started < uploader->uploads) {
        fine = mmq_thread_start(&uploader->threads[uploader->started], run_deliveries, uploader);
        uploader->started += fine;
    }
    return fine ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "the threads of uploads do not start");
}

static mmq_err fill_uploader(mmq_uploader *uploader, const mmq_uploader_options *options,
                             mmq_why *why)
{
    uploader->spool = options->spool;
    uploader->target = options->target;
    uploader->uploads = options->uploads > 0 ? options->uploads : MMQ_UPLOADS;
    uploader->sweep_due_ns =
        options->ours != NULL && options->target->kind->sweep != NULL ? 0 : MMQ_NEVER_NS;
    if (uploader->uploads > MMQ_UPLOADS_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "there may be %d uploads at once", MMQ_UPLOADS_MAX);
    }
    if (options->ours != NULL && (uploader->ours = strdup(options->ours)) == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for the uploads");
    }
    uploader->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (uploader->wake < 0) {
        return mmq_files_fail(why, errno, "make", "an eventfd");
    }
    init_inotify(uploader);
    return start_threads(uploader, why);
}

mmq_uploader *mmq_uploader_new(const mmq_uploader_options *options, mmq_why *why)
{
    mmq_uploader *uploader = calloc(1, sizeof *uploader);
    if (uploader == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the uploads");
        return NULL;
    }
    uploader->wake = uploader->inotify = -1;
    init_guards(uploader);
    if (fill_uploader(uploader, options, why) != MMQ_OK) {
        mmq_uploader_destroy(&uploader);
    }
    return uploader;
}

static void wake_lookout(mmq_uploader *uploader)
{
    const uint64_t once = 1;
    (void)!write(uploader->wake, &once, sizeof once); /* full means: it is woken already */
}

void mmq_uploader_wake(mmq_uploader *uploader, const char *name)
{
    pthread_mutex_lock(&uploader->mutex);
    if (name != NULL) {
        hurry(uploader, name, mmq_now_ns());
    }
    pthread_cond_broadcast(&uploader->changed);
    pthread_mutex_unlock(&uploader->mutex);
    if (name == NULL) {
        wake_lookout(uploader);
    }
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
    pthread_mutex_lock(&uploader->mutex);
    atomic_store(&uploader->stopping, true);
    pthread_cond_broadcast(&uploader->changed);
    pthread_mutex_unlock(&uploader->mutex);
    wake_lookout(uploader);
    if (uploader->looking) {
        pthread_join(uploader->lookout, NULL);
    }
    for (unsigned i = 0; i < uploader->started; i++) {
        pthread_join(uploader->threads[i], NULL);
    }
    pthread_cond_destroy(&uploader->changed);
    pthread_mutex_destroy(&uploader->mutex);
    mmq_fd_close(&uploader->inotify);
    mmq_fd_close(&uploader->wake);
    mmq_schedule_clear(&uploader->schedule);
    free(uploader->ours);
    free(uploader);
    *uploader_p = NULL;
}
