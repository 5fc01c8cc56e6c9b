/* Rates are over the time that counts, whatever was asked for, and latencies those of good answers.
 * Milliseconds are printed with three significant digits: the histogram knows no more. */
#include "clients/load/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"

#define MB 1e6

static const struct {
    const char *name;
    double percent;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"p99.99", 99.99}};

enum { PERCENTILES = sizeof percentiles / sizeof *percentiles };

static double seconds_of(const mmq_load_report *report)
{
    double seconds = (double)report->result->elapsed_ns / (double)MMQ_NS_PER_S;
    return seconds > 0 ? seconds : 1;
}

static double ms_of(int64_t time_ns)
{
    return (double)time_ns / (double)MMQ_NS_PER_MS;
}

/* Without retries and timeouts no echo has a late answer, so what came was answered twice. Streams
 * may give a page up and ask for it again. */
static bool is_answered_twice(const mmq_load_report *report)
{
    return !report->mix && !report->options->retry && report->result->stray > 0;
}

bool mmq_load_report_good(const mmq_load_report *report)
{
    mmq_tally total;
    mmq_load_total(report->result, &total);
    return total.good > 0 && mmq_tally_errors(&total) == 0 && report->result->never_answered == 0 &&
           !is_answered_twice(report);
}

/* Three significant digits, without an exponent. */
static void add_digits(mmq_buffer *out, int width, double value)
{
    int decimals = value < 10 ? 2 : value < 100 ? 1 : 0;
    decimals = value < 1 ? 3 : decimals;
    mmq_buffer_format(out, "%*.*f", width, decimals, value);
}

void mmq_load_report_time(mmq_buffer *out, int64_t time_ns)
{
    static const struct {
        double scale;
        const char *unit;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};
    size_t i = 0;
    while (i < 2 && (double)time_ns < units[i].scale) {
        i++;
    }
    mmq_buffer_format(out, "%.3g %s", (double)time_ns / units[i].scale, units[i].unit);
}

static void add_count(mmq_buffer *out, const char *separator, size_t count, const char *one)
{
    mmq_buffer_format(out, "%s%zu %s%s", separator, count, one, count == 1 ? "" : "s");
}

void mmq_load_report_settings(const mmq_load_report *report, mmq_buffer *out)
{
    const mmq_load_options *options = report->options;
    if (options->rate > 0) {
        mmq_buffer_format(out, "open loop, %.6g requests a second", options->rate);
    } else {
        mmq_buffer_format(out, "closed loop, %zu under way", options->concurrency);
    }
    add_count(out, ", ", options->clients, "client");
    if (report->workers > 0) {
        add_count(out, ", ", report->workers, "worker");
        mmq_buffer_format(out, " of capacity %u", report->capacity);
    }
    if (report->service_ms > 0) {
        mmq_buffer_format(out, " and %" PRId64 " ms a request", report->service_ms);
    }
}

/* ---- text --------------------------------------------------------------------------------- */

static void add_heading(const mmq_load_report *report, mmq_buffer *out)
{
    const mmq_load_options *options = report->options;
    if (report->mix) {
        mmq_buffer_format(out, "mix %s at %s\n", report->mix, options->endpoint);
    } else {
        mmq_buffer_format(out, "echo of %zu bytes by %s at %s\n", options->size, options->service,
                          options->endpoint);
    }
    mmq_load_report_settings(report, out);
    mmq_buffer_format(out, "\nseed %" PRIu64 ", %.3g s counted after %.3g s of warm-up%s\n\n",
                      options->seed, seconds_of(report),
                      (double)options->warmup_ns / (double)MMQ_NS_PER_S,
                      report->result->stopped ? ", stopped early" : "");
}

static void add_columns(mmq_buffer *out)
{
    mmq_buffer_format(out, "%-6s%10s%10s", "", "requests", "good/s");
    for (size_t i = 0; i < PERCENTILES; i++) {
        mmq_buffer_format(out, "%9s", percentiles[i].name);
    }
    mmq_buffer_format(out, "%9s ms\n", "max");
}

static void add_line(mmq_buffer *out, const char *name, const mmq_tally *tally, double seconds)
{
    mmq_buffer_format(out, "%-6s%10" PRIu64 "%10.0f", name, tally->requests,
                      (double)tally->good / seconds);
    for (size_t i = 0; i < PERCENTILES; i++) {
        add_digits(out, 9,
                   ms_of(mmq_histogram_percentile(&tally->latency, percentiles[i].percent)));
    }
    add_digits(out, 9, ms_of(tally->latency.most));
    mmq_buffer_text(out, "\n");
}

