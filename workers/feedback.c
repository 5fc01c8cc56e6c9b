/* The feedback worker: metric.feedback. A request for a dump goes through these steps, each of
 * which a crash may cut off without harm (docs/feedback.md):
 *
 *     its job is in the spool  -> take it
 *     else                     -> build the archive in the spool and commit it: now it is accepted
 *     then                     -> deliver it: 200; or leave it to the uploader: 202
 *
 * The spool and the target are shared by the work threads and the uploader's thread; the store is
 * opened for each dump, so that one that vanished or was restored is noticed. */
#include "workers/workers.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/fields.h"
#include "lib/log.h"
#include "lib/pack.h"
#include "metricmq/protocol.h"
#include "workers/dump_archive.h"
#include "lib/files.h"
#include "workers/role.h"
#include "workers/spool/uploader.h"

enum {
    CAPACITY = 16,
    ATTEMPTS = 3,      /* deliveries at once */
    KEEP_BACK = 10,    /* a tenth of a request's time is kept for its answer */
    PAUSE_MS = 20,     /* waits look this often whether they must end */
    PROGRESS_MS = 200, /* between two PARTIALs */
    TAKE_TRIES = 3,
};

struct feedback {
    int data_folder;
    char *store;
    mmq_spool *spool;
    mmq_target *target;
    mmq_uploader *uploader;
    char server_id[MMQ_SERVER_ID_MAX + 1];
};

/* One request under way. */
struct call {
    struct feedback *feedback;
    mmq_request *request;
    mmq_dump dump;
    int64_t reserve_ns;  /* of its time: with less left a delivery goes to the background */
    int64_t progress_ns; /* when the next PARTIAL may be sent */
    mmq_why why;
};

/* ---- watching --------------------------------------------------------------------------- */

static mmq_err send_progress(struct call *call, const char *stage, int64_t done, int64_t total)
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

static mmq_err check_time(const struct call *call, int64_t reserve_ns, mmq_why *why)
{
    if (mmq_request_stopping(call->request)) {
        return mmq_fail(why, MMQ_ECLOSED, "the worker is being stopped");
    }
    return mmq_request_left_ns(call->request) > reserve_ns
               ? MMQ_OK
               : mmq_fail(why, MMQ_ETIMEOUT, "the dump was not finished in time");
}

static mmq_err tick(struct call *call, int64_t reserve_ns, const char *stage, int64_t done,
                    int64_t total, mmq_why *why)
{
    mmq_err err = check_time(call, reserve_ns, why);
    if (err == MMQ_OK && call->dump.progress && mmq_now_ns() >= call->progress_ns) {
        call->progress_ns = mmq_now_ns() + PROGRESS_MS * MMQ_NS_PER_MS;
        err = send_progress(call, stage, done, total);
        if (err != MMQ_OK) {
            err = mmq_fail(why, err, "the progress cannot be sent");
        }
    }
    return err;
}

static mmq_err tick_build(void *context, const char *stage, int64_t done, int64_t total,
                          mmq_why *why)
{
    return tick(context, 0, stage, done, total, why);
}

static mmq_err tick_upload(void *context, const char *stage, int64_t done, int64_t total,
                           mmq_why *why)
{
    return tick(context, ((const struct call *)context)->reserve_ns, stage, done, total, why);
}

/* Waits; an error if the call's time for waiting is over before. */
static mmq_err wait_ns(struct call *call, int64_t wait)
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

static void fill_manifest(const struct call *call, mmq_manifest *out)
{
    const mmq_dump *dump = &call->dump;
    *out = (mmq_manifest){.created = dump->created};
    memcpy(out->uid, dump->uid, sizeof out->uid);
    memcpy(out->server_id, call->feedback->server_id, sizeof out->server_id);
    memcpy(out->digest, dump->digest, sizeof out->digest);
    mmq_dump_key(dump, mmq_target_prefix(call->feedback->target), call->feedback->server_id,
                 out->key);
}

