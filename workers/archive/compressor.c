/* The second stage: text in, the bytes of the file out. Each entry begins with room for its head, a
 * stored block; that begins at a byte, since what is before it was flushed. */
#include <string.h>

#include "workers/archive/archive_parts.h"

enum { STORED = 0, GZIP_DEFLATE = 8, GZIP_FASTEST = 4, GZIP_BEST = 2, GZIP_UNIX = 3 };

/* ---- the file's pieces ------------------------------------------------------------------ */

static mmq_piece *take_piece(mmq_archive *archive)
{
    mmq_piece *piece = mmq_queue_take(&archive->file_empty);
    piece->kind = MMQ_PIECE_BYTES;
    piece->size = 0;
    return piece;
}

static void pass_on(mmq_archive *archive)
{
    mmq_piece *piece = archive->file;
    archive->file = NULL;
    archive->made_bytes += (int64_t)piece->size;
    mmq_queue_put(&archive->file_full, piece);
}

/* A piece with room for so many bytes. */
static mmq_piece *piece_for(mmq_archive *archive, size_t size)
{
    if (archive->file != NULL && MMQ_FILE_BYTES - archive->file->size < size) {
        pass_on(archive);
    }
    if (archive->file == NULL) {
        archive->file = take_piece(archive);
    }
    return archive->file;
}

static void add_bytes(mmq_archive *archive, const void *data, size_t size)
{
    mmq_piece *piece = piece_for(archive, size);
    memcpy(piece->data + piece->size, data, size);
    piece->size += size;
}

/* ---- text ------------------------------------------------------------------------------- */

static mmq_err compress(mmq_archive *archive, uint8_t *data, size_t size, mmq_deflate_next next,
                        mmq_why *why)
{
    bool done = false;
    mmq_err err = MMQ_OK;
    mmq_deflate_put(archive->deflate, data, size, next);
    while (!done && err == MMQ_OK) {
        mmq_piece *piece = piece_for(archive, size + MMQ_DEFLATE_ROOM);
        size_t made = 0;
        err = mmq_deflate_take(archive->deflate, piece->data + piece->size,
                               MMQ_FILE_BYTES - piece->size, &made, &done, why);
        piece->size += made;
    }
    return err;
}

/* The room is a piece of its own, so that the writer knows it. */
static void leave_room(mmq_archive *archive, mmq_archive_entry_state *entry)
{
    const unsigned size = MMQ_TAR_BLOCK, not_size = ~size;
    const uint8_t stored[MMQ_STORED_HEAD] = {STORED, (uint8_t)size, (uint8_t)(size >> 8),
                                             (uint8_t)not_size, (uint8_t)(not_size >> 8)};
    add_bytes(archive, stored, sizeof stored);
    pass_on(archive);
    entry->head_at = archive->made_bytes;
    archive->file = take_piece(archive);
    archive->file->kind = MMQ_PIECE_HEAD;
    archive->file->size = MMQ_TAR_BLOCK;
    memset(archive->file->data, 0, MMQ_TAR_BLOCK);
    pass_on(archive);
}

static mmq_err end_entry(mmq_archive *archive, const mmq_archive_entry_state *entry, mmq_why *why)
{
    if (entry->passed_bytes != entry->size_bytes + (int64_t)mmq_tar_padding(entry->size_bytes)) {
        return mmq_fail(why, MMQ_EIO, "%s has %lld bytes, of which %lld came to be compressed",
                        entry->name, (long long)entry->size_bytes, (long long)entry->passed_bytes);
    }
    /* Where nothing was compressed there is nothing to flush. */
    return entry->passed_bytes > 0 ? compress(archive, NULL, 0, MMQ_DEFLATE_FLUSH, why) : MMQ_OK;
}

static mmq_err compress_piece(mmq_archive *archive, mmq_archive_entry_state *entry,
                              const mmq_piece *piece, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (piece->begins) {
        leave_room(archive, entry);
    }
    if (piece->size > 0) {
        entry->crc = mmq_crc(entry->crc, piece->data, piece->size);
        entry->passed_bytes += (int64_t)piece->size;
        err = compress(archive, piece->data, piece->size, MMQ_DEFLATE_MORE, why);
    }
    return err == MMQ_OK && piece->ends ? end_entry(archive, entry, why) : err;
}

/* ---- the file --------------------------------------------------------------------------- */

static void begin_file(mmq_archive *archive)
{
    const int level = archive->options.level;
    const uint8_t effort = level == MMQ_LEVEL_MIN   ? GZIP_FASTEST
                           : level == MMQ_LEVEL_MAX ? GZIP_BEST
                                                    : 0;
    const uint8_t head[MMQ_GZIP_HEAD] = {0x1f, 0x8b, GZIP_DEFLATE, 0,        0, 0,
                                         0,    0,    effort,       GZIP_UNIX};
    add_bytes(archive, head, sizeof head);
}

static mmq_err end_file(mmq_archive *archive, mmq_why *why)
{
    uint8_t end[MMQ_TAR_END_BYTES] = {0};
    archive->end_crc = mmq_crc(0, end, sizeof end);
    mmq_err err = compress(archive, end, sizeof end, MMQ_DEFLATE_END, why);
    if (archive->file != NULL) {
        pass_on(archive);
    }
    return err;
}

void *mmq_archive_compress(void *argument)
{
    mmq_archive *archive = argument;
    mmq_archive_entry_state *entry = archive->entries;
    mmq_piece *piece;
    mmq_why why = {""};
    mmq_err err = MMQ_OK;
    begin_file(archive);
    while ((piece = mmq_queue_take(&archive->text_full))->kind != MMQ_PIECE_END) {
        if (err == MMQ_OK && !mmq_archive_failed(archive)) {
            err = compress_piece(archive, entry, piece, &why);
        }
        if (err != MMQ_OK) {
            mmq_archive_fail(archive, err, &why); /* at once, so that the others stop too */
        }
        entry += piece->ends;
        mmq_queue_put(&archive->text_empty, piece);
    }
    if (err == MMQ_OK && !mmq_archive_failed(archive)) {
        err = end_file(archive, &why);
    }
    if (err != MMQ_OK) {
        mmq_archive_fail(archive, err, &why);
    }
    mmq_queue_put(&archive->file_full, &archive->file_end);
    return NULL;
}
