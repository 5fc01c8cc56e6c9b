/* The feedback worker: metric.feedback. A request for a dump goes through these steps, each of
 * which a crash may cut off without harm (docs/feedback.md):
 *
 *     its job is in the spool  -> take it
 *     else                     -> build the archive in the spool and commit it: now it is accepted
 *     then                     -> deliver it: 200; or leave it to the uploader: 202
 *
 * The spool and the target are shared by the work threads and the uploads in the background. */
#include "workers/workers.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/fields.h"
#include "lib/log.h"
#include "metricmq/pack.h"
#include "metricmq/protocol.h"
#include "workers/dump_call.h"
#include "lib/files.h"
#include "workers/role.h"
#include "workers/store/store.h"

enum {
    CAPACITY = 16,
    KEEP_BACK = 10, /* a tenth of a request's time is kept for its answer */
};

/* ---- answers ---------------------------------------------------------------------------- */

static mmq_err send_map(mmq_dump_call *call, int status, mmq_buffer *map)
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

static mmq_err send_delivered(mmq_dump_call *call)
{
    mmq_buffer map;
    mmq_buffer_init(&map, 2 * MMQ_OBJECT_KEY_MAX);
    mmq_pack_map(&map, 1);
    mmq_pack_cstr(&map, "key");
    mmq_pack_cstr(&map, call->key);
    mmq_err err = send_map(call, 200, &map);
    mmq_buffer_clear(&map);
    return err;
}

/* manifest: NULL where somebody else is at the job. */
static mmq_err send_accepted(mmq_dump_call *call, const mmq_manifest *manifest)
{
    const mmq_job_state state = manifest != NULL ? manifest->state : MMQ_JOB_WAITING;
    const bool failed = manifest != NULL && manifest->error.text[0] != '\0';
    mmq_buffer map;
    mmq_buffer_init(&map, 4 * MMQ_OBJECT_KEY_MAX);
    mmq_pack_map(&map, 3);
    mmq_pack_cstr(&map, "key");
    mmq_pack_cstr(&map, call->key);
    mmq_pack_cstr(&map, "state");
    mmq_pack_cstr(&map, mmq_job_state_name(state));
    mmq_pack_cstr(&map, "error");
    mmq_pack_cstr(&map, failed ? manifest->error.text : NULL);
    mmq_err err = send_map(call, 202, &map);
    mmq_buffer_clear(&map);
    return err;
}

/* The job is the uploader's from here on. */
static mmq_err leave_job(mmq_dump_call *call, mmq_job **job)
{
    mmq_err err = send_accepted(call, mmq_job_manifest(*job));
    mmq_job_close(job);
    mmq_uploader_wake(call->feedback->uploader, call->dump.name);
    return err;
}

/* The key of a job that is in the spool is its manifest's, whatever the settings are today. */
static mmq_err run_dump(mmq_dump_call *call)
{
    mmq_job *job = NULL;
    mmq_dump_key(&call->dump, mmq_target_prefix(call->feedback->target), call->feedback->server_id,
                 call->key);
    mmq_err err = mmq_dump_call_job(call, &job);
    if (err == MMQ_EEND) {
        return send_delivered(call);
    }
    if (err == MMQ_EBUSY && mmq_request_left_ns(call->request) <= call->reserve_ns) {
        return send_accepted(call, NULL);
    }
    if (err != MMQ_OK) {
        return err;
    }
    memcpy(call->key, mmq_job_manifest(job)->key, sizeof call->key);
    err = mmq_dump_call_deliver(call, &job);
    if (job != NULL) {
        return leave_job(call, &job);
    }
    return err == MMQ_OK ? send_delivered(call) : err; /* put aside: not accepted */
}

static mmq_err answer_dump(mmq_dump_call *call, const void *body, size_t size)
{
    mmq_err err = mmq_dump_read(body, size, &call->dump, &call->why);
    if (err == MMQ_OK) {
        err = run_dump(call);
    }
    mmq_dump_clear(&call->dump);
    return err;
}

