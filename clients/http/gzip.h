/* A gzip stream (RFC 1952) of text that comes piece by piece, in constant memory. One thread. */
#ifndef MMQ_GZIP_H
#define MMQ_GZIP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct mmq_gzip mmq_gzip;

/* Streams are large (a third of a MiB): so many at once, and one is kept for the next. */
typedef struct mmq_gzip_pool {
    size_t live, most;
    mmq_gzip *spare;
} mmq_gzip_pool;

/* Begins a stream. NULL: there are too many, or no memory. */
mmq_gzip *mmq_gzip_take(mmq_gzip_pool *pool);
/* Ends it, wherever it is; nulls *gzip, which may be NULL. */
void mmq_gzip_give(mmq_gzip_pool *pool, mmq_gzip **gzip);
/* Frees what is kept. */
void mmq_gzip_pool_clear(mmq_gzip_pool *pool);

/* The next bytes of the stream. 0: it wants text, or has ended. *failed: it cannot go on. */
size_t mmq_gzip_read(mmq_gzip *gzip, char *out, size_t room, bool *failed);
/* Where text is to be written when it wants some. */
char *mmq_gzip_room(mmq_gzip *gzip, size_t *size);
/* So much was; last: there is no more (size may be 0). */
void mmq_gzip_put(mmq_gzip *gzip, size_t size, bool last);
bool mmq_gzip_ended(const mmq_gzip *gzip);

#endif
