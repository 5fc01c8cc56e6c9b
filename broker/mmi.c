/* What the broker answers itself: RFC 8's `mmi.service`, and `mmi.stats`. */
#include "broker/state.h"

#include <string.h>

#include "lib/buffer.h"
#include "metricmq/pack.h"

enum {
    STATS_MAX = 8 * 1024 * 1024,
    STATS_WORKERS_MAX = 1000, /* workers listed */
    US_PER_MS = 1000,
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

/* Pairs of a bound and a count. */
static void pack_timing(mmq_buffer *out, const char *key, const mmq_timing *timing)
{
    mmq_pack_cstr(out, key);
    mmq_pack_array(out, MMQ_TIMING_BUCKETS);
    for (size_t i = 0; i < MMQ_TIMING_BUCKETS; i++) {
        mmq_pack_array(out, 2);
        mmq_pack_int(out, mmq_timing_bounds_us[i]);
        mmq_pack_int(out, (int64_t)timing->counts[i]);
    }
}

/* The same as `took` in whole milliseconds, for readers that came before it. */
static void pack_latency(mmq_buffer *out, const mmq_timing *took)
{
    uint32_t count = 0;
    for (size_t i = 0; i < MMQ_TIMING_BUCKETS; i++) {
        count += mmq_timing_bounds_us[i] >= US_PER_MS;
    }
    mmq_pack_cstr(out, "latency");
    mmq_pack_array(out, count);
    uint64_t sum = 0;
    for (size_t i = 0; i < MMQ_TIMING_BUCKETS; i++) {
        sum += took->counts[i];
        if (mmq_timing_bounds_us[i] >= US_PER_MS) {
            mmq_pack_array(out, 2);
            mmq_pack_int(out, mmq_timing_bounds_us[i] / US_PER_MS);
            mmq_pack_int(out, (int64_t)sum);
            sum = 0;
        }
    }
}

static void pack_service(mmq_buffer *out, const mmq_service *service)
{
    mmq_pack_text(out, service->name, service->name_size);
    mmq_pack_map(out, 16);
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
    pack_latency(out, &service->took);
    pack_timing(out, "took", &service->took);
    pack_count(out, "took_us", service->took.sum_us);
    pack_timing(out, "waited", &service->waited);
    pack_count(out, "waited_us", service->waited.sum_us);
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

static uint64_t age_ms(const mmq_core *core, int64_t since_ns)
{
    return (uint64_t)((core->now_ns - since_ns) / MMQ_NS_PER_MS);
}

/* What its certificate is called; "" where there are no keys, or its key is in the list no more. */
static const char *name_of(const mmq_core *core, const mmq_peer *peer)
{
    const char *user = mmq_peer_user(peer);
    const mmq_grant *grant =
        user != NULL && core->allow != NULL ? mmq_allow_find(core->allow, true, user) : NULL;
    return grant != NULL ? mmq_grant_name(grant) : "";
}

static void pack_worker(mmq_buffer *out, const mmq_core *core, const mmq_hand *hand)
{
    mmq_pack_map(out, 8);
    mmq_pack_cstr(out, "service");
    mmq_pack_text(out, hand->service->name, hand->service->name_size);
    mmq_pack_cstr(out, "name");
    mmq_pack_cstr(out, name_of(core, &hand->peer));
    pack_count(out, "number", hand->number);
    pack_count(out, "capacity", hand->capacity);
    pack_count(out, "held", hand->held);
    pack_count(out, "requests", hand->dispatches);
    pack_count(out, "age_ms", age_ms(core, hand->heard_ns));
    pack_count(out, "ready_ms", age_ms(core, hand->ready_ns));
}

static void pack_workers(mmq_buffer *out, const mmq_core *core)
{
    size_t count = core->timers.count < STATS_WORKERS_MAX ? core->timers.count : STATS_WORKERS_MAX;
    mmq_pack_cstr(out, "workers");
    mmq_pack_array(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        pack_worker(out, core, MMQ_OF(core->timers.items[i], mmq_hand, timer));
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
    pack_count(&map, "uptime_ms", age_ms(core, core->started_ns));
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
