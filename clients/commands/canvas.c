/* Every character that reaches `out` is either ours or was looked at: foreign text is let through a
 * character at a time, by a list of what may pass, never by one of what may not. The list has ASCII
 * and, where the terminal shows UTF-8, Latin, Greek and Cyrillic letters: one column each, written
 * from left to right, nothing that combines. So columns are counted, not guessed. */
#include "clients/commands/canvas.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "metricmq/unpack.h"

#define RESET "\033[0m"

static const char *const begins[] = {
    [MMQ_STYLE_PLAIN] = "",        [MMQ_STYLE_HEAD] = "\033[1m", [MMQ_STYLE_DIM] = "\033[2m",
    [MMQ_STYLE_WARN] = "\033[33m", [MMQ_STYLE_BAD] = "\033[31m",
};

static const char *begin_of(const mmq_canvas *canvas, mmq_style style)
{
    bool seen = canvas->styles && (canvas->colours || style < MMQ_STYLE_WARN);
    return seen ? begins[style] : "";
}

bool mmq_canvas_has_room(const mmq_canvas *canvas)
{
    return canvas->rows == 0 || canvas->row < canvas->rows;
}

static unsigned left_of(const mmq_canvas *canvas)
{
    if (!mmq_canvas_has_room(canvas)) {
        return 0;
    }
    return canvas->columns == 0 ? UINT16_MAX : canvas->columns - canvas->column;
}

/* Bytes of the first `columns` characters; *columns becomes what they are. */
static size_t fit(const char *text, size_t size, unsigned *columns)
{
    size_t i = 0;
    unsigned count = 0;
    while (i < size && count < *columns) {
        do {
            i++;
        } while (i < size && ((unsigned char)text[i] & 0xC0) == 0x80);
        count++;
    }
    *columns = count;
    return i;
}

static void add(mmq_canvas *canvas, mmq_style style, const char *text, size_t size)
{
    unsigned columns = left_of(canvas);
    size = fit(text, size, &columns);
    const char *begin = begin_of(canvas, style);
    if (columns > 0) {
        mmq_buffer_text(canvas->out, begin);
        mmq_buffer_add(canvas->out, text, size);
        mmq_buffer_text(canvas->out, begin[0] ? RESET : "");
        canvas->column += columns;
    }
}

void mmq_canvas_add(mmq_canvas *canvas, mmq_style style, const char *text)
{
    add(canvas, style, text, strlen(text));
}

void mmq_canvas_format(mmq_canvas *canvas, mmq_style style, const char *format, ...)
{
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    mmq_canvas_add(canvas, style, text);
}

void mmq_canvas_pad(mmq_canvas *canvas, unsigned column)
{
    while (canvas->column < column && left_of(canvas) > 0) {
        mmq_buffer_text(canvas->out, " ");
        canvas->column++;
    }
}

void mmq_canvas_end_line(mmq_canvas *canvas)
{
    if (mmq_canvas_has_room(canvas)) {
        /* Behind a full line the cursor stands on its last character, and would wipe that. */
        bool wipe = canvas->screen && canvas->column < canvas->columns;
        mmq_buffer_text(canvas->out, wipe ? "\033[K" : "");
        canvas->row++;
        bool last = !mmq_canvas_has_room(canvas); /* a line end there would scroll */
        mmq_buffer_text(canvas->out, last ? "" : canvas->screen ? "\r\n" : "\n");
        canvas->column = 0;
    }
}

/* ---- text of strangers --------------------------------------------------------------------- */

static bool is_letter(unsigned code)
{
    return (code >= 0xA1 && code <= 0x24F && code != 0xAD) || (code >= 0x370 && code <= 0x482) ||
           (code >= 0x48A && code <= 0x52F);
}

/* Length of the character at data, and whether it may be shown. Only those of two bytes may, of
 * all that is not ASCII. */
static size_t look(const char *data, size_t size, bool utf8, bool *shown)
{
    const unsigned char *bytes = (const unsigned char *)data;
    if (bytes[0] < 0x80) {
        *shown = bytes[0] >= ' ' && bytes[0] < 0x7F;
        return 1;
    }
    size_t length = bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : 2;
    if (length > size || !mmq_utf8_valid(data, length)) {
        *shown = false;
        return 1;
    }
    *shown = utf8 && length == 2 && is_letter((bytes[0] & 0x1FU) << 6 | (bytes[1] & 0x3FU));
    return length;
}

