/* A request from its start to its end: what is sent, what the answer must be, what is counted. */
#include <stdlib.h>

#include "clients/load/driver.h"
#include "lib/check.h"
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

static void end_request(mmq_load_request *request)
{
    mmq_driver *driver = request->driver;
    mmq_peer *peer = request->peer;
    int64_t now_ns = mmq_now_ns();
    record(driver, request, now_ns);
    bool sent = request->outcome.fault != MMQ_FAULT_NOT_SENT;
    TAILQ_REMOVE(&driver->under_way, request, link);
    driver->under_way_count--;
    TAILQ_INSERT_HEAD(&driver->spare, request, link);
    mmq_driver_request_ended(driver, peer, sent, now_ns);
}

/* ---- echo --------------------------------------------------------------------------------- */

/* FINALs that the library makes bear no id: the broker and workers repeat ours. */
static mmq_fault fault_of_library(const mmq_header *header)
{
    const uint8_t *id = header->id;
    bool made_here = header->id_size == 1 && id[0] == 0xc0;
    if (!made_here) {
        return MMQ_FAULT_NONE;
    }
    return header->status == 504 ? MMQ_FAULT_TIMEOUT : MMQ_FAULT_LOST;
}

static void take_echo(void *context, const mmq_answer *answer)
{
    mmq_load_request *request = context;
    mmq_outcome *outcome = &request->outcome;
    if (!answer->final) {
        outcome->fault = MMQ_FAULT_WRONG_BODY; /* an echo is a FINAL alone */
        return;
    }
    outcome->status = (int)answer->header->status;
    if (!outcome->fault) {
        outcome->fault = fault_of_library(answer->header);
    }
    if (!outcome->fault && outcome->status == 200 &&
        !mmq_echo_matches(&request->driver->echo, request->number, answer->payload)) {
        outcome->fault = MMQ_FAULT_WRONG_BODY;
    }
    outcome->bytes = answer->payload ? mmq_frame_size(answer->payload) : 0;
    outcome->pages = 1;
    end_request(request);
}

static bool send_echo(mmq_load_request *request)
{
    mmq_driver *driver = request->driver;
    mmq_echo_stamp(&driver->echo, request->number);
    const mmq_args *args = &driver->echo.args;
    const mmq_call call = {.service = driver->options->service,
                           .args = args->pairs.data,
                           .args_size = args->pairs.size,
                           .args_count = args->count,
                           .timeout_ms = driver->options->timeout_ms,
                           .retry = driver->options->retry,
                           .answer = take_echo,
                           .context = request};
    return mmq_client_send(request->peer->client, &call, NULL) != 0;
}

/* ---- start, clear ------------------------------------------------------------------------- */

void mmq_request_start(mmq_driver *driver, mmq_peer *peer, int64_t due_ns)
{
    mmq_load_request *request = take_request(driver);
    CHECK(request); /* a generator without memory measures nothing */
    *request = (mmq_load_request){.driver = driver,
                                  .peer = peer,
                                  .kind = MMQ_LOAD_ECHO,
                                  .number = ++driver->number,
                                  .due_ns = due_ns,
                                  .counted = due_ns >= driver->count_ns};
    TAILQ_INSERT_TAIL(&driver->under_way, request, link);
    driver->under_way_count++;
    mmq_driver_mark(driver, peer);
    if (!send_echo(request)) {
        request->outcome.fault = MMQ_FAULT_NOT_SENT;
        end_request(request);
    }
}

static void free_requests(struct mmq_load_requests *requests)
{
    mmq_load_request *request;
    while ((request = TAILQ_FIRST(requests)) != NULL) {
        TAILQ_REMOVE(requests, request, link);
        free(request);
    }
}

void mmq_requests_clear(mmq_driver *driver)
{
    free_requests(&driver->under_way);
    free_requests(&driver->spare);
}
