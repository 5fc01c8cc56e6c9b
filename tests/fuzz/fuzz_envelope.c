/* Any frames as an envelope of either side: what parses keeps within its bounds, and lists no body
 * that is not there. Input: a byte that is the first frame's index, then frames, each a byte of
 * size and that many bytes. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "lib/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cut_into_frames(mmq_message *message, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t frame = data[0] < size - 1 ? data[0] : size - 1;
        if (mmq_message_append_copy(message, data + 1, frame) != MMQ_OK) {
            return;
        }
        data += frame + 1;
        size -= frame + 1;
    }
}

static void check_envelope(const mmq_message *message, const mmq_envelope *envelope, bool has_body)
{
    CHECK(has_body ? envelope->body < message->count : envelope->body == message->count);
    if (envelope->service != NULL) {
        CHECK(envelope->service_size >= 1 && envelope->service_size <= MMQ_SERVICE_MAX);
        CHECK(memchr(envelope->service, ' ', envelope->service_size) == NULL);
    }
    if (envelope->token != NULL) {
        CHECK(envelope->token_size >= 1 && envelope->token_size <= MMQ_TOKEN_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    mmq_message message;
    mmq_message_init(&message);
    cut_into_frames(&message, data + 1, size - 1);
    mmq_envelope envelope;
    mmq_why why;
    if (mmq_envelope_parse_client(&message, data[0], &envelope, &why) == MMQ_OK) {
        CHECK(envelope.service != NULL && envelope.token == NULL);
        check_envelope(&message, &envelope, true);
    }
    if (mmq_envelope_parse_worker(&message, data[0], &envelope, &why) == MMQ_OK) {
        bool ready = envelope.command == MMQ_WORKER_READY;
        CHECK(ready == (envelope.service != NULL));
        CHECK(ready == (envelope.capacity >= 1) && envelope.capacity <= MMQ_CAPACITY_MAX);
        check_envelope(&message, &envelope, envelope.token != NULL);
    }
    mmq_message_clear(&message);
    return 0;
}
