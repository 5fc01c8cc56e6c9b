/* Calls on one descriptor, and of pthread_create, that fail; the linker leads them here (--wrap).
 */
#ifndef MMQ_TEST_FAILING_CALLS_H
#define MMQ_TEST_FAILING_CALLS_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>

typedef enum call { CALL_NONE, CALL_WRITE, CALL_PWRITE, CALL_PREAD, CALL_FSYNC, CALL_THREAD } call;

static struct {
    call call;
    int fd, error;
    atomic_int left; /* calls until the one that fails; below 0: it has */
    bool halves;     /* none fails, but each does half of its work */
} fault = {.fd = -1};

static void arm(call which, int nth, int error)
{
    fault.call = which;
    fault.error = error;
    atomic_store(&fault.left, nth);
}

static bool disarm(void)
{
    fault.call = CALL_NONE;
    return atomic_load(&fault.left) < 0;
}

static bool fails(call which, int fd)
{
    if (fault.call != which || (which != CALL_THREAD && fd != fault.fd) ||
        atomic_fetch_sub(&fault.left, 1) != 0) {
        return false;
    }
    errno = fault.error;
    return true;
}

static size_t cut(int fd, size_t size)
{
    return fault.halves && fd == fault.fd && size > 1 ? size / 2 : size;
}

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t at);
ssize_t __real_pread(int fd, void *data, size_t size, off_t at);
int __real_fsync(int fd);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t at);
ssize_t __wrap_pread(int fd, void *data, size_t size, off_t at);
ssize_t __wrap___pread_chk(int fd, void *data, size_t size, off_t at, size_t room);
int __wrap_fsync(int fd);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    return fails(CALL_WRITE, fd) ? -1 : __real_write(fd, data, cut(fd, size));
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t at)
{
    return fails(CALL_PWRITE, fd) ? -1 : __real_pwrite(fd, data, cut(fd, size), at);
}

ssize_t __wrap_pread(int fd, void *data, size_t size, off_t at)
{
    return fails(CALL_PREAD, fd) ? -1 : __real_pread(fd, data, cut(fd, size), at);
}

/* What a release calls instead, with the room that there is. */
ssize_t __wrap___pread_chk(int fd, void *data, size_t size, off_t at, size_t room)
{
    if (size > room) {
        abort();
    }
    return __wrap_pread(fd, data, size, at);
}

int __wrap_fsync(int fd)
{
    return fails(CALL_FSYNC, fd) ? -1 : __real_fsync(fd);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    return fails(CALL_THREAD, -1) ? EAGAIN
                                  : __real_pthread_create(thread, attributes, run, argument);
}

#endif