static void pack_counts(mmq_buffer *map, const mmq_spool_counts *counts, const mmq_why *last)
{
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {
        {"jobs", counts->jobs},
        {"bytes", counts->bytes},
        {"oldest_age_s", counts->oldest_age_s},
        {"quarantined", counts->quarantined},
        {"waiting", counts->waiting},
        {"settings", counts->settings},
        {"held", counts->held},
    };
    mmq_pack_map(map, sizeof numbers / sizeof *numbers + 1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        mmq_pack_cstr(map, numbers[i].key);
        mmq_pack_int(map, numbers[i].value);
    }
    mmq_pack_cstr(map, "last_error");
    mmq_pack_cstr(map, last->text[0] != '\0' ? last->text : NULL);
}

/* The last error is the last delivery's in the background, or else that of the job which failed
 * last: nil says that nothing in the spool has failed. */
static mmq_err answer_spool(mmq_dump_call *call, const void *body, size_t size)
{
    mmq_spool_counts counts;
    mmq_why last;
    mmq_buffer map;
    mmq_err err = mmq_fields_read(body, size, NULL, 0, NULL, &call->why);
    if (err == MMQ_OK) {
        err = mmq_spool_count(call->feedback->spool, &counts, &call->why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    mmq_uploader_error(call->feedback->uploader, &last);
    mmq_buffer_init(&map, 1024);
    pack_counts(&map, &counts, last.text[0] != '\0' ? &last : &counts.last_error);
    err = send_map(call, 200, &map);
    mmq_buffer_clear(&map);
    return err;
}

static mmq_err answer(mmq_dump_call *call)
{
    size_t size;
    const void *body = mmq_request_body(call->request, &size);
    const int64_t left_ns = mmq_request_left_ns(call->request);
    call->start_ns = mmq_now_ns();
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
static void refuse(mmq_dump_call *call, mmq_err err)
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
        mmq_dump_call call = {.feedback = context, .request = requests[i]};
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
    mmq_feedback *feedback = *shared;
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

static mmq_err start_uploads(mmq_feedback *feedback, const mmq_worker_settings *settings,
                             mmq_why *why)
{
    char ours[MMQ_OBJECT_KEY_MAX + 1];
    const mmq_spool_limits limits = {
        .jobs = settings->spool_jobs > 0 ? settings->spool_jobs : MMQ_SPOOL_JOBS,
        .bytes = settings->spool_bytes > 0 ? settings->spool_bytes : MMQ_SPOOL_BYTES,
    };
    if ((feedback->spool = mmq_spool_new(feedback->data_folder, &limits, why)) == NULL ||
        (feedback->target = mmq_target_new(settings->upload, &settings->s3, why)) == NULL) {
        return MMQ_EUNAVAILABLE;
    }
    mmq_dump_key_prefix(mmq_target_prefix(feedback->target), feedback->server_id, ours);
    const mmq_uploader_options options = {
        .spool = feedback->spool,
        .target = feedback->target,
        .uploads = settings->uploads,
        .ours = ours,
    };
    feedback->uploader = mmq_uploader_new(&options, why);
    return feedback->uploader != NULL ? MMQ_OK : MMQ_EUNAVAILABLE;
}

static mmq_err fill_feedback(mmq_feedback *feedback, const mmq_worker_settings *settings,
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
    return err != MMQ_OK ? err : start_uploads(feedback, settings, why);
}

static void *feedback_new(const mmq_worker_settings *settings, mmq_why *why)
{
    void *shared = calloc(1, sizeof(mmq_feedback));
    if (shared == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a worker");
        return NULL;
    }
    mmq_feedback *feedback = shared;
    feedback->data_folder = -1;
    feedback->archive_level = settings->archive_level > 0 ? settings->archive_level : 1;
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
                .curve = settings->curve,
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
