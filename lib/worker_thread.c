/* A work thread: makes its context, then works on one batch at a time. It is the only one to answer
 * requests, also those that it does not work on, so that the loop only forwards. */
#include <czmq.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/worker_parts.h"

enum {
    NICER = 5,
    IDLE_MS = 1000,
    IDLE_SOON_MS = 20,
    BATCH_BYTES_MAX = MMQ_CAPACITY_MAX * sizeof(mmq_request *)
};

/* True if the request is not worked on; it is then answered. */
static bool refuse_unfit(mmq_work_thread *thread, mmq_request **request_p)
{
    const mmq_request *request = *request_p;
    mmq_why why = {""};
    mmq_err err = MMQ_OK;
    if (!mmq_worker_awaits(thread->worker, request->origin)) {
        err = mmq_fail(&why, MMQ_EUNAVAILABLE, "the broker that asked is gone");
    } else if (mmq_worker_refuses(thread->worker)) {
        err = mmq_fail(&why, MMQ_EUNAVAILABLE, "the worker stops; the request was not begun");
    } else if (request->message.count != request->body + 1) {
        err = mmq_fail(&why, MMQ_EINVAL, "the body of a request is one frame");
    } else if (mmq_request_left_ns(request) <= 0) {
        err = mmq_fail(&why, MMQ_ETIMEOUT, "no worker was free within the timeout");
    }
    if (err != MMQ_OK) {
        mmq_request_refuse(request_p, err, &why);
    }
    return err != MMQ_OK;
}

static void note_due(mmq_work_thread *thread, int64_t due_ns)
{
    atomic_store_explicit(&thread->worker->due_ns[thread->index], due_ns, memory_order_relaxed);
}

static int64_t last_deadline_ns(mmq_request *const *batch, size_t count)
{
    int64_t last_ns = 1;
    for (size_t i = 0; i < count; i++) {
        last_ns = batch[i]->deadline_ns > last_ns ? batch[i]->deadline_ns : last_ns;
    }
    return last_ns;
}

static void work(mmq_work_thread *thread, void *context, const mmq_frame *batch)
{
    size_t count = mmq_frame_size(batch) / sizeof(mmq_request *);
    memcpy(thread->batch, mmq_frame_data(batch), count * sizeof(mmq_request *));
    thread->open = count;
    note_due(thread, last_deadline_ns(thread->batch, count));
    size_t fit = 0;
    for (size_t i = 0; i < count; i++) {
        mmq_request *request = thread->batch[i];
        request->thread = thread;
        if (!refuse_unfit(thread, &request)) {
            thread->batch[fit++] = request;
        }
    }
    if (fit > 0) {
        thread->worker->options.handle(context, thread->batch, fit);
    }
    CHECK(thread->open == 0); /* the handler forgot a request */
    note_due(thread, 0);
}

/* Waits for a batch and works on it; *came: there was one. False when the thread is to end. */
static bool take_batch(mmq_work_thread *thread, void *context, mmq_message *message, bool *came)
{
    mmq_err err = mmq_message_receive_wait(message, zsock_resolve(thread->pipe), BATCH_BYTES_MAX);
    *came = err == MMQ_OK;
    if (err != MMQ_OK) {
        return err == MMQ_EAGAIN;
    }
    if (mmq_frame_size(&message->frames[0]) == 0) {
        return false;
    }
    work(thread, context, &message->frames[0]);
    return true;
}

static void set_wait(mmq_work_thread *thread, int *wait_ms, int to_ms)
{
    if (*wait_ms != to_ms) {
        zsock_set_rcvtimeo(thread->pipe, to_ms);
        *wait_ms = to_ms;
    }
}

static void serve(mmq_work_thread *thread, void *context)
{
    bool (*idle)(void *) = thread->worker->options.idle;
    bool idle_wants_more = true;
    bool more = true, came;
    int wait_ms = -1; /* libzmq's default */
    mmq_message message;
    mmq_message_init(&message);
    while (more) {
        set_wait(thread, &wait_ms, idle == NULL ? -1 : idle_wants_more ? IDLE_SOON_MS : IDLE_MS);
        more = take_batch(thread, context, &message, &came);
        if (came) {
            idle_wants_more = true;
        } else if (more && idle != NULL) {
            idle_wants_more = idle(context);
        }
    }
    mmq_message_clear(&message);
}

static void report_failure(mmq_work_thread *thread, const mmq_why *why)
{
    mmq_message text;
    mmq_message_init(&text);
    if (mmq_message_append_copy(&text, why->text, strlen(why->text)) != MMQ_OK ||
        !mmq_note_send(thread, (mmq_note){.kind = MMQ_NOTE_FAILED}, &text)) {
        (void)mmq_note_send(thread, (mmq_note){.kind = MMQ_NOTE_FAILED}, NULL);
    }
    mmq_message_clear(&text);
}

/* Where there are more threads that work than CPUs, those that only pass messages on (loops, the
 * broker, libzmq's) would each wait for a time slice of theirs, at every hop of every request. */
static void give_way(void)
{
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER); /* of this thread */
}

void *mmq_worker_run_thread(void *work_thread)
{
    mmq_work_thread *thread = work_thread;
    const mmq_worker_options *options = &thread->worker->options;
    mmq_log_role("worker");
    give_way();
    mmq_why why = {""};
    void *context = options->thread_new != NULL ? options->thread_new(options->shared, &why) : NULL;
    if (context == NULL && options->thread_new != NULL) {
        report_failure(thread, &why);
    } else {
        (void)mmq_note_send(thread, (mmq_note){.kind = MMQ_NOTE_READY}, NULL);
        serve(thread, context);
        if (options->thread_destroy != NULL) {
            options->thread_destroy(&context);
        }
    }
    (void)mmq_note_send(thread, (mmq_note){.kind = MMQ_NOTE_ENDED}, NULL);
    return NULL;
}