static unsigned columns_of(const char *data, size_t size)
{
    unsigned columns = 0;
    bool shown;
    for (size_t i = 0; i < size; i += look(data + i, size - i, false, &shown)) {
        columns++;
    }
    return columns;
}

void mmq_canvas_foreign(mmq_canvas *canvas, mmq_style style, const char *data, size_t size,
                        unsigned width)
{
    unsigned columns = columns_of(data, size);
    bool cut = width > 0 && columns > width;
    unsigned shown_columns = cut ? width - 1 : columns;
    unsigned end = canvas->column + width;
    size_t i = 0;
    for (unsigned column = 0; column < shown_columns; column++) {
        bool shown;
        size_t length = look(data + i, size - i, canvas->utf8, &shown);
        add(canvas, style, shown ? data + i : "?", shown ? length : 1);
        i += length;
    }
    if (cut) {
        mmq_canvas_add(canvas, style, canvas->utf8 ? "…" : "~");
    }
    mmq_canvas_pad(canvas, end);
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* Three digits that count. */
static void print_scaled(double value, const char *unit, char out[MMQ_CELL_MAX])
{
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(out, MMQ_CELL_MAX, "%.*f%s", decimals, value, unit);
}

/* Whole, below a million. */
static void print_grouped(long value, char out[MMQ_CELL_MAX])
{
    if (value < 1000) {
        snprintf(out, MMQ_CELL_MAX, "%ld", value);
    } else {
        snprintf(out, MMQ_CELL_MAX, "%ld,%03ld", value / 1000, value % 1000);
    }
}

static bool print_unknown(double value, char out[MMQ_CELL_MAX])
{
    snprintf(out, MMQ_CELL_MAX, "-");
    return !isfinite(value) || value < 0;
}

void mmq_print_count(double count, char out[MMQ_CELL_MAX])
{
    static const char *const units[] = {"M", "G", "T", "P", "E"};
    if (print_unknown(count, out)) {
        return;
    }
    if (count < 999999.5) {
        print_grouped(lround(count), out);
        return;
    }
    size_t unit = 0;
    for (count /= 1e6; count >= 999.5 && unit + 1 < sizeof units / sizeof *units; unit++) {
        count /= 1000;
    }
    print_scaled(count, units[unit], out);
}

void mmq_print_rate(double per_s, char out[MMQ_CELL_MAX])
{
    if (per_s > 0 && per_s < 9.95) {
        snprintf(out, MMQ_CELL_MAX, "%.1f", per_s);
    } else {
        mmq_print_count(per_s, out);
    }
}

void mmq_print_bytes(double bytes, char out[MMQ_CELL_MAX])
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    size_t unit = 0;
    if (print_unknown(bytes, out)) {
        return;
    }
    while (bytes >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    if (unit == 0) {
        snprintf(out, MMQ_CELL_MAX, "%.0f B", bytes);
    } else {
        print_scaled(bytes, units[unit], out);
    }
}

void mmq_print_time(double seconds, bool utf8, char out[MMQ_CELL_MAX])
{
    static const struct {
        double from, size;
        const char *unit;
    } units[] = {{2 * 86400, 86400, "d"}, {2 * 3600, 3600, "h"}, {120, 60, "m"}};
    if (print_unknown(seconds, out)) {
        return;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (seconds >= units[i].from) {
            snprintf(out, MMQ_CELL_MAX, "%.0f%s", floor(seconds / units[i].size), units[i].unit);
            return;
        }
    }
    if (seconds >= 0.9995) {
        snprintf(out, MMQ_CELL_MAX, "%.*fs", seconds < 9.95 ? 1 : 0, seconds);
    } else if (seconds >= 0.0009995) {
        print_scaled(seconds * 1e3, "ms", out);
    } else {
        snprintf(out, MMQ_CELL_MAX, "%.0f%s", seconds * 1e6, utf8 ? "µs" : "us");
    }
}
