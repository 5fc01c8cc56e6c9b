/* The files of a store, as files: making, naming and removing them so that a crash at any point
 * leaves the old or the new, whole. */
#ifndef MMQ_STORE_SQLITE_FILES_H
#define MMQ_STORE_SQLITE_FILES_H

#include <limits.h>
#include <stdbool.h>

#include "metricmq/error.h"
#include "workers/store/store.h"

#define MMQ_RESTORING ".restoring" /* behind the store's name: what is about to be the store */

/* A path and what is put behind it. */
typedef struct mmq_file_name {
    char text[PATH_MAX + 32];
} mmq_file_name;

mmq_file_name mmq_file_named(const char *path, const char *ending);
/* Is there a file that is not empty? */
bool mmq_file_has_bytes(const char *path);
/* 0 when all of the file, or folder, is on disk; else -1 and errno. */
int mmq_file_sync(const char *path, int flags);
int mmq_file_sync_folder_of(const char *path);
/* Puts a finished file in its place, durably: errno if that fails. `replace` false: EEXIST if
 * something is there. */
int mmq_file_place(const char *from, const char *path, bool replace);
/* Removes the file and what SQLite has beside it. */
void mmq_file_remove_all(const char *path);
/* Removes only what SQLite has beside it. */
void mmq_file_remove_beside(const char *path);

/* An empty file of this name, private to its owner, locked against others that would make it, too:
 * MMQ_EBUSY. What a process that died has left there goes. Close *fd when done. */
mmq_err mmq_file_reserve(const char *path, int *fd, mmq_why *why) MMQ_MUST_USE;
/* Copies from one descriptor to another, telling the watch in pages of 4 KiB. `name` is the
 * target's, for errors. */
mmq_err mmq_file_copy(int from, int to, const char *name, const mmq_store_watch *watch,
                      mmq_why *why) MMQ_MUST_USE;

#endif
