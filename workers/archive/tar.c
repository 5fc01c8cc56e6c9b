/* By libarchive, which is given no data: it writes the head into our block and is then broken off.
 * That it could not write any more is how it is broken off: after archive_write_fail libarchive 3.6
 * forgets to free some of what it holds. */
#include "workers/archive/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/check.h"

enum { ENTRY_MODE = 0644 };

struct head {
    uint8_t *out;
    size_t size;
    bool closed; /* nothing more is taken */
};

static la_ssize_t take_block(struct archive *archive, void *context, const void *data, size_t size)
{
    struct head *head = context;
    if (head->closed || size > MMQ_TAR_BLOCK - head->size) {
        archive_set_error(archive, EIO, "not written");
        return -1;
    }
    memcpy(head->out + head->size, data, size);
    head->size += size;
    return (la_ssize_t)size;
}

static bool open_archive(struct archive *archive, struct head *head)
{
    return archive_write_set_format_gnutar(archive) == ARCHIVE_OK &&
           archive_write_set_bytes_per_block(archive, 0) == ARCHIVE_OK &&
           archive_write_open(archive, head, NULL, take_block, NULL) == ARCHIVE_OK;
}

static void fill_entry(struct archive_entry *entry, const char *name, int64_t size_bytes,
                       int64_t mtime_s)
{
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, size_bytes);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, ENTRY_MODE);
    archive_entry_set_mtime(entry, mtime_s, 0);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
}

mmq_err mmq_tar_head(const char *name, int64_t size_bytes, int64_t mtime_s,
                     uint8_t out[MMQ_TAR_BLOCK], mmq_why *why)
{
    CHECK(strlen(name) <= MMQ_TAR_NAME_MAX && size_bytes >= 0);
    struct head head = {.out = out};
    struct archive *archive = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    mmq_err err = MMQ_ENOMEM;
    if (archive != NULL && entry != NULL) {
        fill_entry(entry, name, size_bytes, mtime_s);
        const bool good = open_archive(archive, &head) &&
                          archive_write_header(archive, entry) == ARCHIVE_OK &&
                          head.size == MMQ_TAR_BLOCK;
        err = good ? MMQ_OK : archive_errno(archive) == ENOMEM ? MMQ_ENOMEM : MMQ_EIO;
    }
    head.closed = true;
    if (archive != NULL) {
        (void)archive_write_free(archive);
    }
    archive_entry_free(entry);
    return err == MMQ_OK ? err : mmq_fail(why, err, "cannot make the head of %s", name);
}

size_t mmq_tar_padding(int64_t size_bytes)
{
    return (size_t)(-(uint64_t)size_bytes % MMQ_TAR_BLOCK);
}
