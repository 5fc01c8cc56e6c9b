/* Lines of text for a terminal or a pipe: cut to a width and a height, styled where that is wanted,
 * and free of whatever strangers put into names. Failure is the buffer's, sticky. */
#ifndef MMQ_CANVAS_H
#define MMQ_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/buffer.h"

typedef enum mmq_style {
    MMQ_STYLE_PLAIN,
    MMQ_STYLE_HEAD, /* bold */
    MMQ_STYLE_DIM,  /* of no weight, or out of date */
    MMQ_STYLE_WARN, /* yellow: near a bound */
    MMQ_STYLE_BAD,  /* red: somebody should look */
} mmq_style;

typedef struct mmq_canvas {
    mmq_buffer *out;  /* borrowed */
    unsigned columns; /* of a line at most; 0: as many as there are */
    unsigned rows;    /* lines at most; 0: any number */
    bool utf8;        /* the terminal can show it */
    bool screen;      /* drawn over the last picture, from its first line on */
    bool styles;      /* it is a terminal */
    bool colours;     /* WARN and BAD are seen */
    unsigned column;  /* where the next character goes */
    unsigned row;
} mmq_canvas;

enum { MMQ_CELL_MAX = 24 }; /* bytes of a number's text, with its NUL */

/* True while lines may be added. */
bool mmq_canvas_has_room(const mmq_canvas *canvas);
/* Text of ours: characters of one column each. What does not fit is cut. */
void mmq_canvas_add(mmq_canvas *canvas, mmq_style style, const char *text);
void mmq_canvas_format(mmq_canvas *canvas, mmq_style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Text of strangers, in exactly `width` columns, padded; 0: in as many as it takes. Only letters,
 * digits and signs that every terminal shows in one column stay, anything else becomes "?": no byte
 * of it steers the terminal. */
void mmq_canvas_foreign(mmq_canvas *canvas, mmq_style style, const char *data, size_t size,
                        unsigned width);
/* Spaces up to that column. */
void mmq_canvas_pad(mmq_canvas *canvas, unsigned column);
void mmq_canvas_end_line(mmq_canvas *canvas);

/* Numbers in at most 9 columns; NaN is "-". Counts: 12,345 or 1.23M; a second: 0.4, 12,345. */
void mmq_print_count(double count, char out[MMQ_CELL_MAX]);
void mmq_print_rate(double per_s, char out[MMQ_CELL_MAX]);
/* 512 B, 1.5 MiB. */
void mmq_print_bytes(double bytes, char out[MMQ_CELL_MAX]);
/* 120us, 1.9ms, 12s, 3m, 2h, 5d; utf8: µs. */
void mmq_print_time(double seconds, bool utf8, char out[MMQ_CELL_MAX]);

#endif
