/* Breaks text into lines. A character is a column: there are no wide ones in our texts. */
#include "lib/wrap.h"

#include <string.h>

/* Bytes that go on with a character of UTF-8 are 10xxxxxx. */
static size_t count_columns(const char *word, size_t size)
{
    size_t columns = 0;
    for (size_t i = 0; i < size; i++) {
        columns += ((unsigned char)word[i] & 0xc0) != 0x80;
    }
    return columns;
}

static size_t begin_line(FILE *out, size_t indent)
{
    fprintf(out, "\n%*s", (int)indent, "");
    return indent;
}

void mmq_wrap(FILE *out, const char *text, size_t column, size_t indent)
{
    size_t first = column; /* where this line's words begin */
    for (const char *at = text; *at != '\0';) {
        const size_t size = strcspn(at, " \n");
        const size_t columns = count_columns(at, size);
        if (columns > 0) {
            if (column > first && column + 1 + columns > MMQ_WRAP_WIDTH) {
                column = first = begin_line(out, indent);
            } else if (column > first) {
                fputc(' ', out);
                column++;
            }
            fwrite(at, 1, size, out);
            column += columns;
        }
        at += size;
        if (*at == '\n') {
            column = first = begin_line(out, indent);
        }
        at += *at != '\0';
    }
    fputc('\n', out);
}
