/* Level 1 of lib/deflate.h: what passes through an adapter is read once, and its time is dearer
 * than a few percent of size. The checksum of the whole is in the trailer, which a broken stream
 * never gets. */
#include "clients/http/gzip.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/deflate.h"

enum { TEXT_BYTES = 32 * 1024, OUT_BYTES = 16 * 1024, TRAILER = 8 };

struct mmq_gzip {
    mmq_deflate *engine;
    uint32_t crc, size; /* of all text, the size modulo 2^32 */
    bool busy;          /* the engine has text to work on */
    bool last;          /* no text comes behind that */
    bool ended;         /* the trailer is in out */
    size_t out_size, out_at;
    uint8_t out[OUT_BYTES];
    uint8_t text[TEXT_BYTES];
};

static void destroy_gzip(mmq_gzip **gzip)
{
    if (*gzip != NULL) {
        mmq_deflate_destroy(&(*gzip)->engine);
        free(*gzip);
        *gzip = NULL;
    }
}

static mmq_gzip *create_gzip(void)
{
    mmq_gzip *gzip = malloc(sizeof *gzip);
    if (gzip == NULL) {
        return NULL;
    }
    gzip->engine = mmq_deflate_new(MMQ_LEVEL_MIN);
    if (gzip->engine == NULL) {
        destroy_gzip(&gzip);
    }
    return gzip;
}

/* deflate, no name, no time, fastest, of an unknown system. */
static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255};

mmq_gzip *mmq_gzip_take(mmq_gzip_pool *pool)
{
    mmq_gzip *gzip = pool->spare;
    pool->spare = NULL;
    if (gzip == NULL && pool->live < pool->most) {
        gzip = create_gzip();
    }
    if (gzip == NULL) {
        return NULL;
    }
    pool->live++;
    gzip->crc = gzip->size = 0;
    gzip->busy = gzip->last = gzip->ended = false;
    memcpy(gzip->out, head, sizeof head);
    gzip->out_size = sizeof head;
    gzip->out_at = 0;
    return gzip;
}

void mmq_gzip_give(mmq_gzip_pool *pool, mmq_gzip **gzip)
{
    if (*gzip == NULL) {
        return;
    }
    pool->live--;
    if ((*gzip)->ended && pool->spare == NULL) { /* its engine has begun anew */
        pool->spare = *gzip;
        *gzip = NULL;
    }
    destroy_gzip(gzip);
}

void mmq_gzip_pool_clear(mmq_gzip_pool *pool)
{
    destroy_gzip(&pool->spare);
}

static void put_number(mmq_gzip *gzip, uint32_t number)
{
    for (int i = 0; i < 4; i++, number >>= 8) {
        gzip->out[gzip->out_size++] = (uint8_t)number;
    }
}

/* Fills out. False: the engine failed. */
static bool run_engine(mmq_gzip *gzip)
{
    bool done = false;
    gzip->out_at = 0;
    if (mmq_deflate_take(gzip->engine, gzip->out, OUT_BYTES - TRAILER, &gzip->out_size, &done,
                         NULL) != MMQ_OK) {
        gzip->out_size = 0;
        return false;
    }
    gzip->busy = !done;
    if (done && gzip->last) {
        put_number(gzip, gzip->crc);
        put_number(gzip, gzip->size);
        gzip->ended = true;
    }
    return true;
}

size_t mmq_gzip_read(mmq_gzip *gzip, char *out, size_t room, bool *failed)
{
    *failed = false;
    while (gzip->out_at == gzip->out_size && gzip->busy) {
        if (!run_engine(gzip)) {
            *failed = true;
            return 0;
        }
    }
    size_t left = gzip->out_size - gzip->out_at;
    size_t size = left < room ? left : room;
    memcpy(out, gzip->out + gzip->out_at, size);
    gzip->out_at += size;
    return size;
}

char *mmq_gzip_room(mmq_gzip *gzip, size_t *size)
{
    CHECK(!gzip->busy && !gzip->last);
    *size = TEXT_BYTES;
    return (char *)gzip->text;
}

void mmq_gzip_put(mmq_gzip *gzip, size_t size, bool last)
{
    CHECK(!gzip->busy && !gzip->last && size <= TEXT_BYTES);
    gzip->crc = mmq_crc(gzip->crc, gzip->text, size);
    gzip->size += (uint32_t)size;
    gzip->busy = true;
    gzip->last = last;
    mmq_deflate_put(gzip->engine, gzip->text, size, last ? MMQ_DEFLATE_END : MMQ_DEFLATE_MORE);
}

bool mmq_gzip_ended(const mmq_gzip *gzip)
{
    return gzip->ended && gzip->out_at == gzip->out_size;
}
