/* Rows and records: requests to metric.query, answered by a stream. */
#include <math.h>

#include "clients/http/routes.h"
#include "lib/calendar.h"
#include "lib/number.h"

enum { FROM, TO, ANOMALY, LIMIT, BUCKETS, KEYS };
enum { OF_DATA = 1 << FROM | 1 << TO | 1 << ANOMALY | 1 << LIMIT };
enum { OF_SUMMARY = 1 << FROM | 1 << TO | 1 << BUCKETS };

static const char *const keys[KEYS] = {"from", "to", "anomaly", "limit", "buckets"};

static bool add_time(mmq_args *args, const char *key, const mmq_slice *value)
{
    int64_t seconds;
    if (!mmq_time_parse_loose(value->data, value->size, &seconds) || seconds < MMQ_TIME_MIN ||
        seconds > MMQ_TIME_MAX) {
        return false;
    }
    mmq_args_int(args, key, seconds);
    return true;
}

static bool add_anomaly(mmq_args *args, const char *key, const mmq_slice *value)
{
    double number;
    if (!mmq_number_parse(value->data, value->size, &number) || !isfinite(number)) {
        return false;
    }
    mmq_args_double(args, key, number);
    return true;
}

static bool add_limit(mmq_args *args, const char *key, const mmq_slice *value)
{
    int64_t number;
    if (!mmq_integer_parse(value->data, value->size, &number) || number < 0) {
        return false;
    }
    mmq_args_int(args, key, number);
    return true;
}

/* The worker knows how many are too many. */
static bool add_buckets(mmq_args *args, const char *key, const mmq_slice *value)
{
    int64_t number;
    if (!mmq_integer_parse(value->data, value->size, &number)) {
        return false;
    }
    mmq_args_int(args, key, number);
    return true;
}

static const struct {
    bool (*add)(mmq_args *args, const char *key, const mmq_slice *value);
    const char *wanted;
} readers[KEYS] = {
    [FROM] = {add_time, "a time between the years 1 and 9999 (UTC) or seconds since the epoch"},
    [TO] = {add_time, "a time between the years 1 and 9999 (UTC) or seconds since the epoch"},
    [ANOMALY] = {add_anomaly, "a finite number"},
    [LIMIT] = {add_limit, "a whole number from 0 to 9223372036854775807"},
    [BUCKETS] = {add_buckets, "a whole number"},
};

/* Adds what the query says of these keys, or refuses it. */
static bool add_query(mmq_exchange *exchange, mmq_args *args, unsigned wanted)
{
    mmq_slice values[KEYS];
    mmq_why why;
    if (mmq_url_query(&exchange->url, keys, KEYS, values, &why) != MMQ_OK) {
        mmq_exchange_refuse(exchange, 400, "%s", why.text);
        return false;
    }
    for (size_t i = 0; i < KEYS; i++) {
        if (values[i].data && (wanted & 1U << i) != 0 &&
            !readers[i].add(args, keys[i], &values[i])) {
            mmq_exchange_refuse(exchange, 400, "%s must be %s", keys[i], readers[i].wanted);
            return false;
        }
    }
    return true;
}

/* JSON alone has another form, and order, for all metrics. */
static mmq_form choose_form(const mmq_exchange *exchange, bool one)
{
    static const mmq_form forms[MMQ_MEDIA_COUNT] = {
        [MMQ_MEDIA_CSV] = MMQ_FORM_CSV,
        [MMQ_MEDIA_NDJSON] = MMQ_FORM_NDJSON,
        [MMQ_MEDIA_OCTETS] = MMQ_FORM_MSGPACK,
    };
    const mmq_media media = mmq_accept_choose(&exchange->headers.accept);
    const mmq_form json = one ? MMQ_FORM_JSON_METRIC : MMQ_FORM_JSON_METRICS;
    return media == MMQ_MEDIA_JSON ? json : forms[media];
}

static void answer_data(mmq_exchange *exchange, const mmq_slice *uid)
{
    const mmq_form form = choose_form(exchange, uid != NULL);
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "data");
    if (uid) {
        mmq_args_text(&args, "uid", uid->data, uid->size);
    }
    mmq_args_cstr(&args, "order", form == MMQ_FORM_JSON_METRICS ? "metric" : "time");
    if (add_query(exchange, &args, OF_DATA)) {
        mmq_exchange_stream_tagged(exchange, &args, form, false, true);
    }
    mmq_args_clear(&args);
}

void mmq_handle_data(mmq_exchange *exchange)
{
    mmq_slice uid;
    if (mmq_exchange_uid(exchange, &uid)) {
        answer_data(exchange, &uid);
    }
}

void mmq_handle_all_data(mmq_exchange *exchange)
{
    answer_data(exchange, NULL);
}

/* ---- rows in buckets -------------------------------------------------------------------- */

static void answer_summary(mmq_exchange *exchange, const mmq_slice *uid)
{
    const mmq_form forms[MMQ_MEDIA_COUNT] = {
        [MMQ_MEDIA_JSON] = uid != NULL ? MMQ_FORM_JSON_SUMMARY : MMQ_FORM_JSON_SUMMARIES,
        [MMQ_MEDIA_CSV] = MMQ_FORM_CSV_SUMMARY,
        [MMQ_MEDIA_NDJSON] = MMQ_FORM_NDJSON_SUMMARY,
        [MMQ_MEDIA_OCTETS] = MMQ_FORM_MSGPACK,
    };
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "summary");
    if (uid) {
        mmq_args_text(&args, "uid", uid->data, uid->size);
    }
    if (add_query(exchange, &args, OF_SUMMARY)) {
        const mmq_media media = mmq_accept_choose(&exchange->headers.accept);
        mmq_exchange_stream_tagged(exchange, &args, forms[media], false, true);
    }
    mmq_args_clear(&args);
}

void mmq_handle_summary(mmq_exchange *exchange)
{
    mmq_slice uid;
    if (mmq_exchange_uid(exchange, &uid)) {
        answer_summary(exchange, &uid);
    }
}

void mmq_handle_all_summary(mmq_exchange *exchange)
{
    answer_summary(exchange, NULL);
}

/* ---- records ---------------------------------------------------------------------------- */

void mmq_handle_models(mmq_exchange *exchange)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "models");
    mmq_exchange_stream_tagged(exchange, &args, MMQ_FORM_JSON_RECORDS, true, true);
}

void mmq_handle_model(mmq_exchange *exchange)
{
    mmq_slice uid;
    if (mmq_exchange_uid(exchange, &uid)) {
        mmq_args args;
        mmq_args_init(&args);
        mmq_args_cstr(&args, "op", "model");
        mmq_args_text(&args, "uid", uid.data, uid.size);
        mmq_exchange_stream_tagged(exchange, &args, MMQ_FORM_JSON_RECORDS, false, false);
    }
}
