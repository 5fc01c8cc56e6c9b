/* An answer without length whose text comes piece by piece: lines that say how far work is. Private
 * to this room; one thread. */
#ifndef MMQ_HTTP_FEED_H
#define MMQ_HTTP_FEED_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buffer.h"

typedef struct mmq_exchange mmq_exchange;

/* Text that its reader has not taken yet. Zeroed: it has not begun. */
typedef struct mmq_feed {
    bool begun, ended;
    mmq_buffer text;
    size_t at; /* what is before it was taken */
} mmq_feed;

/* Adds a line, without its end, to the answer, which begins with the first one (status 200). A
 * reader who does not take them misses lines; never the last one, which ends the answer. A line
 * that has failed is left out; as the last one it breaks the answer off. */
void mmq_feed_line(mmq_exchange *exchange, const char *type, const mmq_buffer *line, bool last);
/* Frees what it holds. */
void mmq_feed_clear(mmq_feed *feed);

#endif
