/* Above, latency over percentile: the axis gives each nine the same room (it is -log10 of the share
 * of requests that took longer), so that the tail, where it hurts, is seen; latency is
 * logarithmic. A curve ends at its last request, with its greatest latency.
 *
 * Below, good answers a second, as steps: each second is one figure, and nothing was measured
 * between two. Errors are drawn only where there are any.
 *
 * No text comes from outside: a mix was parsed before it is shown.
 *
 * Colours are those of Okabe and Ito, which colour-blind people tell apart. */
#include "clients/load/plot.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lib/clock.h"

enum {
    WIDTH = 960,
    HEIGHT = 760,
    LEFT = 84,
    RIGHT = 924,
    LATENCY_TOP = 144,
    LATENCY_BOTTOM = 436,
    SERIES_TOP = 520,
    SERIES_BOTTOM = 710,
    POINTS = 400, /* of a latency curve */
    TICKS = 6,    /* of a linear axis, about */
};

#define NINES_LEAST 2.0
#define NINES_MOST  6.0

static const char *const colours[MMQ_LOAD_KINDS] = {"#0072b2", "#0072b2", "#009e73", "#d98200"};
static const char error_colour[] = "#c0392b";

/* Where values are drawn. */
struct axis {
    double low, high;       /* values */
    double low_at, high_at; /* pixels */
    double step;            /* between ticks of a linear axis */
};

static double place(const struct axis *axis, double value)
{
    double share = (value - axis->low) / (axis->high - axis->low);
    return axis->low_at + share * (axis->high_at - axis->low_at);
}

/* ---- pieces ------------------------------------------------------------------------------- */

static void add_line(mmq_buffer *out, const char *style, double x1, double y1, double x2, double y2)
{
    mmq_buffer_format(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
                      style, x1, y1, x2, y2);
}

