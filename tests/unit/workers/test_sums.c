/* The sums of a file while it is written, against those of reading it. */
#include "store_world.h"

#include <fcntl.h>

#include "workers/archive/sums.h"

enum { SKIPPED = 512 };

static int open_new(void)
{
    const int fd = open(world_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    return fd;
}

/* Writes the bytes. */
static int make_file(const char *bytes, size_t size)
{
    const int fd = open_new();
    for (size_t done = 0; done < size;) {
        const ssize_t step = write(fd, bytes + done, size - done);
        assert_true(step > 0);
        done += (size_t)step;
    }
    return fd;
}

static char *make_bytes(size_t size)
{
    char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)(i * 2654435761u >> 13);
    }
    return bytes;
}

static void assert_same(const mmq_sums *a, const mmq_sums *b)
{
    assert_int_equal(a->size_bytes, b->size_bytes);
    assert_string_equal(a->whole.sha256, b->whole.sha256);
    assert_string_equal(a->whole.md5, b->whole.md5);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_string_equal(a->parts[i].sha256, b->parts[i].sha256);
        assert_string_equal(a->parts[i].md5, b->parts[i].md5);
    }
}

/* Adds the bytes, of which SKIPPED behind each of `skips` are skipped, and compares. */
static void check(const char *bytes, int64_t size, const int64_t *skips, size_t count)
{
    mmq_sums sums, wanted;
    mmq_part_sums *parts = mmq_part_sums_new();
    assert_non_null(parts);
    int64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        assert_ok(mmq_part_sums_add(parts, bytes + at, (size_t)(skips[i] - at), &why));
        assert_ok(mmq_part_sums_skip(parts, SKIPPED, &why));
        at = skips[i] + SKIPPED;
    }
    assert_ok(mmq_part_sums_add(parts, bytes + at, (size_t)(size - at), &why));
    const int fd = make_file(bytes, (size_t)size);
    assert_ok(mmq_part_sums_end(parts, fd, &sums, &why));
    assert_ok(mmq_sha256_of_file(fd, size, sums.whole.sha256, &why));
    assert_ok(mmq_sums_of_file(fd, &wanted, &why));
    assert_same(&sums, &wanted);
    mmq_sums_clear(&wanted);
    mmq_sums_clear(&sums);
    mmq_part_sums_destroy(&parts);
    (void)close(fd);
}

/* Some of them over the border of two parts. */
static void skipped_parts_are_summed_at_the_end(void **state)
{
    (void)state;
    enum { SIZE = MMQ_WHOLE_BYTES + MMQ_PART_BYTES + 12345 };
    static const int64_t skips[] = {15,
                                    700,
                                    2 * MMQ_PART_BYTES - 1,
                                    5 * (int64_t)MMQ_PART_BYTES,
                                    7 * (int64_t)MMQ_PART_BYTES + 99,
                                    SIZE - SKIPPED};
    char *bytes = make_bytes(SIZE);
    check(bytes, SIZE, skips, sizeof skips / sizeof *skips);
    check(bytes, SIZE, NULL, 0);
    free(bytes);
}

static void sizes_at_a_border(void **state)
{
    (void)state;
    static const int64_t sizes[] = {SKIPPED,
                                    MMQ_PART_BYTES,
                                    MMQ_PART_BYTES + 1,
                                    MMQ_WHOLE_BYTES,
                                    MMQ_WHOLE_BYTES + 1,
                                    9 * MMQ_PART_BYTES,
                                    MMQ_WHOLE_BYTES - 1};
    const int64_t skip = 0;
    char *bytes = make_bytes(9 * MMQ_PART_BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check(bytes, sizes[i], &skip, 1);
    }
    check(bytes, 0, NULL, 0);
    free(bytes);
}

static void parts_are_bounded(void **state)
{
    (void)state;
    mmq_part_sums *parts = mmq_part_sums_new();
    assert_non_null(parts);
    assert_ok(mmq_part_sums_skip(parts, (size_t)MMQ_PART_BYTES * MMQ_PARTS_MAX, &why));
    assert_int_equal(mmq_part_sums_add(parts, "x", 1, &why), MMQ_ETOOBIG);
    mmq_part_sums_destroy(&parts);
    mmq_sums sums;
    assert_int_equal(mmq_sums_init(&sums, (int64_t)MMQ_PART_BYTES * MMQ_PARTS_MAX + 1, &why),
                     MMQ_ETOOBIG);
}

/* F70: it is not what was written. */
static void another_size_is_found(void **state)
{
    (void)state;
    enum { SIZE = 1000000 };
    char sum[MMQ_DIGEST_HEX + 1], *bytes = make_bytes(SIZE);
    const int fd = make_file(bytes, SIZE);
    assert_ok(mmq_sha256_of_file(fd, SIZE, sum, &why));
    assert_int_equal(mmq_sha256_of_file(fd, SIZE + 1, sum, &why), MMQ_EIO);
    assert_int_equal(mmq_sha256_of_file(fd, SIZE - 1, sum, &why), MMQ_EIO);
    (void)close(fd);
    free(bytes);
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_end();
    return 0;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(skipped_parts_are_summed_at_the_end),
        TEST(sizes_at_a_border),
        TEST(parts_are_bounded),
        TEST(another_size_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
