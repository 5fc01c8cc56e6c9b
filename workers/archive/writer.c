/* The third stage: bytes to the file and to the sums of its parts. When the last one is written the
 * heads are put into their room, and behind all of it the tail of gzip, whose CRC is put together
 * from those of the pieces. Then the file is fsynced, while the caller's thread reads it for its
 * own sum. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/files.h"
#include "workers/archive/archive_parts.h"

static const char file_name[] = "an archive";

static mmq_err check_room(const mmq_archive *archive, size_t size, mmq_why *why)
{
    return (int64_t)size <= archive->options.bytes_max - archive->written_bytes
               ? MMQ_OK
               : mmq_fail(why, MMQ_EBUSY, "the spool has no room for this archive");
}

/* Each part that is whole is sent on its way to the disk, so that fsync finds little to do. No more
 * than a hint: fsync says what became of it. */
static void hint(const mmq_archive *archive, int64_t before)
{
    const int64_t part = before / MMQ_PART_BYTES;
    if (archive->written_bytes / MMQ_PART_BYTES > part) {
        (void)sync_file_range(archive->fd, part * MMQ_PART_BYTES, MMQ_PART_BYTES,
                              SYNC_FILE_RANGE_WRITE);
    }
}

static mmq_err write_bytes(mmq_archive *archive, const void *data, size_t size, bool last_word,
                           mmq_why *why)
{
    const int64_t before = archive->written_bytes;
    mmq_err err = check_room(archive, size, why);
    if (err == MMQ_OK) {
        err = mmq_fd_write(archive->fd, data, size, file_name, why);
    }
    if (err == MMQ_OK) {
        archive->written_bytes += (int64_t)size;
        hint(archive, before);
        err = last_word ? mmq_part_sums_add(archive->sums, data, size, why)
                        : mmq_part_sums_skip(archive->sums, size, why);
    }
    return err;
}

/* ---- what is known at the end only ------------------------------------------------------ */

static mmq_err write_at(int fd, const uint8_t *data, size_t size, int64_t at, mmq_why *why)
{
    while (size > 0) {
        const ssize_t done = pwrite(fd, data, size, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return mmq_files_fail(why, done < 0 ? errno : ENOSPC, "write", file_name);
        }
        data += done;
        size -= (size_t)done;
        at += done;
    }
    return MMQ_OK;
}

/* Writes the entry's head and takes head and text into the CRC and the count of all bytes. */
static mmq_err write_head(const mmq_archive *archive, const mmq_archive_entry_state *entry,
                          uint32_t *crc, int64_t *size_bytes, mmq_why *why)
{
    uint8_t head[MMQ_TAR_BLOCK];
    mmq_err err = mmq_tar_head(entry->name, entry->size_bytes, archive->options.created, head, why);
    if (err != MMQ_OK) {
        return err;
    }
    *crc = mmq_crc(*crc, head, sizeof head);
    *crc = mmq_crc_join(*crc, entry->crc, entry->passed_bytes);
    *size_bytes += MMQ_TAR_BLOCK + entry->passed_bytes;
    return write_at(archive->fd, head, sizeof head, entry->head_at, why);
}

/* CRC-32 and size, little endian (RFC 1952). */
static mmq_err write_tail(mmq_archive *archive, uint32_t crc, int64_t size_bytes, mmq_why *why)
{
    uint8_t tail[MMQ_GZIP_TAIL];
    for (unsigned i = 0; i < 4; i++) {
        tail[i] = (uint8_t)(crc >> (8 * i));
        tail[4 + i] = (uint8_t)((uint64_t)size_bytes >> (8 * i));
    }
    return write_bytes(archive, tail, sizeof tail, true, why);
}

static mmq_err complete(mmq_archive *archive, mmq_why *why)
{
    uint32_t crc = 0;
    int64_t size_bytes = 0;
    mmq_err err = MMQ_OK;
    if (archive->written_bytes != archive->made_bytes) {
        return mmq_fail(why, MMQ_EIO, "of an archive's %lld bytes %lld were written",
                        (long long)archive->made_bytes, (long long)archive->written_bytes);
    }
    for (size_t i = 0; i < archive->count && err == MMQ_OK; i++) {
        err = write_head(archive, &archive->entries[i], &crc, &size_bytes, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    crc = mmq_crc_join(crc, archive->end_crc, MMQ_TAR_END_BYTES);
    return write_tail(archive, crc, size_bytes + MMQ_TAR_END_BYTES, why);
}

/* ---- the thread ------------------------------------------------------------------------- */

static void write_pieces(mmq_archive *archive)
{
    mmq_piece *piece;
    mmq_why why = {""};
    mmq_err err = MMQ_OK;
    while ((piece = mmq_queue_take(&archive->file_full))->kind != MMQ_PIECE_END) {
        if (err == MMQ_OK && !mmq_archive_failed(archive)) {
            err =
                write_bytes(archive, piece->data, piece->size, piece->kind != MMQ_PIECE_HEAD, &why);
        }
        if (err != MMQ_OK) {
            mmq_archive_fail(archive, err, &why); /* at once, so that the others stop too */
        }
        mmq_queue_put(&archive->file_empty, piece);
    }
}

/* What is done while the caller's thread reads the file. The kernel is told to go on writing, so
 * that the disk works while the parts are summed that are still to be. */
static mmq_err settle(mmq_archive *archive, mmq_why *why)
{
    (void)sync_file_range(archive->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    mmq_err err = mmq_part_sums_end(archive->sums, archive->fd, &archive->made, why);
    return err == MMQ_OK ? mmq_fd_sync(archive->fd, file_name, why) : err;
}

/* Does the next step unless one failed. */
static void step(mmq_archive *archive, mmq_err (*take)(mmq_archive *archive, mmq_why *why))
{
    mmq_why why = {""};
    mmq_err err = mmq_archive_failed(archive) ? MMQ_OK : take(archive, &why);
    if (err != MMQ_OK) {
        mmq_archive_fail(archive, err, &why);
    }
}

void *mmq_archive_write(void *argument)
{
    mmq_archive *archive = argument;
    write_pieces(archive);
    step(archive, complete);
    mmq_queue_put(&archive->written, &archive->file_end);
    step(archive, settle);
    return NULL;
}
