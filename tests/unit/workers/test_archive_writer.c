/* workers/archive by itself: what it writes is read back by others' programs, each step that may
 * fail fails, and it is given up at each point. F70. */
#include "store_world.h"

#include "failing_calls.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <zlib.h>

#include "lib/buffer.h"
#include "lib/splitmix.h"
#include "workers/archive/archive.h"
#include "workers/archive/archive_parts.h"

enum {
    CREATED = 1700000000,
    BIG = 3 * MMQ_TEXT_BYTES + 17,
    GZIP_WINDOW = 15 + 16,
};

static const int levels[] = {1, 2, 6, 9};
static uint8_t *text; /* BIG bytes, half of them random: the engines meet both */
static char path[128], other_path[128];

/* ---- making archives -------------------------------------------------------------------- */

static int begin(void **state)
{
    (void)state;
    const char *seed_text = getenv("METRICMQ_SEED");
    const uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 10) : 1;
    printf("seed %llu\n", (unsigned long long)seed);
    mmq_splitmix random = {seed};
    text = malloc(BIG);
    assert_non_null(text);
    for (size_t i = 0; i < BIG; i++) {
        text[i] = i % 20000 < 10000 ? (uint8_t)mmq_splitmix_next(&random) : (uint8_t)('0' + i % 10);
    }
    world_begin();
    (void)snprintf(path, sizeof path, "%s/a.tar.gz", world_folder);
    (void)snprintf(other_path, sizeof other_path, "%s/b", world_folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(text);
    world_end();
    return 0;
}

static int open_new(void)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    fault.fd = fd;
    return fd;
}

/* Entries "0", "1", ... of these sizes, all of them a start of `text`, added `step` bytes at a time
 * (0: as many as there is room for). */
struct plan {
    int level;
    int64_t bytes_max;
    const size_t *sizes;
    size_t count, step;
};

static mmq_err fill(mmq_archive *archive, size_t size, size_t step)
{
    mmq_err err = MMQ_OK;
    for (size_t done = 0; done < size && err == MMQ_OK;) {
        char *room;
        size_t most;
        err = mmq_archive_room(archive, &room, &most, &why);
        if (err == MMQ_OK) {
            most = step > 0 && step < most ? step : most;
            most = size - done < most ? size - done : most;
            memcpy(room, text + done, most);
            done += most;
            err = mmq_archive_commit(archive, most, &why);
        }
    }
    return err;
}

static mmq_err build(const struct plan *plan, mmq_sums *out)
{
    mmq_archive *archive;
    const int fd = open_new();
    const mmq_archive_options options = {plan->level, CREATED, plan->bytes_max};
    *out = (mmq_sums){0};
    mmq_err err = mmq_archive_new(fd, &options, &archive, &why);
    for (size_t i = 0; i < plan->count && err == MMQ_OK; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "%zu", i);
        err = mmq_archive_entry(archive, name, &why);
        if (err == MMQ_OK) {
            err = fill(archive, plan->sizes[i], plan->step);
        }
    }
    if (err == MMQ_OK) {
        err = mmq_archive_finish(archive, out, &why);
    }
    mmq_archive_destroy(&archive);
    assert_null(archive);
    fault.fd = -1;
    assert_int_equal(close(fd), 0);
    return err;
}

/* ---- reading them ----------------------------------------------------------------------- */

static mmq_buffer read_file(const char *name)
{
    mmq_buffer out;
    struct stat status;
    mmq_buffer_init(&out, 1 << 30);
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &status) == 0);
    uint8_t *room = mmq_buffer_reserve(&out, (size_t)status.st_size + 1);
    assert_non_null(room);
    while (out.size < (size_t)status.st_size) {
        const ssize_t got = read(fd, room + out.size, (size_t)status.st_size - out.size);
        assert_true(got > 0);
        out.size += (size_t)got;
    }
    (void)close(fd);
    return out;
}

/* One member of gzip and nothing behind it: what is in it; the caller clears it. */
static mmq_buffer inflate_one(const mmq_buffer *gzip)
{
    enum { STEP = 1 << 20 };
    mmq_buffer out;
    z_stream stream = {.next_in = gzip->data, .avail_in = (uInt)gzip->size};
    int code = Z_OK;
    mmq_buffer_init(&out, 1 << 30);
    assert_int_equal(inflateInit2(&stream, GZIP_WINDOW), Z_OK);
    while (code == Z_OK) {
        stream.next_out = mmq_buffer_reserve(&out, STEP);
        stream.avail_out = STEP;
        assert_non_null(stream.next_out);
        code = inflate(&stream, Z_NO_FLUSH);
        out.size += STEP - stream.avail_out;
    }
    assert_int_equal(code, Z_STREAM_END);
    assert_int_equal(stream.avail_in, 0);
    assert_int_equal(inflateEnd(&stream), Z_OK);
    return out;
}

