/* Files that must survive a crash: small helpers over openat, which follow no symlinks and map
 * errno. Descriptors are -1 where there is none. Functions that fail say in why which step failed
 * on which name. Any thread. */
#ifndef MMQ_FILES_H
#define MMQ_FILES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/buffer.h"
#include "metricmq/error.h"

enum { MMQ_RANDOM_HEX = 16 };

/* Room for random lower-case hex digits and a NUL. */
typedef struct mmq_random_name {
    char text[MMQ_RANDOM_HEX + 1];
} mmq_random_name;

mmq_random_name mmq_random_name_new(void);

/* The error that a system call's errno stands for, with the sentence "cannot STEP NAME: ...". */
mmq_err mmq_files_fail(mmq_why *why, int error, const char *step, const char *name);

/* Closes *fd if it is open and sets it to -1. Reading descriptors and folders only: what close
 * says of written data was said by fsync before. */
void mmq_fd_close(int *fd);
mmq_err mmq_fd_write(int fd, const void *data, size_t size, const char *name,
                     mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_fd_sync(int fd, const char *name, mmq_why *why) MMQ_MUST_USE;

/* Opens the folder of an operator's path (whose symlinks are the operator's business), made with
 * its parents, durably, where it is missing. The caller owns *fd. */
mmq_err mmq_folder_open(const char *path, int *fd, mmq_why *why) MMQ_MUST_USE;
/* As mmq_folder_open for one name within a folder; a symlink or a file in its place fails. */
mmq_err mmq_folder_open_in(int folder, const char *name, int *fd, mmq_why *why) MMQ_MUST_USE;
/* Unlinks a folder of the folder with the files in it; what is not there is no error. */
mmq_err mmq_folder_remove(int folder, const char *name, mmq_why *why) MMQ_MUST_USE;

/* Writes a new file durably; MMQ_ECONFLICT if the name is taken. */
mmq_err mmq_file_write(int folder, const char *name, const void *data, size_t size,
                       mmq_why *why) MMQ_MUST_USE;
/* As mmq_file_write, but puts it in place of what the name held, whole or not at all. */
mmq_err mmq_file_replace(int folder, const char *name, const void *data, size_t size,
                         mmq_why *why) MMQ_MUST_USE;
/* Opens a regular file for reading and says its size. MMQ_ENOTFOUND; MMQ_ECORRUPT if it is
 * something else. The caller owns *fd. */
mmq_err mmq_file_open(int folder, const char *name, int *fd, int64_t *size_bytes,
                      mmq_why *why) MMQ_MUST_USE;
/* Appends the whole file; MMQ_ECORRUPT if it does not fit the buffer. */
mmq_err mmq_file_read(int folder, const char *name, mmq_buffer *out, mmq_why *why) MMQ_MUST_USE;

#endif
