/* Of a part whose sum is not known yet it is "". */
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

static mmq_err read_room(int fd, char *room, size_t size, int64_t at, mmq_why *why)
{
    while (size > 0) {
        const ssize_t got = pread(fd, room, size, (off_t)at);
        if (got == 0) {
            return mmq_fail(why, MMQ_EIO, "an archive got shorter while it was read");
        }
        if (got < 0 && errno != EINTR) {
            return mmq_files_fail(why, errno, "read", "an archive");
        }
        if (got > 0) {
            room += got;
            size -= (size_t)got;
            at += got;
        }
    }
    return MMQ_OK;
}

/* Reads bytes [from, to) of the file into some digests; NULL is none. */
static mmq_err sum_range(int fd, int64_t from, int64_t to, mmq_checksum *const into[3],
                         mmq_why *why)
{
    mmq_err err = MMQ_OK;
    char *room = malloc(READ_BYTES);
    if (room == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory to read an archive");
    }
    while (from < to && err == MMQ_OK) {
        const size_t size = to - from < READ_BYTES ? (size_t)(to - from) : READ_BYTES;
        err = read_room(fd, room, size, from, why);
        from += (int64_t)size;
        for (int i = 0; i < 3 && err == MMQ_OK; i++) {
            if (into[i] != NULL) {
                mmq_checksum_add(into[i], room, size);
            }
        }
    }
    free(room);
    return err;
}

static mmq_err check_size(int fd, int64_t size_bytes, mmq_why *why)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return mmq_files_fail(why, errno, "look at", "an archive");
    }
    return status.st_size == size_bytes
               ? MMQ_OK
               : mmq_fail(why, MMQ_EIO, "an archive changed its size while it was read");
}

/* Reads part `i` into its sums, and into `whole` unless that is NULL. */
static mmq_err sum_part(int fd, struct digests *digests, mmq_checksum *whole, size_t i,
                        mmq_sums *out, mmq_why *why)
{
    mmq_checksum *const into[] = {whole, digests->sha256, digests->md5};
    const int64_t from = (int64_t)i * MMQ_PART_BYTES, left = out->size_bytes - from;
    const int64_t to = from + (left < MMQ_PART_BYTES ? left : MMQ_PART_BYTES);
    mmq_err err = sum_range(fd, from, to, into, why);
    if (err == MMQ_OK) {
        digests_take(digests, &out->parts[i]);
    }
    return err;
}

static mmq_err no_memory(mmq_why *why)
{
    return mmq_fail(why, MMQ_ENOMEM, "no memory for the sums of an archive");
}

/* All sums of a file whose size *out has. */
static mmq_err sum_file(int fd, mmq_checksum *whole, mmq_sums *out, mmq_why *why)
{
    struct digests digests;
    if (!digests_init(&digests)) {
        return no_memory(why);
    }
    mmq_err err = MMQ_OK;
    if (out->count == 0) {
        mmq_checksum *const into[] = {whole, NULL, digests.md5};
        err = sum_range(fd, 0, out->size_bytes, into, why);
        mmq_checksum_hex(digests.md5, out->whole.md5);
    }
    for (size_t i = 0; i < out->count && err == MMQ_OK; i++) {
        err = sum_part(fd, &digests, whole, i, out, why);
    }
    mmq_checksum_hex(whole, out->whole.sha256);
    digests_clear(&digests);
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
    return sums->parts != NULL ? MMQ_OK : no_memory(why);
}

mmq_err mmq_sums_of_file(int fd, mmq_sums *out, mmq_why *why)
{
    struct stat status;
    *out = (mmq_sums){0};
    if (fstat(fd, &status) != 0) {
        return mmq_files_fail(why, errno, "look at", "an archive");
    }
    mmq_err err = mmq_sums_init(out, status.st_size, why);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_checksum *whole = mmq_checksum_new(MMQ_SHA256);
    err = whole != NULL ? sum_file(fd, whole, out, why) : no_memory(why);
    mmq_checksum_destroy(&whole);
    return err == MMQ_OK ? check_size(fd, out->size_bytes, why) : err;
}

mmq_err mmq_sha256_of_file(int fd, int64_t size_bytes, char out[MMQ_DIGEST_HEX + 1], mmq_why *why)
{
    mmq_checksum *whole = mmq_checksum_new(MMQ_SHA256);
    mmq_checksum *const into[] = {whole, NULL, NULL};
    mmq_err err = whole != NULL ? sum_range(fd, 0, size_bytes, into, why) : no_memory(why);
    if (err == MMQ_OK) {
        mmq_checksum_hex(whole, out);
        err = check_size(fd, size_bytes, why);
    }
    mmq_checksum_destroy(&whole);
    return err;
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
        return no_memory(why);
    }
    sums->parts = parts;
    sums->capacity = capacity;
    return MMQ_OK;
}

static mmq_err end_part(mmq_part_sums *sums, mmq_why *why)
{
    mmq_err err = sums->count == sums->capacity ? grow(sums, why) : MMQ_OK;
    if (err == MMQ_OK) {
        mmq_sum *sum = &sums->parts[sums->count++];
        digests_take(&sums->digests, sum); /* and they begin anew */
        if (sums->skipped) {
            *sum = (mmq_sum){.sha256 = ""};
        }
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

/* The parts as they were summed, and those that were skipped. */
static mmq_err fill_parts(mmq_part_sums *sums, int fd, mmq_sums *out, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    CHECK(out->count == sums->count);
    for (size_t i = 0; i < out->count && err == MMQ_OK; i++) {
        out->parts[i] = sums->parts[i];
        if (out->parts[i].sha256[0] == '\0') {
            err = sum_part(fd, &sums->digests, NULL, i, out, why);
        }
    }
    return err;
}

mmq_err mmq_part_sums_end(mmq_part_sums *sums, int fd, mmq_sums *out, mmq_why *why)
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
        return fill_parts(sums, fd, out, why);
    }
    if (err == MMQ_OK) {
        mmq_checksum *const into[] = {NULL, NULL, sums->digests.md5};
        err = sum_range(fd, 0, out->size_bytes, into, why);
        mmq_checksum_hex(sums->digests.md5, out->whole.md5);
    }
    return err;
}
