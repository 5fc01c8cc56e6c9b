/* What the broker answers itself: RFC 8's `mmi.service`, and `mmi.stats`. */
#include "broker/state.h"

#include <string.h>

#include "lib/buffer.h"
#include "metricmq/pack.h"

enum {
    STATS_MAX = 8 * 1024 * 1024,
    STATS_WORKERS_MAX = 1000, /* workers listed */
};

static bool name_is(const char *name, size_t size, const char *text)
{
    return size == strlen(text) && memcmp(name, text, size) == 0;
}

bool mmq_mmi_is(const char *service, size_t size)
{
    return size >= 4 && memcmp(service, "mmi.", 4) == 0;
}

static void pack_count(mmq_buffer *out, const char *key, uint64_t value)
{
    mmq_pack_cstr(out, key);
    mmq_pack_int(out, (int64_t)value);
}

static void pack_service(mmq_buffer *out, const mmq_service *service)
{
    mmq_pack_text(out, service->name, service->name_size);
    mmq_pack_map(out, 13);
    pack_count(out, "workers", service->hand_count);
    pack_count(out, "capacity", service->capacity);
    pack_count(out, "busy", service->held);
    pack_count(out, "queued", service->queued);
    pack_count(out, "queued_bytes", service->queued_bytes);
    pack_count(out, "requests", service->requests);
    pack_count(out, "errors", service->errors);
    pack_count(out, "redispatched", service->redispatched);
    pack_count(out, "partials", service->partials);
    pack_count(out, "bytes_in", service->bytes_in);
    pack_count(out, "bytes_out", service->bytes_out);
    pack_count(out, "took_us", service->took_us);
    mmq_pack_cstr(out, "latency");
    mmq_pack_array(out, MMQ_LATENCY_BUCKETS);
    for (size_t i = 0; i < MMQ_LATENCY_BUCKETS; i++) {
        mmq_pack_array(out, 2);
        mmq_pack_int(out, mmq_latency_bounds_ms[i]);
        mmq_pack_int(out, (int64_t)service->latency[i]);
    }
}

static void pack_services(mmq_buffer *out, mmq_core *core)
{
    mmq_pack_cstr(out, "services");
    mmq_pack_map(out, (uint32_t)core->services.count);
    MMQ_LIST_EACH(at, &core->service_list)
    {
        pack_service(out, MMQ_OF(at, mmq_service, link));
    }
}

static void pack_workers(mmq_buffer *out, const mmq_core *core)
{
    size_t count = core->timers.count < STATS_WORKERS_MAX ? core->timers.count : STATS_WORKERS_MAX;
    mmq_pack_cstr(out, "workers");
    mmq_pack_array(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const mmq_hand *hand = MMQ_OF(core->timers.items[i], mmq_hand, timer);
        mmq_pack_map(out, 4);
        mmq_pack_cstr(out, "service");
        mmq_pack_text(out, hand->service->name, hand->service->name_size);
        pack_count(out, "capacity", hand->capacity);
        pack_count(out, "held", hand->held);
        pack_count(out, "age_ms", (uint64_t)((core->now_ns - hand->heard_ns) / MMQ_NS_PER_MS));
    }
}

static void pack_dropped(mmq_buffer *out, const mmq_core *core)
{
    mmq_pack_cstr(out, "dropped");
    mmq_pack_map(out, MMQ_DROP_COUNT);
    for (size_t i = 0; i < MMQ_DROP_COUNT; i++) {
        pack_count(out, mmq_drop_names[i], core->dropped[i]);
    }
}

static void pack_gauges(mmq_buffer *out, const mmq_core_gauges *gauges)
{
    pack_count(out, "client_connections", gauges->client_connections);
    pack_count(out, "worker_connections", gauges->worker_connections);
    pack_count(out, "descriptors", gauges->descriptors);
    pack_count(out, "descriptors_max", gauges->descriptors_max);
    pack_count(out, "memory", gauges->memory);
    pack_count(out, "rebinds", gauges->reopened);
    pack_count(out, "client_handshakes_failed", gauges->client_handshakes_failed);
    pack_count(out, "worker_handshakes_failed", gauges->worker_handshakes_failed);
}

static mmq_err append_stats(mmq_core *core, mmq_message *answer)
{
    mmq_buffer map;
    mmq_buffer_init(&map, STATS_MAX);
    mmq_pack_map(&map, 13);
    pack_count(&map, "uptime_ms", (uint64_t)((core->now_ns - core->started_ns) / MMQ_NS_PER_MS));
    pack_services(&map, core);
    pack_workers(&map, core);
    pack_count(&map, "clients", core->callers.count);
    pack_dropped(&map, core);
    pack_gauges(&map, &core->gauges);
    mmq_frame frame;
    mmq_frame_init(&frame);
    mmq_err err = mmq_buffer_to_frame(&map, &frame);
    if (err == MMQ_OK) {
        err = mmq_message_append(answer, &frame);
    }
    mmq_frame_close(&frame);
    mmq_buffer_clear(&map);
    return err;
}

static mmq_err append_status(mmq_message *answer, const char *status)
{
    return mmq_message_append_copy(answer, status, strlen(status));
}

static mmq_err append_service(mmq_core *core, mmq_message *answer, const mmq_frame *name)
{
    mmq_service *service = mmq_service_find(core, mmq_frame_data(name), mmq_frame_size(name));
    return append_status(answer, service != NULL && service->hand_count > 0 ? "200" : "404");
}

/* message NULL: denied. */
static mmq_err append_answer(mmq_core *core, mmq_message *answer, const mmq_message *message,
                             const mmq_envelope *envelope)
{
    if (message == NULL) {
        return append_status(answer, "403");
    }
    if (name_is(envelope->service, envelope->service_size, "mmi.service")) {
        return append_service(core, answer, &message->frames[envelope->body]);
    }
    if (name_is(envelope->service, envelope->service_size, "mmi.stats")) {
        mmq_err err = append_status(answer, "200");
        return err == MMQ_OK ? append_stats(core, answer) : err;
    }
    return append_status(answer, "501");
}

static void answer(mmq_caller *caller, const mmq_message *message, const mmq_envelope *envelope)
{
    mmq_message out;
    mmq_message_init(&out);
    mmq_err err = mmq_peer_address(&out, &caller->peer);
    if (err == MMQ_OK) {
        err = mmq_envelope_begin_client(&out, MMQ_CLIENT_FINAL, envelope->service,
                                        envelope->service_size);
    }
    if (err == MMQ_OK) {
        err = append_answer(caller->core, &out, message, envelope);
    }
    if (err == MMQ_OK) {
        mmq_caller_deliver(caller, &out, MMQ_ANSWER_PART, NULL);
    }
    mmq_message_clear(&out);
}

void mmq_mmi_answer(mmq_caller *caller, const mmq_message *message, const mmq_envelope *envelope)
{
    answer(caller, message, envelope);
}

void mmq_mmi_deny(mmq_caller *caller, const mmq_envelope *envelope)
{
    answer(caller, NULL, envelope);
}
