/* A line a sample. Times are kept in nanoseconds and printed as decimals: no double rounds them. */
#include "clients/http/exposition.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"

enum { NAME_MAX_BYTES = 128, SECONDS_MAX = 32 };

/* Seconds without trailing zeros: "0.0005", "30". */
static const char *print_seconds(int64_t ns, char out[SECONDS_MAX])
{
    ns = ns > 0 ? ns : 0;
    int size =
        snprintf(out, SECONDS_MAX, "%" PRId64 ".%09" PRId64, ns / MMQ_NS_PER_S, ns % MMQ_NS_PER_S);
    while (out[size - 1] == '0') {
        size--;
    }
    size -= out[size - 1] == '.';
    out[size] = '\0';
    return out;
}

static void add_escaped(mmq_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            mmq_buffer_text(out, "\\n");
        } else {
            mmq_buffer_format(out, "%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
        }
    }
}

static void add_sample(mmq_buffer *out, const char *name, const mmq_label *labels, size_t count,
                       const char *value)
{
    mmq_buffer_text(out, name);
    for (size_t i = 0; i < count; i++) {
        mmq_buffer_format(out, "%s%s=\"", i == 0 ? "{" : ",", labels[i].name);
        add_escaped(out, labels[i].value);
        mmq_buffer_text(out, "\"");
    }
    mmq_buffer_format(out, "%s %s\n", count > 0 ? "}" : "", value);
}

void mmq_expose_family(mmq_buffer *out, const char *name, const char *type, const char *help)
{
    mmq_buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void mmq_expose_count(mmq_buffer *out, const char *name, const mmq_label *labels, size_t count,
                      int64_t value)
{
    char text[SECONDS_MAX];
    snprintf(text, sizeof text, "%" PRId64, value);
    add_sample(out, name, labels, count, text);
}

void mmq_expose_ns(mmq_buffer *out, const char *name, const mmq_label *labels, size_t count,
                   int64_t value_ns)
{
    char text[SECONDS_MAX];
    add_sample(out, name, labels, count, print_seconds(value_ns, text));
}

void mmq_expose_times(mmq_buffer *out, const char *name, mmq_label label,
                      const mmq_times_view *times)
{
    char part[NAME_MAX_BYTES], bound[SECONDS_MAX];
    uint64_t seen = 0;
    snprintf(part, sizeof part, "%s_bucket", name);
    for (size_t i = 0; i < times->buckets; i++) {
        bool last = i + 1 == times->buckets;
        seen += times->counts[i];
        const mmq_label labels[] = {
            label, {"le", last ? "+Inf" : print_seconds(times->bounds_ns[i], bound)}};
        mmq_expose_count(out, part, labels, 2, (int64_t)seen);
    }
    snprintf(part, sizeof part, "%s_sum", name);
    mmq_expose_ns(out, part, &label, 1, times->sum_ns);
    snprintf(part, sizeof part, "%s_count", name);
    mmq_expose_count(out, part, &label, 1, (int64_t)seen);
}