static void check_tar(const mmq_buffer *tar, const struct plan *plan)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    uint8_t *got = malloc(BIG + 1);
    size_t blocks = 2;
    assert_non_null(got);
    archive_read_support_format_tar(archive);
    assert_int_equal(archive_read_open_memory(archive, tar->data, tar->size), ARCHIVE_OK);
    for (size_t i = 0; i < plan->count; i++) {
        char name[24];
        const size_t size = plan->sizes[i];
        (void)snprintf(name, sizeof name, "%zu", i);
        assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
        assert_string_equal(archive_entry_pathname(entry), name);
        assert_int_equal(archive_entry_size(entry), size);
        assert_int_equal(archive_entry_mtime(entry), CREATED);
        assert_int_equal(archive_read_data(archive, got, BIG + 1), size);
        assert_memory_equal(got, text, size);
        blocks += 1 + (size + MMQ_TAR_BLOCK - 1) / MMQ_TAR_BLOCK;
    }
    assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_EOF);
    assert_int_equal(tar->size, blocks * MMQ_TAR_BLOCK);
    archive_read_free(archive);
    free(got);
}

static void check_sums(const mmq_sums *sums)
{
    mmq_sums wanted;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(mmq_sums_of_file(fd, &wanted, &why));
    (void)close(fd);
    assert_int_equal(sums->size_bytes, wanted.size_bytes);
    assert_string_equal(sums->whole.sha256, wanted.whole.sha256);
    assert_string_equal(sums->whole.md5, wanted.whole.md5);
    assert_int_equal(sums->count, wanted.count);
    for (size_t i = 0; i < wanted.count; i++) {
        assert_string_equal(sums->parts[i].sha256, wanted.parts[i].sha256);
        assert_string_equal(sums->parts[i].md5, wanted.parts[i].md5);
    }
    mmq_sums_clear(&wanted);
}

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof command, format, args);
    va_end(args);
    const int status = system(command);
    if (status != 0) {
        fail_msg("status %d: %s", status, command);
    }
}

/* Programs that people read archives with must all see the same. */
static void check_programs(size_t count)
{
    run("gzip -t %s", path);
    run("if command -v pigz >/dev/null; then pigz -t %s; fi", path);
    run("cd %s && mkdir gnu bsd python && tar -C gnu -xzf %s && bsdtar -C bsd -xzf %s",
        world_folder, path, path);
    run("cd %s && /usr/bin/python3 -c 'import tarfile\n"
        "for mode in (\"r:gz\", \"r|gz\"):\n"
        "    with tarfile.open(\"%s\", mode) as archive:\n"
        "        for member in archive:\n"
        "            with open(\"python/\" + member.name, \"wb\") as file:\n"
        "                file.write(archive.extractfile(member).read())\n'",
        world_folder, path);
    run("cd %s && diff -r gnu bsd && diff -r gnu python && [ $(ls gnu | wc -l) = %zu ] &&"
        " [ $(stat -c %%Y gnu/0) = %d ] && rm -r gnu bsd python",
        world_folder, count, CREATED);
}

static void check(const struct plan *plan)
{
    mmq_sums sums;
    assert_ok(build(plan, &sums));
    mmq_buffer gzip = read_file(path), tar = inflate_one(&gzip);
    check_tar(&tar, plan);
    check_sums(&sums);
    mmq_sums_clear(&sums);
    mmq_buffer_clear(&tar);
    mmq_buffer_clear(&gzip);
}

/* ---- what is written -------------------------------------------------------------------- */

static const size_t small[] = {0, 1, 511, 512, 513, MMQ_ARCHIVE_ROOM, 0};
static const size_t large[] = {MMQ_TEXT_BYTES - 513, MMQ_TEXT_BYTES - 1, MMQ_TEXT_BYTES,
                               MMQ_TEXT_BYTES + 1,   2 * MMQ_TEXT_BYTES, BIG};

static void entries_of_each_size_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        struct plan made = {levels[i], INT64_MAX, small, sizeof small / sizeof *small, 0};
        check(&made);
        check_programs(made.count);
        made.sizes = large;
        made.count = sizeof large / sizeof *large;
        check(&made);
        check_programs(made.count);
    }
}

static void every_level_works(void **state)
{
    (void)state;
    for (int level = MMQ_LEVEL_MIN; level <= MMQ_LEVEL_MAX; level++) {
        const struct plan made = {level, INT64_MAX, large, sizeof large / sizeof *large, 0};
        check(&made);
    }
}

static void no_entries_are_an_empty_tar(void **state)
{
    (void)state;
    const struct plan made = {1, INT64_MAX, NULL, 0, 0};
    check(&made);
}

