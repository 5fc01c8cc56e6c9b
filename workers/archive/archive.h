/* A tar.gz of files whose size is known only when they have been written (docs/feedback.md, "How it
 * is written"), made by three threads: the caller's fills pieces with text, a second compresses
 * them, a third writes and sums. One thread calls. Whatever fails in any of them is what the
 * caller's next call says; after that only mmq_archive_destroy is of use. */
#ifndef MMQ_ARCHIVE_H
#define MMQ_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "workers/archive/sums.h"

enum {
    MMQ_ARCHIVE_ROOM = 4096, /* bytes that mmq_archive_room gives at least */
    MMQ_ARCHIVE_ENTRIES = 8, /* of an archive at most */
};

typedef struct mmq_archive mmq_archive;

typedef struct mmq_archive_options {
    int level;         /* MMQ_LEVEL_MIN to MMQ_LEVEL_MAX (lib/deflate.h) */
    int64_t created;   /* the entries' time, seconds since the epoch */
    int64_t bytes_max; /* MMQ_EBUSY if the archive gets longer */
} mmq_archive_options;

/* fd is an empty file, open for reading and writing, the caller's, and in use until
 * mmq_archive_destroy. MMQ_ENOMEM: no memory or no thread. */
mmq_err mmq_archive_new(int fd, const mmq_archive_options *options, mmq_archive **out,
                        mmq_why *why) MMQ_MUST_USE;
/* Joins the threads; what was not finished is given up, and the file is good for nothing. */
void mmq_archive_destroy(mmq_archive **archive);

/* Ends the entry before and begins one. The name is at most MMQ_TAR_NAME_MAX bytes, ASCII. */
mmq_err mmq_archive_entry(mmq_archive *archive, const char *name, mmq_why *why) MMQ_MUST_USE;
/* Where the next bytes of the entry go, and how many may; they count when they are committed. */
mmq_err mmq_archive_room(mmq_archive *archive, char **room, size_t *size,
                         mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_archive_commit(mmq_archive *archive, size_t size, mmq_why *why) MMQ_MUST_USE;
/* Room, copy and commit. */
mmq_err mmq_archive_add(mmq_archive *archive, const void *data, size_t size,
                        mmq_why *why) MMQ_MUST_USE;

/* Ends the archive and fsyncs the file. MMQ_OK: all of it is on disk, *out is what it sums up to
 * and is the caller's to clear; else *out is empty. MMQ_EBUSY (bytes_max), MMQ_ENOSPC, MMQ_EIO,
 * MMQ_ETOOBIG (more than MMQ_PARTS_MAX parts), MMQ_ENOMEM. */
mmq_err mmq_archive_finish(mmq_archive *archive, mmq_sums *out, mmq_why *why) MMQ_MUST_USE;

#endif
