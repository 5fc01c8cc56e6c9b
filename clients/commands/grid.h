/* Tables: rows of cells under columns, sorted by one of these. Columns that find no room are left
 * out, the least important first. */
#ifndef MMQ_GRID_H
#define MMQ_GRID_H

#include <stdbool.h>
#include <stddef.h>

#include "clients/commands/canvas.h"

enum { MMQ_GRID_COLUMNS = 12 };

typedef enum mmq_cell_kind {
    MMQ_CELL_TEXT, /* a stranger's; to the left */
    MMQ_CELL_COUNT,
    MMQ_CELL_RATE,
    MMQ_CELL_TIME, /* seconds */
    MMQ_CELL_BYTES,
    MMQ_CELL_SHARE, /* "3/8", sorted by the ratio */
} mmq_cell_kind;

typedef struct mmq_column {
    const char *title;
    mmq_cell_kind kind;
    unsigned width;
    unsigned rank; /* the greatest is left out first; 0 stays */
} mmq_column;

typedef struct mmq_cell {
    double value; /* NaN: not known */
    double of;    /* SHARE */
    const char *text;
    size_t size;
    mmq_style style;
} mmq_cell;

typedef struct mmq_row {
    bool marked; /* a "!" stands before it */
    mmq_cell cells[MMQ_GRID_COLUMNS];
} mmq_row;

typedef struct mmq_grid {
    const mmq_column *columns;
    size_t column_count; /* <= MMQ_GRID_COLUMNS */
    mmq_row *rows;
    size_t row_count;
    size_t sorted_by; /* column_count: not sorted */
    bool ascending;
    bool focused;  /* keys go to it */
    size_t offset; /* rows left out at the top; brought into range by the drawing */
} mmq_grid;

/* Numbers from the greatest down, texts from the least up; ascending turns that round. What is not
 * known comes last. */
void mmq_grid_sort(mmq_grid *grid);
/* Lines that it takes to show all. */
size_t mmq_grid_lines(const mmq_grid *grid);
/* A title line and rows, in at most `lines` lines (0: all); the last one says what is not shown. */
void mmq_grid_draw(mmq_grid *grid, mmq_canvas *canvas, size_t lines);

#endif
