/* The owner's side of a worker. Everything that may fail after the start is reported by the loop in
 * one way: `failed` and a message on the control pipe. */
#include "metricmq/worker.h"

#include <czmq.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/process.h"
#include "lib/worker_parts.h"

void mmq_pipe_signal(zsock_t *pipe)
{
    mmq_message message;
    mmq_message_init(&message);
    CHECK(mmq_message_append_copy(&message, NULL, 0) == MMQ_OK); /* needs no memory */
    mmq_err err = mmq_message_send(&message, zsock_resolve(pipe));
    CHECK(err == MMQ_OK || err == MMQ_ECLOSED); /* the pipes to and from the loop never fill */
    mmq_message_clear(&message);
}

static void free_worker(mmq_worker *worker)
{
    zsock_destroy(&worker->control);
    zsock_destroy(&worker->loop_control);
    mmq_endpoints_clear(&worker->endpoints);
    mmq_curve_wipe(&worker->curve);
    free(worker->service);
    free(worker->second);
    free(worker);
}

static unsigned clamp(unsigned value, unsigned most)
{
    return value == 0 ? 1 : value < most ? value : most;
}

static mmq_err init_worker(mmq_worker *worker, const mmq_worker_options *options, mmq_why *why)
{
    worker->options = *options;
    worker->options.service = worker->service = strdup(options->service);
    worker->second = options->second != NULL ? strdup(options->second) : NULL;
    const bool named =
        worker->service != NULL && (worker->second != NULL) == (options->second != NULL);
    worker->options.second = worker->second;
    worker->options.second_capacity = clamp(options->second_capacity, MMQ_CAPACITY_MAX);
    if (options->curve != NULL) {
        worker->curve = *options->curve;
        worker->options.curve = &worker->curve;
    }
    worker->options.threads = clamp(options->threads, MMQ_WORK_THREADS_MAX);
    worker->options.capacity = clamp(options->capacity, MMQ_CAPACITY_MAX);
    worker->options.batch_max = clamp(options->batch_max, worker->options.capacity);
    /* czmq's pipe holds 1,000 messages; over this one go a handful in the worker's life. */
    worker->control = zsys_create_pipe(&worker->loop_control);
    mmq_err err = mmq_endpoints_split(options->endpoint, &worker->endpoints, why);
    worker->options.endpoint = NULL; /* borrowed */
    if (err == MMQ_OK && (!named || worker->control == NULL)) {
        err = mmq_fail(why, MMQ_ENOMEM, "no memory for a worker");
    }
    return err;
}

/* The worker with its control pipe, not yet running. */
static mmq_worker *make_worker(const mmq_worker_options *options, mmq_why *why)
{
    mmq_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a worker");
        return NULL;
    }
    if (init_worker(worker, options, why) != MMQ_OK) {
        free_worker(worker);
        return NULL;
    }
    return worker;
}

mmq_worker *mmq_worker_new_standby(const mmq_worker_options *options, mmq_why *why)
{
    CHECK(options->handle != NULL);
    mmq_worker *worker = make_worker(options, why);
    if (worker != NULL && !mmq_thread_start(&worker->loop, mmq_worker_run_loop, worker)) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no threads left for a worker");
        free_worker(worker);
        return NULL;
    }
    return worker;
}

mmq_worker *mmq_worker_new(const mmq_worker_options *options, mmq_why *why)
{
    mmq_worker *worker = mmq_worker_new_standby(options, why);
    if (worker == NULL) {
        return NULL;
    }
    mmq_message message;
    mmq_message_init(&message);
    while (mmq_message_receive(&message, zsock_resolve(worker->control), 64) == MMQ_EAGAIN) {
        zmq_pollitem_t item = {.socket = zsock_resolve(worker->control), .events = ZMQ_POLLIN};
        (void)zmq_poll(&item, 1, -1);
    }
    mmq_message_clear(&message);
    if (mmq_worker_failed(worker, why)) {
        mmq_worker_destroy(&worker);
    }
    return worker;
}

bool mmq_worker_stopping(const mmq_worker *worker)
{
    return atomic_load(&worker->stopping);
}

size_t mmq_worker_links(const mmq_worker *worker)
{
    return worker->endpoints.count * (worker->second != NULL ? 2 : 1);
}

const char *mmq_worker_link_service(const mmq_worker *worker, size_t link)
{
    return link < worker->endpoints.count ? worker->service : worker->second;
}

bool mmq_worker_awaits(const mmq_worker *worker, mmq_origin origin)
{
    return atomic_load(&worker->generations[origin.link]) == origin.generation;
}

bool mmq_worker_refuses(const mmq_worker *worker)
{
    return atomic_load(&worker->stopping) &&
           strcmp(worker->options.service, MMQ_SERVICE_WRITE) == 0;
}

bool mmq_worker_failed(mmq_worker *worker, mmq_why *why)
{
    if (!atomic_load(&worker->failed)) {
        return false;
    }
    if (why != NULL) {
        *why = worker->why;
    }
    return true;
}

void mmq_worker_destroy(mmq_worker **worker_p)
{
    mmq_worker *worker = *worker_p;
    if (worker == NULL) {
        return;
    }
    atomic_store(&worker->stopping, true);
    mmq_pipe_signal(worker->control);
    CHECK(pthread_join(worker->loop, NULL) == 0);
    free_worker(worker);
    *worker_p = NULL;
}
