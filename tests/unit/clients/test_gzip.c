/* gzip streams: zlib reads back what was put in, however it is cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "clients/http/gzip.h"
#include "lib/buffer.h"
#include "lib/splitmix.h"

enum { LIMIT = 64 * 1024 * 1024 };

static mmq_gzip_pool pool;

static int set_up(void **state)
{
    (void)state;
    pool = (mmq_gzip_pool){.most = 2};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(pool.live, 0);
    mmq_gzip_pool_clear(&pool);
    return 0;
}

/* The text in pieces of at most `piece` bytes, read in rooms of at most `room`. */
static void pack_text(const mmq_buffer *text, size_t piece, size_t room, mmq_buffer *out)
{
    mmq_gzip *gzip = mmq_gzip_take(&pool);
    assert_non_null(gzip);
    size_t at = 0;
    bool failed = false, last = false;
    while (!mmq_gzip_ended(gzip)) {
        uint8_t *to = mmq_buffer_reserve(out, room);
        assert_non_null(to);
        size_t size = mmq_gzip_read(gzip, (char *)to, room, &failed);
        assert_false(failed);
        assert_true(size <= room);
        out->size += size;
        if (size == 0 && !mmq_gzip_ended(gzip)) {
            size_t most;
            char *into = mmq_gzip_room(gzip, &most);
            size_t left = text->size - at, part = piece < most ? piece : most;
            part = part < left ? part : left;
            memcpy(into, text->size > 0 ? text->data + at : (const uint8_t *)"", part);
            at += part;
            assert_false(last);
            last = at == text->size;
            mmq_gzip_put(gzip, part, last);
        }
    }
    assert_int_equal(mmq_gzip_read(gzip, (char *)mmq_buffer_reserve(out, room), room, &failed), 0);
    mmq_gzip_give(&pool, &gzip);
    assert_null(gzip);
}

static void assert_reads_back(const mmq_buffer *packed, const mmq_buffer *text)
{
    uint8_t *plain = malloc(text->size + 1);
    assert_non_null(plain);
    z_stream stream = {.next_in = packed->data,
                       .avail_in = (uInt)packed->size,
                       .next_out = plain,
                       .avail_out = (uInt)text->size + 1};
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK); /* gzip, checksum and size included */
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.avail_in, 0);
    assert_int_equal(stream.total_out, text->size);
    if (text->size > 0) {
        assert_memory_equal(plain, text->data, text->size);
    }
    inflateEnd(&stream);
    free(plain);
}

static void fill(mmq_buffer *text, size_t rows, bool random)
{
    mmq_splitmix seed = {1};
    for (size_t i = 0; i < rows; i++) {
        uint64_t number = mmq_splitmix_next(&seed);
        if (random) {
            mmq_buffer_add(text, &number, sizeof number);
        } else {
            mmq_buffer_format(text, "[\"2013-08-15 21:34:00\", %zu.5, 0.025, %zu], ", i % 100, i);
        }
    }
}

static void test_reads_back(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 100, 5000, 100000};
    const size_t pieces[] = {1 << 20, 4096, 61};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = 0; j < 2 * sizeof pieces / sizeof *pieces; j++) {
            mmq_buffer text, packed;
            mmq_buffer_init(&text, LIMIT);
            mmq_buffer_init(&packed, LIMIT);
            fill(&text, sizes[i], j % 2 == 0);
            pack_text(&text, pieces[j / 2], j % 2 == 0 ? 32768 : 100, &packed);
            assert_reads_back(&packed, &text);
            mmq_buffer_clear(&text);
            mmq_buffer_clear(&packed);
        }
    }
}

static void test_is_bounded(void **state)
{
    (void)state;
    mmq_gzip *one = mmq_gzip_take(&pool), *two = mmq_gzip_take(&pool);
    assert_non_null(one);
    assert_non_null(two);
    assert_null(mmq_gzip_take(&pool));
    mmq_gzip_give(&pool, &one);
    assert_null(pool.spare); /* it was given up in its middle */
    one = mmq_gzip_take(&pool);
    assert_non_null(one);
    mmq_gzip_give(&pool, &one);
    mmq_gzip_give(&pool, &two);
    mmq_gzip_give(&pool, &two);
}

static void test_one_is_kept(void **state)
{
    (void)state;
    mmq_buffer text, packed;
    mmq_buffer_init(&text, LIMIT);
    mmq_buffer_init(&packed, LIMIT);
    fill(&text, 1000, false);
    pack_text(&text, 4096, 4096, &packed);
    const mmq_gzip *kept = pool.spare;
    assert_non_null(kept);
    mmq_buffer_reset(&packed);
    pack_text(&text, 100, 4096, &packed);
    assert_ptr_equal(pool.spare, kept);
    assert_reads_back(&packed, &text);
    mmq_buffer_clear(&text);
    mmq_buffer_clear(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_is_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