static void add_lines(const mmq_load_report *report, const mmq_tally *total, mmq_buffer *out)
{
    size_t kinds = 0;
    for (size_t i = 0; i < MMQ_LOAD_KINDS; i++) {
        const mmq_tally *tally = &report->result->kinds[i];
        if (tally->requests > 0) {
            add_line(out, mmq_load_kind_name((mmq_load_kind)i), tally, seconds_of(report));
            kinds++;
        }
    }
    if (kinds != 1) {
        add_line(out, "total", total, seconds_of(report));
    }
}

static void add_refusals(const mmq_histogram *refused, mmq_buffer *out)
{
    if (refused->count > 0) {
        mmq_buffer_text(out, "refused (503) after p50 ");
        mmq_load_report_time(out, mmq_histogram_percentile(refused, 50));
        mmq_buffer_text(out, ", p99 ");
        mmq_load_report_time(out, mmq_histogram_percentile(refused, 99));
        mmq_buffer_text(out, "\n");
    }
}

static void add_errors(const mmq_load_report *report, const mmq_tally *total, mmq_buffer *out)
{
    mmq_buffer_text(out, "errors:");
    size_t at = 0;
    char name[24];
    uint64_t count;
    while (mmq_tally_next_error(total, &at, name, &count)) {
        mmq_buffer_format(out, " %s=%" PRIu64, name, count);
    }
    mmq_buffer_text(out, mmq_tally_errors(total) == 0 ? " none\n" : "\n");
    add_refusals(&total->refused, out);
    mmq_buffer_format(out, "never answered: %" PRIu64 "\n", report->result->never_answered);
    if (report->result->stray > 0) {
        mmq_buffer_format(out, "answers to no request: %" PRIu64 "\n", report->result->stray);
    }
}

