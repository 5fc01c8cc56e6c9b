/* A call's time is the request's; what is left of it decides how long to wait for others, how often
 * to try, and when the rest is left to the background. The store is opened for each dump, so that
 * one that vanished or was restored is noticed. */
#include "workers/dump_call.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "metricmq/pack.h"
#include "workers/dump_archive.h"
#include "workers/spool/delivery.h"

enum {
    ATTEMPTS = 3,      /* deliveries at once */
    PAUSE_MS = 20,     /* waits look this often whether they must end */
    PROGRESS_MS = 200, /* between two PARTIALs */
    ROOM_MS = 200,     /* between two looks at the spool's room, */
    ROOM_SHARE = 16,   /* which take not more than this part of the time */
    TAKE_TRIES = 3,
    SILENCE_MS = 10000,             /* of the store's server */
    NEARLY_BYTES = 4 * 1024 * 1024, /* more than an archive grows by at once */
};

/* ---- watching --------------------------------------------------------------------------- */

static mmq_err send_progress(mmq_dump_call *call, const char *stage, int64_t done, int64_t total)
{
    mmq_buffer map;
    mmq_frame frame;
    mmq_buffer_init(&map, 1024);
    mmq_frame_init(&frame);
    mmq_pack_map(&map, 3);
    mmq_pack_cstr(&map, "stage");
    mmq_pack_cstr(&map, stage);
    mmq_pack_cstr(&map, "done");
    mmq_pack_int(&map, done);
    mmq_pack_cstr(&map, "total");
    mmq_pack_int(&map, total);
    mmq_err err = mmq_buffer_to_frame(&map, &frame);
    if (err == MMQ_OK) {
        err = mmq_request_partial(call->request, NULL, &frame);
    }
    mmq_frame_close(&frame);
    mmq_buffer_clear(&map);
    return err;
}

static mmq_err check_time(const mmq_dump_call *call, int64_t reserve_ns, mmq_why *why)
{
    if (mmq_request_stopping(call->request)) {
        return mmq_fail(why, MMQ_ECLOSED, "the worker is being stopped");
    }
    return mmq_request_left_ns(call->request) > reserve_ns
               ? MMQ_OK
               : mmq_fail(why, MMQ_ETIMEOUT, "the dump was not finished in time");
}

static mmq_err tick(mmq_dump_call *call, int64_t reserve_ns, const char *stage, int64_t done,
                    int64_t total, mmq_why *why)
{
    mmq_err err = check_time(call, reserve_ns, why);
    const bool another = call->stage == NULL || strcmp(call->stage, stage) != 0;
    if (err == MMQ_OK && call->dump.progress && (another || mmq_now_ns() >= call->progress_ns)) {
        call->stage = stage;
        call->progress_ns = mmq_now_ns() + PROGRESS_MS * MMQ_NS_PER_MS;
        err = send_progress(call, stage, done, total);
        if (err != MMQ_OK) {
            err = mmq_fail(why, err, "the progress cannot be sent");
        }
    }
    return err;
}

/* Others may fill the spool while this archive grows. */
static mmq_err check_room(mmq_dump_call *call, mmq_why *why)
{
    const int64_t start_ns = mmq_now_ns();
    if (call->building == NULL || start_ns < call->room_ns) {
        return MMQ_OK;
    }
    mmq_err err = mmq_job_room(call->building, why);
    const int64_t end_ns = mmq_now_ns();
    call->room_ns = end_ns + ROOM_MS * MMQ_NS_PER_MS + ROOM_SHARE * (end_ns - start_ns);
    return err;
}

/* Whatever steps the archive is made in: to those who watch it is one stage. */
static mmq_err tick_build(void *context, const char *stage, int64_t done, int64_t total,
                          mmq_why *why)
{
    (void)stage;
    mmq_err err = tick(context, 0, "build", done, total, why);
    return err == MMQ_OK ? check_room(context, why) : err;
}

static mmq_err tick_upload(void *context, const char *stage, int64_t done, int64_t total,
                           mmq_why *why)
{
    (void)stage;
    mmq_dump_call *call = context;
    mmq_err err = tick(call, call->reserve_ns, "upload", done, total, why);
    call->broken_off = err != MMQ_OK;
    return err;
}

/* Waits; an error if the call's time for waiting is over before. */
static mmq_err wait_ns(mmq_dump_call *call, int64_t wait)
{
    const int64_t end_ns = mmq_now_ns() + wait;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && mmq_now_ns() < end_ns) {
        const struct timespec pause = {.tv_nsec = PAUSE_MS * MMQ_NS_PER_MS};
        nanosleep(&pause, NULL);
        err = check_time(call, call->reserve_ns, &call->why);
    }
    return err;
}

/* ---- building --------------------------------------------------------------------------- */

static void fill_manifest(const mmq_dump_call *call, mmq_manifest *out)
{
    const mmq_dump *dump = &call->dump;
    *out = (mmq_manifest){.created = dump->created};
    memcpy(out->uid, dump->uid, sizeof out->uid);
    memcpy(out->server_id, call->feedback->server_id, sizeof out->server_id);
    memcpy(out->digest, dump->digest, sizeof out->digest);
    memcpy(out->key, call->key, sizeof out->key);
}

/* The archive grew to what was left when it was begun: says what that is, and what to do. */
static void explain_full(mmq_dump_call *call, const mmq_job *job, int64_t bytes_max)
{
    struct stat status;
    if (fstat(mmq_job_archive(job), &status) == 0 && status.st_size + NEARLY_BYTES > bytes_max) {
        mmq_why_set(&call->why,
                    "the spool has no room for this archive: of --spool-max %lld bytes were left; "
                    "`metricmq spool list` says what fills it",
                    (long long)bytes_max);
    }
}

