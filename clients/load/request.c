/* A request from its start to its end, and what is counted of it.
 *
 * All requests have the same timeout, so those under way, oldest first, are in the order of their
 * deadlines too. */
#include <stdlib.h>

#include "clients/load/driver.h"
#include "lib/clock.h"

static mmq_load_request *take_request(mmq_driver *driver)
{
    mmq_load_request *request = TAILQ_FIRST(&driver->spare);
    if (request) {
        TAILQ_REMOVE(&driver->spare, request, link);
    } else {
        request = malloc(sizeof *request);
    }
    return request;
}

static void record(mmq_driver *driver, const mmq_load_request *request, int64_t now_ns)
{
    mmq_load_result *result = driver->result;
    if (request->counted) {
        mmq_tally_add(&result->kinds[request->kind], &request->outcome, now_ns - request->due_ns,
                      driver->options->timeout_ms * MMQ_NS_PER_MS);
    }
    if (now_ns < driver->end_ns) {
        mmq_series_add(&result->series, now_ns - driver->count_ns, request->kind,
                       mmq_outcome_good(&request->outcome));
    }
}

void mmq_request_end(mmq_load_request *request)
{
    mmq_driver *driver = request->driver;
    mmq_peer *peer = request->peer;
    int64_t now_ns = mmq_now_ns();
    record(driver, request, now_ns);
    mmq_stream_destroy(&request->stream);
    bool sent = request->outcome.fault != MMQ_FAULT_NOT_SENT;
    TAILQ_REMOVE(&driver->under_way, request, link);
    driver->under_way_count--;
    TAILQ_INSERT_HEAD(&driver->spare, request, link);
    mmq_driver_request_ended(driver, peer, sent, now_ns);
}

/* No memory for it: an error as any other that keeps a request from being sent. */
static void refuse_request(mmq_driver *driver, mmq_peer *peer, int64_t due_ns, int64_t now_ns)
{
    const mmq_load_request refused = {.kind = mmq_mix_pick(&driver->options->mix, &driver->random),
                                      .due_ns = due_ns,
                                      .counted = due_ns >= driver->count_ns,
                                      .outcome = {.fault = MMQ_FAULT_NOT_SENT}};
    record(driver, &refused, now_ns);
    mmq_driver_request_ended(driver, peer, false, now_ns);
}

static bool ask(mmq_load_request *request)
{
    return request->kind == MMQ_LOAD_ECHO ? mmq_ask_echo(request) : mmq_ask_data(request);
}

void mmq_request_start(mmq_driver *driver, mmq_peer *peer, int64_t due_ns, int64_t now_ns)
{
    mmq_load_request *request = take_request(driver);
    if (!request) {
        refuse_request(driver, peer, due_ns, now_ns);
        return;
    }
    request->driver = driver;
    request->peer = peer;
    request->kind = mmq_mix_pick(&driver->options->mix, &driver->random);
    request->number = ++driver->number;
    request->due_ns = due_ns;
    request->started_ns = now_ns;
    request->counted = due_ns >= driver->count_ns;
    request->outcome = (mmq_outcome){0};
    request->stream = NULL;
    TAILQ_INSERT_TAIL(&driver->under_way, request, link);
    driver->under_way_count++;
    mmq_driver_mark(driver, peer);
    if (!ask(request)) {
        request->outcome.fault = MMQ_FAULT_NOT_SENT;
        mmq_request_end(request);
    }
}

/* ---- timeouts of streams ------------------------------------------------------------------ */

int64_t mmq_requests_due(const mmq_driver *driver)
{
    const mmq_load_request *oldest = TAILQ_FIRST(&driver->under_way);
    return oldest && oldest->stream
               ? oldest->started_ns + driver->options->timeout_ms * MMQ_NS_PER_MS
               : INT64_MAX;
}

void mmq_requests_expire(mmq_driver *driver, int64_t now_ns)
{
    while (mmq_requests_due(driver) <= now_ns) {
        mmq_load_request *oldest = TAILQ_FIRST(&driver->under_way);
        oldest->outcome.fault = MMQ_FAULT_TIMEOUT;
        oldest->outcome.rows = oldest->check.rows;
        mmq_driver_mark(driver, oldest->peer);
        mmq_request_end(oldest);
    }
}

/* ---- the end ------------------------------------------------------------------------------ */

static void free_requests(struct mmq_load_requests *requests)
{
    mmq_load_request *request;
    while ((request = TAILQ_FIRST(requests)) != NULL) {
        TAILQ_REMOVE(requests, request, link);
        mmq_stream_destroy(&request->stream);
        free(request);
    }
}

void mmq_requests_clear(mmq_driver *driver)
{
    free_requests(&driver->under_way);
    free_requests(&driver->spare);
}
