/* A tar entry's size stands before its bytes, so the rows are read twice within one read
 * transaction: once to count, once to write. libarchive pads an entry that turns out shorter and
 * cuts one that turns out longer, both in silence, so every count is checked here.
 *
 * What could differ from run to run is left out or fixed: no time in the gzip head, `created` for
 * the entries' times, owner 0, the keys of extra in sorted order. */
#include "workers/dump_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

#include "lib/check.h"
#include "lib/digest.h"
#include "lib/json.h"
#include "lib/pack.h"
#include "lib/unpack.h"
#include "metricmq/protocol.h"
#include "lib/files.h"
#include "workers/metric_csv.h"
#include "workers/record.h"

enum {
    JSON_MAX = 64 * 1024 * 1024, /* a body of control bytes, each "\u0000" in JSON, and room */
    BLOCK_BYTES = 64 * 1024,
    ENTRY_MODE = 0644,
};

static const char file_name[] = "archive.tar.gz";

struct build {
    const mmq_archive_order *order;
    struct archive *archive;
    int fd;
    int64_t size_bytes; /* written to fd */
    int64_t entry_left; /* bytes that the open entry still wants */
    mmq_err err;        /* of the first write to fd that failed; nothing is written after it */
    bool abandoned;     /* the archive only has to be freed */
    mmq_why *why;
};

/* ---- libarchive ------------------------------------------------------------------------- */

/* libarchive 3.6 does not free its compressor if a write fails while it works on an entry, nor
 * after archive_write_fail. So it does not hear of a failure, but we do after each step; only when
 * all is over, writes fail, or it would fill up the entry that was begun. */
static la_ssize_t write_block(struct archive *archive, void *context, const void *data, size_t size)
{
    struct build *build = context;
    const int64_t total = build->size_bytes + (int64_t)size;
    if (build->err == MMQ_OK && total > build->order->bytes_max) {
        build->err = mmq_fail(build->why, MMQ_EBUSY, "the spool has no room for this archive");
    }
    if (build->err == MMQ_OK) {
        build->err = mmq_fd_write(build->fd, data, size, file_name, build->why);
    }
    if (build->abandoned) {
        archive_set_error(archive, EIO, "not written");
        return -1;
    }
    if (build->err == MMQ_OK) {
        build->size_bytes = total;
    }
    return (la_ssize_t)size;
}

/* The error of a write underneath libarchive, or else its own if the step went wrong. */
static mmq_err check_step(struct build *build, bool done, const char *step)
{
    if (done || build->err != MMQ_OK) {
        return build->err;
    }
    const char *text = archive_error_string(build->archive);
    return mmq_fail(build->why, MMQ_EIO, "cannot %s the archive: %s", step,
                    text != NULL ? text : "libarchive does not say why");
}

static mmq_err open_archive(struct build *build)
{
    struct archive *archive = build->archive;
    static const char options[] = "gzip:!timestamp,gzip:compression-level=6";
    bool done = archive_write_set_format_pax_restricted(archive) == ARCHIVE_OK &&
                archive_write_add_filter_gzip(archive) == ARCHIVE_OK &&
                archive_write_set_options(archive, options) == ARCHIVE_OK &&
                archive_write_set_bytes_per_block(archive, BLOCK_BYTES) == ARCHIVE_OK &&
                archive_write_set_bytes_in_last_block(archive, 1) == ARCHIVE_OK &&
                archive_write_open(archive, build, NULL, write_block, NULL) == ARCHIVE_OK;
    return check_step(build, done, "begin");
}

static mmq_err begin_entry(struct build *build, const char *name, int64_t size_bytes)
{
    struct archive_entry *entry = archive_entry_new();
    if (entry == NULL) {
        return mmq_fail(build->why, MMQ_ENOMEM, "no memory for an archive entry");
    }
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, size_bytes);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, ENTRY_MODE);
    archive_entry_set_mtime(entry, build->order->dump->created, 0);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    const int status = archive_write_header(build->archive, entry);
    archive_entry_free(entry);
    build->entry_left = size_bytes;
    return check_step(build, status == ARCHIVE_OK, "begin an entry of");
}