static mmq_err fill_job(mmq_dump_call *call, mmq_store *store, mmq_job *job, int64_t bytes_max)
{
    const mmq_archive_order order = {
        .store = store,
        .dump = &call->dump,
        .server_id = call->feedback->server_id,
        .level = call->feedback->archive_level,
        .bytes_max = bytes_max,
        .watch = {tick_build, call},
    };
    mmq_manifest manifest;
    fill_manifest(call, &manifest);
    call->building = job;
    mmq_err err = tick_build(call, "build", 0, 0, &call->why); /* at least once */
    if (err == MMQ_OK) {
        err = mmq_archive_build(&order, mmq_job_archive(job), &manifest.sums, &call->why);
    }
    call->building = NULL;
    if (err == MMQ_EBUSY && mmq_job_room(job, &call->why) == MMQ_OK) {
        explain_full(call, job, bytes_max);
    }
    if (err == MMQ_OK) {
        err = mmq_job_commit(job, &manifest, &call->why);
    }
    mmq_manifest_clear(&manifest);
    return err;
}

/* What was not committed is removed, or else swept at the next start. */
static mmq_err build_from(mmq_dump_call *call, mmq_store *store, mmq_job **out)
{
    mmq_job *job;
    int64_t bytes_max;
    mmq_err err = mmq_job_begin(call->feedback->spool, &job, &bytes_max, &call->why);
    if (err != MMQ_OK) {
        return err;
    }
    err = fill_job(call, store, job, bytes_max);
    if (err == MMQ_OK) {
        *out = job;
        return MMQ_OK;
    }
    mmq_why why = {""};
    if (mmq_job_remove(&job, &why) != MMQ_OK) {
        mmq_log(MMQ_WARN, "a half-built dump stays in the spool", MMQ_S("reason", why.text));
    }
    return err;
}

/* A store that is not there is not the metric that is not there: 503. */
static mmq_err build_job(mmq_dump_call *call, mmq_job **out)
{
    mmq_store *store;
    mmq_err err = mmq_store_open(call->feedback->store, MMQ_STORE_READ, &store, &call->why);
    if (err != MMQ_OK) {
        return MMQ_EUNAVAILABLE;
    }
    mmq_metric_head head;
    mmq_snapshot snapshot;
    mmq_store_hurry(store, SILENCE_MS);
    err = mmq_store_begin_read(store, &snapshot, &call->why);
    if (err == MMQ_OK) {
        err = mmq_store_find(store, call->dump.uid, &head, &call->why);
        mmq_store_end_read(store);
    }
    if (err == MMQ_ENOTFOUND) {
        err = mmq_fail(&call->why, err, "Metric not found: %s", call->dump.uid);
    }
    if (err == MMQ_OK) {
        err = build_from(call, store, out);
    }
    mmq_store_close(&store);
    return err;
}

/* ---- delivering ------------------------------------------------------------------------- */

/* Whoever has the job says under which key. */
static void look_at_key(mmq_dump_call *call)
{
    mmq_manifest manifest;
    mmq_why why;
    if (mmq_spool_peek(call->feedback->spool, call->dump.name, &manifest, &why) == MMQ_OK) {
        memcpy(call->key, manifest.key, sizeof call->key);
        mmq_manifest_clear(&manifest);
    }
}

/* Takes the job from the spool, waiting for its owner as long as the call may: MMQ_EBUSY. If he
 * delivered it meanwhile there is nothing left to do: MMQ_EEND. */
static mmq_err take_job(mmq_dump_call *call, mmq_job **out)
{
    bool waited = false;
    mmq_err err;
    while ((err = mmq_job_take(call->feedback->spool, call->dump.name, out, &call->why)) ==
           MMQ_EBUSY) {
        if (!waited) {
            look_at_key(call);
        }
        waited = true;
        if (wait_ns(call, PAUSE_MS * MMQ_NS_PER_MS) != MMQ_OK) {
            return err;
        }
    }
    return err == MMQ_ENOTFOUND && waited &&
                   mmq_spool_was_delivered(call->feedback->spool, call->dump.name, call->start_ns)
               ? MMQ_EEND
               : err;
}

mmq_err mmq_dump_call_job(mmq_dump_call *call, mmq_job **out)
{
    mmq_err err = MMQ_ECONFLICT;
    for (int i = 0; i < TAKE_TRIES && err == MMQ_ECONFLICT; i++) {
        err = take_job(call, out);
        if (err == MMQ_ENOTFOUND || err == MMQ_ECORRUPT) {
            err = build_job(call, out); /* MMQ_ECONFLICT: another call was faster */
            err = err == MMQ_EBUSY ? MMQ_EUNAVAILABLE : err; /* full or locked: it is nobody's */
        }
    }
    return err;
}

mmq_err mmq_dump_call_deliver(mmq_dump_call *call, mmq_job **job)
{
    const mmq_watch watch = {tick_upload, call};
    mmq_setback setback;
    mmq_err err = MMQ_OK;
    for (int attempt = 1; attempt <= ATTEMPTS; attempt++) {
        err = mmq_job_deliver(job, call->feedback->target, &watch, &setback, &call->why);
        if (*job == NULL || call->broken_off) {
            return err;
        }
        const int64_t pause_ns = mmq_delivery_failed(*job, &setback, &call->why);
        const int64_t left_ns = mmq_request_left_ns(call->request) - call->reserve_ns;
        if (setback.kind != MMQ_SETBACK_PASSING || attempt == ATTEMPTS || pause_ns >= left_ns ||
            wait_ns(call, pause_ns) != MMQ_OK) {
            return err;
        }
    }
    return err;
}
