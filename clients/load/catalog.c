/* A metric's first row is not known, but its last is, how many there are and about how far apart:
 * the days before the last one that so many rows take are those that are asked for. Some of them
 * may be empty. */
#include "clients/load/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"

enum { METRICS_MAX = 1000000, INTERVAL_S = 300 };

void mmq_catalog_clear(mmq_catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++) {
        free(catalog->metrics[i].day_rows);
    }
    free(catalog->metrics);
    *catalog = (mmq_catalog){0};
}

static mmq_err reserve_metric(mmq_catalog *catalog)
{
    if (catalog->count < catalog->capacity) {
        return MMQ_OK;
    }
    size_t capacity = catalog->capacity > 0 ? catalog->capacity * 2 : 64;
    mmq_catalog_metric *metrics = reallocarray(catalog->metrics, capacity, sizeof *metrics);
    if (!metrics) {
        return MMQ_ENOMEM;
    }
    catalog->metrics = metrics;
    catalog->capacity = capacity;
    return MMQ_OK;
}

static int64_t integer_of(mmq_reader record, const char *key)
{
    mmq_value value;
    mmq_reader whole;
    return mmq_map_find(record, key, &value, &whole) && value.type == MMQ_INT ? value.integer : 0;
}

static int64_t last_timestamp_of(mmq_reader record)
{
    mmq_value value;
    mmq_reader whole;
    int64_t seconds;
    return mmq_map_find(record, "last_timestamp", &value, &whole) && value.type == MMQ_STR &&
                   mmq_time_parse(value.text.data, value.text.size, &seconds)
               ? seconds
               : 0;
}

static int64_t midnight_of(int64_t seconds)
{
    int64_t into_day = seconds % MMQ_DAY_S;
    return seconds - into_day - (into_day < 0 ? MMQ_DAY_S : 0);
}

static void set_days(mmq_catalog_metric *metric, int64_t last_s, int64_t interval_s)
{
    interval_s = interval_s > 0 && interval_s <= MMQ_DAY_S ? interval_s : INTERVAL_S;
    int64_t rows_a_day = MMQ_DAY_S / interval_s;
    int64_t days = metric->rows / rows_a_day + 1;
    days = days < MMQ_CATALOG_DAYS_MAX ? days : MMQ_CATALOG_DAYS_MAX;
    int64_t first_day_s = midnight_of(last_s) - (days - 1) * MMQ_DAY_S;
    metric->days = (uint32_t)days;
    metric->first_day_s = first_day_s > MMQ_TIME_MIN ? first_day_s : MMQ_TIME_MIN;
}

mmq_err mmq_catalog_add(mmq_catalog *catalog, const void *record, size_t size, mmq_why *why)
{
    if (reserve_metric(catalog)) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for %zu metrics", catalog->count);
    }
    mmq_reader reader, whole;
    mmq_value uid;
    mmq_reader_init(&reader, record, size);
    if (!mmq_map_find(reader, "uid", &uid, &whole) || uid.type != MMQ_STR || uid.text.size == 0 ||
        uid.text.size > MMQ_UID_MAX) {
        return mmq_fail(why, MMQ_EPROTO, "the answer to models holds a record without a uid");
    }
    mmq_catalog_metric *metric = &catalog->metrics[catalog->count++];
    int64_t rows = integer_of(reader, "last_rowid");
    *metric = (mmq_catalog_metric){.rows = rows > 0 ? rows : 0};
    memcpy(metric->uid, uid.text.data, uid.text.size);
    set_days(metric, last_timestamp_of(reader), integer_of(reader, "poll_interval"));
    return MMQ_OK;
}

static mmq_err add_records(mmq_catalog *catalog, const mmq_frame *payload, mmq_why *why)
{
    mmq_reader reader;
    mmq_reader_init(&reader, mmq_frame_data(payload), mmq_frame_size(payload));
    mmq_err err = MMQ_OK;
    while (!err && !mmq_reader_done(&reader) && catalog->count < METRICS_MAX) {
        mmq_value head;
        mmq_reader whole;
        err = mmq_unpack_whole(&reader, &head, &whole);
        err = err ? mmq_fail(why, MMQ_EPROTO, "the answer to models cannot be read")
                  : mmq_catalog_add(catalog, whole.at, mmq_reader_left(&whole), why);
    }
    return err;
}

static mmq_err read_stream(mmq_catalog *catalog, mmq_stream *stream, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    while (!err) {
        mmq_frame payload;
        mmq_frame_init(&payload);
        err = mmq_stream_next(stream, &payload, why);
        if (!err) {
            err = add_records(catalog, &payload, why);
        }
        mmq_frame_close(&payload);
    }
    return err == MMQ_EEND ? MMQ_OK : err;
}

mmq_err mmq_catalog_read(mmq_catalog *catalog, mmq_client *client, unsigned timeout_ms,
                         mmq_why *why)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "models");
    const mmq_stream_options options = {.call = {.service = MMQ_SERVICE_QUERY,
                                                 .args = args.pairs.data,
                                                 .args_size = args.pairs.size,
                                                 .args_count = args.count,
                                                 .timeout_ms = timeout_ms}};
    mmq_stream *stream = mmq_stream_new(client, &options, why);
    mmq_err err = stream ? read_stream(catalog, stream, why) : MMQ_EBUSY;
    mmq_stream_destroy(&stream);
    mmq_args_clear(&args);
    if (!err && catalog->count == 0) {
        err =
            mmq_fail(why, MMQ_ENOTFOUND, "the store holds no metrics; `metricmq demo` makes some");
    }
    return err;
}

uint32_t mmq_catalog_day_rows(const mmq_catalog_metric *metric, uint32_t day)
{
    return metric->day_rows ? metric->day_rows[day] : 0;
}

void mmq_catalog_note_day(mmq_catalog_metric *metric, uint32_t day, uint64_t rows)
{
    if (!metric->day_rows) {
        metric->day_rows = calloc(metric->days, sizeof *metric->day_rows);
    }
    if (metric->day_rows && rows > metric->day_rows[day]) {
        metric->day_rows[day] = rows < UINT32_MAX ? (uint32_t)rows : UINT32_MAX;
    }
}
