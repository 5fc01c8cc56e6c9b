/* Both engines are begun anew after a flush: so nothing that comes behind it can refer to anything
 * before it, whatever the engines understand by a full flush. */
#include "lib/deflate.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "lib/check.h"

enum { RAW_BITS = -15, MEMORY_LEVEL = 8 }; /* zlib's largest window, without head; its default */

struct mmq_deflate {
    int level;
    mmq_deflate_next next;
    struct isal_zstream fast; /* level 1 */
    uint8_t *fast_room;       /* of ISA-L's tables */
    z_stream slow;            /* levels 2 to 9 */
    bool slow_made;
};

static bool is_fast(const mmq_deflate *engine)
{
    return engine->level == 1;
}

/* ---- ISA-L ------------------------------------------------------------------------------ */

static void begin_fast(mmq_deflate *engine)
{
    struct isal_zstream *stream = &engine->fast;
    isal_deflate_init(stream);
    stream->level = 1;
    stream->level_buf = engine->fast_room;
    stream->level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    stream->gzip_flag = IGZIP_DEFLATE;
}

static void put_fast(mmq_deflate *engine, uint8_t *data, size_t size)
{
    struct isal_zstream *stream = &engine->fast;
    stream->next_in = data;
    stream->avail_in = (uint32_t)size;
    stream->flush = engine->next == MMQ_DEFLATE_FLUSH ? FULL_FLUSH : NO_FLUSH;
    stream->end_of_stream = engine->next == MMQ_DEFLATE_END;
}

static bool run_fast(mmq_deflate *engine, uint8_t *out, size_t capacity, size_t *made, bool *done)
{
    struct isal_zstream *stream = &engine->fast;
    const uint32_t left = stream->avail_in;
    stream->next_out = out;
    stream->avail_out = (uint32_t)capacity;
    if (isal_deflate(stream) != COMP_OK) {
        return false;
    }
    *made = capacity - stream->avail_out;
    const enum isal_zstate_state state = stream->internal_state.state;
    *done = stream->avail_in == 0 && stream->avail_out > 0 &&
            (engine->next == MMQ_DEFLATE_MORE ||
             state == (engine->next == MMQ_DEFLATE_END ? ZSTATE_END : ZSTATE_NEW_HDR));
    return *done || *made > 0 || stream->avail_in < left;
}

/* ---- zlib ------------------------------------------------------------------------------- */

static void put_slow(mmq_deflate *engine, uint8_t *data, size_t size)
{
    engine->slow.next_in = data;
    engine->slow.avail_in = (uInt)size;
}

static bool run_slow(mmq_deflate *engine, uint8_t *out, size_t capacity, size_t *made, bool *done)
{
    static const int flush[] = {Z_NO_FLUSH, Z_FULL_FLUSH, Z_FINISH};
    z_stream *stream = &engine->slow;
    const uInt left = stream->avail_in;
    stream->next_out = out;
    stream->avail_out = (uInt)capacity;
    const int code = deflate(stream, flush[engine->next]);
    *made = capacity - stream->avail_out;
    *done = engine->next == MMQ_DEFLATE_END ? code == Z_STREAM_END
                                            : stream->avail_in == 0 && stream->avail_out > 0;
    /* Z_BUF_ERROR: there was nothing to do, as with an empty piece */
    return (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR) &&
           (*done || *made > 0 || stream->avail_in < left);
}

/* ---- both ------------------------------------------------------------------------------- */

static bool make_engine(mmq_deflate *engine)
{
    if (is_fast(engine)) {
        engine->fast_room = malloc(ISAL_DEF_LVL1_DEFAULT);
        if (engine->fast_room != NULL) {
            begin_fast(engine);
        }
        return engine->fast_room != NULL;
    }
    engine->slow_made = deflateInit2(&engine->slow, engine->level, Z_DEFLATED, RAW_BITS,
                                     MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
    return engine->slow_made;
}

mmq_deflate *mmq_deflate_new(int level)
{
    CHECK(level >= MMQ_LEVEL_MIN && level <= MMQ_LEVEL_MAX);
    mmq_deflate *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return NULL;
    }
    engine->level = level;
    if (!make_engine(engine)) {
        mmq_deflate_destroy(&engine);
    }
    return engine;
}

void mmq_deflate_destroy(mmq_deflate **engine)
{
    if (*engine == NULL) {
        return;
    }
    if ((*engine)->slow_made) {
        (void)deflateEnd(&(*engine)->slow);
    }
    free((*engine)->fast_room);
    free(*engine);
    *engine = NULL;
}

void mmq_deflate_put(mmq_deflate *engine, uint8_t *data, size_t size, mmq_deflate_next next)
{
    CHECK(size <= INT_MAX);
    engine->next = next;
    if (is_fast(engine)) {
        put_fast(engine, data, size);
    } else {
        put_slow(engine, data, size);
    }
}

static void begin_anew(mmq_deflate *engine)
{
    if (is_fast(engine)) {
        begin_fast(engine);
    } else {
        CHECK(deflateReset(&engine->slow) == Z_OK);
    }
}

mmq_err mmq_deflate_take(mmq_deflate *engine, uint8_t *out, size_t capacity, size_t *made,
                         bool *done, mmq_why *why)
{
    CHECK(capacity > 0 && capacity <= INT_MAX);
    const bool good = is_fast(engine) ? run_fast(engine, out, capacity, made, done)
                                      : run_slow(engine, out, capacity, made, done);
    if (!good) {
        return mmq_fail(why, MMQ_EIO, "the compressor of level %d does not go on", engine->level);
    }
    if (*done && engine->next != MMQ_DEFLATE_MORE) {
        begin_anew(engine);
    }
    return MMQ_OK;
}

/* ---- CRC-32 ----------------------------------------------------------------------------- */

uint32_t mmq_crc(uint32_t crc, const void *data, size_t size)
{
    return crc32_gzip_refl(crc, data, size);
}

uint32_t mmq_crc_join(uint32_t first, uint32_t second, int64_t second_bytes)
{
    return (uint32_t)crc32_combine(first, second, (z_off_t)second_bytes);
}
