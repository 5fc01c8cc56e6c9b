/* The first stage, which runs in the caller's thread, and how the stages begin and end. */
#include "workers/archive/archive_parts.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/process.h"

enum { TEXT_ROOM = MMQ_TEXT_BYTES + MMQ_ARCHIVE_ROOM };

void mmq_archive_fail(mmq_archive *archive, mmq_err err, const mmq_why *why)
{
    pthread_mutex_lock(&archive->mutex);
    if (!mmq_archive_failed(archive)) {
        archive->err = err;
        archive->why = *why;
        atomic_store_explicit(&archive->failed, true, memory_order_release);
    }
    pthread_mutex_unlock(&archive->mutex);
}

/* What failed in any thread. */
static mmq_err check(const mmq_archive *archive, mmq_why *why)
{
    return mmq_archive_failed(archive) ? mmq_fail(why, archive->err, "%s", archive->why.text)
                                       : MMQ_OK;
}

/* ---- text ------------------------------------------------------------------------------- */

static mmq_archive_entry_state *last_entry(mmq_archive *archive)
{
    return &archive->entries[archive->count - 1];
}

static mmq_piece *take_piece(mmq_archive *archive, bool begins)
{
    mmq_piece *piece = mmq_queue_take(&archive->text_empty);
    piece->kind = MMQ_PIECE_BYTES;
    piece->begins = begins;
    piece->ends = false;
    piece->size = 0;
    return piece;
}

/* Hands on what is full; what is over its size begins the next one. */
static void pass_on_full(mmq_archive *archive)
{
    mmq_piece *full = archive->text, *next = take_piece(archive, false);
    next->size = full->size - MMQ_TEXT_BYTES;
    memcpy(next->data, full->data + MMQ_TEXT_BYTES, next->size);
    full->size = MMQ_TEXT_BYTES;
    archive->text = next;
    mmq_queue_put(&archive->text_full, full);
}

mmq_err mmq_archive_room(mmq_archive *archive, char **room, size_t *size, mmq_why *why)
{
    CHECK(archive->text != NULL);
    *room = (char *)archive->text->data + archive->text->size;
    *size = TEXT_ROOM - archive->text->size;
    return check(archive, why);
}

mmq_err mmq_archive_commit(mmq_archive *archive, size_t size, mmq_why *why)
{
    CHECK(archive->text != NULL && size <= TEXT_ROOM - archive->text->size);
    archive->text->size += size;
    last_entry(archive)->size_bytes += (int64_t)size;
    if (archive->text->size >= MMQ_TEXT_BYTES) {
        pass_on_full(archive);
    }
    return check(archive, why);
}

mmq_err mmq_archive_add(mmq_archive *archive, const void *data, size_t size, mmq_why *why)
{
    const char *at = data;
    mmq_err err = MMQ_OK;
    while (size > 0 && err == MMQ_OK) {
        char *room;
        size_t step;
        err = mmq_archive_room(archive, &room, &step, why);
        if (err == MMQ_OK) {
            step = size < step ? size : step;
            memcpy(room, at, step);
            at += step;
            size -= step;
            err = mmq_archive_commit(archive, step, why);
        }
    }
    return err;
}

/* Pads the entry; there is room for that, since a piece that is not full has MMQ_ARCHIVE_ROOM. */
static void end_entry(mmq_archive *archive)
{
    if (archive->text == NULL) {
        return;
    }
    mmq_piece *piece = archive->text;
    const size_t padding = mmq_tar_padding(last_entry(archive)->size_bytes);
    memset(piece->data + piece->size, 0, padding);
    piece->size += padding;
    if (piece->size >= MMQ_TEXT_BYTES) {
        pass_on_full(archive);
        piece = archive->text;
    }
    piece->ends = true;
    archive->text = NULL;
    mmq_queue_put(&archive->text_full, piece);
}

mmq_err mmq_archive_entry(mmq_archive *archive, const char *name, mmq_why *why)
{
    const size_t size = strlen(name);
    CHECK(archive->count < MMQ_ARCHIVE_ENTRIES && size <= MMQ_TAR_NAME_MAX && !archive->ended);
    end_entry(archive);
    mmq_archive_entry_state *entry = &archive->entries[archive->count++];
    memcpy(entry->name, name, size + 1);
    archive->text = take_piece(archive, true);
    return check(archive, why);
}

/* ---- its end ---------------------------------------------------------------------------- */

static void end_text(mmq_archive *archive)
{
    if (!archive->ended) {
        archive->ended = true;
        mmq_queue_put(&archive->text_full, &archive->text_end);
    }
}

