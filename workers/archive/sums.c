/* The digests of the whole and those of the parts go forward together over one read of the file. */
#include "workers/archive/sums.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/files.h"

enum { READ_BYTES = 256 * 1024 };

struct summing {
    mmq_checksum *sha256, *md5;           /* of the whole */
    mmq_checksum *part_sha256, *part_md5; /* of the part */
    char *room;                           /* READ_BYTES, a divisor of MMQ_PART_BYTES */
};

static void summing_clear(struct summing *summing)
{
    free(summing->room);
    mmq_checksum_destroy(&summing->part_md5);
    mmq_checksum_destroy(&summing->part_sha256);
    mmq_checksum_destroy(&summing->md5);
    mmq_checksum_destroy(&summing->sha256);
}

static mmq_err summing_init(struct summing *summing, mmq_why *why)
{
    *summing = (struct summing){
        .sha256 = mmq_checksum_new(MMQ_SHA256),
        .md5 = mmq_checksum_new(MMQ_MD5),
        .part_sha256 = mmq_checksum_new(MMQ_SHA256),
        .part_md5 = mmq_checksum_new(MMQ_MD5),
        .room = malloc(READ_BYTES),
    };
    if (summing->sha256 != NULL && summing->md5 != NULL && summing->part_sha256 != NULL &&
        summing->part_md5 != NULL && summing->room != NULL) {
        return MMQ_OK;
    }
    summing_clear(summing);
    return mmq_fail(why, MMQ_ENOMEM, "no memory for the sums of an archive");
}

/* Fills the room as far as the file goes; *size is less than READ_BYTES at its end only. */
static mmq_err read_room(struct summing *summing, int fd, int64_t at, size_t *size, mmq_why *why)
{
    *size = 0;
    while (*size < READ_BYTES) {
        const ssize_t got =
            pread(fd, summing->room + *size, READ_BYTES - *size, (off_t)(at + (int64_t)*size));
        if (got == 0) {
            return MMQ_OK;
        }
        if (got < 0 && errno != EINTR) {
            return mmq_files_fail(why, errno, "read", "an archive");
        }
        *size += got > 0 ? (size_t)got : 0;
    }
    return MMQ_OK;
}

static mmq_err sum_file(struct summing *summing, int fd, mmq_sums *out, mmq_why *why)
{
    const bool whole = out->count == 0;
    int64_t done = 0;
    size_t size = READ_BYTES;
    for (size_t part = 0; size == READ_BYTES;) {
        mmq_err err = read_room(summing, fd, done, &size, why);
        if (err != MMQ_OK) {
            return err;
        }
        done += (int64_t)size;
        mmq_checksum_add(summing->sha256, summing->room, size);
        if (whole) {
            mmq_checksum_add(summing->md5, summing->room, size);
        } else if (size > 0) {
            mmq_checksum_add(summing->part_sha256, summing->room, size);
            mmq_checksum_add(summing->part_md5, summing->room, size);
        }
        if (part < out->count && (done % MMQ_PART_BYTES == 0 || done == out->size_bytes)) {
            mmq_checksum_hex(summing->part_sha256, out->parts[part].sha256);
            mmq_checksum_hex(summing->part_md5, out->parts[part].md5);
            part++;
        }
    }
    if (done != out->size_bytes) {
        return mmq_fail(why, MMQ_EIO, "an archive changed its size while it was read");
    }
    mmq_checksum_hex(summing->sha256, out->whole.sha256);
    if (whole) {
        mmq_checksum_hex(summing->md5, out->whole.md5);
    }
    return MMQ_OK;
}

mmq_err mmq_sums_init(mmq_sums *sums, int64_t size_bytes, mmq_why *why)
{
    *sums = (mmq_sums){.size_bytes = size_bytes};
    if (size_bytes <= MMQ_WHOLE_BYTES) {
        return MMQ_OK;
    }
    if (size_bytes > (int64_t)MMQ_PART_BYTES * MMQ_PARTS_MAX) {
        return mmq_fail(why, MMQ_ETOOBIG, "an archive of %lld bytes is more than %d parts",
                        (long long)size_bytes, MMQ_PARTS_MAX);
    }
    sums->count = (size_t)((size_bytes + MMQ_PART_BYTES - 1) / MMQ_PART_BYTES);
    sums->parts = calloc(sums->count, sizeof *sums->parts);
    return sums->parts != NULL ? MMQ_OK
                               : mmq_fail(why, MMQ_ENOMEM, "no memory for the sums of an archive");
}

mmq_err mmq_sums_of_file(int fd, mmq_sums *out, mmq_why *why)
{
    struct summing summing;
    struct stat status;
    *out = (mmq_sums){0};
    if (fstat(fd, &status) != 0) {
        return mmq_files_fail(why, errno, "look at", "an archive");
    }
    mmq_err err = mmq_sums_init(out, status.st_size, why);
    if (err == MMQ_OK) {
        err = summing_init(&summing, why);
    }
    if (err == MMQ_OK) {
        err = sum_file(&summing, fd, out, why);
        summing_clear(&summing);
    }
    return err;
}

void mmq_sums_clear(mmq_sums *sums)
{
    free(sums->parts);
    *sums = (mmq_sums){0};
}
