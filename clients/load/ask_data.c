/* Requests for rows, over streams of the client library:
 *
 *   small  the last value of a metric: descending, one row
 *   day    from midnight to midnight, ascending; as many rows as were ever seen of that day
 *   dump   all rows, descending; as many as the store had at the start, rowids 1 to n
 *
 * Which metric and which day comes from the seed. All want rows with and without a score. */
#include "clients/load/driver.h"
#include "lib/calendar.h"
#include "metricmq/pack.h"
#include "metricmq/protocol.h"

/* A stream that broke after it had begun has no end mark; one that never began was refused. */
static void end_broken(mmq_load_request *request)
{
    mmq_outcome *outcome = &request->outcome;
    outcome->status = mmq_stream_status(request->stream);
    outcome->fault =
        request->check.named || outcome->status == 200 ? MMQ_FAULT_NO_END : MMQ_FAULT_NONE;
}

static void end_whole(mmq_load_request *request)
{
    request->outcome.status = 200;
    request->outcome.fault = mmq_rows_check_end(&request->check);
    if (request->kind == MMQ_LOAD_DAY && !request->outcome.fault) {
        mmq_catalog_note_day(request->metric, request->day, request->check.rows);
    }
}

/* Takes what the stream has; MMQ_EAGAIN: more will come. */
static mmq_err take_payloads(mmq_load_request *request)
{
    mmq_err err = MMQ_OK;
    while (!err) {
        mmq_frame payload;
        mmq_frame_init(&payload);
        err = mmq_stream_take(request->stream, &payload, NULL);
        if (!err) {
            size_t size = mmq_frame_size(&payload);
            mmq_rows_check_payload(&request->check, mmq_frame_data(&payload), size);
            request->outcome.bytes += size;
        }
        mmq_frame_close(&payload);
    }
    return err;
}

static void take_rows(void *context)
{
    mmq_load_request *request = context;
    mmq_err err = take_payloads(request);
    if (err == MMQ_EAGAIN) {
        return;
    }
    request->outcome.rows = request->check.rows;
    request->outcome.pages = mmq_stream_pages(request->stream);
    if (err == MMQ_EEND) {
        end_whole(request);
    } else {
        end_broken(request);
    }
    mmq_request_end(request);
}

static mmq_rows_wanted wanted_rows(const mmq_load_request *request)
{
    const mmq_catalog_metric *metric = request->metric;
    mmq_rows_wanted wanted = {
        .uid = metric->uid, .from = INT64_MIN, .to = INT64_MAX, .most_rows = UINT64_MAX};
    if (request->kind == MMQ_LOAD_SMALL) {
        wanted.least_rows = metric->rows > 0;
        wanted.most_rows = 1;
    } else if (request->kind == MMQ_LOAD_DAY) {
        wanted.ascending = true;
        wanted.from = metric->first_day_s + (int64_t)request->day * MMQ_DAY_S;
        wanted.to = wanted.from + MMQ_DAY_S - 1;
        wanted.least_rows = mmq_catalog_day_rows(metric, request->day);
    } else {
        wanted.least_rows = (uint64_t)metric->rows;
        wanted.all = true;
    }
    return wanted;
}

static void pack_args(mmq_args *args, const mmq_load_request *request)
{
    mmq_buffer_reset(&args->pairs);
    args->count = 0;
    mmq_args_cstr(args, "op", "data");
    mmq_args_cstr(args, "uid", request->metric->uid);
    mmq_args_int(args, "anomaly", -1);
    if (request->kind == MMQ_LOAD_SMALL) {
        mmq_args_int(args, "limit", 1);
    } else if (request->kind == MMQ_LOAD_DAY) {
        mmq_args_int(args, "from", request->check.wanted.from);
        mmq_args_int(args, "to", request->check.wanted.to);
    }
}

bool mmq_ask_data(mmq_load_request *request)
{
    mmq_driver *driver = request->driver;
    mmq_catalog *catalog = driver->options->catalog;
    request->metric = &catalog->metrics[mmq_splitmix_below(&driver->random, catalog->count)];
    request->day = (uint32_t)mmq_splitmix_below(&driver->random, request->metric->days);
    const mmq_rows_wanted wanted = wanted_rows(request);
    mmq_rows_check_init(&request->check, &wanted);
    mmq_args *args = &driver->args;
    pack_args(args, request);
    const mmq_stream_options options = {.call = {.service = MMQ_SERVICE_QUERY,
                                                 .args = args->pairs.data,
                                                 .args_size = args->pairs.size,
                                                 .args_count = args->count,
                                                 .timeout_ms = driver->options->timeout_ms},
                                        .ready = take_rows,
                                        .context = request};
    request->stream = mmq_stream_new(request->peer->client, &options, NULL);
    return request->stream != NULL;
}
