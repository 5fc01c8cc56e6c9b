/* The writer's lock: flock on PATH.lock, which the kernel drops when its holder dies. flock locks
 * belong to the open file, so that two threads of one process exclude each other too. The file
 * itself stays: removing it would let two holders in. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "workers/store/sqlite/engine.h"

static mmq_err lock_file(const char *path, int *fd, mmq_why *why)
{
    char name[PATH_MAX + 8];
    (void)snprintf(name, sizeof name, "%s.lock", path);
    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) {
        return mmq_fail(why, MMQ_EIO, "cannot open the lock %s: %s", name, strerror(errno));
    }
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) {
        return MMQ_OK;
    }
    int number = errno;
    (void)close(*fd);
    if (number == EWOULDBLOCK) {
        return mmq_fail(why, MMQ_EBUSY, "another process owns the store %s", path);
    }
    return mmq_fail(why, MMQ_EIO, "cannot lock %s: %s", name, strerror(number));
}

mmq_err mmq_sqlite_lock(const char *url, int *fd, mmq_why *why)
{
    mmq_err err;
    char *path = mmq_store_path(url, &err, why);
    if (path != NULL) {
        err = lock_file(path, fd, why);
    }
    free(path);
    return err;
}
