/* A sum that is not known is "". The file is read once: its own digests go forward over all of it,
 * and those of a part over the parts that are not known. */
#include "workers/archive/sums.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/files.h"

enum { READ_BYTES = 256 * 1024, FIRST_PARTS = 16 };

/* ---- two digests side by side ----------------------------------------------------------- */

struct digests {
    mmq_checksum *sha256, *md5;
};

static void digests_clear(struct digests *digests)
{
    mmq_checksum_destroy(&digests->md5);
    mmq_checksum_destroy(&digests->sha256);
}

static bool digests_init(struct digests *digests)
{
    *digests = (struct digests){mmq_checksum_new(MMQ_SHA256), mmq_checksum_new(MMQ_MD5)};
    if (digests->sha256 != NULL && digests->md5 != NULL) {
        return true;
    }
    digests_clear(digests);
    return false;
}

static void digests_add(struct digests *digests, const void *data, size_t size)
{
    mmq_checksum_add(digests->sha256, data, size);
    mmq_checksum_add(digests->md5, data, size);
}

static void digests_take(struct digests *digests, mmq_sum *out)
{
    mmq_checksum_hex(digests->sha256, out->sha256);
    mmq_checksum_hex(digests->md5, out->md5);
}

/* ---- reading a file --------------------------------------------------------------------- */

struct summing {
    struct digests whole, part;
    char *room; /* READ_BYTES, a divisor of MMQ_PART_BYTES */
};

static void summing_clear(struct summing *summing)
{
    free(summing->room);
    digests_clear(&summing->part);
    digests_clear(&summing->whole);
}

