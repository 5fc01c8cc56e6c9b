/* Two entries, written in one read transaction: the record as JSON, the rows as CSV. What could
 * differ from run to run is left out or fixed: `created` for the entries' times, the keys of extra
 * in sorted order; workers/archive sees to the rest. */
#include "workers/dump_archive.h"

#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "lib/envelope.h"
#include "workers/archive/archive.h"
#include "lib/deflate.h"
#include "workers/metric_csv.h"
#include "workers/record.h"

enum { JSON_MAX = 64 * 1024 * 1024 }; /* a body of control bytes, each "\u0000" in JSON, and room */

/* ---- metric.json ------------------------------------------------------------------------ */

static bool is_ours(const mmq_value *key)
{
    return mmq_value_is(key, "uid") || mmq_value_is(key, "metric") ||
           mmq_value_is(key, "server_id");
}

/* Copies the pairs of extra that are not ours; returns how many. extra was made by
 * mmq_canonical_map: it is whole. */
static uint32_t copy_extra(const mmq_buffer *extra, mmq_buffer *out)
{
    mmq_reader reader;
    mmq_value head, key;
    uint32_t kept = 0;
    mmq_reader_init(&reader, extra->data, extra->size);
    mmq_err err = mmq_unpack(&reader, &head);
    for (uint32_t i = 0; err == MMQ_OK && i < head.count; i++) {
        const uint8_t *start = reader.at;
        err = mmq_unpack(&reader, &key);
        if (err == MMQ_OK) {
            err = mmq_unpack_skip(&reader);
        }
        if (err == MMQ_OK && !is_ours(&key)) {
            mmq_buffer_add(out, start, (size_t)(reader.at - start));
            kept++;
        }
    }
    CHECK(err == MMQ_OK);
    return kept;
}

/* The record as JSON text. */
static mmq_err print_record(const mmq_metric *metric, mmq_buffer *out, mmq_why *why)
{
    mmq_buffer record;
    mmq_buffer_init(&record, MMQ_MESSAGE_MAX);
    mmq_err err = mmq_record_pack(&record, metric, why);
    if (err == MMQ_OK) {
        err = record.failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for a record")
                            : mmq_json_from_msgpack(record.data, record.size, out, why);
    }
    mmq_buffer_clear(&record);
    return err;
}

static void pack_request(const mmq_archive_order *order, const mmq_buffer *record,
                         mmq_buffer *pairs, mmq_buffer *out)
{
    const uint32_t kept = copy_extra(&order->dump->extra, pairs);
    mmq_pack_map(out, kept + 2);
    mmq_buffer_add(out, pairs->data, pairs->size);
    mmq_pack_cstr(out, "server_id");
    mmq_pack_cstr(out, order->server_id);
    mmq_pack_cstr(out, "metric");
    mmq_pack_text(out, (const char *)record->data, record->size);
    out->failed = out->failed || pairs->failed || record->failed;
}

static mmq_err print_json(const mmq_archive_order *order, const mmq_metric *metric, mmq_buffer *out,
                          mmq_why *why)
{
    mmq_buffer record, pairs, packed;
    mmq_buffer_init(&record, JSON_MAX);
    mmq_buffer_init(&pairs, JSON_MAX);
    mmq_buffer_init(&packed, JSON_MAX);
    mmq_err err = print_record(metric, &record, why);
    if (err == MMQ_OK) {
        pack_request(order, &record, &pairs, &packed);
        err = packed.failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for metric.json")
                            : mmq_json_from_msgpack(packed.data, packed.size, out, why);
    }
    if (err == MMQ_OK && out->failed) {
        err = mmq_fail(why, MMQ_ENOMEM, "no memory for metric.json");
    }
    mmq_buffer_clear(&packed);
    mmq_buffer_clear(&pairs);
    mmq_buffer_clear(&record);
    return err;
}

static mmq_err write_json(const mmq_archive_order *order, const mmq_metric *metric,
                          mmq_archive *archive, mmq_why *why)
{
    mmq_buffer json;
    mmq_buffer_init(&json, JSON_MAX);
    mmq_err err = print_json(order, metric, &json, why);
    if (err == MMQ_OK) {
        err = mmq_archive_entry(archive, "metric.json", why);
    }
    if (err == MMQ_OK) {
        err = mmq_archive_add(archive, json.data, json.size, why);
    }
    mmq_buffer_clear(&json);
    return err;
}

/* ---- all of it -------------------------------------------------------------------------- */

static mmq_err write_entries(const mmq_archive_order *order, mmq_archive *archive, mmq_why *why)
{
    mmq_metric metric;
    mmq_err err = mmq_store_metric(order->store, order->dump->uid, &metric, why);
    if (err != MMQ_OK) {
        return err;
    }
    err = write_json(order, &metric, archive, why);
    if (err == MMQ_OK) {
        err = mmq_archive_entry(archive, "metric_data.csv", why);
    }
    if (err == MMQ_OK) {
        err = mmq_metric_csv_write(order->store, &metric.head, &order->watch, archive, why);
    }
    mmq_metric_clear(&metric);
    return err;
}

static mmq_err write_archive(const mmq_archive_order *order, mmq_archive *archive, mmq_sums *out,
                             mmq_why *why)
{
    mmq_snapshot snapshot;
    mmq_err err = mmq_store_begin_read(order->store, &snapshot, why);
    if (err == MMQ_OK) {
        err = write_entries(order, archive, why);
        mmq_store_end_read(order->store);
    }
    return err == MMQ_OK ? mmq_archive_finish(archive, out, why) : err;
}

mmq_err mmq_archive_build(const mmq_archive_order *order, int fd, mmq_sums *out, mmq_why *why)
{
    const mmq_archive_options options = {
        .level = order->level == 0 ? MMQ_LEVEL_DEFAULT : order->level,
        .created = order->dump->created,
        .bytes_max = order->bytes_max,
    };
    mmq_archive *archive;
    *out = (mmq_sums){0};
    mmq_err err = mmq_archive_new(fd, &options, &archive, why);
    if (err == MMQ_OK) {
        err = write_archive(order, archive, out, why);
    }
    mmq_archive_destroy(&archive);
    return err;
}