static mmq_err add_data(void *context, const void *data, size_t size, mmq_why *why)
{
    struct build *build = context;
    if ((int64_t)size > build->entry_left) {
        return mmq_fail(why, MMQ_EIO, "an entry of the archive is longer than it was counted");
    }
    build->entry_left -= (int64_t)size;
    const la_ssize_t written = archive_write_data(build->archive, data, size);
    return check_step(build, written == (la_ssize_t)size, "write");
}

static mmq_err end_entry(struct build *build)
{
    if (build->entry_left != 0) {
        return mmq_fail(build->why, MMQ_EIO,
                        "an entry of the archive is shorter than it was counted");
    }
    const int status = archive_write_finish_entry(build->archive);
    return check_step(build, status == ARCHIVE_OK, "end an entry of");
}

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

static mmq_err write_json(struct build *build, const mmq_metric *metric)
{
    mmq_buffer json;
    mmq_buffer_init(&json, JSON_MAX);
    mmq_err err = print_json(build->order, metric, &json, build->why);
    if (err == MMQ_OK) {
        err = begin_entry(build, "metric.json", (int64_t)json.size);
    }
    if (err == MMQ_OK) {
        err = add_data(build, json.data, json.size, build->why);
    }
    mmq_buffer_clear(&json);
    return err != MMQ_OK ? err : end_entry(build);
}

/* ---- metric_data.csv -------------------------------------------------------------------- */

static mmq_err count_data(void *context, const void *data, size_t size, mmq_why *why)
{
    (void)data;
    (void)why;
    *(int64_t *)context += (int64_t)size;
    return MMQ_OK;
}

static mmq_err write_csv(struct build *build, const mmq_metric_head *metric)
{
    const mmq_archive_order *order = build->order;
    int64_t size_bytes = 0;
    mmq_err err = mmq_metric_csv_write(order->store, metric, "count", &order->watch,
                                       &(mmq_csv_sink){count_data, &size_bytes}, build->why);
    if (err == MMQ_OK) {
        err = begin_entry(build, "metric_data.csv", size_bytes);
    }
    if (err == MMQ_OK) {
        err = mmq_metric_csv_write(order->store, metric, "write", &order->watch,
                                   &(mmq_csv_sink){add_data, build}, build->why);
    }
    return err != MMQ_OK ? err : end_entry(build);
}

/* ---- all of it -------------------------------------------------------------------------- */

static mmq_err write_entries(struct build *build)
{
    mmq_metric metric;
    mmq_err err =
        mmq_store_metric(build->order->store, build->order->dump->uid, &metric, build->why);
    if (err != MMQ_OK) {
        return err;
    }
    err = open_archive(build);
    if (err == MMQ_OK) {
        err = write_json(build, &metric);
    }
    if (err == MMQ_OK) {
        err = write_csv(build, &metric.head);
    }
    mmq_metric_clear(&metric);
    if (err == MMQ_OK) {
        err = check_step(build, archive_write_close(build->archive) == ARCHIVE_OK, "end");
    }
    return err;
}

static mmq_err write_archive(struct build *build)
{
    mmq_snapshot snapshot;
    mmq_err err = mmq_store_begin_read(build->order->store, &snapshot, build->why);
    if (err == MMQ_OK) {
        err = write_entries(build);
        mmq_store_end_read(build->order->store);
    }
    build->abandoned = err != MMQ_OK;
    return err != MMQ_OK ? err : mmq_fd_sync(build->fd, file_name, build->why);
}

mmq_err mmq_archive_build(const mmq_archive_order *order, int fd, mmq_sums *out, mmq_why *why)
{
    *out = (mmq_sums){0};
    struct build build = {
        .order = order,
        .fd = fd,
        .why = why,
        .archive = archive_write_new(),
    };
    mmq_err err = build.archive != NULL ? write_archive(&build)
                                        : mmq_fail(why, MMQ_ENOMEM, "no memory for an archive");
    if (err == MMQ_OK) {
        err = mmq_sums_of_file(fd, out, why);
    }
    if (build.archive != NULL) {
        (void)archive_write_free(build.archive);
    }
    return err;
}
