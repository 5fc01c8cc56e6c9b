/* Text for people, broken into lines between words. */
#ifndef MMQ_WRAP_H
#define MMQ_WRAP_H

#include <stddef.h>
#include <stdio.h>

enum { MMQ_WRAP_WIDTH = 79 }; /* of a line: what a terminal of 80 columns shows without a fold */

/* Prints text (UTF-8) from `column` on, where the line stands already, and ends the last line. A
 * word that would go beyond the width begins a new line, behind `indent` spaces; one that is wider
 * than that stands out. Words are what spaces part, several count as one; a line break in the text
 * is one in the result. */
void mmq_wrap(FILE *out, const char *text, size_t column, size_t indent);

#endif
