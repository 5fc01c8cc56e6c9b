/* What the three stages of an archive share. Only the files of this folder include it.
 *
 *     caller   --text_full-->  compressor  --file_full-->  writer
 *            <--text_empty--             <--file_empty--
 *
 * Each stage writes what is its own; a stage behind it reads that once a piece has come that was
 * handed over later. Once something failed the stages go on handing pieces over, but do no work:
 * so none of them waits for another that is gone. */
#ifndef MMQ_ARCHIVE_PARTS_H
#define MMQ_ARCHIVE_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "workers/archive/archive.h"
#include "lib/deflate.h"
#include "workers/archive/queue.h"
#include "workers/archive/tar.h"

enum {
    /* Text is compressed in pieces of this size and what is left at an entry's end, so that how the
     * caller's bytes came cannot show in the archive's. */
    MMQ_TEXT_BYTES = 256 * 1024,
    MMQ_FILE_BYTES = 3 * 256 * 1024, /* of compressed bytes; written when a third is there */

    MMQ_GZIP_HEAD = 10,
    MMQ_GZIP_TAIL = 8,
    MMQ_STORED_HEAD = 5, /* of a stored block of deflate */
};

typedef struct mmq_archive_entry_state {
    char name[MMQ_TAR_NAME_MAX + 1]; /* caller */
    int64_t size_bytes;              /* caller: of its text */
    int64_t passed_bytes;            /* compressor: text and padding */
    uint32_t crc;                    /* compressor: of those */
    int64_t head_at;                 /* compressor: the file's place for the head */
} mmq_archive_entry_state;

struct mmq_archive {
    mmq_archive_options options;
    int fd;
    mmq_archive_entry_state entries[MMQ_ARCHIVE_ENTRIES];
    size_t count; /* caller: of entries */
    bool ended;   /* caller: the last piece was handed over */

    mmq_piece pieces[2 * MMQ_PIECES]; /* of text, then of the file */
    mmq_piece text_end, file_end;     /* have no data */
    mmq_piece *text;                  /* caller: that is being filled; NULL: no entry is open */
    mmq_queue text_full, text_empty, file_full, file_empty;
    mmq_queue written; /* file_end, once all bytes of the file are written, or something failed */

    mmq_deflate *deflate;  /* compressor */
    mmq_piece *file;       /* compressor: the piece that is being filled */
    int64_t made_bytes;    /* compressor: of the file */
    uint32_t end_crc;      /* compressor: of the NULs at the end */
    int64_t written_bytes; /* writer: of the file */
    mmq_part_sums *sums;   /* writer */
    mmq_sums made;         /* writer: without the SHA-256 of the whole */

    pthread_t compressor, writer;
    bool compressing, writing; /* caller: to be joined */

    atomic_bool failed;
    pthread_mutex_t mutex; /* what failed first is told once, by whichever thread */
    mmq_err err;
    mmq_why why;
};

/* Notes what failed, unless something did before. Any thread. */
void mmq_archive_fail(mmq_archive *archive, mmq_err err, const mmq_why *why);
static inline bool mmq_archive_failed(const mmq_archive *archive)
{
    return atomic_load_explicit(&archive->failed, memory_order_acquire);
}

/* The threads; argument is the archive. */
void *mmq_archive_compress(void *argument);
void *mmq_archive_write(void *argument);

#endif