static void join(mmq_archive *archive)
{
    if (archive->compressing) {
        (void)pthread_join(archive->compressor, NULL);
    }
    if (archive->writing) {
        (void)pthread_join(archive->writer, NULL);
    }
    archive->compressing = archive->writing = false;
}

mmq_err mmq_archive_finish(mmq_archive *archive, mmq_sums *out, mmq_why *why)
{
    *out = (mmq_sums){0};
    CHECK(!archive->ended);
    end_entry(archive);
    end_text(archive);
    (void)mmq_queue_take(&archive->written);
    char sha256[MMQ_DIGEST_HEX + 1];
    mmq_err err = check(archive, why);
    if (err == MMQ_OK) {
        err = mmq_sha256_of_file(archive->fd, archive->written_bytes, sha256, why);
    }
    join(archive);
    if (err == MMQ_OK) {
        err = check(archive, why); /* what the writer did meanwhile */
    }
    if (err == MMQ_OK) {
        *out = archive->made;
        archive->made = (mmq_sums){0};
        memcpy(out->whole.sha256, sha256, sizeof sha256);
    }
    return err;
}

/* ---- its life --------------------------------------------------------------------------- */

static bool make_pieces(mmq_archive *archive)
{
    for (size_t i = 0; i < MMQ_PIECES; i++) {
        mmq_piece *text = &archive->pieces[i], *file = &archive->pieces[MMQ_PIECES + i];
        text->data = malloc(TEXT_ROOM);
        file->data = malloc(MMQ_FILE_BYTES);
        if (text->data == NULL || file->data == NULL) {
            return false;
        }
        mmq_queue_put(&archive->text_empty, text);
        mmq_queue_put(&archive->file_empty, file);
    }
    return true;
}

static void init_queues(mmq_archive *archive)
{
    mmq_queue_init(&archive->text_full);
    mmq_queue_init(&archive->text_empty);
    mmq_queue_init(&archive->file_full);
    mmq_queue_init(&archive->file_empty);
    mmq_queue_init(&archive->written);
    CHECK(pthread_mutex_init(&archive->mutex, NULL) == 0);
}

static void clear_queues(mmq_archive *archive)
{
    (void)pthread_mutex_destroy(&archive->mutex);
    mmq_queue_clear(&archive->written);
    mmq_queue_clear(&archive->file_empty);
    mmq_queue_clear(&archive->file_full);
    mmq_queue_clear(&archive->text_empty);
    mmq_queue_clear(&archive->text_full);
}

static mmq_err fill_archive(mmq_archive *archive, mmq_why *why)
{
    archive->deflate = mmq_deflate_new(archive->options.level);
    archive->sums = mmq_part_sums_new();
    if (archive->deflate == NULL || archive->sums == NULL || !make_pieces(archive)) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for an archive");
    }
    archive->compressing = mmq_thread_start(&archive->compressor, mmq_archive_compress, archive);
    archive->writing =
        archive->compressing && mmq_thread_start(&archive->writer, mmq_archive_write, archive);
    return archive->writing ? MMQ_OK
                            : mmq_fail(why, MMQ_ENOMEM, "no memory for the threads of an archive");
}

mmq_err mmq_archive_new(int fd, const mmq_archive_options *options, mmq_archive **out, mmq_why *why)
{
    mmq_archive *archive = calloc(1, sizeof *archive);
    *out = NULL;
    if (archive == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for an archive");
    }
    archive->options = *options;
    archive->fd = fd;
    archive->text_end.kind = archive->file_end.kind = MMQ_PIECE_END;
    init_queues(archive);
    mmq_err err = fill_archive(archive, why);
    if (err != MMQ_OK) {
        mmq_archive_destroy(&archive);
    }
    *out = archive;
    return err;
}

void mmq_archive_destroy(mmq_archive **archive_p)
{
    mmq_archive *archive = *archive_p;
    if (archive == NULL) {
        return;
    }
    mmq_archive_fail(archive, MMQ_ECLOSED, &(mmq_why){"given up"}); /* no more work */
    end_text(archive);
    join(archive);
    for (size_t i = 0; i < 2 * MMQ_PIECES; i++) {
        free(archive->pieces[i].data);
    }
    mmq_sums_clear(&archive->made);
    mmq_part_sums_destroy(&archive->sums);
    mmq_deflate_destroy(&archive->deflate);
    clear_queues(archive);
    free(archive);
    *archive_p = NULL;
}