/* However the bytes came. */
static void steps_do_not_show(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 511, 4096, 100000, MMQ_TEXT_BYTES};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        struct plan made = {levels[i], INT64_MAX, large, sizeof large / sizeof *large, 0};
        mmq_sums wanted, sums;
        assert_ok(build(&made, &wanted));
        for (size_t j = levels[i] > 1; j < sizeof steps / sizeof *steps; j++) {
            made.step = steps[j];
            assert_ok(build(&made, &sums));
            assert_string_equal(sums.whole.sha256, wanted.whole.sha256);
            mmq_sums_clear(&sums);
        }
        mmq_sums_clear(&wanted);
    }
}

/* Of random bytes, which no engine makes smaller. */
static void parts_are_summed(void **state)
{
    (void)state;
    enum { TIMES = (MMQ_WHOLE_BYTES + 2 * MMQ_PART_BYTES) / BIG };
    mmq_archive *archive;
    mmq_sums sums;
    mmq_splitmix random = {7};
    const int fd = open_new();
    assert_ok(mmq_archive_new(fd, &(mmq_archive_options){1, CREATED, INT64_MAX}, &archive, &why));
    for (int i = 0; i < TIMES; i++) {
        for (size_t j = 0; j + 8 <= BIG; j += 8) {
            const uint64_t word = mmq_splitmix_next(&random);
            memcpy(text + j, &word, sizeof word);
        }
        if (i % (TIMES / 4) == 0) {
            char name[24];
            (void)snprintf(name, sizeof name, "%d", i);
            assert_ok(mmq_archive_entry(archive, name, &why));
        }
        assert_ok(mmq_archive_add(archive, text, BIG, &why));
    }
    assert_ok(mmq_archive_finish(archive, &sums, &why));
    mmq_archive_destroy(&archive);
    (void)close(fd);
    assert_true(sums.count > MMQ_WHOLE_BYTES / MMQ_PART_BYTES);
    check_sums(&sums);
    mmq_sums_clear(&sums);
    run("gzip -t %s", path);
}

/* ---- heads ------------------------------------------------------------------------------ */

/* GNU tar's own, for a file that has no bytes on disk. */
static void heads_are_gnu_tars(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0,
                                    1,
                                    0777777777,
                                    INT64_C(077777777777),
                                    INT64_C(1) << 33,
                                    (INT64_C(9) << 30) + 5,
                                    INT64_C(1) << 40};
    uint8_t ours[MMQ_TAR_BLOCK];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        run("truncate -s %lld %s/metric_data.csv", (long long)sizes[i], world_folder);
        run("cd %s && tar --format=gnu --numeric-owner --owner=0 --group=0 --mode=0644 --mtime=@%d"
            " --record-size=512 -cf - metric_data.csv 2>/dev/null | head -c 512 >%s",
            world_folder, CREATED, other_path);
        assert_ok(mmq_tar_head("metric_data.csv", sizes[i], CREATED, ours, &why));
        mmq_buffer theirs = read_file(other_path);
        assert_int_equal(theirs.size, MMQ_TAR_BLOCK);
        assert_memory_equal(ours, theirs.data, MMQ_TAR_BLOCK);
        mmq_buffer_clear(&theirs);
    }
}

/* An entry beyond 8 GiB, as tar and bsdtar list it. */
static void huge_entries_are_listed(void **state)
{
    (void)state;
    const int64_t size = (INT64_C(9) << 30) + 5;
    uint8_t head[MMQ_TAR_BLOCK];
    const int fd = open_new();
    assert_ok(mmq_tar_head("metric_data.csv", size, CREATED, head, &why));
    assert_int_equal(pwrite(fd, head, sizeof head, 0), sizeof head);
    const int64_t all = MMQ_TAR_BLOCK + size + (int64_t)mmq_tar_padding(size) + MMQ_TAR_END_BYTES;
    assert_int_equal(ftruncate(fd, all), 0);
    (void)close(fd);
    run("tar -tvf %s | grep -q '^-rw-r--r-- 0/0 .* %lld .* metric_data.csv$'", path,
        (long long)size);
    run("bsdtar -tvf %s | grep -q '^-rw-r--r-- .* 0  *0 .* %lld .* metric_data.csv$'", path,
        (long long)size);
}

/* ---- what fails ------------------------------------------------------------------------- */

static void check_nothing(const mmq_sums *sums)
{
    assert_int_equal(sums->size_bytes, 0);
    assert_string_equal(sums->whole.sha256, "");
    assert_null(sums->parts);
}

