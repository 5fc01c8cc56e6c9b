/* Blocking calls: step and wait until the answer is there. Other requests of the same client go on
 * meanwhile. */
#include <poll.h>

#include "lib/client_later.h"
#include "lib/clock.h"
#include "metricmq/client.h"

void mmq_client_wait(const mmq_client *client, int64_t wait_ns)
{
    struct pollfd input = {.fd = mmq_client_descriptor(client), .events = POLLIN};
    int64_t wait_ms = wait_ns < 0 ? -1 : (wait_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS;
    (void)poll(&input, 1, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
}

struct waiter {
    bool done;
    mmq_result *result;
};

static void keep_result(void *context, const mmq_answer *answer)
{
    struct waiter *waiter = context;
    if (!answer->final) {
        return;
    }
    mmq_result *result = waiter->result;
    const mmq_header *header = answer->header;
    result->status = (int)header->status;
    mmq_text_copy(result->error, sizeof result->error, header->error.data, header->error.size);
    mmq_text_copy(result->state, sizeof result->state, header->state.data, header->state.size);
    if (answer->payload != NULL) {
        mmq_frame_move(&result->payload, answer->payload);
    }
    waiter->done = true;
}

mmq_err mmq_client_call(mmq_client *client, const mmq_call *call, mmq_result *result, mmq_why *why)
{
    struct waiter waiter = {.result = result};
    mmq_call copy = *call;
    copy.answer = keep_result;
    copy.context = &waiter;
    mmq_err err = mmq_call_check(&copy, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (mmq_client_send(client, &copy, why) == 0) {
        return MMQ_EBUSY;
    }
    result->status = 0;
    mmq_frame_init(&result->payload);
    for (;;) {
        int64_t wait_ns = mmq_client_step(client);
        if (waiter.done) {
            return MMQ_OK;
        }
        mmq_client_wait(client, wait_ns);
    }
}

mmq_err mmq_client_ask(mmq_client *client, const mmq_call *call, mmq_result *result, mmq_why *why)
{
    mmq_err err = mmq_client_call(client, call, result, why);
    if (err != MMQ_OK) {
        result->status = 0;
        mmq_frame_init(&result->payload);
    } else if (result->status >= 400) {
        err = mmq_fail(why, mmq_err_from_status(result->status), "%s", result->error);
        mmq_result_clear(result);
    }
    return err;
}

bool mmq_result_find(const mmq_result *result, const char *key, mmq_value *out)
{
    mmq_reader payload, whole;
    mmq_reader_init(&payload, mmq_frame_data(&result->payload), mmq_frame_size(&result->payload));
    return mmq_map_find(payload, key, out, &whole);
}

mmq_call mmq_args_call(const mmq_args *args, const char *service)
{
    return (mmq_call){.service = service,
                      .args = args->pairs.data,
                      .args_size = args->pairs.failed ? SIZE_MAX : args->pairs.size,
                      .args_count = args->count};
}

void mmq_result_clear(mmq_result *result)
{
    mmq_frame_close(&result->payload);
    mmq_frame_init(&result->payload);
}