static mmq_err fill_job(struct call *call, mmq_store *store, mmq_job *job, int64_t bytes_max)
{
    const mmq_archive_order order = {
        .store = store,
        .dump = &call->dump,
        .server_id = call->feedback->server_id,
        .bytes_max = bytes_max,
        .watch = {tick_build, call},
    };
    mmq_manifest manifest;
    fill_manifest(call, &manifest);
    mmq_err err = mmq_archive_build(&order, mmq_job_archive(job), &manifest.sums, &call->why);
    if (err == MMQ_OK) {
        err = mmq_job_commit(job, &manifest, &call->why);
    }
    return err;
}

/* What was not committed is removed, or else swept at the next start. */
static mmq_err build_from(struct call *call, mmq_store *store, mmq_job **out)
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
static mmq_err build_job(struct call *call, mmq_job **out)
{
    mmq_store *store;
    mmq_err err = mmq_store_open(call->feedback->store, MMQ_STORE_READ, &store, &call->why);
    if (err != MMQ_OK) {
        return MMQ_EUNAVAILABLE;
    }
    mmq_metric_head head;
    mmq_snapshot snapshot;
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

/* The job of the call, taken from the spool or built. MMQ_EBUSY: it is in the spool, but somebody
 * else had it for as long as this call could wait. */
static mmq_err get_job(struct call *call, mmq_job **out)
{
    mmq_err err = MMQ_ECONFLICT;
    for (int i = 0; i < TAKE_TRIES && err == MMQ_ECONFLICT; i++) {
        while ((err = mmq_job_take(call->feedback->spool, call->dump.name, out, &call->why)) ==
               MMQ_EBUSY) {
            if (wait_ns(call, PAUSE_MS * MMQ_NS_PER_MS) != MMQ_OK) {
                return MMQ_EBUSY;
            }
        }
        if (err == MMQ_ENOTFOUND || err == MMQ_ECORRUPT) {
            err = build_job(call, out); /* MMQ_ECONFLICT: another call was faster */
        }
    }
    return err;
}

/* Tries to deliver until the attempts or the time are used up. *job is NULL when it is done. */
static mmq_err deliver_now(struct call *call, mmq_job **job)
{
    const mmq_watch watch = {tick_upload, call};
    mmq_err err = MMQ_OK;
    for (int attempt = 1; attempt <= ATTEMPTS; attempt++) {
        err = mmq_job_deliver(job, call->feedback->target, &watch, &call->why);
        if (*job == NULL || err == MMQ_ETIMEOUT || err == MMQ_ECLOSED) {
            return err;
        }
        mmq_why why = {""};
        mmq_log(MMQ_WARN, "delivery failed", MMQ_S("key", mmq_job_manifest(*job)->key),
                MMQ_S("reason", call->why.text), MMQ_I("attempts", attempt));
        if (mmq_job_failed(*job, &why) != MMQ_OK) {
            mmq_log(MMQ_WARN, "cannot count a failed delivery", MMQ_S("error", why.text));
        }
        if (attempt < ATTEMPTS && wait_ns(call, mmq_delivery_wait_ns(attempt)) != MMQ_OK) {
            return err;
        }
    }
    return err;
}

/* ---- answers ---------------------------------------------------------------------------- */

static mmq_err send_map(struct call *call, int status, mmq_buffer *map)
{
    mmq_frame frame;
    mmq_frame_init(&frame);
    mmq_err err = mmq_buffer_to_frame(map, &frame);
    if (err != MMQ_OK) {
        return mmq_fail(&call->why, err, "no memory for the answer");
    }
    mmq_request_final(&call->request, &(mmq_final){.status = status, .rows = -1}, &frame);
    return MMQ_OK;
}

static mmq_err send_key(struct call *call, int status, const char *key)
{
    mmq_buffer map;
    mmq_buffer_init(&map, 2 * MMQ_OBJECT_KEY_MAX);
    mmq_pack_map(&map, 1);
    mmq_pack_cstr(&map, "key");
    mmq_pack_cstr(&map, key);
    mmq_err err = send_map(call, status, &map);
    mmq_buffer_clear(&map);
    return err;
}

/* The key of a job that is in the spool is its manifest's, whatever the settings are today. */
static mmq_err run_dump(struct call *call)
{
    char key[MMQ_OBJECT_KEY_MAX + 1];
    mmq_job *job = NULL;
    mmq_err err = get_job(call, &job);
    if (err == MMQ_EBUSY && mmq_request_left_ns(call->request) <= call->reserve_ns) {
        mmq_dump_key(&call->dump, mmq_target_prefix(call->feedback->target),
                     call->feedback->server_id, key);
        return send_key(call, 202, key);
    }
    if (err != MMQ_OK) {
        return err;
    }
    memcpy(key, mmq_job_manifest(job)->key, sizeof key);
    err = deliver_now(call, &job);
    if (err == MMQ_ECORRUPT) {
        return err; /* the job was put aside: not accepted */
    }
    if (job != NULL) {
        mmq_job_close(&job);
        mmq_uploader_wake(call->feedback->uploader);
    }
    return send_key(call, err == MMQ_OK ? 200 : 202, key);
}

static mmq_err answer_dump(struct call *call, const void *body, size_t size)
{
    mmq_err err = mmq_dump_read(body, size, &call->dump, &call->why);
    if (err == MMQ_OK) {
        err = run_dump(call);
    }
    mmq_dump_clear(&call->dump);
    return err;
}

static mmq_err answer_spool(struct call *call, const void *body, size_t size)
{
    mmq_spool_counts counts;
    mmq_err err = mmq_fields_read(body, size, NULL, 0, NULL, &call->why);
    if (err == MMQ_OK) {
        err = mmq_spool_count(call->feedback->spool, &counts, &call->why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    mmq_why last;
    mmq_buffer map;
    mmq_uploader_error(call->feedback->uploader, &last);
    mmq_buffer_init(&map, 1024);
    mmq_pack_map(&map, 5);
    mmq_pack_cstr(&map, "jobs");
    mmq_pack_int(&map, counts.jobs);
    mmq_pack_cstr(&map, "bytes");
    mmq_pack_int(&map, counts.bytes);
    mmq_pack_cstr(&map, "oldest_age_s");
    mmq_pack_int(&map, counts.oldest_age_s);
    mmq_pack_cstr(&map, "quarantined");
    mmq_pack_int(&map, counts.quarantined);
    mmq_pack_cstr(&map, "last_error");
    mmq_pack_cstr(&map, last.text[0] != '\0' ? last.text : NULL);
    err = send_map(call, 200, &map);
    mmq_buffer_clear(&map);
    return err;
}

static mmq_err answer(struct call *call)
{
    size_t size;
    const void *body = mmq_request_body(call->request, &size);
    const int64_t left_ns = mmq_request_left_ns(call->request);
    call->reserve_ns = left_ns / KEEP_BACK;
    if (left_ns <= 0) {
        return mmq_fail(&call->why, MMQ_ETIMEOUT, "the request came to a worker too late");
    }
    mmq_slice op;
    mmq_err err = mmq_fields_op(body, size, &op, &call->why);
    if (err != MMQ_OK) {
        return err;
    }
    if (mmq_slice_is(&op, "dump")) {
        return answer_dump(call, body, size);
    }
    return mmq_slice_is(&op, "spool")
               ? answer_spool(call, body, size)
               : mmq_fail(&call->why, MMQ_EINVAL, "op must be dump or spool");
}

/* What failed here is not the request's fault: 503, so that it is tried again. */
static void refuse(struct call *call, mmq_err err)
{
    const int status = mmq_err_status(err);
    const bool theirs = err == MMQ_EINVAL || err == MMQ_ENOTFOUND || err == MMQ_ETOOBIG;
    if (!theirs) {
        mmq_log(MMQ_WARN, "dump failed", MMQ_S("error", mmq_err_name(err)),
                MMQ_S("reason", call->why.text), MMQ_S("trace", mmq_request_trace(call->request)));
    }
    mmq_request_refuse(&call->request, theirs || status == 504 ? err : MMQ_EUNAVAILABLE,
                       &call->why);
}

static void handle(void *context, mmq_request **requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct call call = {.feedback = context, .request = requests[i]};
        requests[i] = NULL;
        mmq_err err = answer(&call);
        if (err != MMQ_OK) {
            refuse(&call, err);
        }
    }
}

/* ---- the worker ------------------------------------------------------------------------- */

static void feedback_destroy(void **shared)
{
    struct feedback *feedback = *shared;
    if (feedback == NULL) {
        return;
    }
    mmq_uploader_destroy(&feedback->uploader);
    mmq_target_destroy(&feedback->target);
    mmq_spool_destroy(&feedback->spool);
    mmq_fd_close(&feedback->data_folder);
    free(feedback->store);
    free(feedback);
    *shared = NULL;
}

static mmq_err check_store(const char *url, mmq_why *why)
{
    mmq_store *store;
    mmq_err err = mmq_store_open(url, MMQ_STORE_READ, &store, why);
    if (err == MMQ_OK) {
        mmq_store_close(&store);
    }
    return err;
}

static mmq_err fill_feedback(struct feedback *feedback, const mmq_worker_settings *settings,
                             mmq_why *why)
{
    mmq_err err = check_store(settings->store, why);
    if (err == MMQ_OK && (feedback->store = strdup(settings->store)) == NULL) {
        err = mmq_fail(why, MMQ_ENOMEM, "no memory for a worker");
    }
    if (err == MMQ_OK) {
        err = mmq_folder_open(settings->data, &feedback->data_folder, why);
    }
    if (err == MMQ_OK) {
        err = mmq_server_id_read(feedback->data_folder, settings->server_id, feedback->server_id,
                                 why);
    }
    if (err == MMQ_OK &&
        ((feedback->spool = mmq_spool_new(feedback->data_folder, NULL, why)) == NULL ||
         (feedback->target = mmq_target_new(settings->upload, NULL, why)) == NULL ||
         (feedback->uploader = mmq_uploader_new(feedback->spool, feedback->target, why)) == NULL)) {
        err = MMQ_EUNAVAILABLE;
    }
    return err;
}

static void *feedback_new(const mmq_worker_settings *settings, mmq_why *why)
{
    void *shared = calloc(1, sizeof(struct feedback));
    if (shared == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a worker");
        return NULL;
    }
    struct feedback *feedback = shared;
    feedback->data_folder = -1;
    if (fill_feedback(feedback, settings, why) != MMQ_OK) {
        feedback_destroy(&shared);
    }
    return shared;
}

/* All that a work thread needs is shared. */
static void *thread_new(void *shared, mmq_why *why)
{
    (void)why;
    return shared;
}

mmq_role *mmq_feedback_worker_new(const mmq_worker_settings *settings, mmq_why *why)
{
    const mmq_role_parts parts = {
        .worker =
            {
                .endpoint = settings->endpoint,
                .service = MMQ_SERVICE_FEEDBACK,
                .threads = settings->threads,
                .capacity = settings->capacity > 0 ? settings->capacity : CAPACITY,
                .drain_ms = settings->drain_ms,
                .thread_new = thread_new,
                .handle = handle,
            },
        .shared_destroy = feedback_destroy,
    };
    void *shared = feedback_new(settings, why);
    if (shared == NULL) {
        return NULL;
    }
    mmq_role *role = mmq_role_new(&parts, &shared, why);
    feedback_destroy(&shared);
    return role;
}
