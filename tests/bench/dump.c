/* Archives of feedback dumps, without a bus:
 *
 *     bench_dump build URL UID LEVEL FILE   the product's own
 *     bench_dump bare LEVEL TEXT            its engine alone: gzip of a file's text, in memory
 *     bench_dump libarchive TEXT FILE       tar.gz of the text by libarchive and its own gzip
 *     bench_dump sums FILE                  the sums of a file, as an archive's are taken
 *
 * FILE is written and fsynced. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/files.h"
#include "tests/bench/tool.h"
#include "workers/dump_archive.h"

enum { BLOCK_BYTES = 256 * 1024, GZIP_BITS = 15 + 16, MEMORY_LEVEL = 8, ENTRY_MODE = 0644 };

static int open_new(const char *path)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, ENTRY_MODE);
    if (fd < 0) {
        bench_die("cannot open %s: %s", path, strerror(errno));
    }
    return fd;
}

/* The most memory that this process had, in bytes. */
static double peak_bytes(void)
{
    char line[256];
    double peak = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            peak = strtod(line + 6, NULL) * 1024;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return peak;
}

/* ---- the product's own ------------------------------------------------------------------ */

static mmq_err go_on(void *context, const char *stage, int64_t done, int64_t total, mmq_why *why)
{
    (void)context, (void)stage, (void)done, (void)total, (void)why;
    return MMQ_OK;
}

static void build(const char *url, const char *uid, int level, const char *path)
{
    mmq_store *store;
    mmq_dump dump = {.created = 0};
    mmq_sums sums;
    mmq_why why;
    bench_must(mmq_store_open(url, MMQ_STORE_READ, &store, &why), &why);
    (void)snprintf(dump.uid, sizeof dump.uid, "%s", uid);
    mmq_buffer_init(&dump.extra, 16);
    mmq_buffer_add(&dump.extra, "\x80", 1); /* an empty map */
    const mmq_archive_order order = {.store = store,
                                     .dump = &dump,
                                     .server_id = "bench",
                                     .level = level,
                                     .bytes_max = INT64_MAX,
                                     .watch = {go_on, NULL}};
    const int fd = open_new(path);
    const double idle = peak_bytes();
    const bench_clock start = bench_start();
    bench_must(mmq_archive_build(&order, fd, &sums, &why), &why);
    const bench_clock passed = bench_since(start);
    bench_report(passed, (const bench_figure[]){{"size", (double)sums.size_bytes},
                                                {"peak", peak_bytes() - idle},
                                                {NULL, 0}});
    mmq_sums_clear(&sums);
    mmq_buffer_clear(&dump.extra);
    (void)close(fd);
    mmq_store_close(&store);
}

/* ---- a file's text ---------------------------------------------------------------------- */

struct text {
    unsigned char *data;
    size_t size;
};

static struct text read_text(const char *path)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        bench_die("cannot open %s: %s", path, strerror(errno));
    }
    struct text text = {bench_alloc((size_t)status.st_size + 1), 0};
    while (text.size < (size_t)status.st_size) {
        const ssize_t got = read(fd, text.data + text.size, (size_t)status.st_size - text.size);
        if (got <= 0) {
            bench_die("cannot read %s", path);
        }
        text.size += (size_t)got;
    }
    (void)close(fd);
    return text;
}

static size_t piece_of(const struct text *text, size_t at)
{
    const size_t left = text->size - at;
    return left < BLOCK_BYTES ? left : BLOCK_BYTES;
}

static size_t squeeze_fast(const struct text *text, uint8_t *out)
{
    struct isal_zstream stream;
    size_t made = 0;
    isal_deflate_init(&stream);
    stream.level = 1;
    stream.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    stream.level_buf = bench_alloc(stream.level_buf_size);
    stream.gzip_flag = IGZIP_GZIP;
    for (size_t at = 0, step; at < text->size; at += step) {
        step = piece_of(text, at);
        stream.next_in = text->data + at;
        stream.avail_in = (uint32_t)step;
        stream.end_of_stream = at + step == text->size;
        do {
            stream.next_out = out;
            stream.avail_out = BLOCK_BYTES;
            if (isal_deflate(&stream) != COMP_OK) {
                bench_die("ISA-L fails");
            }
            made += BLOCK_BYTES - stream.avail_out;
        } while (stream.avail_out == 0);
    }
    free(stream.level_buf);
    return made;
}

