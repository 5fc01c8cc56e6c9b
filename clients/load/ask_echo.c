/* Echoes: one FINAL with the bytes that were sent. */
#include "clients/load/driver.h"

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
    mmq_request_end(request);
}

bool mmq_ask_echo(mmq_load_request *request)
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
