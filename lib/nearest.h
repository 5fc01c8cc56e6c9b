/* Which of the names that there are somebody may have meant: "did you mean ...?". */
#ifndef MMQ_NEAREST_H
#define MMQ_NEAREST_H

#include <stddef.h>

/* A search: begun for a name (borrowed, of `size` bytes), then every name that there is is offered
 * to it. `nearest` is the best one so far, NULL while none is near enough to be of help. */
typedef struct mmq_nearest {
    const char *wanted;
    size_t size;
    const char *nearest; /* borrowed */
    size_t distance;     /* only what is less far away is taken */
} mmq_nearest;

void mmq_nearest_begin(mmq_nearest *search, const char *wanted, size_t size);
/* name: borrowed for as long as the search. Names of 64 bytes and more are passed over. */
void mmq_nearest_offer(mmq_nearest *search, const char *name);

#endif