static void begin_label(mmq_buffer *out, const char *style, double x, double y)
{
    mmq_buffer_format(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", style, x, y);
}

static void add_label(mmq_buffer *out, const char *style, double x, double y, const char *text)
{
    begin_label(out, style, x, y);
    mmq_buffer_format(out, "%s</text>\n", text);
}

static bool has_kind(const mmq_load_report *report, size_t kind)
{
    return report->result->kinds[kind].good > 0;
}

static uint64_t errors_of(const mmq_load_report *report)
{
    mmq_tally total;
    mmq_load_total(report->result, &total);
    return mmq_tally_errors(&total);
}

/* ---- latency over percentile -------------------------------------------------------------- */

/* How many nines the last of so many requests has. */
static double nines_of(uint64_t count)
{
    double nines = count > 1 ? log10((double)count) : 0;
    return nines < NINES_MOST ? nines : NINES_MOST;
}

static struct axis nines_axis(const mmq_load_report *report)
{
    double most = NINES_LEAST;
    for (size_t i = 0; i < MMQ_LOAD_KINDS; i++) {
        most = fmax(most, nines_of(report->result->kinds[i].good));
    }
    return (struct axis){0, most, LEFT, RIGHT, 0};
}

static const double steps[] = {1, 2, 5, 10};

/* The greatest of 1, 2 and 5 times a power of ten that is not above value, or the least that is not
 * below. */
static double round_down(double value)
{
    double power = pow(10, floor(log10(value)));
    size_t i = 2;
    while (i > 0 && steps[i] * power > value) {
        i--;
    }
    return steps[i] * power;
}

static double round_up(double value)
{
    double power = pow(10, floor(log10(value)));
    size_t i = 0;
    while (i < 3 && steps[i] * power < value) {
        i++;
    }
    return steps[i] * power;
}

/* Logarithms of nanoseconds that hold all latencies. */
static struct axis latency_axis(const mmq_load_report *report)
{
    double least = HUGE_VAL, most = 0;
    for (size_t i = 0; i < MMQ_LOAD_KINDS; i++) {
        const mmq_histogram *latency = &report->result->kinds[i].latency;
        if (latency->count > 0) {
            least = fmin(least, (double)latency->least);
            most = fmax(most, (double)latency->most);
        }
    }
    least = round_down(least < HUGE_VAL ? fmax(least, 1) : 1e6);
    most = round_up(fmax(most, least * 10));
    return (struct axis){log10(least), log10(most), LATENCY_BOTTOM, LATENCY_TOP, 0};
}

static void add_nines_ticks(mmq_buffer *out, const struct axis *x)
{
    static const struct {
        double nines;
        const char *label;
    } ticks[] = {{0, "0 %"},    {0.30103, "50 %"}, {1, "90 %"},     {2, "99 %"},
                 {3, "99.9 %"}, {4, "99.99 %"},    {5, "99.999 %"}, {6, "99.9999 %"}};
    for (size_t i = 0; i < sizeof ticks / sizeof *ticks && ticks[i].nines <= x->high; i++) {
        double at = place(x, ticks[i].nines);
        add_line(out, "grid", at, LATENCY_TOP, at, LATENCY_BOTTOM);
        add_label(out, "tick mid", at, LATENCY_BOTTOM + 20, ticks[i].label);
    }
}

static void add_latency_ticks(mmq_buffer *out, const struct axis *y)
{
    bool many = y->high - y->low > 3; /* decades: then only the ones have labels */
    for (int decade = (int)floor(y->low); decade <= (int)ceil(y->high); decade++) {
        for (size_t i = 0; i < 3; i++) {
            double value = steps[i] * pow(10, decade);
            if (log10(value) < y->low - 1e-9 || log10(value) > y->high + 1e-9) {
                continue;
            }
            double at = place(y, log10(value));
            add_line(out, i == 0 ? "grid" : "faint", LEFT, at, RIGHT, at);
            if (i > 0 && many) {
                continue;
            }
            begin_label(out, "tick end", LEFT - 10, at + 4);
            mmq_load_report_time(out, (int64_t)llround(value));
            mmq_buffer_text(out, "</text>\n");
        }
    }
}

static void add_greatest(mmq_buffer *out, const mmq_histogram *latency, const char *colour,
                         double x, double y)
{
    mmq_buffer_format(out,
                      "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n"
                      "<text class=\"tick end halo\" x=\"%.1f\" y=\"%.1f\">max ",
                      x, y, colour, x, y - 9);
    mmq_load_report_time(out, latency->most);
    mmq_buffer_text(out, "</text>\n");
}

static double place_latency(const struct axis *y, int64_t value)
{
    return place(y, log10(value > 1 ? (double)value : 1));
}

static void add_latency_curve(mmq_buffer *out, const mmq_load_report *report, size_t kind,
                              const struct axis *x, const struct axis *y)
{
    const mmq_histogram *latency = &report->result->kinds[kind].latency;
    double last = nines_of(latency->count);
    mmq_buffer_format(out, "<polyline class=\"curve\" stroke=\"%s\" points=\"", colours[kind]);
    for (int i = 0; i <= POINTS; i++) {
        double nines = last * i / POINTS;
        double percent = i == POINTS ? 100 : 100 * (1 - pow(10, -nines));
        mmq_buffer_format(out, "%.1f,%.1f ", place(x, nines),
                          place_latency(y, mmq_histogram_percentile(latency, percent)));
    }
    mmq_buffer_text(out, "\"/>\n");
    add_greatest(out, latency, colours[kind], place(x, last), place_latency(y, latency->most));
}

static void add_latency_chart(mmq_buffer *out, const mmq_load_report *report)
{
    const struct axis x = nines_axis(report), y = latency_axis(report);
    add_label(out, "heading", LEFT, LATENCY_TOP - 14, "Latency by percentile of requests");
    add_nines_ticks(out, &x);
    add_latency_ticks(out, &y);
    for (size_t i = 0; i < MMQ_LOAD_KINDS; i++) {
        if (has_kind(report, i)) {
            add_latency_curve(out, report, i, &x, &y);
        }
    }
}

/* ---- throughput over time ----------------------------------------------------------------- */

/* A second's count as a rate: the last one may be shorter. */
static double rate_of(const mmq_load_report *report, size_t second, uint64_t count)
{
    double whole_s = (double)report->result->elapsed_ns / (double)MMQ_NS_PER_S;
    double length_s = fmin(1, whole_s - (double)second);
    return length_s > 0.05 ? (double)count / length_s : 0;
}

static uint64_t count_of(const mmq_second *second, size_t kind)
{
    return kind < MMQ_LOAD_KINDS ? second->good[kind] : second->errors;
}

static struct axis rate_axis(const mmq_load_report *report)
{
    const mmq_series *series = &report->result->series;
    double most = 1;
    for (size_t i = 0; i < series->count; i++) {
        for (size_t kind = 0; kind <= MMQ_LOAD_KINDS; kind++) {
            most = fmax(most, rate_of(report, i, count_of(&series->seconds[i], kind)));
        }
    }
    double step = round_up(most / TICKS);
    return (struct axis){0, ceil(most * 1.02 / step) * step, SERIES_BOTTOM, SERIES_TOP, step};
}

static void add_rate_ticks(mmq_buffer *out, const struct axis *y)
{
    for (int i = 0; i * y->step <= y->high * 1.001; i++) {
        double value = i * y->step, at = place(y, value);
        add_line(out, "grid", LEFT, at, RIGHT, at);
        begin_label(out, "tick end", LEFT - 10, at + 4);
        mmq_buffer_format(out, value >= 10000 ? "%.4gk</text>\n" : "%.4g</text>\n",
                          value >= 10000 ? value / 1000 : value);
    }
}

static void add_time_ticks(mmq_buffer *out, const struct axis *x)
{
    for (int i = 0; i * x->step <= x->high * 1.001; i++) {
        double at = place(x, i * x->step);
        add_line(out, "grid", at, SERIES_TOP, at, SERIES_BOTTOM);
        begin_label(out, "tick mid", at, SERIES_BOTTOM + 20);
        mmq_buffer_format(out, "%.0f s</text>\n", i * x->step);
    }
}

/* kind MMQ_LOAD_KINDS: errors. */
static void add_steps(mmq_buffer *out, const mmq_load_report *report, size_t kind,
                      const struct axis *x, const struct axis *y)
{
    const mmq_series *series = &report->result->series;
    bool errors = kind == MMQ_LOAD_KINDS;
    const char *colour = errors ? error_colour : colours[kind];
    mmq_buffer_format(out,
                      "<polyline class=\"curve%s\" stroke=\"%s\" style=\"fill: %s; "
                      "fill-opacity: 0.07\" points=\"%.1f,%d ",
                      errors ? " dashed" : "", colour, colour, x->low_at, SERIES_BOTTOM);
    for (size_t i = 0; i < series->count; i++) {
        double at = place(y, rate_of(report, i, count_of(&series->seconds[i], kind)));
        mmq_buffer_format(out, "%.1f,%.1f %.1f,%.1f ", place(x, (double)i), at,
                          place(x, fmin((double)i + 1, x->high)), at);
    }
    mmq_buffer_format(out, "%.1f,%d\"/>\n", place(x, fmin((double)series->count, x->high)),
                      SERIES_BOTTOM);
}

static void add_series_chart(mmq_buffer *out, const mmq_load_report *report)
{
    double seconds = (double)report->result->elapsed_ns / (double)MMQ_NS_PER_S;
    const struct axis x = {0, fmax(seconds, 1), LEFT, RIGHT,
                           fmax(round_up(seconds / TICKS / 2), 1)};
    const struct axis y = rate_axis(report);
    add_label(out, "heading", LEFT, SERIES_TOP - 14, "Good answers a second, over time");
    add_time_ticks(out, &x);
    add_rate_ticks(out, &y);
    for (size_t i = 0; i < MMQ_LOAD_KINDS; i++) {
        if (has_kind(report, i)) {
            add_steps(out, report, i, &x, &y);
        }
    }
    if (errors_of(report) > 0) {
        add_steps(out, report, MMQ_LOAD_KINDS, &x, &y);
    }
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void add_head(mmq_buffer *out)
{
    mmq_buffer_format(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
        "height=\"%d\" role=\"img\" font-family=\"'Segoe UI', 'Helvetica Neue', Helvetica, "
        "'DejaVu Sans', Arial, sans-serif\">\n"
        "<style>\n"
        "text { fill: #2b2f36; font-size: 13px }\n"
        ".title { font-size: 20px; font-weight: 600 }\n"
        ".settings { fill: #5a6270 }\n"
        ".heading { font-size: 14px; font-weight: 600 }\n"
        ".tick { fill: #5a6270; font-size: 12px }\n"
        ".mid { text-anchor: middle }\n"
        ".end { text-anchor: end }\n"
        ".halo { stroke: #ffffff; stroke-width: 4px; paint-order: stroke }\n"
        ".grid { stroke: #dde1e7 }\n"
        ".faint { stroke: #eef0f3 }\n"
        ".curve { fill: none; stroke-width: 2.25; stroke-linejoin: round }\n"
        ".dashed { stroke-dasharray: 6 4 }\n"
        "</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT);
}

static void add_title(mmq_buffer *out, const mmq_load_report *report)
{
    const mmq_load_options *options = report->options;
    mmq_buffer_text(out, "<title>metricmq load</title>\n");
    begin_label(out, "title", LEFT, 38);
    if (report->mix) {
        mmq_buffer_format(out, "metricmq load: %s</text>\n", report->mix);
    } else {
        mmq_buffer_format(out, "metricmq load: echo of %zu bytes</text>\n", options->size);
    }
    begin_label(out, "settings", LEFT, 60);
    mmq_load_report_settings(report, out);
    mmq_buffer_format(out, ", %.3g s, seed %" PRIu64 "</text>\n",
                      (double)report->result->elapsed_ns / (double)MMQ_NS_PER_S, options->seed);
}

static double add_legend_item(mmq_buffer *out, double x, const char *colour, bool dashed,
                              const char *name, uint64_t count)
{
    mmq_buffer_format(out,
                      "<line class=\"curve%s\" stroke=\"%s\" x1=\"%.1f\" y1=\"82\" x2=\"%.1f\" "
                      "y2=\"82\"/>\n<text x=\"%.1f\" y=\"86\">%s (%" PRIu64 ")</text>\n",
                      dashed ? " dashed" : "", colour, x, x + 22, x + 30, name, count);
    return x + 60 + 8 * ((double)strlen(name) + 3 + floor(log10((double)count + 1)));
}

static void add_legend(mmq_buffer *out, const mmq_load_report *report)
{
    double x = LEFT;
    for (size_t i = 0; i < MMQ_LOAD_KINDS; i++) {
        if (has_kind(report, i)) {
            x = add_legend_item(out, x, colours[i], false, mmq_load_kind_name((mmq_load_kind)i),
                                report->result->kinds[i].good);
        }
    }
    uint64_t errors = errors_of(report);
    if (errors > 0) {
        (void)add_legend_item(out, x, error_colour, true, "errors", errors);
    }
}

void mmq_load_plot(const mmq_load_report *report, mmq_buffer *out)
{
    add_head(out);
    add_title(out, report);
    add_legend(out, report);
    add_latency_chart(out, report);
    add_series_chart(out, report);
    mmq_buffer_text(out, "</svg>\n");
}