static size_t squeeze_slow(const struct text *text, uint8_t *out, int level)
{
    z_stream stream = {.next_in = NULL};
    size_t made = 0;
    if (deflateInit2(&stream, level, Z_DEFLATED, GZIP_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        bench_die("zlib fails");
    }
    for (size_t at = 0, step; at < text->size; at += step) {
        step = piece_of(text, at);
        stream.next_in = text->data + at;
        stream.avail_in = (uInt)step;
        do {
            stream.next_out = out;
            stream.avail_out = BLOCK_BYTES;
            (void)deflate(&stream, at + step == text->size ? Z_FINISH : Z_NO_FLUSH);
            made += BLOCK_BYTES - stream.avail_out;
        } while (stream.avail_out == 0);
    }
    (void)deflateEnd(&stream);
    return made;
}

static void squeeze(const char *path, int level)
{
    const struct text text = read_text(path);
    uint8_t *out = bench_alloc(BLOCK_BYTES);
    const bench_clock start = bench_start();
    const size_t made = level == 1 ? squeeze_fast(&text, out) : squeeze_slow(&text, out, level);
    bench_report(
        bench_since(start),
        (const bench_figure[]){{"size", (double)made}, {"text", (double)text.size}, {NULL, 0}});
    free(out);
    free(text.data);
}

/* ---- libarchive ------------------------------------------------------------------------- */

static void must(struct archive *archive, int status)
{
    if (status != ARCHIVE_OK) {
        bench_die("libarchive: %s", archive_error_string(archive));
    }
}

static void write_entry(struct archive *archive, const struct text *text)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, "metric_data.csv");
    archive_entry_set_size(entry, (int64_t)text->size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, ENTRY_MODE);
    must(archive, archive_write_header(archive, entry));
    archive_entry_free(entry);
    for (size_t at = 0, step; at < text->size; at += step) {
        step = piece_of(text, at);
        if (archive_write_data(archive, text->data + at, step) != (la_ssize_t)step) {
            bench_die("libarchive: %s", archive_error_string(archive));
        }
    }
}

static void pack(const char *from, const char *to)
{
    const struct text text = read_text(from);
    const int fd = open_new(to);
    struct archive *archive = archive_write_new();
    const bench_clock start = bench_start();
    must(archive, archive_write_set_format_pax_restricted(archive));
    must(archive, archive_write_add_filter_gzip(archive));
    must(archive, archive_write_open_fd(archive, fd));
    write_entry(archive, &text);
    must(archive, archive_write_close(archive));
    if (fsync(fd) != 0) {
        bench_die("cannot fsync %s: %s", to, strerror(errno));
    }
    bench_report(bench_since(start),
                 (const bench_figure[]){{"size", (double)archive_filter_bytes(archive, -1)},
                                        {"text", (double)text.size},
                                        {NULL, 0}});
    (void)archive_write_free(archive);
    (void)close(fd);
    free(text.data);
}

/* ---- sums ------------------------------------------------------------------------------- */

static void sum(const char *path)
{
    mmq_sums sums;
    mmq_why why;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bench_clock start = bench_start();
    bench_must(mmq_sums_of_file(fd, &sums, &why), &why);
    bench_report(bench_since(start),
                 (const bench_figure[]){{"size", (double)sums.size_bytes}, {NULL, 0}});
    mmq_sums_clear(&sums);
    (void)close(fd);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "build") == 0 && argc == 6) {
        build(argv[2], argv[3], (int)bench_number(argv[4]), argv[5]);
    } else if (strcmp(what, "bare") == 0 && argc == 4) {
        squeeze(argv[3], (int)bench_number(argv[2]));
    } else if (strcmp(what, "libarchive") == 0 && argc == 4) {
        pack(argv[2], argv[3]);
    } else if (strcmp(what, "sums") == 0 && argc == 3) {
        sum(argv[2]);
    } else {
        fputs(
            "usage: bench_dump build URL UID LEVEL FILE | bare LEVEL TEXT | libarchive TEXT FILE |"
            " sums FILE\n",
            stderr);
        return 2;
    }
    return 0;
}
