/* A table is drawn line by line onto a canvas, which cuts what is too wide even for its first
 * column. */
#include "clients/commands/grid.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, MARK = 2 };

static int compare_texts(const mmq_cell *a, const mmq_cell *b)
{
    size_t size = a->size < b->size ? a->size : b->size;
    int order = size > 0 ? memcmp(a->text, b->text, size) : 0;
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static double key_of(mmq_cell_kind kind, const mmq_cell *cell)
{
    return kind == MMQ_CELL_SHARE && cell->of > 0 ? cell->value / cell->of : cell->value;
}

static int compare_rows(const void *a_, const void *b_, void *grid_)
{
    const mmq_grid *grid = grid_;
    const mmq_cell *a = &((const mmq_row *)a_)->cells[grid->sorted_by];
    const mmq_cell *b = &((const mmq_row *)b_)->cells[grid->sorted_by];
    mmq_cell_kind kind = grid->columns[grid->sorted_by].kind;
    int order;
    if (kind == MMQ_CELL_TEXT) {
        order = compare_texts(a, b);
    } else {
        double first = key_of(kind, a), second = key_of(kind, b);
        if (isnan(first) || isnan(second)) {
            return (isnan(first) != 0) - (isnan(second) != 0);
        }
        order = (first < second) - (first > second);
    }
    return grid->ascending ? -order : order;
}

/* Rows that are equal keep their order: qsort_r of glibc merges, but does not promise to. */
void mmq_grid_sort(mmq_grid *grid)
{
    if (grid->sorted_by < grid->column_count && grid->row_count > 1) {
        qsort_r(grid->rows, grid->row_count, sizeof *grid->rows, compare_rows, grid);
    }
}

size_t mmq_grid_lines(const mmq_grid *grid)
{
    return 1 + grid->row_count;
}

/* Which columns find room. */
static void choose_columns(const mmq_grid *grid, unsigned room, bool shown[MMQ_GRID_COLUMNS])
{
    unsigned width = MARK;
    for (size_t i = 0; i < grid->column_count; i++) {
        shown[i] = true;
        width += grid->columns[i].width + GAP;
    }
    while (room > 0 && width > room + GAP) {
        size_t last = 0;
        for (size_t i = 1; i < grid->column_count; i++) {
            if (shown[i] && (!shown[last] || grid->columns[i].rank > grid->columns[last].rank)) {
                last = i;
            }
        }
        if (grid->columns[last].rank == 0) {
            return;
        }
        shown[last] = false;
        width -= grid->columns[last].width + GAP;
    }
}

static void print_cell(const mmq_canvas *canvas, mmq_cell_kind kind, const mmq_cell *cell,
                       char out[MMQ_CELL_MAX])
{
    switch (kind) {
    case MMQ_CELL_RATE:
        mmq_print_rate(cell->value, out);
        return;
    case MMQ_CELL_TIME:
        mmq_print_time(cell->value, canvas->utf8, out);
        return;
    case MMQ_CELL_BYTES:
        mmq_print_bytes(cell->value, out);
        return;
    case MMQ_CELL_SHARE:
        snprintf(out, MMQ_CELL_MAX, "%.0f/%.0f", fmin(cell->value, 1e9), fmin(cell->of, 1e9));
        return;
    case MMQ_CELL_TEXT:
    case MMQ_CELL_COUNT:
        mmq_print_count(cell->value, out);
        return;
    }
}

static unsigned width_of(const char *text)
{
    unsigned width = 0;
    for (; *text; text++) {
        width += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return width;
}

/* To the right of a field that ends at `end`. */
static void add_right(mmq_canvas *canvas, mmq_style style, const char *text, unsigned end)
{
    unsigned width = width_of(text);
    mmq_canvas_pad(canvas, end > width ? end - width : 0);
    mmq_canvas_add(canvas, style, text);
}

static void draw_titles(const mmq_grid *grid, mmq_canvas *canvas,
                        const bool shown[MMQ_GRID_COLUMNS])
{
    unsigned at = MARK;
    for (size_t i = 0; i < grid->column_count; i++) {
        const mmq_column *column = &grid->columns[i];
        if (!shown[i]) {
            continue;
        }
        char title[64];
        const char *arrow =
            canvas->utf8 ? (grid->ascending ? "▲" : "▼") : (grid->ascending ? "^" : "v");
        bool sorted = i == grid->sorted_by;
        snprintf(title, sizeof title, "%s%s", column->title, sorted ? arrow : "");
        mmq_style style = sorted && grid->focused ? MMQ_STYLE_HEAD : MMQ_STYLE_PLAIN;
        if (column->kind == MMQ_CELL_TEXT) {
            mmq_canvas_pad(canvas, at);
            mmq_canvas_add(canvas, style, title);
        } else {
            add_right(canvas, style, title, at + column->width);
        }
        at += column->width + GAP;
    }
    mmq_canvas_end_line(canvas);
}

static void draw_row(const mmq_grid *grid, mmq_canvas *canvas, const mmq_row *row,
                     const bool shown[MMQ_GRID_COLUMNS])
{
    unsigned at = MARK;
    mmq_canvas_add(canvas, MMQ_STYLE_BAD, row->marked ? "!" : " ");
    for (size_t i = 0; i < grid->column_count; i++) {
        const mmq_column *column = &grid->columns[i];
        const mmq_cell *cell = &row->cells[i];
        if (!shown[i]) {
            continue;
        }
        if (column->kind == MMQ_CELL_TEXT) {
            mmq_canvas_pad(canvas, at);
            mmq_canvas_foreign(canvas, cell->style, cell->text, cell->size, column->width);
        } else {
            char text[MMQ_CELL_MAX];
            print_cell(canvas, column->kind, cell, text);
            add_right(canvas, cell->style, text, at + column->width);
        }
        at += column->width + GAP;
    }
    mmq_canvas_end_line(canvas);
}

void mmq_grid_draw(mmq_grid *grid, mmq_canvas *canvas, size_t lines)
{
    bool shown[MMQ_GRID_COLUMNS] = {false};
    choose_columns(grid, canvas->columns, shown);
    draw_titles(grid, canvas, shown);
    size_t room = lines == 0 ? grid->row_count : lines > 1 ? lines - 1 : 0;
    bool cut = grid->row_count > room;
    room -= cut && room > 0; /* for the line that says so */
    size_t most = grid->row_count > room ? grid->row_count - room : 0;
    grid->offset = grid->offset < most ? grid->offset : most;
    for (size_t i = grid->offset; i < grid->row_count && i < grid->offset + room; i++) {
        draw_row(grid, canvas, &grid->rows[i], shown);
    }
    if (cut && lines > 1) {
        mmq_canvas_format(canvas, MMQ_STYLE_DIM, "  %zu of %zu", room, grid->row_count);
        mmq_canvas_end_line(canvas);
    }
}
