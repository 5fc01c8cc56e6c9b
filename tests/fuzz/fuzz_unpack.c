/* Any bytes as msgpack: reading and skipping agree, the routing scan and the header parser return
 * only what lies within the bytes. */
#include <stddef.h>
#include <stdint.h>

#include "lib/check.h"
#include "metricmq/unpack.h"
#include "lib/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(const uint8_t *data, size_t size, const void *part, size_t part_size)
{
    const uint8_t *at = part;
    CHECK(part_size <= size && at >= data && at + part_size <= data + size);
}

/* Skipping by hand: a head, then as many values as it says. */
static mmq_err skip_recursively(mmq_reader *reader, int depth)
{
    mmq_value value;
    mmq_err err = mmq_unpack(reader, &value);
    bool nested = err == MMQ_OK && (value.type == MMQ_ARRAY || value.type == MMQ_MAP);
    if (!nested || value.count == 0) {
        return err;
    }
    if (depth == MMQ_UNPACK_DEPTH) {
        return MMQ_EPROTO;
    }
    uint64_t left = (uint64_t)value.count * (value.type == MMQ_MAP ? 2 : 1);
    for (; left > 0; left--) {
        if (skip_recursively(reader, depth + 1) != MMQ_OK) {
            return MMQ_EPROTO;
        }
    }
    return MMQ_OK;
}

static void fuzz_skip(const uint8_t *data, size_t size)
{
    mmq_reader fast, slow;
    mmq_reader_init(&fast, data, size);
    for (mmq_err err = MMQ_OK; err == MMQ_OK;) {
        slow = fast;
        err = mmq_unpack_skip(&fast);
        CHECK(skip_recursively(&slow, 0) == err);
        CHECK(err != MMQ_OK || slow.at == fast.at);
    }
}

static void fuzz_header(const uint8_t *data, size_t size)
{
    mmq_header header;
    if (mmq_header_parse(data, size, &header) != MMQ_OK) {
        return;
    }
    mmq_frame frame;
    CHECK(header.id_size == 1 || header.id_size <= size);
    mmq_err err = mmq_header_final(&frame, &header);
    mmq_header again;
    CHECK(err != MMQ_OK ||
          mmq_header_parse(mmq_frame_data(&frame), mmq_frame_size(&frame), &again) == MMQ_OK);
    CHECK(err != MMQ_OK || (again.status == header.status && again.rows == header.rows &&
                            again.seq == header.seq && again.error.size == header.error.size));
    mmq_frame_close(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_skip(data, size);
    mmq_routing routing;
    mmq_routing_scan(data, size, &routing);
    CHECK(routing.timeout_ms >= 1 && routing.timeout_ms <= MMQ_TIMEOUT_MAX_MS);
    CHECK(routing.id_size >= 1 && routing.id_size <= MMQ_ID_MAX);
    if (routing.id_size > 1) {
        check_within(data, size, routing.id, routing.id_size);
    }
    fuzz_header(data, size);
    mmq_utf8_valid((const char *)data, size);
    return 0;
}