static void each_call_may_fail(void **state)
{
    (void)state;
    static const struct {
        call call;
        int error;
        mmq_err wanted;
        int least; /* how many calls there are at least */
    } faults[] = {
        {CALL_WRITE, ENOSPC, MMQ_ENOSPC, 6},  {CALL_WRITE, EIO, MMQ_EIO, 6},
        {CALL_PWRITE, ENOSPC, MMQ_ENOSPC, 6}, {CALL_PREAD, EIO, MMQ_EIO, 2},
        {CALL_FSYNC, EIO, MMQ_EIO, 1},        {CALL_THREAD, EAGAIN, MMQ_ENOMEM, 2},
    };
    const struct plan made = {1, INT64_MAX, large, sizeof large / sizeof *large, 0};
    mmq_sums sums;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        int nth = 0;
        for (bool failed = true; failed; nth += failed) {
            arm(faults[i].call, nth, faults[i].error);
            const mmq_err err = build(&made, &sums);
            failed = disarm();
            assert_int_equal(err, failed ? faults[i].wanted : MMQ_OK);
            if (failed) {
                check_nothing(&sums);
            }
            mmq_sums_clear(&sums);
        }
        assert_true(nth >= faults[i].least);
    }
}

static void interrupted_calls_go_on(void **state)
{
    (void)state;
    static const call calls[] = {CALL_WRITE, CALL_PWRITE, CALL_PREAD};
    const struct plan made = {1, INT64_MAX, large, sizeof large / sizeof *large, 0};
    mmq_sums sums;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        arm(calls[i], 1, EINTR);
        assert_ok(build(&made, &sums));
        assert_true(disarm());
        check_sums(&sums);
        mmq_sums_clear(&sums);
    }
    fault.halves = true;
    check(&made);
    fault.halves = false;
}

static void bytes_are_bounded(void **state)
{
    (void)state;
    struct plan made = {1, INT64_MAX, large, sizeof large / sizeof *large, 0};
    mmq_sums sums;
    assert_ok(build(&made, &sums));
    const int64_t size = sums.size_bytes;
    mmq_sums_clear(&sums);
    const int64_t too_few[] = {0, 1, 10, 527, size / 2, size - 8, size - 1};
    for (size_t i = 0; i < sizeof too_few / sizeof *too_few; i++) {
        struct stat status;
        made.bytes_max = too_few[i];
        assert_int_equal(build(&made, &sums), MMQ_EBUSY);
        assert_string_equal(why.text, "the spool has no room for this archive");
        check_nothing(&sums);
        assert_int_equal(stat(path, &status), 0);
        assert_true(status.st_size <= too_few[i]);
    }
    made.bytes_max = size;
    check(&made);
}

/* A failure reaches the caller while it still adds. */
static void failure_ends_the_work(void **state)
{
    (void)state;
    mmq_archive *archive;
    mmq_sums sums;
    mmq_err err = MMQ_OK;
    const int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(mmq_archive_new(fd, &(mmq_archive_options){1, CREATED, INT64_MAX}, &archive, &why));
    assert_ok(mmq_archive_entry(archive, "endless", &why));
    while (err == MMQ_OK) {
        err = mmq_archive_add(archive, text, BIG, &why);
    }
    assert_int_equal(err, MMQ_ENOSPC);
    assert_int_equal(mmq_archive_add(archive, text, BIG, &why), MMQ_ENOSPC);
    assert_int_equal(mmq_archive_entry(archive, "more", &why), MMQ_ENOSPC);
    assert_int_equal(mmq_archive_finish(archive, &sums, &why), MMQ_ENOSPC);
    check_nothing(&sums);
    mmq_archive_destroy(&archive);
    (void)close(fd);
}

static void it_is_given_up_at_any_point(void **state)
{
    (void)state;
    for (size_t most = 0; most < 12 * MMQ_TEXT_BYTES; most += MMQ_TEXT_BYTES / 3) {
        mmq_archive *archive;
        const int fd = open_new();
        assert_ok(
            mmq_archive_new(fd, &(mmq_archive_options){1, CREATED, INT64_MAX}, &archive, &why));
        for (size_t done = 0; done < most; done += MMQ_TEXT_BYTES / 3) {
            if (done % MMQ_TEXT_BYTES == 0 && done < 8 * MMQ_TEXT_BYTES) {
                assert_ok(mmq_archive_entry(archive, "entry", &why));
            }
            assert_ok(mmq_archive_add(archive, text, MMQ_TEXT_BYTES / 3, &why));
        }
        mmq_archive_destroy(&archive);
        (void)close(fd);
    }
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(entries_of_each_size_come_back),
        TEST(every_level_works),
        TEST(no_entries_are_an_empty_tar),
        TEST(steps_do_not_show),
        TEST(parts_are_summed),
        TEST(heads_are_gnu_tars),
        TEST(huge_entries_are_listed),
        TEST(each_call_may_fail),
        TEST(interrupted_calls_go_on),
        TEST(bytes_are_bounded),
        TEST(failure_ends_the_work),
        TEST(it_is_given_up_at_any_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