void mmq_load_report_text(const mmq_load_report *report, mmq_buffer *out)
{
    mmq_tally total;
    mmq_load_total(report->result, &total);
    double seconds = seconds_of(report);
    add_heading(report, out);
    add_columns(out);
    add_lines(report, &total, out);
    mmq_buffer_format(out,
                      "\n%.0f rows/s, %.2f MB/s, %.0f pages/s; goodput %.0f/s within the timeout\n",
                      (double)total.rows / seconds, (double)total.bytes / MB / seconds,
                      (double)total.pages / seconds, (double)total.in_time / seconds);
    if (report->options->rate > 0) {
        const mmq_histogram *lag = &report->result->lag;
        mmq_buffer_format(out, "sent late by p50 ");
        mmq_load_report_time(out, mmq_histogram_percentile(lag, 50));
        mmq_buffer_format(out, ", p99 ");
        mmq_load_report_time(out, mmq_histogram_percentile(lag, 99));
        mmq_buffer_format(out, ", max ");
        mmq_load_report_time(out, lag->most);
        mmq_buffer_text(out, " (the generator's own share)\n");
    }
    add_errors(report, &total, out);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void add_text(mmq_buffer *out, const char *key, const char *text)
{
    mmq_buffer_format(out, "\"%s\": ", key);
    mmq_json_string(out, text, strlen(text));
    mmq_buffer_text(out, ", ");
}

static void add_latency(mmq_buffer *out, const char *key, const mmq_histogram *histogram)
{
    mmq_buffer_format(out, "\"%s\": {", key);
    for (size_t i = 0; i < PERCENTILES; i++) {
        mmq_buffer_format(out, "\"%s\": %.6g, ", percentiles[i].name,
                          ms_of(mmq_histogram_percentile(histogram, percentiles[i].percent)));
    }
    mmq_buffer_format(out, "\"max\": %.6g, \"min\": %.6g, \"mean\": %.6g}", ms_of(histogram->most),
                      ms_of(histogram->least), mmq_histogram_mean(histogram) / 1e6);
}

static void add_error_map(mmq_buffer *out, const mmq_tally *tally)
{
    mmq_buffer_text(out, "\"errors\": {");
    size_t at = 0;
    char name[24];
    uint64_t count;
    for (const char *comma = ""; mmq_tally_next_error(tally, &at, name, &count); comma = ", ") {
        mmq_buffer_format(out, "%s\"%s\": %" PRIu64, comma, name, count);
    }
    mmq_buffer_text(out, "}");
}

static void add_tally(mmq_buffer *out, const char *key, const mmq_tally *tally, double seconds)
{
    mmq_buffer_format(
        out,
        "\"%s\": {\"requests\": %" PRIu64 ", \"good\": %" PRIu64
        ", \"per_second\": %.6g, \"goodput_per_second\": %.6g, \"rows\": %" PRIu64
        ", \"rows_per_second\": %.6g, \"bytes\": %" PRIu64
        ", \"mb_per_second\": %.6g, \"pages\": %" PRIu64 ", \"pages_per_second\": %.6g, ",
        key, tally->requests, tally->good, (double)tally->good / seconds,
        (double)tally->in_time / seconds, tally->rows, (double)tally->rows / seconds, tally->bytes,
        (double)tally->bytes / MB / seconds, tally->pages, (double)tally->pages / seconds);
    add_latency(out, "latency_ms", &tally->latency);
    mmq_buffer_text(out, ", ");
    add_latency(out, "refused_ms", &tally->refused);
    mmq_buffer_text(out, ", ");
    add_error_map(out, tally);
    mmq_buffer_text(out, "}");
}

static void add_kinds(mmq_buffer *out, const mmq_load_report *report)
{
    mmq_buffer_text(out, "\"kinds\": {");
    const char *comma = "";
    for (size_t i = 0; i < MMQ_LOAD_KINDS; i++) {
        const mmq_tally *tally = &report->result->kinds[i];
        if (tally->requests > 0) {
            mmq_buffer_text(out, comma);
            add_tally(out, mmq_load_kind_name((mmq_load_kind)i), tally, seconds_of(report));
            comma = ", ";
        }
    }
    mmq_buffer_text(out, "}");
}

static void add_series(mmq_buffer *out, const mmq_series *series)
{
    mmq_buffer_text(out, "\"series\": [");
    for (size_t i = 0; i < series->count; i++) {
        const mmq_second *second = &series->seconds[i];
        uint64_t good = 0;
        for (size_t k = 0; k < MMQ_LOAD_KINDS; k++) {
            good += second->good[k];
        }
        mmq_buffer_format(out, "%s{\"good\": %" PRIu64 ", \"errors\": %" PRIu64 "}",
                          i > 0 ? ", " : "", good, second->errors);
    }
    mmq_buffer_text(out, "]");
}

static void add_settings(mmq_buffer *out, const mmq_load_report *report)
{
    const mmq_load_options *options = report->options;
    add_text(out, "endpoint", options->endpoint);
    add_text(out, "loop", options->rate > 0 ? "open" : "closed");
    if (report->mix) {
        add_text(out, "mix", report->mix);
    } else {
        add_text(out, "service", options->service);
        mmq_buffer_format(out, "\"size\": %zu, ", options->size);
    }
    mmq_buffer_format(out,
                      "\"rate\": %.9g, \"concurrency\": %zu, \"clients\": %zu, \"workers\": %zu, "
                      "\"capacity\": %u, \"service_time_ms\": %" PRId64 ", \"timeout_ms\": %u, "
                      "\"warmup_s\": %.6g, \"seed\": %" PRIu64 ", ",
                      options->rate, options->concurrency, options->clients, report->workers,
                      report->capacity, report->service_ms, options->timeout_ms,
                      (double)options->warmup_ns / (double)MMQ_NS_PER_S, options->seed);
}

void mmq_load_report_json(const mmq_load_report *report, mmq_buffer *out)
{
    const mmq_load_result *result = report->result;
    mmq_tally total;
    mmq_load_total(result, &total);
    mmq_buffer_text(out, "{");
    add_settings(out, report);
    mmq_buffer_format(
        out,
        "\"duration_s\": %.6g, \"stopped\": %s, \"good\": %s, \"never_answered\": "
        "%" PRIu64 ", \"stray_answers\": %" PRIu64 ", \"served_by_workers\": %" PRIu64 ", ",
        (double)result->elapsed_ns / (double)MMQ_NS_PER_S, result->stopped ? "true" : "false",
        mmq_load_report_good(report) ? "true" : "false", result->never_answered, result->stray,
        report->served);
    add_tally(out, "total", &total, seconds_of(report));
    mmq_buffer_text(out, ", ");
    add_kinds(out, report);
    mmq_buffer_text(out, ", ");
    add_latency(out, "lag_ms", &result->lag);
    mmq_buffer_text(out, ", ");
    add_series(out, &result->series);
    mmq_buffer_text(out, "}\n");
}