static mmq_err summing_init(struct summing *summing, mmq_why *why)
{
    *summing = (struct summing){.room = malloc(READ_BYTES)};
    if (summing->room != NULL && digests_init(&summing->whole) && digests_init(&summing->part)) {
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

/* Takes what was read into the sum of its part, unless that is known; `done` is where it ends. */
static void sum_part(struct summing *summing, size_t size, int64_t done, mmq_sums *out)
{
    mmq_sum *part = &out->parts[(done - (int64_t)size) / MMQ_PART_BYTES];
    if (part->sha256[0] != '\0') {
        return;
    }
    digests_add(&summing->part, summing->room, size);
    if (done % MMQ_PART_BYTES == 0 || done == out->size_bytes) {
        digests_take(&summing->part, part);
    }
}

static mmq_err sum_file(struct summing *summing, int fd, mmq_sums *out, mmq_why *why)
{
    int64_t done = 0;
    for (size_t size = READ_BYTES; size == READ_BYTES;) {
        mmq_err err = read_room(summing, fd, done, &size, why);
        if (err != MMQ_OK) {
            return err;
        }
        done += (int64_t)size;
        if (done > out->size_bytes) {
            break;
        }
        mmq_checksum_add(summing->whole.sha256, summing->room, size);
        if (out->count == 0) {
            mmq_checksum_add(summing->whole.md5, summing->room, size);
        } else if (size > 0) {
            sum_part(summing, size, done, out);
        }
    }
    if (done != out->size_bytes) {
        return mmq_fail(why, MMQ_EIO, "an archive changed its size while it was read");
    }
    mmq_checksum_hex(summing->whole.sha256, out->whole.sha256);
    if (out->count == 0) {
        mmq_checksum_hex(summing->whole.md5, out->whole.md5);
    }
    return MMQ_OK;
}

/* Adds what *out does not know of the file, which is of the size that *out says. */
static mmq_err complete(int fd, mmq_sums *out, mmq_why *why)
{
    struct summing summing;
    mmq_err err = summing_init(&summing, why);
    if (err == MMQ_OK) {
        err = sum_file(&summing, fd, out, why);
        summing_clear(&summing);
    }
    return err;
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
    struct stat status;
    *out = (mmq_sums){0};
    if (fstat(fd, &status) != 0) {
        return mmq_files_fail(why, errno, "look at", "an archive");
    }
    mmq_err err = mmq_sums_init(out, status.st_size, why);
    return err == MMQ_OK ? complete(fd, out, why) : err;
}

void mmq_sums_clear(mmq_sums *sums)
{
    free(sums->parts);
    *sums = (mmq_sums){0};
}

/* ---- while a file is written ------------------------------------------------------------ */

struct mmq_part_sums {
    struct digests digests; /* of the part that goes on */
    bool skipped;           /* something of it is to be read later, and so all of it */
    int64_t done;           /* bytes of the file */
    mmq_sum *parts;         /* of those that are whole */
    size_t count, capacity;
};

mmq_part_sums *mmq_part_sums_new(void)
{
    mmq_part_sums *sums = calloc(1, sizeof *sums);
    if (sums != NULL && !digests_init(&sums->digests)) {
        mmq_part_sums_destroy(&sums);
    }
    return sums;
}

void mmq_part_sums_destroy(mmq_part_sums **sums)
{
    if (*sums == NULL) {
        return;
    }
    digests_clear(&(*sums)->digests);
    free((*sums)->parts);
    free(*sums);
    *sums = NULL;
}

static mmq_err grow(mmq_part_sums *sums, mmq_why *why)
{
    const size_t capacity = sums->capacity == 0 ? FIRST_PARTS : 2 * sums->capacity;
    mmq_sum *parts = reallocarray(sums->parts, capacity, sizeof *parts);
    if (parts == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for the sums of an archive");
    }
    sums->parts = parts;
    sums->capacity = capacity;
    return MMQ_OK;
}

static mmq_err end_part(mmq_part_sums *sums, mmq_why *why)
{
    mmq_sum sum;
    mmq_err err = sums->count == sums->capacity ? grow(sums, why) : MMQ_OK;
    if (err == MMQ_OK) {
        digests_take(&sums->digests, &sum); /* and they begin anew */
        sums->parts[sums->count++] = sums->skipped ? (mmq_sum){.sha256 = ""} : sum;
        sums->skipped = false;
    }
    return err;
}

/* data NULL: the bytes are skipped. */
static mmq_err go_forward(mmq_part_sums *sums, const char *data, size_t size, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    while (size > 0 && err == MMQ_OK) {
        if (sums->count == MMQ_PARTS_MAX) {
            return mmq_fail(why, MMQ_ETOOBIG, "an archive of more than %d parts", MMQ_PARTS_MAX);
        }
        const size_t left = MMQ_PART_BYTES - (size_t)(sums->done % MMQ_PART_BYTES);
        const size_t step = size < left ? size : left;
        sums->skipped |= data == NULL;
        if (!sums->skipped) {
            digests_add(&sums->digests, data, step);
        }
        data = data != NULL ? data + step : NULL;
        size -= step;
        sums->done += (int64_t)step;
        err = step == left ? end_part(sums, why) : MMQ_OK;
    }
    return err;
}

mmq_err mmq_part_sums_add(mmq_part_sums *sums, const void *data, size_t size, mmq_why *why)
{
    CHECK(data != NULL);
    return go_forward(sums, data, size, why);
}

mmq_err mmq_part_sums_skip(mmq_part_sums *sums, size_t size, mmq_why *why)
{
    return go_forward(sums, NULL, size, why);
}

mmq_err mmq_part_sums_finish(mmq_part_sums *sums, int fd, mmq_sums *out, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    *out = (mmq_sums){0};
    if (sums->done % MMQ_PART_BYTES != 0) {
        err = end_part(sums, why);
    }
    if (err == MMQ_OK) {
        err = mmq_sums_init(out, sums->done, why);
    }
    if (err == MMQ_OK && out->count > 0) {
        CHECK(out->count == sums->count);
        memcpy(out->parts, sums->parts, out->count * sizeof *out->parts);
    }
    return err == MMQ_OK ? complete(fd, out, why) : err;
}
